//! Where a message begins and ends: both sides must agree, or one of them is made to read what nobody sent to it.

use crate::local::{Api, call, hears, say};
use crate::served;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const END: &str = "\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_have_none() {
    let (house, _daemon) = served(&[]).await;
    let api = Api::open(&house).await;
    for (method, answer, length) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Some("content-length: 5")),
        ("GET", "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n", None),
        ("DELETE", "HTTP/1.1 204 No Content\r\n\r\n", None),
    ] {
        let (_, got) = api.serve(&house, &call(method, ""), END, answer).await;
        let (head, body) = got.split_once(END).unwrap();
        assert_eq!(body, "", "{got}");
        assert!(length.is_none_or(|length| head.contains(length)), "{got}");
        assert!(!head.contains("transfer-encoding"), "{got}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_unknown_length_comes_in_pieces_or_to_the_end() {
    let (house, _daemon) = served(&[]).await;
    let api = Api::open(&house).await;
    for answer in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\nx-late: y\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nok",
    ] {
        let (_, got) = api.serve(&house, &call("GET", ""), END, answer).await;
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
        let body: String = got.split_once(END).unwrap().1.split("\r\n").skip(1).step_by(2).collect();
        assert_eq!(body, "ok", "{got}");
        assert!(got.ends_with("0\r\n\r\n"), "{got}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_made_to_read_a_second_request_out_of_a_first() {
    let (house, _daemon) = served(&[]).await;
    let api = Api::open(&house).await;
    let hidden = "GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    // Two lengths: the pieces count (RFC 9112 section 6.3), and the other one goes no further.
    let body = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let request = call("POST", "content-length: 4\r\ntransfer-encoding: chunked\r\n") + &body;
    let (heard, got) = api.serve(&house, &request, "0\r\n\r\n", OK).await;
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
    let (head, rest) = heard.split_once(END).unwrap();
    assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{heard}");
    assert_eq!(rest, body);
    // Its length cannot be told to be the connection's business: it is counted anew.
    let request = call("POST", "connection: content-length\r\ncontent-length: 2\r\n") + "{}";
    let (heard, _) = api.serve(&house, &request, "{}", OK).await;
    assert!(heard.contains("content-length: 2\r\n") && heard.ends_with("\r\n\r\n{}"), "{heard}");
    // What may be read in two ways is refused, and nothing of it goes out.
    for (rest, status) in [
        ("transfer-encoding: gzip, chunked\r\n\r\n0\r\n", 501),
        ("transfer-encoding: chunked, identity\r\n\r\n0\r\n", 400),
        ("transfer-encoding: xchunked\r\n\r\n0\r\n", 400),
        ("content-length: 2\r\ncontent-length: 3\r\n\r\n{}", 400),
        ("content-length: +2\r\n\r\n{}", 400),
        ("content-length : 2\r\n\r\n{}", 400),
        ("x: y\r\n z\r\n", 400),
        ("x\0y: z\r\n", 400),
    ] {
        let mut got = String::new();
        let _ = say(&house, &call("POST", rest)).await.read_to_string(&mut got).await;
        assert_eq!(got.get(9..12), Some(status.to_string().as_str()), "{rest:?}: {got}");
    }
    let more = tokio::time::timeout(std::time::Duration::ZERO, api.listener.accept()).await;
    assert!(more.is_err(), "nothing of it went out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_names_a_host_goes_to_the_connections_own() {
    let (house, _daemon) = served(&[]).await;
    let api = Api::open(&house).await;
    let own = format!("host: {}\r\n", api.listener.local_addr().unwrap());
    for line in [
        "GET http://evil.example.com/v1/connections/local/proxy/x?to=http://evil.example.com",
        "GET /v1/connections/local/proxy/x?to=http://evil.example.com",
    ] {
        let request = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let (heard, _) = api.serve(&house, &request, END, OK).await;
        assert!(heard.starts_with("GET /x?to=http://evil.example.com HTTP/1.1\r\n"), "{heard}");
        assert!(heard.contains(&own) && heard.matches("host:").count() == 1, "{heard}");
    }
    for target in [
        "//evil.example.com/x",
        "/\\evil.example.com/x",
        "/@evil.example.com/..",
        "/%2fevil.example.com/x",
        "/x y",
        "/x\ty",
    ] {
        let path = format!("/v1/connections/local/proxy{target}");
        let mut got = String::new();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let _ = say(&house, &request).await.read_to_string(&mut got).await;
        assert_eq!(got.get(9..12), Some("400"), "{target}: {got}");
    }
    let more = tokio::time::timeout(std::time::Duration::ZERO, api.listener.accept()).await;
    assert!(more.is_err(), "law 10: nothing of it went out");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_first_whether_to_send_is_told_to() {
    let (house, _daemon) = served(&[]).await;
    let api = Api::open(&house).await;
    for coding in ["content-length: 2\r\n", "transfer-encoding: chunked\r\n"] {
        let mut caller = say(&house, &call("PUT", &format!("expect: 100-continue\r\n{coding}"))).await;
        let serving = async {
            let mut line = api.accept().await;
            let heard = hears(&mut line, "{}").await;
            assert!(!heard.contains("expect"), "that has been answered: {heard}");
            line.write_all(OK.as_bytes()).await.unwrap();
        };
        let asking = async {
            hears(&mut caller, "HTTP/1.1 100 Continue\r\n\r\n").await;
            let body = if coding.starts_with('c') { "{}" } else { "2\r\n{}\r\n0\r\n\r\n" };
            caller.write_all(body.as_bytes()).await.unwrap();
            assert!(hears(&mut caller, "ok").await.contains("HTTP/1.1 200 OK"));
        };
        tokio::join!(serving, asking);
    }
    // Where the answer is no, the body is not asked for.
    let mut got = String::new();
    let request = "PUT /v1/connections/none/proxy/x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\
                   connection: close\r\ncontent-length: 100000\r\n\r\n";
    let _ = say(&house, request).await.read_to_string(&mut got).await;
    assert!(got.starts_with("HTTP/1.1 404"), "{got}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_is_spoken_by_nobody() {
    let (house, _daemon) = served(&[]).await;
    let api = Api::open(&house).await;
    let mut got = String::new();
    let request = call("GET", "connection: upgrade\r\nupgrade: websocket\r\n");
    let _ = say(&house, &request).await.read_to_string(&mut got).await;
    assert!(got.starts_with("HTTP/1.1 501"), "{got}");
    // Some clients offer HTTP/2 with every request; that is passed over.
    let offer = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAA\r\n";
    let (heard, got) = api.serve(&house, &call("GET", offer), END, OK).await;
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
    assert!(!heard.contains("upgrade") && !heard.contains("http2-settings"), "{heard}");
    // An API that changes the protocol though nobody asked, or codes its body in a way that is undone here.
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nanything",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ] {
        let (_, got) = api.serve(&house, &call("GET", ""), END, answer).await;
        assert!(got.starts_with("HTTP/1.1 502") && got.contains("/problems/api-cut"), "{got}");
    }
}
