//! The stand-in node: it fakes nothing but the kubelet and the container runtime.
//!
//! Volumes are published by an [`AtomicWriter`] that makes the kubelet's system calls in the kubelet's order; pods are
//! real processes in real cgroups, mount and PID namespaces. It needs root and a writable cgroup hierarchy
//! (see [`require_root`]).
//!
//! ```no_run
//! use standin::{ContainerSpec, Node, NodeOptions, PodSpec, VolumeSpec, payload};
//! # fn main() -> Result<(), standin::Error> {
//! let node = Node::start(NodeOptions::default())?;
//! let pod = node.add_pod(
//!     PodSpec::new("web")
//!         .annotation("reloadlet.io/signal", "SIGHUP")
//!         .volume(VolumeSpec::config_map("conf").key("app.conf", "one\n"))
//!         .container(ContainerSpec::workload("app", &["--read", "/conf/app.conf"]).mount("conf", "/conf")),
//! )?;
//! pod.wait_ready("app")?;
//! node.write_pods_file(&node.dir().join("pods.json"))?;
//! pod.update("conf", payload([("app.conf", "two\n")]))?;
//! pod.wait_signals("app", 1)?;
//! node.shutdown()
//! # }
//! ```

mod agent;
mod atomic_writer;
mod binaries;
mod cgroups;
mod clock;
mod container;
mod error;
mod http;
mod interrupt;
mod manifest;
mod metrics;
mod mounts;
mod node;
mod options;
mod pod;
mod random;
mod runner;
#[doc(hidden)]
pub mod shim;
mod spec;
mod sweep;
mod testing;
mod volumes;
mod workload_log;

pub use agent::{AgentOptions, AgentProcess, Stopped};
pub use atomic_writer::{AtomicWriter, Fault, Payload, WriteOptions, Written, payload};
pub use binaries::sibling_binary;
pub use clock::boottime_ns;
pub use container::{Container, Exec, Exit};
pub use error::Error;
pub use http::{Response, http_get};
pub use interrupt::{Interrupt, Interrupted};
pub use metrics::Metrics;
pub use node::Node;
pub use options::{CgroupDriver, Hierarchy, NodeOptions, Runtime};
pub use pod::Pod;
pub use rustix::process::Signal;
pub use spec::{ContainerKind, ContainerSpec, Mount, PodSpec, Qos, VolumeKind, VolumeSpec};
pub use testing::{Outcome, Skip, require_root, wait_until};
pub use workload_log::{LogRecord, read_log, read_stamps};

/// What every call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;
