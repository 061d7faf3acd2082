//! Anybody can open these pages with anything: it must change nothing, and leave nothing.

use crate::person::{Person, config, heading, name, redirect, redirect_for};
use crate::support::House;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn law_5_a_made_up_token_changes_nothing_of_a_company_that_is_connected() {
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    Person::new(&daemon).connect(&redirect(&house, &house.sandbox.mint_request_token())).await;
    let (before, app) =
        (house.keeper.connection(&name(&house)).unwrap(), house.keeper.store().app(&name(&house)).unwrap());

    let mut attacker = Person::new(&daemon);
    attacker.open(&redirect(&house, "made-up")).await;
    assert_eq!(house.keeper.connection(&name(&house)).unwrap(), before, "to open it is to change nothing");
    let (_, refused) = attacker.connect(&redirect(&house, "made-up")).await;
    assert_eq!((refused.status, heading(&refused).as_str()), (409, "SAP Concur did not accept the request"));

    let after = house.keeper.connection(&name(&house)).unwrap();
    assert_eq!(after.held, before.held, "the grant");
    assert_eq!(house.keeper.state(&after), house.keeper.state(&before), "its state");
    assert_eq!((after.previous, after.principal), (before.previous, before.principal));
    assert_eq!(
        house.keeper.store().app(&name(&house)).unwrap(),
        app,
        "the app, its secret, its request token"
    );
    house.keeper.refresh(&name(&house)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn law_13_tokens_of_another_company_are_kept_aside_and_not_used() {
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    for is_new in [true, false] {
        if !is_new {
            Person::new(&daemon).connect(&redirect(&house, &house.sandbox.mint_request_token())).await;
        }
        let before = house.keeper.connection(&name(&house)).ok().and_then(|connection| connection.held);
        house.sandbox.inject(json!([{"kind": "other_principal"}])).unwrap();
        let (_, refused) =
            Person::new(&daemon).connect(&redirect(&house, &house.sandbox.mint_request_token())).await;
        assert_eq!(
            (refused.status, heading(&refused).as_str()),
            (409, "The answer was for another company"),
            "{refused:?}"
        );
        let after = house.keeper.connection(&name(&house)).unwrap();
        assert_eq!(after.held, before, "nothing of it is used");
        assert!(!after.candidates.is_empty(), "and nothing of it is thrown away (law 5)");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_made_up_companies_does_not_fill_the_store() {
    let house = House::new();
    let mut settings = config(&house, "");
    settings.access.failures_per_minute = 1000;
    let daemon = house.serve_with(settings);
    let company = |number: u32| format!("00000000-0000-4000-8000-{number:012}");
    for number in 0..30 {
        let (_, refused) = Person::new(&daemon).connect(&redirect_for(&company(number), "made-up")).await;
        assert_eq!(heading(&refused), "SAP Concur did not accept the request");
        assert!(refused.body.contains("Correlation ID"));
    }
    assert_eq!(house.keeper.names().unwrap().len(), 0);
    let restored = (0..30).filter(|number| house.keeper.restore(&company(*number)).is_ok()).count();
    assert_eq!(restored, 1, "the newest alone is put away, all others are forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_never_says_yes_puts_nothing_into_the_store() {
    let house = House::new();
    let daemon = house.serve_with(config(&house, ""));
    for number in 0..200 {
        let company = format!("00000000-0000-4000-8000-{number:012}");
        let landed = Person::new(&daemon).ask("GET", &redirect_for(&company, "made-up"), "").await;
        assert_eq!(landed.status, 303);
    }
    assert_eq!(house.keeper.names().unwrap().len(), 0);
    assert_eq!(house.sandbox.stats().requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_up_too_much_waits() {
    let house = House::new();
    let mut settings = config(&house, "");
    settings.access.failures_per_minute = 3;
    let daemon = house.serve_with(settings);
    // The minute may turn while this runs: twice as many are enough in any case.
    let mut refused = None;
    for _ in 0..8 {
        let (_, page) = Person::new(&daemon).open("/connect/travel?id=none").await;
        if page.status == 429 {
            refused = Some(page);
        }
    }
    let refused = refused.unwrap();
    assert_eq!(heading(&refused), "Please wait a minute");
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_somebody_else_has_is_left_alone() {
    let house = House::new();
    house.obtain("mine").await;
    let other = house.keeper.connection("mine").unwrap();
    let name = name(&house);
    house.keeper.store().rename("mine", &name).unwrap();
    let daemon = house.serve_with(config(&house, ""));
    // It belongs to the same company: it is authorized anew. What belongs to another company is not touched.
    let (_, done) =
        Person::new(&daemon).connect(&redirect(&house, &house.sandbox.mint_request_token())).await;
    assert_eq!(heading(&done), "Your company is connected to Example Travel");
    assert_eq!(house.keeper.connection(&name).unwrap().id, other.id);

    let stranger = "00000000-0000-4000-8000-000000000001";
    house.keeper.store().rename(&name, stranger).unwrap();
    let (_, refused) = Person::new(&daemon).connect(&redirect_for(stranger, "made-up")).await;
    assert_eq!((refused.status, heading(&refused).as_str()), (500, "We could not finish the connection"));
}
