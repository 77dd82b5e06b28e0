//! How many Events may be sent: a small number a minute for whoever sends them, of which each namespace has a share, and one a while
//! for each object and reason.

use std::collections::BTreeMap;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::model::names::Name;
use reloadlet_core::policy::allowance::Allowance;

/// The most Events at once, half of them of one namespace; one comes back each [`REFILL`].
const BURST: u32 = 50;
/// How many of them are left to what a person must act on: that a reload went well is said in the log and counted.
const RESERVED: u32 = 20;
/// So ten a minute in the long run.
const REFILL: Duration = Duration::from_secs(6);
/// The least time between two Events of one object and reason. What comes meanwhile is counted into the next one.
const QUIET: Duration = Duration::from_secs(30);
/// So long no further Event is tried in a namespace in which one was refused.
pub(crate) const PAUSE: Duration = Duration::from_secs(30);
/// How many such namespaces are remembered. Beyond that the one that was found first is tried again earlier.
const MOST_PAUSED: usize = 256;
/// How many objects and reasons are remembered. Beyond that the namespace that has most forgets its oldest.
const REMEMBERED: usize = 4096;

/// What Events are told apart by: the UID of the object that they are about, and the reason.
pub(crate) type Key = (Name, &'static str);

/// What may be sent now.
#[derive(Debug)]
pub(crate) struct Budget {
    allowance: Allowance,
    /// None of them is empty.
    last: BTreeMap<Name, BTreeMap<Key, Last>>,
    /// Until when no Event is tried in these namespaces.
    paused: BTreeMap<Name, Time>,
}

#[derive(Debug)]
struct Last {
    sent: Time,
    held_back: u32,
}

impl Budget {
    /// A full budget.
    pub(crate) const fn new(now: Time) -> Self {
        let allowance = Allowance::new(BURST, REFILL, now);
        Self { allowance, last: BTreeMap::new(), paused: BTreeMap::new() }
    }

    /// Whether an Event may be sent, and how many of its kind were held back before it. One that may not can be tried again,
    /// or is to be [held back](Self::hold_back).
    pub(crate) fn take(&mut self, namespace: &Name, key: &Key, urgent: bool, now: Time) -> Option<u32> {
        if self.paused.get(namespace).is_some_and(|until| now < *until) {
            return None;
        }
        let last = self.last.get(namespace).and_then(|known| known.get(key));
        if last.is_some_and(|last| now.since(last.sent) < QUIET) {
            return None;
        }
        if !self.allowance.take(namespace, if urgent { 0 } else { RESERVED }, now) {
            return None;
        }
        let before = self.last.entry(namespace.clone()).or_default();
        let before = before.insert(key.clone(), Last { sent: now, held_back: 0 });
        self.forget_oldest();
        Some(before.map_or(0, |last| last.held_back))
    }

    /// So many weren't sent, and are counted into the next one of their kind.
    pub(crate) fn hold_back(&mut self, namespace: &Name, key: &Key, count: u32) {
        if let Some(last) = self.last.get_mut(namespace).and_then(|known| known.get_mut(key)) {
            last.held_back = last.held_back.saturating_add(count);
        }
    }

    /// The Event that a namespace has taken last is refused there, as where the namespace is being deleted: others may have it, and for
    /// a while none is tried there.
    pub(crate) fn refused(&mut self, namespace: &Name, now: Time) {
        self.allowance.give_back(namespace);
        self.paused.retain(|_, until| now < *until);
        self.paused.insert(namespace.clone(), now + PAUSE);
        if self.paused.len() > MOST_PAUSED {
            let first = self.paused.iter().min_by_key(|(_, until)| **until).map(|(name, _)| name.clone());
            first.map(|first| self.paused.remove(&first));
        }
    }

    /// An object is gone.
    pub(crate) fn forget(&mut self, namespace: &Name, object: &Name) {
        if let Some(known) = self.last.get_mut(namespace) {
            known.retain(|(uid, _), _| uid != object);
            if known.is_empty() {
                self.last.remove(namespace);
            }
        }
    }

    fn forget_oldest(&mut self) {
        let count: usize = self.last.values().map(BTreeMap::len).sum();
        if count <= REMEMBERED {
            return;
        }
        let Some(most) = self.last.values_mut().max_by_key(|known| known.len()) else { return };
        let oldest = most.iter().min_by_key(|(_, last)| last.sent).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            most.remove(&oldest);
        }
        self.last.retain(|_, known| !known.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    fn key(n: u32, reason: &'static str) -> Key {
        (format!("{n:08x}").as_str().into(), reason)
    }

    fn sent(budget: &mut Budget, namespace: &str, from: u32, urgent: bool, now: Time) -> usize {
        let namespace = Name::from(namespace);
        let each = (from..from + 100).map(|n| key(n, "SignalSent"));
        each.filter(|key| budget.take(&namespace, key, urgent, now).is_some()).count()
    }

    #[test]
    fn one_pod_and_reason_has_an_event_each_half_minute_and_the_rest_is_counted() {
        let (mut budget, shop) = (Budget::new(at(0)), Name::from("shop"));
        let (reloaded, held) = (key(1, "SignalSent"), key(1, "ReloadHeld"));
        assert_eq!(budget.take(&shop, &reloaded, true, at(0)), Some(0));
        assert_eq!(budget.take(&shop, &reloaded, true, at(1)), None);
        budget.hold_back(&shop, &reloaded, 1);
        assert_eq!(budget.take(&shop, &held, true, at(1)), Some(0), "another reason");
        assert_eq!(budget.take(&shop, &reloaded, true, at(29)), None);
        budget.hold_back(&shop, &reloaded, 2);
        assert_eq!(budget.take(&shop, &reloaded, true, at(30)), Some(3));
        assert_eq!(budget.take(&shop, &reloaded, true, at(60)), Some(0));
    }

    #[test]
    fn a_namespace_alone_sends_a_burst_and_then_ten_a_minute() {
        let mut budget = Budget::new(at(0));
        assert_eq!(sent(&mut budget, "shop", 0, true, at(0)), 25);
        let minute = |second: u64| sent(&mut budget, "shop", 1000, true, at(second));
        assert_eq!((0..=60).map(minute).sum::<usize>(), 10);
        assert_eq!(
            sent(&mut budget, "shop", 2000, false, at(100_000)),
            15,
            "the rest is for what must be acted on"
        );
        assert_eq!(sent(&mut budget, "shop", 3000, true, at(100_000)), 10);
    }

    #[test]
    fn another_namespace_has_a_share_whatever_one_has_sent() {
        let mut budget = Budget::new(at(0));
        for second in 0..600 {
            sent(&mut budget, "loud", 100 * u32::try_from(second).unwrap(), true, at(second));
        }
        assert!(sent(&mut budget, "quiet", 0, true, at(600)) >= 10);
        assert!(sent(&mut budget, "third", 0, true, at(600)) >= 5);
    }

    #[test]
    fn in_a_namespace_that_takes_no_event_none_is_tried_for_a_while_and_none_is_used_up() {
        let (mut budget, going) = (Budget::new(at(0)), Name::from("going"));
        for n in 0..1000 {
            let now = at(30 * u64::from(n));
            assert_eq!(budget.take(&going, &key(n, "ReloadHeld"), true, now), Some(0), "{n}");
            budget.refused(&going, now);
            assert_eq!(
                budget.take(&going, &key(n + 1, "ReloadHeld"), true, now + Duration::from_secs(29)),
                None
            );
        }
        let mut other = Budget::new(at(0));
        for n in 0..1000 {
            let name = Name::from(format!("going-{n}"));
            assert!(other.take(&name, &key(n, "ReloadHeld"), true, at(0)).is_some(), "{n}");
            other.refused(&name, at(0));
        }
        assert_eq!(other.paused.len(), MOST_PAUSED);
        assert_eq!(sent(&mut other, "shop", 0, true, at(0)), 25, "all of its share is there");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_nobody_forgets_for_another() {
        let (mut budget, quiet) = (Budget::new(at(0)), Name::from("quiet"));
        let own = key(1, "SignalSent");
        assert_eq!(budget.take(&quiet, &own, false, at(0)), Some(0));
        budget.hold_back(&quiet, &own, 7);
        for n in 0..20_000 {
            budget.take(&"loud".into(), &key(n, "SignalSent"), false, at(u64::from(n) * 6));
        }
        let remembered: usize = budget.last.values().map(BTreeMap::len).sum();
        assert_eq!(remembered, REMEMBERED);
        assert_eq!(budget.take(&quiet, &own, true, at(200_000)), Some(7));
    }

    #[test]
    fn of_a_pod_that_is_gone_nothing_is_remembered() {
        let (mut budget, shop) = (Budget::new(at(0)), Name::from("shop"));
        budget.take(&shop, &key(1, "SignalSent"), true, at(0));
        budget.take(&shop, &key(1, "ReloadHeld"), true, at(0));
        budget.forget(&shop, &key(1, "").0);
        assert!(budget.last.is_empty());
    }
}
