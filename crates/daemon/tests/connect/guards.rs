//! Cookies, forms, headers: what keeps a page to itself.

use crate::person::{Person, config, form, heading, redirect};
use crate::support::{House, ask_tcp};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_the_browsers_own() {
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    let mut person = Person::new(&daemon);
    let (path, page) = person.open(&redirect(&house, &house.sandbox.mint_request_token())).await;

    let mut thief = Person::new(&daemon);
    assert_eq!(heading(&thief.open(&path).await.1), "Your browser did not send our cookie");
    thief.cookie = Some("perennial-connect=made-up".to_owned());
    assert_eq!(heading(&thief.open(&path).await.1), "This page is no longer valid");
    assert_eq!(thief.ask("POST", &path, &form(&page)).await.status, 404);

    for body in ["", "csrf=", "csrf=made-up", &format!("{0}&{0}", form(&page))] {
        let refused = person.ask("POST", &path, body).await;
        assert_eq!((refused.status, heading(&refused).as_str()), (403, "This did not come from our page"));
    }
    let mut tab = Person::with(&daemon, person.cookie.clone());
    let (_, their_page) = tab.open(&redirect(&house, &house.sandbox.mint_request_token())).await;
    assert_eq!(person.ask("POST", &path, &form(&their_page)).await.status, 403, "another page's form");
    assert_eq!(house.sandbox.stats().requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_left_open_ends_and_says_what_to_press() {
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    let mut person = Person::new(&daemon);
    let token = house.sandbox.mint_request_token();
    let (path, page) = person.open(&redirect(&house, &token)).await;
    house.clock.set_on(31 * 60);
    let late = person.ask("POST", &path, &form(&page)).await;
    assert_eq!((late.status, heading(&late).as_str()), (404, "This page is no longer valid"));
    assert!(late.body.contains("press Connect again"), "{}", late.body);
    let (_, done) = person.connect(&redirect(&house, &token)).await;
    assert_eq!(heading(&done), "Your company is connected to Example Travel");
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_pages_hosts_and_frames_are_kept_out() {
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    let mut person = Person::new(&daemon);
    let (path, page) = person.open(&redirect(&house, &house.sandbox.mint_request_token())).await;
    let cookie = person.cookie.clone().unwrap();
    for origin in ["https://evil.example.com", "null"] {
        let headers = [("cookie", cookie.as_str()), ("origin", origin)];
        assert_eq!(ask_tcp(&daemon, "POST", &path, &headers, &form(&page)).await.status, 403, "{origin}");
    }
    let rebound = [("cookie", cookie.as_str()), ("host", "evil.example.com")];
    assert_eq!(ask_tcp(&daemon, "GET", &path, &rebound, "").await.status, 421);

    let policy = page.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("referrer-policy"), Some("same-origin"), "the form's Origin needs it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_is_for_this_host_and_no_script() {
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    let landed = Person::new(&daemon).ask("GET", &redirect(&house, "t"), "").await;
    let cookie = landed.header("set-cookie").unwrap();
    assert!(cookie.starts_with("perennial-connect=") && !cookie.contains("Secure"), "this machine: {cookie}");

    let mut settings = config(&house, "");
    settings.listen.public_url = Some("https://127.0.0.1".to_owned());
    settings.listen.unix = Some(house.dir.path().join("other.sock"));
    let daemon = house.serve_with(settings);
    let landed = Person::new(&daemon).ask("GET", &redirect(&house, "t"), "").await;
    let cookie = landed.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-perennial-connect="), "{cookie}");
    for part in ["; Path=/;", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sap_does_not_send_is_not_shown_again() {
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    let odd = "/connect/travel?id=%3Cscript%3Ealert(1)%3C/script%3E&requestToken=canary&return=https://evil.example.com";
    let (_, page) = Person::new(&daemon).open(odd).await;
    assert_eq!((page.status, heading(&page).as_str()), (400, "This page is opened by SAP Concur"));
    assert!(!page.body.contains("script") && !page.body.contains("canary") && !page.body.contains("evil"));
    assert_eq!(Person::new(&daemon).ask("GET", "/connect/unknown?id=x", "").await.status, 404);
    assert_eq!(
        Person::new(&daemon).ask("GET", "/connect/travel/assets/..%2fmaster.key", "").await.status,
        400
    );
    let style = Person::new(&daemon).ask("GET", "/connect/travel/assets/style.css", "").await;
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_are_replaced_one_by_one_and_a_broken_one_leaves_nobody_without_a_page() {
    let house = House::new();
    let dir = house.dir.path().join("templates");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(
        dir.join("confirm.html"),
        "<h1>Ours</h1>{{ company }} {{ path }} <input name=\"csrf\" value=\"{{ csrf }}\">",
    )
    .unwrap();
    std::fs::write(dir.join("connected.html"), "{% broken").unwrap();
    std::fs::write(dir.join("logo.svg"), "<svg/>").unwrap();
    let daemon = house.serve_with(config(&house, &format!("templates = \"{}\"", dir.display())));
    let mut person = Person::new(&daemon);
    let (path, page) = person.open(&redirect(&house, &house.sandbox.mint_request_token())).await;
    assert_eq!(heading(&page), "Ours");
    let (_, done) = person.press(&path, &page).await;
    assert_eq!(heading(&done), "Your company is connected to Example Travel", "the built-in one");
    let logo = person.ask("GET", "/connect/travel/assets/logo.svg", "").await;
    assert_eq!((logo.header("content-type"), logo.body.as_str()), (Some("image/svg+xml"), "<svg/>"));
}
