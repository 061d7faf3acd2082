//! The interchange form of a connection: a directory with SAP's two files, our bookkeeping in them, and the journal
//! beside them. What is written here, the `sap-sample` store opens; what that store or SAP's sample has written is read
//! here. Nothing is ever overwritten (law 5), and it is read under its claim, so that no request is under way on it
//! (law 2).

use super::sap_sample::{CREDENTIALS_FILE, Credentials, ONLY_CONNECTION, SapSample, TOKEN_FILE};
use super::{App, Store, StoreError, document};
use crate::unix;
use perennial_core::Connection;
use perennial_core::journal::Entry;
use serde_json::Map;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use zeroize::Zeroizing;

/// A connection with all that belongs to it.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Tokens and bookkeeping.
    pub connection: Connection,
    /// Its app.
    pub app: App,
    /// Its journal, oldest first.
    pub history: Vec<Entry>,
}

/// True for a directory with one of the two files in it.
#[must_use]
pub fn is_one(dir: &Path) -> bool {
    [CREDENTIALS_FILE, TOKEN_FILE].iter().any(|name| dir.join(name).is_file())
}

/// Reads a directory; it is left as it is. `None` while somebody holds its claim.
///
/// # Errors
/// When the files are not there, or cannot be understood.
pub fn read(dir: &Path) -> Result<Option<Parcel>, StoreError> {
    let store = SapSample::open(dir)?;
    let app = store.app(ONLY_CONNECTION)?;
    let Some(claim) = store.try_claim(ONLY_CONNECTION)? else { return Ok(None) };
    let connection = claim.read()?;
    let history = history(&store, ONLY_CONNECTION)?;
    Ok(Some(Parcel { connection, app, history }))
}

/// The whole journal of a connection, oldest first.
///
/// # Errors
/// When it cannot be read.
pub fn history(store: &dyn Store, name: &str) -> Result<Vec<Entry>, StoreError> {
    let (mut history, mut after) = (Vec::new(), 0);
    loop {
        let page = store.journal(Some(name), Some(after), PAGE)?;
        let Some(last) = page.last() else { return Ok(history) };
        after = last.number;
        history.extend(page.into_iter().map(|recorded| recorded.entry));
    }
}

/// Entries read at once.
const PAGE: usize = 1000;

/// Writes a directory, which is made where there is none; readable for its owner only.
///
/// # Errors
/// When one of the files is there already, or cannot be written.
pub fn write(dir: &Path, parcel: &Parcel) -> Result<(), StoreError> {
    unix::make_private_dir(dir).map_err(StoreError::io("make", dir))?;
    for path in [dir.join(CREDENTIALS_FILE), dir.join(TOKEN_FILE)] {
        if fs::symlink_metadata(&path).is_ok() {
            let there = io::Error::new(io::ErrorKind::AlreadyExists, "it is there already");
            return Err(StoreError::io("write", path)(there));
        }
    }
    if parcel.connection.held.is_some() {
        let path = dir.join(TOKEN_FILE);
        write_tokens(&path, &parcel.connection).map_err(StoreError::io("write", &path))?;
    }
    let company = parcel.app.company.clone().or_else(|| parcel.connection.principal.clone());
    Credentials::write_filled(&dir.join(CREDENTIALS_FILE), &App { company, ..parcel.app.clone() })?;
    unix::sync_dir(dir).map_err(StoreError::io("write", dir))?;
    let store = SapSample::open(dir)?;
    parcel.history.iter().try_for_each(|entry| store.note(ONLY_CONNECTION, entry))
}

fn write_tokens(path: &Path, connection: &Connection) -> io::Result<()> {
    // Room for a whole document at once, so that growing leaves no copies of tokens behind.
    let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024));
    serde_json::to_writer_pretty(&mut *text, &document::write(connection, &Map::new()))?;
    text.push(b'\n');
    let mut file = unix::create_private(path)?;
    file.write_all(&text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::connection::Held;
    use perennial_core::grant::{Client, Principal};
    use perennial_core::journal::Event;
    use perennial_core::profile::concur::CONCUR;
    use perennial_core::secret::{ClientSecret, RefreshToken, RequestToken};
    use perennial_core::token_endpoint::response::Others;
    use perennial_core::{Origin, UnixTime};

    fn parcel() -> Parcel {
        let mut connection = Connection::new("id", "acme", &CONCUR);
        connection.policy.set("renew_after", "3d").unwrap();
        connection.principal = Some(Principal::new("company"));
        connection.held = Some(Held {
            grant_id: "grant".into(),
            generation: 7,
            access: None,
            refresh: Some(RefreshToken::new("refresh-canary")),
            refresh_expiry: None,
            base: Origin::parse("https://us2.api.concursolutions.com").unwrap(),
            scope: None,
            id_token: None,
            refreshed_at: Some(UnixTime(1_800_000_000)),
            granted_at: None,
            others: Others::default(),
        });
        let client = Client { id: "app".into(), secret: ClientSecret::new("secret-canary") };
        let app =
            App::new(client, Some(Principal::new("company")), Some(RequestToken::new("request-canary")));
        let event = Event::Noted { what: "added".into() };
        let history = vec![Entry { at: UnixTime(1_800_000_000), event, correlation_id: None }];
        Parcel { connection, app, history }
    }

    #[test]
    fn what_is_written_is_read_back_with_its_history() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("acme");
        write(&there, &parcel()).unwrap();
        let read = read(&there).unwrap().unwrap();
        assert_eq!(Connection { name: "acme".into(), ..read.connection }, parcel().connection);
        assert_eq!(read.app, parcel().app);
        assert_eq!(read.history, parcel().history);
    }

    #[test]
    fn law_5_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        for name in [CREDENTIALS_FILE, TOKEN_FILE] {
            let there = dir.path().join(name);
            fs::create_dir(&there).unwrap();
            fs::write(there.join(name), "mine").unwrap();
            let refused = write(&there, &parcel()).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains("is there already"), "{refused}");
            assert_eq!(fs::read_to_string(there.join(name)).unwrap(), "mine");
            assert_eq!(fs::read_dir(&there).unwrap().count(), 1, "and nothing was written beside it");
        }
    }
}
