//! How a client proves who it is: with its secret, or with a statement that it signs with its private key (RFC 7523). A
//! statement is good for one minute and carries an id of its own, so that nobody can use it again.

use crate::error::Error;
use crate::random;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use perennial_core::grant::{Client, Proof};
use perennial_core::profile::Profile;
use perennial_core::secret::Credential;
use perennial_core::server::ClientAuthentication;
use perennial_core::{Connection, Server, UnixTime};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// How long a statement is good. It is made right before it is sent; the rest is for clocks that differ.
const GOOD_FOR: i64 = 60;

/// The client's proof for one request.
///
/// # Errors
/// When the private key is of no use.
pub(crate) fn proof(seen: &Connection, client: &Client, now: UnixTime) -> Result<Proof, Error> {
    let authentication =
        seen.server.as_ref().map_or_else(ClientAuthentication::default, |it| it.authentication);
    let sends_it = matches!(authentication, ClientAuthentication::Post | ClientAuthentication::Basic);
    if sends_it && looks_like_key(client.secret.expose()) {
        // A private key goes nowhere (law 10). Beside a statement of the app's own, none need prove anything (RFC 7523
        // section 2.1).
        return if seen.obtaining.is_by_statement() {
            Ok(Proof::None)
        } else {
            Err(Error::PrivateKey(format!(
                "what is kept as the client's secret is a private key, and {} would send it",
                authentication.as_str()
            )))
        };
    }
    Ok(match authentication {
        ClientAuthentication::Post => Proof::Post,
        ClientAuthentication::Basic => Proof::Basic,
        ClientAuthentication::None => Proof::None,
        ClientAuthentication::PrivateKey => Proof::Assertion(statement(seen, client, None, None, now)?),
    })
}

/// A signed statement of `issuer` about `subject`; each is the client where nobody is named (RFC 7523 section 3).
///
/// # Errors
/// When the private key is of no use.
pub(crate) fn statement(
    seen: &Connection,
    client: &Client,
    issuer: Option<&str>,
    subject: Option<&str>,
    now: UnixTime,
) -> Result<Credential, Error> {
    let server = seen.server.as_ref();
    // By the server's clock: it is the one that judges (law 11).
    let issued = seen.skew.server_time(now).0;
    let issuer = issuer.unwrap_or(&client.id);
    let mut claims = json!({
        "iss": issuer,
        "sub": subject.unwrap_or(issuer),
        "aud": server.map(Server::assertion_audience),
        "iat": issued,
        "exp": issued.saturating_add(GOOD_FOR),
        "jti": random::id(),
    });
    // Google reads the scope from the statement, and others ignore it there.
    if let Some(scope) = seen.obtaining.scope.as_ref().filter(|_| seen.obtaining.is_by_statement()) {
        claims["scope"] = json!(scope);
    }
    let signer = Signer::read(client.secret.expose(), seen.profile.names_certificate)?;
    let mut header = Header::new(signer.algorithm);
    header.kid = server.and_then(|server| server.key_id.clone());
    header.x5t_s256 = signer.thumbprint;
    encode(&header, &claims, &signer.key).map(Credential::new).map_err(|error| unusable(&error))
}

fn looks_like_key(secret: &str) -> bool {
    secret.contains("-----BEGIN") && secret.contains("PRIVATE KEY")
}

/// What statements are signed with.
struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    /// Names the certificate (RFC 7515 section 4.1.8).
    thumbprint: Option<String>,
}

impl Signer {
    /// Reads a PEM file: a private key, and its certificate where that must be named. RSA and Ed25519 keys have one common
    /// algorithm, and of the curves P-256.
    fn read(pem: &str, names_certificate: bool) -> Result<Self, Error> {
        let key = private_key(pem).unwrap_or_default().as_bytes();
        let of_rsa = if names_certificate { Algorithm::PS256 } else { Algorithm::RS256 };
        let rsa = EncodingKey::from_rsa_pem(key).map(|key| (key, of_rsa));
        let curve = || EncodingKey::from_ec_pem(key).map(|key| (key, Algorithm::ES256));
        let edwards = || EncodingKey::from_ed_pem(key).map(|key| (key, Algorithm::EdDSA));
        let (key, algorithm) = rsa.or_else(|_| curve()).or_else(|_| edwards()).map_err(|_| {
            let what = "the client's private key is no PEM file of an RSA, P-256 or Ed25519 key in the clear (PKCS#8)";
            Error::PrivateKey(what.to_owned())
        })?;
        let thumbprint = names_certificate.then(|| thumbprint(pem)).transpose()?;
        Ok(Self { key, algorithm, thumbprint })
    }
}

/// The thumbprint of the first certificate in a PEM file, which must be the private key's.
fn thumbprint(pem: &str) -> Result<String, Error> {
    let wrong = |what: &str| {
        Error::PrivateKey(format!(
            "the server knows this client by its certificate, and {what}; it wants one PEM file with both"
        ))
    };
    let none = |_| wrong("no certificate that can be read stands beside the private key");
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(none)?;
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate));
    let other = "the first certificate is not the private key's";
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong(other))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(vec![certificate], key, &provider).map_err(|_| wrong(other))?;
    Ok(thumbprint)
}

/// The part of a PEM file that is the private key: a certificate may stand before it, and would be taken for one.
fn private_key(pem: &str) -> Option<&str> {
    let mut parts = pem.match_indices("-----BEGIN ").map(|(begin, _)| &pem[begin..]);
    let is_key = |part: &&str| part.lines().next().is_some_and(|line| line.contains("PRIVATE KEY"));
    let from = parts.find(is_key)?;
    let last_line = from.find("-----END ").unwrap_or(from.len());
    let rest = from[last_line..].find('\n').unwrap_or(from.len() - last_line);
    Some(&from[..last_line + rest])
}

/// Looks whether statements can be signed with a PEM file at a server of this kind.
///
/// # Errors
/// [`Error::PrivateKey`] when it holds no private key of use, or not the certificate that the server wants named.
pub fn check_private_key(pem: &str, profile: &Profile) -> Result<(), Error> {
    Signer::read(pem, profile.names_certificate).map(drop)
}

/// The library's words may quote what it was given; its kind does not.
fn unusable(error: &jsonwebtoken::errors::Error) -> Error {
    tracing::debug!(kind = ?std::mem::discriminant(error.kind()), "signing failed");
    Error::PrivateKey("the client's private key could not sign".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::connection::Way;
    use perennial_core::profile::generic::GENERIC;
    use perennial_core::secret::ClientSecret;
    use perennial_core::server::Endpoint;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};

    /// A private key and its certificate, as PEM, and that certificate's thumbprint.
    fn certified(algorithm: &'static SignatureAlgorithm) -> (String, String, String) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(certificate.der()));
        (key.serialize_pem(), certificate.pem(), thumbprint)
    }

    fn header_of(pem: &str, profile: &'static Profile) -> Result<Header, Error> {
        let client = Client { id: "app".into(), secret: ClientSecret::new(pem) };
        let server = Server::new(Endpoint::parse("https://login.example/token").unwrap());
        let seen = Connection::new("id", "acme", profile).at(server);
        let statement = statement(&seen, &client, None, None, UnixTime(0))?;
        Ok(jsonwebtoken::decode_header(statement.expose()).unwrap())
    }

    #[test]
    fn a_certificate_is_named_where_the_server_knows_the_client_by_it() {
        let entra = Profile::named("entra").unwrap();
        for (algorithm, usual, certain) in [
            (&PKCS_RSA_SHA256, Algorithm::RS256, Algorithm::PS256),
            (&PKCS_ECDSA_P256_SHA256, Algorithm::ES256, Algorithm::ES256),
        ] {
            let (key, certificate, thumbprint) = certified(algorithm);
            let (_, of_another, _) = certified(algorithm);
            for both in [format!("{key}{certificate}"), format!("{certificate}\n{key}{of_another}")] {
                let header = header_of(&both, entra).unwrap();
                assert_eq!((header.alg, header.x5t_s256.as_ref()), (certain, Some(&thumbprint)));
                let header = header_of(&both, &GENERIC).unwrap();
                assert_eq!((header.alg, header.x5t_s256), (usual, None), "others are told nothing new");
                assert!(looks_like_key(&both));
            }
            let damaged = certificate.replace("MI", "??");
            for (beside, why) in [
                ("", "can be read"),
                (damaged.as_str(), "can be read"),
                (of_another.as_str(), "not the private key's"),
            ] {
                let both = format!("{beside}{key}");
                let refused = check_private_key(&both, entra).unwrap_err().to_string();
                assert!(refused.contains(why), "{refused}");
                assert_eq!(header_of(&both, entra).unwrap_err().to_string(), refused, "nothing is signed");
                assert!(check_private_key(&both, &GENERIC).is_ok());
            }
            assert!(check_private_key(&certificate, &GENERIC).is_err(), "a certificate alone signs nothing");
        }
    }

    #[test]
    fn no_text_is_too_strange_to_be_looked_at() {
        for pem in [
            "",
            "-----BEGIN ",
            "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----\n-----BEGIN PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY-----\nü\n-----END ",
        ] {
            assert!(check_private_key(pem, &GENERIC).is_err(), "{pem}");
        }
    }

    #[test]
    fn law_10_a_private_key_is_never_sent_as_a_secret() {
        let secret = ClientSecret::new("-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----");
        let client = Client { id: "app".into(), secret };
        for authentication in [ClientAuthentication::Basic, ClientAuthentication::Post] {
            let endpoint = Endpoint::parse("https://login.example/token").unwrap();
            let server = Server { authentication, ..Server::new(endpoint) };
            let mut seen = Connection::new("id", "acme", &GENERIC).at(server);
            let refused = proof(&seen, &client, UnixTime(0)).unwrap_err().to_string();
            assert!(!refused.contains("canary") && refused.contains(authentication.as_str()), "{refused}");
            seen.obtaining.way = Way::JwtBearer { issuer: None, subject: None };
            assert!(matches!(proof(&seen, &client, UnixTime(0)), Ok(Proof::None)), "the statement is enough");
        }
    }
}
