//! The restart of a workload's pods in place, where it asks for that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::names::Name;
use crate::model::restart::Said;
use crate::model::time::Time;
use crate::policy::references::Way;
use crate::policy::rollout::Manner;
use crate::rollouts::changed::Changed;
use crate::rollouts::event::{Listed, Obstacle, Pod, PodContainer, Report, Restart, Wait};
use crate::rollouts::next::{Next, Whose};
use crate::rollouts::pods::Listing;
use crate::rollouts::record::{Prints, Record, Roll, Step};
use crate::rollouts::restarting::{self, Course, Stale, Times, Turn, Watched};
use crate::rollouts::settings::Options;
use crate::rollouts::uses::{Object, Uses};
use crate::rollouts::workload::Progress;

use super::{Case, Proof};

/// What is known of a pod that is restarted.
#[derive(Debug)]
pub(super) enum Look {
    /// It is to be looked at.
    Wanted,
    /// Somebody does.
    Asked,
    /// It was found to be so far.
    Found(Course),
}

impl Case {
    /// A pod of it gets a grant.
    pub(crate) fn grants(&mut self, restart: &Restart, now: Time) {
        let pod = match &self.pods {
            Listing::Known(known) => known.listed.pods.iter().find(|pod| pod.uid == restart.uid),
            Listing::Asked(..) | Listing::Unknown => None,
        };
        let needs_proof = self.needs_proof(&restart.grant.containers);
        self.restart = Some((Watched::new(restart, pod, needs_proof, now), Look::Wanted));
        self.begins();
        self.is_rolled = true;
        self.listings.0 = 0;
        self.pods = Listing::Unknown;
    }

    /// Somebody has said what came of that; `is_taken` if the pod has it.
    pub(crate) fn granted(&mut self, is_taken: bool) {
        self.is_rolled = false;
        if !is_taken {
            self.restart = None;
        }
    }

    /// A pod of it is restarted, as somebody has granted it that.
    pub(crate) fn watches(&mut self, watched: Watched) {
        self.restart = Some((watched, Look::Wanted));
        self.pods = Listing::Unknown;
    }

    /// The pod that is restarted is looked at.
    pub(crate) fn looks(&mut self) {
        if let Some((_, look)) = &mut self.restart {
            *look = Look::Asked;
        }
    }

    /// It was looked at.
    pub(crate) fn looked(&mut self, pod: Option<&Pod>, said: &[Said], options: &Options, now: Time) {
        let times = Times { min_ready: self.workload.min_ready, limit: options.limit };
        if let Some((watched, look)) = &mut self.restart {
            *look = Look::Found(watched.take(pod, said, times, now));
        }
    }

    /// It couldn't be.
    pub(crate) fn unlooked(&mut self, now: Time) {
        match &mut self.restart {
            Some((watched, look)) if watched.is_turn() => {
                *look = Look::Wanted;
            }
            Some((watched, _)) => {
                // Of one that is only to be heard nothing better is known than that it was told.
                self.refusals.note(watched, Obstacle::StillRuns, now);
                self.restart = None;
            }
            None => {}
        }
    }

    /// A pod that may end late, and of which it isn't known what its agent has said: another controller may have granted it that.
    pub(super) fn unheard(&self, listed: &Listed, limit: Duration, now: Time) -> Option<Watched> {
        let is_unheard = |pod: &&Pod| self.ends_late(pod, limit, now) && self.refusal(pod, now).is_none();
        let pod = listed.pods.iter().find(is_unheard)?;
        Some(Watched::heard(pod, pod.grant.as_ref()?, now))
    }

    /// What follows of what the agent of a pod has said of its grant; nothing where that is known.
    fn hear(&mut self, now: Time) -> Option<Next> {
        let (watched, look) = self.restart.as_ref()?;
        match look {
            Look::Asked => return Some(Next::Busy(None)),
            Look::Wanted => return Some(look_at(watched)),
            Look::Found(Course::Stuck(obstacle)) => self.refusals.note(watched, *obstacle, now),
            // Nothing was said against it.
            Look::Found(Course::Goes(_) | Course::Failed) => {
                self.refusals.note(watched, Obstacle::StillRuns, now);
            }
            Look::Found(Course::Done) => {}
        }
        self.restart = None;
        self.pods = Listing::Unknown;
        None
    }

    /// What follows of the restart of a pod that is under way; nothing where none is.
    pub(super) fn follow_restart(&mut self, record: &Record, now: Time) -> Option<Next> {
        if self.restart.as_ref().is_some_and(|(watched, _)| !watched.is_turn()) {
            return self.hear(now);
        }
        if record.restarting().is_none() {
            self.restart = None;
            return None;
        }
        let (watched, look) = self.restart.as_ref()?;
        match *look {
            Look::Asked => return Some(Next::Busy(None)),
            Look::Found(Course::Goes(at)) if now < at => return Some(Next::Busy(Some(at))),
            Look::Wanted | Look::Found(Course::Goes(_)) => return Some(look_at(watched)),
            Look::Found(Course::Done) => self.has_gone_on = true,
            Look::Found(Course::Failed) => {
                self.restart = None;
                return Some(Next::Write(Some(record.ended(Step::Failed)), Some(Report::Failed)));
            }
            Look::Found(Course::Stuck(obstacle)) => {
                self.refusals.note(watched, obstacle, now);
            }
        }
        // Whose turn is next is seen by what the pods are now.
        self.had_turn = Some(watched.uid().clone());
        self.restart = None;
        self.pods = Listing::Unknown;
        None
    }

    /// What there is to wait for before it can be anybody's turn.
    pub(super) fn before_turn(
        &self,
        record: &Record,
        wanted: &Prints,
        listed: &Listed,
        now: Time,
    ) -> Option<Next> {
        let roll = record.partial()?;
        let live = || listed.pods.iter().filter(|pod| !pod.is_terminating);
        if record.restarting().is_some() {
            // Another controller may have granted it, and nobody has seen yet what came of that.
            let is_new = |pod: &Pod| {
                let has_ended =
                    pod.grant.as_ref().is_some_and(|grant| !restarting::has_not_ended(pod, grant));
                has_ended && roll.turn.as_ref() == Some(&pod.uid) && self.had_turn.as_ref() != Some(&pod.uid)
            };
            let goes_on = |pod: &Pod| {
                !self.is_refused(pod, now)
                    && (!pod.is_ready || is_new(pod) || restarting::is_pending(pod, now))
            };
            let mut mine = live().filter_map(|pod| Some((pod, pod.granted(&roll.marker)?)));
            if let Some((pod, grant)) = mine.find(|(pod, _)| goes_on(pod)) {
                let needs_proof = self.needs_proof(&grant.containers);
                return Some(Next::Watch(Watched::again(pod, grant, needs_proof, now)));
            }
        }
        if !has_failed_with(record, wanted) {
            return None;
        }
        let granted = live().filter(|pod| pod.granted(&roll.marker).is_some());
        let until = granted.filter_map(|pod| restarting::is_unsteady(pod, now)).max();
        let is_broken = live().any(|pod| !pod.is_ready);
        (is_broken || until.is_some()).then_some(Next::Wait(Wait::Failed, until))
    }

    /// Whether there is nothing to look at before its pods are available again: one of them has failed with what there is.
    pub(super) fn has_failed_with(&self, record: &Record, wanted: &Prints) -> bool {
        self.workload.progress != Progress::Available && has_failed_with(record, wanted)
    }

    /// Whether something was said against what a pod was granted, or against what came of it.
    fn is_refused(&self, pod: &Pod, now: Time) -> bool {
        self.refusal(pod, now).is_some()
    }

    fn refusal(&self, pod: &Pod, now: Time) -> Option<Obstacle> {
        let meant = pod.grant.iter().flat_map(|grant| &grant.containers).map(|(_, meant)| meant);
        let running = pod.containers.iter().filter_map(|container| container.instance.as_ref());
        self.refusals.of(pod, meant.chain(running), now).map(|(obstacle, _)| obstacle)
    }

    /// Whether a pod was told to end, as far as is known, and has more time for that than others are kept waiting for.
    pub(super) fn ends_late(&self, pod: &Pod, limit: Duration, now: Time) -> bool {
        pod.grace > limit
            && !pod.is_terminating
            && restarting::is_pending(pod, now)
            && self.refusal(pod, now).is_none_or(|obstacle| obstacle == Obstacle::StillRuns)
    }

    /// The containers of a pod that have something from before a change, or of which nothing shows after their restart that they
    /// haven't.
    pub(super) fn stale_of<'a>(
        &self,
        changed: &Changed,
        uses: &Uses,
        beginnings: &BTreeSet<Object>,
        pod: &'a Pod,
        restart: Option<&Name>,
        now: Time,
    ) -> BTreeMap<&'a Name, &'a PodContainer> {
        let mut stale = changed.stale(uses, beginnings, pod, restart);
        if self.refusals.is_unproved(pod, now)
            && let Some(grant) = restart.and_then(|marker| pod.granted(marker))
        {
            stale.extend(pod.named(grant).map(|container| (&container.name, container)));
        }
        stale
    }

    /// The API server refuses what a pod is to be granted.
    pub(crate) fn refused(&mut self, now: Time) {
        if let Some((watched, _)) = self.restart.take() {
            self.refusals.note(&watched, Obstacle::Refused, now);
        }
    }

    /// Whether a pod was restarted, and that isn't written yet.
    pub(crate) const fn take_progress(&mut self) -> bool {
        std::mem::replace(&mut self.has_gone_on, false)
    }

    /// All pods have what there is, and some were restarted in place for it.
    pub(super) fn restarted(
        &self,
        record: &Record,
        wanted: &Prints,
        listed: &Listed,
        causes: Prints,
        now: Time,
    ) -> Next {
        let live = || listed.pods.iter().filter(|pod| !pod.is_terminating);
        let are_ready = live().all(|pod| pod.is_ready);
        // One that has taken the place of another one may not stay, too.
        let of_all = if let Proof::Settles(until) = self.proof(now) { Some(until) } else { None };
        let of_each = live().filter_map(|pod| restarting::settles(pod, self.workload.min_ready, now));
        let settles = of_each.chain(of_all).max();
        match self.workload.progress {
            Progress::Available if are_ready && settles.is_some() => Next::Busy(settles),
            Progress::Available if are_ready && live().next().is_none() => {
                Next::Write(Some(record.restarted(wanted, causes)), Some(Report::Emptied))
            }
            Progress::Available if are_ready => {
                Next::Write(Some(record.restarted(wanted, causes)), Some(Report::Finished))
            }
            Progress::Available | Progress::Rolling | Progress::Unavailable | Progress::Late => {
                Next::Wait(Wait::Unavailable, None)
            }
        }
    }

    /// What is done for these pods: `ready`, if it is somebody's turn. `restart` is the restart in place for what there is now, and
    /// `is_immutable` says whether a kubelet keeps an old content.
    pub(super) fn turn(
        &self,
        stale: Vec<Stale<'_>>,
        listed: &Listed,
        restart: Option<&Roll>,
        is_immutable: bool,
        now: Time,
        ready: impl FnOnce(Whose) -> Next,
    ) -> Next {
        let is_exact = match self.asked.manner {
            Manner::Replace => return ready(Whose::Template(None)),
            Manner::InPlace => false,
            Manner::Either => true,
        };
        let is_stale = |pod: &Pod| stale.iter().any(|(stale, _)| stale.uid == pod.uid);
        let broken = || listed.pods.iter().filter(|pod| !pod.is_terminating && !pod.is_ready);
        if broken().any(|pod| !is_stale(pod)) {
            return Next::Wait(Wait::Unavailable, None);
        }
        // What has taken the place of a pod that was deleted in its turn has the new content, too, and may end of it.
        let newer = listed.pods.iter().filter(|pod| !pod.is_terminating && !is_stale(pod));
        let settles = newer.filter_map(|pod| restarting::settles(pod, self.workload.min_ready, now)).max();
        if settles.is_some() && restart.is_some() {
            return Next::Wait(Wait::Unavailable, settles);
        }
        let has_broken = broken().next().is_some();
        let turn = if is_immutable {
            Some(Turn::Nobody(Obstacle::Immutable, None))
        } else {
            let stale = stale.into_iter().filter(|(pod, _)| !has_broken || !pod.is_ready).collect();
            restarting::turn(
                stale,
                restart.and_then(|roll| roll.turn.as_ref()),
                &self.refusals,
                is_exact,
                now,
            )
        };
        match turn {
            None => Next::Busy(None),
            Some(Turn::Nobody(obstacle, _)) if is_exact => ready(Whose::Template(Some(obstacle))),
            Some(Turn::Nobody(obstacle, until)) => Next::Stuck { obstacle, until },
            Some(Turn::Of(pod, containers)) => ready(match restart {
                Some(roll) => Whose::Pod(restarting::restart(pod, &containers, &roll.marker, now)),
                None => Whose::Pods,
            }),
        }
    }

    /// Whether one of these containers has a part of a volume that stays what it was at its start.
    fn needs_proof<T>(&self, containers: &[(Name, T)]) -> bool {
        let Some((uses, _)) = &self.uses else { return false };
        let has = |name: &Name| {
            let mut all = uses.references().iter().filter(|reference| reference.way == Way::SubPath);
            all.any(|reference| reference.container.as_ref() == Some(name))
        };
        containers.iter().any(|(name, _)| has(name))
    }
}

/// Whether a restart in place for this has failed.
fn has_failed_with(record: &Record, wanted: &Prints) -> bool {
    matches!(&record.step, Step::Failed(failed) if failed.is_in_place && failed.wanted == *wanted)
}

fn look_at(watched: &Watched) -> Next {
    Next::LookAt { pod: watched.pod().clone(), hears: watched.hears() }
}
