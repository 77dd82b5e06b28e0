//! Contents that end a replica: none of them is told to another one once the agent can know that.

use super::*;
use reloadlet_core::machine::event::Call;

/// A process that was told of less than this after its start says nothing by its end, as far as the agent knows.
const GROWN: Duration = ms(20_000);

/// So long a read of files takes at most, with the way to it.
const READ: Duration = ms(15);

/// What a replica was told of last.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pid: u32,
    at: Time,
    generation: Generation,
    content: Digest,
    annotations: BTreeMap<String, AnnotationValue>,
    is_grown: bool,
}

/// A replica that ended after it was told, and in which life of the agent it was.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pod: PodUid,
    told: Told,
    at: Time,
    life: u32,
}

#[derive(Debug, Default)]
pub(super) struct Contents {
    newest: u32,
    told: BTreeMap<PodUid, Told>,
    had: BTreeSet<(PodUid, Digest)>,
    endings: Vec<Ending>,
    /// How many endings there were after which another replica had the same content.
    pub(super) spared: u32,
}

fn content(n: u32) -> Digest {
    let mut bytes = [0xfd; 32];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    Digest::new(bytes)
}

fn is_bad(of: Digest) -> bool {
    (1..=1_000).map(|n| content(n * 4)).any(|bad| bad == of)
}

impl Simulation {
    pub(super) fn is_replica(&self, uid: &PodUid) -> bool {
        self.pods.get(uid).is_some_and(|pod| pod.replica.is_some())
    }

    /// What is published next for a replica: what another one has got already, or something new.
    pub(super) fn next_content(&mut self, good: bool) -> Digest {
        if good || self.contents.newest == 0 || self.rng.percent(40) {
            self.contents.newest += 1;
            self.contents.newest += u32::from(good && self.contents.newest.is_multiple_of(4));
        }
        content(self.contents.newest)
    }

    /// At the end all replicas get something good.
    pub(super) fn publish_good(&mut self) {
        let good = self.next_content(true);
        for uid in self.pods.keys().cloned().collect::<Vec<_>>() {
            let volume = VolumeRef { pod: uid.clone(), volume: "config".into() };
            if self.is_replica(&uid) && self.node.volume(&volume).current.is_some() {
                self.swap_to(&volume, good);
                self.push(ms(1), Todo::Unlink(volume));
            }
        }
    }

    fn on_disk(&mut self, uid: &PodUid) -> Option<(Generation, Digest)> {
        let volume = VolumeRef { pod: uid.clone(), volume: "config".into() };
        let (generation, _) = self.node.volume(&volume).current.clone()?;
        let is_whole = self.visible.get(&volume) == Some(&generation);
        let digest = self.node.volume(&volume).digests[&generation];
        is_whole.then_some((generation, digest))
    }

    /// Whether what a program loads now ends it.
    pub(super) fn loads_bad(&mut self, uid: &PodUid) -> bool {
        self.is_replica(uid) && self.seen(uid).values().any(|digest| is_bad(*digest))
    }

    /// A replica is told. What that tells of, if it is known.
    pub(super) fn check_content(&mut self, process: &ProcessIdentity) -> Option<Told> {
        let uid = process.pod.clone();
        if !self.is_replica(&uid) || self.has_keys(&uid) {
            return None;
        }
        let (generation, content) = self.on_disk(&uid)?;
        let annotations = self.taken.get(&uid).cloned()?;
        let is_seen = self.now > self.stalled_until + ms(1_000);
        let mine = |ending: &&Ending| {
            ending.pod != uid && ending.told.content == content && ending.told.annotations == annotations
        };
        let bad: Vec<Ending> = self.contents.endings.iter().filter(mine).cloned().collect();
        let is_new = !self.contents.had.contains(&(uid.clone(), content));
        for ending in bad {
            let is_known = self.now > ending.at + ms(1_000) && is_seen && self.is_remembered(&ending);
            assert!(!(is_new && is_known), "{process:?} is told of what ended {ending:?}, of {generation}");
        }
        let is_grown = self.now >= process.started + GROWN && !self.slow.contains(&uid);
        self.contents.had.insert((uid, content));
        Some(Told { pid: process.pid, at: self.now, generation, content, annotations, is_grown })
    }

    /// A replica was told.
    pub(super) fn note_told(&mut self, uid: &PodUid, told: Option<Told>) {
        match told {
            Some(told) => self.contents.told.insert(uid.clone(), told),
            None => self.contents.told.remove(uid),
        };
    }

    /// A replica takes a request: what it loads is what it was told of, unless something newer is there by now.
    pub(super) fn take_content(&mut self, call: &Call) {
        let uid = &call.process.pod;
        let now = self.on_disk(uid);
        let told = self.asking.told(call);
        let is_it = |told: &Told| now.as_ref().is_some_and(|(generation, _)| *generation == told.generation);
        let told = told.filter(is_it).map(|told| Told { at: self.now, ..told });
        self.note_told(uid, told);
    }

    /// Whatever it has taken, no delivery comes of it.
    pub(super) fn forget_content(&mut self, uid: &PodUid) {
        self.contents.told.remove(uid);
    }

    /// Nobody has seen what came of a request.
    pub(super) fn forget_asked(&mut self) {
        for uid in self.asking.pods() {
            self.contents.told.remove(uid);
            self.contents.endings.retain(|ending| ending.pod != *uid);
        }
    }

    /// Whether an agent can know of an ending: of one in an earlier life it does by what stands there still.
    fn is_remembered(&mut self, ending: &Ending) -> bool {
        let is_there = self.pods.contains_key(&ending.pod)
            && self.taken.get(&ending.pod) == Some(&ending.told.annotations);
        let is_last = self.contents.told.get(&ending.pod).is_some_and(|told| told.at == ending.told.at);
        let same = ending.life == self.life || (is_last && is_there);
        same && self.pods.contains_key(&ending.pod)
            && (ending.life == self.life
                || self.on_disk(&ending.pod).is_some_and(|(now, _)| now == ending.told.generation))
    }

    /// Files are removed. If they have just ended a replica, nobody has read them.
    pub(super) fn forget_unreadable(&mut self, volume: &VolumeRef, generation: &Generation) {
        let now = self.now;
        self.contents.endings.retain(|ending| {
            let is_it = ending.pod == volume.pod && ending.told.generation == *generation;
            !(is_it && now < ending.at + READ)
        });
    }

    /// A process ended: by itself, or by SIGKILL from outside.
    pub(super) fn note_ending(&mut self, process: &ProcessIdentity, killed: bool) {
        let (pid, uid) = (process.pid, &process.pod);
        if killed {
            // Its status may say so of the whole container.
            self.contents.endings.retain(|ending| ending.pod != *uid);
            return;
        }
        // It would have ended whatever it has read.
        if self.grants.has_stopped(&process.container) {
            return;
        }
        // What has given way to something newer by then may never have been read.
        let on_disk = self.on_disk(uid).map(|(generation, _)| generation);
        let is_it =
            |told: &&Told| told.pid == pid && told.is_grown && on_disk.as_ref() == Some(&told.generation);
        let Some(told) = self.contents.told.get(uid).filter(is_it) else { return };
        let verify = match told.annotations.get("reloadlet.io/verify") {
            Some(AnnotationValue::Text(text)) if text == "3s" => ms(3_000),
            Some(_) => ms(1_000),
            None => ms(10_000),
        };
        if self.now < told.at + verify && self.taken.get(uid) == Some(&told.annotations) {
            // What no agent of this life holds it can only find gone.
            let life = if self.held.contains(process) { self.life } else { self.life.wrapping_sub(1) };
            let ending = Ending { pod: uid.clone(), told: told.clone(), at: self.now, life };
            let is_shared = self.contents.had.iter().any(|(pod, had)| pod != uid && *had == told.content);
            self.contents.spared += u32::from(!is_shared);
            self.contents.endings.push(ending);
        }
    }

    /// An agent was killed before it had recorded this.
    pub(super) fn forget_told(&mut self, update: &JournalUpdate) {
        if let JournalUpdate::LastDelivery(uid, ..) = update {
            self.contents.told.remove(uid);
            self.contents.endings.retain(|ending| ending.pod != *uid);
        }
    }

    /// A listing came. Of pods that aren't in it or have other annotations an agent that has started knows nothing.
    pub(super) fn forget_unlisted(&mut self, listed: &[Arc<Pod>]) {
        let life = self.life;
        self.contents.endings.retain(|ending| {
            let is_same =
                |pod: &&Arc<Pod>| pod.uid == ending.pod && pod.spec.annotations == ending.told.annotations;
            listed.iter().any(|pod| is_same(&pod)) || (ending.life == life && listed.is_empty())
        });
    }
}
