//! What is known, for people and gauges: a copy, made when asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::generation::Generation;
use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::model::outcome::Outcome;
use crate::model::pod::{Pod, VolumeKind};
use crate::model::signal::Signal;
use crate::model::time::Time;
use crate::policy::problem::{Problem, ProblemKind};
use crate::propagation::strategy::Strategy;

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodStatus {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Its problems; a pod whose annotations have any isn't told anything.
    pub problems: Vec<Problem>,
    /// Its volumes.
    pub volumes: Vec<VolumeStatus>,
    /// The containers to tell.
    pub containers: Vec<ContainerStatus>,
    /// What isn't as the API server shows it.
    pub stale: Vec<Stale>,
    /// The kubelet's strategy, where the pod isn't nudged for it though it asks for that.
    pub not_nudged: Option<Strategy>,
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeStatus {
    /// The pod's name for it.
    pub name: Name,
    /// Its plugin.
    pub kind: VolumeKind,
    /// What `..data` names.
    pub generation: Option<Generation>,
    /// When that settled; `None` before.
    pub settled: Option<Time>,
    /// The newest versions of its objects on the API server, as far as they are known.
    pub wanted: Vec<(ObjectRef, Option<Name>)>,
    /// The versions on disk, as far as they are known.
    pub on_disk: Vec<(ObjectRef, Option<Name>)>,
}

/// Something in a running container that isn't what the API server shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// The volume; `None` for what isn't one.
    pub volume: Option<Name>,
    /// The container, where it is one container's affair.
    pub container: Option<Name>,
    /// The object, where it isn't a volume.
    pub object: Option<ObjectRef>,
    /// Why.
    pub reason: StaleReason,
    /// Since when.
    pub since: Time,
}

/// Why something is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StaleReason {
    /// The kubelet hasn't published the newest version yet.
    Waiting,
    /// It is on disk, and the process wasn't told.
    Undelivered,
    /// It is on disk, and the process isn't told since the last two signals ended it.
    Held,
    /// The container mounts it by subPath.
    SubPath,
    /// The container has it in its environment.
    Environment,
    /// The object was immutable and made anew: the kubelet doesn't look at it.
    Immutable,
    /// The volume was made anew and the container sees the one before.
    Orphaned,
}

impl StaleReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Undelivered,
        Self::Held,
        Self::SubPath,
        Self::Environment,
        Self::Immutable,
        Self::Orphaned,
    ];

    /// The word for it in metrics and in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Undelivered => "undelivered",
            Self::Held => "held",
            Self::SubPath => "subpath",
            Self::Environment => "env",
            Self::Immutable => "immutable",
            Self::Orphaned => "orphaned",
        }
    }
}

/// One container to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    /// Its name.
    pub name: Name,
    /// Its signal.
    pub signal: Signal,
    /// The processes that would be told.
    pub pids: Vec<u32>,
    /// Why there are none.
    pub missing: Option<&'static str>,
    /// By volume.
    pub generations: Vec<Told>,
    /// Whether further reloads are held.
    pub held: bool,
    /// How the last reload ended.
    pub last: Option<(Outcome, Time)>,
}

/// What a container was told of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The volume.
    pub volume: Name,
    /// The generation that is done with.
    pub handled: Option<Generation>,
    /// The generation that waits.
    pub waiting: Option<Generation>,
    /// The versions of the volume's objects that the container holds, as far as they are known.
    pub delivered: Vec<(ObjectRef, Option<Name>)>,
}

/// Numbers for gauges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pods that are watched.
    pub watched: usize,
    /// Pods whose annotations have problems.
    pub invalid: usize,
    /// The namespaces of these pods.
    pub namespaces: BTreeSet<Name>,
    /// Watched volumes by kind, in the order of [`VolumeKind::ALL`].
    pub volumes: [usize; VolumeKind::ALL.len()],
    /// Problems by kind, in the order of [`ProblemKind::ALL`].
    pub problems: [usize; ProblemKind::ALL.len()],
    /// What is stale by reason, in the order of [`StaleReason::ALL`].
    pub stale: [usize; StaleReason::ALL.len()],
    /// Since when the oldest of each reason is, in the same order.
    pub oldest_stale: [Option<Time>; StaleReason::ALL.len()],
}

impl Counts {
    /// How many problems of a kind stand.
    pub fn problems_of(&self, kind: ProblemKind) -> usize {
        let counted = ProblemKind::ALL.into_iter().zip(self.problems);
        counted.filter(|(counted, _)| *counted == kind).map(|(_, count)| count).sum()
    }
}
