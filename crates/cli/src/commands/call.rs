//! `perennial call`: calls the API at the connection's geolocation, with its bearer.

use super::{renew, tell_warnings};
use crate::exit::Exit;
use crate::session::Session;
use crate::signals::AskedToEnd;
use crate::through::Through;
use crate::trouble::Trouble;
use clap::Args;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use perennial::core::profile::Purpose;
use perennial::core::schedule::DEFAULT_MIN_TTL;
use perennial::core::token_endpoint::{NoAnswer, Unreachable};
use perennial::core::{Connection, Origin};
use perennial::http::api::ApiError;
use perennial::http::{ApiRequest, ApiResponse, CORRELATION_ID, Http};
use perennial::{Error, HandOut, Keeper};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Call the API with the connection's access token
///
/// The path is taken at the connection's geolocation. A 401 or 403 is worth one refresh and one more try, as Concur
/// answers an expired token with either. The body goes to stdout whatever the status is.
#[derive(Args, Debug)]
#[command(override_usage = "perennial call [OPTIONS] [NAME] [METHOD] <PATH>")]
#[command(after_help = "\
Examples:
  perennial call /profile/identity/v4/Users
  perennial call GET '/expensereports/v4/reports?limit=5' --include
  perennial call POST /quickexpense/v4/users/ID/context/TRAVELER/quickexpenses -d @expense.json
  perennial call acme DELETE /some/thing -H 'If-Match: 7'

Exit codes: 0 for 2xx, 4 for 429 and 503, 1 for any other status.")]
pub(crate) struct Call {
    /// The connection (may be left out where there is only one), the method (default: GET, or
    /// POST with --data), and a path at the geolocation or a permitted absolute address
    #[arg(required = true, num_args = 1..=3, value_name = "NAME METHOD PATH")]
    words: Vec<String>,

    /// A header to send; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// A body to send: text, @FILE, or @- for stdin; JSON unless a Content-Type header says otherwise
    #[arg(short, long, value_name = "TEXT")]
    data: Option<String>,

    /// Print status and headers before the body
    #[arg(short, long)]
    include: bool,

    /// Write the body to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How long the API may take to begin its answer; SAP's answers come within 60 s [http-status-codes].
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn carry_out(session: &Session, call: &Call) -> Result<Exit, Trouble> {
    session.start_log();
    let words = Words::read(&call.words, call.data.is_some())?;
    let request = request(call, &words)?;
    let (giver, hand_out) = Giver::find(session, &words)?;
    // Looked at anew for each token: a refresh may find that the principal has moved.
    let base_of = |hand_out: &HandOut| giver.base_of(session, hand_out);
    base_of(&hand_out)?;
    tell_warnings(session, &hand_out);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let http = Http::new(session.http_options());
    let patience = session.globals.timeout.unwrap_or(PATIENCE);
    let send = |hand_out: &HandOut| {
        let base = base_of(hand_out)?;
        let bearer = (hand_out.token_type.as_str(), &hand_out.access_token);
        let answer = runtime.block_on(interruptible(http.call(
            &base,
            &request,
            bearer,
            &perennial::request_id(),
            patience,
        )));
        answer.map_err(|error| of_api(&base, &error))
    };
    let mut response = send(&hand_out)?;
    if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&response.status) {
        match giver.rejected(session, &hand_out) {
            Ok(newer) => response = send(&newer)?,
            Err(trouble) if trouble.exit == Exit::Interrupted => return Err(trouble),
            Err(trouble) => {
                session.printer.note(&format!("not tried again with a new token: {}", trouble.message))
            }
        }
    }
    runtime.block_on(interruptible(write_out(call, &mut response)))?;
    if let Giver::Alone { keeper, .. } = &giver
        && hand_out.renewal_due
    {
        renew(session, keeper, &hand_out.connection)?;
    }
    Ok(judge(session, &response))
}

/// Where tokens come from.
enum Giver {
    /// From a daemon that is running; the path is one at the geolocation.
    Daemon(Through),
    /// From the store.
    Alone {
        keeper: Box<Keeper>,
        /// Another permitted address than the geolocation.
        elsewhere: Option<Origin>,
    },
}

impl Giver {
    fn find(session: &Session, words: &Words) -> Result<(Self, HandOut), Trouble> {
        if words.path.starts_with('/')
            && let Some(daemon) = Through::find(session)
            && let Some(hand_out) = daemon.token(words.name.as_deref(), DEFAULT_MIN_TTL)?
        {
            return Ok((Self::Daemon(daemon), hand_out));
        }
        let keeper = session.keeper()?;
        let name = session.name(&keeper, words.name.as_deref())?;
        let elsewhere = elsewhere(&keeper.connection(&name)?, words)?;
        // A renewal that is due waits until the API has answered: it would be lost with an interrupted call.
        let hand_out = match keeper.peek(&name, DEFAULT_MIN_TTL)? {
            Some(hand_out) => hand_out,
            None => session.wait(&keeper, keeper.token(&name, DEFAULT_MIN_TTL))?,
        };
        Ok((Self::Alone { keeper: Box::new(keeper), elsewhere }, hand_out))
    }

    /// Where the token may go (law 10). A daemon has looked at what it says.
    fn base_of(&self, session: &Session, hand_out: &HandOut) -> Result<Origin, Trouble> {
        let Self::Alone { keeper, elsewhere } = self else { return Ok(hand_out.base.clone()) };
        let base = elsewhere.clone().unwrap_or_else(|| hand_out.base.clone());
        let named = session.globals.base()?.as_ref() == Some(&base);
        if !named && !keeper.connection(&hand_out.connection)?.permits(&base) {
            return Err(Trouble::from(Error::NotPermitted { origin: base, purpose: Purpose::Refresh }));
        }
        Ok(base)
    }

    fn rejected(&self, session: &Session, hand_out: &HandOut) -> Result<HandOut, Trouble> {
        let (name, token) = (hand_out.connection.as_str(), &hand_out.access_token);
        match self {
            Self::Alone { keeper, .. } => session.wait(keeper, keeper.rejected(name, token)),
            Self::Daemon(daemon) => {
                let gone = || Trouble::plain(Exit::TryAgainLater, "the daemon gave no other one");
                daemon.rejected(name, token)?.ok_or_else(gone)
            }
        }
    }
}

/// The positional words, told apart.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    name: Option<String>,
    method: Method,
    path: String,
}

impl Words {
    fn read(words: &[String], has_body: bool) -> Result<Self, Trouble> {
        let default = if has_body { Method::POST } else { Method::GET };
        let is_method = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase());
        let method = |word: &str| {
            Method::from_bytes(word.as_bytes()).map_err(|_| {
                Trouble::usage(
                    format!("\"{word}\" is no HTTP method"),
                    "for example: perennial call GET /path",
                )
            })
        };
        let (name, method, path) = match words {
            [path] => (None, default, path),
            [word, path] if is_method(word) => (None, method(word)?, path),
            [name, path] => (Some(name.clone()), default, path),
            [name, word, path] => (Some(name.clone()), method(word)?, path),
            _ => {
                return Err(Trouble::usage(
                    "a path is missing",
                    "for example: perennial call /profile/identity/v4/Users",
                ));
            }
        };
        Ok(Self { name, method, path: path.clone() })
    }
}

/// An absolute address, where the connection's secrets may go (law 10); none for a path, which is taken at the
/// geolocation.
fn elsewhere(connection: &Connection, words: &Words) -> Result<Option<Origin>, Trouble> {
    if words.path.starts_with('/') {
        return Ok(None);
    }
    let geolocation =
        connection.held.as_ref().map_or("the geolocation".to_owned(), |held| held.base.to_string());
    let hint = format!(
        "name a path at {geolocation} instead: perennial call {}",
        without_query(&path_of(&words.path))
    );
    let origin = Origin::parse(&words.path).map_err(|error| {
        Trouble::usage(format!("\"{}\" {error}", without_query(&words.path)), "name a path, beginning with /")
    })?;
    if connection.permits(&origin) {
        return Ok(Some(origin));
    }
    Err(Trouble::usage(
        format!("{origin} is not an address that this connection's token may be sent to"),
        hint,
    ))
}

fn without_query(address: &str) -> &str {
    address.split(['?', '#']).next().unwrap_or_default()
}

fn request(call: &Call, words: &Words) -> Result<ApiRequest, Trouble> {
    let mut headers = HeaderMap::new();
    for header in &call.headers {
        let (name, value) = read_header(header)?;
        headers.append(name, value);
    }
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
    let body = match &call.data {
        None => Vec::new(),
        Some(text) => {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            read_data(text)?
        }
    };
    Ok(ApiRequest { method: words.method.clone(), path: path_of(&words.path), headers, body: body.into() })
}

/// Path and query of a path or of an absolute address.
fn path_of(address: &str) -> String {
    let whole = address.split('#').next().unwrap_or_default();
    let path = match whole.split_once("://") {
        Some((_, rest)) if !whole.starts_with('/') => rest.find(['/', '?']).map_or("/", |at| &rest[at..]),
        _ => whole,
    };
    if path.starts_with('?') { format!("/{path}") } else { path.to_owned() }
}

fn read_header(text: &str) -> Result<(HeaderName, HeaderValue), Trouble> {
    let hint = "write it as -H 'Name: value'";
    let (name, value) =
        text.split_once(':').ok_or_else(|| Trouble::usage("a header has no colon in it", hint))?;
    let name = HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|_| Trouble::usage("a header's name has characters that do not belong there", hint))?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| {
        Trouble::usage(format!("the value of {name} has characters that do not belong there"), hint)
    })?;
    if name == AUTHORIZATION || name == HOST {
        return Err(Trouble::usage(format!("{name} is set by perennial"), "leave that header out"));
    }
    Ok((name, value))
}

fn read_data(text: &str) -> Result<Vec<u8>, Trouble> {
    let unreadable = |path: &str, error: &io::Error| {
        Trouble::usage(
            format!("cannot read {path}: {error}"),
            "name a file with -d @FILE, or stdin with -d @-",
        )
    };
    match text.strip_prefix('@') {
        None => Ok(text.as_bytes().to_vec()),
        Some("-") => {
            let mut body = Vec::new();
            io::stdin().read_to_end(&mut body).map_err(|error| unreadable("stdin", &error))?;
            Ok(body)
        }
        Some(path) => std::fs::read(path).map_err(|error| unreadable(path, &error)),
    }
}

async fn write_out(call: &Call, response: &mut ApiResponse) -> Result<(), Trouble> {
    let mut out: Box<dyn Write> = match &call.output {
        None => Box::new(io::stdout()),
        Some(path) => Box::new(File::create(path).map_err(|error| {
            Trouble::usage(
                format!("cannot write {}: {error}", path.display()),
                "choose another file: -o FILE",
            )
        })?),
    };
    if call.include {
        let mut head = format!("HTTP/1.1 {}\r\n", response.status).into_bytes();
        for (name, value) in &response.headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        out.write_all(&[head.as_slice(), b"\r\n"].concat())?;
    }
    let cut =
        |_: NoAnswer| Trouble::new(Exit::TryAgainLater, "the answer was cut off in the middle", "try again");
    while let Some(piece) = response.chunk().await.map_err(cut)? {
        out.write_all(&piece)?;
    }
    Ok(out.flush()?)
}

fn judge(session: &Session, response: &ApiResponse) -> Exit {
    if response.status.is_success() {
        return Exit::Done;
    }
    let id = response.headers.get(CORRELATION_ID).and_then(|id| id.to_str().ok());
    let id = id.map(|id| format!(", correlation id {id}")).unwrap_or_default();
    session.printer.note(&format!("HTTP {}{id}", response.status));
    match response.status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Exit::TryAgainLater,
        _ => Exit::Failed,
    }
}

/// Nothing of the grant is at stake while the API is called: Ctrl-C just ends it.
async fn interruptible<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let Ok(mut asked_to_end) = AskedToEnd::listen() else { return work.await };
    tokio::select! {
        result = work => result,
        () = asked_to_end.next() => std::process::exit(Exit::Interrupted.code().into()),
    }
}

pub(super) fn of_api(base: &Origin, error: &ApiError) -> Trouble {
    match error {
        ApiError::Unreachable(why) => {
            let why: Unreachable = why.clone();
            Trouble::from(Error::Unreachable { base: base.clone(), why })
        }
        ApiError::NoAnswer(NoAnswer::TimedOut) => {
            let hint = "the API may have carried it out; look before you repeat it, and give it more time: --timeout 5m";
            Trouble::new(Exit::TryAgainLater, format!("{base}: no answer in time"), hint)
        }
        ApiError::NoAnswer(NoAnswer::Reset(detail)) => {
            let hint = "the API may have carried it out; look before you repeat it";
            Trouble::new(
                Exit::TryAgainLater,
                format!("{base}: the connection ended before an answer came ({detail})"),
                hint,
            )
        }
        ApiError::Request(why) => Trouble::usage(why.clone(), "check the path and the headers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> (Option<String>, String, String) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let Words { name, method, path } = Words::read(&words, false).unwrap();
        (name, method.to_string(), path)
    }

    #[test]
    fn name_method_and_path_are_told_apart() {
        assert_eq!(words(&["/a"]), (None, "GET".into(), "/a".into()));
        assert_eq!(words(&["DELETE", "/a"]), (None, "DELETE".into(), "/a".into()));
        assert_eq!(words(&["acme", "/a"]), (Some("acme".into()), "GET".into(), "/a".into()));
        assert_eq!(words(&["acme", "PATCH", "/a"]), (Some("acme".into()), "PATCH".into(), "/a".into()));
    }

    #[test]
    fn an_absolute_address_gives_up_its_path() {
        assert_eq!(path_of("https://us2.api.concursolutions.com/a/b?c=d#e"), "/a/b?c=d");
        assert_eq!(path_of("https://us2.api.concursolutions.com"), "/");
        assert_eq!(path_of("https://us2.api.concursolutions.com?x=1"), "/?x=1");
        assert_eq!(path_of("/a?next=https://x/y"), "/a?next=https://x/y");
    }
}
