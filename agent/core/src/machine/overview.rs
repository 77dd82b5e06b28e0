//! What the whole node looks like now, for the status and for gauges.

use std::borrow::Cow;

use crate::machine::node::Machine;
use crate::machine::pod::PodMachine;
use crate::machine::reload::Target;
use crate::machine::status::{
    Age, ContainerStatus, Counts, PodStatus, ProblemStatus, ToldStatus, VersionStatus, VolumeStatus,
};
use crate::model::closed::Closed as _;
use crate::model::generation::Generation;
use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::model::pod::Pod;
use crate::model::time::Time;
use crate::policy::problem::Problem;
use crate::propagation::strategy::Strategy;

impl Machine {
    /// Every pod that asked for something, as it is now.
    pub fn status(&self, now: Time) -> Vec<PodStatus> {
        let invalid = self.invalid().map(|invalid| PodStatus {
            problems: invalid.problems.iter().map(ProblemStatus::from).collect(),
            ..nothing_of(&invalid.pod)
        });
        self.watched().map(|pod| pod_status(pod, now)).chain(invalid).collect()
    }

    /// The numbers for gauges.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        let mut count_problem = |problem: &Problem| counts.problems[problem.kind.index()] += 1;
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
                let place = stale.reason.index();
                counts.stale[place] += 1;
                let oldest = &mut counts.oldest_stale[place];
                *oldest = Some(oldest.map_or(stale.since, |since| since.min(stale.since)));
            }
            for watched in pod.volumes().values() {
                counts.volumes[watched.plan().kind.index()] += 1;
            }
        }
        counts
    }
}

/// A pod of which nothing is known but who it is.
fn nothing_of(pod: &Pod) -> PodStatus {
    PodStatus {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        problems: Vec::new(),
        volumes: Vec::new(),
        containers: Vec::new(),
        stale: Vec::new(),
        not_nudged: None,
    }
}

fn pod_status(pod: &PodMachine, now: Time) -> PodStatus {
    let volumes = pod.volumes().values().map(|watched| {
        let (plan, state) = (watched.plan(), watched.state());
        VolumeStatus {
            name: plan.name.clone(),
            kind: plan.kind.into(),
            generation: state.generation().map(name_of),
            settled_seconds_ago: state.settled().map(|settled| Age(now.since(settled.settled))),
            wanted: versions(watched.versions_wanted()),
            on_disk: state.generation().map_or_else(Vec::new, |now| versions(watched.versions_of(now))),
        }
    });
    PodStatus {
        problems: pod.problem().into_iter().map(ProblemStatus::from).collect(),
        volumes: volumes.collect(),
        containers: pod.targets().iter().map(|target| container_status(pod, target, now)).collect(),
        stale: pod.stale().into_iter().map(|stale| stale.status(now)).collect(),
        not_nudged: pod.not_nudged().map(not_nudged),
        ..nothing_of(pod.pod())
    }
}

fn not_nudged(strategy: Strategy) -> String {
    format!("the kubelet's configMapAndSecretChangeDetectionStrategy is {strategy}")
}

fn container_status(pod: &PodMachine, target: &Target, now: Time) -> ContainerStatus {
    let processes = target.processes();
    let missing = match (processes.chosen(), processes.why_missing()) {
        (Some(_), _) => None,
        (None, Some(why)) => Some(why.sentence()),
        (None, None) => Some(Cow::Borrowed("not looked for yet")),
    };
    let told = target.progress().iter().map(|(name, progress)| {
        let watched = pod.volumes().get(name);
        let versions_held = |generation| watched.map(|watched| versions(watched.versions_of(generation)));
        ToldStatus {
            name: name.clone(),
            handled: progress.handled().map(name_of),
            waiting: progress.pending().map(|pending| name_of(&pending.generation)),
            delivered: progress.holds().and_then(versions_held).unwrap_or_default(),
        }
    });
    ContainerStatus {
        name: target.container().clone(),
        signal: target.signal().to_string(),
        pids: processes.told().map(|process| process.pid).collect(),
        missing,
        is_suspended: target.is_suspended(),
        last_outcome: target.last().map(|(outcome, _)| outcome.into()),
        last_seconds_ago: target.last().map(|(_, at)| Age(now.since(at))),
        volumes: told.collect(),
    }
}

fn name_of(generation: &Generation) -> Name {
    generation.as_str().into()
}

fn versions(of: Vec<(ObjectRef, Option<Name>)>) -> Vec<VersionStatus> {
    of.into_iter().map(VersionStatus::from).collect()
}
