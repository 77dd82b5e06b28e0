//! The container's file system: a root of its own in a mount namespace of its own.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use standin::shim::{Bind, Root};

/// Where the host's /etc is seen. The container's /etc is a directory of links into it, so that volumes can be mounted
/// anywhere below /etc without writing to the host.
const HOST_ETC: &str = "/.host-etc";

fn at<T, E: Into<io::Error>>(result: Result<T, E>, what: &str, path: &Path) -> Result<T, String> {
    result.map_err(|error| format!("{what} {}: {}", path.display(), error.into()))
}

pub(crate) fn make(root: &Root) -> Result<(), String> {
    let host = Path::new("/");
    at(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS), "unshare the mount namespace", host)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    at(rustix::mount::mount_change(host, private), "make-rprivate", host)?;
    let dir = root.staging.as_path();
    if root.light {
        at(rustix::mount::mount_bind(dir, dir), "bind", dir)?;
        programs(dir, &["usr", "bin", "lib", "lib64"])?;
    } else {
        full(dir)?;
    }
    let own = [
        Bind { source: root.workload.clone(), target: PathBuf::from("/workload"), read_only: true },
        Bind { source: root.pod_dir.clone(), target: PathBuf::from("/pod"), read_only: false },
    ];
    for bind in own.iter().chain(&root.binds) {
        mount(dir, bind)?;
    }
    at(std::env::set_current_dir(dir), "chdir", dir)?;
    at(rustix::process::pivot_root(".", "."), "pivot_root", dir)?;
    at(rustix::mount::unmount(".", UnmountFlags::DETACH), "detach the old root at", dir)?;
    at(std::env::set_current_dir("/"), "chdir", host)
}

fn full(dir: &Path) -> Result<(), String> {
    tmpfs(dir, c"mode=755,size=64m")?;
    programs(dir, &["usr", "bin", "sbin", "lib", "lib32", "lib64", "opt"])?;
    for (name, mode) in [
        ("tmp", 0o1777),
        ("run", 0o755),
        ("var", 0o755),
        ("var/tmp", 0o1777),
        ("home", 0o755),
        ("root", 0o700),
        ("proc", 0o555),
        ("dev", 0o755),
        ("etc", 0o755),
    ] {
        let path = dir.join(name);
        at(fs::create_dir(&path), "mkdir", &path)?;
        at(fs::set_permissions(&path, fs::Permissions::from_mode(mode)), "chmod", &path)?;
    }
    at(symlink("../run", dir.join("var/run")), "symlink", &dir.join("var/run"))?;
    for name in ["var/log", "var/lib", "var/cache"] {
        skeleton(&Path::new("/").join(name), &dir.join(name))?;
    }
    let proc = dir.join("proc");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    at(rustix::mount::mount("proc", &proc, "proc", flags, None), "mount proc", &proc)?;
    devices(&dir.join("dev"))?;
    let etc = dir.join(&HOST_ETC[1..]);
    at(fs::create_dir(&etc), "mkdir", &etc)?;
    bind(Path::new("/etc"), &etc, true)?;
    farm(Path::new("/etc"), &dir.join("etc"), Path::new(HOST_ETC))
}

/// The host's programs, read-only; links such as /bin -> usr/bin as links.
fn programs(dir: &Path, names: &[&str]) -> Result<(), String> {
    for name in names {
        let (source, target) = (Path::new("/").join(name), dir.join(name));
        let Ok(kind) = fs::symlink_metadata(&source).map(|data| data.file_type()) else { continue };
        if kind.is_symlink() {
            let link = at(fs::read_link(&source), "readlink", &source)?;
            let link = link.strip_prefix("/").unwrap_or(&link);
            at(there_is_fine(symlink(link, &target)), "symlink", &target)?;
        } else {
            at(there_is_fine(fs::create_dir(&target)), "mkdir", &target)?;
            bind(&source, &target, true)?;
        }
    }
    Ok(())
}

/// The first level of the host's directories, empty, with owner and mode.
fn skeleton(source: &Path, target: &Path) -> Result<(), String> {
    at(fs::create_dir(target), "mkdir", target)?;
    let Ok(entries) = fs::read_dir(source) else { return Ok(()) };
    for entry in entries {
        let entry = at(entry, "read", source)?;
        let data = at(entry.metadata(), "stat", &entry.path())?;
        if data.is_dir() {
            let path = target.join(entry.file_name());
            at(fs::create_dir(&path), "mkdir", &path)?;
            use std::os::unix::fs::MetadataExt;
            at(std::os::unix::fs::chown(&path, Some(data.uid()), Some(data.gid())), "chown", &path)?;
            at(fs::set_permissions(&path, data.permissions()), "chmod", &path)?;
        }
    }
    Ok(())
}

fn devices(dev: &Path) -> Result<(), String> {
    tmpfs(dev, c"mode=755,size=64k")?;
    for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
        let path = dev.join(name);
        let made =
            mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, minor));
        at(made, "mknod", &path)?;
        at(fs::set_permissions(&path, fs::Permissions::from_mode(0o666)), "chmod", &path)?;
    }
    let shm = dev.join("shm");
    at(fs::create_dir(&shm), "mkdir", &shm)?;
    at(fs::set_permissions(&shm, fs::Permissions::from_mode(0o1777)), "chmod", &shm)?;
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        at(symlink(target, dev.join(name)), "symlink", &dev.join(name))?;
    }
    Ok(())
}

/// Fills `dir` with links to the entries of `host`, which the container sees as `seen`.
fn farm(host: &Path, dir: &Path, seen: &Path) -> Result<(), String> {
    for entry in at(fs::read_dir(host), "read", host)? {
        let name = at(entry, "read", host)?.file_name();
        at(symlink(seen.join(&name), dir.join(&name)), "symlink", &dir.join(&name))?;
    }
    Ok(())
}

fn mount(root: &Path, one: &Bind) -> Result<(), String> {
    let is_dir = at(fs::metadata(&one.source), "stat", &one.source)?.is_dir();
    let target = mount_point(root, &one.target, is_dir)?;
    bind(&one.source, &target, one.read_only)
}

/// Makes the mount point and its parents; a link of the farm on the way becomes a directory of links.
fn mount_point(root: &Path, target: &Path, is_dir: bool) -> Result<PathBuf, String> {
    let mut path = root.to_owned();
    let inside = target.strip_prefix("/").unwrap_or(target);
    let count = inside.components().count();
    for (index, name) in inside.components().enumerate() {
        path.push(name);
        let last = index + 1 == count;
        let link = fs::read_link(&path).ok();
        let host = link.as_deref().and_then(|link| link.strip_prefix(HOST_ETC).ok()).map(Path::to_owned);
        if host.is_some() {
            at(fs::remove_file(&path), "unlink", &path)?;
        } else if fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        if last && !is_dir {
            at(fs::write(&path, b""), "make", &path)?;
            continue;
        }
        at(there_is_fine(fs::create_dir(&path)), "mkdir", &path)?;
        if let Some(host) = host.filter(|_| !last) {
            farm(&Path::new("/etc").join(&host), &path, &Path::new(HOST_ETC).join(&host))?;
        }
    }
    Ok(path)
}

fn bind(source: &Path, target: &Path, read_only: bool) -> Result<(), String> {
    at(rustix::mount::mount_bind(source, target), "bind", target)?;
    if read_only {
        let flags = MountFlags::BIND | MountFlags::RDONLY;
        at(rustix::mount::mount_remount(target, flags, c""), "remount read-only", target)?;
    }
    Ok(())
}

fn tmpfs(dir: &Path, options: &std::ffi::CStr) -> Result<(), String> {
    let flags = MountFlags::NOSUID;
    at(rustix::mount::mount("tmpfs", dir, "tmpfs", flags, Some(options)), "mount tmpfs", dir)
}

fn there_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
