//! What waits for the surveyor, and whose turn it is: the pod's that has used the least time. Among pods that have used
//! as much, first come, first served.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use reloadlet_core::event::VolumeRef;
use reloadlet_core::generation::Generation;
use reloadlet_core::pod::PodUid;
use reloadlet_core::process::ProcessIdentity;

use super::Request;

/// When a pod has used as much, everybody's use counts half from then on: what was long ago counts for little.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Less than that is forgotten then.
const NOTHING: Duration = Duration::from_millis(1);
/// The most surveys that are kept half done; each can hold facts of thousands of processes. A further one begins anew.
const MOST_BEGUN: usize = 8;

/// What makes two requests the same: the one in the queue will do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
        matches!(self, Self::Read(_, _, _, reading) if !reading.decides)
    }

    /// Whose request it is.
    pub(super) fn pod(&self) -> &PodUid {
        match self {
            Self::Survey(survey) => &survey.pod,
            Self::Surveying(surveying) => &surveying.survey().pod,
            Self::List(volume, _) | Self::Read(volume, ..) => &volume.pod,
            Self::Masks(process, _) => &process.pod,
            Self::Reading(masks) => &masks.process().pod,
            Self::Home(pod) | Self::Forget(pod) => pod,
        }
    }

    fn key(&self) -> Key {
        match self {
            Self::Survey(survey) => Key::Survey(survey.pod.clone()),
            Self::Surveying(surveying) => Key::Survey(surveying.survey().pod.clone()),
            Self::List(volume, _) => Key::List(volume.clone()),
            Self::Read(volume, generation, ..) => Key::Read(volume.clone(), generation.clone()),
            Self::Masks(process, _) => Key::Masks(process.clone()),
            Self::Reading(masks) => Key::Masks(masks.process().clone()),
            Self::Home(pod) => Key::Home(pod.clone()),
            Self::Forget(pod) => Key::Forget(pod.clone()),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct QueueState {
    /// What each pod waits for, in order, with a number that grows with each request.
    order: HashMap<PodUid, VecDeque<(u64, Key)>>,
    next: u64,
    /// What comes when nothing else waits.
    later: VecDeque<Key>,
    waiting: HashMap<Key, Request>,
    /// How much time was spent on each pod lately.
    used: HashMap<PodUid, Duration>,
    closed: bool,
}

impl QueueState {
    /// Adds a request. In place of the same one that waits already: under other annotations it asks for other things.
    pub(super) fn add(&mut self, mut request: Request) -> bool {
        let key = request.key();
        let before = self.waiting.remove(&key);
        let is_new = before.is_none();
        if let Request::Survey(survey) = &mut request {
            match &before {
                Some(Request::Survey(before)) => survey.fresh_mounts |= before.fresh_mounts,
                Some(Request::Surveying(before)) => survey.fresh_mounts |= before.survey().fresh_mounts,
                Some(_) | None => {}
            }
        }
        let can_wait = request.can_wait();
        if is_new || !can_wait && self.later.contains(&key) {
            self.later.retain(|waiting| *waiting != key);
            if can_wait {
                self.later.push_back(key.clone());
            } else {
                self.next += 1;
                self.order.entry(request.pod().clone()).or_default().push_back((self.next, key.clone()));
            }
        }
        self.waiting.insert(key, request);
        is_new
    }

    pub(super) fn take(&mut self) -> Option<Request> {
        let key = self.take_of_the_least_served().or_else(|| self.later.pop_front())?;
        let request = self.waiting.remove(&key);
        if let Key::Forget(pod) = &key {
            self.used.remove(pod);
        }
        request
    }

    fn take_of_the_least_served(&mut self) -> Option<Key> {
        let used = |pod: &PodUid| self.used.get(pod).copied().unwrap_or_default();
        let turn = |(pod, keys): &(&PodUid, &VecDeque<(u64, Key)>)| {
            (used(pod), keys.front().map(|(number, _)| *number))
        };
        let pod = self.order.iter().min_by_key(turn)?.0.clone();
        let keys = self.order.get_mut(&pod)?;
        let key = keys.pop_front();
        if keys.is_empty() {
            self.order.remove(&pod);
        }
        key.map(|(_, key)| key)
    }

    /// A pod's request has taken so long. What is left of it comes after the pod's others, unless it is asked for anew.
    pub(super) fn done(&mut self, pod: &PodUid, took: Duration, rest: Option<Request>) {
        let used = self.used.entry(pod.clone()).or_default();
        *used += took;
        if *used >= REMEMBERED {
            self.used.values_mut().for_each(|used| *used /= 2);
            self.used.retain(|_, used| *used >= NOTHING);
        }
        let Some(rest) = rest.filter(|rest| !self.closed && !self.waiting.contains_key(&rest.key())) else {
            return;
        };
        let begun = self.waiting.values().filter(|request| matches!(request, Request::Surveying(_))).count();
        self.add(match rest {
            Request::Surveying(surveying) if begun >= MOST_BEGUN => {
                Request::Survey(surveying.survey().clone())
            }
            rest @ (Request::Survey(_)
            | Request::Surveying(_)
            | Request::List(..)
            | Request::Read(..)
            | Request::Masks(..)
            | Request::Reading(_)
            | Request::Home(_)
            | Request::Forget(_)) => rest,
        });
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// What waits is dropped.
    pub(super) fn close(&mut self) {
        *self = Self { closed: true, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reloadlet_core::event::Survey;

    #[test]
    fn a_request_takes_the_place_of_the_same_one_that_waits() {
        let pod = |digit: &str| PodUid::parse(&digit.repeat(32)).unwrap();
        let survey = |digit, name: Option<&str>, fresh_mounts| {
            Request::Survey(Survey { pod: pod(digit), name: name.map(Into::into), fresh_mounts })
        };
        let mut queue = QueueState::default();
        assert!(queue.add(survey("1", None, true)));
        assert!(queue.add(survey("2", None, false)));
        assert!(!queue.add(survey("1", Some("app"), false)), "it waits already");
        let Some(Request::Survey(first)) = queue.take() else { panic!("no survey") };
        assert_eq!((first.pod, first.name.as_deref(), first.fresh_mounts), (pod("1"), Some("app"), true));
        assert!(matches!(queue.take(), Some(Request::Survey(second)) if second.pod == pod("2")));
        assert!(queue.take().is_none() && queue.waiting.is_empty() && queue.order.is_empty());
    }

    #[test]
    fn a_pod_that_takes_long_doesnt_come_before_others() {
        let pod = |digit: &str| PodUid::parse(&digit.repeat(32)).unwrap();
        let list = |digit, volume: &str| {
            Request::List(VolumeRef { pod: pod(digit), volume: volume.into() }, std::path::PathBuf::new())
        };
        let mut queue = QueueState::default();
        for n in 0..256 {
            queue.add(list("1", &format!("v{n}")));
        }
        assert_eq!(queue.take().unwrap().pod(), &pod("1"));
        queue.done(&pod("1"), Duration::from_millis(5), Some(list("1", "rest")));
        queue.add(list("2", "v"));
        queue.add(list("3", "v"));
        let turns: Vec<_> =
            (0..3).filter_map(|_| queue.take().map(|request| request.pod().clone())).collect();
        assert_eq!(turns, [pod("2"), pod("3"), pod("1")]);
    }

    #[test]
    fn what_a_pod_used_long_ago_and_what_a_forgotten_one_used_isnt_kept() {
        let pod = |n: u32| PodUid::parse(&format!("{n:032x}")).unwrap();
        let mut queue = QueueState::default();
        for n in 0..1000 {
            queue.done(&pod(n), Duration::from_micros(1500), None);
        }
        queue.done(&pod(0), REMEMBERED, None);
        assert_eq!(queue.used.len(), 1);
        queue.add(Request::Forget(pod(0)));
        assert!(queue.take().is_some() && queue.used.is_empty());
    }
}
