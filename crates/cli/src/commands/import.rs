//! `perennial import`: takes in connections that stand in directories.

use super::add;
use crate::exit::Exit;
use crate::options::quoted;
use crate::session::Session;
use crate::trouble::Trouble;
use clap::Args;
use perennial::core::Connection;
use perennial::store::interchange::{self, Parcel};
use perennial::store::{StoreError, check_name};
use perennial::{Error, Keeper, SapSample};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Take in connections that stand in directories: SAP's two files, or what export wrote
///
/// The tokens, the bookkeeping and the history come along, and nothing is sent. The directory is left as it is; use it
/// no more, for two keepers of one grant drift apart.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial import ~/acme              as acme
  perennial import ~/acme --name west
  perennial import ~/customers         each directory in it, by its name")]
pub(crate) struct Import {
    /// A directory with SAP's two files, or a directory of such directories
    #[arg(value_name = "DIR")]
    from: PathBuf,

    /// What to call it [default: the directory's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub(crate) fn carry_out(session: &Session, import: &Import) -> Result<Exit, Trouble> {
    session.start_log();
    let found = found(import)?;
    if let [(name, _)] = found.as_slice() {
        check_name(name)?;
    }
    let keeper = session.keeper_of(&session.store()?)?;
    let (mut taken, mut worst) = (Vec::new(), Exit::Done);
    for (name, dir) in &found {
        match take_in(session, &keeper, dir, name) {
            Ok(()) => taken.push(name.clone()),
            Err(trouble) if found.len() == 1 => return Err(trouble),
            Err(trouble) => {
                worst = worst.graver(trouble.exit);
                session.is_about(name);
                session.printer.trouble(&trouble.prefixed(&dir.display().to_string()).at(&session.place()));
            }
        }
    }
    if session.globals.json {
        let connections = taken.iter().map(|name| keeper.connection(name)).collect::<Result<Vec<_>, _>>()?;
        let all = connections.iter().map(|connection| super::status::as_json(&keeper, connection));
        session.printer.json_data(&all.collect::<Value>())?;
        return Ok(worst);
    }
    if !taken.is_empty() {
        warn_of_two_keepers(session, &import.from);
    }
    if let ([only], 1) = (taken.as_slice(), found.len()) {
        add::report(session, &keeper, only, "imported")?;
    } else {
        session.printer.step(&format!("imported {} of {}", taken.len(), found.len()))?;
        session.printer.note(&session.place().complete("  next: perennial list"));
    }
    Ok(worst)
}

/// Names and directories.
fn found(import: &Import) -> Result<Vec<(String, PathBuf)>, Trouble> {
    let Import { from: dir, name } = import;
    let named = |dir: &Path| {
        let whole = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    if interchange::is_one(dir) {
        return Ok(vec![(name.clone().unwrap_or_else(|| named(dir)), dir.clone())]);
    }
    let entries = fs::read_dir(dir).map_err(|error| {
        let hint = "name a directory with SAP's two files: perennial import DIR";
        Trouble::usage(format!("cannot read {}: {error}", dir.display()), hint)
    })?;
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| interchange::is_one(path))
        .map(|path| (named(&path), path))
        .collect();
    found.sort();
    if found.is_empty() {
        return Err(Trouble::usage(
            format!("there is neither credentials.json nor refreshTokenObjectFile.json in {}", dir.display()),
            "name a directory with SAP's two files, or one that holds such directories",
        ));
    }
    if name.is_some() && found.len() > 1 {
        let hint = format!(
            "import them one by one, or leave --name out: perennial import {}",
            quoted(&dir.to_string_lossy())
        );
        return Err(Trouble::usage(
            format!("--name names one connection, and there are {}", found.len()),
            hint,
        ));
    }
    Ok(found.into_iter().map(|(own, path)| (name.clone().unwrap_or(own), path)).collect())
}

/// Takes one directory in. What its own keeper had to rescue is taken in there first.
pub(super) fn take_in(session: &Session, keeper: &Keeper, dir: &Path, name: &str) -> Result<(), Trouble> {
    session.is_about(name);
    let there = Keeper::open(SapSample::open(dir)?, session.options()?);
    there.drain();
    let parcel = interchange::read(dir).map_err(|error| of_directory(error, dir))?.ok_or(Error::Busy)?;
    let Parcel { connection, app, history } = parcel;
    let connection = Connection { id: perennial::request_id(), name: name.to_owned(), ..connection };
    let app = app.known_since(keeper.now());
    let from = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    keeper.add(&connection, &app, &history, format!("imported from {}", from.display()))?;
    Ok(())
}

/// The directory goes on working, which is the danger.
pub(super) fn warn_of_two_keepers(session: &Session, dir: &Path) {
    session.printer.warn(&format!(
        "{} still holds what was taken in; use it no more, for two keepers of one grant drift apart",
        dir.display()
    ));
}

fn of_directory(error: StoreError, dir: &Path) -> Trouble {
    let hint = match &error {
        StoreError::NoCredentials { .. } => {
            format!(
                "App ID and client secret are needed beside the tokens; put credentials.json into {}",
                dir.display()
            )
        }
        StoreError::Incomplete { path, .. } => format!("fill {} in, then try again", path.display()),
        StoreError::Unreadable { .. } => "it has not been touched; mend it, then try again".to_owned(),
        _ => return error.into(),
    };
    Trouble::from(error).hinting(hint)
}
