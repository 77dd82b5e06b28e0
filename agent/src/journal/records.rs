//! What is recorded, and what changed since the file was last written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use reloadlet_core::model::frozen::Remembered;
use reloadlet_core::model::journal::{
    CarriedOut, Endings, Handled, JournalKey, JournalSnapshot, JournalUpdate, LastDelivery, Rereads,
};
use reloadlet_core::model::names::{Name, PodUid};
use reloadlet_core::model::pod::Pod;

/// The newest state of each key, to be written in one go. What is forgotten goes first.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) forgotten: BTreeSet<PodUid>,
    pub(super) handled: BTreeMap<JournalKey, Handled>,
    pub(super) endings: BTreeMap<(PodUid, Name), Option<Endings>>,
    pub(super) rereads: BTreeMap<(PodUid, Name), Option<Rereads>>,
    pub(super) deliveries: BTreeMap<(PodUid, Name), Option<Arc<LastDelivery>>>,
    pub(super) carried: BTreeMap<PodUid, Arc<CarriedOut>>,
    pub(super) frozen: BTreeMap<PodUid, Arc<Vec<Remembered>>>,
    pub(super) pods: BTreeMap<PodUid, Arc<Pod>>,
}

impl Changes {
    pub(super) fn add(&mut self, update: JournalUpdate) {
        match update {
            JournalUpdate::Handled(key, handled) => {
                self.handled.insert(key, handled);
            }
            JournalUpdate::Endings(pod, container, endings) => {
                self.endings.insert((pod, container), endings);
            }
            JournalUpdate::Rereads(pod, container, rereads) => {
                self.rereads.insert((pod, container), rereads);
            }
            JournalUpdate::LastDelivery(pod, container, delivery) => {
                self.deliveries.insert((pod, container), delivery);
            }
            JournalUpdate::CarriedOut(pod, carried) => {
                self.carried.insert(pod, carried);
            }
            JournalUpdate::Frozen(pod, known) => {
                self.frozen.insert(pod, known);
            }
            JournalUpdate::Pod(pod) => {
                self.pods.insert(pod.uid.clone(), pod);
            }
            JournalUpdate::Forget(pod) => {
                self.pods.remove(&pod);
                self.handled.retain(|key, _| key.pod != pod);
                self.endings.retain(|(of, _), _| *of != pod);
                self.rereads.retain(|(of, _), _| *of != pod);
                self.deliveries.retain(|(of, _), _| *of != pod);
                self.carried.remove(&pod);
                self.frozen.remove(&pod);
                self.forgotten.insert(pod);
            }
        }
    }

    /// Whether there is nothing but pods and what their containers took at their start: that says nothing of volumes.
    pub(super) fn only_pods(&self) -> bool {
        self.forgotten.is_empty()
            && self.handled.is_empty()
            && self.endings.is_empty()
            && self.rereads.is_empty()
            && self.deliveries.is_empty()
            && self.carried.is_empty()
    }
}

/// All that the file holds, or would hold if it could be written, each with its Unix seconds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) handled: BTreeMap<JournalKey, (Handled, u64)>,
    pub(super) endings: BTreeMap<(PodUid, Name), (Endings, u64)>,
    pub(super) rereads: BTreeMap<(PodUid, Name), (Rereads, u64)>,
    pub(super) deliveries: BTreeMap<(PodUid, Name), Arc<LastDelivery>>,
    pub(super) carried: BTreeMap<PodUid, Arc<CarriedOut>>,
    pub(super) frozen: BTreeMap<PodUid, Arc<Vec<Remembered>>>,
    /// Whether the agent before recorded deliveries.
    pub(super) shows_deliveries: bool,
    /// Whether it had recorded everything when it ended.
    pub(super) is_whole: bool,
    pub(super) pods: BTreeMap<PodUid, Arc<Pod>>,
    /// How the clocks stood to each other; empty where an earlier agent wrote the rest.
    pub(super) clock: String,
}

impl Records {
    pub(super) fn apply(&mut self, changes: &Changes, at: u64) {
        if !changes.forgotten.is_empty() {
            self.handled.retain(|key, _| !changes.forgotten.contains(&key.pod));
            self.endings.retain(|(pod, _), _| !changes.forgotten.contains(pod));
            self.rereads.retain(|(pod, _), _| !changes.forgotten.contains(pod));
            self.deliveries.retain(|(pod, _), _| !changes.forgotten.contains(pod));
            self.carried.retain(|pod, _| !changes.forgotten.contains(pod));
            self.frozen.retain(|pod, _| !changes.forgotten.contains(pod));
            self.pods.retain(|pod, _| !changes.forgotten.contains(pod));
        }
        self.pods.extend(changes.pods.iter().map(|(uid, pod)| (uid.clone(), pod.clone())));
        self.carried.extend(changes.carried.iter().map(|(uid, carried)| (uid.clone(), carried.clone())));
        self.frozen.extend(changes.frozen.iter().map(|(uid, known)| (uid.clone(), known.clone())));
        for (key, handled) in &changes.handled {
            self.handled.insert(key.clone(), (handled.clone(), at));
        }
        for (key, endings) in &changes.endings {
            match endings {
                Some(endings) => self.endings.insert(key.clone(), (*endings, at)),
                None => self.endings.remove(key),
            };
        }
        for (key, rereads) in &changes.rereads {
            match rereads {
                Some(rereads) => self.rereads.insert(key.clone(), (*rereads, at)),
                None => self.rereads.remove(key),
            };
        }
        for (key, delivery) in &changes.deliveries {
            match delivery {
                Some(delivery) => self.deliveries.insert(key.clone(), delivery.clone()),
                None => self.deliveries.remove(key),
            };
        }
    }

    /// Takes over what was handled before, where nothing newer is known. Whether older endings, rereads and deliveries still count
    /// isn't.
    pub(super) fn take_over(&mut self, older: Self) {
        for (key, handled) in older.handled {
            self.handled.entry(key).or_insert(handled);
        }
        for (uid, pod) in older.pods {
            self.pods.entry(uid).or_insert(pod);
        }
        for (uid, carried) in older.carried {
            self.carried.entry(uid).or_insert(carried);
        }
        for (uid, known) in older.frozen {
            self.frozen.entry(uid).or_insert(known);
        }
    }

    pub(super) fn snapshot(&self, existed: bool) -> JournalSnapshot {
        JournalSnapshot {
            existed,
            handled: self.handled.iter().map(|(key, (handled, _))| (key.clone(), handled.clone())).collect(),
            pods: self.pods.values().cloned().collect(),
            endings: self.endings.iter().map(|(key, (endings, _))| (key.clone(), *endings)).collect(),
            rereads: self.rereads.iter().map(|(key, (rereads, _))| (key.clone(), *rereads)).collect(),
            deliveries: self.deliveries.clone(),
            carried: self.carried.clone(),
            frozen: self.frozen.clone(),
            shows_deliveries: self.shows_deliveries,
            is_whole: self.is_whole,
        }
    }
}

/// Seconds since the Unix epoch.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
