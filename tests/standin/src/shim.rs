//! What the node and its shim say to each other. A plan goes in as one JSON argument; lines come back:
//! `pid N`, then `started` or `failed MESSAGE`, then `exited N` or `signaled N`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One thing for a shim to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The `cgroup.procs` directories to join.
    pub cgroups: Vec<PathBuf>,
    /// The cgroup directories to remove at the end, innermost first.
    pub remove: Vec<PathBuf>,
    /// Join the PID namespace of this process, instead of a new one.
    pub join_pid_ns: Option<i32>,
    /// Which file system the process sees.
    pub view: View,
    /// Program and arguments.
    pub command: Vec<String>,
    /// `argv[0]`, where it is not the program.
    pub arg0: Option<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// The user and group to run as; default root.
    pub user: Option<u32>,
    /// Standard output and error.
    pub output: PathBuf,
    /// How long to stay `runc:[2:INIT]`.
    pub init_delay_ms: u64,
    /// Kill what is left in the cgroups when the process ends (a process in a shared PID namespace, or an exec'd one,
    /// is not its namespace's init).
    pub sweep: bool,
}

/// A process's file system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum View {
    /// The mount namespace of this process (`kubectl exec`).
    Of(i32),
    /// A new one.
    New(Root),
}

/// A new root file system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Root {
    /// An empty directory to mount it on; in light mode the root itself.
    pub staging: PathBuf,
    /// Few mounts, on a directory that all containers of the node share.
    pub light: bool,
    /// The workload binary, seen as `/workload`.
    pub workload: PathBuf,
    /// The pod's exchange directory, seen as `/pod`.
    pub pod_dir: PathBuf,
    /// Further bind mounts, in this order.
    pub binds: Vec<Bind>,
}

/// One bind mount.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bind {
    /// On the host.
    pub source: PathBuf,
    /// In the container, absolute.
    pub target: PathBuf,
    /// Whether the container may not write.
    pub read_only: bool,
}

pub use crate::cgroups::{kill_tree, remove_tree};
