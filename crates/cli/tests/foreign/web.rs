//! One HTTP request without any client of ours in it. HTTP/1.0, so that an answer ends with its connection and comes in one
//! piece.

use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use url::{Url, form_urlencoded};

/// An answer as it came.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// Every header of this name.
    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let same = move |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// A text in the JSON of an answer that is good.
    #[track_caller]
    pub(crate) fn text(&self, member: &str) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()[member].as_str().unwrap_or_else(|| panic!("no {member}: {self:?}")).to_owned()
    }

    /// The OAuth error of an answer that is not.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        assert!(self.status >= 400, "{self:?}");
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no error: {self:?}")).to_owned()
    }
}

pub(crate) fn get(address: &str) -> Answer {
    send("GET", &Url::parse(address).expect("an address"), &[], None)
}

/// With a token.
pub(crate) fn get_as(address: &str, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    send("GET", &Url::parse(address).expect("an address"), &[("Authorization", &bearer)], None)
}

pub(crate) fn post(address: &str, form: &[(&str, &str)]) -> Answer {
    send("POST", &Url::parse(address).expect("an address"), &[], Some(form))
}

/// As a browser does that shows whatever comes, or that nothing does.
pub(crate) fn knock(address: &str) {
    let _ = try_send("GET", &Url::parse(address).expect("an address"), &[], None);
}

#[track_caller]
pub(crate) fn send(
    method: &str,
    to: &Url,
    headers: &[(&str, &str)],
    form: Option<&[(&str, &str)]>,
) -> Answer {
    let answer = try_send(method, to, headers, form);
    parse(&answer.unwrap_or_else(|error| panic!("{to}: {error}")))
}

fn try_send(
    method: &str,
    to: &Url,
    headers: &[(&str, &str)],
    form: Option<&[(&str, &str)]>,
) -> io::Result<Vec<u8>> {
    let host = to.host_str().expect("a host");
    let port = to.port_or_known_default().expect("a port");
    let path = to.query().map_or_else(|| to.path().to_owned(), |query| format!("{}?{query}", to.path()));
    let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {host}:{port}\r\nAccept: */*\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = form.map(|form| form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish());
    if let Some(body) = &body {
        let length = body.len();
        request.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
        request.push_str(&format!("Content-Length: {length}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(&body.unwrap_or_default());
    let mut stream = TcpStream::connect((host, port))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// What came over a connection that has ended.
pub(crate) fn parse(answer: &[u8]) -> Answer {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(answer) {
        Ok(httparse::Status::Complete(head)) => head,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(answer)),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer {
        status: response.code.expect("a status"),
        headers: response.headers.iter().map(|it| (it.name.to_owned(), text(it.value))).collect(),
        body: text(&answer[head..]),
    }
}
