//! Where a database may lie, and where its key may not.

use super::sample::{app, connection};
use super::{World, options_of};
use perennial::seal::KeySource;
use perennial::store::{Store, StoreError};
use perennial::{Sqlite, SqliteOptions};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn refusal(path: &Path, options: SqliteOptions) -> (String, String) {
    match Sqlite::open(path, options).unwrap_err() {
        StoreError::Unsafe { reason, remedy, .. } => (reason.to_owned(), remedy),
        other => panic!("{other:?}"),
    }
}

#[test]
fn looking_makes_nothing() {
    let world = World::new();
    let store = world.open();
    assert!(store.names().unwrap().is_empty());
    assert!(matches!(store.read("acme"), Err(StoreError::NoSuchConnection { .. })));
    assert!(matches!(store.remove("acme"), Err(StoreError::NoSuchConnection { .. })));
    assert!(store.try_claim("acme").is_err() && store.journal(None, None, 9).unwrap().is_empty());
    drop(store);
    assert_eq!(fs::read_dir(world.root.path()).unwrap().count(), 0);
}

#[test]
fn a_database_is_made_whole_and_for_its_owner_alone() {
    let world = World::new();
    let store = world.open();
    store.add(&connection("acme"), &app("app-1", "one")).unwrap();
    let metadata = fs::metadata(world.path()).unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.nlink()), (0o600, 1));
    let real = fs::canonicalize(world.path()).unwrap();
    assert_eq!(store.address(), format!("sqlite:{}", real.display()));
    assert_eq!(store.path(), real);
    assert!(store.notices().is_empty());
    allow(&world.path(), 0o644);
    let [notice] = &store.notices()[..] else { panic!("{:?}", store.notices()) };
    assert!(notice.contains(&format!("chmod 600 {}", real.display())), "{notice}");
}

#[test]
fn a_directory_that_everybody_may_write_is_not_used() {
    let world = World::filled();
    let dir = world.path().parent().unwrap().to_owned();
    for mode in [0o777, 0o1777] {
        allow(&dir, mode);
        let (reason, remedy) = refusal(&world.path(), world.options());
        assert_eq!(reason, "can be written by everybody");
        assert!(remedy.contains("chmod o-w"), "{remedy}");
    }
    allow(&dir, 0o700);
    world.open();
}

#[test]
fn a_directory_yet_to_be_made_may_lie_below_a_sticky_one() {
    let world = World::new();
    allow(world.root.path(), 0o1777);
    world.open().add(&connection("acme"), &app("app-1", "one")).unwrap();
    assert_eq!(fs::metadata(world.path().parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    let other = World::new();
    allow(other.root.path(), 0o777);
    assert!(matches!(other.try_open(), Err(StoreError::Unsafe { .. })));
}

#[test]
fn a_link_is_followed_once_and_not_out_of_reach() {
    let world = World::filled();
    let links = world.root.path().join("links");
    fs::create_dir(&links).unwrap();
    let link = links.join("linked.db");
    symlink(world.path(), &link).unwrap();
    let (store, linked) = (world.open(), Sqlite::open(&link, world.options()).unwrap());
    assert_eq!(linked.address(), store.address());
    let claim = store.try_claim("acme").unwrap().unwrap();
    assert!(linked.try_claim("acme").unwrap().is_none(), "law 2: one database, one lock");
    drop(claim);
    assert_eq!(fs::read_dir(&links).unwrap().count(), 1, "nothing was made beside the link");

    allow(&links, 0o1777);
    assert_eq!(
        refusal(&link, world.options()).0,
        "can be written by everybody",
        "somebody may have planted it"
    );
    allow(&links, 0o700);
    let nowhere = links.join("nowhere.db");
    symlink(links.join("absent.db"), &nowhere).unwrap();
    assert!(Sqlite::open(&nowhere, world.options()).is_err());
    assert!(!links.join("absent.db").exists());
    symlink("/dev/null", links.join("device.db")).unwrap();
    assert!(Sqlite::open(links.join("device.db"), world.options()).is_err());
}

#[test]
fn what_is_no_file_is_refused_with_the_way_out() {
    let world = World::filled();
    let dir = world.path().parent().unwrap().to_owned();
    let (reason, remedy) = refusal(&dir, world.options());
    assert_eq!(reason, "is not a file");
    assert!(remedy.ends_with("data/perennial.db"), "{remedy}");
    assert_eq!(refusal(&world.path().join("below.db"), world.options()).0, "is not a directory");
    assert_eq!(refusal(Path::new("/"), world.options()).0, "is not a file");
}

#[test]
fn the_master_key_does_not_lie_beside_what_it_opens() {
    let world = World::new();
    let beside = KeySource::File(world.root.path().join("data/master.key"));
    let (reason, remedy) = refusal(&world.path(), SqliteOptions::new(beside.clone()));
    assert!(reason.starts_with("lies beside the database that it opens"), "{reason}");
    assert!(remedy.contains("--master-key file:PATH"), "{remedy}");
    world.open().add(&connection("acme"), &app("app-1", "one")).unwrap();
    refusal(&world.path(), SqliteOptions::new(beside));
}

#[test]
fn a_read_only_file_is_respected() {
    let world = World::filled();
    allow(&world.path(), 0o400);
    let store = world.open();
    assert!(store.read("acme").is_ok(), "law 9: reading is enough");
    match store.try_claim("acme").map(drop).unwrap_err() {
        StoreError::Unsafe { reason, remedy, .. } => {
            assert_eq!(reason, "is read-only, so new tokens could not be stored");
            assert!(remedy.starts_with("allow it: chmod u+w "), "{remedy}");
        }
        other => panic!("{other:?}"),
    }
    allow(&world.path(), 0o600);
    assert!(world.open().try_claim("acme").unwrap().is_some());
}

#[test]
fn odd_characters_in_a_path_do_no_harm() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    for name in [&b"per cent %41?mode=memory#x.db"[..], b"\xff\xfe.db", "geschäft'\";.db".as_bytes()] {
        let path = world.root.path().join("odd").join(OsStr::from_bytes(name));
        let store = Sqlite::open(&path, options_of(world.root.path())).unwrap();
        store.add(&super::sample::full("acme"), &app("app-1", "one")).unwrap();
        drop(store);
        assert!(Sqlite::open(&path, options_of(world.root.path())).unwrap().read("acme").is_ok());
        assert!(path.exists());
        let mut backup = path.into_os_string();
        backup.push(".backup");
        assert!(Path::new(&backup).exists());
    }
    assert_eq!(fs::read_dir(world.root.path().join("odd")).unwrap().count(), 3 * 5);
}
