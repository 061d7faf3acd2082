//! What only Unix has: mode bits, the boot id, a clock that counts suspend. It stands in this one small module so that
//! other systems can follow.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
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

/// Takes the lock of one byte of a file for this open file (not for the process: two of one process exclude each other,
/// too). False when another open file holds it. The kernel gives it back when the file is closed or the process dies.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn try_lock_byte(file: &File, byte: u64, kind: ByteLock) -> io::Result<bool> {
    use nix::fcntl::{FcntlArg, fcntl};
    let wanted = byte_lock(byte, kind)?;
    match fcntl(file, FcntlArg::F_OFD_SETLK(&wanted)) {
        Ok(_) => Ok(true),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// True when another open file holds the lock of this byte.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn is_byte_locked(file: &File, byte: u64) -> io::Result<bool> {
    use nix::fcntl::{FcntlArg, fcntl};
    let mut wanted = byte_lock(byte, ByteLock::Exclusive)?;
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut wanted))?;
    Ok(i32::from(wanted.l_type) != nix::libc::F_UNLCK)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn byte_lock(byte: u64, kind: ByteLock) -> io::Result<nix::libc::flock> {
    use nix::libc;
    let kind = match kind {
        ByteLock::Shared => libc::F_RDLCK,
        ByteLock::Exclusive => libc::F_WRLCK,
        ByteLock::None => libc::F_UNLCK,
    };
    Ok(libc::flock {
        l_type: i16::try_from(kind).map_err(io::Error::other)?,
        l_whence: i16::try_from(libc::SEEK_SET).map_err(io::Error::other)?,
        l_start: libc::off_t::try_from(byte).map_err(io::Error::other)?,
        l_len: 1,
        l_pid: 0,
    })
}

/// Other systems have locks of a process only, and two claims of one process must exclude each other (law 2).
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn try_lock_byte(_: &File, _: u64, _: ByteLock) -> io::Result<bool> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no locks of an open file"))
}

/// Nobody can hold what nobody can take.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn is_byte_locked(_: &File, _: u64) -> io::Result<bool> {
    Ok(false)
}

/// How the lock of a byte is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteLock {
    Shared,
    Exclusive,
    None,
}

/// Has the file system keep room for `length` bytes behind the file's end, which stays where it is. Where a file system
/// cannot, nothing is promised.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn keep_room_behind(file: &File, length: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    let end = file.metadata()?.len();
    match fallocate(file, FallocateFlags::KEEP_SIZE, end, length) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        kept => Ok(kept?),
    }
}

/// Nothing is promised here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn keep_room_behind(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}

/// Which file something is, whatever it is called: its device and its number there.
pub(crate) type Identity = (u64, u64);

/// Which file this is.
pub(crate) fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// Gives a file a name that nothing has yet; refuses when something has it.
pub(crate) fn take_free_name(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Some file systems cannot.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            renamed => return Ok(renamed?),
        }
    }
    std::fs::hard_link(from, to)?;
    std::fs::remove_file(from)
}

/// Makes a file that only its owner may read; refuses when one is there.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Takes from all but its owner the rights to a file.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
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

/// True when everybody may write here, even if they could not replace others' files.
pub(crate) fn is_writable_by_all(metadata: &Metadata) -> bool {
    metadata.mode() & 0o002 != 0
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
