//! What must hold all along, and at rest.

use super::*;
use crate::journal::apply;
use crate::node::HUP;
use reloadlet_core::machine::event::Report;
use reloadlet_core::model::journal::JournalKey;
use reloadlet_core::model::outcome::{Outcome, Verdict};

#[derive(Debug, Default)]
pub(super) struct Checks {
    /// What has ended in this life of the agent, and in any.
    ended: BTreeMap<(JournalKey, Generation), Outcome>,
    ended_before: BTreeSet<(JournalKey, Generation)>,
    /// Records that were lost with an agent; what they say may happen again, once for each volume and container.
    lost: BTreeSet<(JournalKey, Generation)>,
    repeated: BTreeSet<JournalKey>,
    /// What was withheld, and not told since.
    withheld: BTreeSet<(JournalKey, Generation)>,
    last_send: BTreeMap<PodUid, Time>,
    /// What was told a second time in this life of the agent.
    told_again: BTreeSet<(PodUid, Name, Generation)>,
    /// How much happened, so that nothing is proved by silence.
    pub(super) delivered: u32,
    pub(super) rereads: u32,
    pub(super) retold: u32,
}

impl Checks {
    pub(super) fn lost(&mut self, update: &JournalUpdate) {
        if let JournalUpdate::Handled(key, handled) = update {
            self.lost.insert((key.clone(), handled.generation.clone()));
        }
    }

    pub(super) fn new_life(&mut self) {
        self.ended_before.extend(std::mem::take(&mut self.ended).into_keys());
        self.repeated.clear();
        self.told_again.clear();
    }

    pub(super) fn sent(&mut self, process: &ProcessIdentity, now: Time) {
        self.last_send.insert(process.pod.clone(), now);
    }

    pub(super) fn reported(
        &mut self,
        report: &Report,
        now: Time,
        settled: &BTreeMap<(VolumeRef, Generation), Time>,
    ) {
        if let Report::Reread { .. } = report {
            self.rereads += 1;
        }
        if let Report::Verdict { verdict: Verdict::Reread, reread, .. } = report {
            assert!(reread.is_some());
        }
        if let Report::Retold(reload) = report {
            self.retold += 1;
            for (volume, generation) in &reload.generations {
                let key = (reload.pod.uid.clone(), volume.clone(), generation.clone());
                assert!(self.told_again.insert(key.clone()), "{key:?} was told again twice");
            }
        }
        let Report::Reload(reload) = report else { return };
        for (name, generation) in &reload.generations {
            let uid = reload.pod.uid.clone();
            let volume = VolumeRef { pod: uid.clone(), volume: name.clone() };
            let key = JournalKey { pod: uid, container: reload.container.clone(), volume: name.clone() };
            let ended = (key, generation.clone());
            let complete = settled.get(&(volume, generation.clone())).copied();
            let complete = complete.unwrap_or_else(|| panic!("{ended:?} ended before its settle"));
            if reload.outcome == Outcome::Delivered {
                self.delivered += 1;
                let sent = self.last_send[&reload.pod.uid];
                assert!(
                    complete <= sent && sent <= now,
                    "{ended:?} was sent at {sent:?}, before {complete:?}"
                );
            }
            let before = self.ended.insert(ended.clone(), reload.outcome);
            // What was withheld is told later.
            let was_withheld = self.withheld.remove(&ended);
            if reload.outcome == Outcome::Suspended {
                self.withheld.insert(ended.clone());
            }
            assert!(
                before.is_none() || was_withheld,
                "{ended:?} ended as {before:?} and again as {:?}",
                reload.outcome
            );
            if self.ended_before.contains(&ended) && !was_withheld {
                assert!(self.lost.remove(&ended), "{ended:?} was recorded, and ended again");
                assert!(self.repeated.insert(ended.0.clone()), "{ended:?} is the second after one kill");
            }
        }
    }
}

impl Simulation {
    /// Whether the newest files of a volume have failed for good.
    fn has_failed(&self, uid: &PodUid, volume: &Name) -> bool {
        let key = JournalKey { pod: uid.clone(), container: "app".into(), volume: volume.clone() };
        let outcome = self.journal.handled.get(&key).and_then(|handled| handled.outcome);
        // What ended under another means stays ended.
        let others = [Some(Outcome::NoProcess), Some(Outcome::Unhandled), Some(Outcome::Gone)];
        outcome == Some(Outcome::Failed) || (self.has_changed_means(uid) && others.contains(&outcome))
    }

    /// Everything has calmed down.
    pub(super) fn check_at_rest(&mut self) {
        for (_, update) in std::mem::take(&mut self.uncommitted) {
            apply(&mut self.journal, update);
        }
        let machine = self.machine.as_ref().unwrap();
        assert!(machine.is_ready());
        assert!(self.opens.is_empty(), "watched for nobody: {:?}", self.opens);
        for pod in machine.status(self.now) {
            let is_suspended = pod.containers.iter().any(|container| container.is_suspended);
            // Contents may have ended it twice in a row.
            let may_be = self.manners[&pod.uid] == Manner::Quits || self.is_replica(&pod.uid);
            // Or it was killed while there was no agent, and no status says so.
            let may_be = may_be || self.unseen_kills.contains(&pod.uid);
            assert!(may_be || !is_suspended, "{} is suspended for what ended it from outside", pod.uid);
        }
        self.asking.check_at_rest();
        let mut all_handle = true;
        for (uid, pod) in self.pods.clone() {
            let container = self.node.pod(&uid).containers[0].clone();
            let told = container.processes.last().unwrap().clone();
            let is_asked = self.is_asked(&uid);
            let takes = (told.caught | told.blocked) & HUP != 0 && container.processes[0].comm != "s6-svscan";
            let takes = takes || is_asked;
            let handles = takes || pod.spec.annotations.contains_key("reloadlet.io/unhandled");
            all_handle &= handles;
            let mut seen = self.seen(&uid);
            // What a server won't take is said to have failed.
            let may_fail = is_asked || self.has_changed_means(&uid);
            seen.retain(|volume, _| !(may_fail && self.has_failed(&uid, volume)));
            if takes && container.dead.is_empty() && !self.excused.contains(&told.pid) {
                let manner = self.manners[&uid];
                let mut loaded = self.loaded[&told.pid].clone();
                loaded.retain(|volume, _| seen.contains_key(volume));
                assert_eq!(loaded, seen, "{uid}, {manner:?}: {told:?} has not read the newest files");
            }
            for volume in pod.spec.volumes.iter().filter(|_| handles) {
                let volume = VolumeRef { pod: uid.clone(), volume: volume.name.clone() };
                let key =
                    JournalKey { pod: uid.clone(), container: "app".into(), volume: volume.volume.clone() };
                let recorded = self.journal.handled.get(&key).map(|handled| &handled.generation);
                assert_eq!(recorded, self.visible.get(&volume), "{key:?}");
            }
        }
        let live = self.journal.handled.keys().all(|key| self.pods.contains_key(&key.pod));
        assert!(live, "records of pods that are gone");
        if all_handle {
            assert_eq!(self.machine.as_ref().unwrap().poll_timeout(), None);
        }
    }
}
