//! A pod's annotations, parsed once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::files::Globs;
use crate::pod::{Annotations, Name};
use crate::problem::Problem;
use crate::signal::SignalChoice;

/// What reloadlet's keys start with.
pub const PREFIX: &str = "reloadlet.io/";
/// What the keys for one container start with; the container's name follows.
pub const CONTAINER_SIGNAL_PREFIX: &str = "signal.reloadlet.io/";
/// The signal to send, or `none`.
pub const SIGNAL: &str = "reloadlet.io/signal";
/// The container to tell.
pub const CONTAINER: &str = "reloadlet.io/container";
/// The process to tell.
pub const PROCESS: &str = "reloadlet.io/process";
/// The volumes that count.
pub const VOLUMES: &str = "reloadlet.io/volumes";
/// The files that count.
pub const KEYS: &str = "reloadlet.io/keys";
/// The quiet that a reload waits for.
pub const DEBOUNCE: &str = "reloadlet.io/debounce";
/// The least time between two reloads.
pub const MIN_INTERVAL: &str = "reloadlet.io/min-interval";
/// The range of which each pod waits its own share.
pub const SPLAY: &str = "reloadlet.io/splay";
/// The verify window.
pub const VERIFY: &str = "reloadlet.io/verify";
/// What to do about a process that doesn't handle the signal.
pub const UNHANDLED: &str = "reloadlet.io/unhandled";
/// Whether to have the kubelet publish at once.
pub const ACCELERATE: &str = "reloadlet.io/accelerate";
/// A request instead of a signal.
pub const HTTP: &str = "reloadlet.io/http";
/// Whether to roll the workload where a change can't be told in place.
pub const ROLLOUT: &str = "reloadlet.io/rollout";
/// Written by the agent itself.
pub const OBSERVED: &str = "reloadlet.io/observed";
/// kubectl's key for the container that is meant when none is named.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Whether the annotation with this key is read; a pod is decoded without the others.
pub fn is_relevant(key: &str) -> bool {
    key.starts_with(PREFIX) || key.starts_with(CONTAINER_SIGNAL_PREFIX) || key == DEFAULT_CONTAINER
}

/// What a pod's annotations ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPolicy {
    /// `reloadlet.io/signal`.
    pub signal: Option<SignalChoice>,
    /// `reloadlet.io/container`.
    pub container: Option<Name>,
    /// `signal.reloadlet.io/<container>`, by container.
    pub per_container: BTreeMap<Name, SignalChoice>,
    /// `kubectl.kubernetes.io/default-container`.
    pub default_container: Option<Name>,
    /// `reloadlet.io/process`.
    pub process: Option<Name>,
    /// `reloadlet.io/volumes`; never empty.
    pub volumes: Option<Vec<Name>>,
    /// `reloadlet.io/keys`.
    pub keys: Option<Globs>,
    /// `reloadlet.io/debounce`; its default depends on the volumes.
    pub debounce: Option<Duration>,
    /// `reloadlet.io/min-interval`.
    pub min_interval: Duration,
    /// `reloadlet.io/splay`.
    pub splay: Duration,
    /// `reloadlet.io/verify`.
    pub verify: Duration,
    /// `reloadlet.io/unhandled` is `send`.
    pub send_unhandled: bool,
}

/// What the annotations ask for, and everything that is wrong with them; `None` where they ask for nothing.
pub fn policy(annotations: &Annotations) -> (Option<PodPolicy>, Vec<Problem>) {
    let _ = annotations;
    (None, Vec::new())
}
