//! `perennial key`: keys are replaced while others read and write, and a kill at any step leaves everything open.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial::failpoint::REKEY_STEPS;
use perennial::seal::{KeySource, MasterKey};
use perennial::store::Store;
use perennial::{Sqlite, SqliteOptions};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use support::{Ended, World, not_here};

fn world() -> World {
    let world = World::with(World::plain());
    world.add("acme");
    world
}

fn key_file(world: &World) -> PathBuf {
    world.home().join(".config/perennial/master.key")
}

fn check(world: &World, words: &[&str]) -> Value {
    let ended = world.keep_ok(&[&["key", "check", "--json"], words].concat());
    serde_json::from_str(&ended.stdout).expect("JSON")
}

/// The store as a program has it open that runs for long.
fn reader(world: &World) -> Sqlite {
    let key = KeySource::File(key_file(world));
    Sqlite::open(world.database(), SqliteOptions::new(key)).expect("it opens")
}

/// An answer that nobody can read is kept, sealed.
fn with_rescue_file(world: &World) {
    world.inject(json!([{"kind": "html"}]));
    let _ = world.keep(&["refresh", "acme"]);
    assert_eq!(world.rescue_files().len(), 1);
    world.sandbox.clear_faults();
}

/// Something is not under the newest key yet.
fn is_begun(checked: &Value) -> bool {
    let newest = &checked["master_keys"][0];
    let parts = [&checked["data_keys"], &checked["backup"]];
    let keys = |part: &Value| part.as_array().cloned().unwrap_or_default();
    parts.iter().flat_map(|part| keys(part)).any(|key| key["master_key"] != *newest)
}

fn killed_at(world: &World, step: &str, words: &[&str]) -> bool {
    let output =
        world.keeps(words).env("PERENNIAL_FAILPOINT", format!("{step}:1")).output().expect("it starts");
    output.status.signal() == Some(9)
}

#[test]
fn a_new_master_key_seals_and_the_old_one_stays_until_it_is_let_go() {
    let world = world();
    with_rescue_file(&world);
    let before = check(&world, &[]);
    let old = before["master_keys"][0].as_str().expect("an id").to_owned();
    let told = world.keep_ok(&["key", "rotate"]);
    assert!(told.stdout.contains("a new master key") && told.stdout.contains("1 rescue file"), "{told:?}");
    assert!(told.stderr.contains("perennial key forget"), "{told:?}");

    let after = check(&world, &[]);
    assert_eq!(after["master_keys"].as_array().expect("a list").len(), 2);
    let new = after["master_keys"][0].as_str().expect("an id").to_owned();
    assert_ne!(new, old);
    for part in [&after["data_keys"], &after["backup"], &after["rescue_files"]] {
        assert_eq!(part[0]["master_key"], json!(new), "{after}");
    }
    world.keep(&["key", "forget", &new, "--yes"]).is_trouble(
        &world,
        3,
        "is the newest",
        "perennial key rotate",
    );
    world.keep(&["key", "forget", "abc", "--yes"]).is_trouble(
        &world,
        2,
        "no master key abc",
        "perennial key check",
    );
    world.keep(&["key", "forget"]).is_trouble(&world, 2, "nobody is there to be asked", "other stores");
    let gone = world.keep_ok(&["key", "forget", "--yes", "--json"]);
    assert!(gone.stdout.contains(&old), "{gone:?}");
    assert_eq!(check(&world, &[])["master_keys"], json!([new]));
    world.keep_ok(&["token", "acme"]).stdout.clear();
}

#[test]
fn a_key_that_something_needs_is_not_let_go() {
    let world = world();
    assert!(killed_at(&world, "key_made", &["key", "rotate"]));
    world.keep(&["key", "forget", "--yes"]).is_trouble(
        &world,
        3,
        "is still needed: sqlite:",
        "perennial key rotate",
    );
    assert!(killed_at(&world, "rows_sealed", &["key", "rotate"]));
    world.keep(&["key", "forget", "--yes"]).is_trouble(
        &world,
        3,
        "is still needed: the backup",
        "perennial key rotate",
    );
    world.keep_ok(&["key", "rotate"]);
    with_rescue_file(&world);
    fs::write(&world.rescue_files()[0], b"perennial sealed 1\nof an earlier version")
        .expect("it can be written");
    world.keep(&["key", "forget", "--yes"]).is_trouble(
        &world,
        3,
        "is still needed: the rescue file",
        "key rotate",
    );
}

/// Each step, for each way: everything opens with what is on disk, a program that has the store open goes on, and the
/// same command once more finishes.
#[test]
fn law_5_killed_at_any_step_everything_opens_and_the_next_finishes() {
    let (mut kills, mut begun) = (0, 0);
    for words in [&["key", "rotate"][..], &["key", "rotate", "--data"]] {
        for step in REKEY_STEPS {
            let world = world();
            with_rescue_file(&world);
            let elsewhere = reader(&world);
            let held = elsewhere.read("acme").expect("it is there");
            let was_killed = killed_at(&world, step, words);
            assert!(was_killed || (step == "some_rows_sealed" && words.len() == 2), "{step} {words:?}");
            kills += u32::from(was_killed);

            world.keep_ok(&["key", "check"]);
            assert_eq!(elsewhere.read("acme").expect("it goes on").held, held.held, "{step} {words:?}");
            let app = elsewhere.app("acme").expect("it goes on");

            let then = check(&world, &[]);
            let ended = world.keep_ok(words);
            assert!(
                step == "rotating" || ended.stdout.contains("every secret of 1 connection opens"),
                "{ended:?}"
            );
            let after = check(&world, &[]);
            let newest = &after["master_keys"][0];
            let data_keys = after["data_keys"].as_array().expect("a list");
            assert_eq!(data_keys.len(), 1, "{step} {words:?}: {after}");
            for part in [&after["data_keys"], &after["backup"], &after["rescue_files"]] {
                assert_eq!(part[0]["master_key"], *newest, "{step} {words:?}: {after}");
            }
            if is_begun(&then) {
                begun += 1;
                assert_eq!(after["master_keys"], then["master_keys"], "no further key: {step} {words:?}");
            }
            assert_eq!(elsewhere.read("acme").expect("it goes on").held, held.held);
            elsewhere.put_app("acme", &app).expect("it writes");
            world.keep_ok(&["key", "forget", "--yes"]);
            assert_eq!(elsewhere.read("acme").expect("it goes on").held, held.held);
        }
    }
    assert_eq!(kills, 2 * 9 - 1);
    assert!(begun >= 4, "{begun}");
}

/// While rows are sealed anew, others write: what they write is under the newest key, and nothing is lost.
#[test]
fn law_8_others_read_and_write_while_rows_are_sealed_anew() {
    let world = world();
    let elsewhere = reader(&world);
    let held = elsewhere.read("acme").expect("it is there");
    let app = elsewhere.app("acme").expect("it is there");
    // More than one step's rows.
    for number in 0..250 {
        let connection = perennial::core::Connection {
            id: format!("id-{number}"),
            name: format!("n{number}"),
            ..held.clone()
        };
        elsewhere.add(&connection, &app).expect("it is added");
    }
    assert!(killed_at(&world, "some_rows_sealed", &["key", "rotate", "--data"]));
    let between = check(&world, &[]);
    assert_eq!(
        (&between["data_keys"][0]["rows"], &between["data_keys"][1]["rows"]),
        (&json!(152), &json!(100))
    );

    let hold = world.dir().join("go");
    let order = format!("some_rows_sealed:1:{}", hold.display());
    let mut child = world
        .keeps(&["key", "rotate", "--data"])
        .env("PERENNIAL_FAILPOINT", order)
        .spawn()
        .expect("it starts");
    elsewhere.rename("n7", "seven").expect("it writes");
    elsewhere.rename("n240", "later").expect("it writes");
    fs::write(&hold, "").expect("it can be written");
    assert!(child.wait().expect("it ends").success());
    let after = check(&world, &[]);
    assert_eq!(
        (after["data_keys"][0]["number"].clone(), after["data_keys"][0]["rows"].clone()),
        (json!(2), json!(252))
    );
    assert_eq!(after["connections_opened"], 251);
    for name in ["seven", "later", "n249"] {
        assert_eq!(elsewhere.read(name).expect("it is there").held, held.held);
    }
}

#[test]
fn another_source_takes_over_and_the_old_one_opens_nothing_any_more() {
    let world = world();
    with_rescue_file(&world);
    let target = format!("file:{}", world.home().join("other/master.key").display());
    let words = ["key", "rotate", "--data", "--to", &target];
    for step in REKEY_STEPS {
        assert!(killed_at(&world, step, &words), "{step}");
        // With one of the two it opens, whenever that was.
        let opens = |more: &[&str]| world.keep(&[&["token", "acme"], more].concat()).code == 0;
        assert!(opens(&[]) || opens(&["--master-key", &target]), "{step}");
        if step == "data_keys_dropped" || step == "backup_made" {
            continue;
        }
    }
    let ended = world.keep_ok(&words);
    assert!(ended.stderr.contains(&format!("--master-key {target}")), "{ended:?}");
    let old = world.keep(&["token", "acme"]);
    old.is_trouble(&world, 3, "is not the one that it was sealed under", "perennial key check");
    let after = check(&world, &["--master-key", &target]);
    for part in [&after["data_keys"], &after["backup"], &after["rescue_files"]] {
        assert_eq!(part[0]["master_key"], after["master_keys"][0], "{after}");
    }
}

#[test]
fn a_command_a_credential_and_a_passphrase_open_it_too() {
    let world = world();
    let text = fs::read_to_string(key_file(&world)).expect("a key");
    let ended = |mut command: std::process::Command| Ended::of(&command.output().expect("it starts"));

    let command = format!("command:cat '{}'", key_file(&world).display());
    assert_eq!(world.keep(&["token", "acme", "--master-key", &command]).code, 0);
    let failing = world.keep(&["token", "acme", "--master-key", "command:false canary"]);
    failing.is_trouble(&world, 3, "false failed (exit status: 1)", "run the command by itself");
    assert!(!failing.stderr.split("hint:").next().expect("a line").contains("canary"), "{failing:?}");

    let credentials = world.home().join("credentials");
    fs::create_dir(&credentials).expect("a directory");
    fs::write(credentials.join("perennial"), &text).expect("it can be written");
    let mut by_systemd = world.keeps(&["token", "acme", "--master-key", "systemd:perennial"]);
    by_systemd.env("CREDENTIALS_DIRECTORY", &credentials);
    assert_eq!(ended(by_systemd).code, 0);
    world.keep(&["token", "acme", "--master-key", "systemd:perennial"]).is_trouble(
        &world,
        3,
        "no credential perennial",
        "LoadCredentialEncrypted",
    );

    world.keep(&["key", "rotate", "--to", "passphrase"]).is_trouble(
        &world,
        3,
        "nobody can be asked for the passphrase",
        "run it on a terminal",
    );
    assert_eq!(world.keep(&["token", "acme"]).code, 0, "nothing was changed");
}

#[test]
fn a_database_under_a_passphrase_opens_for_who_knows_it() {
    let world = world();
    let typed = |text: &'static str| {
        MasterKey::asking(KeySource::Passphrase, move |_| Ok(Some(text.to_owned().into())))
    };
    let open = |key: MasterKey| Sqlite::open(world.database(), SqliteOptions::new(key));
    let moving = typed("correct horse").or(KeySource::File(key_file(&world)).into());
    moving.prepare().expect("it was typed");
    let store = open(moving.clone()).expect("it opens");
    let keyring = perennial::rekey::Keyring::new(&store, moving, None);
    let wanted = perennial::rekey::Wanted { data: true, is_moved: true };
    keyring.rotate(wanted, &mut |_| {}).expect("it is moved");
    drop(store);
    assert!(open(typed("correct horse")).expect("it opens").read("acme").is_ok());
    let told = open(typed("battery staple")).expect_err("another passphrase").to_string();
    assert!(told.contains("the passphrase is not the one"), "{told}");
    assert!(open(KeySource::File(key_file(&world)).into()).is_err(), "the file opens it no more");
    let nobody = world.keep(&["token", "acme", "--master-key", "passphrase"]);
    nobody.is_trouble(&world, 3, "there is no terminal", "rotate --to file:PATH");
}

#[test]
fn an_altered_row_stays_as_it_is_and_is_told() {
    let world = world();
    world.add("globex");
    let sql = rusqlite::Connection::open(world.database()).expect("it opens");
    sql.execute("UPDATE connections SET company = 'other' WHERE name = 'globex'", []).expect("it is altered");
    drop(sql);
    let ended = world.keep(&["key", "rotate", "--data"]);
    assert!(ended.stderr.contains("connection \"globex\" was altered, and stays as it is"), "{ended:?}");
    assert_eq!(world.keep(&["token", "acme"]).code, 0, "{ended:?}");
    assert_eq!(world.keep(&["token", "globex"]).code, 3);
}

#[test]
fn a_database_whose_data_key_was_altered_is_told_from_another_key() {
    let world = world();
    let sql = rusqlite::Connection::open(world.database()).expect("it opens");
    let wrapped: Vec<u8> =
        sql.query_row("SELECT wrapped FROM data_keys", [], |row| row.get(0)).expect("a data key");
    let mut altered = wrapped;
    *altered.last_mut().expect("a byte") ^= 1;
    sql.execute("UPDATE data_keys SET wrapped = ?1", [altered]).expect("it is altered");
    drop(sql);
    let damaged = world.keep(&["token", "acme"]);
    damaged.is_trouble(
        &world,
        3,
        "is damaged: its data key was altered",
        "perennial doctor --restore-backup",
    );

    let missing = key_file(&world).with_extension("away");
    fs::rename(key_file(&world), missing).expect("it is there");
    world.keep(&["token", "acme"]).is_trouble(&world, 3, "is not there", "put it back");
    fs::create_dir(key_file(&world)).expect("a directory");
    world.keep(&["token", "acme"]).is_trouble(&world, 3, "could not be read", "chmod u+r");
    if cfg!(not(target_os = "linux")) {
        not_here("the texts of other systems differ");
    }
}

fn files_below(path: &std::path::Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).expect("a directory");
    entries.flat_map(|entry| files_below(&entry.expect("an entry").path())).collect()
}

fn bytes_of(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits"))
        .collect()
}

/// Master keys, old and new, as digits and as bytes; and every secret of the connection.
#[test]
fn law_10_no_key_stands_anywhere_but_in_its_file() {
    let world = world();
    with_rescue_file(&world);
    let mut said = String::new();
    assert!(killed_at(&world, "rewrapped", &["key", "rotate", "--data"]));
    for words in [
        &["key", "rotate", "--data", "-vvv"][..],
        &["key", "check", "-vvv", "--log-format", "json"],
        &["key", "check", "--json"],
        &["key", "forget", "nothing", "--yes", "-vvv"],
        &["support", "acme"],
        &["log", "acme"],
        &["doctor", "--offline", "-vvv"],
        &["token", "acme", "--master-key", "command:false", "-vvv"],
    ] {
        let ended = world.keep(words);
        said.push_str(&ended.stdout);
        said.push_str(&ended.stderr);
    }
    let keys = fs::read_to_string(key_file(&world)).expect("a key file");
    assert_eq!(keys.lines().count(), 2);
    let secrets = world.sandbox.secrets();
    for secret in keys.lines().chain(secrets.iter().map(String::as_str)) {
        assert!(!said.contains(secret), "a secret was said");
    }
    for path in files_below(&world.home()).into_iter().filter(|path| *path != key_file(&world)) {
        let contents = fs::read(&path).expect("it can be read");
        let holds = |part: &[u8]| contents.windows(part.len()).any(|window| window == part);
        for key in keys.lines() {
            assert!(!holds(key.as_bytes()) && !holds(&bytes_of(key)), "a master key in {}", path.display());
        }
        for secret in &secrets {
            assert!(!holds(secret.as_bytes()), "a secret in {}", path.display());
        }
    }
}
