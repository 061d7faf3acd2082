//! What `perennial doctor` finds out about a database, one finding a look. It changes nothing.

use super::database::Meta;
use super::failure::At;
use super::keys::Keys;
use super::lock::{LockFile, STORE};
use super::place::{Place, file_system};
use super::row::Row;
use super::schema;
use super::{SqliteOptions, apps, backup};
use crate::store::StoreError;
use crate::unix;
use perennial_core::token_endpoint::plain;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What was found, and what a person does about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// One line, lower case, with the file's name in it.
    pub what: String,
    /// False when a person must do something.
    pub is_good: bool,
    /// What that is: a command, as a rule.
    pub remedy: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self { what: what.into(), is_good: true, remedy: None }
    }

    fn bad(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), is_good: false, remedy: Some(remedy.into()) }
    }

    fn of(error: &StoreError, place: Option<&Place>) -> Self {
        let remedy = match error {
            StoreError::Unsafe { remedy, .. } => remedy.clone(),
            StoreError::Damaged { .. } => mending(place),
            StoreError::Closed { .. } => {
                "name the master key that it was made with: --master-key file:PATH".to_owned()
            }
            _ => "put that right, then: perennial doctor".to_owned(),
        };
        Self::bad(error.to_string(), remedy)
    }
}

/// A backup older than this is worth a word: one is made with every new token, or once an hour.
const OLD: Duration = Duration::from_secs(31 * 86_400);

pub(super) fn examine(path: &Path, options: &SqliteOptions) -> Vec<Finding> {
    let place = match Place::find(path).and_then(|place| place.check_key(&options.master_key).map(|()| place))
    {
        Ok(place) => place,
        Err(error) => return vec![Finding::of(&error, None)],
    };
    let mut findings = vec![disk(&place)];
    let lock = LockFile::look(place.lock());
    if !place.path.exists() {
        findings.push(absence(&place, lock.as_ref()));
        return findings;
    }
    findings.extend(rights(&place));
    findings.extend(contents(&place, options, lock.as_ref()));
    findings
}

fn disk(place: &Place) -> Finding {
    let kind = file_system(&place.dir)
        .map_or_else(|| "a disk of this machine".to_owned(), |kind| format!("{kind} here"));
    Finding::good(format!("{} lies on {kind}, not on a network", place.dir.display()))
}

fn absence(place: &Place, lock: Option<&LockFile>) -> Finding {
    let path = place.path.display();
    match lock.map(|lock| lock.mark(STORE)) {
        Some(Ok(mark)) if mark > 0 => {
            Finding::bad(format!("{path} is not there any more"), mending(Some(place)))
        }
        _ => Finding::good(format!("{path} is not there yet; what is added first makes it")),
    }
}

fn mending(place: Option<&Place>) -> String {
    match place {
        Some(place) if place.backup().exists() => format!(
            "put the newest good copy ({}) in its place; the damaged file is kept: perennial doctor --restore-backup",
            place.backup().display()
        ),
        _ => "there is no backup beside it: put a copy of your own in its place, then: perennial doctor --accept-older"
            .to_owned(),
    }
}

fn rights(place: &Place) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in [place.path.clone(), place.wal(), place.lock(), place.backup()] {
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if unix::is_readable_by_others(&metadata) {
            findings.push(Finding::bad(
                format!("{} can be read by others", path.display()),
                format!("chmod 600 {}", path.display()),
            ));
        }
        if unix::is_read_only(&metadata) {
            findings.push(Finding::bad(
                format!("{} is read-only, so new tokens could not be stored", path.display()),
                format!("chmod u+w {}", path.display()),
            ));
        }
    }
    if let Err(error) = rustix::fs::access(&place.dir, rustix::fs::Access::WRITE_OK) {
        let remedy = match error {
            rustix::io::Errno::ROFS => format!(
                "its file system is mounted read-only: have it mounted for writing, or move {} and what is beside it to a \
                 place that can be written: --store sqlite:FILE",
                place.path.display()
            ),
            _ => format!("chmod u+rwx {}", place.dir.display()),
        };
        findings.push(Finding::bad(format!("{} cannot be written ({error})", place.dir.display()), remedy));
    }
    if findings.is_empty() {
        findings.push(Finding::good(format!(
            "{} and what is beside it are its owner's alone",
            place.path.display()
        )));
    }
    findings
}

fn contents(place: &Place, options: &SqliteOptions, lock: Option<&LockFile>) -> Vec<Finding> {
    let at = At { place, action: "read" };
    let mut findings = Vec::new();
    let opened = || -> Result<_, StoreError> {
        let mark =
            lock.map_or(Ok(0), |lock| lock.mark(STORE)).map_err(StoreError::io("read", place.lock()))?;
        place.check_shape()?;
        let sql = schema::connect_to_read(place)?.sql;
        schema::check(place, &sql)?;
        let meta = Meta::read(&sql).map_err(|error| at.failed(error))?;
        Ok((mark, sql, meta))
    };
    let (mark, sql, meta) = match opened() {
        Ok(opened) => opened,
        Err(error) => {
            findings.push(Finding::of(&error, Some(place)));
            findings.push(copy(place, None));
            return findings;
        }
    };
    findings.push(match backup::integrity_check(place, &sql) {
        Ok(()) => Finding::good(format!("{} is whole", place.path.display())),
        Err(error) => Finding::of(&error, Some(place)),
    });
    let keys = match Keys::open(place, &options.master_key, meta.store.clone(), &meta.data_key) {
        Ok(keys) => keys,
        Err(error) => {
            findings.push(Finding::of(&error, Some(place)));
            return findings;
        }
    };
    match Row::all(&sql) {
        Ok(rows) => {
            findings.extend(secrets(place, &keys, &sql, &rows));
            findings.push(age(place, &meta, mark, &rows, lock));
            findings.extend(claims(&rows, lock));
        }
        Err(error) => findings.push(Finding::of(&at.failed(error), Some(place))),
    }
    findings.push(copy(place, Some(&keys)));
    findings
}

/// Every secret opens, or the connection is named whose does not.
fn secrets(place: &Place, keys: &Keys, sql: &rusqlite::Connection, rows: &[Row]) -> Vec<Finding> {
    let open = |row: &Row| {
        row.open(keys, place)?;
        row.request_token(keys, place)?;
        apps::client(sql, keys, place, row.app).map(drop)
    };
    let closed = rows.iter().filter_map(|row| open(row).err());
    let mut findings: Vec<_> = closed.map(|error| Finding::of(&error, Some(place))).collect();
    if findings.is_empty() {
        findings.push(Finding::good(format!("every secret of {} connections opens", rows.len())));
    }
    findings
}

/// Whether this is what was written last.
fn age(place: &Place, meta: &Meta, mark: i64, rows: &[Row], lock: Option<&LockFile>) -> Finding {
    let of = |number| lock.and_then(|lock| lock.mark(number).ok()).unwrap_or(0);
    let is_newest = meta.changes >= mark && rows.iter().all(|row| row.changed >= of(row.number));
    if is_newest {
        return Finding::good(format!("it holds what was written last (change {})", meta.changes));
    }
    let remedy = format!(
        "{}; or go on from the older state, which may hold refresh tokens that were replaced since: \
                          perennial doctor --accept-older",
        mending(Some(place))
    );
    Finding::bad(super::database::older(place).to_string(), remedy)
}

fn claims(rows: &[Row], lock: Option<&LockFile>) -> Vec<Finding> {
    let Some(lock) = lock else { return Vec::new() };
    let claimed = rows.iter().filter(|row| lock.is_claimed(row.number).unwrap_or(false));
    claimed
        .map(|row| plain(&row.name))
        .map(|name| Finding::good(format!("connection \"{name}\" is claimed by a running process")))
        .collect()
}

fn copy(place: &Place, keys: Option<&Keys>) -> Finding {
    let path = place.backup();
    let Ok(metadata) = fs::metadata(&path) else {
        return Finding::bad(
            format!("there is no backup {}", path.display()),
            "the next new token makes one: perennial refresh NAME",
        );
    };
    let checked = match keys {
        Some(keys) => backup::check(place, keys, &path),
        None => backup::connect(place, &path).and_then(|sql| backup::integrity_check(place, &sql)),
    };
    if let Err(error) = checked {
        let again = format!("remove it, and the next new token makes another: rm {}", path.display());
        return Finding::bad(format!("the backup {} is of no use: {error}", path.display()), again);
    }
    let age =
        metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default();
    let days = age.as_secs() / 86_400;
    let what = format!("the backup {} is good, and {days} days old", path.display());
    if age < OLD {
        Finding::good(what)
    } else {
        Finding::bad(what, "a new token makes another: perennial refresh NAME")
    }
}
