//! What the API server said last, and when: for each resource that is watched, and of all requests by their codes. Who
//! watches writes it; metrics and the status read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use hyper::StatusCode;
use reloadlet_core::Time;
use reloadlet_core::model::closed::{Closed as _, closed_set};

closed_set! {
    /// What is watched on the API server.
    pub(crate) enum Resource {
        /// Of an agent: the pods of its node.
        Pods => "pods",
        /// Of an agent: the ConfigMaps that they use; of a controller: all of them.
        ConfigMaps => "configmaps",
        /// The same of Secrets, where that is wanted.
        Secrets => "secrets",
        /// Of a controller.
        Deployments => "deployments",
        /// Of a controller.
        StatefulSets => "statefulsets",
        /// Of a controller.
        DaemonSets => "daemonsets",
        /// Of a controller: the ConfigMap by which a person holds rolls.
        Holds => "holds",
    }
}

impl Resource {
    /// The resource as people write it.
    pub(crate) const fn written(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::ConfigMaps => "ConfigMaps",
            Self::Secrets => "Secrets",
            Self::Deployments => "Deployments",
            Self::StatefulSets => "StatefulSets",
            Self::DaemonSets => "DaemonSets",
            Self::Holds => "holds",
        }
    }
}

/// How a resource's watch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchState {
    /// Nothing of it is wanted. Nobody misses it, and it has no series.
    Unused,
    /// It isn't established, or has failed.
    Down,
    /// The watch answers.
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

closed_set! {
    /// How the API server answered a request. The codes that tell an operator something else each have a word of their own,
    /// the others one for their first digit.
    pub(crate) enum Code {
        /// It did what was asked.
        Ok => "200",
        /// It made what was asked.
        Created => "201",
        /// It doesn't understand the request.
        BadRequest => "400",
        /// It doesn't know the account.
        Unauthorized => "401",
        /// The account may not.
        Forbidden => "403",
        /// There is no such thing.
        NotFound => "404",
        /// Something else came before.
        Conflict => "409",
        /// The version that a watch was to begin at is too old.
        Gone => "410",
        /// It refuses what was sent.
        Unprocessable => "422",
        /// It has too much to do for this account.
        TooManyRequests => "429",
        /// It failed.
        Internal => "500",
        /// Something between failed.
        BadGateway => "502",
        /// It isn't there for now.
        Unavailable => "503",
        /// It, or what it asked, took too long.
        GatewayTimeout => "504",
        /// Any other that begins with 1.
        Informational => "1xx",
        /// Any other that begins with 2.
        Successful => "2xx",
        /// Any that begins with 3.
        Redirected => "3xx",
        /// Any other that begins with 4.
        ClientError => "4xx",
        /// Any other that begins with 5 or more.
        ServerError => "5xx",
        /// There was no answer.
        Error => "error",
    }
}

impl Code {
    fn of(status: Option<StatusCode>) -> Self {
        let Some(status) = status else { return Self::Error };
        Self::parse(status.as_str()).unwrap_or(match status.as_u16() / 100 {
            0 | 1 => Self::Informational,
            2 => Self::Successful,
            3 => Self::Redirected,
            4 => Self::ClientError,
            _ => Self::ServerError,
        })
    }
}

#[derive(Debug)]
struct WatchCell {
    state: AtomicU8,
    /// In nanoseconds since the boot.
    last: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    watches: [WatchCell; Resource::ALL.len()],
    answers: [AtomicU64; Code::ALL.len()],
}

/// The record. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Contact(Arc<Shared>);

impl Contact {
    /// Nothing is watched, and nothing was asked.
    pub(crate) fn new() -> Self {
        let watch =
            |_| WatchCell { state: AtomicU8::new(WatchState::Unused.to_bits()), last: AtomicU64::new(0) };
        Self(Arc::new(Shared {
            watches: Resource::ALL.map(watch),
            answers: [const { AtomicU64::new(0) }; Code::ALL.len()],
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

    /// The API server said something of the resource: a whole list, an object, or something on a watch.
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
        self.0.answers[Code::of(status).index()].fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests were answered how.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (Code, u64)> {
        Code::ALL.into_iter().zip(&self.0.answers).map(|(code, count)| (code, count.load(Ordering::Relaxed)))
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
        let counts: BTreeMap<&str, u64> =
            contact.requests().map(|(code, count)| (code.as_str(), count)).collect();
        assert_eq!(counts.len(), Code::ALL.len());
        assert_eq!(counts.values().sum::<u64>(), 901);
        assert_eq!((counts["429"], counts["2xx"], counts["error"]), (1, 98, 1));
    }
}
