//! Which profile's file is read when.

use perennial_core::profile::registry::{self, Looked};
use perennial_core::profile::{Profile, ReplayRule};
use std::sync::atomic::{AtomicUsize, Ordering};

static LOOKED: AtomicUsize = AtomicUsize::new(0);

fn looked() -> usize {
    LOOKED.load(Ordering::Relaxed)
}

/// One test in a file of its own, because where own profiles are looked for is said once in a process.
#[test]
fn a_file_is_looked_for_when_somebody_asks_and_not_before() {
    registry::look_in(|name| {
        LOOKED.fetch_add(1, Ordering::Relaxed);
        if name == "broken" { Looked::Unusable } else { Looked::Absent }
    });
    for built_in in ["concur", "generic"] {
        assert!(Profile::named(built_in).is_some());
    }
    assert_eq!(looked(), 0, "`perennial token` for Concur reads no file");
    for name in ["../../etc/passwd", "Okta", "", "a/b", "a.b", "okta\n"] {
        assert!(Profile::named(name).is_none(), "{name}");
    }
    assert_eq!(looked(), 0, "a name that is none leads to no file");
    let okta = Profile::named("okta").expect("it comes along");
    assert!(std::ptr::eq(okta, Profile::named("okta").expect("it is known by now")));
    assert_eq!(looked(), 1);
    assert!(Profile::named("broken").is_none());
    let careful = registry::named_or_careful("broken");
    assert_eq!((careful.name, careful.replay), ("broken", ReplayRule::Never));
    let before = looked();
    let _ = registry::named_or_careful("broken");
    assert_eq!(looked(), before, "what is wrong is told once");
}
