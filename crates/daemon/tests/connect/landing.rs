//! From SAP's redirect to the grant: once, whatever is reloaded, clicked twice or opened again.

use crate::person::{Person, config, form, heading, journal, name, redirect};
use crate::support::House;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_company_is_connected_once_the_person_has_said_yes() {
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    let token = house.sandbox.mint_request_token();
    let mut person = Person::new(&daemon);

    let landed = person.ask("GET", &redirect(&house, &token), "").await;
    let clean = landed.header("location").unwrap().to_owned();
    assert_eq!(landed.status, 303, "SAP's address goes at once");
    assert!(clean.starts_with("/connect/travel/") && !clean.contains(&token), "{clean}");
    assert_eq!(landed.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(landed.header("cache-control"), Some("no-store"));

    let (path, page) = person.open(&clean).await;
    assert_eq!((page.status, heading(&page).as_str()), (200, "Connect your company to Example Travel"));
    for link in ["https://example.com/terms", "https://example.com/privacy", "https://example.com/support"] {
        let escaped = link.replace('/', "&#x2f;");
        assert!(page.body.contains(&format!("href=\"{escaped}\"")), "{link}: {}", page.body);
    }
    assert!(!page.body.contains(&token) && !page.head.contains(&token), "law 10");
    assert_eq!(house.sandbox.stats().requests, 0, "nothing is fetched before the person has said yes");
    assert_eq!(house.keeper.names().unwrap().len(), 0, "and nothing is put down");

    let (_, done) = person.press(&path, &page).await;
    assert_eq!(heading(&done), "Your company is connected to Example Travel");
    let stats = house.sandbox.stats();
    assert_eq!((stats.requests, stats.request_token_uses), (1, 1));
    let connection = house.keeper.connection(&name(&house)).unwrap();
    assert_eq!(house.keeper.state(&connection).as_str(), "held");
    assert_eq!(house.get(&format!("/v1/connections/{}/token", name(&house))).await.status, 200);

    let journal = journal(&house, &name(&house));
    assert!(journal.contains("by user user-7, correlation id"), "certification asks for it: {journal}");
    assert!(!journal.contains(&token), "law 10");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_exchanged_once_whatever_is_reloaded_or_clicked_twice() {
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    let token = house.sandbox.mint_request_token();
    let (mut person, from_sap) = (Person::new(&daemon), redirect(&house, &token));
    let (path, page) = person.open(&from_sap).await;
    let (again, _) = person.open(&from_sap).await;
    assert_eq!(path, again, "SAP's redirect, reloaded");

    let mut other_tab = Person::with(&daemon, person.cookie.clone());
    let mut other_browser = Person::new(&daemon);
    let (elsewhere, their_page) = other_browser.open(&from_sap).await;
    let sent = form(&page);
    let (one, two, three) = tokio::join!(
        person.ask("POST", &path, &sent),
        other_tab.ask("POST", &path, &sent),
        other_browser.press(&elsewhere, &their_page),
    );
    assert_eq!((one.status, two.status), (303, 303));
    for page in [&person.open(&path).await.1, &other_tab.open(&from_sap).await.1, &three.1] {
        assert_eq!(heading(page), "Your company is connected to Example Travel");
    }
    person.ask("POST", &path, &sent).await;
    person.open(&from_sap).await;
    assert_eq!(house.sandbox.stats().requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_same_redirect_spends_no_other_use_of_its_token() {
    let house = House::new();
    let token = house.sandbox.mint_request_token();
    let from_sap = redirect(&house, &token);
    let daemon = house.serve_with(config(&house, ""));
    let mut person = Person::new(&daemon);
    let (path, _) = person.connect(&from_sap).await;
    let cookie = person.cookie.clone();
    assert!(daemon.drain().await);

    let daemon = house.serve_with(config(&house, ""));
    let mut person = Person::with(&daemon, cookie);
    let (_, gone) = person.open(&path).await;
    assert_eq!((gone.status, heading(&gone).as_str()), (404, "This page is no longer valid"));
    let (_, done) = person.connect(&from_sap).await;
    assert_eq!(heading(&done), "Your company is connected to Example Travel");
    assert_eq!(house.sandbox.stats().requests, 1, "the grant that came for it is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn law_5_connect_pressed_again_authorizes_the_same_connection_anew() {
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    let mut person = Person::new(&daemon);
    person.connect(&redirect(&house, &house.sandbox.mint_request_token())).await;
    let before = house.keeper.connection(&name(&house)).unwrap();

    let (_, done) = person.connect(&redirect(&house, &house.sandbox.mint_request_token())).await;
    assert_eq!(heading(&done), "Your company is connected to Example Travel");
    let after = house.keeper.connection(&name(&house)).unwrap();
    assert_eq!(after.id, before.id, "the same connection");
    let (old, new) = (before.held.unwrap(), after.held.unwrap());
    assert_ne!(old.grant_id, new.grant_id, "another grant");
    assert!(after.previous.iter().any(|kept| kept.grant_id == old.grant_id), "the old one is kept");
    assert_eq!(house.keeper.names().unwrap().len(), 1);

    house.keeper.refresh(&name(&house)).await.unwrap();
    let proved = house.keeper.connection(&name(&house)).unwrap();
    assert!(proved.previous.is_empty(), "until the new one has refreshed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_loses_nothing_and_the_person_tries_again_on_the_same_page() {
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    let mut person = Person::new(&daemon);
    house.sandbox.inject(json!([{"kind": "status", "status": 503}])).unwrap();
    let (path, failed) = person.connect(&redirect(&house, &house.sandbox.mint_request_token())).await;
    assert_eq!(
        (failed.status, heading(&failed).as_str()),
        (503, "The connection could not be finished just now")
    );
    assert!(failed.body.contains("Correlation ID"), "{}", failed.body);

    let (_, done) = person.press(&path, &failed).await;
    assert_eq!(heading(&done), "Your company is connected to Example Travel");
    assert_eq!(house.keeper.names().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_leaves_is_connected_all_the_same() {
    use tokio::io::AsyncWriteExt as _;
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    let mut person = Person::new(&daemon);
    house.sandbox.inject(json!([{"kind": "delay", "milliseconds": 500}])).unwrap();
    let (path, page) = person.open(&redirect(&house, &house.sandbox.mint_request_token())).await;
    let address = daemon.addresses()[0];
    let (host, origin) = (address.to_string(), person.origin());
    let headers =
        [("host", host.as_str()), ("origin", &origin), ("cookie", person.cookie.as_deref().unwrap())];
    let request = crate::support::request("POST", &path, &headers, &form(&page));
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    crate::support::until("it has begun", async || (!house.keeper.names().unwrap().is_empty()).then_some(()))
        .await;
    drop(socket);
    assert!(daemon.drain().await, "a daemon that ends waits for it");
    let connection = house.keeper.connection(&name(&house)).unwrap();
    assert!(connection.held.is_some());
}
