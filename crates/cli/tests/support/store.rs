//! The stores that a story can be told of, and what a test does to one behind the binary's back.

use super::postgres_server::{self, PostgresServer};
use super::{World, read_json, write_json};
use perennial::core::{Connection, Expiry, UnixTime};
use perennial::seal::KeySource;
use perennial::store::sqlite::SqliteOptions;
use perennial::store::{App, Store, StoreError};
use perennial::{Postgres, PostgresOptions, SapSample, Sqlite};
use perennial_sandbox::Config;
use serde_json::Value;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The connection that every world keeps.
pub const NAME: &str = "default";

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// SAP's two files.
    SapSample,
    /// Many connections in one sealed file.
    Sqlite,
    /// Many connections in a database that machines share. Each directory stands for a schema of its own.
    Postgres,
}

impl StoreKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::SapSample => "sap-sample",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// The store in this directory, as the command line names it.
    pub fn address(self, dir: &Path) -> String {
        match self {
            Self::SapSample => format!("sap-sample:{}", dir.display()),
            Self::Sqlite => format!("sqlite:{}", database(dir).display()),
            Self::Postgres => server().url(&schema(dir)),
        }
    }

    /// Opens the store in this directory.
    pub fn open(self, dir: &Path, home: &Path) -> Result<Box<dyn Store>, StoreError> {
        Ok(match self {
            Self::SapSample => Box::new(SapSample::open(dir)?),
            Self::Sqlite => {
                let key = KeySource::File(home.join(".config/perennial/master.key"));
                Box::new(Sqlite::open(database(dir), SqliteOptions::new(key))?)
            }
            Self::Postgres => {
                let key = KeySource::File(home.join(".config/perennial/master.key"));
                Box::new(Postgres::open(&self.address(dir), PostgresOptions::new(key))?)
            }
        })
    }
}

/// The server of this test process. A test asks [`is_there`] first.
pub fn server() -> &'static PostgresServer {
    postgres_server::server().expect("a server")
}

/// Where there is no PostgreSQL here, that is said, and the test is skipped.
pub fn is_there() -> bool {
    postgres_server::server().is_some()
}

/// The schema that stands for a directory.
pub fn schema(dir: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    dir.hash(&mut hasher);
    format!("w{:x}", hasher.finish())
}

/// The database in a directory.
pub fn database(dir: &Path) -> PathBuf {
    dir.join("perennial.db")
}

/// A grant in any store.
impl World {
    /// A grant is held, and the request token has had its day.
    pub fn holding(kind: StoreKind, config: Config) -> Self {
        let world = Self::of(kind, config);
        match kind {
            StoreKind::SapSample => {
                world.fill();
                world.run_ok(&["run"]);
            }
            StoreKind::Sqlite | StoreKind::Postgres => {
                let ready = world.sandbox.ready();
                let (app, company) = (ready.app_id.as_str(), ready.company_uuid.as_str());
                let mut add = world.command(&["add", NAME, "--app-id", app, "--company", company]);
                add.args(["--client-secret-env", "CLIENT_SECRET", "--request-token-env", "REQUEST_TOKEN"]);
                add.env("CLIENT_SECRET", &ready.client_secret).env("REQUEST_TOKEN", &ready.request_token);
                let output = add.output().expect("the binary starts");
                assert!(output.status.success(), "{output:?}");
            }
        }
        world.forget_request_token();
        world
    }

    /// Obtains a grant anew, as a person does with a new request token, which has had its day then.
    pub fn obtain_anew(&self) {
        let token = self.sandbox.mint_request_token();
        match self.kind {
            StoreKind::SapSample => {
                self.set_request_token(&token);
                self.run_ok(&["run"]);
            }
            StoreKind::Sqlite | StoreKind::Postgres => {
                let mut command =
                    self.command(&["reauthorize", NAME, "--request-token-env", "REQUEST_TOKEN"]);
                let output = command.env("REQUEST_TOKEN", token).output().expect("the binary starts");
                assert!(output.status.success(), "{output:?}");
            }
        }
        self.forget_request_token();
    }

    /// Blanks the request token, as a person does once it has had its day: nobody can obtain a grant with it any more,
    /// and the keeper by itself neither.
    pub fn forget_request_token(&self) {
        match self.kind {
            StoreKind::SapSample => self.set_request_token(""),
            StoreKind::Sqlite | StoreKind::Postgres => {
                let store = self.store();
                let app = store.app(NAME).expect("an app");
                store.put_app(NAME, &App::new(app.client, app.company, None)).expect("it is taken");
            }
        }
    }

    /// As if the time had passed after which a claim lapses whose holder died.
    pub fn let_claims_lapse(&self) {
        if self.kind == StoreKind::Postgres {
            let lapse = "claims SET until = clock_timestamp() - interval '1 second'";
            server().sql(&format!("UPDATE {}.{lapse}", schema(&self.dir())));
        }
    }

    pub fn set_request_token(&self, token: &str) {
        let mut credentials = read_json(&self.credentials());
        credentials["companyRequestToken"] = token.into();
        write_json(&self.credentials(), &credentials);
    }

    /// The store, opened here.
    pub fn store(&self) -> Box<dyn Store> {
        self.kind.open(&self.dir(), &self.home()).expect("the store opens")
    }

    /// Takes the access token's life away, as time would, without touching the refresh token.
    pub fn let_access_token_end(&self) {
        if self.kind == StoreKind::SapSample {
            let mut tokens = self.tokens();
            tokens["perennial"]["access_expires_at"] = 1_000_000_000.into();
            return write_json(&self.token_file(), &tokens);
        }
        let store = self.store();
        let mut claim = store.try_claim(NAME).expect("it can be written").expect("nobody else is there");
        let before = claim.read().expect("it can be read");
        let mut after = before.clone();
        let access = after.held.as_mut().and_then(|held| held.access.as_mut()).expect("an access token");
        access.expiry = Expiry::Stated(UnixTime(1_000_000_000));
        claim.commit(&before.version(), &after).expect("it is taken");
    }

    /// The access token in force.
    pub fn access_token(&self) -> String {
        match self.kind {
            StoreKind::SapSample => self.tokens()["access_token"].as_str().expect("a token").to_owned(),
            StoreKind::Sqlite | StoreKind::Postgres => {
                access_token(&self.store().read(NAME).expect("it can be read"))
            }
        }
    }

    /// Every access token that is on the disk, wherever it stands: what a process that starts now could find. In SAP's
    /// files they are looked for without the keeper's help, so that a recovery that does not work is no excuse. What is
    /// sealed nobody else can read: the database is opened, from a copy, so that the recovery proper is still to come.
    pub fn access_tokens_on_disk(&self) -> Vec<String> {
        if self.kind == StoreKind::SapSample {
            let files = self.files().into_values();
            let documents = files.filter_map(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            return documents.filter_map(|json| Some(json["access_token"].as_str()?.to_owned())).collect();
        }
        if self.kind == StoreKind::Postgres {
            return vec![self.access_token()];
        }
        let copy = TempDir::new_in(self.home()).expect("a directory");
        for (name, bytes) in self.files() {
            fs::write(copy.path().join(name), bytes).expect("a copy");
        }
        let store = self.kind.open(copy.path(), &self.home()).expect("the copy opens");
        let claim = store.try_claim(NAME).expect("it can be written").expect("nobody else is there");
        vec![access_token(&claim.read().expect("it can be read"))]
    }
}

fn access_token(connection: &Connection) -> String {
    let access = connection.held.as_ref().and_then(|held| held.access.as_ref());
    access.expect("an access token").token.expose().to_owned()
}
