//! How a stand-in node is set up.

use std::path::PathBuf;

/// The cgroup hierarchy that holds the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hierarchy {
    /// cgroup v2: `/sys/fs/cgroup/unified` on a hybrid host, else `/sys/fs/cgroup`.
    #[default]
    Unified,
    /// cgroup v1: the hierarchies `systemd` and `pids`, both.
    V1,
}

/// How pod cgroups are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupDriver {
    /// `kubepods/burstable/pod<uid>`.
    #[default]
    Cgroupfs,
    /// `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid_>.slice`.
    Systemd,
}

/// Whose names cgroup leaves and container IDs have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Runtime {
    /// `cri-containerd-<id>.scope` or `<id>`; `containerd://<id>`.
    #[default]
    Containerd,
    /// `crio-<id>.scope` or `crio-<id>`; `cri-o://<id>`. The sandbox is an empty `crio-<id>` directory.
    Crio,
    /// As CRI-O, with the processes one level deeper, in `container`.
    CrioCrun,
    /// `docker-<id>.scope` or `<id>`; `docker://<id>`.
    CriDockerd,
}

/// Options of [`crate::Node::start`].
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// Where the pods' cgroups are.
    pub hierarchy: Hierarchy,
    /// How they are named.
    pub driver: CgroupDriver,
    /// How the leaves are named.
    pub runtime: Runtime,
    /// Cheap containers for hundreds of pods: no sandbox, few mounts, no `/proc`.
    pub light: bool,
    /// Puts the cgroups below `kubelet` resp. `kubelet.slice`, as kind does.
    pub kind_prefix: bool,
    /// Where to put everything; default a new directory below the system's temporary directory. It is removed at the
    /// end, so it must be empty or not exist yet.
    pub root: Option<PathBuf>,
}
