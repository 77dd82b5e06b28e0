//! Names and directories of pod cgroups.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{At, Error};
use crate::options::{CgroupDriver, Hierarchy, NodeOptions, Runtime};
use crate::spec::Qos;

/// The node's part of the cgroup hierarchies.
#[derive(Debug)]
pub(crate) struct Cgroups {
    /// The mounts of the hierarchies that hold the pods.
    mounts: Vec<PathBuf>,
    /// What the agent gets as its cgroup root.
    root: PathBuf,
    /// The node's own level, `/reloadlet-<pid>-<n>`.
    prefix: String,
    driver: CgroupDriver,
    runtime: Runtime,
    kind: bool,
}

const BASE: &str = "/sys/fs/cgroup";

/// The mounts that a hierarchy needs, and the agent's cgroup root.
pub(crate) fn mounts(hierarchy: Hierarchy) -> (Vec<PathBuf>, PathBuf) {
    let base = PathBuf::from(BASE);
    match hierarchy {
        Hierarchy::Unified if base.join("cgroup.procs").exists() => (vec![base.clone()], base),
        Hierarchy::Unified => (vec![base.join("unified")], base.join("unified")),
        Hierarchy::V1 => (vec![base.join("systemd"), base.join("pids")], base),
    }
}

impl Cgroups {
    /// Makes the node's own level.
    pub(crate) fn new(options: &NodeOptions, name: &str) -> Result<Self, Error> {
        let (mounts, root) = mounts(options.hierarchy);
        for mount in &mounts {
            let procs = mount.join("cgroup.procs");
            fs::metadata(&procs).at("find the cgroup hierarchy", &procs)?;
        }
        let cgroups = Self {
            mounts,
            root,
            prefix: format!("/{name}"),
            driver: options.driver,
            runtime: options.runtime,
            kind: options.kind_prefix,
        };
        cgroups.create(&cgroups.prefix)?;
        Ok(cgroups)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The pod's cgroup path, as `/proc/<pid>/cgroup` has it.
    pub(crate) fn pod(&self, uid: &str, qos: Qos) -> String {
        let mut parts = Vec::new();
        if self.kind {
            parts.push("kubelet".to_owned());
        }
        parts.push("kubepods".to_owned());
        match qos {
            Qos::Guaranteed => {}
            Qos::Burstable => parts.push("burstable".to_owned()),
            Qos::BestEffort => parts.push("besteffort".to_owned()),
        }
        parts.push(format!("pod{uid}"));
        let mut path = self.prefix.clone();
        let mut slice = String::new();
        for part in parts {
            path.push('/');
            match self.driver {
                CgroupDriver::Cgroupfs => path.push_str(&part),
                CgroupDriver::Systemd => {
                    if !slice.is_empty() {
                        slice.push('-');
                    }
                    slice.push_str(&part.replace('-', "_"));
                    path.push_str(&slice);
                    path.push_str(".slice");
                }
            }
        }
        path
    }

    /// The leaf's directory name.
    pub(crate) fn leaf(&self, id: &str) -> String {
        match (self.driver, self.runtime) {
            (CgroupDriver::Systemd, Runtime::Containerd) => format!("cri-containerd-{id}.scope"),
            (CgroupDriver::Systemd, Runtime::Crio | Runtime::CrioCrun) => format!("crio-{id}.scope"),
            (CgroupDriver::Systemd, Runtime::CriDockerd) => format!("docker-{id}.scope"),
            (CgroupDriver::Cgroupfs, Runtime::Crio | Runtime::CrioCrun) => format!("crio-{id}"),
            (CgroupDriver::Cgroupfs, Runtime::Containerd | Runtime::CriDockerd) => id.to_owned(),
        }
    }

    /// The level below the leaf that holds the processes.
    pub(crate) fn inner(&self) -> Option<&'static str> {
        match self.runtime {
            Runtime::CrioCrun => Some("container"),
            Runtime::Containerd | Runtime::Crio | Runtime::CriDockerd => None,
        }
    }

    /// The sandbox is an empty directory without a process: CRI-O drops the infra container where it can.
    pub(crate) fn drops_infra(&self) -> bool {
        matches!(self.runtime, Runtime::Crio | Runtime::CrioCrun)
    }

    /// The scheme of container IDs in the pod's status.
    pub(crate) fn scheme(&self) -> &'static str {
        match self.runtime {
            Runtime::Containerd => "containerd",
            Runtime::Crio | Runtime::CrioCrun => "cri-o",
            Runtime::CriDockerd => "docker",
        }
    }

    /// The directories of a path, one in each hierarchy.
    pub(crate) fn dirs(&self, path: &str) -> Vec<PathBuf> {
        self.mounts.iter().map(|mount| mount.join(path.trim_start_matches('/'))).collect()
    }

    pub(crate) fn create(&self, path: &str) -> Result<(), Error> {
        self.dirs(path).iter().try_for_each(|dir| fs::create_dir_all(dir).at("mkdir", dir))
    }

    /// Removes a cgroup and all below it, which must be without processes.
    pub(crate) fn remove(&self, path: &str) -> Result<(), Error> {
        self.dirs(path).iter().try_for_each(|dir| remove_tree(dir))
    }

    /// Kills what is left anywhere below the node's own level, and removes it.
    pub(crate) fn remove_all(&self) -> Result<(), Error> {
        for dir in self.dirs(&self.prefix) {
            kill_tree(&dir)?;
        }
        self.remove(&self.prefix)
    }
}

/// Kills every process in a cgroup and below.
pub fn kill_tree(dir: &Path) -> Result<(), Error> {
    if !dir.exists() {
        return Ok(());
    }
    let procs = dir.join("cgroup.procs");
    for pid in fs::read_to_string(&procs).at("read", &procs)?.lines().filter_map(|line| line.parse().ok()) {
        match rustix::process::Pid::from_raw(pid)
            .map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL))
        {
            Some(Err(rustix::io::Errno::SRCH)) | Some(Ok(())) | None => {}
            Some(Err(error)) => return Err(Error::io("kill", &procs, error)),
        }
    }
    sub_dirs(dir)?.iter().try_for_each(|sub| kill_tree(sub))
}

fn sub_dirs(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).at("read", dir)? {
        let entry = entry.at("read", dir)?;
        if entry.file_type().at("stat", &entry.path())?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes a cgroup and all below it. A dying process keeps its cgroup busy for a moment.
pub fn remove_tree(dir: &Path) -> Result<(), Error> {
    if !dir.exists() {
        return Ok(());
    }
    // The parent first: a leaf that its shim removes meanwhile is no error.
    match sub_dirs(dir) {
        Ok(subs) => subs.iter().try_for_each(|sub| remove_tree(sub))?,
        Err(_) if !dir.exists() => return Ok(()),
        Err(error) => return Err(error),
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(Error::io("rmdir", dir, error)),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
