//! Law 10: planted secrets, and a look at all that the daemon says and logs while it forwards.

use crate::local::Api;
use crate::support::{House, ask_tcp};
use perennial_daemon::config::Right;
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

/// All that is logged by any test of this program from the first look on.
fn log() -> Arc<Mutex<Vec<u8>>> {
    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&log);
        tracing_subscriber::fmt()
            .with_env_filter("trace")
            .with_ansi(false)
            .with_writer(move || Kept(Arc::clone(&writer)))
            .init();
        log
    });
    Arc::clone(log)
}

struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn law_10_no_secret_is_in_an_answer_or_the_log() {
    let log = log();
    let house = House::new();
    house.obtain("acme").await;
    let daemon = house.serve(&["proxy.patience=1s"]);
    let key = house.key("billing", &[Right::Proxy], "*");
    let before = house.get("/v1/connections/acme/token").await.access_token();
    let path = "/v1/connections/acme/proxy/sandbox/echo?q=query-canary";
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("concur-correlationid", "id-of-the-canary")];
    let mut said = String::new();
    for fault in [
        None,
        Some(json!({"kind": "status", "status": 401, "on": "api"})),
        Some(json!({"kind": "status", "status": 403, "on": "api"})),
        Some(json!({"kind": "reset", "on": "api"})),
        Some(json!({"kind": "hang", "seconds": 20, "on": "api"})),
        Some(json!({"kind": "cut_body", "on": "api"})),
    ] {
        if let Some(fault) = fault {
            house.sandbox.inject(json!([fault])).unwrap();
        }
        let reply = ask_tcp(&daemon, "POST", path, &headers, "body-canary").await;
        // The echo says what it was sent: the query and the body are the caller's own.
        said.push_str(&format!("{}{}", reply.head, reply.body.replace("body-canary", "")));
    }
    let after = house.get("/v1/connections/acme/token").await.access_token();
    drop(Api::open(&house).await);
    let gone = "/v1/connections/local/proxy/x?q=query-canary";
    said.push_str(&ask_tcp(&daemon, "POST", gone, &headers, "body-canary").await.body);
    let said = said.replace("query-canary", "");
    let logged = String::from_utf8_lossy(&log.lock().unwrap()).into_owned();
    assert!(logged.contains("id-of-the-canary") && logged.contains("/sandbox/echo"), "it was looked at");
    assert_ne!(before, after, "both tokens are looked for");
    let mut secrets = vec![before, after, key, "query-canary".to_owned(), "body-canary".to_owned()];
    secrets.extend(house.sandbox.secrets());
    for secret in secrets {
        for text in [&said, &logged] {
            let at = text.find(&secret);
            assert_eq!(at.map(|at| &text[at.saturating_sub(300)..at]), None, "{secret}");
        }
    }
}
