//! A receiver of webhooks that does as it is told, and checks signatures by itself: it shares no code with the sender.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// What it does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Status(u16),
    Redirect(String),
    /// It never answers, and keeps the connection.
    Hang,
    /// It closes the connection without a word.
    Close,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Receiver {
    address: SocketAddr,
    secure: bool,
    /// The certificate that it shows, as PEM.
    pub(crate) certificate: String,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    requests: mpsc::UnboundedReceiver<Request>,
}

impl Receiver {
    /// One that gives these answers and then takes everything.
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::listen(answers, None).await
    }

    /// The same behind TLS.
    pub(crate) async fn start_tls(answers: impl IntoIterator<Item = Answer>) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self::listen(answers, Some((TlsAcceptor::from(Arc::new(config)), made.cert.pem()))).await
    }

    async fn listen(answers: impl IntoIterator<Item = Answer>, tls: Option<(TlsAcceptor, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let (sender, requests) = mpsc::unbounded_channel();
        let (acceptor, certificate) =
            tls.map_or((None, String::new()), |(acceptor, pem)| (Some(acceptor), pem));
        let secure = acceptor.is_some();
        let given = Arc::clone(&answers);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answers, sender) = (acceptor.clone(), Arc::clone(&given), sender.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, &answers, &sender).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => serve(stream, &answers, &sender).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { address, secure, certificate, answers, requests }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.secure { "https" } else { "http" }, self.address)
    }

    /// The next request; a minute at most, so that a failure is one.
    pub(crate) async fn next(&mut self) -> Request {
        let next = tokio::time::timeout(Duration::from_secs(60), self.requests.recv()).await;
        next.expect("no request came").unwrap()
    }

    /// The next message, once its signature was found good.
    pub(crate) async fn message(&mut self, secret: &str) -> (String, Value) {
        let request = self.next().await;
        request.check_signature(secret);
        (request.headers["webhook-id"].clone(), request.json())
    }

    /// True when nothing came that nobody has looked at.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }

    /// What came that nobody has looked at.
    pub(crate) fn rest(&mut self) -> Vec<Request> {
        std::iter::from_fn(|| self.requests.try_recv().ok()).collect()
    }

    pub(crate) fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.answers.lock().unwrap().extend(answers);
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answers: &Mutex<VecDeque<Answer>>,
    sender: &mpsc::UnboundedSender<Request>,
) -> Option<()> {
    let request = read(&mut stream).await?;
    let answer = answers.lock().unwrap().pop_front().unwrap_or(Answer::Status(204));
    let _ = sender.send(request);
    let text = match answer {
        Answer::Status(status) => format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n"),
        Answer::Redirect(to) => format!("HTTP/1.1 307 x\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"),
        Answer::Close => return None,
        Answer::Hang => {
            let _ = stream.read(&mut [0; 64]).await;
            return None;
        }
    };
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length")?.parse().ok()?;
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request { path, headers, body: bytes[end..end + length].to_vec() })
}

impl Request {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// As the specification says, with HMAC written out (RFC 2104).
    pub(crate) fn check_signature(&self, secret: &str) {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let (id, at) = (&self.headers["webhook-id"], &self.headers["webhook-timestamp"]);
        let signed = [id.as_bytes(), b".", at.as_bytes(), b".", self.body.as_slice()].concat();
        let wanted = format!("v1,{}", STANDARD.encode(hmac(&key, &signed)));
        let signatures = &self.headers["webhook-signature"];
        assert!(signatures.split(' ').any(|signature| signature == wanted), "{signatures}");
    }
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64, "longer keys are hashed first");
    let padded = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}
