//! Links the unwinder into the released binary where the system's compiler brings it along. Else it comes as a shared
//! library, and to find, map and initialise that one takes an eighth of the time in which `perennial token` hands out a
//! token (bench/README.md). It is there to print backtraces: a release aborts when it panics.

use std::env;
use std::process::Command;

/// GCC's unwinder as an archive: it comes with the compiler that links for rustc.
const ARCHIVE: &str = "libgcc_eh.a";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if is_release_for_this_linux() && brings_archive("cc") {
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}

fn is_release_for_this_linux() -> bool {
    let is = |variable: &str, wanted: &str| env::var(variable).is_ok_and(|value| value == wanted);
    let native = env::var("HOST").is_ok_and(|host| is("TARGET", &host));
    native
        && is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
}

/// A compiler answers with the full path of what it has, and with the bare name of what it has not.
fn brings_archive(compiler: &str) -> bool {
    let answer = Command::new(compiler).arg(format!("-print-file-name={ARCHIVE}")).output();
    answer.is_ok_and(|answer| answer.stdout.starts_with(b"/"))
}
