//! `perennial doctor --certification`: what SAP Concur's certification asks of token management, row by row, with the
//! evidence that stands in the store and its journal. It is written to be handed to SAP: no secret is in it, and a row of
//! which nothing has been seen yet says so.

use crate::exit::Exit;
use crate::session::Session;
use crate::stores::Choice;
use crate::trouble::Trouble;
use crate::words::rfc3339;
use perennial::core::connection::Condition;
use perennial::core::journal::Event;
use perennial::core::time::Expiry;
use perennial::core::{Connection, UnixTime};
use perennial::store::Recorded;
use perennial::{Error, Keeper};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Connections and entries read at once.
const PAGE: usize = 1000;

/// SAP wants logs to be kept at least so long.
const KEPT: i64 = 7 * 24 * 3600;

pub(super) fn carry_out(session: &Session) -> Result<Exit, Trouble> {
    let keeper = session.keeper()?;
    let seen = Seen::gather(&keeper)?;
    let is_sealed = !matches!(session.globals.choice()?, Choice::SapSample(_));
    let rows = rows(&seen, is_sealed, keeper.now());
    if session.globals.json {
        let rows: Vec<Value> = rows.iter().map(Row::as_json).collect();
        session.printer.json_data(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "at": rfc3339(keeper.now()),
            "apps": seen.apps,
            "connections": seen.connections,
            "rows": rows,
        }))?;
    } else {
        session.printer.data(&as_text(&seen, &rows, keeper.now()))?;
    }
    Ok(if rows.iter().all(|row| row.standing == Standing::Shown) { Exit::Done } else { Exit::PersonMustAct })
}

/// How a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// There is evidence.
    Shown,
    /// Nothing speaks against it, and nothing has been seen of it yet.
    NotSeen,
    /// It is not met.
    NotMet,
}

/// One thing that certification asks.
struct Row {
    asks: &'static str,
    standing: Standing,
    evidence: Vec<String>,
    /// What makes evidence, or puts it right.
    next: Option<String>,
}

impl Row {
    fn mark(&self) -> &'static str {
        match self.standing {
            Standing::Shown => "shown",
            Standing::NotSeen => "not seen yet",
            Standing::NotMet => "NOT MET",
        }
    }

    fn as_json(&self) -> Value {
        json!({"asks": self.asks, "standing": self.mark(), "evidence": self.evidence, "next": self.next})
    }
}

/// What stands in the store and its journal, of connections at SAP Concur alone.
#[derive(Default)]
struct Seen {
    connections: usize,
    apps: BTreeSet<String>,
    without_principal: usize,
    /// How many live at each geolocation.
    geolocations: BTreeMap<String, usize>,
    expiries: usize,
    overdue: Vec<String>,
    revoked: usize,
    needs_a_person: usize,
    entries: usize,
    oldest: Option<UnixTime>,
    refreshed: Counted,
    replaced: Counted,
    refused: Counted,
    given_back: Counted,
    /// The last refresh that was seen at each geolocation.
    refreshed_at: BTreeMap<String, String>,
}

/// How often something was seen, and the last time in words.
#[derive(Default)]
struct Counted {
    times: usize,
    last: Option<String>,
}

impl Counted {
    fn see(&mut self, recorded: &Recorded) {
        self.times += 1;
        self.last = Some(in_words(recorded));
    }
}

impl Seen {
    fn gather(keeper: &Keeper) -> Result<Self, Error> {
        let mut seen = Self::default();
        let mut homes = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let names = keeper.store().names_after(after.as_deref(), PAGE)?;
            for name in &names {
                // Other servers are none of SAP's business; what cannot be read is the everyday doctor's.
                if let Ok(connection) =
                    keeper.connection(name).map_err(|error| tracing::warn!(%error, "{name}"))
                    && connection.server.is_none()
                {
                    seen.take(keeper, &connection);
                    let home = connection.held.as_ref().map(|held| held.base.to_string());
                    homes.insert(name.clone(), home.unwrap_or_default());
                }
            }
            match names.last() {
                Some(last) if names.len() == PAGE => after = Some(last.clone()),
                _ => break,
            }
        }
        seen.read_journal(keeper, &homes)?;
        Ok(seen)
    }

    fn take(&mut self, keeper: &Keeper, connection: &Connection) {
        self.connections += 1;
        if let Ok(app) = keeper.store().app(&connection.name) {
            self.apps.insert(app.client.id);
        }
        self.without_principal += usize::from(connection.principal.is_none());
        match connection.condition {
            Condition::Revoked => self.revoked += 1,
            Condition::NeedsReauthorization | Condition::Suspended => self.needs_a_person += 1,
            _ => {}
        }
        let Some(held) = &connection.held else { return };
        *self.geolocations.entry(held.base.to_string()).or_default() += 1;
        if let Some(expiry) = held.refresh_expiry.map(Expiry::at) {
            self.expiries += 1;
            let is_over = expiry < connection.skew.server_time(keeper.now());
            if is_over && connection.condition != Condition::Revoked {
                self.overdue.push(connection.name.clone());
            }
        }
    }

    fn read_journal(&mut self, keeper: &Keeper, homes: &BTreeMap<String, String>) -> Result<(), Error> {
        let mut after = 0;
        loop {
            let page = keeper.store().journal(None, Some(after), PAGE)?;
            for recorded in &page {
                after = recorded.number;
                if let Some(home) = homes.get(&recorded.connection) {
                    self.count(recorded, home);
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    fn count(&mut self, recorded: &Recorded, home: &str) {
        self.entries += 1;
        self.oldest = self.oldest.into_iter().chain([recorded.entry.at]).min();
        match &recorded.entry.event {
            Event::Refreshed { from, to, .. } => {
                self.refreshed.see(recorded);
                if from != to {
                    self.replaced.see(recorded);
                }
                self.refreshed_at.insert(home.to_owned(), in_words(recorded));
            }
            Event::Refused { .. } => self.refused.see(recorded),
            Event::Revoked => self.given_back.see(recorded),
            _ => {}
        }
    }

    fn has_home_in(&self, region: &str) -> Vec<String> {
        let is_there = |base: &String| {
            let host = base.trim_start_matches("https://");
            host.starts_with(region)
        };
        self.geolocations.keys().filter(|base| is_there(base)).cloned().collect()
    }
}

fn in_words(recorded: &Recorded) -> String {
    let entry = &recorded.entry;
    let id = entry.correlation_id.as_ref().map_or_else(String::new, |id| format!(", correlation id {id}"));
    format!("{} {}: {}{id}", rfc3339(entry.at), recorded.connection, entry.event)
}

fn rows(seen: &Seen, is_sealed: bool, now: UnixTime) -> Vec<Row> {
    let stored = if is_sealed {
        "stored sealed (XChaCha20-Poly1305), each write with fsync before a token is handed out".to_owned()
    } else {
        "stored in SAP's two files, in plain text, readable by their owner alone".to_owned()
    };
    let plain = "keep them in a sealed store: perennial add NAME --from-dir DIR".to_owned();
    let secure = |has: bool| match (is_sealed, has) {
        (false, _) => Standing::NotMet,
        (true, true) => Standing::Shown,
        (true, false) => Standing::NotSeen,
    };
    let spread = seen.geolocations.iter().map(|(base, count)| format!("connections at {base}: {count}"));
    let last =
        |counted: &Counted| counted.last.iter().map(|last| format!("last: {last}")).collect::<Vec<_>>();
    let first_refresh = || Some("perennial refresh NAME".to_owned());
    vec![
        Row {
            asks: "The last received geolocation is stored securely and used for later calls",
            standing: secure(!seen.geolocations.is_empty()),
            evidence: [vec![stored.clone()], spread.collect()].concat(),
            next: if is_sealed { first_refresh().filter(|_| seen.geolocations.is_empty()) } else { Some(plain.clone()) },
        },
        Row {
            asks: "The last received refresh token is stored securely and used for later calls",
            standing: secure(seen.refreshed.times > 0),
            evidence: [
                vec![
                    stored,
                    format!("{} refreshes, of which {} brought a new refresh token", seen.refreshed.times, seen.replaced.times),
                ],
                last(&seen.replaced),
            ]
            .concat(),
            next: if is_sealed { first_refresh().filter(|_| seen.refreshed.times == 0) } else { Some(plain) },
        },
        expiry_row(seen, &last(&seen.refreshed)),
        Row {
            asks: "Tokens of inactive or disconnected users are revoked",
            standing: if seen.given_back.times > 0 { Standing::Shown } else { Standing::NotSeen },
            evidence: [
                vec![format!("{} revoked by DELETE /app-mgmt/v0/connections", seen.given_back.times)],
                last(&seen.given_back),
            ]
            .concat(),
            next: Some("perennial revoke NAME; or: perennial remove NAME --revoke".to_owned())
                .filter(|_| seen.given_back.times == 0),
        },
        Row {
            asks: "Error code and description and the correlation id are logged, and the principal's UUID",
            standing: match (seen.without_principal, seen.refused.times) {
                (0, 1..) => Standing::Shown,
                _ => Standing::NotSeen,
            },
            evidence: [
                vec![
                    format!("{} refusals logged, each with its code, words and correlation id", seen.refused.times),
                    format!("the principal's UUID is known of {} of {} connections", seen.connections - seen.without_principal, seen.connections),
                    "of calls to the API themselves your own program's log tells, unless they go through perennial".to_owned(),
                ],
                last(&seen.refused),
            ]
            .concat(),
            next: Some("perennial call NAME /a/path/that/is/not/there shows a failing call with its correlation id; perennial log NAME shows what the token service refused".to_owned())
                .filter(|_| seen.refused.times == 0),
        },
        centres_row(seen),
        logs_row(seen, now),
    ]
}

fn expiry_row(seen: &Seen, last: &[String]) -> Row {
    let standing = match (seen.overdue.is_empty(), seen.refreshed.times) {
        (false, _) => Standing::NotMet,
        (true, 0) => Standing::NotSeen,
        (true, _) => Standing::Shown,
    };
    let overdue = seen.overdue.iter().take(10).map(|name| format!("past its end: {name}"));
    Row {
        asks: "The expiry date is stored, and a scheduled job refreshes before it",
        standing,
        evidence: [
            vec![
                format!("the expiry is known of {} refresh tokens, and {} are past theirs", seen.expiries, seen.overdue.len()),
                "renewed after seven days at the latest, half a year before their end, by perennial serve or by perennial refresh --all --due".to_owned(),
            ],
            last.to_vec(),
            overdue.collect(),
        ]
        .concat(),
        next: Some("perennial serve; or in cron: perennial refresh --all --due".to_owned())
            .filter(|_| standing != Standing::Shown),
    }
}

fn centres_row(seen: &Seen) -> Row {
    let (us, eu) = (seen.has_home_in("us"), seen.has_home_in("eu"));
    let shown = |base: &String| seen.refreshed_at.get(base);
    let both = us.iter().any(|base| shown(base).is_some()) && eu.iter().any(|base| shown(base).is_some());
    let evidence = us.iter().chain(&eu).filter_map(|base| Some(format!("{base}: {}", shown(base)?)));
    Row {
        asks: "Shown to work for a client in a US and in an EU data centre",
        standing: if both { Standing::Shown } else { Standing::NotSeen },
        evidence: evidence.collect(),
        next: Some("add and refresh one connection in each: perennial add NAME --datacenter us2, and --datacenter eu2".to_owned())
            .filter(|_| !both),
    }
}

fn logs_row(seen: &Seen, now: UnixTime) -> Row {
    let age = seen.oldest.map_or(0, |at| now.since(at));
    let oldest = seen.oldest.map_or_else(|| "none yet".to_owned(), rfc3339);
    Row {
        asks: "Logs are kept for at least seven days",
        standing: if age >= KEPT { Standing::Shown } else { Standing::NotSeen },
        evidence: vec![
            format!("{} entries in the journal, the oldest of {oldest}", seen.entries),
            "the journal is append-only, and nothing deletes from it".to_owned(),
        ],
        next: Some("wait until the oldest entry is seven days old".to_owned()).filter(|_| age < KEPT),
    }
}

/// A page that can be handed over.
fn as_text(seen: &Seen, rows: &[Row], now: UnixTime) -> String {
    let apps: Vec<&str> = seen.apps.iter().map(String::as_str).collect();
    let mut text = format!(
        "# Token management of Perennial {}\n\nMade at {}.\nApp ID: {}.\nConnections: {}, of which {} need a person and {} are \
         revoked.\n",
        env!("CARGO_PKG_VERSION"),
        rfc3339(now),
        if apps.is_empty() { "none".to_owned() } else { apps.join(", ") },
        seen.connections,
        seen.needs_a_person,
        seen.revoked,
    );
    for (number, row) in rows.iter().enumerate() {
        text.push_str(&format!("\n## {}. {}\n\n{}\n", number + 1, row.asks, row.mark()));
        for line in &row.evidence {
            text.push_str(&format!("- {line}\n"));
        }
        if let Some(next) = &row.next {
            text.push_str(&format!("\nNext: {next}\n"));
        }
    }
    text
}
