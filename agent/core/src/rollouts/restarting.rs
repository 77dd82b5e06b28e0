//! The restart of a workload's pods in place: which pod's turn it is, and how far that one is.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::names::Name;
use crate::model::pod::ContainerKind;
use crate::model::restart::{Finding, Grant, Instance, MOST_CONTAINERS, Said};
use crate::model::time::Time;
use crate::rollouts::event::{Obstacle, Pod, PodContainer, Restart};
use crate::rollouts::record::{moment, seconds};

/// How long a grant can be taken up. An agent that comes later than that leaves the pod alone.
const VALID: Duration = Duration::from_secs(60);
/// How much longer an agent may need to say what came of it, after the time that the pod has to end.
const ANSWER: Duration = Duration::from_secs(30);
/// So long the containers of a pod must have been ready at least: one that ends again at once was ready, too.
pub(crate) const SETTLE: Duration = Duration::from_secs(10);
/// So long the containers of a pod with which a roll has failed must have run before it goes on.
const STEADY: Duration = Duration::from_secs(60);
/// How often a pod is looked at that is restarted.
const LOOK: Duration = Duration::from_secs(2);
/// A container that was started again within this long is started once more only after a pause (the kubelet's back-off forgets a
/// container twice its longest pause after its last end: `kuberuntime_manager.go`, `doBackOff`), with what clocks may be apart.
const BACK_OFF: Duration = Duration::from_secs(10 * 60 + 10);
/// So long a pod that can't be restarted is left alone.
const REFUSED: Duration = Duration::from_secs(3600);
/// A container that was started so often since its grant, beside the start that was meant, doesn't stay.
const MOST_STARTS: u32 = 2;

/// A pod that was granted a restart.
#[derive(Debug)]
pub(crate) struct Watched {
    pod: Name,
    uid: Name,
    grant: Grant,
    since: Time,
    /// How often its containers had been started again before.
    restarts: Option<u32>,
    /// Since when all containers are ready, and which ones they are.
    ready: Option<(Time, Vec<Instance>)>,
    /// Whether the agent must have seen what its mounts show.
    needs_proof: bool,
    /// Whether all that was granted has ended.
    has_ended: bool,
    /// Whether it is its turn, or only of interest what its agent has said.
    is_turn: bool,
}

/// How far a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// It goes on; it is looked at again then.
    Goes(Time),
    /// It has the new content, and is ready.
    Done,
    /// It can't be restarted.
    Stuck(Obstacle),
    /// It doesn't become ready.
    Failed,
}

impl Watched {
    /// It is granted a restart now.
    pub(crate) fn new(restart: &Restart, pod: Option<&Pod>, needs_proof: bool, now: Time) -> Self {
        Self {
            pod: restart.pod.clone(),
            uid: restart.uid.clone(),
            grant: restart.grant.clone(),
            since: now,
            restarts: pod.map(|pod| restarts(pod, &restart.grant)),
            ready: None,
            needs_proof,
            has_ended: false,
            is_turn: true,
        }
    }

    /// It was granted one before, and it isn't known what its agent has said of that.
    pub(crate) fn heard(pod: &Pod, grant: &Grant, now: Time) -> Self {
        Self { is_turn: false, ..Self::again(pod, grant, false, now) }
    }

    /// It was granted one before, by somebody else.
    pub(crate) fn again(pod: &Pod, grant: &Grant, needs_proof: bool, now: Time) -> Self {
        Self {
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            grant: grant.clone(),
            // Where it has ended, nobody knows how long ago.
            since: if has_not_ended(pod, grant) { (moment(grant.until) - VALID).min(now) } else { now },
            restarts: None,
            ready: None,
            needs_proof,
            has_ended: false,
            is_turn: true,
        }
    }

    /// Whether it is its turn, or only of interest what its agent has said.
    pub(crate) const fn is_turn(&self) -> bool {
        self.is_turn
    }

    /// Its UID.
    pub(crate) const fn uid(&self) -> &Name {
        &self.uid
    }

    /// Its name.
    pub(crate) const fn pod(&self) -> &Name {
        &self.pod
    }

    /// Whether it is of interest what its agent has said.
    pub(crate) const fn hears(&self) -> bool {
        !self.has_ended || self.needs_proof
    }

    /// How far it is: it is `pod` now, and its agent has said this of grants.
    pub(crate) fn take(&mut self, pod: Option<&Pod>, said: &[Said], times: Times, now: Time) -> Course {
        // Whatever takes its place starts with what there is.
        let Some(pod) = pod.filter(|pod| pod.uid == self.uid && !pod.is_terminating) else {
            return Course::Done;
        };
        let is_mine = |said: &&Said| said.marker == self.grant.marker && said.until == self.grant.until;
        let finding = said.iter().rev().find(is_mine).map(|said| said.finding);
        let again = Course::Goes(now + LOOK);
        self.has_ended = !has_not_ended(pod, &self.grant);
        if !self.has_ended {
            self.ready = None;
            return match finding.and_then(obstacle) {
                Some(obstacle) => Course::Stuck(obstacle),
                // Nobody else waits for longer than for any roll.
                None if pod.grace > times.limit && now >= self.since + times.limit => {
                    Course::Stuck(Obstacle::StillRuns)
                }
                None if now < self.since + VALID + pod.grace + ANSWER => again,
                None if has_begun(pod, &self.grant) => Course::Failed,
                None => Course::Stuck(Obstacle::Unanswered),
            };
        }
        // Whether it is ready just now or not: one that ends again and again is, at times.
        let restarts = restarts(pod, &self.grant);
        let meant = u32::try_from(self.grant.containers.len()).unwrap_or(u32::MAX);
        let before = *self.restarts.get_or_insert_with(|| restarts.saturating_sub(meant));
        if restarts.saturating_sub(before) >= meant.saturating_add(MOST_STARTS) {
            return Course::Failed;
        }
        let is_ready = pod.is_ready && pod.named(&self.grant).all(|container| container.since.is_some());
        if !is_ready {
            self.ready = None;
            return if now >= self.since + times.limit { Course::Failed } else { again };
        }
        let instances = pod.named(&self.grant).filter_map(|container| container.instance.clone());
        let instances: Vec<Instance> = instances.collect();
        let since = match &self.ready {
            Some((since, known)) if *known == instances => *since,
            Some(_) | None => {
                self.ready = Some((now, instances));
                now
            }
        };
        if now < since + times.min_ready.max(SETTLE) {
            return again;
        }
        match finding {
            _ if !self.needs_proof => Course::Done,
            Some(Finding::Current) => Course::Done,
            Some(_) => Course::Stuck(Obstacle::Unproved),
            None if now >= self.since + times.limit => Course::Stuck(Obstacle::Unproved),
            None => again,
        }
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// How long a pod must have been ready to count as available.
    pub(crate) min_ready: Duration,
    /// So long a pod has until it is ready again.
    pub(crate) limit: Duration,
}

/// Whether a pod has a grant that may still be carried out.
pub(crate) fn is_pending(pod: &Pod, now: Time) -> bool {
    let is_late = |grant: &Grant| now >= moment(grant.until) + pod.grace + ANSWER;
    pod.grant.as_ref().is_some_and(|grant| has_not_ended(pod, grant) && !is_late(grant))
}

/// Whether a pod has a grant that isn't carried out: one of the containers that it names still is the one that was meant.
pub(crate) fn has_not_ended(pod: &Pod, grant: &Grant) -> bool {
    pod.containers.iter().any(|container| is_meant(container, grant))
}

/// Until when a pod that has a grant isn't known to stay: nothing is known of one that has a container that doesn't run.
pub(crate) fn is_unsteady(pod: &Pod, now: Time) -> Option<Time> {
    let until = |container: &PodContainer| container.since.map_or(now + STEADY, |since| since + STEADY);
    let running = pod.containers.iter().filter(|container| container.kind == ContainerKind::Regular);
    running.map(until).max().filter(|until| now < *until)
}

/// Until when a pod hasn't run for as long as shows that it stays.
pub(crate) fn settles(pod: &Pod, min_ready: Duration, now: Time) -> Option<Time> {
    let running = pod.containers.iter().filter(|container| container.kind == ContainerKind::Regular);
    let started = running.filter_map(|container| container.since).max()?;
    Some(started + min_ready.max(SETTLE)).filter(|until| now < *until)
}

fn has_begun(pod: &Pod, grant: &Grant) -> bool {
    pod.named(grant).any(|container| !is_meant(container, grant) || container.since.is_none())
}

fn is_meant(container: &PodContainer, grant: &Grant) -> bool {
    grant.instance(&container.name).is_some_and(|meant| container.instance.as_ref() == Some(meant))
}

fn restarts(pod: &Pod, grant: &Grant) -> u32 {
    pod.named(grant).map(|container| container.restarts).fold(0, u32::saturating_add)
}

/// What an agent has against a restart.
const fn obstacle(finding: Finding) -> Option<Obstacle> {
    match finding {
        Finding::Unhandled => Some(Obstacle::Unhandled),
        Finding::PreStop => Some(Obstacle::PreStop),
        Finding::NoRestart => Some(Obstacle::NoRestart),
        Finding::NotFound => Some(Obstacle::NotFound),
        Finding::Denied => Some(Obstacle::Denied),
        Finding::DryRun => Some(Obstacle::DryRun),
        Finding::StillRuns => Some(Obstacle::StillRuns),
        Finding::Current | Finding::Unproved | Finding::Old => None,
    }
}

/// A pod that has something from before a change, and which containers have it.
pub(crate) type Stale<'a> = (&'a Pod, BTreeMap<&'a Name, &'a PodContainer>);

/// What was said against a restart of these containers of pods, by their UIDs, and until when that counts.
#[derive(Debug, Default)]
pub(crate) struct Refusals(BTreeMap<Name, (Vec<Instance>, Obstacle, Time)>);

impl Refusals {
    /// This was said.
    pub(crate) fn note(&mut self, watched: &Watched, obstacle: Obstacle, now: Time) {
        self.0.retain(|_, (_, _, until)| *until > now);
        let meant = watched.grant.containers.iter().map(|(_, instance)| instance);
        // What came of the restart, where something is against that.
        let ready = watched.ready.iter().flat_map(|(_, instances)| instances);
        let meant = meant.chain(ready).cloned().collect();
        self.0.insert(watched.uid.clone(), (meant, obstacle, now + REFUSED));
    }

    /// Whether nothing shows that what runs in a pod after its restart has the new content.
    pub(crate) fn is_unproved(&self, pod: &Pod, now: Time) -> bool {
        let running = pod.containers.iter().filter_map(|container| container.instance.as_ref());
        self.of(pod, running, now).is_some_and(|(obstacle, _)| obstacle == Obstacle::Unproved)
    }

    /// What was said against any of these containers of a pod.
    pub(crate) fn of<'a>(
        &self,
        pod: &Pod,
        instances: impl IntoIterator<Item = &'a Instance>,
        now: Time,
    ) -> Option<(Obstacle, Time)> {
        let (meant, obstacle, until) = self.0.get(&pod.uid).filter(|(_, _, until)| *until > now)?;
        instances.into_iter().any(|instance| meant.contains(instance)).then_some((*obstacle, *until))
    }
}

/// Whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn<'a> {
    /// That of these containers of this pod.
    Of(&'a Pod, Vec<&'a PodContainer>),
    /// Nobody's: this is against it, until then at least if that is known.
    Nobody(Obstacle, Option<Time>),
}

/// Whose turn it is of these, by the UID of the one whose turn it was. Those that aren't ready go first, then those with the highest
/// ordinals, as in a StatefulSet's own roll. `is_exact` says that it is nobody's as long as anything is against any of them.
pub(crate) fn turn<'a>(
    mut stale: Vec<Stale<'a>>,
    before: Option<&Name>,
    refusals: &Refusals,
    is_exact: bool,
    now: Time,
) -> Option<Turn<'a>> {
    stale.sort_by_key(|(pod, _)| (before != Some(&pod.uid), pod.is_ready, Reverse(pod.ordinal), &pod.name));
    let (mut first, mut nobody) = (None, None);
    for (pod, containers) in stale {
        let containers: Vec<&PodContainer> = containers.into_values().collect();
        match against(pod, &containers, refusals, now) {
            Some((obstacle, until)) => {
                // Whatever ends first is looked at first.
                let is_sooner = |(_, known): &(Obstacle, Option<Time>)| {
                    until.is_some_and(|until| known.is_some_and(|known| until < known))
                };
                if nobody.as_ref().is_none_or(is_sooner) {
                    nobody = Some((obstacle, until));
                }
            }
            None => drop(first.get_or_insert((pod, containers))),
        }
    }
    let nobody = nobody.map(|(obstacle, until)| Turn::Nobody(obstacle, until));
    let first = first.map(|(pod, containers)| Turn::Of(pod, containers));
    if is_exact { nobody.or(first) } else { first.or(nobody) }
}

/// The restart of these containers of a pod.
pub(crate) fn restart(pod: &Pod, containers: &[&PodContainer], marker: &Name, now: Time) -> Restart {
    let meant =
        containers.iter().filter_map(|container| Some((container.name.clone(), container.instance.clone()?)));
    Restart {
        pod: pod.name.clone(),
        uid: pod.uid.clone(),
        version: pod.version.clone(),
        grant: Grant { marker: marker.clone(), until: seconds(now + VALID), containers: meant.collect() },
    }
}

/// What is against a restart of these containers of a pod, and until when.
fn against(
    pod: &Pod,
    containers: &[&PodContainer],
    refusals: &Refusals,
    now: Time,
) -> Option<(Obstacle, Option<Time>)> {
    let of_spec = containers.iter().find_map(|container| match container.kind {
        ContainerKind::Init => Some(Obstacle::Init),
        ContainerKind::Regular | ContainerKind::Sidecar | ContainerKind::Ephemeral => container.obstacle,
    });
    if let Some(obstacle) = of_spec {
        return Some((obstacle, None));
    }
    if containers.len() > MOST_CONTAINERS {
        return Some((Obstacle::TooMany, None));
    }
    if containers.iter().any(|container| container.instance.is_none()) {
        return Some((Obstacle::NotFound, None));
    }
    let instances = containers.iter().filter_map(|container| container.instance.as_ref());
    if let Some((obstacle, until)) = refusals.of(pod, instances, now) {
        return Some((obstacle, Some(until)));
    }
    // One that isn't ready has nothing to lose by a pause.
    let recent = containers.iter().filter(|container| container.restarts > 0 && pod.is_ready);
    let until = recent.filter_map(|container| container.since.map(|since| since + BACK_OFF)).max();
    until.filter(|until| now < *until).map(|until| (Obstacle::Recent, Some(until)))
}

#[cfg(test)]
mod tests;
