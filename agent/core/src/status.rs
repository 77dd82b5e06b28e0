//! What is known, for people and gauges: a copy, made when asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::generation::Generation;
use crate::machine::Machine;
use crate::object::ObjectRef;
use crate::outcome::Outcome;
use crate::pod::{Name, Pod, VolumeKind};
use crate::pod_machine::PodMachine;
use crate::problem::{Problem, ProblemKind};
use crate::signal::Signal;
use crate::strategy::Strategy;
use crate::target::{Resolution, Target};
use crate::time::Time;

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

impl Machine {
    /// Every pod that asked for something.
    pub fn status(&self) -> Vec<PodStatus> {
        let invalid = self.invalid().map(|invalid| PodStatus {
            pod: invalid.pod.clone(),
            problems: invalid.problems.clone(),
            volumes: Vec::new(),
            containers: Vec::new(),
            stale: Vec::new(),
            not_nudged: None,
        });
        self.watched().map(pod_status).chain(invalid).collect()
    }

    /// The numbers for gauges.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        let mut count_problem = |problem: &Problem| {
            for (kind, count) in ProblemKind::ALL.iter().zip(&mut counts.problems) {
                *count += usize::from(*kind == problem.kind);
            }
        };
        for invalid in self.invalid() {
            counts.invalid += 1;
            counts.namespaces.insert(invalid.pod.namespace.clone());
            invalid.problems.iter().for_each(&mut count_problem);
        }
        for pod in self.watched() {
            counts.watched += 1;
            counts.namespaces.insert(pod.pod().namespace.clone());
            pod.problem().into_iter().for_each(&mut count_problem);
            for stale in pod.stale() {
                let counters = counts.stale.iter_mut().zip(&mut counts.oldest_stale);
                for (_, (count, oldest)) in
                    StaleReason::ALL.iter().zip(counters).filter(|(reason, _)| **reason == stale.reason)
                {
                    *count += 1;
                    *oldest = Some(oldest.map_or(stale.since, |since| since.min(stale.since)));
                }
            }
            for (plan, _) in pod.volumes() {
                for (kind, count) in VolumeKind::ALL.iter().zip(&mut counts.volumes) {
                    *count += usize::from(*kind == plan.kind);
                }
            }
        }
        counts
    }
}

fn pod_status(pod: &PodMachine) -> PodStatus {
    let volumes = pod.volumes().map(|(plan, state)| VolumeStatus {
        name: plan.name.clone(),
        kind: plan.kind,
        generation: state.generation().cloned(),
        settled: state.settled().map(|settled| settled.settled),
        wanted: pod.versions_wanted(&plan.name),
        on_disk: state.generation().map_or_else(Vec::new, |now| pod.versions_of(&plan.name, now)),
    });
    PodStatus {
        pod: pod.pod().clone(),
        problems: pod.problem().into_iter().cloned().collect(),
        volumes: volumes.collect(),
        containers: pod.targets().iter().map(|target| container_status(pod, target)).collect(),
        stale: pod.stale(),
        not_nudged: pod.not_nudged(),
    }
}

fn container_status(pod: &PodMachine, target: &Target) -> ContainerStatus {
    let (pids, missing) = match &target.resolution {
        Resolution::Found(resolved) => {
            (resolved.told.iter().map(|process| process.identity.pid).collect(), None)
        }
        Resolution::Missing(why) => (Vec::new(), Some(why.sentence())),
        Resolution::Unknown => (Vec::new(), Some("not looked for yet")),
    };
    let generations = target.volumes.iter().map(|(name, volume)| {
        let held = volume.handled.as_ref().filter(|_| volume.holds_it);
        Told {
            volume: name.clone(),
            handled: volume.handled.clone(),
            waiting: volume.pending.as_ref().map(|pending| pending.generation.clone()),
            delivered: held.map_or_else(Vec::new, |generation| pod.versions_of(name, generation)),
        }
    });
    ContainerStatus {
        name: target.plan.container.clone(),
        signal: target.plan.signal,
        pids,
        missing,
        generations: generations.collect(),
        held: target.is_held(),
        last: target.last,
    }
}
