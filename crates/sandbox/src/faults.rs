//! Faults on demand: read from JSON, checked before any is taken, drawn in the order in which they were given.

use axum::http::header::{HeaderValue, LOCATION};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::time::Duration;

/// What stands in the queue, the next to be drawn first.
#[derive(Default)]
pub(crate) struct Faults(VecDeque<Queued>);

/// Where a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Token,
    Api,
}

/// A fault for one request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Whether the request takes effect at the server all the same.
    pub(crate) spent: bool,
}

struct Queued {
    when: When,
    kind: Kind,
    /// As it was given, to be shown.
    given: Map<String, Value>,
}

/// Which requests a fault is for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct When {
    #[serde(default = "one")]
    count: u64,
    #[serde(default)]
    skip: u64,
    #[serde(default)]
    on: On,
    grant: Option<String>,
    #[serde(default)]
    spent: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum On {
    #[default]
    Token,
    Api,
    Any,
}

/// What happens to the request. The variants up to `OkError` answer in place of the server; those from `Delay` on
/// change the answer that the server gives, so that the request takes effect.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Kind {
    Status {
        status: u16,
        retry_after: Option<Value>,
        body: Option<String>,
    },
    Reset {},
    Hang {
        seconds: Option<f64>,
    },
    Html {
        status: Option<u16>,
    },
    Huge {
        #[serde(default = "five_mebibytes")]
        bytes: u64,
    },
    Redirect {
        location: String,
        status: Option<u16>,
    },
    Empty {
        status: Option<u16>,
    },
    Error {
        code: u32,
        geolocation: Option<String>,
        status: Option<u16>,
    },
    OkError {
        code: u32,
        geolocation: Option<String>,
    },
    Delay {
        milliseconds: u64,
    },
    SlowBody {
        milliseconds: u64,
        chunks: usize,
    },
    CutBody {},
    TruncatedJson {},
    InvalidUtf8 {},
    Gzip {},
    ContentType {
        value: String,
    },
    DateSkew {
        seconds: i64,
    },
    Fields {
        #[serde(default)]
        set: Map<String, Value>,
        #[serde(default)]
        remove: Vec<String>,
    },
    OtherPrincipal {},
}

/// The members of a fault that say when, not what.
const WHEN: [&str; 5] = ["count", "skip", "on", "grant", "spent"];

/// Longer waits than a day are a slip of the pen.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// More than any client should read, and still soon sent.
const MOST_BYTES: u64 = 1 << 30;

/// Fifty years: the Date stays one that HTTP can write.
const MOST_SKEW: u64 = 50 * 365 * 24 * 3600;

impl Faults {
    /// Takes all of them, or, if one is not understood, none.
    pub(crate) fn inject(&mut self, faults: Value) -> Result<usize, String> {
        let Value::Array(faults) = faults else {
            return Err(format!("faults are a JSON array of objects, for example {EXAMPLE}"));
        };
        let read = faults
            .into_iter()
            .enumerate()
            .map(|(index, fault)| Queued::read(fault).map_err(|problem| format!("fault {index}: {problem}")));
        let read = read.collect::<Result<Vec<_>, String>>()?;
        self.0.extend(read);
        Ok(self.0.len())
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What has not been drawn yet, with what is left of `count` and `skip`.
    pub(crate) fn pending(&self) -> Value {
        self.0.iter().map(Queued::show).collect()
    }

    /// The first fault that is for this request decides: it lets the request pass, or befalls it.
    pub(crate) fn draw(&mut self, place: Place, grant: &str) -> Option<Fault> {
        let index = self.0.iter().position(|queued| queued.when.matches(place, grant))?;
        let queued = &mut self.0[index];
        if queued.when.skip > 0 {
            queued.when.skip -= 1;
            return None;
        }
        let fault =
            Fault { kind: queued.kind.clone(), spent: queued.when.spent || queued.kind.needs_an_answer() };
        queued.when.count -= 1;
        if queued.when.count == 0 {
            self.0.remove(index);
        }
        Some(fault)
    }
}

const EXAMPLE: &str = r#"[{"kind": "status", "status": 503}]"#;

impl Queued {
    fn read(fault: Value) -> Result<Queued, String> {
        let Value::Object(given) = fault else {
            return Err(format!("a fault is a JSON object, for example {EXAMPLE}"));
        };
        let (when, kind): (Map<_, _>, Map<_, _>) =
            given.clone().into_iter().partition(|(name, _)| WHEN.contains(&name.as_str()));
        let when: When = serde_json::from_value(when.into()).map_err(|problem| problem.to_string())?;
        let kind: Kind = serde_json::from_value(kind.into()).map_err(|problem| problem.to_string())?;
        if when.count == 0 {
            return Err("a count of 0 is no fault".to_owned());
        }
        kind.check()?;
        Ok(Queued { when, kind, given })
    }

    fn show(&self) -> Value {
        let mut shown = self.given.clone();
        shown.insert("count".to_owned(), json!(self.when.count));
        shown.insert("skip".to_owned(), json!(self.when.skip));
        shown.into()
    }
}

impl When {
    fn matches(&self, place: Place, grant: &str) -> bool {
        let here = match self.on {
            On::Any => true,
            On::Token => place == Place::Token,
            On::Api => place == Place::Api,
        };
        here && self.grant.as_deref().is_none_or(|wanted| wanted == grant)
    }
}

impl Kind {
    /// Whether this changes the server's own answer, so that there has to be one.
    fn needs_an_answer(&self) -> bool {
        !matches!(
            self,
            Kind::Status { .. }
                | Kind::Reset {}
                | Kind::Hang { .. }
                | Kind::Html { .. }
                | Kind::Huge { .. }
                | Kind::Redirect { .. }
                | Kind::Empty { .. }
                | Kind::Error { .. }
                | Kind::OkError { .. }
        )
    }

    /// Finds now what could not be carried out later.
    fn check(&self) -> Result<(), String> {
        match self {
            Kind::Status { status, retry_after, .. } => {
                check_status(*status)?;
                retry_after.as_ref().map_or(Ok(()), |value| retry_after_text(value).map(|_| ()))
            }
            Kind::Html { status: Some(status) }
            | Kind::Empty { status: Some(status) }
            | Kind::Error { status: Some(status), .. } => check_status(*status),
            Kind::Redirect { location, status } => {
                check_header(LOCATION.as_str(), location)?;
                status.map_or(Ok(()), check_status)
            }
            Kind::ContentType { value } => check_header("content-type", value),
            Kind::Hang { seconds: Some(seconds) } => match Duration::try_from_secs_f64(*seconds) {
                Ok(wait) => check_wait(wait),
                Err(_) => Err("`seconds` must be a positive number".to_owned()),
            },
            Kind::Delay { milliseconds } => check_wait(Duration::from_millis(*milliseconds)),
            Kind::SlowBody { milliseconds, chunks } => {
                if *chunks == 0 {
                    return Err("`chunks` must be at least 1".to_owned());
                }
                check_wait(Duration::from_millis(*milliseconds))
            }
            Kind::Huge { bytes } if *bytes > MOST_BYTES => Err(format!("`bytes` is at most {MOST_BYTES}")),
            Kind::DateSkew { seconds } if seconds.unsigned_abs() > MOST_SKEW => {
                Err(format!("`seconds` is at most {MOST_SKEW}, in either direction"))
            }
            _ => Ok(()),
        }
    }
}

/// The text of a Retry-After header: seconds, or the HTTP date as it was given.
pub(crate) fn retry_after_text(value: &Value) -> Result<String, String> {
    let text = match value {
        Value::Number(seconds) => seconds.to_string(),
        Value::String(text) => text.clone(),
        _ => return Err("`retry_after` is a number of seconds, or a text".to_owned()),
    };
    check_header("retry-after", &text).map(|()| text)
}

fn check_status(status: u16) -> Result<(), String> {
    if (200..=599).contains(&status) {
        Ok(())
    } else {
        Err(format!("{status} is no status between 200 and 599"))
    }
}

fn check_wait(wait: Duration) -> Result<(), String> {
    if wait <= LONGEST_WAIT { Ok(()) } else { Err("the longest wait is one day".to_owned()) }
}

fn check_header(name: &str, value: &str) -> Result<(), String> {
    HeaderValue::try_from(value).map(|_| ()).map_err(|_| format!("this cannot stand in a {name} header"))
}

fn one() -> u64 {
    1
}

fn five_mebibytes() -> u64 {
    5 << 20
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(faults: &mut Faults, grants: &[&str]) -> Vec<bool> {
        grants.iter().map(|grant| faults.draw(Place::Token, grant).is_some()).collect()
    }

    #[test]
    fn skip_lets_pass_count_repeats_and_grant_chooses() {
        let mut faults = Faults::default();
        faults.inject(json!([{"kind": "reset", "skip": 1, "count": 2, "grant": "refresh_token"}])).unwrap();
        let grants =
            ["password", "refresh_token", "refresh_token", "password", "refresh_token", "refresh_token"];
        assert_eq!(drawn(&mut faults, &grants), [false, false, true, false, true, false]);
    }

    #[test]
    fn a_fault_for_the_api_waits_for_the_api() {
        let mut faults = Faults::default();
        faults.inject(json!([{"kind": "empty", "on": "api"}, {"kind": "reset", "on": "any"}])).unwrap();
        assert_eq!(faults.draw(Place::Token, "password").unwrap().kind, Kind::Reset {});
        assert_eq!(faults.draw(Place::Api, "").unwrap().kind, Kind::Empty { status: None });
    }

    #[test]
    fn one_bad_fault_keeps_all_of_them_out_and_is_named() {
        let mut faults = Faults::default();
        for (bad, says) in [
            (json!([{"kind": "reset"}, {"kind": "earthquake"}]), "expected one of `status`, `reset`"),
            (json!([{"kind": "reset", "cuont": 2}]), "unknown field `cuont`"),
            (json!([{"kind": "status"}]), "missing field `status`"),
            (json!([{"kind": "status", "status": 99}]), "99 is no status"),
            (json!([{"kind": "reset", "count": 0}]), "count of 0"),
            (json!([{"kind": "reset", "on": "moon"}]), "unknown variant `moon`"),
            (json!([{"kind": "hang", "seconds": -1}]), "positive"),
            (json!([{"kind": "content_type", "value": "a\nb"}]), "cannot stand"),
            (json!([7]), "JSON object"),
            (json!({"kind": "reset"}), "JSON array"),
        ] {
            let problem = faults.inject(bad).unwrap_err();
            assert!(problem.contains(says), "{problem}");
            assert_eq!(faults.pending(), json!([]));
        }
    }

    #[test]
    fn what_changes_an_answer_is_spent_without_being_told() {
        let mut faults = Faults::default();
        let kinds = json!([{"kind": "gzip"}, {"kind": "reset"}, {"kind": "reset", "spent": true}]);
        faults.inject(kinds).unwrap();
        let spent: Vec<bool> = (0..3).map(|_| faults.draw(Place::Token, "").unwrap().spent).collect();
        assert_eq!(spent, [true, false, true]);
    }
}
