//! What is known, for people and gauges: a copy, made when asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::generation::Generation;
use crate::machine::Machine;
use crate::outcome::Outcome;
use crate::pod::{Name, Pod, VolumeKind};
use crate::pod_machine::PodMachine;
use crate::problem::Problem;
use crate::signal::Signal;
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
    /// By volume: the generation that is done with, and the one that waits.
    pub generations: Vec<(Name, Option<Generation>, Option<Generation>)>,
    /// Whether further reloads are held.
    pub held: bool,
    /// How the last reload ended.
    pub last: Option<(Outcome, Time)>,
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
    /// Problems by kind, in the order of [`crate::problem::ProblemKind::ALL`].
    pub problems: [usize; crate::problem::ProblemKind::ALL.len()],
}

impl Machine {
    /// Every pod that asked for something.
    pub fn status(&self) -> Vec<PodStatus> {
        let invalid = self.invalid().map(|invalid| PodStatus {
            pod: invalid.pod.clone(),
            problems: invalid.problems.clone(),
            volumes: Vec::new(),
            containers: Vec::new(),
        });
        self.watched().map(pod_status).chain(invalid).collect()
    }

    /// The numbers for gauges.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        let mut count_problem = |problem: &Problem| {
            for (kind, count) in crate::problem::ProblemKind::ALL.iter().zip(&mut counts.problems) {
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
    });
    PodStatus {
        pod: pod.pod().clone(),
        problems: pod.problem().into_iter().cloned().collect(),
        volumes: volumes.collect(),
        containers: pod.targets().iter().map(container_status).collect(),
    }
}

fn container_status(target: &Target) -> ContainerStatus {
    let (pids, missing) = match &target.resolution {
        Resolution::Found(resolved) => {
            (resolved.told.iter().map(|process| process.identity.pid).collect(), None)
        }
        Resolution::Missing(why) => (Vec::new(), Some(why.sentence())),
        Resolution::Unknown => (Vec::new(), Some("not looked for yet")),
    };
    let generations = target.volumes.iter().map(|(name, volume)| {
        let waiting = volume.pending.as_ref().map(|pending| pending.generation.clone());
        (name.clone(), volume.handled.clone(), waiting)
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
