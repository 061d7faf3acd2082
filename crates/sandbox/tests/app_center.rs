//! The Connect button of the App Center: where it leads, and that what it hands over is good.

mod common;
use common::*;

const LANDING: &str = "http://127.0.0.1:8080/connect/app?kept=1";

fn parameter(address: &str, name: &str) -> Option<String> {
    let (_, query) = address.split_once('?')?;
    let found = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}

#[test]
fn the_button_leads_to_the_landing_page_with_a_fresh_token() {
    let sandbox = start(|config| config.landing = Some(LANDING.to_owned()));
    let page = get(&sandbox, "/sandbox/app-center");
    assert_eq!(page.status, 200);
    let html = String::from_utf8_lossy(&page.body).into_owned();
    assert!(
        html.contains(">Connect</a>") && html.contains("href=\"http://127.0.0.1:8080/connect/app?kept=1")
    );

    let address = get(&sandbox, "/sandbox/app-center/redirect").text("address");
    assert!(address.starts_with(LANDING), "{address}");
    let ready = sandbox.ready();
    assert_eq!(parameter(&address, "id").as_ref(), Some(&ready.company_uuid));
    assert_eq!(parameter(&address, "userId").as_ref(), Some(&ready.users[0].uuid));
    let request_token = parameter(&address, "requestToken").unwrap_or_default();
    assert_ne!(request_token, ready.request_token);
    assert!(sandbox.secrets().contains(&request_token));

    let mut fields = company_fields(ready);
    fields.retain(|(name, _)| *name != "password");
    fields.push(("password", &request_token));
    assert_eq!(token(&sandbox, &fields).status, 200);
}

#[test]
fn the_landing_page_may_be_named_in_the_question() {
    let sandbox = start(|config| config.capital_user_id = true);
    let target = "/sandbox/app-center/redirect?landing=https%3A%2F%2Fapp.example%2Fland";
    let address = get(&sandbox, target).text("address");
    assert!(address.starts_with("https://app.example/land?id="), "{address}");
    assert_eq!(parameter(&address, "userID").as_ref(), Some(&sandbox.ready().users[0].uuid));
    assert_eq!(parameter(&address, "userId"), None);
}

#[test]
fn without_a_landing_page_or_with_a_strange_one_there_is_no_button() {
    let sandbox = plain();
    for query in ["", "?landing=javascript%3Aalert(1)", "?landing=%2Fland", "?landing=http%3A%2F%2Fa%2F%23b"]
    {
        let page = get(&sandbox, &format!("/sandbox/app-center{query}"));
        assert_eq!(page.status, 400, "{query}");
        assert!(!String::from_utf8_lossy(&page.body).contains("Connect</a>"), "{query}");
        assert_eq!(get(&sandbox, &format!("/sandbox/app-center/redirect{query}")).status, 400, "{query}");
    }
}
