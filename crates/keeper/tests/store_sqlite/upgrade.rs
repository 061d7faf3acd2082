//! A database that an earlier version wrote: it is brought up to date where it lies, and holds what it held.

use super::killed::at_every_change;
use super::{World, argument, open_of, refresh};
use perennial::Sqlite;
use perennial::store::Store;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A database of form 1: `acme` holds tokens, `gone` was put away. Its master key is sixty-four digits: `5a`, repeated.
const FORM_1: &[u8] = include_bytes!("fixtures/form-1.db");

impl World {
    fn of_form_1() -> Self {
        let world = Self::new();
        for dir in ["data", "keys"] {
            fs::create_dir(world.root.path().join(dir)).unwrap();
        }
        fs::write(world.key(), "5a".repeat(32)).unwrap();
        for path in [world.path(), world.beside(".backup")] {
            fs::write(&path, FORM_1).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        world
    }

    fn form(&self) -> i64 {
        self.tables().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }
}

fn holds_what_it_held(world: &World) {
    let store = world.open();
    assert_eq!(store.names().unwrap(), ["acme"]);
    let held = store.read("acme").unwrap().held.unwrap();
    assert_eq!(held.refresh.unwrap().expose(), "refresh-canary");
    let app = store.app("acme").unwrap();
    assert_eq!((app.client.id.as_str(), app.client.secret.expose()), ("app-1", "secret-canary"));
    assert_eq!(app.request_token.unwrap().expose(), "request-canary");
    assert_eq!(store.journal(Some("acme"), None, 9).unwrap().len(), 1);
}

#[test]
fn law_5_what_an_earlier_version_wrote_is_taken_over_whole() {
    let world = World::of_form_1();
    holds_what_it_held(&world);
    assert_eq!(world.form(), 2);
    let doctor = Sqlite::examine(world.path(), &world.options());
    assert!(doctor.iter().all(|finding| finding.is_good), "its copy too: {doctor:?}");
    let store = world.open();
    store.restore("gone").unwrap();
    refresh(&store, "gone", "next");
    assert_eq!(store.read("gone").unwrap().held.unwrap().generation, 2);
}

#[test]
fn two_that_open_it_at_once_bring_it_up_to_date_once() {
    let world = World::of_form_1();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| holds_what_it_held(&world));
        }
    });
    holds_what_it_held(&world);
}

/// Opens the database of an earlier version.
#[test]
fn child_that_brings_it_up_to_date() {
    let Some(root) = argument() else { return };
    open_of(&root);
    println!("\ndurable");
}

#[test]
fn law_5_killed_at_any_change_it_holds_what_it_held() {
    let killed = at_every_change(
        "upgrade::child_that_brings_it_up_to_date",
        World::of_form_1,
        |world, durable, when| {
            assert!(world.form() == 2 || !durable, "{when}");
            holds_what_it_held(world);
        },
    );
    assert!(killed.is_none_or(|killed| killed > 10), "{killed:?}");
}
