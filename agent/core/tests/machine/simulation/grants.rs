//! Grants of restarts in place: no container is ended that wasn't granted, and none twice for one grant.

use super::*;
use reloadlet_core::machine::event::{Delivery, RestartReport, StopOrder};
use reloadlet_core::model::granted::{Given, Granted};
use reloadlet_core::model::restart::{Grant, Instance};

/// The bit of SIGTERM in a mask.
pub(super) const TERM: u64 = 1 << 14;

/// A grant, by its pod and by the time until which it counts, which is another one for each here.
type Key = (PodUid, u64);

#[derive(Debug, Default)]
pub(super) struct Grants {
    written: u64,
    granted: BTreeMap<Key, Grant>,
    stopped: BTreeSet<(Key, ContainerId)>,
    /// Those in which something ends for that, whatever an agent remembers.
    ending: BTreeSet<ContainerId>,
    said: BTreeSet<Key>,
    /// How many containers were ended, and how many grants were said to have been carried out.
    pub(super) ended: u32,
    pub(super) carried: u32,
}

impl Grants {
    /// Whether a process of a container was sent its stop signal.
    pub(super) fn has_stopped(&self, container: &ContainerId) -> bool {
        self.ending.contains(container)
    }
}

impl Simulation {
    /// A pod is granted that its container is restarted, or a container of before is, or it isn't granted anything any more.
    pub(super) fn grant(&mut self, uid: &PodUid) {
        let Some(container) = self.node.pod(uid).containers.first() else { return };
        let id = if self.rng.percent(10) {
            ContainerId::parse(&"f".repeat(64)).unwrap()
        } else {
            container.id.clone()
        };
        self.grants.written += 1;
        // Some are late when they come.
        let until = if self.rng.percent(10) { self.grants.written } else { 1_000_000 + self.grants.written };
        let grant =
            Grant { marker: "00ff".into(), until, containers: vec![("app".into(), Instance::of(&id))] };
        self.grants.granted.insert((uid.clone(), until), grant.clone());
        let takes_back = self.rng.percent(10);
        let pod = self.pods.get_mut(uid).unwrap();
        let granted = Granted::new(grant, &pod.spec, |_| None);
        pod.given = (!takes_back).then(|| Box::new(Given::Granted(granted)));
        self.sync_soon();
    }

    pub(super) fn stop(&mut self, order: StopOrder) {
        let key = (order.pod.clone(), order.until);
        let grant = self.grants.granted[&key].clone();
        if order.until < 1_000_000 {
            self.answer(Event::Stopped(order.pod, None));
            return;
        }
        let mut taken = Vec::new();
        for (process, signal) in order.processes {
            assert!(self.held.contains(&process), "{process:?} is not held");
            assert_eq!(signal.number(), 15);
            let container = process.container.clone();
            assert!(grant.instance("app").unwrap().is(&container), "{grant} doesn't grant {process:?}");
            let lives = self.node.process(&process).is_some();
            if lives {
                self.grants.ending.insert(container.clone());
                let is_new = self.grants.stopped.insert((key.clone(), container));
                assert!(is_new, "{process:?} is ended twice for {grant}");
                self.grants.ended += 1;
                let after = self.micros(4_000_000);
                self.note_ending(&process, true);
                self.forget_content(&process.pod);
                self.push(after, Todo::Exit(process.pid));
            }
            taken.push((process, if lives { Delivery::Sent } else { Delivery::Gone }));
        }
        self.answer(Event::Stopped(order.pod, Some(taken)));
    }

    pub(super) fn restarted(&mut self, report: &RestartReport) {
        let key = (report.pod.uid.clone(), report.grant.until);
        assert!(self.grants.said.insert(key), "{} is said twice", report.grant);
        self.grants.carried += u32::from(!report.finding.is_refusal());
    }

    /// An agent was killed before it had recorded this: it may be done or said again.
    pub(super) fn forget_carried(&mut self, update: &JournalUpdate) {
        if let JournalUpdate::CarriedOut(uid, carried) = update {
            let key = (uid.clone(), carried.grant.until);
            if carried.said.is_some() {
                self.grants.said.remove(&key);
            }
            self.grants.stopped.retain(|(of, _)| *of != key);
        }
    }
}
