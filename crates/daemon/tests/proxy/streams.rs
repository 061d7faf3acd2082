//! Bodies of any length, on both ways, and whoever stops in the middle of one.

use crate::local::{Api, call, hears, say};
use crate::served;
use crate::support::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const MIB: usize = 1024 * 1024;

/// More than this is nowhere between caller and API but in somebody's memory.
const ON_THE_WAY: usize = 24 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways_and_who_hangs_up_is_noticed() {
    let (house, _daemon) = served(&[]).await;
    let api = Api::open(&house).await;
    let mut caller = say(&house, &call("POST", "transfer-encoding: chunked\r\n")).await;
    caller.write_all(b"5\r\nfirst\r\n").await.unwrap();
    let mut line = api.accept().await;
    hears(&mut line, "first").await;
    caller.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
    hears(&mut line, "second").await;
    line.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await.unwrap();
    hears(&mut caller, "one").await;
    line.write_all(b"3\r\ntwo\r\n").await.unwrap();
    hears(&mut caller, "two").await;
    drop(caller);
    until("the API hears that nobody listens any more", async || {
        let wrote = line.write_all(b"3\r\nxyz\r\n").await;
        wrote.is_err().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_before_the_answer_ends_the_call() {
    let (house, _daemon) = served(&[]).await;
    let api = Api::open(&house).await;
    let caller = say(&house, &call("GET", "")).await;
    let mut line = api.accept().await;
    hears(&mut line, "\r\n\r\n").await;
    drop(caller);
    assert_eq!(line.read(&mut [0; 16]).await.unwrap_or(0), 0, "the API hears of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_in_its_body_leaves_no_whole_one() {
    let (house, _daemon) = served(&[]).await;
    let api = Api::open(&house).await;
    for head in ["transfer-encoding: chunked\r\n", "content-length: 100000\r\n"] {
        let mut caller = say(&house, &call("POST", head)).await;
        caller.write_all(b"5\r\nfirst\r\n").await.unwrap();
        let mut line = api.accept().await;
        hears(&mut line, "first").await;
        drop(caller);
        let mut rest = Vec::new();
        let _ = line.read_to_end(&mut rest).await;
        assert!(!rest.ends_with(b"0\r\n\r\n") && rest.len() < 100, "{rest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_gathered_for_an_api_that_does_not_read() {
    let (house, _daemon) = served(&[]).await;
    let api = Api::open(&house).await;
    let mut caller = say(&house, &call("POST", &format!("content-length: {}\r\n", 256 * MIB))).await;
    let mut line = api.accept().await;
    let piece = vec![b'x'; MIB];
    let mut sent = 0;
    // Only when nothing moves any more is it known how much fits.
    while let Ok(wrote) = tokio::time::timeout(std::time::Duration::from_secs(1), caller.write(&piece)).await
    {
        sent += wrote.unwrap();
        assert!(sent < ON_THE_WAY, "the API has read nothing yet");
    }
    let feeding = tokio::spawn(async move {
        while sent < 256 * MIB {
            sent += caller.write(&piece[..piece.len().min(256 * MIB - sent)]).await.unwrap();
        }
        caller
    });
    let (mut buffer, mut heard) = (vec![0; MIB], 0);
    while heard < 256 * MIB {
        heard += line.read(&mut buffer).await.unwrap();
    }
    line.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    let mut caller = feeding.await.unwrap();
    hears(&mut caller, "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_gathered_for_a_caller_that_does_not_read() {
    let (house, _daemon) = served(&[]).await;
    let api = Api::open(&house).await;
    let mut caller = say(&house, &call("GET", "")).await;
    let mut line = api.accept().await;
    hears(&mut line, "\r\n\r\n").await;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 256 * MIB);
    line.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; MIB];
    let mut sent = 0;
    while let Ok(wrote) = tokio::time::timeout(std::time::Duration::from_secs(1), line.write(&piece)).await {
        sent += wrote.unwrap();
        assert!(sent < ON_THE_WAY, "the caller has read nothing yet");
    }
    let feeding = tokio::spawn(async move {
        while sent < 256 * MIB {
            sent += line.write(&piece[..piece.len().min(256 * MIB - sent)]).await.unwrap();
        }
        line
    });
    let mut got = 0;
    let mut buffer = vec![0; MIB];
    loop {
        match caller.read(&mut buffer).await.unwrap() {
            0 => break,
            length => got += length,
        }
    }
    assert!(got > 256 * MIB);
    drop(feeding.await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_falls_silent_in_its_body_is_not_waited_for() {
    let (house, _daemon) = served(&["limits.idle=1s"]).await;
    let api = Api::open(&house).await;
    let mut caller = say(&house, &call("POST", "transfer-encoding: chunked\r\n")).await;
    caller.write_all(b"5\r\nfirst\r\n").await.unwrap();
    let mut line = api.accept().await;
    hears(&mut line, "first").await;
    let got = hears(&mut caller, "}").await;
    assert!(got.starts_with("HTTP/1.1 408") && got.contains("/problems/too-slow"), "{got}");
    let mut rest = Vec::new();
    let _ = line.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "and the API has no whole body: {rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_falls_silent_or_ends_in_its_body_cuts_the_caller_off() {
    let (house, _daemon) = served(&["proxy.patience=1s"]).await;
    let api = Api::open(&house).await;
    for (head, ends) in [
        ("transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n", false),
        ("transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n", true),
        ("content-length: 100\r\n\r\nfirst", false),
        ("content-length: 100\r\n\r\nfirst", true),
    ] {
        let mut caller = say(&house, &call("GET", "")).await;
        let mut line = api.accept().await;
        hears(&mut line, "\r\n\r\n").await;
        line.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).await.unwrap();
        if ends {
            line.shutdown().await.unwrap();
        }
        let mut got = Vec::new();
        let _ = caller.read_to_end(&mut got).await;
        let got = String::from_utf8(got).unwrap();
        assert!(got.contains("first") && !got.ends_with("0\r\n\r\n"), "{head:?}: {got}");
    }
}
