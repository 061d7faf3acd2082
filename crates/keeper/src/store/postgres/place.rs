//! What a `postgres://` address says: servers, database, schema, and how they are reached. A password is no part of it
//! (law 10): addresses stand in shells' histories, in lists of processes and in messages.

use super::password::Passwords;
use super::tls::Tls;
use crate::store::StoreError;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// Where the tables are where nobody says otherwise.
const SCHEMA: &str = "perennial";
/// Connections of one process.
const POOL: usize = 8;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// What may stand behind the question mark for the client itself.
const OF_THE_CLIENT: [&str; 11] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "application_name",
    "target_session_attrs",
    "load_balance_hosts",
    "keepalives",
    "keepalives_idle",
    "tcp_user_timeout",
];

/// A database, and how it is reached.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Without a password.
    pub(super) config: Config,
    /// The schema, as it stands in SQL: in quotes.
    pub(super) schema: String,
    /// Names the store in messages.
    pub(super) address: String,
    pub(super) tls: Tls,
    /// How many connections to the server at most.
    pub(super) pool: usize,
    pub(super) connect_timeout: Duration,
    pub(super) statement_timeout: Duration,
    pub(super) passwords: Passwords,
}

impl Place {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is none, carries a password, or would send secrets where nobody knows who listens.
    pub(super) fn read(url: &str, tenant: &str, ca_cert: Option<&Path>) -> Result<Self, StoreError> {
        let (before, query) = url.split_once('?').map_or((url, ""), |(before, query)| (before, query));
        let rest = before.strip_prefix("postgres://").or_else(|| before.strip_prefix("postgresql://"));
        let authority = rest.ok_or_else(|| {
            bad("this is no address of a PostgreSQL database", "write it as postgres://USER@HOST/DATABASE")
        })?;
        let authority = authority.split('/').next().unwrap_or_default();
        if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
            return Err(with_password());
        }
        let mut own = Own::default();
        let mut passed_on: Vec<&str> = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if OF_THE_CLIENT.contains(&name) {
                passed_on.push(parameter);
            } else {
                own.take(name, &decoded(value))?;
            }
        }
        let mut config: Config =
            format!("{before}?{}", passed_on.join("&")).parse().map_err(|error: tokio_postgres::Error| {
                bad(&format!("this address of a PostgreSQL database cannot be read: {error}"), EXAMPLE)
            })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(bad("this address of a PostgreSQL database names no host", EXAMPLE));
        }
        let connect_timeout = own.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        config.connect_timeout(connect_timeout);
        if config.get_application_name().is_none() {
            config.application_name("perennial");
        }
        let schema = own.schema.unwrap_or_else(|| SCHEMA.to_owned());
        let tls = own.tls.read(&config, own.root, ca_cert)?;
        Ok(Self {
            address: address(&config, &schema, tenant),
            schema: format!("\"{schema}\""),
            tls,
            pool: own.pool.unwrap_or(POOL),
            connect_timeout,
            statement_timeout: own.statement_timeout.unwrap_or(STATEMENT_TIMEOUT),
            passwords: Passwords { file: own.password_file, pass_file: own.pass_file },
            config,
        })
    }
}

const EXAMPLE: &str = "write it as postgres://USER@HOST/DATABASE?sslmode=verify-full";

/// Parameters that are ours to read.
#[derive(Default)]
struct Own {
    schema: Option<String>,
    pool: Option<usize>,
    connect_timeout: Option<Duration>,
    statement_timeout: Option<Duration>,
    password_file: Option<PathBuf>,
    pass_file: Option<PathBuf>,
    tls: SslMode,
    root: Option<PathBuf>,
}

impl Own {
    fn take(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        match name {
            "schema" => self.schema = Some(schema_name(value)?),
            "pool" => self.pool = Some(number(name, value, 1, 1000)?),
            "connect_timeout" => self.connect_timeout = Some(seconds(name, value)?),
            "statement_timeout" => self.statement_timeout = Some(seconds(name, value)?),
            "passwordfile" => self.password_file = Some(value.into()),
            "passfile" => self.pass_file = Some(value.into()),
            "sslrootcert" => self.root = Some(value.into()),
            "sslmode" => {
                self.tls = match value {
                    "verify-full" => SslMode::VerifyFull,
                    "disable" => SslMode::Disable,
                    other => {
                        return Err(bad(
                            &format!("sslmode={} does not prove who listens", shown(other)),
                            "leave it out, which means sslmode=verify-full; on this machine itself sslmode=disable \
                             is possible",
                        ));
                    }
                };
            }
            "password" | "sslpassword" => return Err(with_password()),
            other => {
                return Err(bad(
                    &format!("{} is no parameter of a PostgreSQL address here", shown(other)),
                    "known are schema, pool, connect_timeout, statement_timeout, passfile, passwordfile, sslmode, \
                     sslrootcert, host, port, user, dbname, application_name and target_session_attrs",
                ));
            }
        }
        Ok(())
    }
}

/// What was said of TLS.
#[derive(Clone, Copy, Default)]
enum SslMode {
    #[default]
    Unsaid,
    VerifyFull,
    Disable,
}

impl SslMode {
    fn read(self, config: &Config, root: Option<PathBuf>, ca_cert: Option<&Path>) -> Result<Tls, StoreError> {
        let here =
            config.get_hosts().iter().all(is_here) && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
        match self {
            Self::Disable if !here => Err(bad(
                "sslmode=disable would send everything in the clear to another machine",
                "leave it out, which means sslmode=verify-full; name the issuer of the server's certificate: \
                 sslrootcert=FILE.pem",
            )),
            Self::Disable => Ok(Tls::Off),
            Self::Unsaid if here && root.is_none() => Ok(Tls::Off),
            _ => Ok(Tls::Verified { root, ca_cert: ca_cert.map(Path::to_owned) }),
        }
    }
}

/// True for this very machine: a socket in its file system, or loopback.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let name = name.trim_matches(['[', ']']);
            name.eq_ignore_ascii_case("localhost")
                || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

/// The same text for the same store, whoever logs in.
fn address(config: &Config, schema: &str, tenant: &str) -> String {
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or_else(|| ports.first()).copied().unwrap_or(5432);
    let host = |(index, host): (usize, &Host)| {
        let name = match host {
            Host::Unix(path) => path.to_string_lossy().replace('/', "%2F"),
            Host::Tcp(name) => name.clone(),
        };
        if port(index) == 5432 { name } else { format!("{name}:{}", port(index)) }
    };
    let mut hosts: Vec<String> = config.get_hosts().iter().enumerate().map(host).collect();
    if hosts.is_empty() {
        hosts = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    }
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    let mut parameters = Vec::new();
    if schema != SCHEMA {
        parameters.push(format!("schema={schema}"));
    }
    // Rescue files name a connection by its store's address.
    if tenant != "default" {
        parameters.push(format!("tenant={tenant}"));
    }
    let parameters = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
    perennial_core::token_endpoint::plain(&format!("postgres://{}/{database}{parameters}", hosts.join(",")))
}

/// A name that needs no thought in SQL, in a shell or in a URL.
fn schema_name(value: &str) -> Result<String, StoreError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let good = (1..=63).contains(&value.len())
        && value.chars().all(plain)
        && !value.starts_with(|c: char| c.is_ascii_digit())
        && !value.starts_with("pg_");
    if good {
        return Ok(value.to_owned());
    }
    let hint = "use small letters, digits and _, as in schema=perennial";
    Err(bad(&format!("\"{}\" is no name for a schema", shown(value)), hint))
}

fn seconds(name: &str, value: &str) -> Result<Duration, StoreError> {
    let seconds = number(name, value.strip_suffix('s').unwrap_or(value), 1, 300)?;
    Ok(Duration::from_secs(seconds as u64))
}

fn number(name: &str, value: &str, least: usize, most: usize) -> Result<usize, StoreError> {
    value.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        let hint = format!("as in {name}={}", least.max(5));
        bad(&format!("{name} must be a number from {least} to {most}"), &hint)
    })
}

/// `%2F` as `/`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn shown(text: &str) -> String {
    perennial_core::token_endpoint::plain(text)
}

fn with_password() -> StoreError {
    bad(
        "the address of the PostgreSQL database carries a password, which every user of this machine could read",
        "take it out (and change it), and put it into a file for you alone, as HOST:PORT:DATABASE:USER:PASSWORD: \
         ~/.pgpass, or the file that PGPASSFILE names",
    )
}

pub(super) fn bad(what: &str, remedy: &str) -> StoreError {
    StoreError::BadAddress { what: what.to_owned(), remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Place, StoreError> {
        Place::read(url, "default", None)
    }

    #[test]
    fn law_10_a_password_in_an_address_is_refused_and_not_shown() {
        for url in
            ["postgres://me:canary@db/x", "postgres://me@db/x?password=canary", "postgres://:canary@db/x"]
        {
            let said = format!("{:?}", read(url).unwrap_err());
            assert!(said.contains("carries a password") && !said.contains("canary"), "{said}");
        }
    }

    #[test]
    fn law_10_nothing_goes_in_the_clear_to_another_machine() {
        assert!(read("postgres://me@db.example/x?sslmode=disable").is_err());
        for weaker in ["prefer", "require", "allow", "verify-ca"] {
            assert!(read(&format!("postgres://me@db.example/x?sslmode={weaker}")).is_err(), "{weaker}");
        }
        assert!(matches!(read("postgres://me@db.example/x").unwrap().tls, Tls::Verified { .. }));
        assert!(matches!(read("postgres://me@localhost,db.example/x").unwrap().tls, Tls::Verified { .. }));
        for here in ["localhost", "127.0.0.1", "%2Frun%2Fpostgresql"] {
            assert!(matches!(read(&format!("postgres://me@{here}/x")).unwrap().tls, Tls::Off), "{here}");
        }
        let asked = read("postgres://me@localhost/x?sslmode=verify-full").unwrap();
        assert!(matches!(asked.tls, Tls::Verified { .. }));
    }

    #[test]
    fn an_address_is_the_same_whoever_logs_in() {
        let address = |url: &str| read(url).unwrap().address;
        assert_eq!(address("postgresql://me@db.example:5432/x?pool=3"), "postgres://db.example/x");
        assert_eq!(address("postgres://you@db.example/x"), "postgres://db.example/x");
        assert_eq!(address("postgres://a@h:5433,i/x?schema=other"), "postgres://h:5433,i/x?schema=other");
        assert_eq!(address("postgres:///x?host=%2Frun&user=me"), "postgres://%2Frun/x");
        let place = Place::read("postgres://h/x", "two", None).unwrap();
        assert_eq!(place.address, "postgres://h/x?tenant=two");
    }

    #[test]
    fn parameters_are_read_or_refused() {
        let place =
            read("postgres://me@h/x?pool=3&connect_timeout=2&statement_timeout=7s&schema=a_b").unwrap();
        assert_eq!((place.pool, place.schema.as_str()), (3, "\"a_b\""));
        assert_eq!(place.statement_timeout, Duration::from_secs(7));
        for odd in ["pool=0", "pool=x", "schema=A", "schema=a\"b", "schema=pg_x", "novelty=1", "options=-c"] {
            let error = read(&format!("postgres://me@h/x?{odd}")).unwrap_err();
            assert!(matches!(error, StoreError::BadAddress { .. }), "{odd}: {error}");
        }
        assert!(read("postgres:///x").is_err(), "no host");
        assert!(read("mysql://h/x").is_err());
    }
}
