//! What programs do with a signal, and what the agent can know of that.

use super::*;
use crate::node::HUP;

impl Simulation {
    /// The program gets the signal.
    pub(super) fn signal(&mut self, pid: u32, uid: &PodUid) {
        let process = self.node.process_mut(pid);
        let handles = (process.caught | process.blocked) & HUP != 0;
        let comm = process.comm.clone();
        assert!(matches!(comm.as_str(), "worker" | "sh"), "{pid} is {comm}");
        // What happens between a reading and the send can't be seen.
        let lost = self.lost_handlers.get(&pid).copied();
        let doubt = if self.now < self.stalled_until + ms(1_000) { ms(260) } else { ms(5) };
        let is_unseen = lost.is_some_and(|(at, life)| self.now < at + doubt || life != self.life);
        assert!(handles || is_unseen || self.unhandled.contains(uid), "{pid} doesn't handle the signal");
        let boots = self.booting.contains(&pid);
        assert!(!boots || is_unseen || self.unhandled.contains(uid), "{pid} boots, and ends at the signal");
        let container = self.node.identity(pid).unwrap().container;
        let is_starting = self.slow.contains(uid) && self.now < self.starts[&container];
        let is_ended = is_starting || self.manners[uid] == Manner::Quits || self.loads_bad(uid);
        if boots || (handles && is_ended) {
            let after = self.micros(900_000);
            self.push(after, Todo::Exit(pid));
        } else if handles && self.manners[uid] == Manner::Renews {
            let after = self.micros(300_000);
            self.push(after, Todo::Renew(pid));
        }
        if self.manners[uid] == Manner::Drops && handles && !self.take_or_drop(pid, uid) {
            return;
        }
        let seen = self.seen(uid);
        self.loaded.insert(pid, seen);
    }

    /// A program that drops signals while it reloads gets one; whether it reloads.
    pub(super) fn take_or_drop(&mut self, pid: u32, uid: &PodUid) -> bool {
        if self.dropping.get(&pid).is_some_and(|until| self.now < *until) {
            self.dropped.insert(pid);
            // Between a swap and its settle nobody watches what a program opens: it may have read the files that are to settle.
            if !self.proven.contains(uid) || self.swapping.iter().any(|volume| volume.pod == *uid) {
                self.excused.insert(pid);
            }
            return false;
        }
        self.dropping.insert(pid, self.now + ms(900));
        self.dropped.remove(&pid);
        self.excused.remove(&pid);
        let mine = self.visible.iter().filter(|(volume, _)| volume.pod == *uid);
        let mine: Vec<(VolumeRef, Generation)> = mine.map(|(v, g)| (v.clone(), g.clone())).collect();
        for (volume, generation) in mine {
            let pause = self.micros(50_000);
            self.push(pause, Todo::Open(self.life, volume, generation));
        }
        true
    }

    /// The agent can't know any more that these processes have dropped the last signal.
    pub(super) fn excuse(&mut self, is_one: impl Fn(u32) -> bool) {
        self.excused.extend(self.dropped.iter().copied().filter(|pid| is_one(*pid)));
    }

    /// Nor that pods read after signals, of those that have other annotations or aren't listed.
    pub(super) fn forget_proofs(&mut self, listed: &[Arc<Pod>]) {
        self.forget_unlisted(listed);
        let now: BTreeMap<PodUid, _> =
            listed.iter().map(|pod| (pod.uid.clone(), pod.spec.annotations.clone())).collect();
        let before = std::mem::replace(&mut self.taken, now.clone());
        for uid in now.keys().filter(|uid| before.get(*uid) != now.get(*uid)) {
            self.asking.replan(uid);
        }
        for (uid, annotations) in before {
            if now.get(&uid) != Some(&annotations) && self.node.pods.contains_key(&uid) {
                let mine = self.pids(&uid);
                self.excuse(|pid| mine.contains(&pid));
                if now.contains_key(&uid) {
                    self.proven.remove(&uid);
                }
            }
        }
    }
}
