//! What `perennial doctor` finds out about a database, one finding a look. It changes nothing.

use super::database::Meta;
use super::keys::Ring;
use super::lock::{LockFile, STORE};
use super::place::{Place, file_system};
use super::row;
use super::schema;
use super::{SqliteOptions, apps, backup};
use crate::store::StoreError;
use crate::store::sealed::keys::Keys;
use crate::store::sealed::row::Row;
use crate::unix;
use perennial_core::token_endpoint::plain;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What was found, and what a person does about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: `place`, `permissions`, `keys`, `schema`, `contents`, `backup`, `durability`, `clock`.
    pub area: &'static str,
    /// One line, lower case, with the file's name in it.
    pub what: String,
    /// False when a person must do something.
    pub is_good: bool,
    /// What that is: a command, as a rule.
    pub remedy: Option<String>,
}

impl Finding {
    pub(crate) fn good(area: &'static str, what: impl Into<String>) -> Self {
        Self { area, what: what.into(), is_good: true, remedy: None }
    }

    pub(crate) fn bad(area: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { area, what: what.into(), is_good: false, remedy: Some(remedy.into()) }
    }

    fn of(error: &StoreError, place: Option<&Place>) -> Self {
        let remedy = match error {
            StoreError::Unsafe { remedy, .. } | StoreError::Closed { remedy, .. } => remedy.clone(),
            StoreError::Damaged { .. } => mending(place),
            _ => "put that right, then: perennial doctor".to_owned(),
        };
        let area = match error {
            StoreError::Unsafe { .. } => "place",
            StoreError::Closed { .. } => "keys",
            _ => "contents",
        };
        Self::bad(area, error.to_string(), remedy)
    }
}

/// A backup older than this is worth a word: one is made with every new token, or once an hour.
const OLD: Duration = Duration::from_secs(31 * 86_400);

pub(super) fn examine(path: &Path, options: &SqliteOptions) -> Vec<Finding> {
    let place = match Place::find(path)
        .and_then(|place| place.check_key(options.master_key.source()).map(|()| place))
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
    Finding::good("place", format!("{} lies on {kind}, not on a network", place.dir.display()))
}

fn absence(place: &Place, lock: Option<&LockFile>) -> Finding {
    let path = place.path.display();
    match lock.map(|lock| lock.mark(STORE)) {
        Some(Ok(mark)) if mark > 0 => {
            Finding::bad("contents", format!("{path} is not there any more"), mending(Some(place)))
        }
        _ => Finding::good("contents", format!("{path} is not there yet; what is added first makes it")),
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
                "permissions",
                format!("{} can be read by others", path.display()),
                format!("chmod 600 {}", path.display()),
            ));
        }
        if unix::is_read_only(&metadata) {
            findings.push(Finding::bad(
                "permissions",
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
        findings.push(Finding::bad(
            "permissions",
            format!("{} cannot be written ({error})", place.dir.display()),
            remedy,
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::good(
            "permissions",
            format!("{} and what is beside it are its owner's alone", place.path.display()),
        ));
    }
    findings
}

fn contents(place: &Place, options: &SqliteOptions, lock: Option<&LockFile>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let opened = || -> Result<_, StoreError> {
        let mark =
            lock.map_or(Ok(0), |lock| lock.mark(STORE)).map_err(StoreError::io("read", place.lock()))?;
        place.check_shape()?;
        let sql = schema::connect_to_read(place)?.sql;
        schema::check(place, &sql)?;
        let form = schema::form(&sql).map_err(|error| place.at("read").failed(error))?;
        let meta = Meta::read(&sql).map_err(|error| place.at("read").failed(error))?;
        Ok((mark, sql, meta, form))
    };
    let (mark, sql, meta, form) = match opened() {
        Ok(opened) => opened,
        Err(error) => {
            findings.push(Finding::of(&error, Some(place)));
            findings.push(copy(place, None));
            return findings;
        }
    };
    findings.push(match backup::integrity_check(place, &sql) {
        Ok(()) => Finding::good("contents", format!("{} is whole", place.path.display())),
        Err(error) => Finding::of(&error, Some(place)),
    });
    if form < schema::VERSION {
        let what =
            format!("{} is of form {form}; who opens it next brings it up to date", place.path.display());
        findings.push(Finding::good("schema", what));
        return findings;
    }
    findings
        .push(Finding::good("schema", format!("its tables are of form {form}, which this version writes")));
    let opened = Ring::open(place, &options.master_key, meta.store.clone(), &sql)
        .and_then(|ring| ring.keys(&sql).map(|keys| (ring, keys)));
    let (ring, keys) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            findings.push(Finding::of(&error, Some(place)));
            return findings;
        }
    };
    match rows(place, &keys, &sql, lock) {
        Ok(rows) => {
            findings.extend(rows.findings());
            findings.push(age(place, &meta, mark, rows.is_newest));
        }
        Err(error) => findings.push(Finding::of(&error, Some(place))),
    }
    findings.push(copy(place, Some(&ring)));
    findings
}

/// What was seen of all connections.
#[derive(Default)]
struct Rows {
    count: u64,
    /// The first of those that do not open; how many do not.
    closed: Vec<Finding>,
    closed_count: u64,
    /// The same for those at which a process is at work.
    claimed: Vec<String>,
    claimed_count: u64,
    /// False when one of them is older than its mark.
    is_newest: bool,
}

/// Of a kind so many are named: a store may hold a million.
const NAMED: usize = 20;

/// Every secret is opened.
fn rows(
    place: &Place,
    keys: &Keys,
    sql: &rusqlite::Connection,
    lock: Option<&LockFile>,
) -> Result<Rows, StoreError> {
    let mut rows = Rows { is_newest: true, ..Rows::default() };
    let open = |row: &Row| {
        row.open(keys).and_then(|_| row.request_token(keys)).map_err(|error| place.unsealed(error))?;
        apps::client(sql, keys, place, row.app).map(drop)
    };
    row::each(sql, place, |row| {
        rows.count += 1;
        if let Err(error) = open(&row) {
            rows.closed_count += 1;
            if rows.closed.len() < NAMED {
                rows.closed.push(Finding::of(&error, Some(place)));
            }
        }
        if let Some(lock) = lock {
            rows.is_newest &= row.changed >= lock.mark(row.number).unwrap_or(0);
            if lock.is_claimed(row.number).unwrap_or(false) {
                rows.claimed_count += 1;
                if rows.claimed.len() < NAMED {
                    rows.claimed.push(plain(&row.name));
                }
            }
        }
        Ok(())
    })?;
    Ok(rows)
}

impl Rows {
    /// The connection is named whose secrets do not open.
    fn findings(&self) -> Vec<Finding> {
        let mut findings = self.closed.clone();
        let plural = if self.count == 1 { "" } else { "s" };
        if findings.is_empty() {
            let what = format!("every secret of {} connection{plural} opens", self.count);
            findings.push(Finding::good("contents", what));
        }
        let more = self.closed_count.saturating_sub(self.closed.len() as u64);
        if more > 0 {
            let what = format!("{more} more connections do not open");
            findings.push(Finding::bad("contents", what, "as above, then: perennial doctor"));
        }
        let claimed = |name: &String| {
            Finding::good("contents", format!("connection \"{name}\" is claimed by a running process"))
        };
        findings.extend(self.claimed.iter().map(claimed));
        let more = self.claimed_count.saturating_sub(self.claimed.len() as u64);
        if more > 0 {
            findings.push(Finding::good("contents", format!("{more} more are claimed by running processes")));
        }
        findings
    }
}

/// Whether this is what was written last.
fn age(place: &Place, meta: &Meta, mark: i64, rows_are_newest: bool) -> Finding {
    if meta.changes >= mark && rows_are_newest {
        return Finding::good(
            "contents",
            format!("it holds what was written last (change {})", meta.changes),
        );
    }
    let remedy = format!(
        "{}; or go on from the older state, which may hold refresh tokens that were replaced since: \
                          perennial doctor --accept-older",
        mending(Some(place))
    );
    Finding::bad("contents", super::database::older(place).to_string(), remedy)
}

fn copy(place: &Place, ring: Option<&Ring>) -> Finding {
    let path = place.backup();
    if fs::metadata(&place.path).is_ok_and(|metadata| metadata.len() > backup::LARGE) {
        return Finding::good(
            "backup",
            format!(
                "{} is too large for a copy with every new token: have one made every night (perennial backup FILE)",
                place.path.display()
            ),
        );
    }
    let Ok(metadata) = fs::metadata(&path) else {
        return Finding::bad(
            "backup",
            format!("there is no backup {}", path.display()),
            "the next new token makes one: perennial refresh NAME",
        );
    };
    let checked = match ring {
        Some(ring) => backup::check(place, ring, &path).map(drop),
        None => backup::connect(place, &path).and_then(|sql| backup::integrity_check(place, &sql)),
    };
    if let Err(error) = checked {
        let again = format!("remove it, and the next new token makes another: rm {}", path.display());
        return Finding::bad("backup", format!("the backup {} is of no use: {error}", path.display()), again);
    }
    let age =
        metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default();
    let days = age.as_secs() / 86_400;
    let what = format!("the backup {} is good, and {days} days old", path.display());
    if age < OLD {
        Finding::good("backup", what)
    } else {
        Finding::bad("backup", what, "a new token makes another: perennial refresh NAME")
    }
}
