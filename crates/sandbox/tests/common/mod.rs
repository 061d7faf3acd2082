//! A client of sockets and text, so that a test sees every byte that the sandbox sends.

#![expect(dead_code, reason = "each test file uses its part")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine as _};
use perennial_sandbox::{Config, Ready, Sandbox};
use serde_json::{Value, json};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn start(change: impl FnOnce(&mut Config)) -> Sandbox {
    let mut config = Config { tls: false, seed: Some(1), ..Config::default() };
    change(&mut config);
    Sandbox::start(config).unwrap()
}

pub(crate) fn plain() -> Sandbox {
    start(|_| {})
}

/// An answer, read until the server closed the connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn code(&self) -> u64 {
        self.json()["code"].as_u64().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// A parameter of the address that this redirect leads to.
    pub(crate) fn led_to(&self, name: &str) -> Option<String> {
        let (_, query) = self.header("location")?.split_once('?')?;
        let found = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    }

    /// A claim of one of the tokens in the answer, read without a look at the signature.
    pub(crate) fn claim(&self, token: &str, name: &str) -> Value {
        let token = self.text(token);
        let payload = BASE64.decode(token.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice::<Value>(&payload).unwrap()[name].clone()
    }

    pub(crate) fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no {member} in {:?}", self.json())).to_owned()
    }
}

pub(crate) fn connect(sandbox: &Sandbox) -> TcpStream {
    connect_to(sandbox.base_uri())
}

fn connect_to(base_uri: &str) -> TcpStream {
    let address = base_uri.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends these bytes and reads until the end of the connection.
pub(crate) fn exchange(sandbox: &Sandbox, request: &str) -> io::Result<Answer> {
    exchange_on(connect(sandbox), request)
}

fn exchange_on(mut stream: TcpStream, request: &str) -> io::Result<Answer> {
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

pub(crate) fn send(
    sandbox: &Sandbox,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &str,
) -> io::Result<Answer> {
    exchange(sandbox, &request(method, target, headers, body))
}

fn request(method: &str, target: &str, headers: &[&str], body: &str) -> String {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: sandbox\r\nconnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    let length = body.len();
    format!("{head}content-length: {length}\r\n\r\n{body}")
}

/// A token request with these fields, as text.
pub(crate) fn token_request(fields: &[(&str, &str)]) -> String {
    request("POST", "/oauth2/v0/token", &[FORM], &encode(fields))
}

pub(crate) fn encode(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

pub(crate) const FORM: &str = "content-type: application/x-www-form-urlencoded";

pub(crate) fn try_token(sandbox: &Sandbox, fields: &[(&str, &str)]) -> io::Result<Answer> {
    exchange(sandbox, &token_request(fields))
}

pub(crate) fn token(sandbox: &Sandbox, fields: &[(&str, &str)]) -> Answer {
    try_token(sandbox, fields).unwrap()
}

/// The fields of a company grant with the sandbox's own values.
pub(crate) fn company_fields(ready: &Ready) -> Vec<(&str, &str)> {
    vec![
        ("client_id", &ready.app_id),
        ("client_secret", &ready.client_secret),
        ("grant_type", "password"),
        ("username", &ready.company_uuid),
        ("password", &ready.request_token),
        ("credtype", "authtoken"),
    ]
}

pub(crate) fn refresh_fields<'a>(ready: &'a Ready, refresh_token: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("client_id", &ready.app_id),
        ("client_secret", &ready.client_secret),
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
    ]
}

/// The company grant, which must succeed.
pub(crate) fn company(sandbox: &Sandbox) -> Answer {
    let answer = token(sandbox, &company_fields(sandbox.ready()));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

pub(crate) fn refresh(sandbox: &Sandbox, refresh_token: &str) -> Answer {
    token(sandbox, &refresh_fields(sandbox.ready(), refresh_token))
}

pub(crate) fn call(sandbox: &Sandbox, method: &str, target: &str, access_token: &str) -> Answer {
    let bearer = format!("authorization: Bearer {access_token}");
    send(sandbox, method, target, &[&bearer], "").unwrap()
}

pub(crate) fn get(sandbox: &Sandbox, target: &str) -> Answer {
    send(sandbox, "GET", target, &[], "").unwrap()
}

/// Posts a form, with these fields encoded.
pub(crate) fn post<N: AsRef<str>, V: AsRef<str>>(
    sandbox: &Sandbox,
    target: &str,
    fields: &[(N, V)],
) -> Answer {
    send(sandbox, "POST", target, &[FORM], &query(fields)).unwrap()
}

/// The same at this base URI, of another data centre.
pub(crate) fn post_at<N: AsRef<str>, V: AsRef<str>>(
    base_uri: &str,
    target: &str,
    fields: &[(N, V)],
) -> Answer {
    exchange_on(connect_to(base_uri), &request("POST", target, &[FORM], &query(fields))).unwrap()
}

/// These fields, encoded.
pub(crate) fn query<N: AsRef<str>, V: AsRef<str>>(fields: &[(N, V)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// The sandbox's own client, ahead of these fields.
pub(crate) fn as_client<'a>(ready: &'a Ready, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let client = [("client_id", ready.app_id.as_str()), ("client_secret", ready.client_secret.as_str())];
    [&client, fields].concat()
}

/// The hidden fields of a page, as a browser would send them.
pub(crate) fn hidden_fields(page: &Answer) -> Vec<(String, String)> {
    let html = String::from_utf8(page.body.clone()).unwrap();
    let attribute = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\"")).unwrap();
        let (value, _) = rest.split_once('"').unwrap();
        [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")]
            .iter()
            .fold(value.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    let hidden = html.lines().filter(|line| line.contains("type=\"hidden\""));
    hidden.map(|line| (attribute(line, "name"), attribute(line, "value"))).collect()
}

pub(crate) const USERS: &str = "/profile/identity/v4/Users/";

pub(crate) fn order(sandbox: &Sandbox, method: &str, target: &str, body: &str) -> Answer {
    send(sandbox, method, target, &[], body).unwrap()
}

pub(crate) fn inject(sandbox: &Sandbox, fault: &Value) {
    sandbox.inject(json!([fault])).unwrap();
}
