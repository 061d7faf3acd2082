//! A connection as a row of a database. It is sealed as a whole: a bit that somebody turned in any of its columns is
//! found, before a token goes to an origin that nobody permitted (law 10).

use super::Unsealed;
use super::keys::Keys;
use super::record::{self, Owner};
use perennial_core::profile::concur::CONCUR;
use perennial_core::secret::RequestToken;
use perennial_core::{Connection, UnixTime};
use sha2::{Digest, Sha256};

/// The columns. Those that are there to be asked for, and the record with everything else.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What the rest of the database knows it by; 0 before it is in one.
    pub(crate) number: i64,
    /// Whose it is.
    pub(crate) tenant: String,
    /// Never changes.
    pub(crate) id: String,
    /// May change.
    pub(crate) name: String,
    /// The number of its app.
    pub(crate) app: i64,
    /// When its renewal is due, in Unix seconds by the server's clock: the agenda.
    pub(crate) due_at: Option<i64>,
    /// The open intent.
    pub(crate) intent: Option<String>,
    /// The number of the data key that this row is sealed under.
    pub(crate) key: i64,
    /// See [`record`].
    pub(crate) record: String,
    /// The company to obtain a grant for.
    pub(crate) company: Option<String>,
    /// Sealed.
    pub(crate) request_token: Option<String>,
    /// Since when the request token has been known here, in Unix seconds.
    pub(crate) known_since: Option<i64>,
    /// In Unix seconds, as the next.
    pub(crate) created_at: i64,
    /// When it was put away.
    pub(crate) removed_at: Option<i64>,
    /// The number of the change that wrote it.
    pub(crate) changed: i64,
    /// What makes an altered column known.
    pub(crate) seal: String,
}

impl Row {
    /// A new connection's, with nothing in it yet.
    pub(crate) fn new(tenant: &str, keys: &Keys, connection: &Connection, created_at: i64) -> Self {
        Self {
            number: 0,
            tenant: tenant.to_owned(),
            id: connection.id.clone(),
            name: connection.name.clone(),
            app: 0,
            due_at: None,
            intent: None,
            key: keys.current(),
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

    /// Takes over what is kept of a connection.
    ///
    /// # Errors
    /// When what stands in the row already does not open, or nothing can be sealed.
    pub(crate) fn put(&mut self, keys: &Keys, connection: &Connection) -> Result<(), Unsealed> {
        self.take_current_key(keys)?;
        self.due_at = connection.renew_at().map(|at| at.0);
        self.intent = connection.intent.as_ref().map(|intent| intent.correlation_id.clone());
        self.record = record::seal(self.owner(keys), connection)?;
        Ok(())
    }

    /// Takes over a request token.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub(crate) fn put_request_token(
        &mut self,
        keys: &Keys,
        token: Option<&RequestToken>,
    ) -> Result<(), Unsealed> {
        self.take_current_key(keys)?;
        let seal = |token: &RequestToken| keys.seal(&self.names("request_token"), token.expose().as_bytes());
        self.request_token = token.map(seal).transpose()?;
        Ok(())
    }

    /// Seals the row as it is, under the key that is in force.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub(crate) fn seal(&mut self, keys: &Keys) -> Result<(), Unsealed> {
        self.take_current_key(keys)?;
        self.seal = keys.seal(&["row", &self.digest()], b"")?;
        Ok(())
    }

    /// A row is sealed under one key: what stands in it is sealed anew where that is no longer the one in force.
    fn take_current_key(&mut self, keys: &Keys) -> Result<(), Unsealed> {
        if self.key == keys.current() {
            return Ok(());
        }
        let (connection, request_token) = (self.unsealed(keys)?, self.request_token(keys)?);
        self.key = keys.current();
        self.record = record::seal(self.owner(keys), &connection)?;
        self.put_request_token(keys, request_token.as_ref())
    }

    /// True when nothing in it was altered.
    pub(crate) fn is_sealed(&self, keys: &Keys) -> bool {
        keys.open_sealed(self.key, &["row", &self.digest()], &self.seal).is_ok()
    }

    /// The connection; an error names it, and others go on.
    ///
    /// # Errors
    /// When something in the row was altered.
    pub(crate) fn open(&self, keys: &Keys) -> Result<Connection, Unsealed> {
        self.check(keys)?;
        self.unsealed(keys)
    }

    fn unsealed(&self, keys: &Keys) -> Result<Connection, Unsealed> {
        let fresh = Connection::new(self.id.as_str(), self.name.as_str(), &CONCUR);
        record::open(self.owner(keys), self.key, &self.record, fresh).map_err(|_| self.altered())
    }

    /// Refuses a row in which something was altered.
    ///
    /// # Errors
    /// When something was.
    pub(crate) fn check(&self, keys: &Keys) -> Result<(), Unsealed> {
        if self.is_sealed(keys) { Ok(()) } else { Err(self.altered()) }
    }

    /// The request token.
    ///
    /// # Errors
    /// When it was altered.
    pub(crate) fn request_token(&self, keys: &Keys) -> Result<Option<RequestToken>, Unsealed> {
        let Some(sealed) = &self.request_token else { return Ok(None) };
        let plain =
            keys.open_sealed(self.key, &self.names("request_token"), sealed).map_err(|_| self.altered())?;
        let text = std::str::from_utf8(&plain).map_err(|_| self.altered())?;
        Ok(Some(RequestToken::new(text)))
    }

    /// Since when the request token has been known here.
    pub(crate) fn known_since(&self) -> Option<UnixTime> {
        self.known_since.map(UnixTime)
    }

    fn owner<'a>(&'a self, keys: &'a Keys) -> Owner<'a> {
        Owner { keys, tenant: &self.tenant, connection: &self.id }
    }

    fn names<'a>(&'a self, field: &'a str) -> [&'a str; 3] {
        [&self.tenant, &self.id, field]
    }

    fn altered(&self) -> Unsealed {
        Unsealed::connection(&self.name)
    }

    /// Of all columns but the seal, each with its length in front, so that none can pass for its neighbour. The key
    /// needs no part in it: under another one the seal does not open.
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
