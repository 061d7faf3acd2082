//! A row of `connections`. It is sealed as a whole: a bit that somebody turned in any of its columns is found, before
//! a token goes to an origin that nobody permitted (law 10).

use super::keys::Keys;
use super::place::Place;
use super::record::{self, Owner};
use crate::seal::SealError;
use crate::store::StoreError;
use perennial_core::profile::concur::CONCUR;
use perennial_core::secret::RequestToken;
use perennial_core::{Connection, UnixTime};
use rusqlite::types::ToSql;
use rusqlite::{OptionalExtension, Params};
use sha2::{Digest, Sha256};

/// The columns, in the order in which they are read, written and sealed.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) number: i64,
    pub(super) tenant: String,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) app: i64,
    pub(super) due_at: Option<i64>,
    pub(super) intent: Option<String>,
    pub(super) record: String,
    pub(super) company: Option<String>,
    pub(super) request_token: Option<String>,
    pub(super) known_since: Option<i64>,
    pub(super) created_at: i64,
    pub(super) removed_at: Option<i64>,
    pub(super) changed: i64,
    pub(super) seal: String,
}

const COLUMNS: &str = "number, tenant, id, name, app, due_at, intent, record, company, request_token, known_since, \
                       created_at, removed_at, changed, seal";

impl Row {
    /// A new connection's, with nothing in it yet.
    pub(super) fn new(tenant: &str, connection: &Connection, created_at: i64) -> Self {
        Self {
            number: 0,
            tenant: tenant.to_owned(),
            id: connection.id.clone(),
            name: connection.name.clone(),
            app: 0,
            due_at: None,
            intent: None,
            record: String::new(),
            company: None,
            request_token: None,
            known_since: None,
            created_at,
            removed_at: None,
            changed: 0,
            seal: String::new(),
        }
    }

    /// True when there is a connection of this id, also when it was put away.
    pub(super) fn is_known(&self, sql: &rusqlite::Connection) -> rusqlite::Result<bool> {
        Ok(Self::find(sql, "tenant = ?1 AND id = ?2", (&self.tenant, &self.id))?.is_some())
    }

    /// A number that no row has had. It is sealed with the row, so it is drawn before the row is written.
    pub(super) fn next_number(&self, sql: &rusqlite::Connection) -> rusqlite::Result<i64> {
        let last = "SELECT max(coalesce((SELECT max(number) FROM connections), 0),
                               coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'connections'), 0))";
        Ok(sql.query_row(last, [], |row| row.get::<_, i64>(0))? + 1)
    }

    /// The first row for which `condition` holds.
    pub(super) fn find(
        sql: &rusqlite::Connection,
        condition: &str,
        values: impl Params,
    ) -> rusqlite::Result<Option<Self>> {
        let mut statement =
            sql.prepare_cached(&format!("SELECT {COLUMNS} FROM connections WHERE {condition} LIMIT 1"))?;
        statement.query_row(values, Self::read).optional()
    }

    /// The one that is called by this name now.
    pub(super) fn named(
        sql: &rusqlite::Connection,
        tenant: &str,
        name: &str,
    ) -> rusqlite::Result<Option<Self>> {
        Self::find(sql, "tenant = ?1 AND name = ?2 AND removed_at IS NULL", (tenant, name))
    }

    /// The one of this number, also when it was put away.
    pub(super) fn numbered(sql: &rusqlite::Connection, number: i64) -> rusqlite::Result<Option<Self>> {
        Self::find(sql, "number = ?1", [number])
    }

    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            tenant: row.get(1)?,
            id: row.get(2)?,
            name: row.get(3)?,
            app: row.get(4)?,
            due_at: row.get(5)?,
            intent: row.get(6)?,
            record: row.get(7)?,
            company: row.get(8)?,
            request_token: row.get(9)?,
            known_since: row.get(10)?,
            created_at: row.get(11)?,
            removed_at: row.get(12)?,
            changed: row.get(13)?,
            seal: row.get(14)?,
        })
    }

    /// Every row there is, for who looks through all of them.
    pub(super) fn all(sql: &rusqlite::Connection) -> rusqlite::Result<Vec<Self>> {
        let mut statement = sql.prepare(&format!("SELECT {COLUMNS} FROM connections ORDER BY number"))?;
        statement.query_map([], Self::read)?.collect()
    }

    /// Writes the row in place of the one of its number, or as a new one.
    pub(super) fn write(&self, sql: &rusqlite::Connection) -> rusqlite::Result<()> {
        let values: [&dyn ToSql; 15] = [
            &self.number,
            &self.tenant,
            &self.id,
            &self.name,
            &self.app,
            &self.due_at,
            &self.intent,
            &self.record,
            &self.company,
            &self.request_token,
            &self.known_since,
            &self.created_at,
            &self.removed_at,
            &self.changed,
            &self.seal,
        ];
        sql.prepare_cached(&format!(
            "INSERT INTO connections ({COLUMNS})
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (number) DO UPDATE SET name = ?4, app = ?5, due_at = ?6, intent = ?7, record = ?8,
             company = ?9, request_token = ?10, known_since = ?11, removed_at = ?13, changed = ?14, seal = ?15"
        ))?
        .execute(values)?;
        Ok(())
    }

    /// Takes over what is kept of a connection.
    pub(super) fn put(&mut self, keys: &Keys, connection: &Connection) -> Result<(), SealError> {
        self.due_at = connection.renew_at().map(|at| at.0);
        self.intent = connection.intent.as_ref().map(|intent| intent.correlation_id.clone());
        self.record = record::seal(self.owner(keys), connection)?;
        Ok(())
    }

    /// Seals the row as it is.
    pub(super) fn seal(&mut self, keys: &Keys) -> Result<(), SealError> {
        self.seal = keys.seal(&["row", &self.digest()], b"")?;
        Ok(())
    }

    /// True when nothing in it was altered.
    pub(super) fn is_sealed(&self, keys: &Keys) -> bool {
        keys.open_sealed(&["row", &self.digest()], &self.seal).is_ok()
    }

    /// The connection; an error names it, and others go on.
    pub(super) fn open(&self, keys: &Keys, place: &Place) -> Result<Connection, StoreError> {
        self.check(keys, place)?;
        let fresh = Connection::new(self.id.as_str(), self.name.as_str(), &CONCUR);
        record::open(self.owner(keys), &self.record, fresh).map_err(|_| self.altered(place))
    }

    /// Refuses a row in which something was altered.
    pub(super) fn check(&self, keys: &Keys, place: &Place) -> Result<(), StoreError> {
        if self.is_sealed(keys) { Ok(()) } else { Err(self.altered(place)) }
    }

    /// Seals a request token into the row.
    pub(super) fn put_request_token(
        &mut self,
        keys: &Keys,
        token: Option<&RequestToken>,
    ) -> Result<(), SealError> {
        let seal = |token: &RequestToken| keys.seal(&self.names("request_token"), token.expose().as_bytes());
        self.request_token = token.map(seal).transpose()?;
        Ok(())
    }

    /// The request token.
    pub(super) fn request_token(
        &self,
        keys: &Keys,
        place: &Place,
    ) -> Result<Option<RequestToken>, StoreError> {
        let Some(sealed) = &self.request_token else { return Ok(None) };
        let plain =
            keys.open_sealed(&self.names("request_token"), sealed).map_err(|_| self.altered(place))?;
        let text = std::str::from_utf8(&plain).map_err(|_| self.altered(place))?;
        Ok(Some(RequestToken::new(text)))
    }

    pub(super) fn known_since(&self) -> Option<UnixTime> {
        self.known_since.map(UnixTime)
    }

    fn owner<'a>(&'a self, keys: &'a Keys) -> Owner<'a> {
        Owner { keys, tenant: &self.tenant, connection: &self.id }
    }

    fn names<'a>(&'a self, field: &'a str) -> [&'a str; 3] {
        [&self.tenant, &self.id, field]
    }

    fn altered(&self, place: &Place) -> StoreError {
        let name = perennial_core::token_endpoint::plain(&self.name);
        place.damaged(format!(
            "what it holds of connection \"{name}\" was altered by something else than Perennial"
        ))
    }

    /// Of all columns but the seal, each with its length in front, so that none can pass for its neighbour.
    fn digest(&self) -> String {
        let mut digest = Sha256::new();
        let mut add = |part: Option<&[u8]>| match part {
            Some(bytes) => {
                digest.update((bytes.len() as u64).to_le_bytes());
                digest.update(bytes);
            }
            None => digest.update(u64::MAX.to_le_bytes()),
        };
        let number = |number: i64| number.to_le_bytes();
        for value in [self.number, self.app, self.created_at, self.changed] {
            add(Some(&number(value)));
        }
        for value in [self.due_at, self.known_since, self.removed_at] {
            add(value.map(number).as_ref().map(<[u8; 8]>::as_slice));
        }
        for value in [&self.tenant, &self.id, &self.name, &self.record] {
            add(Some(value.as_bytes()));
        }
        for value in [&self.intent, &self.company, &self.request_token] {
            add(value.as_ref().map(String::as_bytes));
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
