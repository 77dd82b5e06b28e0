//! What a pod's annotations and spec come to: which volumes count, and which containers are told what.

use std::time::Duration;

use crate::model::means::Means;
use crate::model::names::Name;
use crate::model::pod::VolumeKind;
use crate::policy::annotations::PodPolicy;
use crate::policy::files::FileFilter;
use crate::policy::problem::Problem;
use crate::policy::sources::Source;

/// What the operator of the agent allows, whatever pods ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Requests to pods that have the network of their node, where other servers have the same address.
    pub host_network_http: bool,
}

/// What is to be done about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Planned {
    /// Nothing was asked for: the pod is left alone.
    LeftAlone,
    /// Something is wrong: nothing is sent (fail closed).
    Invalid(Vec<Problem>),
    /// What to do.
    Plan(Plan),
}

/// What to do about one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The volumes to watch.
    pub volumes: Vec<VolumePlan>,
    /// The containers to tell; empty where every one has the signal `none`.
    pub targets: Vec<TargetPlan>,
    /// The containers that watch their files themselves (the signal `none`): how long changes take to them is measured.
    pub measured: Vec<MeasuredPlan>,
    /// The process to tell in each container; the first process without it.
    pub process: Option<Name>,
    /// The quiet that a reload waits for; zero for none.
    pub debounce: Duration,
    /// The least time between two reloads of one container.
    pub min_interval: Duration,
    /// The range of which this pod waits its own fixed share.
    pub splay: Duration,
    /// How long a delivery is observed.
    pub verify: Duration,
    /// Whether a process that doesn't handle the signal is sent it all the same.
    pub send_unhandled: bool,
    /// Whether the kubelet is to be asked to publish changes at once.
    pub accelerate: bool,
    /// Whether a container is told once more of what it didn't read.
    pub retell: bool,
}

/// One watched volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePlan {
    /// The pod's name for it.
    pub name: Name,
    /// Its plugin.
    pub kind: VolumeKind,
    /// Which of its files count.
    pub files: FileFilter,
    /// What it is made of.
    pub sources: Vec<Source>,
}

/// One container to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPlan {
    /// The container's name.
    pub container: Name,
    /// By what it is told.
    pub means: Means,
    /// The volumes whose changes it is told of.
    pub volumes: Vec<Name>,
}

/// One container that is told nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasuredPlan {
    /// The container's name.
    pub container: Name,
    /// The volumes whose changes reach it.
    pub volumes: Vec<Name>,
}

impl Plan {
    /// That of a pod of which no reload is wanted: it is only watched.
    pub(crate) fn of_nothing() -> Self {
        let PodPolicy { min_interval, splay, verify, retell, .. } = PodPolicy::default();
        Self {
            volumes: Vec::new(),
            targets: Vec::new(),
            measured: Vec::new(),
            process: None,
            debounce: Duration::ZERO,
            min_interval,
            splay,
            verify,
            send_unhandled: false,
            accelerate: false,
            retell,
        }
    }

    /// The volumes whose changes a container is told of, or watches for itself.
    pub(crate) fn reaching(&self, container: &Name) -> impl Iterator<Item = &Name> {
        let told = self.targets.iter().map(|target| (&target.container, &target.volumes));
        let measured = self.measured.iter().map(|measured| (&measured.container, &measured.volumes));
        told.chain(measured).filter(move |(name, _)| *name == container).flat_map(|(_, volumes)| volumes)
    }

    /// Whether no reload is wanted.
    pub(crate) fn is_of_nothing(&self) -> bool {
        self.volumes.is_empty() && self.targets.is_empty() && self.measured.is_empty()
    }

    /// Whether the pod asks for nudges, and no file counts that the kubelet may rewrite for one: a nudge must trigger nothing.
    pub(crate) fn can_accelerate(&self) -> bool {
        let rewritten = self.volumes.iter().any(|volume| {
            let others = volume.sources.iter().filter_map(|source| match source {
                Source::Other(paths) => Some(paths),
                Source::Object(..) => None,
            });
            others.flatten().any(|path| volume.files.counts(path))
        });
        self.accelerate && !rewritten
    }
}
