//! What the whole node looks like now, for the status and for gauges.

use std::borrow::Cow;

use crate::machine::node::Machine;
use crate::machine::pod::PodMachine;
use crate::machine::pod::restart::Restarts;
use crate::machine::reload::Target;
use crate::machine::reload::progress::Progress;
use crate::machine::status::{
    AbsentStatus, Age, ContainerStatus, Counts, PodStatus, ProblemStatus, RestartStatus, ToldStatus,
    UnreadStatus, VersionStatus, VolumeStatus,
};
use crate::model::closed::{Closed as _, Word};
use crate::model::generation::Generation;
use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::model::pod::Pod;
use crate::model::restart::Grant;
use crate::model::time::Time;
use crate::policy::problem::Problem;
use crate::propagation::strategy::Strategy;

impl Machine {
    /// Every pod that asked for something, as it is now, by namespace and name.
    pub fn status(&self, now: Time) -> Vec<PodStatus> {
        let invalid = self.invalid().map(|invalid| PodStatus {
            problems: invalid.problems.iter().map(ProblemStatus::from).collect(),
            ..nothing_of(&invalid.pod)
        });
        let mut pods: Vec<PodStatus> =
            self.watched().map(|pod| pod_status(pod, now)).chain(invalid).collect();
        let place = |pod: &PodStatus| (pod.namespace.clone(), pod.name.clone(), pod.uid.clone());
        pods.sort_by_cached_key(place);
        pods
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
            if pod.targets().iter().any(|target| target.means().request().is_some()) {
                counts.requesting.insert(pod.pod().namespace.clone());
            }
            pod.problem().into_iter().for_each(&mut count_problem);
            for stale in pod.stale() {
                let place = stale.reason.index();
                counts.stale[place] += 1;
                let oldest = &mut counts.oldest_stale[place];
                *oldest = Some(oldest.map_or(stale.since, |since| since.min(stale.since)));
            }
            for (unread, _) in pod.targets().iter().filter_map(Target::left_how) {
                counts.unread[unread.index()] += 1;
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
        absent: Vec::new(),
        restart: None,
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
            no_layout: pod.has_no_layout(&plan.name, watched),
            on_disk: state.generation().map_or_else(Vec::new, |now| versions(watched.versions_of(now))),
        }
    });
    PodStatus {
        problems: pod.problem().into_iter().map(ProblemStatus::from).collect(),
        volumes: volumes.collect(),
        containers: pod.targets().iter().map(|target| container_status(pod, target, now)).collect(),
        stale: pod.stale().into_iter().map(|stale| stale.status(now)).collect(),
        not_nudged: pod.not_nudged().map(not_nudged),
        absent: pod.absent().into_iter().map(AbsentStatus::from).collect(),
        restart: restart_status(pod.restarts(), now),
        ..nothing_of(pod.pod())
    }
}

fn restart_status(restarts: &Restarts, now: Time) -> Option<RestartStatus> {
    let names = |grant: &Grant| grant.containers.iter().map(|(name, _)| name.clone()).collect();
    if let Some(seen) = restarts.seen() {
        let waits_for = Some(seen.waits_for.to_owned());
        let seconds_ago = Age(now.since(seen.begun));
        return Some(RestartStatus { containers: names(seen.grant), waits_for, finding: None, seconds_ago });
    }
    let (grant, finding, at) = restarts.last()?;
    let finding = Some(finding.into());
    Some(RestartStatus {
        containers: names(grant),
        waits_for: None,
        finding,
        seconds_ago: Age(now.since(at)),
    })
}

fn not_nudged(strategy: Strategy) -> String {
    format!("the kubelet's configMapAndSecretChangeDetectionStrategy is {strategy}")
}

fn container_status(pod: &PodMachine, target: &Target, now: Time) -> ContainerStatus {
    let processes = target.processes();
    let missing: Option<Cow<'static, str>> = match (processes.chosen(), processes.why_missing()) {
        (Some(_), _) => None,
        (None, Some(_)) if target.is_unfound(pod.pod()) => Some(unfound(pod.pod(), target).into()),
        (None, Some(why)) => Some(why.sentence()),
        (None, None) => Some("not looked for yet".into()),
    };
    let told = target.progress().iter().map(|(name, progress)| {
        let watched = pod.volumes().get(name);
        let versions_held = |generation| watched.map(|watched| versions(watched.versions_of(generation)));
        ToldStatus {
            name: name.clone(),
            handled: progress.handled().map(name_of),
            waiting: progress
                .pending()
                .or_else(|| target.asked_for(name))
                .filter(|pending| !pending.again)
                .map(|pending| name_of(&pending.generation)),
            outcome: progress.outcome().map(Word::from),
            holds: held(target, progress).map(name_of),
            delivered: held(target, progress).and_then(versions_held).unwrap_or_default(),
            unread: progress.is_unread() && target.left_how().is_some(),
        }
    });
    let unread =
        target.left_how().map(|(state, deliveries)| UnreadStatus { state: state.into(), deliveries });
    ContainerStatus {
        name: target.container().clone(),
        signal: target.means().to_string(),
        last_answer: target.last_answer().map(str::to_owned),
        pids: processes.told().map(|process| process.pid).collect(),
        missing,
        is_suspended: target.is_suspended(),
        last_outcome: target.last().map(|(outcome, _)| outcome.into()),
        last_seconds_ago: target.last().map(|(_, at)| Age(now.since(at))),
        unread,
        told_again: target.is_told_again(),
        volumes: told.collect(),
    }
}

/// What was looked for of a container that runs, as its pod's status says.
fn unfound(pod: &Pod, target: &Target) -> String {
    let id = pod.status.get(target.container()).map_or_else(String::new, |id| format!(" {}", id.as_str()));
    let sentence = format!(
        "the pod's status says that it runs, and no process was found in a cgroup of container{id} below that of pod {}",
        pod.uid.as_str()
    );
    if pod.spec.runtime_class.is_some() {
        return format!("{sentence}: its runtime class may hide it");
    }
    sentence
}

/// What a container holds of a volume for certain: what it was told of last, or what was there when it started.
fn held<'a>(target: &Target, progress: &'a Progress) -> Option<&'a Generation> {
    progress.held(target.processes().chosen()?.first().started)
}

fn name_of(generation: &Generation) -> Name {
    generation.as_str().into()
}

fn versions(of: Vec<(ObjectRef, Option<Name>)>) -> Vec<VersionStatus> {
    of.into_iter().map(VersionStatus::from).collect()
}
