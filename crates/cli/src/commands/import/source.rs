//! Where connections are taken from, one item after the other, so that a hundred thousand need no more memory than one.

use super::grants::Defaults;
use super::{Import, list};
use crate::exit::Exit;
use crate::options::quoted;
use crate::session::Session;
use crate::stores::{self, Choice, Opened};
use crate::trouble::Trouble;
use perennial::core::Connection;
use perennial::seal::MasterKey;
use perennial::store::archive;
use perennial::store::interchange::{self, Parcel};
use perennial::store::{Store, StoreError};
use perennial::{Error, Keeper, Options, SapSample, SqliteOptions};
use serde_json::Value;
use std::cell::Cell;
use std::fs;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// One connection, or why it cannot be taken in.
pub(super) struct Item {
    /// Where it stands: a directory, a file and line, a name.
    pub(super) at: String,
    /// How far the source is read behind it.
    pub(super) position: u64,
    pub(super) parcel: Result<Parcel, Trouble>,
}

impl Item {
    /// A row of a list.
    pub(super) fn of_row(at: String, position: u64, parcel: Result<Parcel, String>) -> Self {
        let hint = "mend that row, then import the file again: what was taken in stays";
        let parcel = parcel.map_err(|why| Trouble::new(Exit::PersonMustAct, why, hint));
        Self { at, position, parcel }
    }
}

/// All that is to be taken in.
pub(super) struct Source {
    /// What was named, in full.
    pub(super) from: String,
    /// How much there is, in the unit of [`Item::position`].
    pub(super) total: u64,
    pub(super) items: Box<dyn Iterator<Item = Item>>,
    /// Something that a person should know of how it was read.
    pub(super) remark: Option<String>,
    /// True where something goes on working with the same grants.
    pub(super) goes_on: bool,
}

impl Source {
    pub(super) fn new(path: &Path, total: u64, items: impl Iterator<Item = Item> + 'static) -> Self {
        let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let from = whole.display().to_string();
        Self { from, total, items: Box::new(items), remark: None, goes_on: true }
    }

    pub(super) fn remarking(self, remark: String) -> Self {
        Self { remark: Some(remark), ..self }
    }
}

/// Opens what was named, whatever it is.
///
/// # Errors
/// When it is nothing that connections can be taken from.
pub(super) fn open(session: &Session, import: &Import, defaults: Defaults) -> Result<Source, Trouble> {
    let path = &import.from;
    let text = path.to_string_lossy();
    let scheme = text.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
    if ["sqlite", "sap-sample", "postgres", "postgresql"].contains(&scheme) && !path.exists() {
        return store(session, import, &Choice::read(&text)?);
    }
    if !path.is_file() {
        return directories(session, import);
    }
    let mut head = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(64 * 1024).read_to_end(&mut head));
    read.map_err(|error| list::unreadable(path, &error.to_string()))?;
    if archive::is_one(&head) {
        return sealed(session, import);
    }
    if head.starts_with(b"SQLite format 3\0") {
        return store(session, import, &Choice::Sqlite(path.clone()));
    }
    file(import, &head, defaults)
}

fn file(import: &Import, head: &[u8], defaults: Defaults) -> Result<Source, Trouble> {
    let path = &import.from;
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    if !head.starts_with(b"{") {
        names_itself(import)?;
        return list::csv(path, defaults);
    }
    // An environment is one object over many lines; a list has one a line.
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_list = serde_json::from_slice::<Value>(first).is_ok_and(|first| !list::is_postman(&first));
    if !is_list {
        let whole = fs::read(path).map_err(|error| list::unreadable(path, &error.to_string()))?;
        let whole: Option<Value> = serde_json::from_slice(&whole).ok().filter(list::is_postman);
        if let Some(environment) = whole {
            return list::postman(path, &environment, import.name.as_deref(), &defaults);
        }
    }
    names_itself(import)?;
    list::json_lines(path, defaults)
}

/// A list has a column for names.
fn names_itself(import: &Import) -> Result<(), Trouble> {
    match import.name {
        Some(_) => Err(Trouble::usage(
            "a list names its connections itself",
            "leave --as out, and fill the column name in",
        )),
        None => Ok(()),
    }
}

/// An archive that export wrote. It is read while it is taken in; what is wrong with it shows where it begins.
fn sealed(session: &Session, import: &Import) -> Result<Source, Trouble> {
    let path = import.from.clone();
    let open = || {
        let file = fs::File::open(&path).map_err(|error| list::unreadable(&path, &error.to_string()))?;
        let total = file.metadata().map_or(0, |metadata| metadata.len());
        Ok::<_, Trouble>((Counted { file, read: Rc::default() }, total))
    };
    let of_archive = |error| super::super::export::of_archive(error, &path);
    let wants = archive::wants_passphrase(&mut BufReader::new(open()?.0)).map_err(of_archive)?;
    let key =
        if wants { MasterKey::of_passphrase(import.passphrase.read()?) } else { from_key(session, import)? };
    let (counted, total) = open()?;
    let read = Rc::clone(&counted.read);
    let mut archive = archive::Reader::open(BufReader::new(counted), &key).map_err(of_archive)?;
    let first: Vec<_> = archive.by_ref().take(2).collect();
    if first.len() > 1 && import.name.is_some() {
        return Err(one_name_for_several(&import.from));
    }
    let (name, place) = (import.name.clone(), path.clone());
    let items = first.into_iter().chain(archive).map(move |parcel| {
        let parcel = parcel.map(|mut parcel| {
            if let Some(name) = &name {
                parcel.connection.name.clone_from(name);
            }
            parcel
        });
        let parcel = parcel.map_err(|error| super::super::export::of_archive(error, &place));
        let at = parcel.as_ref().map_or_else(|_| String::new(), |parcel| parcel.connection.name.clone());
        Item { at, position: read.get(), parcel }
    });
    Ok(Source { goes_on: false, ..Source::new(&import.from, total, items) })
}

/// A file that says how far it has been read.
struct Counted {
    file: fs::File,
    read: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.read.set(self.read.get() + u64::try_from(read).unwrap_or(0));
        Ok(read)
    }
}

/// The master key of what is taken in.
fn from_key(session: &Session, import: &Import) -> Result<MasterKey, Trouble> {
    let key = import.from_master_key.clone().or(session.globals.master_key.clone());
    key.or_else(stores::standard_key)
        .map(|source| session.key_from(source))
        .ok_or_else(|| Trouble::usage("which master key?", "name it: --from-master-key file:PATH"))
}

/// Another store of Perennial's. Nothing of it is changed, but what it had to rescue is taken in there first.
fn store(session: &Session, import: &Import, choice: &Choice) -> Result<Source, Trouble> {
    let options = || {
        let tenant = import.from_tenant.as_deref().unwrap_or(&session.globals.tenant);
        Ok(SqliteOptions::new(from_key(session, import)?).tenant(tenant))
    };
    if let Choice::Sqlite(file) = choice
        && !file.exists()
    {
        return Err(list::unreadable(file, "it is not there"));
    }
    let opened: Opened = choice.open(options, session.globals.ca_cert.as_deref()).map_err(|trouble| {
        let hint = "the key that it was sealed with is named by --from-master-key file:PATH";
        if trouble.message.contains("does not open") { trouble.hinting(hint) } else { trouble }
    })?;
    let store = opened.shared();
    let places = session.places_with(import.from_master_key.as_ref());
    Keeper::open_shared(Arc::clone(&store), Options { places, ..session.options()? }).drain();
    let names = store.names()?;
    let (total, address) = (u64::try_from(names.len()).unwrap_or(0), store.address());
    if names.len() != 1 && import.name.is_some() {
        return Err(one_name_for_several(&import.from));
    }
    let name = import.name.clone();
    let items = (1..).zip(names).map(move |(position, of)| {
        let parcel = parcel(store.as_ref(), &of).map(|mut parcel| {
            if let Some(name) = &name {
                parcel.connection.name.clone_from(name);
            }
            parcel
        });
        Item { at: of, position, parcel: parcel.map_err(Trouble::from) }
    });
    Ok(Source { from: address, total, items: Box::new(items), remark: None, goes_on: true })
}

/// A connection of a store with all that belongs to it. A request that is under way on it comes along as its open
/// intent, whose deadline is waited out (law 2).
pub(crate) fn parcel(store: &dyn Store, name: &str) -> Result<Parcel, StoreError> {
    let connection = store.read(name)?;
    Ok(Parcel { connection, app: store.app(name)?, history: interchange::history(store, name)? })
}

fn one_name_for_several(from: &Path) -> Trouble {
    let hint = format!("leave --as out: perennial import {}", quoted(&from.to_string_lossy()));
    Trouble::usage("--as names one connection, and there are several", hint)
}

/// A directory with SAP's two files, or a tree of such.
fn directories(session: &Session, import: &Import) -> Result<Source, Trouble> {
    let found = found(import)?;
    let total = u64::try_from(found.len()).unwrap_or(0);
    let options = session.options()?;
    let items = (1..).zip(found).map(move |(position, (name, dir))| {
        let parcel = read_directory(&options, &dir, &name);
        Item { at: dir.display().to_string(), position, parcel }
    });
    Ok(Source::new(&import.from, total, items))
}

/// Names and directories.
fn found(import: &Import) -> Result<Vec<(String, PathBuf)>, Trouble> {
    let Import { from, name, .. } = import;
    let mut found = Vec::new();
    // Deeper than anybody keeps customers; and a loop of links ends.
    search(from, 8, &mut found).map_err(|error| {
        let hint =
            "name a directory with SAP's two files, a list, an archive or a store: perennial import FROM";
        Trouble::usage(format!("cannot read {}: {error}", from.display()), hint)
    })?;
    found.sort();
    if found.is_empty() {
        return Err(Trouble::usage(
            format!(
                "there is neither credentials.json nor refreshTokenObjectFile.json in {}",
                from.display()
            ),
            "name a directory with SAP's two files, or one that holds such directories",
        ));
    }
    if name.is_some() && found.len() > 1 {
        return Err(one_name_for_several(from));
    }
    let own = |dir: &Path| {
        let whole = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    Ok(found.into_iter().map(|dir| (name.clone().unwrap_or_else(|| own(&dir)), dir)).collect())
}

fn search(dir: &Path, deep: u32, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if interchange::is_one(dir) {
        found.push(dir.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(dir)?.flatten() {
        // Links are not followed: what they lead to is found where it lies.
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir && deep > 0 {
            // One that may not be read keeps no other from being found.
            let _ = search(&entry.path(), deep - 1, found);
        }
    }
    Ok(())
}

/// One directory. What its own keeper had to rescue is taken in there first.
pub(crate) fn read_directory(options: &Options, dir: &Path, name: &str) -> Result<Parcel, Trouble> {
    Keeper::open(SapSample::open(dir)?, options.clone()).drain();
    let parcel = interchange::read(dir).map_err(|error| of_directory(error, dir))?.ok_or(Error::Busy)?;
    let Parcel { connection, app, history } = parcel;
    let connection = Connection { id: perennial::request_id(), name: name.to_owned(), ..connection };
    Ok(Parcel { connection, app, history })
}

fn of_directory(error: StoreError, dir: &Path) -> Trouble {
    let hint = match &error {
        StoreError::NoCredentials { .. } => format!(
            "App ID and client secret are needed beside the tokens; put credentials.json into {}",
            dir.display()
        ),
        StoreError::Incomplete { path, .. } => format!("fill {} in, then try again", path.display()),
        StoreError::Unreadable { .. } => "it has not been touched; mend it, then try again".to_owned(),
        _ => return error.into(),
    };
    Trouble::from(error).hinting(hint)
}
