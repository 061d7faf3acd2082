//! What `perennial doctor` finds out about a database, one finding a look. It changes nothing.

use super::failure::{ServerFailure, Stop};
use super::link::Link;
use super::place::Place;
use super::row::{self, get};
use super::schema::{self, Form, VERSION};
use super::server::Server;
use super::tls::Tls;
use super::{Postgres, PostgresOptions, apps, now};
use crate::store::StoreError;
use crate::store::sqlite::Finding;
use std::time::Instant;
use tokio_postgres::types::FromSql;

/// From here on a clock is worth a word.
const NOTEWORTHY: i64 = 60;

pub(super) fn examine(url: &str, options: &PostgresOptions) -> Vec<Finding> {
    let looked = Postgres::open(url, options.clone())
        .and_then(|store| store.door.run(async |server| Ok::<_, StoreError>(look(server).await)));
    looked.unwrap_or_else(|error| vec![told(&error)])
}

async fn look(server: &Server) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(stop) = look_at_all(server, &mut findings).await {
        findings.push(told(&server.as_error(stop)));
    }
    findings
}

async fn look_at_all(server: &Server, findings: &mut Vec<Finding>) -> Result<(), Stop> {
    let place = server.place.as_ref();
    let link = server.link().await?;
    let version: String = one(&link, "SHOW server_version").await?;
    let how = match place.tls {
        Tls::Off => "on this machine",
        Tls::Verified { .. } => "over TLS, and its name was checked",
    };
    findings.push(Finding::good("place", format!("{} answers {how}: PostgreSQL {version}", place.address)));
    findings.push(is_writable(&link).await?);
    findings.extend(is_durable(&link).await?);
    findings.push(clock(&link).await?);
    match schema::form(&link).await? {
        Form::Nothing => findings.push(may_make_tables(&link).await?),
        Form::Tables(version, _) if version > VERSION => schema::check(&link, version)?,
        Form::Tables(version, store) => {
            findings.push(Finding::good("schema", format!("its tables are of form {version}")));
            if version == VERSION && store.is_some() && server.is_there(&link).await? {
                findings.extend(rows(server, &link).await?);
            }
        }
    }
    Ok(())
}

async fn is_writable(link: &Link<'_>) -> Result<Finding, Stop> {
    let standby: bool = one(link, "SELECT pg_is_in_recovery()").await?;
    let read_only: String = one(link, "SHOW default_transaction_read_only").await?;
    if standby || read_only == "on" {
        return Ok(told(&link.place().server(ServerFailure::ReadOnly)));
    }
    Ok(Finding::good("permissions", "it takes writes"))
}

/// What a power cut, or the loss of the machine, would take along.
async fn is_durable(link: &Link<'_>) -> Result<Vec<Finding>, Stop> {
    let mut findings = Vec::new();
    for setting in ["fsync", "full_page_writes"] {
        let value: String = one(link, &format!("SHOW {setting}")).await?;
        if value == "off" {
            findings.push(Finding::bad(
                "durability",
                format!(
                    "{setting} is off: a power cut at the server loses tokens that were told to be durable"
                ),
                format!("as an administrator: ALTER SYSTEM SET {setting} = on; SELECT pg_reload_conf()"),
            ));
        }
    }
    let standbys: i64 = one(link, "SELECT count(*) FROM pg_stat_replication").await?;
    let names: String = one(link, "SHOW synchronous_standby_names").await?;
    findings.push(match (standbys, names.is_empty()) {
        (0, _) => Finding::good("durability", "a write is durable once the server's disk has it; no standby is connected"),
        (_, false) => Finding::good("durability", "a write is durable once a standby has it too"),
        (_, true) => Finding::bad("durability", 
            "a standby is connected, and no write waits for it: a failover may bring refresh tokens back that were \
             replaced",
            "as an administrator: ALTER SYSTEM SET synchronous_standby_names = '*'; SELECT pg_reload_conf()",
        ),
    });
    Ok(findings)
}

async fn clock(link: &Link<'_>) -> Result<Finding, Stop> {
    let (asked, before) = (Instant::now(), now());
    let there: i64 = one(link, "SELECT floor(extract(epoch FROM clock_timestamp()))::bigint").await?;
    let apart = there - before - i64::try_from(asked.elapsed().as_secs()).unwrap_or(0) / 2;
    if apart.abs() < NOTEWORTHY {
        return Ok(Finding::good("clock", "its clock and this host's agree"));
    }
    let way = if apart > 0 { "behind" } else { "ahead of" };
    Ok(Finding::bad(
        "clock",
        format!(
            "this host's clock is {} s {way} the database's; claims go by the database's alone",
            apart.abs()
        ),
        "set the clock that is wrong: timedatectl set-ntp true",
    ))
}

async fn may_make_tables(link: &Link<'_>) -> Result<Finding, Stop> {
    let may: bool = one(link, "SELECT has_database_privilege(current_database(), 'CREATE')").await?;
    Ok(if may {
        Finding::good("schema", "there are no tables of Perennial's yet; what is added first makes them")
    } else {
        Finding::bad(
            "schema",
            "there are no tables of Perennial's yet, and this role may not make them",
            "an administrator of the database runs what this prints: perennial schema --role ROLE",
        )
    })
}

/// Every secret is opened; the connection is named whose secrets do not open.
async fn rows(server: &Server, link: &Link<'_>) -> Result<Vec<Finding>, Stop> {
    let place: &Place = &server.place;
    let (mut behind, mut count, mut closed) = (0, 0_u64, Vec::new());
    loop {
        let (some, newest) = row::some_behind(server, link, behind).await?;
        let Some(last) = some.last() else { break };
        behind = last.number;
        let keys = server.keys(link, newest).await?;
        for row in some {
            count += 1;
            let opened = row.open(&keys).and_then(|_| row.request_token(&keys));
            match opened {
                Err(error) => closed.push(told(&place.unsealed(error))),
                Ok(_) => match apps::client(link, &keys, row.app).await {
                    Err(Stop::Refused(error)) => closed.push(told(&error)),
                    other => drop(other?),
                },
            }
        }
    }
    if closed.is_empty() {
        let plural = if count == 1 { "" } else { "s" };
        closed.push(Finding::good("contents", format!("every secret of {count} connection{plural} opens")));
    }
    Ok(closed)
}

async fn one<T: for<'a> FromSql<'a>>(link: &Link<'_>, query: &str) -> Result<T, Stop> {
    let row = link.row(query, &[]).await?;
    let row = row.ok_or_else(|| link.place().damaged("it answers with nothing"))?;
    Ok(get(link.place(), &row, 0)?)
}

fn told(error: &StoreError) -> Finding {
    let remedy = match error {
        StoreError::Unsafe { remedy, .. }
        | StoreError::BadAddress { remedy, .. }
        | StoreError::Closed { remedy, .. } => remedy.as_str(),
        StoreError::Damaged { .. } => "what was altered comes back from a backup of the database",
        StoreError::Server { failure: ServerFailure::ReadOnly, .. } => {
            "name the primary; with several hosts: target_session_attrs=read-write"
        }
        StoreError::Server { failure: ServerFailure::NoRight(_) | ServerFailure::NotSetUp(_), .. } => {
            "an administrator of the database runs what this prints: perennial schema --role ROLE"
        }
        StoreError::Server { failure: ServerFailure::Login(_), .. } => {
            "put the password into ~/.pgpass, for you alone, as HOST:PORT:DATABASE:USER:PASSWORD"
        }
        StoreError::Server { failure: ServerFailure::Untrusted(_), .. } => {
            "name the issuer of the server's certificate: sslrootcert=FILE.pem in the address"
        }
        StoreError::Server { failure: ServerFailure::Newer { .. }, .. } => "use that version, or a newer one",
        _ => "put that right, then: perennial doctor",
    };
    Finding::bad("contents", error.to_string(), remedy)
}
