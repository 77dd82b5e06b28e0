//! Pods that aren't listed any more. A listing can be empty for a moment, as of an API server that has just started or of a
//! pods file that is being replaced, or lack a pod. Nothing is sent to such a pod, but what is known of it is kept for a while:
//! when it comes back it is told what it doesn't hold, and nothing twice. Pods that don't come back are forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{AT_A_TIME, Invalid, Machine};
use crate::machine::context::Context;
use crate::machine::event::{Action, Report};
use crate::machine::pod::{PodMachine, Restored};
use crate::model::journal::JournalUpdate;
use crate::model::names::{Name, PodUid};
use crate::model::pod::Pod;
use crate::model::time::Time;

/// How long what is known of a pod is kept that isn't listed any more.
pub(super) const GRACE: Duration = Duration::from_secs(60);

/// How much is kept of such pods, in pods and their volumes. What is beyond is forgotten at once, of the namespace that has
/// most of it.
const MOST_KEPT: usize = 4096;

/// What is known of a pod that isn't listed any more.
#[derive(Debug)]
enum Left {
    Watched(Box<PodMachine>),
    Invalid(Box<Invalid>),
}

#[derive(Debug)]
struct Departed {
    until: Time,
    left: Left,
}

impl Departed {
    fn pod(&self) -> &Arc<Pod> {
        match &self.left {
            Left::Watched(machine) => machine.pod(),
            Left::Invalid(invalid) => &invalid.pod,
        }
    }

    fn cost(&self) -> usize {
        1 + self.pod().spec.volumes.len()
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct AllDeparted {
    pods: BTreeMap<PodUid, Departed>,
    cost: usize,
}

impl AllDeparted {
    /// When the next one is forgotten.
    pub(super) fn timeout(&self) -> Option<Time> {
        self.pods.values().map(|departed| departed.until).min()
    }

    /// Whether a pod is one of them.
    pub(super) fn contains(&self, uid: &PodUid) -> bool {
        self.pods.contains_key(uid)
    }

    fn add(&mut self, uid: PodUid, departed: Departed) {
        self.cost += departed.cost();
        self.pods.insert(uid, departed);
    }

    fn remove(&mut self, uid: &PodUid) -> Option<Departed> {
        let departed = self.pods.remove(uid)?;
        self.cost -= departed.cost();
        Some(departed)
    }

    /// The one to forget now: its time is over, or there is no room.
    fn next_to_forget(&self, now: Time) -> Option<PodUid> {
        let due = self.pods.iter().find(|(_, departed)| departed.until <= now);
        if let Some((uid, _)) = due {
            return Some(uid.clone());
        }
        if self.cost <= MOST_KEPT {
            return None;
        }
        let mut of_namespaces: BTreeMap<&Name, usize> = BTreeMap::new();
        for departed in self.pods.values() {
            *of_namespaces.entry(&departed.pod().namespace).or_default() += departed.cost();
        }
        let (most, _) = of_namespaces.into_iter().max_by_key(|(_, cost)| *cost)?;
        let mine = self.pods.iter().filter(|(_, departed)| departed.pod().namespace == *most);
        mine.min_by_key(|(_, departed)| departed.until).map(|(uid, _)| uid.clone())
    }
}

impl Machine {
    /// A pod isn't listed any more, or asks for nothing any more: nothing is sent to it from now on.
    pub(super) fn depart(&mut self, uid: &PodUid, is_deleted: bool, now: Time) {
        let watched = self.park(uid, is_deleted, now).map(Left::Watched);
        let Some(left) = watched.or_else(|| self.invalid.remove(uid).map(Box::new).map(Left::Invalid)) else {
            return;
        };
        self.departed.add(uid.clone(), Departed { until: now + GRACE, left });
        while self.departed.cost > MOST_KEPT {
            self.forget_next(now);
        }
    }

    /// Lets go of all that is watched and held for a pod, whose machine comes back.
    fn park(&mut self, uid: &PodUid, is_deleted: bool, now: Time) -> Option<Box<PodMachine>> {
        let mut machine = self.pods.remove(uid)?;
        self.files.forget(|(pod, _)| pod == uid);
        machine
            .park(is_deleted, &mut Context { now, out: &mut self.actions, workloads: &mut self.workloads });
        self.actions.push_back(Action::Unwatch(uid.clone()));
        self.need_objects(uid, BTreeSet::new(), now);
        self.set_timer(uid, None);
        Some(machine)
    }

    /// What is kept of a pod that is listed again, if it was watched. One with problems has them as before.
    pub(super) fn come_back(&mut self, uid: &PodUid, now: Time) -> Option<Restored> {
        let Departed { left, .. } = self.departed.remove(uid)?;
        match left {
            Left::Watched(machine) => Some(machine.into_restored(
                false,
                &mut Context { now, out: &mut self.actions, workloads: &mut self.workloads },
            )),
            Left::Invalid(mut invalid) => Some(std::mem::take(&mut invalid.restored)),
        }
    }

    /// A pod with problems is listed again: it has them as before, whatever comes next.
    pub(super) fn invalid_comes_back(&mut self, uid: &PodUid) {
        if self.departed.pods.get(uid).is_some_and(|departed| matches!(departed.left, Left::Invalid(_)))
            && let Some(Departed { left: Left::Invalid(invalid), .. }) = self.departed.remove(uid)
        {
            self.invalid.insert(uid.clone(), *invalid);
        }
    }

    /// Forgets some of those whose time is over.
    pub(super) fn forget_departed(&mut self, now: Time) {
        let mut done = 0;
        while done < AT_A_TIME && self.departed.timeout().is_some_and(|due| due <= now) {
            done += self.forget_next(now);
        }
        if self.foreign_until.take_if(|until| *until <= now).is_some() {
            self.forget_foreign();
        }
    }

    /// Forgets the next one; how much it was to do.
    fn forget_next(&mut self, now: Time) -> usize {
        let Some(departed) = self.departed.next_to_forget(now).and_then(|uid| self.departed.remove(&uid))
        else {
            return AT_A_TIME;
        };
        let (pod, cost) = (departed.pod().clone(), departed.cost());
        if let Left::Watched(mut machine) = departed.left {
            machine.end(GRACE, &mut Context { now, out: &mut self.actions, workloads: &mut self.workloads });
        }
        let uid = pod.uid.clone();
        self.actions.push_back(Action::Report(Report::Forgotten(pod)));
        self.actions.push_back(Action::Record(JournalUpdate::Forget(uid)));
        cost
    }

    /// What the journal holds of pods that nobody has told since the agent started.
    fn forget_foreign(&mut self) {
        let known = |uid: &PodUid| {
            self.pods.contains_key(uid) || self.invalid.contains_key(uid) || self.departed.contains(uid)
        };
        let last_time = std::mem::take(&mut self.last_time).into_iter();
        let gone = last_time.filter(|pod| !known(&pod.uid)).map(|pod| pod.uid.clone());
        let mut gone: BTreeSet<PodUid> = gone.collect();
        if let Some(journal) = &mut self.journal {
            // Records that no pod took: of pods that went away, or ask for nothing any more.
            gone.extend(std::mem::take(&mut journal.handled).into_keys().map(|key| key.pod));
            gone.extend(std::mem::take(&mut journal.endings).into_keys().map(|(pod, _)| pod));
            gone.extend(std::mem::take(&mut journal.rereads).into_keys().map(|(pod, _)| pod));
            gone.extend(std::mem::take(&mut journal.deliveries).into_keys().map(|(pod, _)| pod));
            gone.extend(std::mem::take(&mut journal.carried).into_keys());
            gone.extend(std::mem::take(&mut journal.frozen).into_keys());
        }
        self.actions.extend(gone.into_iter().map(|uid| Action::Record(JournalUpdate::Forget(uid))));
    }
}
