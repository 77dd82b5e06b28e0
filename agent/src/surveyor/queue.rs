//! What waits for the surveyor, and whose turn it is: the namespace's that has used the least time, and of its pods the
//! one's that has used the least. Among those that have used as much, first come, first served.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use reloadlet_core::kernel::process::ProcessIdentity;
use reloadlet_core::machine::event::VolumeRef;
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::names::{Name, PodUid};

use super::Request;

/// How much more than the one that was served last somebody may have used who comes back: what was used long ago doesn't
/// count for ever.
const MOST_BEHIND: Duration = Duration::from_millis(20);
/// Of how many namespaces, and pods, it is remembered how much they used.
const MOST_REMEMBERED: usize = 1024;
/// When a namespace or a pod has used as much, everybody's use counts half from then on: what was long ago counts for little.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Less than that is forgotten then.
const NOTHING: Duration = Duration::from_millis(1);
/// The most surveys and reads that are kept half done; each can hold facts of thousands of processes or paths of thousands of
/// files. Of those beyond, the namespace's that has the most begins anew.
const MOST_BEGUN: usize = 8;

/// What makes two requests the same: the one in the queue will do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Survey(PodUid),
    List(VolumeRef),
    Read(VolumeRef, Generation),
    Masks(ProcessIdentity),
    Home(PodUid),
    Forget(PodUid),
}

impl Request {
    /// Whether no reload waits for it: what is only measured comes after all else.
    fn can_wait(&self) -> bool {
        match self {
            Self::Read(_, _, _, reading) => !reading.decides,
            Self::Files(reading) => !reading.files.reading().decides,
            Self::Survey(_)
            | Self::List(..)
            | Self::Masks(..)
            | Self::Looking(_)
            | Self::Surveying(_)
            | Self::Reading(_)
            | Self::Home(_)
            | Self::Forget(_) => false,
        }
    }

    /// Whose request it is.
    pub(crate) fn pod(&self) -> &PodUid {
        match self {
            Self::Survey(survey) => &survey.pod,
            Self::Looking(looking) => &looking.survey().pod,
            Self::Surveying(surveying) => &surveying.survey().pod,
            Self::List(volume, _) | Self::Read(volume, ..) => &volume.pod,
            Self::Files(reading) => &reading.volume.pod,
            Self::Masks(process, _) => &process.pod,
            Self::Reading(masks) => &masks.process().pod,
            Self::Home(pod) | Self::Forget(pod) => pod,
        }
    }

    fn key(&self) -> Key {
        match self {
            Self::Survey(survey) => Key::Survey(survey.pod.clone()),
            Self::Looking(looking) => Key::Survey(looking.survey().pod.clone()),
            Self::Surveying(surveying) => Key::Survey(surveying.survey().pod.clone()),
            Self::List(volume, _) => Key::List(volume.clone()),
            Self::Read(volume, generation, ..) => Key::Read(volume.clone(), generation.clone()),
            Self::Files(reading) => Key::Read(reading.volume.clone(), reading.generation.clone()),
            Self::Masks(process, _) => Key::Masks(process.clone()),
            Self::Reading(masks) => Key::Masks(masks.process().clone()),
            Self::Home(pod) => Key::Home(pod.clone()),
            Self::Forget(pod) => Key::Forget(pod.clone()),
        }
    }

    /// Whether it takes room as long as it isn't done.
    const fn is_begun(&self) -> bool {
        matches!(self, Self::Looking(_) | Self::Surveying(_) | Self::Files(_) | Self::Reading(_))
    }

    /// The same request from its beginning.
    fn anew(self) -> Self {
        match self {
            Self::Looking(looking) => Self::Survey(looking.survey().clone()),
            Self::Surveying(surveying) => Self::Survey(surveying.survey().clone()),
            Self::Files(reading) => reading.anew(),
            Self::Reading(masks) => masks.anew(),
            other @ (Self::Survey(_)
            | Self::List(..)
            | Self::Read(..)
            | Self::Masks(..)
            | Self::Home(_)
            | Self::Forget(_)) => other,
        }
    }
}

/// The requests that wait, by namespace and pod, each with a number that grows with each request.
type Line = HashMap<Name, HashMap<PodUid, BTreeMap<u64, Key>>>;

#[derive(Debug)]
struct Waiting {
    request: Request,
    number: u64,
    can_wait: bool,
}

#[derive(Debug, Default)]
pub(super) struct QueueState {
    /// What reloads wait for.
    urgent: Line,
    /// What comes when nothing else waits.
    later: Line,
    waiting: HashMap<Key, Waiting>,
    next: u64,
    /// The namespaces of the pods for which something waits.
    namespaces: HashMap<PodUid, Name>,
    /// What is half done, and for whom.
    begun: BTreeMap<Key, Name>,
    /// With as much half done as there may be, every other turn goes on with that.
    goes_on: bool,
    /// How much time was spent on each lately.
    used: HashMap<Name, Duration>,
    /// As much as the namespace that was served last had used: who comes back is no further behind.
    level: Duration,
    used_of_pods: HashMap<PodUid, Duration>,
    closed: bool,
}

impl QueueState {
    /// Adds a request of a namespace's pod. In place of the same one that waits already: under other annotations it asks for
    /// other things.
    pub(super) fn add(&mut self, namespace: &Name, mut request: Request) -> bool {
        let key = request.key();
        let namespace = self.namespaces.get(request.pod()).unwrap_or(namespace).clone();
        let mut before = self.waiting.remove(&key);
        let is_new = before.is_none();
        // Masks that are half read are read from the beginning, but what that took counts: it must end, however often they
        // are asked for.
        if let (Request::Masks(_, signal), Some(Waiting { request: Request::Reading(masks), .. })) =
            (&request, &mut before)
            && masks.signal() == *signal
        {
            masks.doubt();
            self.waiting.extend(before.map(|before| (key, before)));
            return false;
        }
        if let Request::Survey(survey) = &mut request {
            match before.as_ref().map(|before| &before.request) {
                Some(Request::Survey(before)) => survey.fresh_mounts |= before.fresh_mounts,
                Some(Request::Looking(before)) => survey.fresh_mounts |= before.survey().fresh_mounts,
                Some(Request::Surveying(before)) => survey.fresh_mounts |= before.survey().fresh_mounts,
                Some(_) | None => {}
            }
        }
        let can_wait = request.can_wait() && before.as_ref().is_none_or(|before| before.can_wait);
        let number = match before {
            Some(before) if before.can_wait == can_wait => before.number,
            moved => {
                moved.iter().for_each(|before| self.leave(&namespace, before));
                self.next += 1;
                self.next
            }
        };
        if request.is_begun() {
            self.begun.insert(key.clone(), namespace.clone());
        } else {
            self.begun.remove(&key);
        }
        if !self.urgent.contains_key(&namespace) && !self.later.contains_key(&namespace) {
            // Or a namespace that is new, or was quiet for long, would be served alone until it has used as much as others.
            let used = self.used.entry(namespace.clone()).or_default();
            *used = (*used).max(self.level);
            // And one that used much long ago isn't kept waiting for it.
            *used = (*used).min(self.level + MOST_BEHIND);
        }
        let line = if can_wait { &mut self.later } else { &mut self.urgent };
        self.namespaces.insert(request.pod().clone(), namespace.clone());
        let pods = line.entry(namespace).or_default();
        pods.entry(request.pod().clone()).or_default().insert(number, key.clone());
        self.waiting.insert(key, Waiting { request, number, can_wait });
        is_new
    }

    /// Takes a request out of its line.
    fn leave(&mut self, namespace: &Name, waiting: &Waiting) {
        let pod = waiting.request.pod();
        let (urgent, later) = (&mut self.urgent, &mut self.later);
        let (own, other) = if waiting.can_wait { (later, urgent) } else { (urgent, later) };
        let Some(pods) = own.get_mut(namespace) else { return };
        if let Some(keys) = pods.get_mut(pod) {
            keys.remove(&waiting.number);
            if !keys.is_empty() {
                return;
            }
        }
        pods.remove(pod);
        if pods.is_empty() {
            own.remove(namespace);
        }
        if other.get(namespace).is_none_or(|pods| !pods.contains_key(pod)) {
            self.namespaces.remove(pod);
        }
    }

    /// The next request, and whose it is.
    pub(super) fn take(&mut self) -> Option<(Name, Request)> {
        let (namespace, key) = self.next_of(&self.urgent).or_else(|| self.next_of(&self.later))?;
        let waiting = self.waiting.remove(&key)?;
        self.goes_on = !self.goes_on;
        self.level = self.used.get(&namespace).copied().unwrap_or_default();
        self.leave(&namespace, &waiting);
        self.begun.remove(&key);
        if let Key::Forget(pod) = &key {
            self.used_of_pods.remove(pod);
        }
        Some((namespace, waiting.request))
    }

    fn next_of(&self, line: &Line) -> Option<(Name, Key)> {
        let first = |keys: &BTreeMap<u64, Key>| keys.first_key_value().map(|(number, _)| *number);
        let turn = |(name, pods): &(&Name, &HashMap<PodUid, BTreeMap<u64, Key>>)| {
            let used = self.used.get(*name).copied().unwrap_or_default();
            (used, pods.values().filter_map(first).min())
        };
        let (namespace, pods) = line.iter().min_by_key(turn)?;
        let of_pod = |pod: &PodUid| self.used_of_pods.get(pod).copied().unwrap_or_default();
        if self.goes_on && self.begun.len() >= MOST_BEGUN {
            let own = self.begun.iter().filter(|(_, of)| *of == namespace).map(|(key, _)| key);
            let here = own.filter_map(|key| Some((key, self.waiting.get(key)?)));
            let here = here.filter(|(key, waiting)| {
                pods.get(waiting.request.pod()).is_some_and(|keys| keys.get(&waiting.number) == Some(key))
            });
            if let Some((key, _)) = here.min_by_key(|(_, waiting)| of_pod(waiting.request.pod())) {
                return Some((namespace.clone(), key.clone()));
            }
        }
        let (_, keys) = pods.iter().min_by_key(|(pod, keys)| (of_pod(pod), first(keys)))?;
        keys.first_key_value().map(|(_, key)| (namespace.clone(), key.clone()))
    }

    /// A pod's request has taken so long. What is left of it comes after the pod's others, unless it is asked for anew.
    pub(super) fn done(&mut self, namespace: &Name, pod: &PodUid, took: Duration, rest: Option<Request>) {
        if spend(&mut self.used, namespace, took) {
            self.level /= 2;
        }
        spend(&mut self.used_of_pods, pod, took);
        let Some(rest) = rest.filter(|rest| !self.closed && !self.waiting.contains_key(&rest.key())) else {
            return;
        };
        let rest = if rest.is_begun() && !self.has_room(namespace) { rest.anew() } else { rest };
        self.add(namespace, rest);
    }

    /// Makes room for one more request of a namespace that is half done, if another one has more of them.
    fn has_room(&mut self, namespace: &Name) -> bool {
        if self.begun.len() < MOST_BEGUN {
            return true;
        }
        let mut counts: BTreeMap<&Name, usize> = BTreeMap::new();
        self.begun.values().for_each(|of| *counts.entry(of).or_default() += 1);
        let own = counts.get(namespace).copied().unwrap_or_default();
        let Some((most, _)) =
            counts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > own)
        else {
            return false;
        };
        let given_up = self.begun.iter().find(|(_, of)| *of == most).map(|(key, _)| key.clone());
        let Some(key) = given_up else { return false };
        self.begun.remove(&key);
        if let Some(waiting) = self.waiting.remove(&key) {
            let request = waiting.request.anew();
            self.waiting.insert(key, Waiting { request, ..waiting });
        }
        true
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// What waits is dropped.
    pub(super) fn close(&mut self) {
        *self = Self { closed: true, ..Self::default() };
    }
}

/// Somebody has used so much. Whether all that was used counts half from now on.
fn spend<K: Clone + Eq + std::hash::Hash>(used: &mut HashMap<K, Duration>, who: &K, took: Duration) -> bool {
    let own = used.entry(who.clone()).or_default();
    *own += took;
    let halve = *own >= REMEMBERED || used.len() > MOST_REMEMBERED;
    if halve {
        used.values_mut().for_each(|used| *used /= 2);
        used.retain(|_, used| *used >= NOTHING);
    }
    halve
}

#[cfg(test)]
mod tests {
    use super::*;
    use reloadlet_core::machine::event::Survey;

    fn pod(n: u32) -> PodUid {
        PodUid::parse(&format!("{n:032x}")).unwrap()
    }

    fn list(n: u32, volume: &str) -> Request {
        Request::List(VolumeRef { pod: pod(n), volume: volume.into() }, std::path::PathBuf::new())
    }

    fn survey(n: u32, name: Option<&str>, fresh_mounts: bool) -> Survey {
        Survey { pod: pod(n), name: name.map(Into::into), fresh_mounts }
    }

    fn surveying(n: u32) -> Request {
        let begun = super::super::survey::Surveying::new(
            survey(n, None, false),
            crate::cgroups::PodCgroup::default(),
            Duration::ZERO,
        );
        Request::Surveying(Box::new(begun))
    }

    #[test]
    fn who_is_new_has_a_turn_and_not_all_turns_until_it_has_used_as_much_as_others() {
        let mut queue = QueueState::default();
        let (old, new) = (Name::from("old"), Name::from("new"));
        let slice = Duration::from_millis(5);
        for _ in 0..100 {
            queue.add(&old, list(1, "conf"));
            queue.take().unwrap();
            queue.done(&old, &pod(1), slice, None);
        }
        let mut served = Vec::new();
        queue.add(&new, list(2, "conf"));
        queue.add(&old, list(1, "conf"));
        for _ in 0..20 {
            let (namespace, request) = queue.take().unwrap();
            queue.done(&namespace, &request.pod().clone(), slice, Some(request));
            served.push(namespace);
        }
        let of_old = served.iter().filter(|namespace| **namespace == old).count();
        assert!((8..=12).contains(&of_old), "{served:?}");
    }

    #[test]
    fn a_request_takes_the_place_of_the_same_one_that_waits() {
        let shop = Name::from("shop");
        let survey = |n, name, fresh_mounts| Request::Survey(survey(n, name, fresh_mounts));
        let mut queue = QueueState::default();
        assert!(queue.add(&shop, survey(1, None, true)));
        assert!(queue.add(&shop, survey(2, None, false)));
        assert!(!queue.add(&shop, survey(1, Some("app"), false)), "it waits already");
        let Some((_, Request::Survey(first))) = queue.take() else { panic!("no survey") };
        assert_eq!((first.pod, first.name.as_deref(), first.fresh_mounts), (pod(1), Some("app"), true));
        assert!(matches!(queue.take(), Some((_, Request::Survey(second))) if second.pod == pod(2)));
        assert!(queue.take().is_none() && queue.waiting.is_empty() && queue.urgent.is_empty());
    }

    #[test]
    fn a_read_that_a_reload_comes_to_wait_for_doesnt_come_after_all_else_any_more() {
        let shop = Name::from("shop");
        let read = |decides| {
            let volume = VolumeRef { pod: pod(1), volume: "conf".into() };
            let generation = Generation::parse("..2026_11_21_05_56_44.1").unwrap();
            let filter = reloadlet_core::policy::files::FileFilter::default();
            let reading = reloadlet_core::machine::event::Reading { filter, each: true, decides };
            Request::Read(volume, generation, std::path::PathBuf::new(), reading)
        };
        for (first, second) in [(false, false), (false, true), (true, false)] {
            let mut queue = QueueState::default();
            queue.add(&shop, read(first));
            queue.add(&shop, list(2, "v"));
            queue.add(&shop, read(second));
            let turns: Vec<_> = std::iter::from_fn(|| queue.take()).map(|(_, r)| r.pod().clone()).collect();
            let expected = if first { [pod(1), pod(2)] } else { [pod(2), pod(1)] };
            assert_eq!(turns, expected, "{first} {second}");
            assert!(queue.urgent.is_empty() && queue.later.is_empty());
        }
    }

    #[test]
    fn a_pod_that_takes_long_doesnt_come_before_others() {
        let shop = Name::from("shop");
        let mut queue = QueueState::default();
        for n in 0..256 {
            queue.add(&shop, list(1, &format!("v{n}")));
        }
        assert_eq!(queue.take().unwrap().1.pod(), &pod(1));
        queue.done(&shop, &pod(1), Duration::from_millis(5), Some(list(1, "rest")));
        queue.add(&shop, list(2, "v"));
        queue.add(&shop, list(3, "v"));
        let turns: Vec<_> = (0..3).filter_map(|_| queue.take().map(|(_, r)| r.pod().clone())).collect();
        assert_eq!(turns, [pod(2), pod(3), pod(1)]);
    }

    #[test]
    fn a_namespace_with_a_hundred_pods_has_no_more_turns_than_one_with_a_single_one() {
        let (loud, quiet) = (Name::from("loud"), Name::from("quiet"));
        let mut queue = QueueState::default();
        for n in 0..100 {
            queue.add(&loud, list(n, "v"));
        }
        queue.add(&quiet, list(1000, "v"));
        let mut turns = Vec::new();
        for _ in 0..20 {
            let (namespace, request) = queue.take().unwrap();
            let pod = request.pod().clone();
            turns.push(namespace.clone());
            // Each has always more to do.
            queue.done(&namespace, &pod, Duration::from_millis(5), Some(request));
        }
        assert_eq!(turns.iter().filter(|name| **name == quiet).count(), 10);
    }

    #[test]
    fn a_namespace_with_much_that_is_half_done_gives_way_to_one_with_less() {
        let (loud, quiet) = (Name::from("loud"), Name::from("quiet"));
        let mut queue = QueueState::default();
        let begun = |queue: &QueueState, name| queue.begun.values().filter(|of| *of == name).count();
        for n in 0..20 {
            queue.done(&loud, &pod(n), Duration::ZERO, Some(surveying(n)));
        }
        assert_eq!((begun(&queue, &loud), queue.waiting.len()), (MOST_BEGUN, 20));
        for n in 100..110 {
            queue.done(&quiet, &pod(n), Duration::ZERO, Some(surveying(n)));
        }
        assert_eq!((begun(&queue, &loud), begun(&queue, &quiet)), (MOST_BEGUN / 2, MOST_BEGUN / 2));
        let kept = queue.waiting.values().filter(|waiting| waiting.request.is_begun()).count();
        assert_eq!((kept, queue.waiting.len()), (MOST_BEGUN, 30));
        let first: Vec<_> = (0..2).map(|_| queue.take().unwrap().1.is_begun()).collect();
        assert!(first.contains(&true) && first.contains(&false), "they alternate: {first:?}");
    }

    #[test]
    fn what_a_pod_used_long_ago_and_what_a_forgotten_one_used_isnt_kept() {
        let shop = Name::from("shop");
        let mut queue = QueueState::default();
        for n in 0..1000 {
            queue.done(&shop, &pod(n), Duration::from_micros(1500), None);
        }
        queue.done(&shop, &pod(0), REMEMBERED, None);
        assert_eq!(queue.used_of_pods.len(), 1);
        queue.add(&shop, Request::Forget(pod(0)));
        assert!(queue.take().is_some() && queue.used_of_pods.is_empty() && queue.namespaces.is_empty());
    }
}
