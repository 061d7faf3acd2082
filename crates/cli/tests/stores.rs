//! Which store a command works on: --store, --dir, the variable, the database in the home directory; and which master
//! key opens it.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use support::{Ended, World};

fn world() -> World {
    World::with(World::plain())
}

#[test]
fn the_default_is_a_database_in_the_home_directory_for_its_owner_alone() {
    let world = world();
    world.add("acme");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&world.database()), 0o600);
    let key = world.home().join(".config/perennial/master.key");
    assert_eq!(mode(&key), 0o600, "the key is made on first use, away from the database");
}

#[test]
fn options_go_before_the_variable_and_the_variable_before_the_default() {
    let world = world();
    world.add("acme");
    let other = world.home().join("other/perennial.db");
    let store = format!("sqlite:{}", other.display());
    world.keep_ok(&world.adding("west", &["--store", &store]));
    assert!(other.exists());
    assert_eq!(world.names(), ["acme"]);
    let list = |words: &[&str], variable: Option<&str>| {
        let mut command = world.keeps(words);
        if let Some(variable) = variable {
            command.env("PERENNIAL_STORE", variable);
        }
        Ended::of(&command.output().expect("it starts")).stdout
    };
    assert!(list(&["list"], Some(&store)).contains("west"));
    let own = format!("sqlite:{}", world.database().display());
    assert!(list(&["list", "--store", &own], Some(&store)).contains("acme"));
    world.fill();
    let dir = world.dir();
    assert!(list(&["list", "--dir", dir.to_str().expect("a path")], Some(&store)).contains("default"));
    assert!(list(&["list"], Some(&format!("sap-sample:{}", dir.display()))).contains("default"));
}

#[test]
fn a_store_that_is_none_is_told() {
    let world = world();
    for store in ["sqlite:", "mysql://x", "postgres:x", "nonsense", "sap-sample:"] {
        world.keep(&["list", "--store", store]).is_trouble(
            &world,
            2,
            "is no store that this version knows",
            "sqlite:FILE",
        );
    }
    let ended = world.keep(&["list", "--store", "sqlite:x.db", "--dir", "."]);
    ended.is_trouble(&world, 2, "--dir and --store name two stores", "name one of them");
    world.keep(&["list", "--master-key", "nonsense"]).is_usage("names no master key");
}

#[test]
fn hints_name_the_store_that_was_named() {
    let world = world();
    let words = world.adding("acme", &["--later", "--store", "sqlite:mine.db"]);
    world.keep_ok(&words);
    let ended = world.keep(&["token", "--store", "sqlite:mine.db"]);
    ended.is_trouble(
        &world,
        3,
        "there are no tokens yet",
        "perennial reauthorize --store sqlite:mine.db acme",
    );
}

#[test]
fn without_connections_the_way_to_one_is_told() {
    let world = world();
    for words in
        [&["token"][..], &["token", "acme"], &["refresh"], &["call", "/x"], &["whoami"], &["recover"]]
    {
        world.keep(words).is_trouble(&world, 3, "there are no connections in sqlite:", "perennial add NAME");
    }
    for words in [&["list"][..], &["status"]] {
        let ended = world.keep_ok(words);
        assert!(ended.stderr.contains("there are no connections"), "{ended:?}");
    }
    assert!(!world.database().exists(), "to look makes nothing");
    // Whoever stands beside SAP's two files means those.
    world.fill();
    world.keep(&["token"]).is_trouble(&world, 3, "there are no connections", "perennial token --dir .");
}

#[test]
fn the_tutorial_is_about_this_directory_whatever_the_store_is() {
    let world = World::filled();
    let ended = world.keep_ok(&["run"]);
    assert!(ended.stdout.contains("refresh token received and stored"), "{ended:?}");
    assert!(world.token_file().exists() && !world.database().exists());
    world.keep(&["token", "--dir", "."]);
    world.keep(&["run", "--store", "sqlite:x.db"]).is_trouble(
        &world,
        2,
        "about SAP's two files",
        "perennial add --store sqlite:x.db NAME",
    );
    // What comes next must name the directory.
    let empty = world.home().join("empty");
    let ended = world.keep(&["run", "--dir", empty.to_str().expect("a path")]);
    assert!(ended.stderr.contains(&format!("perennial run --dir {}", empty.display())), "{ended:?}");
}

#[test]
fn which_connection_is_asked_where_there_are_many() {
    let world = world();
    world.add("acme");
    world.add("west");
    world.keep(&["token"]).is_trouble(&world, 2, "which connection?", "name one of: acme, west");
    world.keep(&["token", "east"]).is_trouble(&world, 2, "no connection named \"east\"", "perennial list");
}

#[test]
fn another_master_key_does_not_open_it_and_a_variable_holds_one_too() {
    let world = world();
    let key = "0123456789abcdef".repeat(4);
    let keeps = |words: &[&str], key: &str| {
        let mut command = world.keeps(words);
        Ended::of(
            &command.env("KEY", key).env("PERENNIAL_MASTER_KEY", "env:KEY").output().expect("it starts"),
        )
    };
    assert_eq!(keeps(&world.adding("acme", &[]), &key).code, 0);
    assert_eq!(keeps(&["token", "acme"], &key).code, 0);
    assert!(!world.home().join(".config/perennial/master.key").exists());
    let other = keeps(&["token", "acme"], &"f".repeat(64));
    other.is_trouble(&world, 3, "does not open", "name the master key that it was sealed with");
    keeps(&["token", "acme"], "short").is_trouble(&world, 3, "does not open", "--master-key");
    let without = world.keep(&["token", "acme"]);
    without.is_trouble(&world, 3, "does not open", "--master-key");
}

#[test]
fn law_5_what_was_rescued_under_an_older_key_is_taken_in_all_the_same() {
    let world = World::held_with(World::plain());
    let older = world.home().join(".local/share/perennial/master.key");
    fs::create_dir_all(older.parent().expect("a directory")).expect("it can be made");
    fs::write(&older, "0123456789abcdef".repeat(4)).expect("it can be written");
    // The room for the commit; with a directory in its place nobody can write there.
    let room = world.dir().join(".refreshTokenObjectFile.json.next");
    let child = world.under_way(&["refresh"]);
    let _ = fs::remove_file(&room);
    fs::create_dir(&room).expect("a directory");
    assert_eq!(Ended::landed(child).code, 0);
    assert_eq!(world.rescue_files().len(), 1);
    // The database gets a key of its own, away from the data; the older one goes on opening what it sealed.
    world.add("acme");
    assert!(world.home().join(".config/perennial/master.key").exists());
    fs::remove_dir(&room).expect("it is there");
    assert_eq!(world.status()["generation"], 2);
    assert_eq!(world.rescue_files().len(), 0);
}

#[test]
fn tenants_of_one_database_do_not_see_each_other() {
    let world = world();
    world.add("acme");
    world.keep_ok(&world.adding("acme", &["--tenant", "customer"]));
    world.keep_ok(&world.adding("west", &["--tenant", "customer"]));
    assert_eq!(world.names(), ["acme"]);
    let ended = world.keep(&["token", "--tenant", "customer"]);
    ended.is_trouble(&world, 2, "which connection?", "acme, west");
    world.keep(&["list", "--tenant", "a b"]).is_trouble(&world, 2, "is no name", "letters");
}
