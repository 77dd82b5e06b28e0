//! What the replicas of a workload on this node know of each other: a content that ended one of them is kept from the others,
//! and as long as none of them has lived through a delivery, they are told one at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::process::ProcessIdentity;
use crate::model::digest::Digest;
use crate::model::mark::Mark;
use crate::model::names::{Name, PodUid};
use crate::model::pod::{Pod, Replica};
use crate::model::time::Time;

/// The most contents of a workload that are remembered as bad: the newest ones.
const MOST_BAD: usize = 8;

/// A pod that is gone so soon after its process ended was being deleted: that ended the process.
const GOING: Duration = Duration::from_secs(60);

/// A container of a workload, as far as its replicas are alike: of one template, with the same annotations. Nobody writes
/// another namespace's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    namespace: Name,
    owner: Owner,
    container: Name,
    mark: Mark,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Controller(Replica),
    /// Nobody's: a workload of its own.
    Pod(PodUid),
}

impl Key {
    /// A container of a pod.
    pub(crate) fn of(pod: &Pod, container: &Name) -> Arc<Self> {
        let nobodys = || Owner::Pod(pod.uid.clone());
        Arc::new(Self {
            namespace: pod.namespace.clone(),
            owner: pod.replica.clone().map_or_else(nobodys, Owner::Controller),
            container: container.clone(),
            mark: pod.spec.mark(),
        })
    }
}

/// The digests of what a reload tells of, by volume.
pub(crate) type Content = BTreeMap<Name, Digest>;

/// All workloads that have a container to tell on this node.
#[derive(Debug, Default)]
pub(crate) struct Workloads {
    all: BTreeMap<Arc<Key>, Workload>,
    /// Pods for which something is different by now.
    woken: BTreeSet<PodUid>,
    /// The pod that left last, and what has no replicas since then: it may be back at once, under another plan.
    vacant: Option<(PodUid, Vec<Arc<Key>>)>,
}

#[derive(Debug, Default)]
struct Workload {
    replicas: BTreeSet<PodUid>,
    /// One of them has lived through a delivery.
    proven: bool,
    /// The one that is being told, and until when the others wait for what comes of it.
    turn: Option<(PodUid, Time)>,
    /// Those of which it isn't known yet what came of the delivery that an agent before made, and until when the others wait for
    /// that.
    doubted: BTreeMap<PodUid, Time>,
    bad: VecDeque<Bad>,
}

/// A content that ended a process.
#[derive(Debug)]
struct Bad {
    content: Content,
    process: ProcessIdentity,
    at: Time,
}

/// What stands against telling a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Objection {
    /// Another one is being told, and is waited for until then.
    pub(crate) turn: Option<Time>,
    /// Some content has ended the process of another one.
    pub(crate) wary: bool,
    /// What it would be told of has, in another replica.
    pub(crate) bad: bool,
}

impl Workloads {
    /// A replica has a container to tell. `proven` says whether it is known to have lived through a delivery.
    pub(crate) fn join(&mut self, key: &Arc<Key>, pod: &PodUid, proven: bool) {
        let workload = self.all.entry(key.clone()).or_default();
        workload.replicas.insert(pod.clone());
        workload.proven |= proven;
    }

    /// A replica isn't one any more. With the last one all that is known of the workload is forgotten, unless it is back before
    /// another pod leaves.
    pub(crate) fn leave(&mut self, key: &Arc<Key>, pod: &PodUid) {
        self.end_turn(key, pod);
        self.end_doubt(key, pod);
        let Some(workload) = self.all.get_mut(key) else { return };
        workload.replicas.remove(pod);
        if !workload.replicas.is_empty() {
            return;
        }
        match &mut self.vacant {
            Some((left, keys)) if left == pod => keys.push(key.clone()),
            vacant => {
                for key in
                    vacant.replace((pod.clone(), vec![key.clone()])).into_iter().flat_map(|(_, keys)| keys)
                {
                    if self.all.get(&key).is_some_and(|workload| workload.replicas.is_empty()) {
                        self.all.remove(&key);
                    }
                }
            }
        }
    }

    /// A pod was deleted, at that time or up to so long before: what ended its process then was the deletion.
    pub(crate) fn delete(&mut self, key: &Arc<Key>, pod: &PodUid, now: Time, ago: Duration) {
        let Some(workload) = self.all.get_mut(key) else { return };
        let bad = workload.bad.len();
        workload.bad.retain(|bad| bad.process.pod != *pod || now.since(bad.at) > GOING + ago);
        if workload.bad.len() < bad {
            self.woken.extend(workload.replicas.iter().filter(|other| *other != pod).cloned());
        }
        self.leave(key, pod);
    }

    /// Whether there are other replicas on this node.
    pub(crate) fn has_others(&self, key: &Key) -> bool {
        self.all.get(key).is_some_and(|workload| workload.replicas.len() > 1)
    }

    /// What stands against telling a replica of what it has on disk.
    pub(crate) fn objection(
        &self,
        key: &Key,
        pod: &PodUid,
        on_disk: impl Fn(&Name) -> Option<Digest>,
        now: Time,
    ) -> Objection {
        let Some(workload) = self.all.get(key) else { return Objection::default() };
        let turn = workload.turn.as_ref().filter(|_| !workload.proven).map(|(other, until)| (other, until));
        let others = turn.into_iter().chain(&workload.doubted);
        let others = others.filter(|(other, until)| *other != pod && now < **until);
        let same =
            |content: &Content| content.iter().all(|(volume, digest)| on_disk(volume) == Some(*digest));
        Objection {
            turn: others.map(|(_, until)| *until).max(),
            wary: workload.bad.iter().any(|bad| bad.process.pod != *pod),
            bad: workload.bad.iter().any(|bad| bad.process.pod != *pod && same(&bad.content)),
        }
    }

    /// A replica is being told: what comes of it is known at that time at the latest.
    pub(crate) fn begin_turn(&mut self, key: &Key, pod: &PodUid, now: Time, until: Time) {
        let Some(workload) = self.all.get_mut(key).filter(|workload| !workload.proven) else { return };
        // One that is told again and again has no longer turn for that.
        if workload.turn.as_ref().is_none_or(|(other, until)| other != pod || *until <= now) {
            workload.turn = Some((pod.clone(), until));
        }
    }

    /// What came of telling a replica is known, or nothing will.
    pub(crate) fn end_turn(&mut self, key: &Key, pod: &PodUid) {
        let Some(workload) = self.all.get_mut(key) else { return };
        if workload.turn.take_if(|(other, _)| other == pod).is_some() {
            self.woken.extend(workload.replicas.iter().filter(|other| *other != pod).cloned());
        }
    }

    /// An agent before made a delivery to a replica: what came of it is known at that time at the latest.
    pub(crate) fn begin_doubt(&mut self, key: &Key, pod: &PodUid, until: Time) {
        if let Some(workload) = self.all.get_mut(key) {
            workload.doubted.insert(pod.clone(), until);
        }
    }

    /// What came of it is known, or nothing will be.
    pub(crate) fn end_doubt(&mut self, key: &Key, pod: &PodUid) {
        let Some(workload) = self.all.get_mut(key) else { return };
        if workload.doubted.remove(pod).is_some() {
            self.woken.extend(workload.replicas.iter().filter(|other| *other != pod).cloned());
        }
    }

    /// A replica has lived through a delivery.
    pub(crate) fn lived(&mut self, key: &Key, pod: &PodUid) {
        if let Some(workload) = self.all.get_mut(key) {
            workload.proven = true;
        }
        self.end_turn(key, pod);
    }

    /// A content has ended a process.
    pub(crate) fn ended(&mut self, key: &Key, content: Content, process: &ProcessIdentity, at: Time) {
        let Some(workload) = self.all.get_mut(key) else { return };
        if content.is_empty() || workload.bad.iter().any(|bad| bad.content == content) {
            return;
        }
        if workload.bad.len() == MOST_BAD {
            workload.bad.pop_front();
        }
        workload.bad.push_back(Bad { content, process: process.clone(), at });
    }

    /// These processes were ended by something else.
    pub(crate) fn killed(&mut self, key: &Key, is_it: impl Fn(&ProcessIdentity) -> bool) {
        let Some(workload) = self.all.get_mut(key) else { return };
        let bad = workload.bad.len();
        workload.bad.retain(|bad| !is_it(&bad.process));
        if workload.bad.len() < bad {
            self.woken.extend(workload.replicas.iter().cloned());
        }
    }

    /// A pod for which something is different by now.
    pub(crate) fn next_woken(&mut self) -> Option<PodUid> {
        self.woken.pop_first()
    }

    /// Whether there is such a pod.
    pub(crate) fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::ContainerId;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    fn uid(n: u32) -> PodUid {
        PodUid::parse(&format!("{n:08x}")).unwrap()
    }

    fn process(n: u32) -> ProcessIdentity {
        let container = ContainerId::parse(&"a".repeat(64)).unwrap();
        ProcessIdentity { pid: n, started: at(0), pod: uid(n), container }
    }

    fn content(digest: u8) -> Content {
        [("config".into(), Digest::new([digest; 32]))].into()
    }

    fn key(namespace: &str) -> Arc<Key> {
        let owner = Owner::Pod(uid(7));
        Arc::new(Key {
            namespace: namespace.into(),
            owner,
            container: "app".into(),
            mark: Mark::recorded(2, 1),
        })
    }

    fn objection(workloads: &Workloads, key: &Key, pod: u32, digest: Option<u8>, now: u64) -> Objection {
        let on_disk = |volume: &Name| {
            assert_eq!(&**volume, "config");
            digest.map(|digest| Digest::new([digest; 32]))
        };
        workloads.objection(key, &uid(pod), on_disk, at(now))
    }

    fn woken(workloads: &mut Workloads) -> Vec<PodUid> {
        std::iter::from_fn(|| workloads.next_woken()).collect()
    }

    #[test]
    fn replicas_wait_for_their_turn_until_one_has_lived() {
        let (mut workloads, key) = (Workloads::default(), key("shop"));
        (1..4).for_each(|n| workloads.join(&key, &uid(n), false));
        workloads.begin_turn(&key, &uid(1), at(0), at(15));
        workloads.begin_turn(&key, &uid(1), at(0), at(25));
        assert_eq!(objection(&workloads, &key, 1, None, 0).turn, None);
        assert_eq!(objection(&workloads, &key, 2, None, 0).turn, Some(at(15)));
        assert_eq!(objection(&workloads, &key, 2, None, 15).turn, None, "it isn't waited for without end");
        workloads.end_turn(&key, &uid(2));
        assert_eq!(objection(&workloads, &key, 2, None, 0).turn, Some(at(15)), "it is another one's turn");
        workloads.end_turn(&key, &uid(1));
        assert_eq!(woken(&mut workloads), [uid(2), uid(3)]);
        workloads.begin_turn(&key, &uid(2), at(0), at(30));
        workloads.lived(&key, &uid(2));
        workloads.begin_turn(&key, &uid(1), at(0), at(45));
        assert_eq!(objection(&workloads, &key, 3, None, 0), Objection::default());
    }

    #[test]
    fn a_content_that_ended_one_is_bad_for_all_of_the_workload_and_nobody_else() {
        let (mut workloads, mine, other) = (Workloads::default(), key("shop"), key("bank"));
        for key in [&mine, &other] {
            (1..4).for_each(|n| workloads.join(key, &uid(n), true));
        }
        workloads.ended(&mine, content(1), &process(1), at(1));
        for (key, digest, bad) in [(&mine, Some(1), true), (&mine, Some(2), false), (&mine, None, false)] {
            let found = objection(&workloads, key, 2, digest, 2);
            assert_eq!((found.bad, found.wary), (bad, true));
        }
        assert_eq!(objection(&workloads, &other, 2, Some(1), 2), Objection::default());
        (2..10).for_each(|digest| workloads.ended(&mine, content(digest), &process(1), at(1)));
        assert!(!objection(&workloads, &mine, 2, Some(1), 2).bad, "only the newest ones are remembered");
        assert!(objection(&workloads, &mine, 2, Some(9), 2).bad);
    }

    #[test]
    fn a_content_isnt_bad_where_something_else_ended_the_process() {
        let (mut workloads, key) = (Workloads::default(), key("shop"));
        (1..4).for_each(|n| workloads.join(&key, &uid(n), true));
        workloads.ended(&key, content(1), &process(1), at(1));
        workloads.killed(&key, |process| process.pid == 2);
        assert!(objection(&workloads, &key, 3, Some(1), 2).bad && !workloads.has_woken());
        workloads.killed(&key, |process| process.pid == 1);
        assert!(!objection(&workloads, &key, 3, Some(1), 2).bad);
        assert_eq!(woken(&mut workloads).len(), 3);
        workloads.ended(&key, content(1), &process(2), at(10));
        workloads.ended(&key, content(2), &process(1), at(10));
        workloads.leave(&key, &uid(2));
        assert!(objection(&workloads, &key, 3, Some(1), 70).bad, "it may have got another label");
        workloads.delete(&key, &uid(2), at(70), Duration::ZERO);
        assert!(!objection(&workloads, &key, 3, Some(1), 70).bad, "its pod was being deleted");
        workloads.delete(&key, &uid(1), at(71), Duration::ZERO);
        assert!(objection(&workloads, &key, 3, Some(2), 71).bad);
        workloads.ended(&key, content(3), &process(4), at(10));
        workloads.delete(&key, &uid(4), at(130), Duration::from_secs(60));
        assert!(!objection(&workloads, &key, 3, Some(3), 130).bad, "it was deleted up to a minute before");
    }

    #[test]
    fn the_others_wait_for_what_an_agent_before_may_have_caused_as_long_as_it_isnt_known() {
        let (mut workloads, key) = (Workloads::default(), key("shop"));
        (1..4).for_each(|n| workloads.join(&key, &uid(n), true));
        workloads.begin_doubt(&key, &uid(1), at(10));
        workloads.begin_doubt(&key, &uid(2), at(12));
        let turn = |workloads: &Workloads, n: u32, seconds: u64| {
            objection(workloads, &key, n, Some(1), seconds).turn
        };
        assert_eq!((turn(&workloads, 3, 9), turn(&workloads, 2, 9)), (Some(at(12)), Some(at(10))));
        assert_eq!((turn(&workloads, 2, 10), turn(&workloads, 3, 12)), (None, None));
        workloads.end_doubt(&key, &uid(2));
        assert_eq!(woken(&mut workloads), [uid(1), uid(3)]);
        workloads.leave(&key, &uid(1));
        assert_eq!((turn(&workloads, 3, 9), woken(&mut workloads).len()), (None, 2));
    }

    #[test]
    fn with_the_last_replica_all_is_forgotten() {
        let (mut workloads, key) = (Workloads::default(), key("shop"));
        (1..3).for_each(|n| workloads.join(&key, &uid(n), true));
        assert!(workloads.has_others(&key));
        workloads.ended(&key, content(1), &process(1), at(1));
        (1..3).for_each(|n| workloads.leave(&key, &uid(n)));
        assert!(!workloads.has_others(&key));
        workloads.join(&key, &uid(2), false);
        assert!(objection(&workloads, &key, 2, Some(1), 2).bad, "it is back under another plan");
        workloads.leave(&key, &uid(2));
        let other = self::key("other");
        workloads.join(&other, &uid(3), true);
        workloads.leave(&other, &uid(3));
        assert!(!workloads.all.contains_key(&key) && !workloads.has_others(&key));
        workloads.ended(&key, content(1), &process(1), at(1));
        workloads.begin_turn(&key, &uid(1), at(0), at(1));
        assert!(!workloads.all.contains_key(&key));
    }

    #[test]
    fn a_turn_is_renewed_once_it_is_over_and_goes_to_whoever_is_told_last() {
        let (mut workloads, key) = (Workloads::default(), key("shop"));
        (1..4).for_each(|n| workloads.join(&key, &uid(n), false));
        workloads.begin_turn(&key, &uid(1), at(0), at(15));
        workloads.begin_turn(&key, &uid(1), at(15), at(30));
        assert_eq!(objection(&workloads, &key, 2, None, 16).turn, Some(at(30)));
        workloads.begin_turn(&key, &uid(2), at(16), at(31));
        let turns = [1, 2].map(|n| objection(&workloads, &key, n, None, 16).turn);
        assert_eq!(turns, [Some(at(31)), None]);
    }

    #[test]
    fn a_content_is_remembered_once_and_one_that_isnt_known_not_at_all() {
        let (mut workloads, key) = (Workloads::default(), key("shop"));
        (1..3).for_each(|n| workloads.join(&key, &uid(n), true));
        workloads.ended(&key, Content::new(), &process(1), at(1));
        assert!(!objection(&workloads, &key, 2, Some(1), 2).wary);
        (1..9).for_each(|digest| workloads.ended(&key, content(digest), &process(1), at(1)));
        workloads.ended(&key, content(8), &process(1), at(1));
        assert!(objection(&workloads, &key, 2, Some(1), 2).bad, "there is room for all of them");
    }

    #[test]
    fn a_pod_that_leaves_takes_with_it_what_is_known_of_all_its_containers_and_may_bring_it_back() {
        let (mut workloads, keys) = (Workloads::default(), ["shop", "bank"].map(key));
        keys.iter().for_each(|key| workloads.join(key, &uid(1), true));
        keys.iter().for_each(|key| workloads.ended(key, content(1), &process(1), at(1)));
        keys.iter().for_each(|key| workloads.leave(key, &uid(1)));
        keys.iter().for_each(|key| workloads.join(key, &uid(2), false));
        for key in &keys {
            assert!(objection(&workloads, key, 2, Some(1), 2).bad);
        }
        workloads.delete(&keys[0], &uid(3), at(2), Duration::ZERO);
        assert!(!workloads.has_woken(), "nothing is different for anybody");
        workloads.join(&keys[0], &uid(1), true);
        workloads.delete(&keys[0], &uid(1), at(2), Duration::ZERO);
        assert!(workloads.has_woken());
        assert_eq!(woken(&mut workloads), [uid(2)]);
    }
}
