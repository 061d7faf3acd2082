//! A connection as JSON: a token endpoint's answer as SAP's sample keeps it (`refreshTokenObjectFile.json`), with our
//! own bookkeeping under the one extra key `perennial`. The sample ignores that key, drops it when it writes, and
//! writes without care; so what the bookkeeping says of tokens holds only while their fingerprints agree.
//!
//! | file | what it reads and writes |
//! |---|---|
//! | `mod.rs` | the document: the tokens, where SAP's sample looks for them |
//! | `bookkeeping.rs` | what stands under `perennial`, part by part |
//! | `server.rs` | the endpoints of a server of its own, and how its grant is obtained |
//! | `members.rs` | small readings of a JSON object |

mod bookkeeping;
mod members;
mod server;

use members::{count, expiry, list, number, object, principal, text, time};

pub use members::Members;
use perennial_core::Origin;
use perennial_core::connection::{Access, Connection, Held, Version};
use perennial_core::grant::Principal;
use perennial_core::profile::{concur, registry};
use perennial_core::secret::{AccessToken, Fingerprint, IdToken, RefreshToken};
use perennial_core::time::Expiry;
use perennial_core::token_endpoint::response::{KNOWN_MEMBERS, Others, is_sendable};
use perennial_core::token_endpoint::{jwt, wire};
use serde_json::{Map, Value, json};

/// The one extra key.
pub const BOOKKEEPING: &str = "perennial";
/// The sample's own addition to the answer.
pub const COMPANY: &str = "companyUUID";

/// The form of the bookkeeping that this version writes; a newer one is refused.
const VERSION: i64 = 1;

/// True when a newer version has written this document.
#[must_use]
pub fn is_newer(members: &Map<String, Value>) -> bool {
    object(members, BOOKKEEPING)
        .and_then(|own| number(own, "version"))
        .is_some_and(|version| version > VERSION)
}

/// Where a bookkeeping that is no object is kept.
const DAMAGED: &str = "perennial.damaged";

/// A connection that was read, and what was noticed about it.
#[derive(Debug)]
pub struct Read {
    /// The connection.
    pub connection: Connection,
    /// True when the tokens were last written by something else than Perennial.
    pub by_another: bool,
}

/// Reads a document. `fresh` is the connection to start from, with id, name and profile.
#[must_use]
pub fn read(members: &Members, fresh: Connection) -> Read {
    let empty = Members::new();
    let own = members.get(BOOKKEEPING).and_then(Value::as_object).unwrap_or(&empty);
    let mut connection = fresh;
    connection.permitted =
        list(own, "permitted_origins").filter_map(|v| Origin::parse(v.as_str()?).ok()).collect();
    if let Some(id) = text(own, "id") {
        connection.id = id.to_owned();
    }
    if let Some(profile) = text(own, "profile") {
        connection.profile = registry::named_or_careful(profile);
    }
    (connection.server, connection.obtaining) = server::read(own);
    connection.other_clocks = list(own, "clocks").filter_map(bookkeeping::clock_from).collect();
    if let Some((clock, skew)) = connection.other_clocks.pop() {
        (connection.clock, connection.skew) = (Some(clock), skew);
    }
    connection.policy = bookkeeping::policy_from(own, connection.profile);
    connection.previous = list(own, "previous").filter_map(bookkeeping::previous_from).collect();
    connection.candidates = list(own, "candidates").filter_map(bookkeeping::candidate_from).collect();
    connection.last_fault = object(own, "last_fault").and_then(bookkeeping::fault_from);
    connection.forced_at = time(own, "forced_at");
    connection.request_token = object(own, "request_token").and_then(bookkeeping::request_token_from);
    connection.principal = principal(own, "principal").or_else(|| principal(members, COMPANY));

    let by_another = !written_by_us(members, own);
    connection.held = held_from(members, own, by_another);
    let intent = object(own, "intent").and_then(bookkeeping::intent_from);
    if by_another && connection.held.is_some() {
        // Whoever wrote these tokens has just been given them: what the bookkeeping says of others is past. An open
        // intent is not, where it is this very refresh token that was presented (law 7).
        connection.principal = principal(members, COMPANY).or_else(|| named_by(&connection));
        let refresh = connection.held.as_ref().and_then(|held| held.refresh.as_ref());
        let presented = refresh.map(RefreshToken::fingerprint);
        connection.intent = intent.filter(|intent| Some(&intent.presented) == presented.as_ref());
    } else {
        connection.intent = intent;
        connection.condition =
            object(own, "condition").and_then(bookkeeping::condition_from).unwrap_or_default();
    }
    // The sample drops the bookkeeping: tokens without any were written by something else too.
    let by_another = by_another && connection.held.is_some();
    Read { connection, by_another }
}

fn named_by(connection: &Connection) -> Option<Principal> {
    let claims = jwt::claims(connection.held.as_ref()?.id_token.as_ref()?.expose())?;
    principal(&claims, "sub")
}

/// Both tokens are those that the bookkeeping was written for.
fn written_by_us(members: &Members, own: &Members) -> bool {
    let agrees = |token: &str, print: &str| {
        text(members, token).map(Fingerprint::of) == text(own, print).and_then(Fingerprint::parse)
    };
    agrees("refresh_token", "refresh_fingerprint") && agrees("access_token", "access_fingerprint")
}

fn held_from(members: &Members, own: &Members, by_another: bool) -> Option<Held> {
    let refresh = text(members, "refresh_token").filter(|token| is_sendable(token)).map(RefreshToken::new);
    let token = text(members, "access_token").filter(|token| is_sendable(token)).map(AccessToken::new);
    if refresh.is_none() && token.is_none() {
        return None;
    }
    let counted = count(own, "generation").unwrap_or(0);
    let same_grant = text(own, "refresh_fingerprint").and_then(Fingerprint::parse)
        == refresh.as_ref().map(RefreshToken::fingerprint);
    let grant_id = text(own, "grant_id").filter(|_| same_grant).map(str::to_owned);
    let stated = |name: &str| text(own, name) != Some("assumed");
    let access_expiry = if by_another {
        token.as_ref().and_then(|token| expiry_claim(token.expose()))
    } else {
        time(own, "access_expires_at").map(|at| expiry(at, stated("access_expiry")))
    };
    let refresh_expires_at = members.get("refresh_expires_in").and_then(wire::absolute_expiry);
    Some(Held {
        // A grant that came from elsewhere is named after its refresh token: the same at every look.
        grant_id: grant_id.unwrap_or_else(|| foreign_grant_id(refresh.as_ref())),
        generation: if by_another { counted.saturating_add(1) } else { counted.max(1) },
        access: token.zip(access_expiry).map(|(token, expiry)| Access {
            token,
            token_type: text(members, "token_type")
                .filter(|kind| is_sendable(kind))
                .map_or("Bearer", bearer)
                .to_owned(),
            expiry,
        }),
        refresh,
        refresh_expiry: refresh_expires_at.map(|at| expiry(at, by_another || stated("refresh_expiry"))),
        base: text(members, "geolocation")
            .and_then(|base| Origin::parse(base).ok())
            .or_else(|| Origin::parse(concur::DEFAULT_BASE).ok())?,
        scope: text(members, "scope").map(str::to_owned),
        id_token: text(members, "id_token").map(IdToken::new),
        refreshed_at: time(own, "refreshed_at").filter(|_| !by_another),
        granted_at: time(own, "granted_at").filter(|_| same_grant),
        others: Others(others(members)),
    })
}

fn bearer(token_type: &str) -> &str {
    if token_type.eq_ignore_ascii_case("bearer") { "Bearer" } else { token_type }
}

fn foreign_grant_id(refresh: Option<&RefreshToken>) -> String {
    refresh.map_or_else(|| "foreign".to_owned(), |token| format!("foreign-{}", token.fingerprint()))
}

/// A foreign file does not say when its access token was issued; the token's own `exp` does, where it is a JWT.
fn expiry_claim(access_token: &str) -> Option<Expiry> {
    let claims = jwt::claims(access_token)?;
    wire::absolute_expiry(claims.get("exp")?).map(Expiry::Stated)
}

fn others(members: &Members) -> Members {
    members
        .iter()
        .filter(|(name, _)| !KNOWN_MEMBERS.contains(&name.as_str()) && !is_ours(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Names that the document has a use of its own for: what an answer says under one of them is not taken for ours.
fn is_ours(name: &str) -> bool {
    name == COMPANY || name.split('.').next() == Some(BOOKKEEPING)
}

/// Writes a connection into a document. `members` is what stands there now: keys that nobody here knows survive.
#[must_use]
pub fn write(connection: &Connection, members: &Members) -> Members {
    let mut next = members.clone();
    let was = match next.shift_remove(BOOKKEEPING) {
        Some(Value::Object(own)) => own,
        Some(odd) => {
            next.insert(DAMAGED.to_owned(), odd);
            Members::new()
        }
        None => Members::new(),
    };
    if let Some(held) = &connection.held {
        write_held(held, &mut next);
        if let Some(principal) = &connection.principal {
            next.insert(COMPANY.to_owned(), json!(principal.as_str()));
        }
    }
    let mut own = bookkeeping::write(connection, &was, VERSION);
    // Of what stands in the document, whoever issued it: this is how a later look sees that somebody else wrote.
    for (token, print) in [("refresh_token", "refresh_fingerprint"), ("access_token", "access_fingerprint")] {
        if let Some(token) = text(&next, token) {
            own.insert(print.to_owned(), json!(Fingerprint::of(token).as_str()));
        }
    }
    next.insert(BOOKKEEPING.to_owned(), Value::Object(own));
    next
}

/// A version as JSON: what a commit or a rescued answer was derived from.
#[must_use]
pub fn write_version(version: &Version) -> Value {
    let refresh = version.refresh.as_ref().map(Fingerprint::as_str);
    let mut members = Members::new();
    members.insert("generation".to_owned(), json!(version.generation));
    members.insert("candidates".to_owned(), json!(version.candidates));
    for (name, text) in [
        ("grant_id", version.grant_id.as_deref()),
        ("refresh", refresh),
        ("fence", version.intent.as_deref()),
    ] {
        if let Some(text) = text {
            members.insert(name.to_owned(), json!(text));
        }
    }
    Value::Object(members)
}

/// Reads what [`write_version`] wrote.
#[must_use]
pub fn read_version(value: &Value) -> Option<Version> {
    let members = value.as_object()?;
    Some(Version {
        grant_id: text(members, "grant_id").map(str::to_owned),
        generation: count(members, "generation")?,
        refresh: text(members, "refresh").and_then(Fingerprint::parse),
        intent: text(members, "fence").map(str::to_owned),
        candidates: count(members, "candidates").and_then(|count| usize::try_from(count).ok()).unwrap_or(0),
    })
}

/// The answer's members, by the names and in the order that SAP documents.
fn write_held(held: &Held, next: &mut Members) {
    let mut put = |name: &str, value: Option<Value>| {
        match value {
            Some(value) => next.insert(name.to_owned(), value),
            None => next.shift_remove(name),
        };
    };
    let access = held.access.as_ref();
    let life = access.zip(held.refreshed_at).map(|(access, issued)| access.expiry.at().since(issued).max(0));
    if life.is_some() {
        put("expires_in", life.map(|seconds| json!(seconds)));
    }
    put("scope", held.scope.as_ref().map(|scope| json!(scope)));
    if let Some(access) = access {
        put("token_type", Some(json!(access.token_type)));
        put("access_token", Some(json!(access.token.expose())));
    }
    put("refresh_token", held.refresh.as_ref().map(|token| json!(token.expose())));
    put("refresh_expires_in", held.refresh_expiry.map(|expiry| json!(expiry.at().0)));
    put("geolocation", Some(json!(held.base.to_string())));
    put("id_token", held.id_token.as_ref().map(|token| json!(token.expose())));
    for (name, value) in held.others.0.iter().filter(|(name, _)| !is_ours(name)) {
        next.insert(name.clone(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::connection::{Answered, Aside, Plan};
    use perennial_core::profile::Purpose;
    use perennial_core::time::{HostClock, Skew};
    use perennial_core::{TokenResponse, UnixTime};
    use std::time::Duration;

    const KERNEL: &str = "kernel";

    fn host() -> HostClock {
        HostClock { kernel: KERNEL.into(), boot_epoch: 1_799_000_000 }
    }

    fn fresh() -> Connection {
        Connection::new("id", "default", &concur::CONCUR)
    }

    fn answer(refresh: &str) -> TokenResponse {
        let members = json!({
            "access_token": "access", "refresh_token": refresh, "expires_in": 3600,
            "refresh_expires_in": 1_900_000_000, "novelty": {"kept": true},
        });
        TokenResponse::from_members(members.as_object().unwrap()).unwrap()
    }

    fn plan(purpose: Purpose, base: &Origin) -> Plan {
        Plan {
            purpose,
            base: base.clone(),
            presented: Fingerprint::of("presented"),
            new_grant_id: "grant".into(),
            patience: Duration::from_secs(60),
            now: UnixTime(1_800_000_000),
            kernel: KERNEL.into(),
            process: 1,
            is_request_token: purpose == Purpose::Obtain,
            forced: false,
            settled: false,
            correlation_id: "correlation".into(),
        }
    }

    fn held() -> Connection {
        let base = Origin::parse("https://127.0.0.1:8443").unwrap();
        let at = UnixTime(1_800_000_000);
        let answered = Answered {
            base: base.clone(),
            sent_at: at,
            received_at: at,
            date: Some(at.plus(100)),
            host: host(),
        };
        let intended = fresh().intend(plan(Purpose::Obtain, &base));
        intended
            .set_aside(&intended.asked(), &answer("late"), &answered, Aside::Late)
            .accept(&answer("first"), &answered)
            .unwrap()
    }

    #[test]
    fn a_connection_survives_being_written_down() {
        let connection = held();
        let members = write(&connection, &Members::new());
        let read = read(&members, fresh());
        assert_eq!(read.connection, connection);
        assert!(!read.by_another);
    }

    #[test]
    fn the_samples_members_stand_where_the_sample_reads_them() {
        let members = write(&held(), &Members::new());
        assert_eq!(members["refresh_expires_in"], 1_900_000_000);
        assert_eq!(members["expires_in"], 3600);
        assert_eq!(members["token_type"], "Bearer");
        assert_eq!(members["novelty"]["kept"], true);
    }

    #[test]
    fn unknown_keys_survive_a_rewrite_and_a_damaged_bookkeeping_is_kept() {
        let odd = json!({"mine": 1, "perennial": "scribble"});
        let members = write(&held(), odd.as_object().unwrap());
        assert_eq!(members["mine"], 1);
        assert_eq!(members["perennial.damaged"], "scribble");
    }

    #[test]
    fn an_unknown_number_survives_to_the_last_digit() {
        let text = r#"{"refresh_token":"r","novelty":0.48183792520110524}"#;
        let members: Members = serde_json::from_str(text).unwrap();
        let written = Value::Object(write(&read(&members, fresh()).connection, &members));
        assert!(written.to_string().contains("0.48183792520110524"), "{written}");
    }

    #[test]
    fn law_5_what_may_hold_a_refresh_token_stays_though_nobody_can_read_it() {
        let odd = json!({
            "access_token": "access",
            "perennial": {
                "previous": [{"refresh_token": "without a base"}],
                "candidates": {"answer": {"refresh_token": "not in a list"}},
            },
        });
        let odd = odd.as_object().unwrap();
        let once = write(&read(odd, fresh()).connection, odd);
        let twice = write(&held(), &once);
        assert_eq!(twice["perennial"]["previous"][0]["refresh_token"], "without a base");
        assert_eq!(twice["perennial"]["candidates"][0]["answer"]["refresh_token"], "late");
        assert_eq!(twice["perennial"]["candidates"][1]["answer"]["refresh_token"], "not in a list");
    }

    #[test]
    fn law_13_a_text_that_says_nothing_and_an_answers_own_company_name_nobody() {
        let blank = json!({"refresh_token": "r", "companyUUID": " ", "perennial": {"principal": " "}});
        assert_eq!(read(blank.as_object().unwrap(), fresh()).connection.principal, None);
        let mut connection = held();
        let company =
            [("companyUUID".to_owned(), json!("theirs")), ("perennial".to_owned(), json!("theirs"))];
        connection.held.as_mut().unwrap().others.0.extend(company);
        let written = write(&connection, &Members::new());
        assert_eq!(read(&written, fresh()).connection.principal, None);
    }

    #[test]
    fn a_generation_beyond_counting_stays_what_it_is() {
        for last in [i64::MAX.unsigned_abs(), u64::MAX] {
            let file = json!({"refresh_token": "r", "perennial": {"generation": last}});
            let file = file.as_object().unwrap();
            let connection = read(file, fresh()).connection;
            assert_eq!(connection.version().generation, last.saturating_add(1));
            let written = write(&connection, file);
            assert_eq!(read(&written, fresh()).connection, connection);
        }
    }

    #[test]
    fn tokens_that_the_sample_wrote_are_a_new_grant_at_every_look_the_same() {
        let mut members = write(&held(), &Members::new());
        members.insert("refresh_token".into(), json!("by-the-sample"));
        let (one, two) = (read(&members, fresh()), read(&members, fresh()));
        assert!(one.by_another);
        assert_eq!(one.connection.version(), two.connection.version());
        assert_ne!(one.connection.version().grant_id, held().version().grant_id);
        assert_eq!(one.connection.held.unwrap().access, None, "nobody knows when it was issued");
    }

    #[test]
    fn an_intent_on_the_samples_own_file_is_found_again() {
        let sample = json!({"access_token": "opaque", "refresh_token": "r", "companyUUID": "c"});
        let sample = sample.as_object().unwrap();
        let connection = read(sample, fresh()).connection;
        let base = Origin::parse("https://us2.api.concursolutions.com").unwrap();
        let intended = connection.intend(plan(Purpose::Refresh, &base));
        let again = read(&write(&intended, sample), fresh());
        assert_eq!(again.connection, intended);
        assert!(!again.by_another);
    }

    #[test]
    fn law_11_another_kernels_clock_is_not_ours() {
        let read = read(&write(&held(), &Members::new()), fresh()).connection;
        assert_eq!(read.clone().seen_on(&host()).skew.seconds, 100);
        let elsewhere = HostClock { kernel: "other".into(), ..host() };
        assert_eq!(read.seen_on(&elsewhere).skew, Skew::default());
    }
}
