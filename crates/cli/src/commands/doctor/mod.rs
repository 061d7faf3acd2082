//! `perennial doctor`: what is good, and what is not, with the exact next command.
//!
//! | file | what it looks at |
//! |---|---|
//! | `mod.rs` | the verb, the store and its surroundings |
//! | `report` | findings, how grave they are, and how they are told |
//! | `connections` | every connection: its state, its expiries, what stands open |
//! | `certification` | what SAP's certification asks of token management, with the evidence |
//! | `network` | every authorization server: can it be reached? |

mod certification;
mod connections;
mod network;
mod report;

use crate::exit::Exit;
use crate::options::quoted;
use crate::own_profiles;
use crate::session::Session;
use crate::stores::{self, Choice, Opened, of_server};
use crate::trouble::Trouble;
use clap::Args;
use perennial::manage::Outside;
use perennial::seal::KeySource;
use perennial::store::sap_sample::{ONLY_CONNECTION, TOKEN_FILE};
use perennial::store::{Finding, Standing, Store, try_room};
use perennial::{Postgres, Sqlite};
use report::{Report, Severity};
use rustix::fs::statvfs;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Look at everything that a grant depends on, and say what to do about it
///
/// The store, its rights, its keys, its tables, its backup, its disk; whether it is a copy; what is kept outside it;
/// clocks; whether each authorization server can be reached (a connection and its TLS session, no request); expiries;
/// requests without a known outcome; connections that need a person. No token is spent.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial doctor
  perennial doctor --offline          asks nobody
  perennial doctor --json | jq -r '.[] | select(.good | not) | .remedy'
  perennial doctor --restore-backup   puts the last good copy of a damaged database in its place
  perennial doctor --accept-older     takes a database that was put back from an older copy for good
  perennial doctor --certification    what SAP's certification asks, with evidence, to be handed to SAP

Marks: ✓ good, · to be known, ! passes by itself, ✗ a person must act.
Exit codes: 0 nothing is wrong, 3 a person must act, 4 something is wrong that passes by itself.")]
pub(crate) struct Doctor {
    /// Put the last good copy in the place of a damaged database, which is kept aside
    #[arg(long, conflicts_with = "accept_older")]
    restore_backup: bool,

    /// Take the database for good though it is an older copy of itself
    #[arg(long)]
    accept_older: bool,

    /// Connect to no authorization server
    #[arg(long)]
    offline: bool,

    /// Show what SAP Concur's certification asks of token management, each row with evidence from the journal
    #[arg(long, conflicts_with_all = ["restore_backup", "accept_older", "offline"])]
    certification: bool,
}

/// What one refresh may take on the disk: its intent, and room for the answer.
const ROOM: usize = 128 * 1024;

/// With less than this a disk is full soon, in bytes: 64 MiB.
const LITTLE: u64 = 64 * 1024 * 1024;

pub(crate) fn carry_out(session: &Session, doctor: &Doctor) -> Result<Exit, Trouble> {
    session.start_log();
    if doctor.certification {
        return certification::carry_out(session);
    }
    let mut report = Report::new(session);
    if doctor.restore_backup || doctor.accept_older {
        mend(&mut report, doctor)?;
    }
    let choice = session.globals.choice()?;
    match &choice {
        Choice::SapSample(_) => {}
        Choice::Sqlite(file) => found(&mut report, Sqlite::examine(file, &session.sqlite_options()?)),
        Choice::Postgres(url) => {
            let options = of_server(session.sqlite_options()?, session.globals.ca_cert.as_deref());
            found(&mut report, Postgres::examine(url, &options));
        }
    }
    if !matches!(choice, Choice::SapSample(_))
        && let KeySource::File(path) = session.master_key()?.source()
    {
        key_file(&mut report, path);
    }
    room(&mut report, &choice);
    let is_explained = report.is_anything_wrong();
    match session.store() {
        Ok(store) => opened(&mut report, doctor, &choice, &store),
        Err(_) if is_explained => {}
        Err(trouble) => report.trouble("place", trouble),
    }
    profiles(&mut report);
    report.conclude()
}

/// A file that cannot be used leaves its connections with the most careful rules.
fn profiles(report: &mut Report<'_>) {
    for file in own_profiles::all() {
        let (path, word) = (file.path.display(), quoted(&file.path.to_string_lossy()));
        match file.read {
            Ok(_) => report.good("profiles", format!("the profile {} in {path} can be used", file.name)),
            Err(problem) => report.bad(
                "profiles",
                format!("the profile {} in {path} cannot be used: {}", file.name, problem.first()),
                format!("perennial profile check {word}"),
            ),
        }
    }
}

/// Only a database can be put back, or taken for good.
fn mend(report: &mut Report<'_>, doctor: &Doctor) -> Result<(), Trouble> {
    let none = |what| Trouble::usage(what, "name the database: perennial doctor --store sqlite:FILE");
    let file = match report.session.globals.choice()? {
        Choice::Sqlite(file) => file,
        Choice::SapSample(_) => return Err(none("SAP's two files have no backup")),
        Choice::Postgres(_) => return Err(none("the backups of a server are its administrator's")),
    };
    if doctor.restore_backup {
        let aside = Sqlite::restore_backup(&file)?;
        let aside = aside.display();
        report.good("backup", format!("the last good copy is in place; what was there is kept as {aside}"));
    } else {
        Sqlite::accept_older(&file)?;
        report.good("contents", format!("{} is taken for good as it is", file.display()));
    }
    Ok(())
}

/// What the store itself found.
fn found(report: &mut Report<'_>, findings: Vec<Finding>) {
    for found in findings {
        match found.remedy {
            _ if found.is_good => report.good(found.area, found.what),
            remedy => report.bad(found.area, found.what, remedy.unwrap_or_default()),
        }
    }
}

/// That it opens the database is told by the database; that others cannot read it, here.
fn key_file(report: &mut Report<'_>, path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    let (shown, word) = (path.display(), quoted(&path.to_string_lossy()));
    if metadata.mode() & 0o077 == 0 {
        return report
            .good("keys", format!("the master key {shown} is its owner's alone; keep a copy elsewhere"));
    }
    report.bad("keys", format!("the master key {shown} is open to others"), format!("chmod 600 {word}"));
}

/// A store that cannot write spends no token: is there room for what a refresh writes, and for some time to come?
fn room(report: &mut Report<'_>, choice: &Choice) {
    let (file, bytes) = match choice {
        Choice::SapSample(dir) => (dir.join(TOKEN_FILE), ROOM),
        Choice::Sqlite(file) => (file.clone(), 4 * ROOM),
        // Nobody can look at a server's disk from here.
        Choice::Postgres(_) => return,
    };
    // What is not there yet, or may not be written, is told by others.
    let Some(dir) = file.parent().filter(|dir| dir.is_dir()) else { return };
    if report.is_anything_wrong() {
        return;
    }
    if let Err(error) = try_room(&file, bytes) {
        return report.trouble("space", error.into());
    }
    let Ok(disk) = statvfs(dir) else { return report.good("space", "there is room for the next tokens") };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let free_mebibytes = free / (1024 * 1024);
    // A copy of itself must find room beside it.
    let wanted = LITTLE.max(fs::metadata(&file).map_or(0, |metadata| metadata.len()));
    if free >= wanted {
        return report
            .good("space", format!("there is room for the next tokens: {free_mebibytes} MiB are free"));
    }
    let dir = quoted(&dir.to_string_lossy());
    let what = format!("only {free_mebibytes} MiB are free where the store lies");
    report.remark("space", what, format!("make room before it is full: df -h {dir}"));
}

/// What depends on an open store is looked at only where it opens.
fn opened(report: &mut Report<'_>, doctor: &Doctor, choice: &Choice, store: &Opened) {
    if matches!(choice, Choice::SapSample(_)) {
        report.good("place", format!("{} opens", store.shared().address()));
        files(report, store);
        lock(report, store);
    }
    match report.session.keeper_quietly(store) {
        Ok(keeper) => {
            keeper.drain();
            outside(report, &keeper.outside());
            let seen = connections::look(report, &keeper);
            standing(report, store.shared().as_ref(), seen.is_strict);
            if !doctor.offline {
                network::look(report, seen.bases);
                network::ask_about(report, &keeper, &seen.to_be_asked_about);
            }
        }
        Err(trouble) => report.trouble("place", trouble),
    }
}

/// A copy is grave where it may not present: with a server that takes a refresh token only once.
fn standing(report: &mut Report<'_>, store: &dyn Store, is_strict: bool) {
    match store.standing() {
        Ok(Standing::InUse) => report.good("copies", "it is no copy, as far as can be seen"),
        Ok(Standing::Copy(of)) => {
            let severity = if is_strict { Severity::Person } else { Severity::Remark };
            let remedy = "once nothing else uses these grants, name this the one in use: perennial adopt";
            report.put(
                "copies",
                severity,
                format!("{} is a copy: {of}", store.address()),
                Some(remedy.to_owned()),
            );
        }
        Ok(Standing::Moved { to }) => report.remark(
            "copies",
            format!("{} was handed over to {to}: it renews nothing any more", store.address()),
            "to take that back: perennial adopt",
        ),
        Err(error) => report.trouble("copies", error.into()),
    }
}

fn files(report: &mut Report<'_>, store: &Opened) {
    let notices = store.notices();
    if notices.is_empty() {
        report.good(
            "permissions",
            "its files can be read by their owner alone; they are plain text, as SAP's sample wants",
        );
    }
    for notice in notices {
        let (what, remedy) = notice.split_once("; ").unwrap_or((&notice, "look into it"));
        report.bad("permissions", what, remedy);
    }
}

/// Whoever cannot take the lock cannot store new tokens either.
fn lock(report: &mut Report<'_>, store: &Opened) {
    match store.shared().try_claim(ONLY_CONNECTION) {
        Ok(Some(_)) => report.good("place", "its lock can be taken, and new tokens could be stored"),
        Ok(None) => report.good("place", "another process holds its lock, and is at work"),
        Err(error) => report.trouble("place", error.into()),
    }
}

fn outside(report: &mut Report<'_>, outside: &[Outside]) {
    for Outside { path, is_tokens, problem } in outside {
        let path = path.display();
        match (is_tokens, problem) {
            (true, None) => report.bad(
                "outside",
                format!("tokens wait in {path} for the store"),
                "the next command takes them in, once the store can be written: perennial status",
            ),
            (true, Some(problem)) => report.bad(
                "outside",
                format!("tokens wait in {path}, and it does not open: {problem}"),
                "name the master key that it was sealed with: perennial doctor --master-key file:PATH",
            ),
            (false, _) => report.bad(
                "outside",
                format!("an answer that nobody could read is kept in {path}; tokens may be in it"),
                "keep it until the connection works again; then it may be deleted",
            ),
        }
    }
    if outside.is_empty() {
        report.good("outside", "nothing waits outside the store");
    }
    let Some(dir) = stores::rescue_dir() else { return };
    let Ok(metadata) = fs::metadata(&dir) else { return };
    if metadata.mode() & 0o077 != 0 {
        let remedy = format!("chmod 700 {}", quoted(&dir.to_string_lossy()));
        report.bad("outside", format!("{} is open to others", dir.display()), remedy);
    }
}
