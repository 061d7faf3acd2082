//! Starting, stopping, TLS, and the credentials as files.

use perennial_sandbox::{Config, Sandbox, StartError};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// Asks over TLS for a path that does not exist, by this name, trusting this authority and no other.
fn ask(sandbox: &Sandbox, name: &str, ca_pem: &str) -> io::Result<String> {
    exchange(sandbox, name, ca_pem, "GET /nowhere HTTP/1.1")
}

fn exchange(sandbox: &Sandbox, name: &str, ca_pem: &str, request: &str) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(io::Error::other)?;
    roots.add(ca).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let address = sandbox.base_uri().trim_start_matches("https://");
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
    stream.write_all(format!("{request}\r\nhost: sandbox\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn tls_answers_to_loopback_and_to_the_real_names() {
    let sandbox = Sandbox::start(Config::default()).unwrap();
    let ca = sandbox.ca_cert_pem().unwrap();
    assert!(sandbox.base_uri().starts_with("https://127.0.0.1:"));
    for name in
        ["localhost", "127.0.0.1", "::1", "us2.api.concursolutions.com", "www-us2.api.concursolutions.com"]
    {
        let answer = ask(&sandbox, name, ca).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{name}: {answer}");
    }
    assert!(ask(&sandbox, "example.com", ca).is_err());
}

#[test]
fn a_reset_under_tls_is_a_reset() {
    let sandbox = Sandbox::start(Config::default()).unwrap();
    sandbox.inject(json!([{"kind": "reset", "on": "any"}])).unwrap();
    let ca = sandbox.ca_cert_pem().unwrap();
    let error = exchange(&sandbox, "localhost", ca, "GET /profile/identity/v4/Users HTTP/1.1").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(ask(&sandbox, "localhost", ca).is_ok(), "the next connection is well");
}

#[test]
fn one_run_does_not_trust_the_authority_of_another() {
    let one = Sandbox::start(Config::default()).unwrap();
    let other = Sandbox::start(Config::default()).unwrap();
    assert!(ask(&one, "localhost", other.ca_cert_pem().unwrap()).is_err());
}

#[test]
fn an_address_beyond_loopback_is_refused() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let listen: SocketAddr = address.parse().unwrap();
        let error = Sandbox::start(Config { listen, ..Config::default() }).unwrap_err();
        assert!(matches!(error, StartError::NotLoopback(_)), "{error}");
        assert!(error.to_string().contains("127.0.0.1"));
    }
}

#[test]
fn a_taken_address_is_an_error_and_a_dropped_sandbox_gives_it_back() {
    let first = Sandbox::start(Config { tls: false, ..Config::default() }).unwrap();
    let listen: SocketAddr = first.base_uri().trim_start_matches("http://").parse().unwrap();
    let again = Config { tls: false, listen, ..Config::default() };
    assert!(matches!(Sandbox::start(again.clone()).unwrap_err(), StartError::Listen { .. }));
    assert_eq!(first.ca_cert_pem(), None);
    drop(first);
    Sandbox::start(again).unwrap();
}

#[test]
fn a_printed_sandbox_keeps_its_secrets() {
    let sandbox = Sandbox::start(Config::default()).unwrap();
    let printed = format!("{sandbox:?} {:?}", sandbox.ready());
    assert!(printed.contains(sandbox.base_uri()));
    assert!(!printed.contains(&sandbox.ready().client_secret));
    assert!(!printed.contains(&sandbox.ready().request_token));
}

#[test]
fn the_credentials_are_files_as_saps_sample_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("made");
    let sandbox = Sandbox::start(Config::default()).unwrap();
    sandbox.write_credentials(&dir).unwrap();
    let path = dir.join("credentials.json");
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(written["appID"], sandbox.ready().app_id);
    assert_eq!(written["clientSecret"], sandbox.ready().client_secret);
    assert_eq!(written["grantType"], "password");
    assert_eq!(written["companyUUID"], sandbox.ready().company_uuid);
    assert_eq!(written["companyRequestToken"], sandbox.ready().request_token);
    assert_eq!(written["credentialType"], "authtoken");
    assert_eq!(fs::read_to_string(dir.join("sandbox-ca.pem")).unwrap(), sandbox.ca_cert_pem().unwrap());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    let next = Sandbox::start(Config::default()).unwrap();
    next.write_credentials(&dir).unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains(&next.ready().app_id));
}

#[test]
fn credentials_that_are_not_a_sandboxs_are_left_alone() {
    let sandbox = Sandbox::start(Config::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("credentials.json");
    for precious in [r#"{"appID": "somebody's", "clientSecret": "only copy"}"#, "{ not quite JSON"] {
        fs::write(&path, precious).unwrap();
        let error = sandbox.write_credentials(dir.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), precious);
    }
    fs::write(&path, r#"{"appID": "", "clientSecret": "", "companyRequestToken": ""}"#).unwrap();
    sandbox.write_credentials(dir.path()).unwrap();
}
