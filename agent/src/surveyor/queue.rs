//! What waits for the surveyor, and whose turn it is: the namespace's that has used the least time, and of its pods the
//! one's that has used the least. Among those that have used as much, first come, first served.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use reloadlet_core::model::names::{Name, PodUid};

use super::request::{Key, Request};

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

/// The requests that wait, by namespace and pod, each with a number that grows with each request.
type ByPod = HashMap<Name, HashMap<PodUid, BTreeMap<u64, Key>>>;

#[derive(Debug)]
struct Queued {
    request: Request,
    number: u64,
    can_wait: bool,
}

#[derive(Debug, Default)]
pub(super) struct QueueState {
    /// What reloads wait for.
    urgent: ByPod,
    /// What comes when nothing else waits.
    later: ByPod,
    waiting: HashMap<Key, Queued>,
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
        if let Request::Masks(_, _, depth) = &mut request
            && let Some(Queued { request: Request::Masks(_, _, before), .. }) = &before
        {
            *depth = (*depth).max(*before);
        }
        if let (Request::Masks(_, signal, depth), Some(Queued { request: Request::Reading(masks), .. })) =
            (&request, &mut before)
            && masks.signal() == *signal
        {
            masks.doubt(*depth);
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
        self.waiting.insert(key, Queued { request, number, can_wait });
        is_new
    }

    /// Takes a request out of its line.
    fn leave(&mut self, namespace: &Name, waiting: &Queued) {
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

    fn next_of(&self, line: &ByPod) -> Option<(Name, Key)> {
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
            self.waiting.insert(key, Queued { request, ..waiting });
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
mod tests;
