//! A headless Chromium, by WebDriver (W3C): plain HTTP with JSON.

use crate::support::request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// An element, as WebDriver names one.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

pub(crate) struct Browser {
    port: u16,
    session: String,
    driver: Child,
    /// How many were left.
    pages: AtomicU32,
    _profile: TempDir,
}

impl Browser {
    /// None where there is no browser, and none is needed.
    pub(crate) async fn start() -> Option<Self> {
        let started = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let mut driver = match started {
            Ok(driver) => driver,
            Err(error) => {
                let needed = std::env::var_os("PERENNIAL_TESTS_NEED_BROWSER").is_some();
                assert!(!needed, "chromedriver cannot be started: {error}");
                note(&format!(
                    "left out: chromedriver cannot be started ({error}); Debian's package is chromium-driver"
                ));
                return None;
            }
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().expect("it says on which port it listens");
            let named = line.split("successfully on port ").nth(1);
            if let Some(port) = named.and_then(|rest| rest.trim_end_matches('.').parse().ok()) {
                break port;
            }
        };
        // It writes more, and must not wait for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let profile = tempfile::tempdir().unwrap();
        let args = json!([
            "--headless=new",
            // Chromium's own sandbox needs rights that containers do not give; all pages here are ours.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--window-size=900,900",
            format!("--user-data-dir={}", profile.path().display()),
        ]);
        let wanted = json!({"capabilities": {"alwaysMatch": {"acceptInsecureCerts": true, "goog:chromeOptions": {"args": args}}}});
        let mut browser =
            Self { port, session: String::new(), driver, pages: AtomicU32::new(0), _profile: profile };
        let session = browser.command("POST", "/session", &wanted).await.unwrap();
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        Some(browser)
    }

    /// Ends the browser in its own time; a test that fails ends it at once.
    pub(crate) async fn end(self) {
        self.ask("DELETE", "", &json!(null)).await;
    }

    pub(crate) async fn open(&self, address: &str) {
        self.ask("POST", "/url", &json!({ "url": address })).await;
    }

    pub(crate) async fn address(&self) -> String {
        self.ask("GET", "/url", &json!(null)).await.as_str().unwrap().to_owned()
    }

    pub(crate) async fn reload(&self) {
        self.leave_by("/refresh", &json!({})).await;
    }

    pub(crate) async fn back(&self) {
        self.leave_by("/back", &json!({})).await;
    }

    /// A click, and the page that it leads to.
    pub(crate) async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        self.leave_by(&format!("/element/{element}/click"), &json!({})).await;
    }

    pub(crate) async fn heading(&self) -> String {
        let heading = self.run("return document.querySelector('h1')?.innerText").await;
        heading.as_str().unwrap_or_default().to_owned()
    }

    pub(crate) async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap().to_owned()
    }

    /// A script of the test's: the page itself may run none.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", &json!({"script": script, "args": []})).await
    }

    pub(crate) async fn press_tab(&self) {
        self.ask("POST", "/actions", &press(TAB)).await;
    }

    /// Enter on a link or a button, and the page that it leads to.
    pub(crate) async fn press_enter(&self) {
        self.leave_by("/actions", &press(ENTER)).await;
    }

    /// What the keyboard is at.
    pub(crate) async fn focused(&self) -> String {
        let text = self.run("return document.activeElement.innerText").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// What every page must have, for whoever cannot see it and whoever uses the keyboard alone (WCAG 2.2).
    pub(crate) async fn check_page(&self) {
        let found = self
            .run(
                "const all = selector => [...document.querySelectorAll(selector)];
                 const named = element => element.innerText.trim() !== '';
                 const small = element => element.getBoundingClientRect().height < 24;
                 return {
                     language: document.documentElement.lang,
                     title: document.title,
                     heading: document.querySelector('h1').innerText,
                     headings: all('h1').length,
                     mains: all('main').length,
                     unnamed: all('a, button').filter(element => !named(element)).length,
                     small: all('a, button').filter(small).length,
                     jumps: all('[tabindex]').length,
                     scripts: all('script').length,
                     wide: document.documentElement.scrollWidth > window.innerWidth,
                     styled: getComputedStyle(document.body).maxWidth !== 'none',
                     links: all('footer a').map(link => link.innerText).join(', '),
                 }",
            )
            .await;
        let heading = found["heading"].as_str().unwrap();
        assert_eq!(found["language"], "en");
        assert_eq!(found["title"], format!("{heading} – Example Travel"));
        assert_eq!((&found["headings"], &found["mains"]), (&json!(1), &json!(1)), "{found}");
        for none in ["unnamed", "jumps", "scripts"] {
            assert_eq!(found[none], 0, "{none}: {found}");
        }
        assert_eq!((&found["wide"], &found["styled"]), (&json!(false), &json!(true)), "{found}");
        assert_eq!(found["links"], "Terms of use, Privacy policy, Support");
    }

    /// A picture of the page, for a person to look at.
    pub(crate) async fn picture(&self, name: &str) {
        let Some(dir) = std::env::var_os("PERENNIAL_TESTS_PICTURES") else { return };
        let picture = self.ask("GET", "/screenshot", &json!(null)).await;
        let bytes = STANDARD.decode(picture.as_str().unwrap()).unwrap();
        std::fs::write(std::path::Path::new(&dir).join(format!("{name}.png")), bytes).unwrap();
    }

    async fn find(&self, selector: &str) -> String {
        let by = json!({"using": "css selector", "value": selector});
        let found = self.ask("POST", "/element", &by).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Does what leads to another page, and waits for that page: on a busy machine the driver answers before the browser
    /// has left the old one, so the old one is marked.
    async fn leave_by(&self, path: &str, body: &Value) {
        let mark = self.pages.fetch_add(1, Ordering::Relaxed);
        self.run(&format!("window.leaving = {mark}")).await;
        self.ask("POST", path, body).await;
        let arrived = format!("return window.leaving !== {mark} && document.readyState === 'complete'");
        let script = json!({"script": arrived, "args": []});
        let script_path = format!("/session/{}/execute/sync", self.session);
        let wait = async {
            // A script that the browser's leaving has cut off is an error of the driver's.
            while self.command("POST", &script_path, &script).await != Ok(json!(true)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the browser shows another page");
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.command(method, &format!("/session/{}{path}", self.session), body).await.unwrap()
    }

    /// What the driver answers, or its error.
    async fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let host = format!("localhost:{}", self.port);
        let sent = request(method, path, &[("host", &host), ("content-type", "application/json")], &body);
        let reply = tokio::time::timeout(Duration::from_secs(120), exchange(stream, &sent)).await;
        let (head, body) = reply.expect("the browser answers");
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(format!("{method} {path}: {head} {body}"));
        }
        Ok(body["value"].clone())
    }
}

impl Drop for Browser {
    /// Chromedriver, and the browser that it has started: it does not end by itself.
    fn drop(&mut self) {
        let group = self.driver.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn press(key: &str) -> Value {
    let keys = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
    json!({"actions": [{"type": "key", "id": "keyboard", "actions": keys}]})
}

/// One request. The answer is as long as it says: the connection stays open behind it.
async fn exchange(mut stream: TcpStream, request: &str) -> (String, Value) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 16 * 1024];
        let length = stream.read(&mut part).await.unwrap();
        assert!(length > 0, "cut off: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&part[..length]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let stated = head.to_ascii_lowercase();
        let stated =
            stated.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let length: usize = stated.unwrap_or_else(|| panic!("no length: {head}"));
        if bytes.len() >= end + 4 + length {
            return (head, serde_json::from_slice(&bytes[end + 4..end + 4 + length]).unwrap());
        }
    }
}

#[expect(clippy::print_stderr, reason = "who runs the tests should see what was left out")]
fn note(what: &str) {
    eprintln!("{what}");
}
