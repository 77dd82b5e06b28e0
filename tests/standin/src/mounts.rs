//! The mounts that the kubelet makes on the host.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::error::{At, Error};

/// Makes a directory a shared mount of its own, as the kubelet does with its root directory.
pub(crate) fn make_shared(dir: &Path) -> Result<(), Error> {
    rustix::mount::mount_bind(dir, dir).at("bind", dir)?;
    let flags = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    rustix::mount::mount_change(dir, flags).at("make-rshared", dir)
}

/// Mounts a tmpfs with the kubelet's options; `noswap` only where the kernel has it.
pub(crate) fn tmpfs(dir: &Path) -> Result<(), Error> {
    let mount = |options: &str| {
        let data = CString::new(options).map_err(|_nul| Errno::INVAL)?;
        rustix::mount::mount("tmpfs", dir, "tmpfs", MountFlags::empty(), Some(data.as_c_str()))
    };
    match mount("size=67108864,noswap") {
        Err(Errno::INVAL) => mount("size=67108864").at("mount tmpfs", dir),
        other => other.at("mount tmpfs", dir),
    }
}

pub(crate) fn bind(source: &Path, target: &Path) -> Result<(), Error> {
    rustix::mount::mount_bind(source, target).at("bind", target)
}

/// A plain umount: EBUSY when something pins the mount for longer than a moment. A moment, because a process that
/// another thread is just starting has, until its exec, copies of all files that this process has open.
pub(crate) fn unmount(dir: &Path) -> Result<(), Error> {
    const MOMENT: Duration = Duration::from_millis(100);
    let deadline = Instant::now() + MOMENT;
    loop {
        match rustix::mount::unmount(dir, UnmountFlags::empty()) {
            Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            other => return other.at("umount", dir),
        }
    }
}

/// Detaches a mount even if something uses it. For the end only.
pub(crate) fn detach(dir: &Path) -> Result<(), Error> {
    rustix::mount::unmount(dir, UnmountFlags::DETACH).at("umount", dir)
}

/// Whether a directory or file is a mount point.
pub(crate) fn is_mount_point(path: &Path) -> Result<bool, Error> {
    Ok(below(path)?.iter().any(|point| point == path))
}

/// The mount points at and below a path, innermost first.
pub(crate) fn below(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let file = Path::new("/proc/self/mountinfo");
    let text = std::fs::read_to_string(file).at("read", file)?;
    let mut found: Vec<_> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| PathBuf::from(point.replace("\\040", " ")))
        .filter(|point| point.starts_with(path))
        .collect();
    found.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    Ok(found)
}
