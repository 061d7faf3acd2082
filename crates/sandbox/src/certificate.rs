//! The certificate of one run: a certificate authority whose key is forgotten at once, and the leaf that it signed.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The names that a client may have dialled: loopback, and by a hosts override those of the real service.
const NAMES: [&str; 5] =
    ["localhost", "127.0.0.1", "::1", "*.api.concursolutions.com", "*.concursolutions.com"];

const DAY: Duration = Duration::from_secs(24 * 3600);

/// As long as a public certificate may live in 2026.
const LIFETIME: Duration = Duration::from_secs(199 * 24 * 3600);

pub(crate) struct Certificate {
    pub(crate) ca_pem: String,
    pub(crate) server: Arc<ServerConfig>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("could not make the certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("could not use the certificate: {0}")]
    Use(#[from] rustls::Error),
}

/// Makes both. The authority's key leaves with this function, so that nothing else can ever be signed with it and
/// trusting the authority gives nobody else a foothold.
pub(crate) fn make() -> Result<Certificate, CertificateError> {
    let issuer = Issuer::new(authority(), KeyPair::generate()?);
    let ca = authority().self_signed(issuer.key())?;
    let leaf_key = KeyPair::generate()?;
    let leaf = leaf()?.signed_by(&leaf_key, &issuer)?;

    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(leaf_key.serialize_der().into()))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Certificate { ca_pem: ca.pem(), server: Arc::new(server) })
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Perennial sandbox, one run");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    dated(params)
}

fn leaf() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(dated(params))
}

/// From yesterday, so that a clock that is a little behind still accepts it.
fn dated(mut params: CertificateParams) -> CertificateParams {
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + LIFETIME).into();
    params
}
