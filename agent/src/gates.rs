//! Which volumes of CSI drivers may be looked at. A driver can mount anything, and a look at a file system whose server is gone, or
//! whose program hangs, may never end: so nothing touches such a volume before the mount table says that it is on one that can't.

use std::path::Path;

use reloadlet_core::kernel::mounts::file_system_at;

/// File systems that are the machine's own: drivers that publish as the kubelet does write to one of these.
const OWN: [&str; 9] = ["btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs"];

/// Whether what is mounted at a path may be looked at, by the mount table of who looks. What isn't mounted yet may become anything.
pub(crate) fn is_open(mount_table: &str, path: &Path) -> bool {
    let mounted = path.to_str().and_then(|path| file_system_at(mount_table, path));
    mounted.is_some_and(|file_system| OWN.contains(&file_system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_mounted_from_the_machine_itself_is_looked_at() {
        let table = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:5 / /a rw - tmpfs t rw\n3 1 0:6 / /b rw - nfs4 s:/ rw\n\
                     4 1 0:7 / /c rw - fuse.s3 s rw\n";
        assert!(is_open(table, Path::new("/a")));
        for path in ["/b", "/c", "/d", "/a/below"] {
            assert!(!is_open(table, Path::new(path)), "{path}");
        }
    }
}
