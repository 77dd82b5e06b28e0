//! Reads below `/proc/<pid>` that need no capability.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use reloadlet_core::cgroup::{Hierarchy, Place, path_in};
use reloadlet_core::lack::Lack;
use reloadlet_core::mounts::{ContainerMounts, Device, root_shown};
use reloadlet_core::pod::PodUid;
use reloadlet_core::process::ProcessIdentity;
use reloadlet_core::procfs::{SignalSet, Stat, Status};
use rustix::io::Errno;

use crate::lack;

/// Where the host's processes are seen.
#[derive(Clone, Debug)]
pub(crate) struct ProcRoot(PathBuf);

/// A read that failed for another reason than the end of the process.
#[derive(Debug, thiserror::Error)]
#[error("can't read {}", .path.display())]
pub(crate) struct ProcError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl ProcError {
    /// What the agent lacks.
    pub(crate) fn lack(&self) -> Lack {
        lack::of(&self.source)
    }
}

impl ProcRoot {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// A file's bytes; `None` when the process is gone.
    fn read(&self, pid: u32, file: &str) -> Result<Option<Vec<u8>>, ProcError> {
        let path = self.0.join(pid.to_string()).join(file);
        let mut bytes = Vec::with_capacity(4096);
        match File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => Ok(Some(bytes)),
            Err(source) if is_gone(&source) => Ok(None),
            Err(source) => Err(ProcError { path, source }),
        }
    }

    fn read_text(&self, pid: u32, file: &str) -> Result<Option<String>, ProcError> {
        Ok(self.read(pid, file)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// `stat`; also `None` when it can't be understood.
    pub(crate) fn stat(&self, pid: u32) -> Result<Option<Stat>, ProcError> {
        Ok(self.read_text(pid, "stat")?.as_deref().and_then(Stat::parse))
    }

    /// `status` of the process, which is its leader thread's. `None` means that the process is gone, and nothing else.
    pub(crate) fn status(&self, pid: u32) -> Result<Option<Status>, ProcError> {
        let Some(text) = self.read_text(pid, "status")? else { return Ok(None) };
        let malformed = || ProcError {
            path: self.0.join(pid.to_string()).join("status"),
            source: io::ErrorKind::InvalidData.into(),
        };
        Status::parse(&text).map(Some).ok_or_else(malformed)
    }

    /// The signals that each of the process's threads blocks.
    pub(crate) fn blocked_in_all_threads(&self, pid: u32) -> Result<Option<SignalSet>, ProcError> {
        let path = self.0.join(pid.to_string()).join("task");
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(source) if is_gone(&source) => return Ok(None),
            Err(source) => return Err(ProcError { path, source }),
        };
        let mut blocked: Option<SignalSet> = None;
        for entry in entries {
            let name = match entry {
                Ok(entry) => entry.file_name(),
                Err(source) if is_gone(&source) => break,
                Err(source) => return Err(ProcError { path, source }),
            };
            let status = self.read_text(pid, &format!("task/{}/status", name.display()))?;
            if let Some(status) = status.as_deref().and_then(Status::parse) {
                blocked = Some(blocked.map_or(status.blocked, |all| all.and(status.blocked)));
            }
        }
        Ok(blocked)
    }

    /// What `mountinfo` shows of the pod; takes 0.1 ms and more.
    pub(crate) fn mounts(&self, pid: u32, pod: &PodUid) -> Result<Option<ContainerMounts>, ProcError> {
        match self.read_text(pid, "mountinfo") {
            Ok(text) => Ok(text.map(|text| ContainerMounts::parse(&text, pod))),
            // A process that is ending has no mounts any more (kernel `fs/proc_namespace.c`, `mounts_open_common`).
            Err(error) if error.source.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The kubelet root that a process's mounts show, as a path in its file system.
    pub(crate) fn kubelet_root(&self, pid: u32, pod: &PodUid) -> Result<Option<(Device, String)>, ProcError> {
        Ok(self.read_text(pid, "mountinfo")?.and_then(|text| root_shown(&text, pod)))
    }

    /// `cmdline`, which can hang behind a process that forks with much memory.
    pub(crate) fn cmdline(&self, pid: u32) -> Result<Option<Vec<u8>>, ProcError> {
        self.read(pid, "cmdline")
    }

    /// Whether the process of this PID is the one that is meant: started then, and in that container of that pod.
    pub(crate) fn is(&self, process: &ProcessIdentity) -> Result<bool, ProcError> {
        let Some(stat) = self.stat(process.pid)? else { return Ok(false) };
        if stat.started != process.started || stat.is_dead() {
            return Ok(false);
        }
        let Some(text) = self.read_text(process.pid, "cgroup")? else { return Ok(false) };
        let hierarchies = [Hierarchy::Unified, Hierarchy::Systemd, Hierarchy::Pids];
        Ok(hierarchies
            .into_iter()
            .filter_map(|hierarchy| path_in(&text, hierarchy))
            .any(|path| Place::of(path).is_in(&process.pod, &process.container)))
    }
}

/// Whether an error means that the process ended (ESRCH comes from reads of files that were opened before).
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reloadlet_core::pod::ContainerId;

    fn own() -> (ProcRoot, u32) {
        (ProcRoot::new("/proc".into()), std::process::id())
    }

    #[test]
    fn this_process_can_be_read() {
        let (proc, pid) = own();
        let status = proc.status(pid).unwrap().unwrap();
        assert_eq!(status.namespace_pids.first(), Some(&pid));
        assert!(!proc.stat(pid).unwrap().unwrap().is_dead());
        assert!(proc.blocked_in_all_threads(pid).unwrap().is_some());
    }

    #[test]
    fn a_process_that_isnt_there_is_none_and_not_an_error() {
        let (proc, _) = own();
        assert!(proc.stat(u32::MAX).unwrap().is_none());
        assert!(proc.status(u32::MAX).unwrap().is_none());
        assert!(proc.blocked_in_all_threads(u32::MAX).unwrap().is_none());
    }

    #[test]
    fn a_process_that_is_ending_has_no_mounts_and_that_is_no_error() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let (proc, pid) = (own().0, child.id());
        // Until it is waited for it is a zombie.
        while !proc.stat(pid).unwrap().unwrap().is_dead() {
            std::thread::yield_now();
        }
        let pod = PodUid::parse("6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").unwrap();
        let mounts = proc.mounts(pid, &pod);
        child.wait().unwrap();
        assert!(mounts.unwrap().is_none());
    }

    #[test]
    fn a_process_outside_the_pods_cgroup_is_never_the_one_that_is_meant() {
        let (proc, pid) = own();
        let started = proc.stat(pid).unwrap().unwrap().started;
        let pod = PodUid::parse("6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").unwrap();
        let container = ContainerId::parse(&"a".repeat(64)).unwrap();
        assert!(!proc.is(&ProcessIdentity { pid, started, pod, container }).unwrap());
    }

    #[test]
    fn a_status_that_cant_be_understood_doesnt_mean_that_the_process_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("7")).unwrap();
        std::fs::write(dir.path().join("7/status"), "Name:\tapp\n").unwrap();
        assert!(ProcRoot::new(dir.path().into()).status(7).is_err());
    }

    #[test]
    fn a_file_that_stands_in_the_way_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("7/stat")).unwrap();
        let error = ProcRoot::new(dir.path().into()).stat(7).unwrap_err();
        assert!(error.to_string().ends_with("/7/stat"), "{error}");
    }
}
