//! Which pods there are: told, remembered, with or without problems, gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::departed::GRACE;
use super::{AT_A_TIME, Invalid, Machine, REMEMBERED_AFTER, Work};
use crate::machine::context::Context;
use crate::machine::event::{Action, Report};
use crate::machine::pod::restart::Restarts;
use crate::machine::pod::{PodMachine, Restored};
use crate::machine::reload::predecessor::Predecessor;
use crate::model::granted::Given;
use crate::model::journal::{JournalKey, JournalSnapshot, JournalUpdate};
use crate::model::names::{Name, PodUid};
use crate::model::pod::Pod;
use crate::model::time::Time;
use crate::policy::plan::Planned;
use crate::policy::problem::Problem;
use crate::policy::select;

impl Machine {
    pub(super) fn journal_read(&mut self, mut snapshot: JournalSnapshot, now: Time) {
        let remembered = std::mem::take(&mut snapshot.pods);
        self.journal = Some(snapshot);
        self.remembered = (!remembered.is_empty()).then_some((now + REMEMBERED_AFTER, remembered));
        if let Some(pods) = self.early.take() {
            self.pods_synced(pods, now);
        }
    }

    /// Nobody tells the pods: those of last time are served until somebody does.
    pub(super) fn serve_remembered(&mut self, now: Time) {
        if let Some((_, pods)) = self.remembered.take_if(|(due, _)| *due <= now) {
            self.serves_remembered = true;
            pods.into_iter().for_each(|pod| self.pod_listed(pod, now));
        }
    }

    pub(super) fn pods_synced(&mut self, listed: Vec<Arc<Pod>>, now: Time) {
        if self.journal.is_none() {
            self.early = Some(listed);
            return;
        }
        // The very first one can be empty for a moment.
        let is_any_known =
            !self.pods.is_empty() || !self.invalid.is_empty() || self.departed.timeout().is_some();
        let still_first = self.is_first && !self.work.is_empty();
        self.is_first = !self.synced || (self.foreign_until.is_some() && (!is_any_known || still_first));
        let live: BTreeSet<PodUid> = listed.iter().map(|pod| pod.uid.clone()).collect();
        if std::mem::take(&mut self.serves_remembered) {
            for uid in self.pods.keys().filter(|uid| live.contains(*uid)).cloned().collect::<Vec<_>>() {
                self.with(&uid, now, PodMachine::told);
            }
            self.invalid.values_mut().for_each(|invalid| invalid.restored.is_of_last_time = false);
        }
        let known = self.pods.keys().chain(self.invalid.keys());
        self.work = known.filter(|uid| !live.contains(*uid)).cloned().map(Work::Gone).collect();
        let mut new: Vec<Arc<Pod>> = listed.into_iter().filter(|pod| !self.knows(pod)).collect();
        // Others wait for what came of the last delivery to a replica. Of the rest those who have little don't wait for those who
        // have much.
        let told: BTreeSet<&PodUid> =
            self.journal.iter().flat_map(|journal| journal.deliveries.keys()).map(|(pod, _)| pod).collect();
        new.sort_by_key(|pod| (!told.contains(&pod.uid), pod.spec.volumes.len()));
        self.work.extend(new.into_iter().map(Work::Listed));
        if let Some((_, remembered)) = self.remembered.take() {
            self.last_time = remembered;
        }
        self.go_on(now);
    }

    /// Does some of what is left.
    pub(super) fn go_on(&mut self, now: Time) {
        let mut done = 0;
        while done < AT_A_TIME {
            match self.work.pop_front() {
                Some(Work::Gone(uid)) => {
                    done += self.cost(&uid);
                    self.depart(&uid, false, now);
                }
                Some(Work::Listed(pod)) => {
                    done += 1 + pod.spec.volumes.len();
                    self.pod_listed(pod, now);
                }
                None => break,
            }
        }
        if self.work.is_empty() && !self.synced {
            self.synced = true;
            // What nobody takes of it is forgotten as what is known of a pod that isn't listed any more.
            self.foreign_until = Some(now + GRACE);
        }
    }

    /// Whether this is what is known of a pod.
    pub(super) fn knows(&self, pod: &Arc<Pod>) -> bool {
        let invalid = self.invalid.get(&pod.uid).map(|invalid| &invalid.pod);
        let known = self.pods.get(&pod.uid).map(|known| known.pod()).or(invalid);
        known.is_some_and(|known| Arc::ptr_eq(known, pod) || known == pod)
    }

    pub(super) fn pod_listed(&mut self, pod: Arc<Pod>, now: Time) {
        let uid = pod.uid.clone();
        self.invalid_comes_back(&uid);
        if self.knows(&pod) {
            return;
        }
        self.say_ignored(&pod);
        // A status changes often, and a plan can take a millisecond to make (globs are compiled).
        let may_go_on = |known: &PodMachine| known.pod().asks_the_same(&pod) && !known.is_done_with(&pod);
        if self.pods.get(&uid).is_some_and(|known| may_go_on(known)) {
            if self.pods.get(&uid).is_none_or(|known| !known.pod().is_recorded_like(&pod)) {
                self.actions.push_back(Action::Record(JournalUpdate::Pod(pod.clone())));
            }
            self.with(&uid, now, |machine, ctx| machine.update(pod, ctx));
            return;
        }
        match select::plan_of(&pod, self.allowed) {
            Planned::LeftAlone => self.depart(&uid, pod.terminating, now),
            Planned::Invalid(problems) => self.mark_invalid(pod, problems, now),
            Planned::Plan(plan) => {
                let known = self.pods.get(&uid);
                let asks_the_same = known
                    .is_some_and(|known| *known.plan() == plan && known.pod().spec.mark() == pod.spec.mark());
                // Of its containers an early agent may have remembered less, and whether somebody rolls it no agent has.
                let same = asks_the_same
                    && known.is_some_and(|known| {
                        known.pod().spec.containers == pod.spec.containers
                            && select::is_reported(known.pod()) == select::is_reported(&pod)
                    });
                if known.is_none_or(|known| *known.pod() != pod) {
                    self.actions.push_back(Action::Record(JournalUpdate::Pod(pod.clone())));
                }
                if same {
                    self.with(&uid, now, |machine, ctx| machine.update(pod, ctx));
                    return;
                }
                let restored = self.take_restored(&uid, !asks_the_same, now);
                if self.invalid.remove(&uid).is_some() {
                    self.actions.push_back(Action::Report(Report::Solved(pod.clone())));
                }
                let mut ctx = Context { now, out: &mut self.actions, workloads: &mut self.workloads };
                let machine = PodMachine::new(pod, plan, restored, self.measuring, &mut ctx);
                let (due, objects) = (machine.timeout(now), machine.objects());
                self.pods.insert(uid.clone(), Box::new(machine));
                self.set_timer(&uid, due);
                self.need_objects(&uid, objects, now);
                if let Some(sentence) = self.kubelet_root.clone() {
                    self.with(&uid, now, |pod, ctx| pod.set_kubelet_root(Some(&sentence), ctx));
                }
            }
        }
    }

    /// Says that nothing comes of what a pod is granted, where that is new as far as is known.
    fn say_ignored(&mut self, pod: &Arc<Pod>) {
        let known = self.pods.get(&pod.uid).and_then(|known| known.pod().given.as_deref());
        if let Some(Given::Ignored(why)) = pod.given.as_deref()
            && known != pod.given.as_deref()
        {
            self.actions.push_back(Action::Report(Report::GrantIgnored(pod.clone(), why)));
        }
    }

    /// A pod with a problem isn't told anything (fail closed); what is known of its volumes is kept.
    pub(super) fn mark_invalid(&mut self, pod: Arc<Pod>, problems: Vec<Problem>, now: Time) {
        let uid = pod.uid.clone();
        let was_watched = self.pods.contains_key(&uid);
        // What is published while nothing is told was not there at the very first start.
        let restored = Restored { as_is: false, ..self.take_restored(&uid, true, now) };
        if was_watched {
            self.actions.push_back(Action::Unwatch(uid.clone()));
            self.set_timer(&uid, None);
            self.need_objects(&uid, BTreeSet::new(), now);
        }
        if self.invalid.get(&uid).is_none_or(|known| known.pod != pod) {
            self.actions.push_back(Action::Record(JournalUpdate::Pod(pod.clone())));
        }
        let now_invalid = Invalid { pod: pod.clone(), problems: problems.clone(), restored };
        let known = self.invalid.insert(uid, now_invalid).map_or_else(Vec::new, |before| before.problems);
        // New ones first: what waits to be said of the pod keeps its place.
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            self.actions.push_back(Action::Report(Report::Problem(pod.clone(), problem.clone())));
        }
        for problem in known.into_iter().filter(|problem| !problems.contains(problem)) {
            self.actions.push_back(Action::Report(Report::Mended(pod.clone(), problem)));
        }
    }

    /// What is known of a pod's volumes: from its machine, which ends with this, or from the journal.
    pub(super) fn take_restored(&mut self, uid: &PodUid, other_plan: bool, now: Time) -> Restored {
        if let Some(before) = self.pods.remove(uid) {
            self.files.forget(|(pod, _)| pod == uid);
            return before.into_restored(
                other_plan,
                &mut Context { now, out: &mut self.actions, workloads: &mut self.workloads },
            );
        }
        if let Some(invalid) = self.invalid.get_mut(uid) {
            return std::mem::take(&mut invalid.restored);
        }
        if let Some(restored) = self.come_back(uid, now) {
            return restored;
        }
        let (is_first, is_of_last_time) = (self.is_first, self.serves_remembered);
        self.journal.as_mut().map_or_else(Restored::default, |journal| Restored {
            is_of_last_time,
            ..restored_from(journal, uid, is_first)
        })
    }
}

fn restored_from(journal: &mut JournalSnapshot, uid: &PodUid, first_listing: bool) -> Restored {
    let lowest = JournalKey { pod: uid.clone(), container: "".into(), volume: "".into() };
    let keys: Vec<JournalKey> = journal
        .handled
        .range(lowest..)
        .map(|(key, _)| key)
        .take_while(|key| key.pod == *uid)
        .cloned()
        .collect();
    let handled = keys.into_iter().filter_map(|key| journal.handled.remove_entry(&key)).collect();
    let predecessor = match (journal.existed, journal.shows_deliveries, journal.is_whole) {
        (false, ..) => Predecessor::Nobody,
        (true, false, _) if first_listing => Predecessor::Unknown,
        (true, false, _) => Predecessor::Nobody,
        (true, true, false) => Predecessor::Killed,
        (true, true, true) => Predecessor::Ended,
    };
    Restored {
        handled,
        endings: taken(&mut journal.endings, uid),
        rereads: taken(&mut journal.rereads, uid),
        deliveries: taken(&mut journal.deliveries, uid),
        restarts: Restarts::restored(journal.carried.remove(uid)),
        frozen: journal.frozen.remove(uid).unwrap_or_default(),
        predecessor,
        as_is: first_listing && !journal.existed,
        ..Restored::default()
    }
}

/// What is recorded of a pod's containers.
fn taken<T>(records: &mut BTreeMap<(PodUid, Name), T>, uid: &PodUid) -> Vec<(Name, T)> {
    let lowest = (uid.clone(), Name::from(""));
    let keys: Vec<_> =
        records.range(lowest..).map(|(key, _)| key).take_while(|(pod, _)| pod == uid).cloned().collect();
    keys.into_iter().filter_map(|key| Some((key.1.clone(), records.remove(&key)?))).collect()
}
