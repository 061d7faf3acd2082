//! Which file system a path lies on. SQLite's shared memory and the kernel's locks bind one machine only: on a network
//! file system two hosts would both believe to be the only presenter (law 2).

use std::path::{Path, PathBuf};

/// File systems whose files other hosts may write at the same time.
const NETWORK: [&str; 33] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "auristorfs",
    "ceph",
    "coda",
    "davfs",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "ocfs2",
    "orangefs",
    "pvfs2",
    "beegfs",
    "vboxsf",
    "fuse.sshfs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.gcsfuse",
    "fuse.davfs2",
    "fuse.glusterfs",
    "fuse.ceph",
    "fuse.ceph-fuse",
    "fuse.cifs",
    "fuse.curlftpfs",
    "fuse.smbnetfs",
    "fuse.vmhgfs-fuse",
];

/// The network file system that holds `path`, by the text of /proc/self/mountinfo; `None` where it is a local one, or
/// nothing is known.
pub(super) fn network_file_system(mountinfo: &str, path: &Path) -> Option<String> {
    let kind = file_system(mountinfo, path)?;
    NETWORK.contains(&kind.as_str()).then_some(kind)
}

/// The type of the file system that holds `path`.
pub(super) fn file_system(mountinfo: &str, path: &Path) -> Option<String> {
    let mounts = mountinfo.lines().filter_map(read);
    let holding = mounts.filter(|(point, _)| path.starts_with(point));
    // The longest mount point is the nearest; of two on one point the later one lies on top.
    holding.max_by_key(|(point, _)| point.components().count()).map(|(_, kind)| kind)
}

/// Mount point and type of one line (proc(5)): the fifth field, and the first one behind a lone dash.
fn read(line: &str) -> Option<(PathBuf, String)> {
    let mut fields = line.split(' ');
    let point = unescape(fields.nth(4)?);
    let kind = fields.skip_while(|field| *field != "-").nth(1)?;
    Some((PathBuf::from(point), kind.to_owned()))
}

/// Spaces and the like stand there as three octal digits behind a backslash.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:20 / /proc rw - proc proc rw
40 22 0:44 / /home rw,relatime shared:20 master:3 - nfs4 server:/home rw,vers=4.2
41 40 0:45 / /home/me/local rw - xfs /dev/sdb1 rw
42 22 0:46 / /mnt/my\\040share rw - cifs //server/share rw
43 22 0:47 / /over rw - ext4 /dev/sdc1 rw
44 22 0:48 / /over rw - fuse.sshfs me@host: rw
nonsense
";

    fn of(path: &str) -> Option<String> {
        network_file_system(MOUNTS, Path::new(path))
    }

    #[test]
    fn law_2_a_network_file_system_is_recognized() {
        assert_eq!(of("/home/you/perennial.db").as_deref(), Some("nfs4"));
        assert_eq!(of("/mnt/my share/perennial.db").as_deref(), Some("cifs"));
        assert_eq!(of("/over/perennial.db").as_deref(), Some("fuse.sshfs"), "the later mount lies on top");
    }

    #[test]
    fn a_local_one_is_not() {
        assert_eq!(of("/var/lib/perennial.db"), None);
        assert_eq!(of("/home/me/local/perennial.db"), None, "a local disk below a network's");
        assert_eq!(of("/homestead/perennial.db"), None, "names are compared whole");
        assert_eq!(
            network_file_system("", Path::new("/")),
            None,
            "where nothing is known, nothing is refused"
        );
        assert_eq!(file_system(MOUNTS, Path::new("/var/x")).as_deref(), Some("ext4"));
    }
}
