//! API hosts that are called again and again, over real TLS: what is kept open, what streams, what is sent only once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use perennial::core::token_endpoint::{NoAnswer, Unreachable};
use perennial::core::{AccessToken, Origin};
use perennial::http::api::ApiError;
use perennial::http::{Failed, Options, Upstream};
use perennial_sandbox::Sandbox;
use serde_json::json;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const LONG: Duration = Duration::from_secs(60);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

type Body = UnsyncBoxBody<Bytes, Failed>;
type Line = TlsStream<TcpStream>;

fn whole(bytes: &'static [u8]) -> Body {
    Full::new(Bytes::from_static(bytes)).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body that is said piece by piece; `Err` breaks it off.
struct Said(mpsc::Receiver<Result<Bytes, Failed>>);

impl http_body::Body for Said {
    type Data = Bytes;
    type Error = Failed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        self.0.poll_recv(cx).map(|next| next.map(|piece| piece.map(Frame::data)))
    }
}

fn said() -> (mpsc::Sender<Result<Bytes, Failed>>, Body) {
    let (sender, pieces) = mpsc::channel(1);
    (sender, Said(pieces).boxed_unsync())
}

fn token() -> AccessToken {
    AccessToken::new("canary-token")
}

/// An API on this machine, with a certificate of its own. The test says what it answers.
struct Api {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    base: Origin,
    dir: TempDir,
}

impl Api {
    async fn open() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let private = rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Origin::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)), base, dir }
    }

    fn upstream(&self, idle_connections: usize) -> Upstream<Body> {
        let ca_cert = Some(self.dir.path().join("ca.pem"));
        Upstream::new(Options { ca_cert, resolve: Vec::new(), direct: true }, idle_connections)
    }

    async fn accept(&self) -> Line {
        let (stream, _) = self.listener.accept().await.unwrap();
        self.acceptor.accept(stream).await.unwrap()
    }
}

/// Sends in the background: who answers is the test itself.
fn send(
    upstream: &Arc<Upstream<Body>>,
    api: &Api,
    body: Body,
    patience: Duration,
) -> tokio::task::JoinHandle<Result<http::Response<hyper::body::Incoming>, ApiError>> {
    let (upstream, base) = (Arc::clone(upstream), api.base.clone());
    let request = Request::post("/expense/v4?x=1").body(body).unwrap();
    tokio::spawn(async move { upstream.send(&base, request, ("Bearer", &token()), patience).await })
}

/// Reads until this has come, and returns all of it.
async fn hears(line: &mut Line, what: &str) -> String {
    let (mut heard, mut buffer) = (String::new(), [0; 4096]);
    while !heard.contains(what) {
        let length = line.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "it ended without {what:?}: {heard:?}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    heard
}

async fn text(response: http::Response<hyper::body::Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn what_goes_out_is_the_callers_with_host_and_bearer_of_ours() {
    let api = Api::open().await;
    let upstream = Arc::new(api.upstream(4));
    let answer = send(&upstream, &api, whole(b"{}"), LONG);
    let mut line = api.accept().await;
    let heard = hears(&mut line, "{}").await;
    assert!(heard.starts_with("POST /expense/v4?x=1 HTTP/1.1\r\n"), "{heard}");
    assert!(heard.contains("authorization: Bearer canary-token\r\n"), "{heard}");
    assert!(heard.contains(&format!("host: {}\r\n", api.base.authority())), "{heard}");
    assert!(heard.contains("content-length: 2\r\n"), "{heard}");
    line.write_all(ANSWER).await.unwrap();
    assert_eq!(text(answer.await.unwrap().unwrap()).await, "ok");
}

#[tokio::test]
async fn bodies_stream_both_ways_piece_by_piece() {
    let api = Api::open().await;
    let upstream = Arc::new(api.upstream(4));
    let (pieces, body) = said();
    let answer = send(&upstream, &api, body, LONG);
    pieces.send(Ok(Bytes::from_static(b"first"))).await.unwrap();
    let mut line = api.accept().await;
    hears(&mut line, "first").await;
    pieces.send(Ok(Bytes::from_static(b"second"))).await.unwrap();
    hears(&mut line, "second").await;
    // The API may begin before it has heard all.
    line.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await.unwrap();
    let mut body = answer.await.unwrap().unwrap().into_body();
    let piece = async |body: &mut hyper::body::Incoming| body.frame().await.unwrap().unwrap().into_data();
    assert_eq!(piece(&mut body).await.unwrap(), "one");
    drop(pieces);
    hears(&mut line, "0\r\n\r\n").await;
    line.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(piece(&mut body).await.unwrap(), "two");
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_server_that_takes_nothing_is_not_fed() {
    let api = Api::open().await;
    let upstream = Arc::new(api.upstream(4));
    let (pieces, body) = said();
    let answer = send(&upstream, &api, body, LONG);
    let line = api.accept().await;
    // What fits on the way is taken, and then no more: the body is not gathered here.
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    let fed = async {
        for count in 0..4096 {
            if tokio::time::timeout(Duration::from_secs(1), pieces.send(Ok(piece.clone()))).await.is_err() {
                return count;
            }
        }
        4096
    };
    assert!(fed.await < 1024, "64 MiB fit nowhere but in memory");
    drop(line);
    assert!(answer.await.unwrap().is_err());
}

#[tokio::test]
async fn one_connection_serves_one_call_after_the_other() {
    let api = Api::open().await;
    let upstream = Arc::new(api.upstream(4));
    let mut line = None;
    for _ in 0..20 {
        let answer = send(&upstream, &api, whole(b"{}"), LONG);
        let line = match &mut line {
            None => line.insert(api.accept().await),
            Some(line) => line,
        };
        hears(line, "{}").await;
        line.write_all(ANSWER).await.unwrap();
        assert_eq!(text(answer.await.unwrap().unwrap()).await, "ok");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced() {
    let api = Api::open().await;
    let upstream = Arc::new(api.upstream(4));
    for round in 0..10 {
        let answer = send(&upstream, &api, whole(b"{}"), LONG);
        let mut line = api.accept().await;
        hears(&mut line, "{}").await;
        line.write_all(ANSWER).await.unwrap();
        assert_eq!(text(answer.await.unwrap().unwrap()).await, "ok", "round {round}");
        line.shutdown().await.unwrap();
        // It is gone for both once our end has said so too.
        assert_eq!(line.read(&mut [0; 16]).await.unwrap_or(0), 0);
    }
}

#[tokio::test]
async fn what_the_server_has_heard_is_never_sent_again() {
    let api = Api::open().await;
    let upstream = Arc::new(api.upstream(4));
    let answer = send(&upstream, &api, whole(b"first"), LONG);
    let mut line = api.accept().await;
    hears(&mut line, "first").await;
    line.write_all(ANSWER).await.unwrap();
    text(answer.await.unwrap().unwrap()).await;
    // On a connection that was kept, too: the server hears it, and says nothing.
    let answer = send(&upstream, &api, whole(b"second"), LONG);
    hears(&mut line, "second").await;
    drop(line);
    let error = answer.await.unwrap().unwrap_err();
    assert!(matches!(error, ApiError::NoAnswer(NoAnswer::Reset(_))), "{error:?}");
    // The call has ended, so whatever it had connected to would stand here by now.
    tokio::task::yield_now().await;
    let again = tokio::time::timeout(Duration::ZERO, api.listener.accept()).await;
    assert!(again.is_err(), "nothing connects once more");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_whole_body_for_the_server() {
    let api = Api::open().await;
    let upstream = Arc::new(api.upstream(4));
    let (pieces, body) = said();
    let answer = send(&upstream, &api, body, LONG);
    pieces.send(Ok(Bytes::from_static(b"half of"))).await.unwrap();
    let mut line = api.accept().await;
    hears(&mut line, "half of").await;
    pieces.send(Err("the caller hung up".into())).await.unwrap();
    assert!(answer.await.unwrap().is_err());
    let mut rest = Vec::new();
    let _ = line.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
}

#[tokio::test]
async fn who_leaves_before_the_answer_ends_the_call() {
    let api = Api::open().await;
    let upstream = Arc::new(api.upstream(4));
    let answer = send(&upstream, &api, whole(b"{}"), LONG);
    let mut line = api.accept().await;
    hears(&mut line, "{}").await;
    answer.abort();
    assert_eq!(line.read(&mut [0; 16]).await.unwrap_or(0), 0, "the server hears of it");
}

/// The clock stands still but for what the test lets pass: a thread that waits keeps it from running ahead by itself.
#[tokio::test(start_paused = true)]
async fn patience_counts_from_the_last_piece_that_the_server_took() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let holding = tokio::task::spawn_blocking(move || held.recv());
    let api = Api::open().await;
    let upstream = Arc::new(api.upstream(4));
    let patience = Duration::from_secs(10);
    let (pieces, body) = said();
    let answer = send(&upstream, &api, body, patience);
    let mut line = api.accept().await;
    for number in 0..8 {
        let piece = format!("piece {number};");
        pieces.send(Ok(Bytes::from(piece.clone()))).await.unwrap();
        hears(&mut line, &piece).await;
        tokio::time::advance(patience * 3 / 4).await;
    }
    assert!(!answer.is_finished(), "six times the patience has passed, and the body went on");
    drop(pieces);
    hears(&mut line, "0\r\n\r\n").await;
    tokio::time::advance(patience + Duration::from_secs(1)).await;
    let error = answer.await.unwrap().unwrap_err();
    assert_eq!(error, ApiError::NoAnswer(NoAnswer::TimedOut));
    drop(release);
    let _ = holding.await;
}

#[tokio::test]
async fn a_slow_head_a_cut_and_a_refused_certificate_are_told_apart() {
    let sandbox = Sandbox::start(perennial_sandbox::Config::default()).unwrap();
    let base = Origin::parse(sandbox.base_uri()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca_cert = dir.path().join("ca.pem");
    std::fs::write(&ca_cert, sandbox.ca_cert_pem().unwrap()).unwrap();
    let options = Options { ca_cert: Some(ca_cert), resolve: Vec::new(), direct: true };
    let upstream = Upstream::<Body>::new(options, 4);
    let call = async |upstream: &Upstream<Body>, patience| {
        let request = Request::get("/profile/identity/v4/Users").body(whole(b"")).unwrap();
        upstream.send(&base, request, ("Bearer", &token()), patience).await
    };
    assert_eq!(call(&upstream, LONG).await.unwrap().status(), 403, "any status is an answer");

    sandbox.inject(json!([{"kind": "hang", "seconds": 30, "on": "api"}])).unwrap();
    let error = call(&upstream, Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(error, ApiError::NoAnswer(NoAnswer::TimedOut));

    sandbox.inject(json!([{"kind": "reset", "on": "api"}])).unwrap();
    let error = call(&upstream, LONG).await.unwrap_err();
    assert!(matches!(error, ApiError::NoAnswer(NoAnswer::Reset(_))), "{error:?}");

    let stranger = Upstream::<Body>::new(Options { direct: true, ..Options::default() }, 4);
    let calls = sandbox.stats().api_calls;
    let error = call(&stranger, LONG).await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable(Unreachable::Tls(_))), "{error:?}");
    assert_eq!(sandbox.stats().api_calls, calls, "law 10: it has heard nothing");
    assert!(!format!("{error:?}").contains("canary"));
}
