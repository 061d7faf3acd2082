//! The partner is told, durably; and nobody else is told a secret.

use crate::person::{Person, SHARED, config, heading, name, redirect, shared_secret};
use crate::receiver::{Answer, Receiver};
use crate::support::House;
use perennial_daemon::config::Config;
use std::fs;
use std::path::Path;

fn with_webhook(house: &House, receiver: &Receiver) -> Config {
    let url = house.dir.path().join("hook.url");
    fs::write(&url, receiver.url("/hook")).unwrap();
    let secret = shared_secret(house.dir.path());
    config(house, &format!("webhook = {{ url = \"file:{}\", secret = \"{secret}\" }}", url.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_partner_is_told_who_is_connected() {
    let house = House::new();
    let mut receiver = Receiver::start([]).await;
    let daemon = house.serve_with(with_webhook(&house, &receiver));
    let token = house.sandbox.mint_request_token();
    Person::new(&daemon).connect(&redirect(&house, &token)).await;
    let (id, message) = receiver.message(SHARED).await;
    assert_eq!(message["type"], "connection.connected");
    let data = &message["data"];
    assert_eq!((data["app"].as_str(), data["user"].as_str()), (Some("travel"), Some("user-7")));
    assert_eq!(
        (data["company"].as_str(), data["connection"].as_str()),
        (Some(&*name(&house)), Some(&*name(&house)))
    );
    assert!(data["correlation_id"].is_string() && data["subject"].is_null(), "{data}");
    assert!(id.starts_with("connected_"));
    assert!(!message.to_string().contains(&token), "law 10");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_partner_did_not_take_is_delivered_by_the_next_start() {
    let house = House::new();
    let mut receiver = Receiver::start([Answer::Status(503), Answer::Status(503), Answer::Status(503)]).await;
    let daemon = house.serve_with(with_webhook(&house, &receiver));
    let (_, done) =
        Person::new(&daemon).connect(&redirect(&house, &house.sandbox.mint_request_token())).await;
    assert_eq!(
        heading(&done),
        "Your company is connected to Example Travel",
        "the person need not wait for it"
    );
    receiver.next().await;
    assert!(daemon.drain().await);
    let before = receiver.rest();
    receiver.answer([]);
    let _daemon = house.serve_with(with_webhook(&house, &receiver));
    let mut told = receiver.next().await;
    while told.headers["webhook-id"].is_empty() {
        told = receiver.next().await;
    }
    assert!(told.headers["webhook-id"].starts_with("connected_"), "the same message: {before:?}");
}

/// Law 10: neither the request token nor a secret of ours stands anywhere but in the sealed store.
#[tokio::test(flavor = "multi_thread")]
async fn law_10_no_log_no_page_and_no_file_holds_a_request_token() {
    use tracing_subscriber::layer::SubscriberExt as _;
    let log = Log::default();
    let writer = log.clone();
    let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
    let subscriber = tracing_subscriber::registry().with(layer);
    // Other tests of this process may log too; that does no harm.
    let _ = tracing::subscriber::set_global_default(subscriber);

    let house = House::new();
    let receiver = Receiver::start([]).await;
    let daemon = house.serve_with(with_webhook(&house, &receiver));
    let (good, bad) = (house.sandbox.mint_request_token(), "canary-7c1f-made-up".to_owned());
    let mut pages = String::new();
    let mut person = Person::new(&daemon);
    for token in [&good, &bad] {
        let (path, page) = person.open(&redirect(&house, token)).await;
        let (_, done) = person.press(&path, &page).await;
        pages += &format!("{page:?}{done:?}");
    }
    daemon.drain().await;
    let log = log.text();
    assert!(log.contains("App Center"), "it was listened to");
    for secret in [good.as_str(), &bad, SHARED, &house.sandbox.ready().client_secret] {
        assert!(!log.contains(secret) && !pages.contains(secret));
        for file in files(house.dir.path()) {
            let is_given = file.ends_with("concur.secret") || file.ends_with("shared.secret");
            let bytes = fs::read(&file).unwrap_or_default();
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(is_given || !found, "{}", file.display());
        }
    }
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
