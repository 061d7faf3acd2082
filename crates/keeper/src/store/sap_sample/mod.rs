//! SAP's two JSON files in a directory: `credentials.json`, which a person fills in, and
//! `refreshTokenObjectFile.json`, which keeps the tokens. One connection, `default`. They are plain on purpose: their
//! format is SAP's, and SAP's sample must be able to go on with them.
//!
//! Rights are 0600; the file is replaced whole and durably; the lock is a permanent file beside it, which is never
//! renamed, so that two processes cannot hold locks on two different files of the same name.

pub mod credentials;
mod journal_file;
mod token_file;

use super::durable::Durable;
use super::{App, Claim, Recorded, Store, StoreError};
use crate::unix;
use perennial_core::Connection;
use perennial_core::journal::Entry;
use perennial_core::profile::concur::CONCUR;
use perennial_core::secret::Fingerprint;
use std::fs;
use std::path::{Path, PathBuf};
use token_file::{Locked, TokenFile};

pub use credentials::{CREDENTIALS_FILE, Credentials};
pub use token_file::parse as parse_token_file;

/// The file that keeps the tokens, as SAP's sample names it.
pub const TOKEN_FILE: &str = "refreshTokenObjectFile.json";
/// The one connection of such a store.
pub const ONLY_CONNECTION: &str = "default";

/// SAP's two JSON files.
#[derive(Debug)]
pub struct SapSample {
    dir: PathBuf,
    file: TokenFile,
}

impl SapSample {
    /// Opens a directory; nothing is written.
    ///
    /// # Errors
    /// When it is no directory, or one in which everybody may replace files.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let given = dir.into();
        let dir = fs::canonicalize(&given).map_err(StoreError::io("open", &given))?;
        let metadata = fs::metadata(&dir).map_err(StoreError::io("open", &dir))?;
        if !metadata.is_dir() {
            let remedy = "name a directory: --dir DIR".to_owned();
            return Err(StoreError::Unsafe { path: given, reason: "is not a directory", remedy });
        }
        if unix::is_open_to_all(&metadata) {
            let remedy = format!("take that right away: chmod o-w {}", dir.display());
            return Err(StoreError::Unsafe { path: dir, reason: "can be written by everybody", remedy });
        }
        // A symbolic link is followed once, here: the lock must stand beside the real file, or two directories that
        // share one token file would have two locks.
        let path = dir.join(TOKEN_FILE);
        let real = fs::canonicalize(&path).unwrap_or(path);
        let fresh = Connection::new(
            format!("sap-sample-{}", Fingerprint::of(&real.to_string_lossy())),
            ONLY_CONNECTION,
            &CONCUR,
        );
        Ok(Self { dir, file: TokenFile::new(Durable::new(real), fresh) })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file that keeps the tokens.
    #[must_use]
    pub fn token_file(&self) -> &Path {
        self.file.path()
    }

    /// What a person should know about the files though nothing is wrong yet.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        for path in [self.dir.join(CREDENTIALS_FILE), self.file.path().to_owned()] {
            if fs::metadata(&path).is_ok_and(|metadata| unix::is_readable_by_others(&metadata)) {
                notices.push(format!(
                    "{0} can be read by others; take that right away: chmod 600 {0}",
                    path.display()
                ));
            }
        }
        if self.file.glance().is_some_and(|read| read.by_another) {
            notices.push(format!(
                "{} was last written by something else (SAP's sample, an editor); its tokens are used, and what \
                 Perennial knew of the former ones is kept as far as it was left there",
                self.file.path().display()
            ));
        }
        notices
    }

    fn check_name(&self, name: &str) -> Result<(), StoreError> {
        if name == ONLY_CONNECTION {
            return Ok(());
        }
        Err(StoreError::NoSuchConnection { name: name.to_owned(), store: self.address() })
    }
}

impl Store for SapSample {
    fn address(&self) -> String {
        // Of the real file: two directories that share one by a link share its rescue files, too.
        format!("sap-sample:{}", self.file.path().parent().unwrap_or(&self.dir).display())
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        Ok(vec![ONLY_CONNECTION.to_owned()])
    }

    fn read(&self, name: &str) -> Result<Connection, StoreError> {
        self.check_name(name)?;
        Ok(self.file.read()?.connection)
    }

    fn app(&self, name: &str) -> Result<App, StoreError> {
        self.check_name(name)?;
        Ok(Credentials::read(&self.dir.join(CREDENTIALS_FILE))?.into_app())
    }

    fn try_claim(&self, name: &str) -> Result<Option<Box<dyn Claim>>, StoreError> {
        self.check_name(name)?;
        let locked = Locked::try_lock(&self.file)?;
        Ok(locked.map(|locked| Box::new(locked) as Box<dyn Claim>))
    }

    fn journal(
        &self,
        name: Option<&str>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        name.map_or(Ok(()), |name| self.check_name(name))?;
        self.file.journal().read(after, limit)
    }

    fn note(&self, name: &str, entry: &Entry) -> Result<(), StoreError> {
        self.check_name(name)?;
        let journal = self.file.journal();
        journal.append(std::slice::from_ref(entry)).map_err(StoreError::io("write", self.file.path()))
    }

    fn add(&self, _: &Connection, _: &App) -> Result<(), StoreError> {
        Err(self.fixed(
            "holds one connection, named default",
            "keep others in another store: --store sqlite:FILE",
        ))
    }

    fn put_app(&self, name: &str, _: &App) -> Result<(), StoreError> {
        self.check_name(name)?;
        let instead = "fill credentials.json in, then: perennial run";
        Err(self.fixed("takes its credentials from a file that a person edits", instead))
    }

    fn rename(&self, name: &str, _: &str) -> Result<(), StoreError> {
        self.check_name(name)?;
        Err(self.fixed("calls its one connection default", "rename the directory"))
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.check_name(name)?;
        Err(self.fixed("is two files that are yours", "move the directory away, once nothing uses it"))
    }

    fn restore(&self, name: &str) -> Result<(), StoreError> {
        self.remove(name)
    }
}

impl SapSample {
    fn fixed(&self, cannot: &'static str, instead: &'static str) -> StoreError {
        StoreError::Fixed { store: self.address(), cannot, instead }
    }
}
