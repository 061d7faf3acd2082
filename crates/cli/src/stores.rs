//! Which store a command works on, and with which master key: the one place that knows the kinds of stores.

use crate::place::Kind;
use crate::terminal;
use crate::trouble::Trouble;
use crate::xdg;
use perennial::seal::rescue::Directory;
use perennial::seal::{Asked, KeySource, MasterKey};
use perennial::{Postgres, PostgresOptions, SapSample, Sqlite, SqliteOptions, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whose connections a store holds where nobody says otherwise.
pub(crate) const DEFAULT_TENANT: &str = "default";

/// A store that was named, and not opened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// SAP's two files in a directory.
    SapSample(PathBuf),
    /// Many connections in one file.
    Sqlite(PathBuf),
    /// Many connections in a database that many machines share: its address.
    Postgres(String),
}

impl Choice {
    /// Reads `sqlite:FILE`, `postgres://…` or `sap-sample:DIR`. An address with a password in it is refused here, before
    /// any message could name it.
    pub(crate) fn read(text: &str) -> Result<Self, Trouble> {
        match text.split_once(':') {
            Some(("sap-sample", dir)) if !dir.is_empty() => Ok(Self::SapSample(PathBuf::from(dir))),
            Some(("sqlite", file)) if !file.is_empty() => Ok(Self::Sqlite(PathBuf::from(file))),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Postgres::check_address(text)?;
                Ok(Self::Postgres(text.to_owned()))
            }
            _ => Err(Trouble::usage(
                format!("\"{text}\" is no store that this version knows"),
                "name a file for many connections: --store sqlite:FILE; a database that machines share: --store \
                 postgres://USER@HOST/DATABASE; or a directory with SAP's two files: --dir DIR",
            )),
        }
    }

    /// The store of a person who names none.
    pub(crate) fn standard() -> Result<Self, Trouble> {
        let home = xdg::data_home().ok_or_else(|| {
            let hint = "name one: --store sqlite:FILE";
            Trouble::usage("there is no home directory with a store in it", hint)
        })?;
        Ok(Self::Sqlite(home.join("perennial").join("perennial.db")))
    }

    /// Which hints fit.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::SapSample(_) => Kind::SapSample,
            Self::Sqlite(_) => Kind::Sqlite,
            Self::Postgres(_) => Kind::Postgres,
        }
    }

    /// Opens the store.
    pub(crate) fn open(
        &self,
        options: impl FnOnce() -> Result<SqliteOptions, Trouble>,
        ca_cert: Option<&Path>,
    ) -> Result<Opened, Trouble> {
        match self {
            Self::SapSample(dir) => Ok(Opened::SapSample(Arc::new(SapSample::open(dir)?))),
            Self::Sqlite(file) => Ok(Opened::Sqlite(Arc::new(Sqlite::open(file, options()?)?))),
            Self::Postgres(url) => {
                let options = of_server(options()?, ca_cert);
                Ok(Opened::Postgres(Arc::new(Postgres::open(url, options)?)))
            }
        }
    }
}

/// The options of a database in a file, for one on a server.
pub(crate) fn of_server(options: SqliteOptions, ca_cert: Option<&Path>) -> PostgresOptions {
    PostgresOptions::new(options.master_key).tenant(options.tenant).ca_cert(ca_cert.map(Path::to_owned))
}

/// An open store.
pub(crate) enum Opened {
    /// SAP's two files.
    SapSample(Arc<SapSample>),
    /// Many connections in one file.
    Sqlite(Arc<Sqlite>),
    /// Many connections in a database that many machines share.
    Postgres(Arc<Postgres>),
}

impl Opened {
    /// The store, whatever it is.
    pub(crate) fn shared(&self) -> Arc<dyn Store> {
        match self {
            Self::SapSample(store) => Arc::clone(store) as Arc<dyn Store>,
            Self::Sqlite(store) => Arc::clone(store) as Arc<dyn Store>,
            Self::Postgres(store) => Arc::clone(store) as Arc<dyn Store>,
        }
    }

    /// What a person should know about it though nothing is wrong yet.
    pub(crate) fn notices(&self) -> Vec<String> {
        match self {
            Self::SapSample(store) => store.notices(),
            Self::Sqlite(store) => store.notices(),
            Self::Postgres(_) => Vec::new(),
        }
    }
}

/// The master key of a person who names none: away from the database that it opens.
pub(crate) fn standard_key() -> Option<KeySource> {
    Some(KeySource::File(xdg::config_home()?.join("perennial").join("master.key")))
}

/// A master key; a passphrase is asked for on the terminal.
pub(crate) fn master_key(source: KeySource) -> MasterKey {
    if source == KeySource::Passphrase && !terminal::can_ask() {
        return source.into();
    }
    MasterKey::asking(source, |asked| match asked {
        Asked::Known => terminal::ask_secret("Passphrase of the master key"),
        Asked::New => terminal::ask_new_secret("New passphrase of the master key"),
    })
}

/// Where rescue files lie, for whoever has their key.
pub(crate) fn shelf() -> Option<Arc<Directory>> {
    Some(Arc::new(Directory(rescue_dir()?)))
}

/// Where rescue files lie.
pub(crate) fn rescue_dir() -> Option<PathBuf> {
    Some(xdg::state_home()?.join("perennial").join("rescue"))
}

/// Earlier versions kept the key beside the data. What was sealed with it opens with nothing else, so it is used for
/// as long as it is there.
pub(crate) fn rescue_key() -> Option<KeySource> {
    let older = xdg::data_home().map(|home| home.join("perennial").join("master.key"));
    match older.filter(|path| path.exists()) {
        Some(path) => Some(KeySource::File(path)),
        None => standard_key(),
    }
}
