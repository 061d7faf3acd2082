//! Law 10: who listens is proven by a certificate for the very name that was dialled, or nothing is said to him.

use super::World;
use super::failure;
use super::postgres_server::{PostgresServer, own};
use perennial::Postgres;
use perennial::store::Store;
use perennial::store::postgres::ServerFailure;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// An authority and a certificate for `name`: the files of both, and of the key.
fn certificate(dir: &Path, name: &str) -> (PathBuf, PathBuf, PathBuf) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let issuer = Issuer::new(authority.clone(), KeyPair::generate().unwrap());
    let root = authority.self_signed(issuer.key()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let put = |file: &str, text: &str| {
        let path = dir.join(file);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        own(&path);
        path
    };
    (put("root.pem", &root.pem()), put("leaf.pem", &leaf.pem()), put("key.pem", &key.serialize_pem()))
}

/// A server on loopback with TLS; its port was free a moment ago.
fn server_for(name: &str) -> Option<(PostgresServer, u16, PathBuf)> {
    let files = tempfile::tempdir().unwrap().keep();
    fs::set_permissions(&files, fs::Permissions::from_mode(0o755)).unwrap();
    let (root, leaf, key) = certificate(&files, name);
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let settings = [
        "fsync=off".to_owned(),
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", leaf.display()),
        format!("ssl_key_file={}", key.display()),
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    Some((PostgresServer::start(&settings)?, port, root))
}

#[test]
fn law_10_a_server_proves_its_name_or_is_told_nothing() {
    let Some((server, port, root)) = server_for("localhost") else { return };
    let world = World { server: &server, schema: "tls".to_owned(), keys: tempfile::tempdir().unwrap() };
    let url = |host: &str, more: &str| {
        format!("postgres://perennial@{host}:{port}/postgres?schema=tls&sslmode=verify-full{more}")
    };
    let root = format!("&sslrootcert={}", root.display());
    let trusted = world.open_at(&url("localhost", &root));
    assert!(trusted.names().unwrap().is_empty());
    let found = Postgres::examine(&url("localhost", &root), &world.options());
    assert!(found[0].what.contains("over TLS, and its name was checked"), "{found:?}");

    for (host, more) in [("localhost", ""), ("127.0.0.1", root.as_str())] {
        let error = world.open_at(&url(host, more)).names().unwrap_err();
        assert!(matches!(failure(&error), Ok(ServerFailure::Untrusted(_))), "{host}: {error}");
    }
    // What is trusted beside this machine's own issuers counts too.
    let ca_cert = PathBuf::from(root.trim_start_matches("&sslrootcert="));
    let options = world.options().ca_cert(Some(ca_cert));
    assert!(Postgres::open(&url("localhost", ""), options).unwrap().names().unwrap().is_empty());
    // One that speaks no TLS is no better.
    let error =
        world.open_at(&format!("{}&sslmode=verify-full{root}", server.url("tls"))).names().unwrap_err();
    assert!(failure(&error).is_ok(), "{error}");
    fs::remove_dir_all(Path::new(root.trim_start_matches("&sslrootcert=")).parent().unwrap()).unwrap();
}
