//! The gate through which the contents of objects come: few at a time, the namespaces in turn, and an object that changes
//! all the time not all the time. Nothing here waits or asks.

use std::collections::BTreeMap;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectRef;

use super::errand::{Fetch, Freshness};
use crate::api::backoff::Backoff;

/// How many are on their way at a time, and how many of one namespace. What is small takes milliseconds.
const AT_ONCE: usize = 4;
const AT_ONCE_OF_ONE: usize = 2;
/// How long an object rests after a fetch: doubled with each further one, so that its owner can't have it fetched all the
/// time. The newest content is fetched in any case, late by that at most.
const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(2);
/// After so long without a fetch an object doesn't rest any more.
const QUIET: Duration = Duration::from_secs(10);

/// What is known of one object's fetches.
#[derive(Debug)]
struct Need {
    /// When something is to be fetched.
    due: Option<Time>,
    /// When the first sign of what is to be fetched was seen, if there was one.
    since: Option<Time>,
    freshness: Freshness,
    running: Option<u64>,
    begun: Option<Time>,
    rest: Duration,
    backoff: Backoff,
}

impl Need {
    const fn new() -> Self {
        let (due, since, running, begun) = (None, None, None, None);
        Self {
            due,
            since,
            freshness: Freshness::Any,
            running,
            begun,
            rest: Duration::ZERO,
            backoff: Backoff::new(),
        }
    }

    fn rested(&self) -> Time {
        self.begun.map_or(Time::default(), |begun| begun + self.rest)
    }

    fn tire(&mut self, now: Time) {
        let quiet = self.begun.is_none_or(|begun| now.since(begun) > QUIET);
        let longer = self.rest.saturating_mul(2).clamp(FIRST_REST, LONGEST_REST);
        self.rest = if quiet { FIRST_REST } else { longer };
        self.begun = Some(now);
    }
}

/// A fetch that is on its way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) object: ObjectRef,
    pub(super) freshness: Freshness,
    /// When the first sign of what is fetched was seen, or else when the fetch began.
    pub(super) since: Time,
    pub(super) begun: Time,
    /// There was a sign.
    signed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Fetches {
    needs: BTreeMap<ObjectRef, Need>,
    running: BTreeMap<u64, Running>,
    next_id: u64,
    /// Whose turn it was.
    turn: Option<Name>,
}

impl Fetches {
    /// There may be something new of an object, of which the first sign came then.
    pub(super) fn want(&mut self, object: &ObjectRef, freshness: Freshness, since: Option<Time>, at: Time) {
        let need = self.needs.entry(object.clone()).or_insert_with(Need::new);
        need.since = need.since.into_iter().chain(since).min();
        need.freshness = if need.due.is_some() { newer(&need.freshness, freshness) } else { freshness };
        let at = at.max(need.rested());
        need.due = Some(need.due.map_or(at, |due| due.min(at)));
    }

    /// What was fetched is all that there is.
    pub(super) fn settle(&mut self, object: &ObjectRef) {
        if let Some(need) = self.needs.get_mut(object) {
            (need.due, need.since) = (None, None);
        }
    }

    /// Nothing of an object is wanted any more.
    pub(super) fn forget(&mut self, object: &ObjectRef) {
        self.needs.remove(object);
    }

    /// When [`Self::next`] has something to give.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let can_begin = |(object, need): (&ObjectRef, &Need)| need.due.filter(|_| self.has_room(object));
        self.needs.iter().filter(|(_, need)| need.running.is_none()).filter_map(can_begin).min()
    }

    /// The next one to begin with.
    pub(super) fn next(&mut self, now: Time) -> Option<Fetch> {
        let is_due = |need: &Need| need.running.is_none() && need.due.is_some_and(|due| due <= now);
        let due = || {
            let due = self.needs.iter().filter(|(object, need)| is_due(need) && self.has_room(object));
            due.map(|(object, need)| (need.due, object))
        };
        let namespace = |object: &ObjectRef| Some(object.namespace.clone());
        let turn = due().filter(|(_, object)| namespace(object) > self.turn);
        let turn = turn.map(|(_, object)| &object.namespace).min();
        let turn = turn.or_else(|| due().map(|(_, object)| &object.namespace).min())?.clone();
        let object = due().filter(|(_, object)| object.namespace == turn).min()?.1.clone();
        self.turn = Some(turn);
        self.next_id += 1;
        let need = self.needs.get_mut(&object)?;
        need.tire(now);
        need.due = None;
        need.running = Some(self.next_id);
        let (signed, since) = (need.since.is_some(), need.since.take().unwrap_or(now));
        let freshness = std::mem::replace(&mut need.freshness, Freshness::Any);
        let running =
            Running { object: object.clone(), freshness: freshness.clone(), since, begun: now, signed };
        self.running.insert(self.next_id, running);
        Some(Fetch { object, id: self.next_id, freshness })
    }

    /// A fetch has ended; nothing if it isn't wanted any more.
    pub(super) fn ended(&mut self, id: u64) -> Option<Running> {
        let running = self.running.remove(&id)?;
        let need = self.needs.get_mut(&running.object)?;
        need.running.take_if(|running| *running == id)?;
        Some(running)
    }

    /// What has ended was answered.
    pub(super) fn succeeded(&mut self, object: &ObjectRef) {
        if let Some(need) = self.needs.get_mut(object) {
            need.backoff.succeeded();
        }
    }

    /// What has ended has failed: it is tried again after a while.
    pub(super) fn failed(&mut self, failed: Running, retry_after: Option<Duration>, now: Time, chances: u64) {
        let Some(need) = self.needs.get_mut(&failed.object) else { return };
        let at = now + need.backoff.failed(retry_after, chances);
        need.due = None;
        let freshness = newer(&need.freshness, failed.freshness);
        // The server that is asked next may not have the version that another one has shown.
        let freshness = if freshness == Freshness::Any { freshness } else { Freshness::Newest };
        self.want(&failed.object, freshness, failed.signed.then_some(failed.since), at);
    }

    fn has_room(&self, object: &ObjectRef) -> bool {
        let of_one = self.running.values().filter(|one| one.object.namespace == object.namespace).count();
        self.running.len() < AT_ONCE && of_one < AT_ONCE_OF_ONE
    }
}

/// What satisfies both.
fn newer(one: &Freshness, other: Freshness) -> Freshness {
    match (one, other) {
        (Freshness::NotOlderThan(one), Freshness::NotOlderThan(other)) => {
            let later = is_older(one, &other);
            Freshness::NotOlderThan(if later { other } else { one.clone() })
        }
        (one, other) => one.clone().max(other),
    }
}

/// Whether one version is older than another. Of versions that are no numbers nothing is known but whether they are the
/// same.
pub(super) fn is_older(one: &str, other: &str) -> bool {
    let number = |version: &str| version.parse::<u128>().ok();
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one < other,
        (_, _) => one != other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use reloadlet_core::model::object::ObjectKind;

    use super::*;

    fn object(namespace: &str, name: &str) -> ObjectRef {
        ObjectRef { kind: ObjectKind::ConfigMap, namespace: namespace.into(), name: name.into() }
    }

    fn at(millis: u64) -> Time {
        Time::since_boot(Duration::from_millis(millis))
    }

    fn shown(version: &str) -> Freshness {
        Freshness::NotOlderThan(version.into())
    }

    fn next(fetches: &mut Fetches, millis: u64) -> Vec<Fetch> {
        std::iter::from_fn(|| fetches.next(at(millis))).collect()
    }

    #[test]
    fn few_are_fetched_at_a_time_and_the_namespaces_take_turns() {
        let mut fetches = Fetches::default();
        for number in 0..100 {
            fetches.want(&object("hostile", &format!("{number:03}")), Freshness::Any, None, at(number));
        }
        let mut running = next(&mut fetches, 1000);
        assert_eq!(running.len(), AT_ONCE_OF_ONE);
        for name in ["x", "y", "z"] {
            fetches.want(&object("shop", name), Freshness::Any, None, at(1000));
        }
        running.extend(next(&mut fetches, 1000));
        assert_eq!(running.len(), AT_ONCE, "the other namespace's places were free");
        assert_eq!(fetches.poll_timeout(), None, "until one has ended");
        let mut order = Vec::new();
        while !running.is_empty() {
            fetches.ended(running.remove(0).id).unwrap();
            let begun = next(&mut fetches, 1000);
            order.extend(begun.iter().map(|fetch| fetch.object.namespace.to_string()));
            running.extend(begun);
        }
        assert_eq!(order.len(), 99);
        assert!(order.iter().position(|namespace| namespace == "shop").unwrap() <= 2, "{order:?}");
        assert!(fetches.running.is_empty() && fetches.poll_timeout().is_none());
    }

    #[test]
    fn an_object_that_changes_all_the_time_isnt_fetched_all_the_time_and_its_last_content_is() {
        let mut fetches = Fetches::default();
        let flipped = object("hostile", "flipped");
        let mut begun = Vec::new();
        for millis in 0..60_000 {
            if millis % 20 == 0 {
                fetches.want(&flipped, shown(&millis.to_string()), Some(at(millis)), at(millis));
            }
            for fetch in next(&mut fetches, millis) {
                begun.push((millis, fetch.freshness.clone()));
                fetches.ended(fetch.id).unwrap();
            }
        }
        let last = fetches.poll_timeout().unwrap();
        assert_eq!(begun[..3], [(0, shown("0")), (50, shown("40")), (150, shown("140"))]);
        assert!(begun.len() < 40 && last < at(62_000), "{} fetches, the last one at {last:?}", begun.len());
        assert_eq!(fetches.next(last).unwrap().freshness, shown("59980"));
    }

    #[test]
    fn an_object_that_has_been_quiet_is_fetched_at_once() {
        let mut fetches = Fetches::default();
        let one = object("shop", "one");
        for round in 0..3 {
            let now = 20_000 * round;
            fetches.want(&one, Freshness::Any, None, at(now));
            let fetch = fetches.next(at(now)).unwrap();
            fetches.ended(fetch.id).unwrap();
        }
    }

    #[test]
    fn the_first_sign_of_what_is_fetched_is_kept_also_where_a_fetch_fails() {
        let mut fetches = Fetches::default();
        let one = object("shop", "one");
        fetches.want(&one, shown("5"), Some(at(10)), at(10));
        fetches.want(&one, shown("6"), Some(at(11)), at(11));
        let fetch = fetches.next(at(20)).unwrap();
        assert_eq!(fetch.freshness, shown("6"));
        let running = fetches.ended(fetch.id).unwrap();
        assert_eq!(running.since, at(10));
        fetches.failed(running, Some(Duration::from_secs(7)), at(1000), 0);
        assert_eq!(fetches.poll_timeout(), Some(at(8000)));
        let fetch = fetches.next(at(8000)).unwrap();
        assert_eq!(fetch.freshness, Freshness::Newest, "another server may lack the version");
        assert_eq!(fetches.ended(fetch.id).unwrap().since, at(10));
    }

    #[test]
    fn what_isnt_wanted_any_more_keeps_its_place_until_it_has_ended_and_then_is_nothing() {
        let mut fetches = Fetches::default();
        let names: BTreeSet<ObjectRef> =
            ["a", "b", "c"].into_iter().map(|name| object("shop", name)).collect();
        for one in &names {
            fetches.want(one, Freshness::Any, None, at(0));
        }
        let running = next(&mut fetches, 0);
        for one in &names {
            fetches.forget(one);
            fetches.want(one, Freshness::Any, None, at(0));
        }
        assert_eq!(next(&mut fetches, 0), []);
        assert!(fetches.ended(running[0].id).is_none());
        assert_eq!(next(&mut fetches, 0).len(), 1);
        assert!(fetches.ended(99).is_none());
    }
}
