//! `perennial export --plain`: connections in the clear, as SAP's two files or as a list. Whoever reads them has the
//! grants; so a person is asked twice.

use super::export::Export;
use super::import::source;
use crate::exit::Exit;
use crate::files;
use crate::session::Session;
use crate::terminal;
use crate::trouble::Trouble;
use crate::words::counted;
use perennial::Keeper;
use perennial::core::grant::Principal;
use perennial::core::secret::{IdToken, RequestToken};
use perennial::core::{Expiry, RefreshToken};
use perennial::store::StoreError;
use perennial::store::interchange::{self, Parcel};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use zeroize::Zeroizing;

/// SAP's two files, with our bookkeeping and the journal.
pub(super) fn directories(
    session: &Session,
    keeper: &Keeper,
    export: &Export,
    names: &[String],
    to: &Path,
) -> Result<Exit, Trouble> {
    ask(export, names.len(), to)?;
    let (mut written, mut exit) = (Vec::new(), Exit::Done);
    let of_its_own = export.all || names.len() > 1;
    for name in names {
        session.is_about(name);
        let dir = if of_its_own { to.join(name) } else { to.to_owned() };
        if let Err(trouble) = write(keeper, name, &dir) {
            if names.len() == 1 {
                return Err(trouble);
            }
            exit = exit.graver(session.printer.trouble(&trouble.prefixed(name).at(&session.place())));
            continue;
        }
        session.printer.step(&format!("{name}: written to {}", dir.display()))?;
        written.push(json!({"connection": name, "directory": dir}));
    }
    if session.globals.json {
        session.printer.json_data(&Value::Array(written.clone()))?;
    }
    if !written.is_empty() {
        warn(session);
    }
    Ok(exit)
}

fn write(keeper: &Keeper, name: &str, dir: &Path) -> Result<(), Trouble> {
    let parcel = source::parcel(keeper.store().as_ref(), name)?;
    interchange::write(dir, &parcel).map_err(|error| match &error {
        StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
            Trouble::from(error).hinting("nothing is overwritten; name another directory: --to-dir DIR")
        }
        _ => error.into(),
    })?;
    let whole = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    keeper.note(name, format!("exported to {}", whole.display()));
    Ok(())
}

/// A list that `perennial import` takes in. Bookkeeping and history stay behind.
pub(super) fn list(
    session: &Session,
    keeper: &Keeper,
    export: &Export,
    names: &[String],
    to: &Path,
) -> Result<Exit, Trouble> {
    ask(export, names.len(), to)?;
    let file = files::create_private(to).map_err(|error| {
        Trouble::file("write", to)(error).hinting("nothing is overwritten; name another file: --to FILE")
    })?;
    let written = write_list(session, keeper, names, file);
    if written.is_err() {
        // Half a list is of no use, and full of secrets.
        let _ = fs::remove_file(to);
    }
    let (count, exit) = written?;
    if session.globals.json {
        session.printer.json_data(&json!({"file": to, "connections": count}))?;
    }
    let counted = counted(count, "connection");
    session.printer.step(&format!("{}: {counted}, in the clear", to.display()))?;
    warn(session);
    Ok(exit)
}

fn write_list(
    session: &Session,
    keeper: &Keeper,
    names: &[String],
    file: fs::File,
) -> Result<(usize, Exit), Trouble> {
    let (mut count, mut exit) = (0, Exit::Done);
    let mut out = BufWriter::new(file);
    for name in names {
        match source::parcel(keeper.store().as_ref(), name) {
            Ok(parcel) => {
                let line = Zeroizing::new(Value::Object(row(&parcel)).to_string());
                writeln!(out, "{}", line.as_str())?;
                count += 1;
            }
            Err(error) => exit = exit.graver(session.tell_of(name, error.into())),
        }
    }
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok((count, exit))
}

/// A connection by the names of a list's columns.
fn row(parcel: &Parcel) -> Map<String, Value> {
    let Parcel { connection, app, .. } = parcel;
    let mut row = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            row.insert(name.to_owned(), value);
        }
    };
    put("name", json!(connection.name));
    put("client_id", json!(app.client.id));
    put("client_secret", json!(app.client.secret.expose()));
    let company = app.company.as_ref().or(connection.principal.as_ref());
    put("company_uuid", json!(company.map(Principal::as_str)));
    put("request_token", json!(app.request_token.as_ref().map(RequestToken::expose)));
    let Some(held) = &connection.held else { return row };
    put("refresh_token", json!(held.refresh.as_ref().map(RefreshToken::expose)));
    put("geolocation", json!(held.base.to_string()));
    put("refresh_expires_at", json!(held.refresh_expiry.map(Expiry::at).map(|at| at.0)));
    put("refreshed_at", json!(held.refreshed_at.map(|at| at.0)));
    put("scope", json!(held.scope));
    put("id_token", json!(held.id_token.as_ref().map(IdToken::expose)));
    if let Some(access) = &held.access {
        put("access_token", json!(access.token.expose()));
        put("expires_at", json!(access.expiry.at().0));
    }
    row
}

/// Twice, and not the same: who types yes without reading stops at the second question.
fn ask(export: &Export, count: usize, to: &Path) -> Result<(), Trouble> {
    if export.yes {
        return Ok(());
    }
    let to = to.display();
    let counted = counted(count, "connection");
    let refused = || {
        let message = format!("the secrets of {counted} would be written in the clear to {to}");
        Trouble::usage(
            message,
            "leave --plain and --to-dir out for a sealed archive; or say that you mean it: --yes",
        )
    };
    if !terminal::is_there() {
        return Err(refused());
    }
    let ask = |question: &str| -> Result<String, Trouble> {
        terminal::ask(question)?.ok_or_else(crate::secret_input::left)
    };
    let question = format!(
        "Write the secrets of {counted} in the clear to {to}? Whoever reads them has the grants (yes/no)"
    );
    if ask(&question)? != "yes" {
        return Err(refused());
    }
    if ask(&format!("How many connections are that? (type {count})"))? != count.to_string() {
        return Err(refused());
    }
    Ok(())
}

fn warn(session: &Session) {
    session.printer.warn(
        "these files are plain: whoever reads them has the grant; and use only one of the two from now on, for two keepers \
         of one grant drift apart",
    );
}
