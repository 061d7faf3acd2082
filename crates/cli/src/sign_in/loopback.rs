//! Where the browser comes back to: a socket of this machine (RFC 8252 section 7.3). It takes one kind of request, shows the
//! person how it ended, and is gone with the sign-in.

use crate::exit::Exit;
use crate::trouble::Trouble;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use perennial::core::Origin;
use perennial::core::server::Endpoint;
use perennial::sign_in::SignIn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The path, where nobody names another redirect address.
const PATH: &str = "/callback";

/// How long the browser waits for the exchange: a token request's minute, and a little more.
const SHOWN_WITHIN: Duration = Duration::from_secs(75);

/// How long the last page may take to reach the browser.
const LAST_PAGE: Duration = Duration::from_secs(2);

/// A socket that is bound.
#[derive(Debug)]
pub(super) struct Loopback {
    listener: std::net::TcpListener,
    uri: String,
    path: String,
}

/// An address that a browser ended at.
#[derive(Debug)]
pub(super) struct Arrived {
    text: String,
    /// True where another may come behind it.
    is_followed: bool,
    shown: Option<oneshot::Sender<Result<(), String>>>,
}

impl Arrived {
    /// Given in a file: there is no other.
    pub(super) fn given(text: String) -> Self {
        Self { text, is_followed: false, shown: None }
    }

    /// Pasted by a person, who may try again.
    pub(super) fn pasted(text: String) -> Self {
        Self { text, is_followed: true, shown: None }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A browser may come back again, and a person may paste again.
    pub(super) fn may_be_followed(&self) -> bool {
        self.is_followed
    }

    /// Tells the person who looks at the browser.
    pub(super) fn tell(self, outcome: Result<(), String>) {
        if let Some(shown) = self.shown {
            let _ = shown.send(outcome);
        }
    }
}

impl Loopback {
    /// Binds the port that the redirect address names, or any; none where that leads elsewhere, and the answer is pasted.
    pub(super) fn bind(named: Option<&str>) -> Result<Option<Self>, Trouble> {
        let (address, path, host) = match named {
            None => (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), PATH.to_owned(), "127.0.0.1".to_owned()),
            Some(uri) => {
                let endpoint = read(uri)?;
                let Some(mut address) = own(endpoint.origin()) else { return Ok(None) };
                // RFC 8252 section 7.3: a loopback address that is registered without a port is good with any.
                if !names_port(uri) {
                    address.set_port(0);
                }
                (address, endpoint.path().to_owned(), endpoint.origin().host().to_owned())
            }
        };
        let bound = std::net::TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        });
        let (listener, port) = bound.map_err(|error| {
            Trouble::new(
                Exit::Failed,
                format!("no socket at {address} to come back to: {error}"),
                "name another port: --redirect-uri http://127.0.0.1:8401/callback",
            )
        })?;
        // To the letter as a person has registered it, where one did.
        let uri = match named {
            Some(uri) if address.port() != 0 => uri.to_owned(),
            _ => format!("http://{host}:{port}{path}"),
        };
        Ok(Some(Self { listener, uri, path }))
    }

    pub(super) fn uri(&self) -> String {
        self.uri.clone()
    }

    /// Serves it in the background, until the sign-in has ended.
    pub(super) fn serve(self, sign_in: &SignIn, arrivals: mpsc::UnboundedSender<Arrived>) -> Served {
        let (end, ended) = oneshot::channel::<()>();
        let shared = Shared { arrivals, name: sign_in.connection.clone(), uri: self.uri };
        let routes = Router::new().route(&self.path, get(arrive)).with_state(Arc::new(shared));
        let listener = self.listener;
        let task = tokio::spawn(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            let until = async move {
                let _ = ended.await;
            };
            let _ = axum::serve(listener, routes).with_graceful_shutdown(until).await;
        });
        Served { end: Mutex::new(Some(end)), task }
    }
}

/// The socket, while it is served.
#[derive(Debug)]
pub(super) struct Served {
    end: Mutex<Option<oneshot::Sender<()>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Served {
    /// Ends it; the page that says how it went is still sent.
    pub(super) async fn ended(self) {
        if let Some(end) = self.end.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = end.send(());
        }
        let _ = tokio::time::timeout(LAST_PAGE, self.task).await;
    }
}

#[derive(Debug)]
struct Shared {
    arrivals: mpsc::UnboundedSender<Arrived>,
    name: String,
    uri: String,
}

async fn arrive(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let (told, outcome) = oneshot::channel();
    let text = format!("{}?{}", shared.uri, query.unwrap_or_default());
    if shared.arrivals.send(Arrived { text, is_followed: true, shown: Some(told) }).is_err() {
        return page(StatusCode::GONE, "This sign-in has ended", "You can close this window.");
    }
    match tokio::time::timeout(SHOWN_WITHIN, outcome).await {
        Ok(Ok(Ok(()))) => page(
            StatusCode::OK,
            &format!("{} is connected", shared.name),
            "You can close this window and go back to the terminal.",
        ),
        Ok(Ok(Err(why))) => page(
            StatusCode::BAD_REQUEST,
            "That did not work",
            &format!("Because {why}. The terminal says what to do."),
        ),
        _ => {
            page(StatusCode::OK, "Nearly there", "The terminal says how it went. You can close this window.")
        }
    }
}

/// A page without script, style sheet or picture: there is nothing that could leak the address.
fn page(status: StatusCode, title: &str, text: &str) -> Response {
    let (title, text) = (escaped(title), escaped(text));
    let body = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"></head>\n<body><main><h1>{title}</h1>\
         <p>{text}</p></main></body>\n</html>\n"
    );
    let fixed = |value: &'static str| HeaderValue::from_static(value);
    let headers = [
        (header::CACHE_CONTROL, fixed("no-store")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
        (
            header::CONTENT_SECURITY_POLICY,
            fixed("default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
        ),
        (HeaderName::from_static("x-content-type-options"), fixed("nosniff")),
    ];
    (status, headers, Html(body)).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn names_port(uri: &str) -> bool {
    let authority = uri.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// True for an address that leads to this machine.
pub(super) fn is_here(uri: &str) -> Result<bool, Trouble> {
    Ok(own(read(uri)?.origin()).is_some())
}

fn read(uri: &str) -> Result<Endpoint, Trouble> {
    Endpoint::parse(uri).map_err(|error| {
        Trouble::usage(
            format!("the redirect address \"{uri}\" {error}"),
            "write it as it is registered, such as http://127.0.0.1:8400/callback",
        )
    })
}

/// The socket of this machine that an address means.
fn own(origin: &Origin) -> Option<SocketAddr> {
    if origin.is_secure() {
        return None;
    }
    let host = origin.host().trim_matches(['[', ']']);
    let address = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        "::1" => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other.parse().ok()?,
    };
    Some(SocketAddr::new(address, origin.port()))
}
