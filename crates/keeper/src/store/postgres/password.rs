//! Where the password comes from: a file, the variable PGPASSWORD, or a password file as libpq has it. It is read anew
//! for each connection, so that a changed password needs no restart, and is wiped when the connection stands.

use crate::store::StoreError;
use crate::unix;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use zeroize::Zeroizing;

/// Where a password may be.
#[derive(Clone, Debug, Default)]
pub(super) struct Passwords {
    /// A file with nothing but the password: `passwordfile=`.
    pub(super) file: Option<PathBuf>,
    /// A file with a line for each server: `passfile=`, else PGPASSFILE, else ~/.pgpass.
    pub(super) pass_file: Option<PathBuf>,
}

impl Passwords {
    /// The password for this server; none where nobody has named one.
    ///
    /// # Errors
    /// When a file that was named cannot be read, or others may read it.
    pub(super) fn find(&self, config: &Config) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        if let Some(path) = &self.file {
            let text = private(path)?;
            let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
            return Ok(Some(Zeroizing::new(line.trim_ascii_end().to_vec())));
        }
        if let Some(password) = env::var_os("PGPASSWORD").filter(|password| !password.is_empty()) {
            return Ok(Some(Zeroizing::new(password.into_encoded_bytes())));
        }
        let named = self.pass_file.clone().or_else(|| env::var_os("PGPASSFILE").map(PathBuf::from));
        let path = match named {
            Some(path) => path,
            None => match env::home_dir().map(|home| home.join(".pgpass")) {
                Some(path) if path.exists() => path,
                _ => return Ok(None),
            },
        };
        Ok(lookup(&private(&path)?, config))
    }
}

fn private(path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let metadata = fs::metadata(path).map_err(StoreError::io("read", path))?;
    if unix::is_readable_by_others(&metadata) {
        return Err(StoreError::Unsafe {
            path: path.to_owned(),
            reason: "holds a password, and can be read by others",
            remedy: format!("take that right away: chmod 600 {}", path.display()),
        });
    }
    if !metadata.is_file() {
        let odd = io::Error::new(io::ErrorKind::InvalidInput, "it is no file");
        return Err(StoreError::io("read", path)(odd));
    }
    fs::read(path).map(Zeroizing::new).map_err(StoreError::io("read", path))
}

/// The first line that fits: `HOST:PORT:DATABASE:USER:PASSWORD`, where `*` fits all and a backslash takes what follows
/// as it is. Where there are several servers, the first one's line counts: they are copies of one database.
fn lookup(file: &[u8], config: &Config) -> Option<Zeroizing<Vec<u8>>> {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        // As libpq has it: a socket is this machine.
        Some(Host::Unix(_)) => "localhost".to_owned(),
        None => config.get_hostaddrs().first()?.to_string(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432).to_string();
    let user = config.get_user().map_or_else(|| env::var("USER").unwrap_or_default(), str::to_owned);
    let database = config.get_dbname().unwrap_or(&user);
    let wanted = [host.as_str(), &port, database, &user];
    file.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#")).find_map(|line| {
        let fields = fields(line.strip_suffix(b"\r").unwrap_or(line))?;
        let fits = |(field, wanted): (&Zeroizing<Vec<u8>>, &&str)| {
            field.as_slice() == b"*" || field.as_slice() == wanted.as_bytes()
        };
        fields.iter().zip(&wanted).all(fits).then(|| fields[4].clone())
    })
}

fn fields(line: &[u8]) -> Option<[Zeroizing<Vec<u8>>; 5]> {
    let mut fields: [Zeroizing<Vec<u8>>; 5] = Default::default();
    let (mut at, mut bytes) = (0, line.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b':' if at < 4 => at += 1,
            b'\\' => fields[at].push(*bytes.next()?),
            byte => fields[at].push(*byte),
        }
    }
    (at == 4).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_file_is_read_as_libpq_reads_it() {
        let config: Config = "postgres://me@db.example:5433/x".parse().unwrap();
        let file = b"# a comment\nother:*:*:*:wrong\ndb.example:5432:*:*:wrong\n\
                     db.example:5433:x:me:a\\:b\\\\c\n*:*:*:*:last\n";
        assert_eq!(lookup(file, &config).unwrap().as_slice(), b"a:b\\c");
        let other: Config = "postgres://me@elsewhere/x".parse().unwrap();
        assert_eq!(lookup(file, &other).unwrap().as_slice(), b"last");
        assert!(lookup(b"db.example:5433:x:you:no\nhalf a line\n", &config).is_none());
        let socket: Config = "postgres://me@%2Frun/x".parse().unwrap();
        assert_eq!(lookup(b"localhost:5432:x:me:local", &socket).unwrap().as_slice(), b"local");
    }
}
