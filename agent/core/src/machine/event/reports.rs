//! How reloads and restarts in place ended, and what a restart asks for.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::mounts::DirId;
use crate::kernel::process::ProcessIdentity;
use crate::model::generation::Generation;
use crate::model::means::Means;
use crate::model::names::{Name, PodUid};
use crate::model::object::Versions;
use crate::model::outcome::Outcome;
use crate::model::pod::Pod;
use crate::model::restart::{Finding, Grant};
use crate::model::signal::Signal;
use crate::model::time::Time;

/// From the API server to the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stages {
    /// When the oldest version that the reload settles was received; the swap's time if that was before.
    pub observed: Time,
    /// From then to the swap.
    pub publish: Duration,
    /// From then to the end of the reload.
    pub propagation: Duration,
    /// What was published.
    pub versions: Versions,
}

/// What is said of the grant of a restart in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartReport {
    /// The pod.
    pub pod: Arc<Pod>,
    /// What was granted.
    pub grant: Grant,
    /// What came of it.
    pub finding: Finding,
    /// Why, where that alone doesn't tell.
    pub reason: Option<Cow<'static, str>>,
    /// How long it took.
    pub took: Duration,
}

/// How a reload of one container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadReport {
    /// The pod.
    pub pod: Arc<Pod>,
    /// The container.
    pub container: Name,
    /// By what it was told, or was to be.
    pub means: Means,
    /// The outcome.
    pub outcome: Outcome,
    /// The generations that it settles, by volume.
    pub generations: Vec<(Name, Generation)>,
    /// The PIDs of the processes, as the host numbers them.
    pub pids: Vec<u32>,
    /// When the newest generation was swapped in.
    pub swapped: Time,
    /// When the reload ended.
    pub ended: Time,
    /// From the swap to the settle of the newest generation.
    pub settle: Duration,
    /// From the settle to the end of the reload.
    pub since_settle: Duration,
    /// From the swap, or from the end of the waits that the pod asked for, to the end of the reload.
    pub deliver: Duration,
    /// Why, where the outcome alone doesn't tell.
    pub reason: Option<Cow<'static, str>>,
    /// Where it is measured: the way from the API server.
    pub stages: Option<Stages>,
}

/// Stop signals that are to be sent together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopOrder {
    /// The pod.
    pub pod: PodUid,
    /// Until when they may be sent by the wall clock, in whole seconds since the epoch.
    pub until: u64,
    /// The held processes, each with its signal; without any it is only asked whether it is too late.
    pub processes: Vec<(ProcessIdentity, Signal)>,
}

/// What a volume holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its directory.
    pub dir: Option<DirId>,
    /// What `..data` names.
    pub generation: Generation,
}
