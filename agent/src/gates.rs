//! Which volumes of CSI drivers may be looked at. A driver can mount anything, and a look at a file system whose server is gone, or
//! whose program hangs, may never end: so nothing touches such a volume before the mount table says that it is on one that can't.

use std::path::Path;

use reloadlet_core::kernel::mounts::{Device, mounted_at};

/// File systems in memory: drivers that publish as the kubelet does mount one of these.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// What is known of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It is in memory, or on the disk that the kubelet's own directory is on.
    Open,
    /// It is somewhere else.
    Closed,
    /// Nothing is mounted there yet, as far as is known: it may become anything.
    Unknown,
}

/// What the mount table of who looks says of a path; `disk` is where the kubelet's own directory is.
pub(crate) fn gate(mount_table: &str, path: &Path, disk: Option<Device>) -> Gate {
    match path.to_str().and_then(|path| mounted_at(mount_table, path)) {
        Some((device, file_system)) if IN_MEMORY.contains(&file_system) || Some(device) == disk => Gate::Open,
        Some(_) => Gate::Closed,
        None => Gate::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_mounted_from_the_machine_itself_is_looked_at() {
        let table = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:5 / /a rw - tmpfs t rw\n3 1 0:6 / /b rw - nfs4 s:/ rw\n\
                     4 1 0:7 / /c rw - fuse.s3 s rw\n5 1 8:1 /data /d ro - ext4 /dev/a rw\n6 1 8:9 / /e ro - ext4 /dev/iscsi rw\n";
        let disk = Some(Device { major: 8, minor: 1 });
        let of = |path: &str| gate(table, Path::new(path), disk);
        assert_eq!([of("/a"), of("/d")], [Gate::Open; 2]);
        assert_eq!([of("/b"), of("/c"), of("/e")], [Gate::Closed; 3]);
        assert_eq!([of("/f"), of("/a/below")], [Gate::Unknown; 2]);
        assert_eq!(gate("", Path::new("/a"), None), Gate::Unknown);
        assert_eq!(gate(table, Path::new("/d"), None), Gate::Closed);
    }
}
