//! A person's browser, as far as a test needs one: it visits addresses, fills the sandbox's form in, and is led back.

use std::io::{Read, Write};
use std::net::TcpStream;

/// A page, or where it leads.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    /// Header lines, in lower case up to the colon.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Page {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn leads_to(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("it leads nowhere: {self:?}"))
    }
}

pub fn visit(address: &str) -> Page {
    ask("GET", address, "")
}

/// Signs in at an authorization address of the sandbox, and decides.
pub fn decide(address: &str, (login, password): (&str, &str), decision: &str) -> Page {
    let page = visit(address);
    assert_eq!(page.status, 200, "{page:?}");
    let fields = hidden(&page.body);
    let own = [("login", login), ("password", password), ("decision", decision)];
    let own = own.map(|(name, value)| format!("{name}={}", encoded(value)));
    let form = fields.into_iter().map(|(name, value)| format!("{name}={}", encoded(&value))).chain(own);
    let (base, _) = address.split_once("/oauth2").expect("an address of the sandbox");
    ask("POST", &format!("{base}/oauth2/v0/authorize"), &form.collect::<Vec<_>>().join("&"))
}

/// The parameters of an address, decoded.
pub fn parameter(address: &str, name: &str) -> Option<String> {
    let (_, query) = address.split_once('?')?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(own, _)| *own == name).map(|(_, value)| decoded(value))
}

fn hidden(body: &str) -> Vec<(String, String)> {
    let attribute = |input: &str, name: &str| {
        let (_, rest) = input.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.replace("&#38;", "&"))
    };
    let inputs = body.split("<input type=\"hidden\"").skip(1);
    inputs.filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?))).collect()
}

fn ask(method: &str, address: &str, form: &str) -> Page {
    let rest = address.strip_prefix("http://").expect("plain http, on this machine");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host).expect("somebody listens");
    let kind = "application/x-www-form-urlencoded";
    let request = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let header =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Page { status, headers: lines.filter_map(header).collect(), body: body.to_owned() }
}

pub fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => (byte as char).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = (*first == b'%').then(|| std::str::from_utf8(behind.get(..2)?).ok()).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).expect("text")
}
