//! Certificate and key, which a reload replaces for the connections to come.

use crate::config::Listen;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::TlsAcceptor;

/// What TLS is spoken with; nothing where it is not.
#[derive(Clone, Default)]
pub(crate) struct Certificates(Arc<RwLock<Option<Arc<ServerConfig>>>>);

impl Certificates {
    pub(crate) fn read(listen: &Listen) -> Result<Self, String> {
        let certificates = Self::default();
        certificates.reload(listen)?;
        Ok(certificates)
    }

    /// Reads both anew. Nothing changes where one of them is wrong.
    pub(crate) fn reload(&self, listen: &Listen) -> Result<(), String> {
        let config = match (&listen.tls_cert, &listen.tls_key) {
            (Some(certificate), Some(key)) => Some(Arc::new(server_config(certificate, key)?)),
            _ => None,
        };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> Option<TlsAcceptor> {
        let config = self.0.read().unwrap_or_else(PoisonError::into_inner);
        config.as_ref().map(|config| TlsAcceptor::from(Arc::clone(config)))
    }
}

fn server_config(certificate: &Path, key: &Path) -> Result<ServerConfig, String> {
    let wrong = |path: &Path, why: &dyn std::fmt::Display| format!("{} is of no use: {why}", path.display());
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| wrong(certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private));
    let mut config = config.map_err(|error| wrong(certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
