//! When a certificate is refused, says which one it was: whose, and issued by whom. That is what tells a person whether
//! it is the provider's, their own, or their proxy's.

use super::connect::innermost;
use perennial_core::token_endpoint::plain;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use std::io;
use std::sync::Arc;

/// Verifies as the verifier within does, and names the certificate that it refused.
#[derive(Debug)]
pub(super) struct Naming<V>(pub(super) V);

/// A refusal, and the certificate that it was for.
#[derive(Debug, thiserror::Error)]
#[error("the certificate {certificate} is refused: {refusal}")]
struct Refused {
    refusal: Error,
    certificate: String,
}

/// Why there is no TLS session.
pub(crate) fn failure(error: &io::Error) -> String {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        // rustls itself would show this one in Rust's words.
        Some(Error::InvalidCertificate(CertificateError::Other(OtherError(refused)))) => {
            plain(&refused.to_string())
        }
        _ => innermost(error),
    }
}

impl<V: ServerCertVerifier> ServerCertVerifier for Naming<V> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|refusal| {
            let refused = Refused { refusal, certificate: describe(end_entity) };
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// `of "localhost", issued by "Example CA",`.
fn describe(certificate: &[u8]) -> String {
    match names(certificate) {
        Some((subject, issuer)) => format!("of \"{subject}\", issued by \"{issuer}\","),
        None => "(of a shape that cannot be read)".to_owned(),
    }
}

/// Subject and issuer (RFC 5280 section 4.1): of all that a certificate holds these two names are read, and believed
/// by nobody.
fn names(certificate: &[u8]) -> Option<(String, String)> {
    let (SEQUENCE, outer, _) = element(certificate)? else { return None };
    let (SEQUENCE, mut rest, _) = element(outer)? else { return None };
    let mut next = || {
        let (tag, content, behind) = element(rest)?;
        rest = behind;
        Some((tag, content))
    };
    if next()?.0 == EXPLICIT_VERSION {
        next()?; // the serial number
    }
    next()?; // the signature's algorithm
    let issuer = name(next()?.1);
    next()?; // the validity
    Some((name(next()?.1), issuer))
}

const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;
/// id-at-commonName and id-at-organizationName.
const TELLING: [&[u8]; 2] = [&[0x55, 4, 3], &[0x55, 4, 10]];

/// The common name, else the organization.
fn name(relative_names: &[u8]) -> String {
    let named = |wanted: &[u8]| {
        let mut rest = relative_names;
        while let Some((_, set, behind)) = element(rest) {
            rest = behind;
            let Some((_, pair, _)) = element(set) else { continue };
            let Some((_, kind, value)) = element(pair) else { continue };
            if kind == wanted
                && let Some((_, text, _)) = element(value)
            {
                return Some(plain(&String::from_utf8_lossy(text)));
            }
        }
        None
    };
    TELLING.into_iter().find_map(named).unwrap_or_else(|| "no name".to_owned())
}

/// One DER element (X.690 section 8.1): tag, content, and what stands behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, behind) = rest.split_at_checked(length)?;
    Some((tag, content, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_sandbox::{Config, Sandbox};
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn a_certificate_is_told_by_its_names_and_rubbish_is_survived() {
        let sandbox = Sandbox::start(Config::default()).unwrap();
        let pem = sandbox.ca_cert_pem().unwrap();
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let told = "of \"Perennial sandbox, one run\", issued by \"Perennial sandbox, one run\",";
        assert_eq!(describe(&certificate), told);
        for end in 0..certificate.len() {
            assert_eq!(describe(&certificate[..end]), "(of a shape that cannot be read)");
            let mut altered = certificate.to_vec();
            altered[end] ^= 0xff;
            describe(&altered);
        }
    }
}
