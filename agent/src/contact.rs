//! What the API server said last, and when: for each resource that is watched, and of all requests by their codes. Who
//! watches writes it; metrics and the status read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use hyper::StatusCode;
use reloadlet_core::Time;

closed_set! {
    /// What is watched on the API server.
    pub(crate) enum Resource {
        /// The pods of this node.
        Pods => "pods",
        /// The ConfigMaps that they use.
        ConfigMaps => "configmaps",
        /// The Secrets that they use, where that is wanted.
        Secrets => "secrets",
    }
}

impl Resource {
    const fn index(self) -> usize {
        self as usize
    }
}

/// How a resource's watch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchState {
    /// Nothing of it is wanted. Nobody misses it, and it has no series.
    Unused,
    /// It isn't established, or has failed.
    Down,
    /// It answers.
    Up,
}

impl WatchState {
    const fn to_bits(self) -> u8 {
        match self {
            Self::Unused => 0,
            Self::Down => 1,
            Self::Up => 2,
        }
    }

    const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Unused,
            1 => Self::Down,
            _ => Self::Up,
        }
    }
}

/// What is known of one resource's watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WatchContact {
    /// How it does.
    pub(crate) state: WatchState,
    /// When the API server last said something of it, or when it was first wanted.
    pub(crate) last: Time,
}

/// The codes that have a series of their own. Each tells an operator something else; the others are counted by class.
const CODES: [u16; 14] = [200, 201, 400, 401, 403, 404, 409, 410, 422, 429, 500, 502, 503, 504];
/// The words for the rest: by the first digit, and for requests without an answer.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "error"];

#[derive(Debug)]
struct Watch {
    state: AtomicU8,
    /// In nanoseconds since the boot.
    last: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    watches: [Watch; Resource::ALL.len()],
    codes: [AtomicU64; CODES.len()],
    classes: [AtomicU64; CLASSES.len()],
}

/// The record. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Contact(Arc<Shared>);

impl Contact {
    /// Nothing is watched, and nothing was asked.
    pub(crate) fn new() -> Self {
        let watch = |_| Watch { state: AtomicU8::new(WatchState::Unused.to_bits()), last: AtomicU64::new(0) };
        Self(Arc::new(Shared {
            watches: Resource::ALL.map(watch),
            codes: [const { AtomicU64::new(0) }; CODES.len()],
            classes: [const { AtomicU64::new(0) }; CLASSES.len()],
        }))
    }

    /// The resource is wanted from now on, and its watch isn't established yet. What is known of one that was wanted before
    /// stays.
    pub(crate) fn wanted(&self, resource: Resource, now: Time) {
        let watch = &self.0.watches[resource.index()];
        if WatchState::from_bits(watch.state.load(Ordering::Relaxed)) == WatchState::Unused {
            watch.last.store(nanos(now), Ordering::Relaxed);
            watch.state.store(WatchState::Down.to_bits(), Ordering::Relaxed);
        }
    }

    /// Nothing of the resource is wanted any more.
    pub(crate) fn unused(&self, resource: Resource) {
        self.set(resource, WatchState::Unused);
    }

    /// The resource's watch answers: the API server accepted it. For a resource with many watches: all of them.
    pub(crate) fn up(&self, resource: Resource, now: Time) {
        self.heard(resource, now);
        self.set(resource, WatchState::Up);
    }

    /// The resource's watch has failed. For a resource with many watches: one of them.
    pub(crate) fn down(&self, resource: Resource) {
        self.set(resource, WatchState::Down);
    }

    /// The API server said something of the resource: a page of a list, or something on a watch.
    pub(crate) fn heard(&self, resource: Resource, now: Time) {
        self.0.watches[resource.index()].last.fetch_max(nanos(now), Ordering::Relaxed);
    }

    /// What is known of the resource's watch.
    pub(crate) fn watch(&self, resource: Resource) -> WatchContact {
        let watch = &self.0.watches[resource.index()];
        WatchContact {
            state: WatchState::from_bits(watch.state.load(Ordering::Relaxed)),
            last: Time::from_nanos(watch.last.load(Ordering::Relaxed)),
        }
    }

    /// A request was answered with this status; `None` for no answer.
    pub(crate) fn answered(&self, status: Option<StatusCode>) {
        let code = status.map(|status| status.as_u16());
        let known = code.and_then(|code| CODES.iter().position(|known| *known == code));
        let counter = match (known, code) {
            (Some(known), _) => &self.0.codes[known],
            (None, Some(code)) => &self.0.classes[usize::from(code / 100).clamp(1, 5) - 1],
            (None, None) => &self.0.classes[5],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests were answered, by the word for the code. The words are always the same.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (String, u64)> {
        let codes = CODES.iter().map(ToString::to_string).zip(&self.0.codes);
        let classes = CLASSES.iter().map(ToString::to_string).zip(&self.0.classes);
        codes.chain(classes).map(|(word, count)| (word, count.load(Ordering::Relaxed)))
    }

    fn set(&self, resource: Resource, state: WatchState) {
        self.0.watches[resource.index()].state.store(state.to_bits(), Ordering::Relaxed);
    }
}

fn nanos(time: Time) -> u64 {
    u64::try_from(time.elapsed_since_boot().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn a_watch_is_down_from_when_it_is_wanted_until_it_answers() {
        let contact = Contact::new();
        let known = || contact.watch(Resource::Pods);
        assert_eq!(known().state, WatchState::Unused);
        contact.wanted(Resource::Pods, at(5));
        assert_eq!(known(), WatchContact { state: WatchState::Down, last: at(5) });
        contact.heard(Resource::Pods, at(6));
        assert_eq!(known(), WatchContact { state: WatchState::Down, last: at(6) }, "a list isn't a watch");
        contact.up(Resource::Pods, at(7));
        contact.wanted(Resource::Pods, at(8));
        assert_eq!(known(), WatchContact { state: WatchState::Up, last: at(7) });
        contact.down(Resource::Pods);
        assert_eq!(known(), WatchContact { state: WatchState::Down, last: at(7) });
        assert_eq!(contact.watch(Resource::Secrets).state, WatchState::Unused);
        contact.unused(Resource::Pods);
        assert_eq!(known().state, WatchState::Unused);
    }

    #[test]
    fn every_answer_is_counted_and_no_server_can_make_a_series() {
        let contact = Contact::new();
        for code in 100..1000 {
            contact.answered(StatusCode::from_u16(code).ok());
        }
        contact.answered(None);
        let counts: BTreeMap<String, u64> = contact.requests().collect();
        assert_eq!(counts.len(), CODES.len() + CLASSES.len());
        assert_eq!(counts.values().sum::<u64>(), 901);
        assert_eq!((counts["429"], counts["2xx"], counts["error"]), (1, 98, 1));
    }
}
