//! The same in a real browser, Chromium, driven by its own WebDriver: cookies of another site's redirect, the form's
//! Origin, what the policies let through, the address bar, back and reload, the keyboard.
//!
//! Where there is no browser these stories are left out, unless PERENNIAL_TESTS_NEED_BROWSER says that there must be one.
//! With PERENNIAL_TESTS_PICTURES=DIRECTORY, each page is put down there as a picture.

use crate::driver::Browser;
use crate::person::{SHARED, config, name, redirect, shared_secret};
use crate::support::House;
use perennial::core::UnixTime;
use perennial_daemon::Daemon;
use perennial_daemon::alerts::sink::signature;
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const DONE: &str = "Your company is connected to Example Travel";

/// A page at another site: the browser calls us 127.0.0.1, and this one localhost.
async fn another_site(page: impl Fn(&str) -> String + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let page = Arc::new(page);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let page = Arc::clone(&page);
            tokio::spawn(async move {
                let mut bytes = vec![0; 16 * 1024];
                let length = stream.read(&mut bytes).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&bytes[..length]).into_owned();
                let body = page(head.split(' ').nth(1).unwrap_or_default());
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

/// SAP's App Center, as far as it matters here: a link that leads to us.
async fn app_center(daemon: &Daemon, redirect: &str) -> String {
    let link = format!("http://{}{redirect}", daemon.addresses()[0]).replace('&', "&amp;");
    another_site(move |_| format!("<title>App Center</title><a id=connect href=\"{link}\">Connect</a>")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_connects_a_company_with_the_keyboard() {
    let Some(browser) = Browser::start().await else { return };
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    let token = house.sandbox.mint_request_token();
    browser.open(&app_center(&daemon, &redirect(&house, &token)).await).await;
    browser.click("#connect").await;
    assert_eq!(browser.heading().await, "Connect your company to Example Travel");
    let address = browser.address().await;
    assert!(!address.contains(&token) && !address.contains('?'), "the address bar: {address}");
    assert_eq!(browser.run("return document.referrer").await, json!(""));
    browser.check_page().await;
    browser.picture("confirm").await;
    let landing = browser.run("return performance.getEntriesByType('navigation')[0].name").await;
    assert!(!landing.to_string().contains(&token), "{landing}");

    browser.press_tab().await;
    assert_eq!(browser.focused().await, "Connect this company", "the first thing that Tab leads to");
    browser.press_enter().await;
    assert_eq!(browser.heading().await, DONE);
    browser.check_page().await;
    browser.picture("connected").await;

    browser.reload().await;
    assert_eq!(browser.heading().await, DONE);
    browser.back().await;
    assert_eq!(
        browser.heading().await,
        DONE,
        "the page with the form is asked for anew, and shows the truth"
    );
    browser.back().await;
    assert_eq!(
        browser.run("return document.title").await,
        json!("App Center"),
        "SAP's redirect left nothing"
    );
    browser.click("#connect").await;
    assert_eq!(browser.heading().await, DONE, "the same redirect, once more");
    assert_eq!(house.sandbox.stats().requests, 1);
    assert!(house.keeper.connection(&name(&house)).unwrap().held.is_some());
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_and_mended_on_the_page() {
    let Some(browser) = Browser::start().await else { return };
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    browser.open(&app_center(&daemon, &redirect(&house, "made-up")).await).await;
    browser.click("#connect").await;
    browser.click("button").await;
    assert_eq!(browser.heading().await, "SAP Concur did not accept the request");
    assert!(browser.text().await.contains("Correlation ID"));
    browser.check_page().await;
    browser.picture("refused").await;

    house.sandbox.inject(json!([{"kind": "status", "status": 503}])).unwrap();
    browser.open(&app_center(&daemon, &redirect(&house, &house.sandbox.mint_request_token())).await).await;
    browser.click("#connect").await;
    browser.click("button").await;
    assert_eq!(browser.heading().await, "The connection could not be finished just now");
    browser.check_page().await;
    browser.picture("not-now").await;
    browser.click("button").await;
    assert_eq!(browser.heading().await, DONE);

    browser.open(&format!("http://{}/connect/travel", daemon.addresses()[0])).await;
    assert_eq!(browser.heading().await, "This page is opened by SAP Concur");
    browser.check_page().await;
    browser.picture("not-from-sap").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_long_is_told_so_and_looks_again() {
    let Some(browser) = Browser::start().await else { return };
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    // Longer than a page waits.
    house.sandbox.inject(json!([{"kind": "delay", "milliseconds": 12_000}])).unwrap();
    browser.open(&app_center(&daemon, &redirect(&house, &house.sandbox.mint_request_token())).await).await;
    browser.click("#connect").await;
    browser.click("button").await;
    assert_eq!(browser.heading().await, "Your company is being connected");
    browser.check_page().await;
    browser.picture("working").await;
    browser.click("main a").await;
    assert_eq!(browser.heading().await, DONE);
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_at_the_partners_site_and_comes_back() {
    let Some(browser) = Browser::start().await else { return };
    let house = House::new();
    let partner = another_site(|path| {
        let decode = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
        let the = |name: &str| {
            let query = path.split('?').nth(1).unwrap_or_default();
            let found = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
            decode(found.unwrap_or_default())
        };
        let (state, ends) = (the("state"), the("expires").parse().unwrap_or(0) - 60);
        let signed = signature::sign(SHARED, &state, UnixTime(ends), b"answer\ntravel\naccount-1").unwrap();
        let signed = percent_encoding::utf8_percent_encode(&signed, percent_encoding::NON_ALPHANUMERIC);
        let back = the("return");
        format!(
            "<title>Partner</title><h1>Sign in</h1><a id=agree \
             href=\"{back}?state={state}&amp;subject=account-1&amp;expires={ends}&amp;signature={signed}\">Agree</a>"
        )
    });
    let (partner, secret) = (partner.await, shared_secret(house.dir.path()));
    let sign_in = format!("sign_in = {{ url = \"{partner}/sign-in\", secret = \"{secret}\" }}");
    let daemon = house.serve_with(config(&house, &sign_in));
    browser.open(&app_center(&daemon, &redirect(&house, &house.sandbox.mint_request_token())).await).await;
    browser.click("#connect").await;
    assert_eq!(browser.heading().await, "Sign in", "off to the partner's site at once");
    browser.back().await;
    browser.click("#connect").await;
    assert_eq!(browser.heading().await, "Sign in to connect to Example Travel", "and no loop");
    browser.check_page().await;
    browser.picture("sign-in").await;
    browser.press_tab().await;
    assert_eq!(browser.focused().await, "Go to the sign-in page");
    browser.press_enter().await;
    browser.click("#agree").await;
    assert_eq!(browser.heading().await, DONE);
    assert!(!browser.address().await.contains('?'), "the signed answer leaves the address bar too");
    assert_eq!(house.sandbox.stats().requests, 1);
    browser.end().await;
}
