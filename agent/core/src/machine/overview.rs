//! What the whole node looks like now, for the status and for gauges.

use crate::machine::node::Machine;
use crate::machine::pod::PodMachine;
use crate::machine::reload::Target;
use crate::machine::status::{ContainerStatus, Counts, PodStatus, StaleReason, Told, VolumeStatus};
use crate::model::pod::VolumeKind;
use crate::policy::problem::{Problem, ProblemKind};

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
            for watched in pod.volumes().values() {
                for (kind, count) in VolumeKind::ALL.iter().zip(&mut counts.volumes) {
                    *count += usize::from(*kind == watched.plan().kind);
                }
            }
        }
        counts
    }
}

fn pod_status(pod: &PodMachine) -> PodStatus {
    let volumes = pod.volumes().values().map(|watched| {
        let (plan, state) = (watched.plan(), watched.state());
        VolumeStatus {
            name: plan.name.clone(),
            kind: plan.kind,
            generation: state.generation().cloned(),
            settled: state.settled().map(|settled| settled.settled),
            wanted: watched.versions_wanted(),
            on_disk: state.generation().map_or_else(Vec::new, |now| watched.versions_of(now)),
        }
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
    let processes = target.processes();
    let missing = match (processes.chosen(), processes.why_missing()) {
        (Some(_), _) => None,
        (None, Some(why)) => Some(why.sentence()),
        (None, None) => Some("not looked for yet"),
    };
    let generations = target.progress().iter().map(|(name, progress)| {
        let watched = pod.volumes().get(name);
        let versions = |generation| watched.map(|watched| watched.versions_of(generation));
        Told {
            volume: name.clone(),
            handled: progress.handled().cloned(),
            waiting: progress.pending().map(|pending| pending.generation.clone()),
            delivered: progress.holds().and_then(versions).unwrap_or_default(),
        }
    });
    ContainerStatus {
        name: target.container().clone(),
        signal: target.signal(),
        pids: processes.told().map(|process| process.pid).collect(),
        missing,
        generations: generations.collect(),
        held: target.is_suspended(),
        last: target.last(),
    }
}
