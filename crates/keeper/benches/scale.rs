//! What a store of many connections costs: one stage a process, so that each one's memory is its own.
//!
//! `cargo bench -p perennial --bench scale -- STORE COUNT…` runs all stages for each count and prints one line of JSON
//! for each stage. STORE is `sqlite:DIR`, a directory for the databases, or `postgres://…`, a database for a schema each.
//! `bench/scale.sh` does both, and draws the curves.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on should stop there"
)]

use perennial::core::connection::{Answered, Plan};
use perennial::core::grant::{Client, Principal};
use perennial::core::profile::Purpose;
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::ClientSecret;
use perennial::core::time::HostClock;
use perennial::core::{Connection, Fingerprint, Origin, TokenResponse, UnixTime};
use perennial::seal::KeySource;
use perennial::store::{App, Parcel};
use perennial::{Keeper, Options, Sqlite, SqliteOptions, Store};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Connections taken in at once.
const AT_ONCE: u64 = 1000;
/// So many connections are due, however many there are.
const DUE: u64 = 100;
/// How often something short is done.
const OFTEN: usize = 2000;
/// How often something is done that a disk must confirm.
const SELDOM: usize = 200;
/// Flights that commit at the same time …
const FLIGHTS: u64 = 64;
/// … and so often each.
const ROUNDS: u64 = 15;

type Stage = (&'static str, fn(&Place) -> Value);

const STAGES: [Stage; 6] = [
    ("load", load),
    ("open", open),
    ("token", token),
    ("due", due),
    ("commit", commit),
    ("together", together),
];

fn main() {
    // cargo adds its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.as_slice() {
        [store, stage, count] if STAGES.iter().any(|(name, _)| name == stage) => {
            let (_, measure) = STAGES.iter().find(|(name, _)| name == stage).unwrap();
            println!("{}", measure(&Place::new(store, count.parse().unwrap())));
        }
        [store, counts @ ..] if !counts.is_empty() => {
            for count in counts {
                STAGES.iter().for_each(|(stage, _)| in_a_process_of_its_own(store, stage, count));
            }
        }
        _ => println!("usage: scale STORE COUNT…"),
    }
}

fn in_a_process_of_its_own(store: &str, stage: &str, count: &str) {
    let program = std::env::current_exe().unwrap();
    let child = Command::new(program).args([store, stage, count]).stderr(Stdio::inherit()).output().unwrap();
    assert!(child.status.success(), "{stage} of {count} failed");
    let measured: Value = serde_json::from_slice(&child.stdout).unwrap();
    let kind = store.split(':').next().unwrap();
    let mut line = json!({"store": kind, "connections": count.parse::<u64>().unwrap(), "stage": stage});
    line.as_object_mut().unwrap().extend(measured.as_object().unwrap().clone());
    println!("{line}");
}

/// A store of so many connections.
struct Place {
    address: String,
    count: u64,
}

impl Place {
    fn new(address: &str, count: u64) -> Self {
        Self { address: address.to_owned(), count }
    }

    fn open(&self) -> Arc<dyn Store> {
        let dir = Path::new(self.address.strip_prefix("sqlite:").unwrap());
        let key = KeySource::File(dir.join("keys/master.key"));
        Arc::new(Sqlite::open(self.database(), SqliteOptions::new(key)).unwrap())
    }

    fn database(&self) -> std::path::PathBuf {
        let dir = Path::new(self.address.strip_prefix("sqlite:").unwrap());
        dir.join(format!("{}/perennial.db", self.count))
    }

    fn keeper(&self) -> Keeper {
        Keeper::open_shared(self.open(), Options::default())
    }

    /// Bytes on the disk.
    fn size(&self) -> u64 {
        let of = |ending: &str| {
            let file = self.database().with_extension(ending);
            std::fs::metadata(file).map_or(0, |file| file.len())
        };
        of("db") + of("db-wal")
    }

    /// How many transactions there have been.
    fn transactions(&self) -> u64 {
        let sql = rusqlite::Connection::open(self.database()).unwrap();
        let changes = sql.query_row("SELECT changes FROM meta", [], |row| row.get::<_, i64>(0));
        changes.unwrap().unsigned_abs()
    }

    /// Names, in an order that no cache likes.
    fn names(&self, times: usize) -> impl Iterator<Item = String> {
        let (mut at, count) = (0_u64, self.count);
        std::iter::repeat_with(move || {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            name((at >> 20) % count)
        })
        .take(times)
    }
}

fn load(place: &Place) -> Value {
    let store = place.open();
    let begun = Instant::now();
    for first in (0..place.count).step_by(AT_ONCE as usize) {
        let parcels: Vec<Parcel> =
            (first..place.count.min(first + AT_ONCE)).map(|number| parcel(number, place.count)).collect();
        store.add_all(&parcels).into_iter().for_each(|taken| taken.unwrap());
    }
    let seconds = begun.elapsed().as_secs_f64();
    drop(store);
    json!({
        "seconds": round(seconds),
        "per_second": round(place.count as f64 / seconds),
        "bytes_per_connection": place.size() / place.count,
        "memory": memory(),
    })
}

fn open(place: &Place) -> Value {
    let name = name(place.count / 2);
    let mut times = Times::default();
    for _ in 0..SELDOM {
        times.take(|| place.keeper().peek(&name, Duration::from_secs(60)).unwrap().unwrap());
    }
    times.told()
}

fn token(place: &Place) -> Value {
    let (keeper, mut times) = (place.keeper(), Times::default());
    for name in place.names(OFTEN) {
        times.take(|| keeper.peek(&name, Duration::from_secs(60)).unwrap().unwrap());
    }
    times.told()
}

fn due(place: &Place) -> Value {
    let (keeper, mut times) = (place.keeper(), Times::default());
    for _ in 0..SELDOM {
        let due = times.take(|| keeper.due().unwrap());
        assert_eq!(due.len() as u64, DUE.min(place.count));
    }
    times.told()
}

fn commit(place: &Place) -> Value {
    let (store, mut times) = (place.open(), Times::default());
    for name in place.names(SELDOM) {
        times.take(|| refresh(store.as_ref(), &name));
    }
    times.told()
}

/// What a flight writes: its intent, and its outcome.
fn refresh(store: &dyn Store, name: &str) {
    let mut claim = store.try_claim(name).unwrap().unwrap();
    let seen = claim.read().unwrap();
    let intended = seen.intend(plan(Purpose::Refresh, &perennial::request_id()));
    claim.intend(&seen.version(), &intended).unwrap();
    let next = intended.accept(&answer(name), &answered(now())).unwrap();
    claim.commit(&intended.version(), &next).unwrap();
}

fn together(place: &Place) -> Value {
    let store = place.open();
    let before = place.transactions();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for flight in 0..FLIGHTS {
            let (store, place) = (&store, &place);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    refresh(store.as_ref(), &name((flight * ROUNDS + round) % place.count));
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    let (writes, transactions) = (2 * FLIGHTS * ROUNDS, place.transactions() - before);
    json!({
        "refreshes_per_second": round((FLIGHTS * ROUNDS) as f64 / seconds),
        "writes": writes,
        "transactions": transactions,
        "writes_per_transaction": round(writes as f64 / transactions as f64),
        "memory": memory(),
    })
}

/// How long something took, each time.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn take<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.0.push(begun.elapsed());
        done
    }

    fn told(mut self) -> Value {
        self.0.sort_unstable();
        let at = |percent: usize| round(self.0[(self.0.len() - 1) * percent / 100].as_secs_f64() * 1e6);
        json!({"microseconds": at(50), "quartiles": [at(25), at(75)], "p99": at(99), "memory": memory()})
    }
}

/// The most memory that this process has had, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn name(number: u64) -> String {
    format!("customer-{number:07}")
}

/// Access tokens of Concur's are JSON Web Tokens of some 1,300 characters.
fn answer(name: &str) -> TokenResponse {
    let members = json!({
        "access_token": format!("{name}-{}", "a".repeat(1300)),
        "refresh_token": format!("{name}-{}", perennial::request_id()),
        "id_token": format!("{name}-{}", "i".repeat(900)),
        "expires_in": 86_400,
        "scope": "openid user.read company.read",
        "token_type": "Bearer",
        "refresh_expires_in": now().0 + 180 * 86_400,
        "geolocation": "https://us2.api.concursolutions.com",
    });
    TokenResponse::from_members(members.as_object().unwrap()).unwrap()
}

fn parcel(number: u64, count: u64) -> Parcel {
    let name = name(number);
    let every = count / DUE.min(count);
    let is_due = number.is_multiple_of(every) && number / every < DUE;
    let fresh = Connection::new(perennial::request_id(), name.as_str(), &CONCUR);
    let obtaining = fresh.intend(plan(Purpose::Obtain, &perennial::request_id()));
    let mut connection = obtaining.accept(&answer(&name), &answered(now())).unwrap();
    // Due, and served: its access token is today's.
    if let Some(held) = connection.held.as_mut().filter(|_| is_due) {
        held.refreshed_at = Some(now().plus(-30 * 86_400));
    }
    let client =
        Client { id: format!("app-{}", number % 20), secret: ClientSecret::new("the-secret-of-an-app") };
    Parcel { connection, app: App::new(client, Some(Principal::new("company")), None), history: Vec::new() }
}

fn plan(purpose: Purpose, correlation_id: &str) -> Plan {
    Plan {
        purpose,
        base: base(),
        presented: Fingerprint::of("presented"),
        new_grant_id: correlation_id.to_owned(),
        patience: Duration::from_secs(60),
        now: now(),
        kernel: "lock".to_owned(),
        process: std::process::id(),
        forced: false,
        settled: false,
        correlation_id: correlation_id.to_owned(),
    }
}

fn answered(at: UnixTime) -> Answered {
    Answered {
        base: base(),
        sent_at: at,
        received_at: at,
        date: Some(at),
        host: HostClock { kernel: "kernel".to_owned(), boot_epoch: 1_700_000_000 },
    }
}

fn base() -> Origin {
    Origin::parse("https://us2.api.concursolutions.com").unwrap()
}

fn now() -> UnixTime {
    UnixTime(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap())
}
