//! What the kubelet does with volumes: swaps, kills in the middle, teardowns.

use super::*;
use crate::node::generation;

impl Simulation {
    /// The kubelet tears a volume down and makes it anew: a container that runs keeps the directory that isn't there any more.
    pub(super) fn tear_down(&mut self, uid: &PodUid) {
        let volumes: Vec<Name> = self.node.pod(uid).volumes.keys().cloned().collect();
        let Some(volume) = self.rng.pick(&volumes).cloned() else { return };
        let volume = VolumeRef { pod: uid.clone(), volume };
        // A first publication that the agent sees is none that a container has missed.
        let is_known = self.journal.handled.keys().any(|key| key.pod == *uid && key.volume == volume.volume);
        let is_there = self.node.volume(&volume).current.is_some();
        if self.swapping.contains(&volume) || self.is_new(uid) || !is_there || !is_known {
            return;
        }
        let state = self.node.volume(&volume);
        (state.dir, state.current) = (None, None);
        state.others.clear();
        for container in &mut self.node.pod(uid).containers {
            container.dead.insert(volume.volume.clone());
        }
        self.notify(Event::TornDown(volume.clone(), self.now));
        if self.rng.percent(50) {
            self.overflow();
        }
        let pause = self.micros(3_000_000);
        self.push(pause, Todo::Rebuild(volume));
    }

    pub(super) fn rebuild(&mut self, volume: &VolumeRef) {
        if !self.pods.contains_key(&volume.pod) {
            return;
        }
        self.next_generation += 1;
        let (new, now, dir) = (generation(self.next_generation), self.now, self.node.new_dir());
        let before = self.visible[volume].clone();
        let mut unique = [0xfe; 32];
        unique[..4].copy_from_slice(&self.next_generation.to_le_bytes());
        let is_same = self.rng.percent(50);
        let state = self.node.volume(volume);
        let content = if is_same { state.digests[&before] } else { Digest::new(unique) };
        state.digests.insert(new.clone(), content);
        (state.dir, state.current) = (Some(dir), Some((new.clone(), now)));
        self.complete(volume, new.clone());
        self.notify(Event::Swapped(volume.clone(), Some(new), now));
        if self.rng.percent(30) {
            self.overflow();
        }
    }

    pub(super) fn has_keys(&self, uid: &PodUid) -> bool {
        self.pods.get(uid).is_some_and(|pod| pod.spec.annotations.contains_key("reloadlet.io/keys"))
    }

    /// A pod that the agent may not have seen yet is left in peace: what it finds at first it takes as read by
    /// whatever started at about that time.
    pub(super) fn is_new(&self, uid: &PodUid) -> bool {
        self.first_started.get(uid).is_none_or(|started| self.now < *started + ms(10_000))
    }

    pub(super) fn swap_some_volume(&mut self, uid: &PodUid) {
        let volumes: Vec<Name> = self.node.pod(uid).volumes.keys().cloned().collect();
        let Some(volume) = self.rng.pick(&volumes).cloned() else { return };
        let volume = VolumeRef { pod: uid.clone(), volume };
        let is_there = self.node.volume(&volume).current.is_some();
        if self.swapping.contains(&volume) || self.is_new(uid) || !is_there {
            return;
        }
        self.next_generation += 1;
        let new = generation(self.next_generation);
        let content = if self.has_keys(uid) {
            [u8::try_from(self.rng.below(3)).unwrap(); 32]
        } else {
            let mut unique = [0xff; 32];
            unique[..4].copy_from_slice(&self.next_generation.to_le_bytes());
            unique
        };
        let is_shared = self.is_replica(uid) && !self.has_keys(uid);
        let content = if is_shared { self.next_content(false) } else { Digest::new(content) };
        let state = self.node.volume(&volume);
        state.digests.insert(new.clone(), content);
        if self.rng.percent(5) {
            // The kubelet is killed before the rename.
            self.node.volume(&volume).others.insert(new);
            return;
        }
        self.rename(&volume, &new);
        if self.rng.percent(10) {
            // It is killed after the rename: the directory of before stays for good.
            self.push(ms(2_000), Todo::Expire(volume, new));
        } else {
            let pause = self.micros(3_000);
            self.push(pause, Todo::Unlink(volume));
        }
    }

    /// A content is published in a volume; what was there before is still to be removed.
    pub(super) fn swap_to(&mut self, volume: &VolumeRef, content: Digest) {
        self.next_generation += 1;
        let new = generation(self.next_generation);
        self.node.volume(volume).digests.insert(new.clone(), content);
        self.rename(volume, &new);
    }

    fn rename(&mut self, volume: &VolumeRef, new: &Generation) {
        let now = self.now;
        let state = self.node.volume(volume);
        let before = state.current.replace((new.clone(), now));
        state.others.extend(before.map(|(before, _)| before));
        self.swapping.insert(volume.clone());
        self.notify(Event::Swapped(volume.clone(), Some(new.clone()), now));
    }

    pub(super) fn unlink(&mut self, volume: &VolumeRef) {
        if !self.pods.contains_key(&volume.pod) {
            return;
        }
        let now = self.now;
        let visible = self.visible[volume].clone();
        self.forget_unreadable(volume, &visible);
        let state = self.node.volume(volume);
        state.others.remove(&visible);
        let current = state.current.clone().unwrap().0;
        self.complete(volume, current);
        self.notify(Event::Removed(volume.clone(), visible, now));
    }

    pub(super) fn expire(&mut self, volume: &VolumeRef, generation: Generation) {
        if self.pods.contains_key(&volume.pod) {
            self.complete(volume, generation);
        }
    }

    pub(super) fn complete(&mut self, volume: &VolumeRef, generation: Generation) {
        self.swapping.remove(volume);
        self.settled.insert((volume.clone(), generation.clone()), self.now);
        self.visible.insert(volume.clone(), generation);
    }
}
