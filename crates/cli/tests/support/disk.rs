//! A disk of its own for a store: small, in a mount namespace that nobody else sees.

use super::{Ended, World, binary, skip};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The system grants no mount: what the script then ends with.
const NO_MOUNT: i32 = 77;

/// What a script can say: `p NAME words…` runs the binary, and what came of it is found under that name.
const WORDS: &str = r#"
p() { name=$1; shift; "$PERENNIAL" "$@" >"$OUT/$name.out" 2>"$OUT/$name.err" </dev/null; echo $? >"$OUT/$name.code"; }
fill() { head -c 100000000 /dev/zero >filler 2>/dev/null; true; }
wait_for() { while [ ! -e "$OUT/$1" ]; do sleep 0.01; done; }
"#;

/// A script that runs, or has run, with this world's store on a small disk.
pub struct OnDisk {
    child: Child,
    out: PathBuf,
    copy: PathBuf,
}

/// Starts a script in the store's directory, which lies on a disk of so many KiB; `None` where this system grants
/// none, which is an error where one may be expected.
pub fn on_a_disk(world: &World, kibibytes: u32, script: &str) -> Option<OnDisk> {
    let root = world.dir().parent().expect("a root").to_owned();
    let [disk, copy, out] = ["disk", "copy", "out"].map(|name| root.join(name));
    for dir in [&disk, &copy, &out] {
        fs::create_dir_all(dir).expect("a directory");
    }
    let script = format!(
        "mount -t tmpfs -o size={kibibytes}k,mode=700 tmpfs {disk} 2>/dev/null || exit {NO_MOUNT}
         cp -p {dir}/* {disk}/ && cd {disk} || exit {NO_MOUNT}
         {WORDS}
         {script}
         rm -f filler; cp -a . {copy}/",
        disk = disk.display(),
        copy = copy.display(),
        dir = world.dir().display(),
    );
    let namespaces = ["-m", "-rm"].into_iter().find(|namespaces| grants(namespaces));
    let Some(namespaces) = namespaces else {
        skip("this system grants neither root nor users a mount of their own");
        return None;
    };
    let words = world.command(&[]);
    let mut unshare = Command::new("unshare");
    unshare
        .args([namespaces, "sh", "-c", &script])
        .env_clear()
        .envs(words.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("PERENNIAL", binary())
        .env("PERENNIAL_STORE", world.kind.address(&disk))
        .env("OUT", &out)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Some(OnDisk { child: unshare.spawn().expect("unshare starts"), out, copy })
}

/// Whether a tmpfs can be mounted in such namespaces.
fn grants(namespaces: &str) -> bool {
    let script = "mount -t tmpfs -o size=64k tmpfs /tmp";
    let tried = Command::new("unshare").args([namespaces, "sh", "-c", script]).output();
    tried.is_ok_and(|output| output.status.success())
}

impl OnDisk {
    /// Tells the script that something has happened.
    pub fn tell(&self, what: &str) {
        fs::write(self.out.join(what), "").expect("a file");
    }

    /// What came of each command, by its name, and a copy of the disk as it was at the end.
    pub fn ended(self) -> (BTreeMap<String, Ended>, PathBuf) {
        let whole = Ended::of(&self.child.wait_with_output().expect("it ends"));
        assert_eq!(whole.code, 0, "{whole:?}");
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let codes =
            fs::read_dir(&self.out).expect("it is there").map(|entry| entry.expect("an entry").path());
        let codes = codes.filter(|path| path.extension().is_some_and(|ending| ending == "code"));
        let commands = codes.map(|path| {
            let [stdout, stderr] = ["out", "err"].map(|ending| read(&path.with_extension(ending)));
            let code = read(&path).trim().parse().expect("a number");
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, Ended { code, stdout, stderr })
        });
        (commands.collect(), self.copy)
    }
}
