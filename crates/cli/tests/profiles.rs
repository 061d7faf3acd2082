//! `perennial profiles`, `perennial profile`: what is known of providers, and a profile of one's own.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::Config;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use support::{Ended, World};

/// As small as a profile can be.
const SMALL: &str = r#"name = "acme"
title = "Acme's login"

[facts]
rotation = { is = "always", source = "login" }
replay = { is = "within:10s", source = "login" }

[server]
token = "https://{tenant}.login.acme.example/oauth2/token"
authorization = "https://{tenant}.login.acme.example/oauth2/authorize"
sources = ["login"]

[[server.blank]]
name = "tenant"
kind = "label"
meaning = "your tenant"

[[source]]
key = "login"
title = "Acme: how to sign in"
address = "https://docs.acme.example/login"
"#;

fn world() -> World {
    World::with(World::plain())
}

/// Puts a file where a person's own profiles are.
fn put(world: &World, name: &str, text: &str) -> PathBuf {
    let dir = world.home().join(".config/perennial/profiles");
    fs::create_dir_all(&dir).expect("a directory");
    let path = dir.join(format!("{name}.toml"));
    fs::write(&path, text).expect("it can be written");
    path
}

fn listed(world: &World) -> Vec<Value> {
    serde_json::from_str(&world.keep_ok(&["profiles", "--json"]).stdout).expect("JSON")
}

fn of<'a>(rows: &'a [Value], name: &str) -> &'a Value {
    rows.iter().find(|row| row["name"] == name).expect("it is listed")
}

/// Asks for what no server is needed to refuse: the blanks of a profile.
fn unfilled(world: &World, name: &str) -> Ended {
    world.keep(&["add", "x", "--profile", name, "--app-id", "a"])
}

#[test]
fn what_comes_along_is_listed_and_shown_with_its_sources() {
    let world = world();
    let rows = listed(&world);
    let names: Vec<_> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["concur", "generic", "entra", "google", "okta", "salesforce", "xsuaa"]);
    assert_eq!(of(&rows, "okta")["replay"], "within:30s");
    assert_eq!(of(&rows, "google")["rotation"], "never");
    let table = world.keep_ok(&["profiles"]).stdout;
    assert!(table.starts_with("NAME") && table.contains("SAP Concur"), "{table}");
    for name in names {
        let shown = world.keep_ok(&["profile", "show", name]).stdout;
        assert!(shown.contains("replay") && shown.contains("TITLE AND ADDRESS"), "{shown}");
        let whole: Value =
            serde_json::from_str(&world.keep_ok(&["profile", "show", name, "--json"]).stdout).expect("JSON");
        assert!(!whole["sources"].as_array().expect("a list").is_empty());
    }
    let shown = world.keep_ok(&["profile", "show", "entra"]).stdout;
    for part in
        ["700082", "grant_gone", "--set tenant=…", "refresh-tokens", "an old refresh token is not revoked"]
    {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    world.keep(&["profile", "show", "entr"]).is_usage("no profile is called \"entr\"");
}

#[test]
fn a_person_adds_one_and_it_is_used_at_once() {
    let world = world();
    let path = put(&world, "acme", SMALL);
    let word = path.to_string_lossy().into_owned();
    let checked = world.keep_ok(&["profile", "check", &word]);
    assert!(checked.stdout.contains("the profile acme, no mistakes"), "{checked:?}");
    let rows = listed(&world);
    assert_eq!(of(&rows, "acme")["from"], word.as_str());
    assert_eq!(of(&rows, "acme")["asks_for"], serde_json::json!(["tenant"]));
    assert!(world.keep_ok(&["doctor"]).stdout.contains("the profile acme in"));
    let ended = unfilled(&world, "acme");
    ended.is_usage("a value is missing: tenant (your tenant)");
    assert!(ended.stderr.contains("--profile acme --set tenant=…"), "{ended:?}");
    // The file of one is the start of another.
    assert_eq!(world.keep_ok(&["profile", "show", "acme", "--toml"]).stdout, SMALL);
    let elsewhere = world.home().join("elsewhere");
    fs::create_dir_all(&elsewhere).expect("a directory");
    let mut command = world.keeps(&["profiles", "--names"]);
    let ended = Ended::of(&command.env("PERENNIAL_PROFILES", &elsewhere).output().expect("it starts"));
    assert!(!ended.stdout.contains("acme") && ended.stdout.contains("xsuaa"), "{ended:?}");
}

#[test]
fn each_mistake_is_told_with_its_line() {
    let world = world();
    let file = world.home().join("wrong.toml");
    let word = file.to_string_lossy().into_owned();
    let wrong = SMALL
        .replace("name = \"acme\"\ntitle", "name = \"Acme\"\ntitle")
        .replace("{ is = \"always\", source = \"login\" }", "{ is = \"always\", source = \"logni\" }")
        .replace("token = \"https://{tenant}", "token = \"http://{tenant}");
    fs::write(&file, wrong).expect("it can be written");
    let ended = world.keep(&["profile", "check", &word]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{ended:?}");
    assert!(lines[0].starts_with(&format!("{word}:1:8: \"Acme\" is no name for a profile")), "{}", lines[0]);
    assert!(lines[1].starts_with(&format!("{word}:5:")) && lines[1].contains("logni"), "{}", lines[1]);
    assert!(lines[2].starts_with(&format!("{word}:9:9:")) && lines[2].contains("https://"), "{}", lines[2]);
    let ended = world.keep(&["profile", "check", &word, "--json"]);
    let told: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!((ended.code, told["mistakes"][0]["line"].as_u64()), (1, Some(1)));
    fs::write(&file, "name = \"acme\"\ntitel = \"x\"\n").expect("it can be written");
    let ended = world.keep(&["profile", "check", &word]);
    assert!(ended.stdout.starts_with(&format!("{word}:2:1: unknown field `titel`")), "{ended:?}");
    world.keep(&["profile", "check", "no-such.toml"]).is_usage("no-such.toml: it could not be read");
}

#[test]
fn nobody_is_surprised_by_a_file_that_stands_in_the_place_of_one_that_comes_along() {
    let world = world();
    let mine = SMALL.replace("name = \"acme\"", "name = \"okta\"");
    put(&world, "okta", &mine);
    let rows = listed(&world);
    assert_eq!(of(&rows, "okta")["usable"], false);
    assert!(of(&rows, "okta")["from"].as_str().expect("a text").contains("replaces = true"));
    put(&world, "okta", &mine.replace("[facts]", "replaces = true\n\n[facts]"));
    let rows = listed(&world);
    assert_eq!(of(&rows, "okta")["replay"], "within:10s");
    // Those that are code cannot be replaced at all.
    let path = put(&world, "concur", &SMALL.replace("name = \"acme\"", "name = \"concur\""));
    let ended = world.keep(&["profile", "check", &path.to_string_lossy()]);
    assert!(ended.stdout.contains("concur is built in"), "{ended:?}");
    assert_eq!(of(&listed(&world), "concur")["from"], "built in");
}

#[test]
fn law_7_a_broken_file_leaves_its_connection_with_careful_rules_and_harms_no_other() {
    let world = world();
    world.add("east");
    put(&world, "acme", SMALL);
    let add = ["add", "west", "--profile", "acme", "--set", "tenant=a", "--app-id", "a", "--later"];
    world.keep_ok(&[&add[..], &["--client-secret-env", "CLIENT_SECRET"]].concat());
    let path = put(&world, "acme", "name = ");
    let token = world.keep_ok(&["token", "east"]);
    assert!(token.stderr.is_empty(), "nobody asked for that profile: {token:?}");
    let status = world.keep_ok(&["status", "west", "--json"]);
    assert_eq!(status.stderr.matches("the profile acme in").count(), 1, "{status:?}");
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!((&status[0]["profile"], &status[0]["state"]), (&"acme".into(), &"awaiting_grant".into()));
    let check = format!("perennial profile check {}", path.display());
    unfilled(&world, "acme").is_trouble(&world, 3, "cannot be used: line 1, column 8", &check);
    world.keep(&["profile", "show", "acme"]).is_trouble(&world, 3, "cannot be used", &check);
    let doctor = world.keep(&["doctor", "--offline"]);
    assert_eq!(doctor.code, 3, "{doctor:?}");
    assert!(doctor.stdout.contains("cannot be used: line 1") && doctor.stdout.contains(&check), "{doctor:?}");
    // Once it is mended, it counts again.
    put(&world, "acme", SMALL);
    assert!(world.keep_ok(&["status", "west"]).stderr.is_empty());
}

#[test]
fn law_10_no_answer_leads_to_another_host() {
    let world = world();
    put(&world, "acme", SMALL);
    for answer in ["tenant=evil.example/", "tenant=a@b", "tenant=a.b", "tenant=.."] {
        let ended = world.keep(&["add", "x", "--profile", "acme", "--set", answer, "--app-id", "a"]);
        ended.is_usage("cannot stand for tenant");
    }
    world
        .keep(&["add", "x", "--profile", "acme", "--set", "tenat=a", "--app-id", "a"])
        .is_usage("there is nothing called \"tenat\"");
}

/// A profile may leave addresses to the server, and still say what no server says of itself.
#[test]
fn what_a_profile_names_goes_before_what_the_server_says_of_itself() {
    let world = World::with(Config { generic: true, ..Config::default() });
    let base = world.sandbox.base_uri();
    let server = format!(
        "issuer = \"{base}\"\ndiscovers = true\napi = \"https://api.acme.example\"\n\
         authentication = \"client_secret_post\"\nsources = [\"login\"]\n\n"
    );
    let (facts, rest) = SMALL.split_once("[server]\n").expect("it has one");
    let (_, sources) = rest.split_once("[[source]]").expect("it has one");
    put(&world, "acme", &format!("{facts}[server]\n{server}[[source]]{sources}"));
    let app_id = &world.sandbox.ready().app_id;
    let add = |name: &str, words: &[&str]| {
        let app = ["add", name, "--app", "--app-id", app_id, "--client-secret-env", "CLIENT_SECRET"];
        world.keep(&[&app[..], words].concat())
    };
    let added = add("found", &["--profile", "acme"]);
    assert_eq!(added.code, 0, "{added:?}");
    let found = world.connection("found");
    let server = found.server.expect("a server of its own");
    assert_eq!(server.api.expect("it is named").to_string(), "https://api.acme.example");
    assert_eq!(server.authentication.as_str(), "client_secret_post", "it says basic first of itself");
    assert_eq!(server.token.to_string(), format!("{base}/oauth2/v0/token"));

    // The rules of a profile count as well for a server that is named beside it.
    let endpoint = format!("{base}/oauth2/v0/token");
    let added = add("named", &["--profile", "acme", "--token-endpoint", &endpoint]);
    assert_eq!(added.code, 0, "{added:?}");
    assert_eq!(world.connection("named").profile.name, "acme");
    let ended = add("x", &["--profile", "concur", "--token-endpoint", &endpoint]);
    ended.is_usage("SAP Concur has its own endpoints");
    let ended = add("x", &["--profile", "acme", "--set", "tenant=a", "--token-endpoint", &endpoint]);
    ended.is_usage("cannot be used with");
    let issuer = &["--profile", "acme", "--set", "tenant=a", "--issuer", base][..];
    add("x", issuer).is_usage("cannot be used with");
    add("x", &["--concur", "--set", "tenant=a"]).is_usage("SAP Concur asks for nothing called \"tenant\"");
    add("x", &["--profile", "concur", "--issuer", base]).is_usage("SAP Concur has its own endpoints");
}

#[test]
fn a_private_key_without_its_certificate_is_refused_where_the_server_knows_clients_by_it() {
    let world = world();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let certificate = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate").pem();
    let file = world.home().join("key.pem");
    let tenant = "tenant=9188040d-6c67-4c5b-b112-36a304b66dad";
    let add = |text: String| {
        fs::write(&file, text).expect("it can be written");
        let file = file.to_string_lossy().into_owned();
        let words = ["add", "x", "--profile", "entra", "--set", tenant, "--app", "--app-id", "a", "--later"];
        let key = ["--client-auth", "private_key_jwt", "--private-key-file", &file];
        world.keep(&[&words[..], &key].concat())
    };
    let refused = add(key.serialize_pem());
    refused.is_usage("no certificate that can be read stands beside the private key");
    assert!(refused.stderr.contains("perennial profile show entra"), "{refused:?}");
    assert!(world.names().is_empty());
    assert_eq!(add(format!("{}{certificate}", key.serialize_pem())).code, 0);
    // Nor is it put in the place of one that works.
    fs::write(&file, key.serialize_pem()).expect("it can be written");
    let words = ["reauthorize", "x", "--keep-grant", "--private-key-file", &file.to_string_lossy()];
    world.keep(&words).is_usage("no certificate that can be read stands beside the private key");
}
