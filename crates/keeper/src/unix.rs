//! What only Unix has: mode bits, the boot id, a clock that counts suspend. It stands in this one small module so that
//! other systems can follow.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// Opens a file for writing, readable for its owner only; never through a symbolic link.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(path)
}

/// Opens a file to append to, readable for its owner only; never through a symbolic link.
pub(crate) fn append_private(path: &Path) -> io::Result<File> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(no_follow).open(path)
}

/// Names a lock: it holds on one running kernel, and on this very file. Where somebody has deleted the lock file, the
/// next one of its name is another lock.
pub(crate) fn lock_name(lock_file: &File) -> io::Result<String> {
    let metadata = lock_file.metadata()?;
    Ok(format!("{}/{:x}-{:x}", kernel_id(), metadata.dev(), metadata.ino()))
}

/// Makes a file that only its owner may read; refuses when one is there.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes a directory (and those above it) that only its owner may enter.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes the entries of a directory durable: a renamed file is only there for good after this.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// True when everybody may write here and nothing (no sticky bit) keeps them from replacing others' files.
pub(crate) fn is_open_to_all(metadata: &Metadata) -> bool {
    metadata.mode() & 0o002 != 0 && metadata.mode() & 0o1000 == 0
}

/// True when somebody other than its owner may read the file.
pub(crate) fn is_readable_by_others(metadata: &Metadata) -> bool {
    metadata.mode() & 0o044 != 0
}

/// True when the owner has taken the right to write from himself.
pub(crate) fn is_read_only(metadata: &Metadata) -> bool {
    metadata.mode() & 0o200 == 0
}

/// Keeps this process's memory out of core dumps, and away from debuggers of the same user (law 10). The limit alone
/// does not bind where the kernel pipes dumps into a program; the flag does, and the limit serves systems without it.
pub fn forbid_core_dumps() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Core, none) {
        tracing::debug!(%error, "core dumps could not be limited");
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::debug!(%error, "core dumps could not be forbidden");
    }
}

/// Names the running kernel: a kernel lock tells for sure that its holder died only within the same one. Containers
/// on one machine share it, which host names would not show. No process outlives its kernel, so one look is enough.
pub(crate) fn kernel_id() -> String {
    static KERNEL_ID: OnceLock<String> = OnceLock::new();
    let look = || {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        boot_id.map_or_else(
            |_| rustix::system::uname().nodename().to_string_lossy().into_owned(),
            |id| id.trim().to_owned(),
        )
    };
    KERNEL_ID.get_or_init(look).clone()
}

/// Time since boot, suspend included: a deadline kept on it cannot be slept through.
pub(crate) fn since_boot() -> Duration {
    // Linux counts suspend in a clock of its own; elsewhere the monotonic one does.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
