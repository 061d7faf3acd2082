//! What a store says, and what a person should do about it: files and their rights, databases, servers.

use super::Trouble;
use crate::exit::Exit;
use crate::options::quoted;
use crate::place::{Kind, Place};
use perennial::store::{ServerFailure, StoreError};
use std::io;
use std::path::Path;

pub(super) fn of_store(error: &StoreError, place: &Place) -> Trouble {
    let message = error.to_string();
    let hint = match error {
        StoreError::NoCredentials { .. } => "this writes a template to fill in: perennial run".to_owned(),
        StoreError::Incomplete { path, .. } => format!("edit {}, then: perennial run", path.display()),
        StoreError::Unreadable { path, .. } if path.ends_with("credentials.json") => {
            "it has not been touched; mend it, then: perennial run".to_owned()
        }
        StoreError::Unreadable { .. } if place.kind == Kind::SapSample => {
            "it has not been touched; mend it if you can, else this keeps it aside and obtains a new grant: \
             perennial run"
                .to_owned()
        }
        StoreError::Unreadable { .. } => "it has not been touched; look into it: perennial doctor".to_owned(),
        StoreError::NoSuchConnection { .. } => {
            let hint = match place.kind {
                Kind::SapSample => "a sap-sample store has one connection, named default",
                Kind::Sqlite | Kind::Postgres => "this shows what there is: perennial list",
            };
            return Trouble::new(Exit::Usage, message, hint);
        }
        StoreError::NameTaken { name, .. } => {
            let hint =
                format!("choose another name, or give that one another: perennial rename {name} OTHER");
            return Trouble::new(Exit::Usage, message, hint);
        }
        StoreError::BadName { .. } => {
            let hint = "use letters, digits and . _ - @, no dot or dash in front, at most 128 of them";
            return Trouble::new(Exit::Usage, message, hint);
        }
        StoreError::Fixed { instead, .. } => return Trouble::new(Exit::Usage, message, *instead),
        StoreError::Damaged { .. } if place.kind == Kind::Postgres => {
            "it has not been touched; this says what is wrong: perennial doctor; what was altered comes back from a backup \
             of the database"
                .to_owned()
        }
        StoreError::BadAddress { remedy, .. } => {
            return Trouble::new(Exit::Usage, message, remedy.as_str());
        }
        StoreError::Server { failure, .. } => return of_server(failure, message, place),
        StoreError::Damaged { backup, .. } => match backup {
            Some(backup) => format!(
                "this says what is wrong: perennial doctor; the last good copy is {}, and this puts it in place: \
                 perennial doctor --restore-backup",
                backup.display()
            ),
            None => "it has not been touched; this says what is wrong: perennial doctor".to_owned(),
        },
        StoreError::Closed { remedy, .. } => {
            format!("{remedy}; to see which keys there are, and what needs them: perennial key check")
        }
        StoreError::HandedOver { .. } => {
            "use the other one; or, if this is to be in use again and the other one no more: perennial adopt".to_owned()
        }
        StoreError::IsCopy { .. } => {
            "the server ends a grant whose refresh token comes twice; once nothing else uses this grant: perennial adopt"
                .to_owned()
        }
        StoreError::OtherSecret => {
            "if the app has a new secret, replace it for all its connections: perennial reauthorize NAME --keep-grant"
                .to_owned()
        }
        StoreError::Unsafe { remedy, .. } => format!("{UNSPENT}; {remedy}"),
        StoreError::Io { action, path, source } => return of_io(action, path, source, message, place),
        _ => return Trouble::plain(Exit::PersonMustAct, message),
    };
    Trouble::new(Exit::PersonMustAct, message, hint)
}

const UNSPENT: &str = "no token was presented, so nothing is lost";

/// What a database server did not do.
fn of_server(failure: &ServerFailure, message: String, place: &Place) -> Trouble {
    let (exit, remedy) = match failure {
        ServerFailure::Unreachable(_) => {
            (Exit::TryAgainLater, "check the server, its host name and the network, then try again")
        }
        ServerFailure::TooManyConnections(_) => (
            Exit::TryAgainLater,
            "try again; or lower pool= in the address, or raise max_connections of the server",
        ),
        ServerFailure::TooSlow(_) => (
            Exit::TryAgainLater,
            "try again; if that lasts, look for who holds locks (pg_stat_activity), or give it more time: \
             statement_timeout=30 in the address",
        ),
        ServerFailure::Login(_) => (
            Exit::PersonMustAct,
            "put the password into a file for you alone, as HOST:PORT:DATABASE:USER:PASSWORD: ~/.pgpass, or the file that \
             PGPASSFILE names; and see that pg_hba.conf lets this user in",
        ),
        ServerFailure::Untrusted(_) => (
            Exit::PersonMustAct,
            "name the issuer of the server's certificate: sslrootcert=FILE.pem in the address; its name must be the host's",
        ),
        ServerFailure::NoDatabase(_) => (
            Exit::PersonMustAct,
            "make it, as its administrator: createdb NAME; or name another in the address",
        ),
        ServerFailure::DiskFull => (Exit::PersonMustAct, "make room on the server's disk, then try again"),
        ServerFailure::ReadOnly => (
            Exit::PersonMustAct,
            "name the primary in the address; with several hosts: target_session_attrs=read-write",
        ),
        ServerFailure::NoRight(_) | ServerFailure::NotSetUp(_) => (
            Exit::PersonMustAct,
            "an administrator of the database runs what this prints: perennial schema --role ROLE",
        ),
        ServerFailure::Newer { .. } => (Exit::PersonMustAct, "use that version, or a newer one"),
        ServerFailure::Unknown(_) => {
            let hint = "look at what is there, then try again: perennial status";
            return Trouble::new(Exit::TryAgainLater, message, place.complete(hint));
        }
        _ => return Trouble::plain(Exit::Failed, message),
    };
    Trouble::new(exit, message, format!("{UNSPENT}; {remedy}"))
}

fn of_io(action: &str, path: &Path, source: &io::Error, message: String, place: &Place) -> Trouble {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = quoted(&dir.to_string_lossy());
    let (exit, remedy) = match source.kind() {
        io::ErrorKind::NotFound => {
            let hint = match place.kind {
                Kind::SapSample => "name a directory that is there: --dir DIR".to_owned(),
                Kind::Sqlite | Kind::Postgres => {
                    format!("make its directory: mkdir -p {dir}; or name another: --store sqlite:FILE")
                }
            };
            return Trouble::new(Exit::PersonMustAct, message, hint);
        }
        io::ErrorKind::PermissionDenied if action == "read" => (
            Exit::PersonMustAct,
            format!(
                "; give the user who runs this the right to read it, as its owner: chmod u+r {}",
                quoted(&path.to_string_lossy())
            ),
        ),
        io::ErrorKind::PermissionDenied => (
            Exit::PersonMustAct,
            format!(
                "; give the user who runs this the right to write there, as its owner: chmod u+rwx {dir}"
            ),
        ),
        io::ErrorKind::ReadOnlyFilesystem => {
            let other = match place.kind {
                Kind::SapSample => "; name a directory that can be written: --dir DIR",
                Kind::Sqlite | Kind::Postgres => "; name a place that can be written: --store sqlite:FILE",
            };
            (Exit::PersonMustAct, other.to_owned())
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            (Exit::PersonMustAct, format!("; make room (df -h {dir}), then try again"))
        }
        io::ErrorKind::IsADirectory => (
            Exit::PersonMustAct,
            format!("; a directory has its name, so move that away: {}", path.display()),
        ),
        _ => (Exit::Failed, String::new()),
    };
    Trouble::new(exit, message, format!("{UNSPENT}{remedy}"))
}
