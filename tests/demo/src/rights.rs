//! What the demo needs to be allowed to do.

use std::path::Path;

use rustix::fs::{Access, access};

/// One sentence with the command to use, where something is missing.
pub(crate) fn lacking() -> Option<String> {
    let program = std::env::current_exe().map_or("demo".to_owned(), |path| path.display().to_string());
    if !rustix::process::geteuid().is_root() {
        return Some(format!(
            "The demo makes cgroups, mounts and namespaces of its own, which only root may do: sudo {program}"
        ));
    }
    let hierarchies = ["/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs"];
    let procs = hierarchies.iter().map(Path::new).find(|path| path.exists());
    let writable = procs.is_some_and(|path| access(path, Access::WRITE_OK).is_ok());
    (!writable).then(|| {
        format!(
            "The demo needs a writable cgroup v2 hierarchy at /sys/fs/cgroup, which a container has with: \
             docker run --privileged --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup … {program}"
        )
    })
}
