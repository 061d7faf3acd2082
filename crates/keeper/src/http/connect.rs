//! From an origin to a connection that is ready for one request: name (or `--resolve`), proxy, TCP, TLS. Each step's
//! failure is told apart, because each has its own remedy.

use super::certificate::{self, Naming};
use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use perennial_core::Origin;
use perennial_core::token_endpoint::Unreachable;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, crypto};
use rustls_platform_verifier::Verifier;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

/// How long name, TCP, proxy and TLS may take together. SAP's answers may take 60 s; connecting to them does not.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);

/// What a person may say about connections.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Certificates to trust beside those of this machine, as a PEM file.
    pub ca_cert: Option<PathBuf>,
    /// Names that are not asked of the resolver.
    pub resolve: Vec<Resolve>,
    /// True where no proxy is to be used, whatever the environment says: for a server in this very process.
    pub direct: bool,
}

/// `HOST:PORT:ADDRESS`, as curl's `--resolve` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolve {
    host: String,
    port: u16,
    address: IpAddr,
}

/// Why an option is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Not `HOST:PORT:ADDRESS`.
    #[error("must read HOST:PORT:ADDRESS, as in us2.api.concursolutions.com:443:127.0.0.1")]
    Resolve,
}

impl fmt::Display for Resolve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.host, self.port, self.address)
    }
}

impl FromStr for Resolve {
    type Err = OptionsError;

    fn from_str(text: &str) -> Result<Self, OptionsError> {
        let mut parts = text.splitn(3, ':');
        let (host, port, address) = (parts.next(), parts.next(), parts.next());
        let host = host.filter(|host| !host.is_empty()).ok_or(OptionsError::Resolve)?.to_ascii_lowercase();
        let port = port.and_then(|port| port.parse().ok()).ok_or(OptionsError::Resolve)?;
        let address = address.ok_or(OptionsError::Resolve)?.trim_matches(['[', ']']);
        Ok(Self { host, port, address: address.parse().map_err(|_| OptionsError::Resolve)? })
    }
}

/// Connects.
pub(super) struct Connector {
    options: Options,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
    proxies: OnceLock<Matcher>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Connector {
    pub(super) fn new(options: Options) -> Self {
        Self { options, tls: OnceLock::new(), proxies: OnceLock::new() }
    }

    pub(super) async fn connect(&self, base: &Origin) -> Result<SendRequest<Full<Bytes>>, Unreachable> {
        tokio::time::timeout(CONNECT_PATIENCE, self.connect_in_time(base))
            .await
            .unwrap_or(Err(Unreachable::TimedOut))
    }

    async fn connect_in_time(&self, base: &Origin) -> Result<SendRequest<Full<Bytes>>, Unreachable> {
        match self.stream_in_time(base).await? {
            Stream::Plain(stream) => handshake(stream).await,
            Stream::Tls(stream) => handshake(stream).await,
        }
    }

    /// A connected stream, on which nothing has been said yet.
    pub(super) async fn stream(&self, base: &Origin) -> Result<Stream, Unreachable> {
        tokio::time::timeout(CONNECT_PATIENCE, self.stream_in_time(base))
            .await
            .unwrap_or(Err(Unreachable::TimedOut))
    }

    async fn stream_in_time(&self, base: &Origin) -> Result<Stream, Unreachable> {
        let tcp = self.tcp(base).await?;
        if !base.is_secure() {
            return Ok(Stream::Plain(tcp));
        }
        let config = self.tls.get_or_init(|| tls_config(&self.options)).clone().map_err(Unreachable::Tls)?;
        let host = base.host().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|error| Unreachable::Tls(error.to_string()))?;
        let stream = TlsConnector::from(config).connect(name, tcp.into_inner()).await;
        let stream = stream.map_err(|error| Unreachable::Tls(certificate::failure(&error)))?;
        Ok(Stream::Tls(Box::new(TokioIo::new(stream))))
    }

    async fn tcp(&self, base: &Origin) -> Result<TokioIo<TcpStream>, Unreachable> {
        let target: Uri =
            base.to_string().parse().map_err(|_| Unreachable::Connect("not an address".to_owned()))?;
        // Plain http is for this machine only (law 10), so it is never handed to a proxy.
        match self
            .proxies
            .get_or_init(Matcher::from_env)
            .intercept(&target)
            .filter(|_| base.is_secure() && !self.options.direct)
        {
            Some(proxy) => through(&proxy, self.connector(proxy.uri()), target).await,
            None => self.connector(&target).call(target).await.map_err(|error| connect_failure(&error)),
        }
    }

    fn connector(&self, target: &Uri) -> HttpConnector<Names> {
        let (host, port) = (target.host().unwrap_or_default(), target.port_u16().unwrap_or(443));
        let known = |resolve: &&Resolve| resolve.port == port && resolve.host.eq_ignore_ascii_case(host);
        let address = self.options.resolve.iter().find(known).map(|resolve| resolve.address);
        let mut connector = HttpConnector::new_with_resolver(Names { address });
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector
    }
}

/// A connected stream.
pub(super) enum Stream {
    /// Plain, to this machine.
    Plain(TokioIo<TcpStream>),
    /// Under TLS.
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

/// Through an HTTP proxy, by CONNECT: it sees the host's name and nothing else.
async fn through(
    proxy: &Intercept,
    connector: HttpConnector<Names>,
    target: Uri,
) -> Result<TokioIo<TcpStream>, Unreachable> {
    if proxy.uri().scheme_str() != Some("http") {
        let scheme = proxy.uri().scheme_str().unwrap_or("no");
        return Err(Unreachable::Proxy(format!(
            "proxies of scheme {scheme} are not supported, http:// ones are"
        )));
    }
    let with_port = format!("{}:{}", target.host().unwrap_or_default(), target.port_u16().unwrap_or(443));
    let target = Uri::builder().scheme("https").authority(with_port).path_and_query("/").build();
    let target = target.map_err(|error| Unreachable::Proxy(error.to_string()))?;
    let mut tunnel = Tunnel::new(proxy.uri().clone(), connector);
    if let Some(auth) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(auth.clone());
    }
    tunnel.call(target).await.map_err(|error| Unreachable::Proxy(innermost(&error)))
}

async fn handshake<IO>(io: IO) -> Result<SendRequest<Full<Bytes>>, Unreachable>
where
    IO: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) =
        http1::handshake(io).await.map_err(|error| Unreachable::Connect(innermost(&error)))?;
    tokio::spawn(async move {
        // Its end is told to whoever waits for the answer.
        let _ = connection.await;
    });
    Ok(sender)
}

fn tls_config(options: &Options) -> Result<Arc<ClientConfig>, String> {
    client_config(options.ca_cert.as_deref())
}

/// TLS that trusts this machine's roots, and those in `ca_cert`.
pub(crate) fn client_config(ca_cert: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let extra = ca_cert.map_or(Ok(Vec::new()), certificates)?;
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let verifier =
        Verifier::new_with_extra_roots(extra, provider.clone()).map_err(|error| error.to_string())?;
    configure(provider, Arc::new(Naming(verifier)))
}

/// TLS that trusts nobody but the issuers in this file.
pub(crate) fn client_config_trusting_only(roots: &Path) -> Result<Arc<ClientConfig>, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(roots)? {
        store.add(certificate).map_err(|error| format!("cannot read {}: {error}", roots.display()))?;
    }
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone()).build();
    let verifier = Arc::into_inner(verifier.map_err(|error| error.to_string())?);
    let verifier = verifier.ok_or("the certificates cannot be used".to_owned())?;
    configure(provider, Arc::new(Naming(verifier)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable =
        |error: rustls::pki_types::pem::Error| format!("cannot read {}: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(format!("there is no certificate in {}", path.display()));
    }
    Ok(certificates)
}

fn configure(
    provider: Arc<crypto::CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<Arc<ClientConfig>, String> {
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous() // the name rustls gives to a verifier of one's own; this one is the platform's, or webpki's
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A failed name stands among the causes with a type of its own; all else is TCP's.
fn connect_failure(error: &(dyn std::error::Error + 'static)) -> Unreachable {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(NameFailure(reason)) = current.downcast_ref() {
            return Unreachable::Dns(reason.clone());
        }
        cause = current.source();
    }
    Unreachable::Connect(innermost(error))
}

/// The last cause says what happened; those around it say only where.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        text = current.to_string();
        cause = current.source();
    }
    if text.contains("close_notify") {
        // rustls adds an address of its documentation, which helps nobody here.
        return "the server closed it without a word".to_owned();
    }
    perennial_core::token_endpoint::plain(&text)
}

/// Asks the system's resolver, or answers with the address that `--resolve` gave.
#[derive(Clone, Debug)]
struct Names {
    address: Option<IpAddr>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NameFailure(String);

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NameFailure;
    type Future = super::BoxFuture<'static, Result<Self::Response, NameFailure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NameFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let known = self.address;
        Box::pin(async move {
            if let Some(address) = known {
                // The connector puts the real port in.
                return Ok(vec![SocketAddr::new(address, 0)].into_iter());
            }
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found: Vec<_> = found.map_err(|error| NameFailure(error.to_string()))?.collect();
            Ok(found.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolve_reads_as_curls() {
        let resolve: Resolve = "US2.api.concursolutions.com:443:127.0.0.1".parse().unwrap();
        assert_eq!(resolve.host, "us2.api.concursolutions.com");
        assert_eq!((resolve.port, resolve.address), (443, IpAddr::from([127, 0, 0, 1])));
        assert!("host:443:[::1]".parse::<Resolve>().is_ok());
        for odd in ["", "host", "host:443", "host:x:127.0.0.1", "host:443:name", ":443:127.0.0.1"] {
            assert_eq!(odd.parse::<Resolve>(), Err(OptionsError::Resolve), "{odd}");
        }
    }
}
