//! Which watches should run, what is to be fetched, and what is known of each object. Nothing here waits or asks.
//!
//! An object is fetched, and then watched from there: what the watch shows is fetched again, and where the watch ends it
//! all begins anew. Only what was fetched is told. An answer that is older than what is known may come from an API server
//! that lags behind, or from one whose store was restored from a backup: so the newest is asked for, and believed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::{ObjectKind, ObjectRef, Observed};

use super::errand::{Answer, Errand, Failure, Fetch, Fetched, Found, Freshness, ObjectWatch, Shown};
use super::fetches::{Fetches, Running, is_older};
use crate::api::backoff::Backoff;
use crate::contact::WatchState;

mod known;
mod right;
mod room;
mod slot;

use known::Known;
use right::{Right, Turn};
use room::Room;
use slot::Slot;

/// How long after a watch couldn't be started another one is.
const START_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Entry {
    /// Which request for it this is about.
    request: u64,
    /// Who asked then wants to be told also what was told before.
    anew: Option<Time>,
    slot: Option<Slot>,
    known: Option<Known>,
    /// What the watch has shown last.
    shown: Option<Name>,
    /// The watches that failed in a row.
    failures: Backoff,
    /// A watch of it has run.
    ran: bool,
    /// The last watch, or the last fetch, has failed.
    watch_fails: bool,
    fetch_fails: bool,
    too_large: bool,
}

#[derive(Debug)]
pub(super) struct Ledger {
    config_maps: Right,
    secrets: Right,
    objects: BTreeMap<ObjectRef, Entry>,
    fetches: Fetches,
    room: Room,
    next_id: u64,
    /// Nothing is started before.
    start_at: Option<Time>,
    errands: VecDeque<Errand>,
}

impl Ledger {
    /// Nothing is asked before `first`.
    pub(super) fn new(watch_secrets: bool, first: Time) -> Self {
        Self {
            config_maps: Right::new(true, first),
            secrets: Right::new(watch_secrets, first),
            objects: BTreeMap::new(),
            fetches: Fetches::default(),
            room: Room::default(),
            next_id: 0,
            start_at: None,
            errands: VecDeque::new(),
        }
    }

    pub(super) fn poll_errand(&mut self) -> Option<Errand> {
        self.errands.pop_front()
    }

    /// The next object to fetch, if there is room for what it holds.
    pub(super) fn poll_fetch(&mut self, now: Time) -> Option<Fetch> {
        self.fetches.next(now)
    }

    /// How many objects are watched, on how many connections, and how many aren't for want of room.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let watched = self.objects.values().filter(|entry| entry.slot.is_some()).count();
        let left_out = self.objects.iter().filter(|(object, entry)| {
            let right = self.right(object.kind);
            // What can't be started yet isn't without room.
            right.is_usable() && entry.slot.is_none() && self.start_at.is_none()
        });
        (watched, self.room.connections(), left_out.count())
    }

    /// How the watches of a kind do.
    pub(super) fn health(&self, kind: ObjectKind) -> WatchState {
        let right = self.right(kind);
        let mut of_kind = self.objects.iter().filter(|(object, _)| object.kind == kind).peekable();
        if !right.is_used() || of_kind.peek().is_none() {
            return WatchState::Unused;
        }
        // Those for which there is no room are said otherwise.
        let is_well =
            |entry: &Entry| entry.slot.is_none() || entry.ran && !entry.watch_fails && !entry.fetch_fails;
        if right.is_held() && of_kind.all(|(_, entry)| is_well(entry)) {
            WatchState::Up
        } else {
            WatchState::Down
        }
    }

    /// The objects that are wanted now, each with the number of the request for it.
    pub(super) fn want(&mut self, wanted: &BTreeMap<ObjectRef, u64>, now: Time) {
        let gone: Vec<_> =
            self.objects.keys().filter(|object| !wanted.contains_key(object)).cloned().collect();
        for object in gone {
            self.stop(&object);
            self.objects.remove(&object);
            self.fetches.forget(&object);
            self.errands.push_back(Errand::Forget(object));
        }
        for (object, request) in wanted {
            let entry = self.objects.entry(object.clone()).or_default();
            let before = std::mem::replace(&mut entry.request, *request);
            match &entry.known {
                Some(known) if before != *request => match known {
                    Known::Unmeasured => {
                        self.errands.push_back(Errand::Observed(object.clone(), Observed::Unmeasured, now));
                    }
                    // Who asks anew has forgotten, or doubts it.
                    Known::Version { .. } | Known::Absent => {
                        entry.anew = Some(now);
                        self.fetches.want(object, Freshness::Newest, None, now);
                    }
                },
                Some(_) | None => {}
            }
        }
        self.handle_timeout(now);
    }

    /// When something is to be done without anything happening; `fetching` if something could be fetched.
    pub(super) fn poll_timeout(&self, fetching: bool) -> Option<Time> {
        let due = |kind| self.right(kind).ask_at().filter(|_| self.first_of(kind).is_some());
        [ObjectKind::ConfigMap, ObjectKind::Secret]
            .into_iter()
            .filter_map(due)
            .chain(self.start_at)
            .chain(self.fetches.poll_timeout().filter(|_| fetching))
            .min()
    }

    /// Asks what is to be asked, and starts what can be.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        for kind in [ObjectKind::ConfigMap, ObjectKind::Secret] {
            if let Some(first) = self.first_of(kind).cloned()
                && self.right_mut(kind).ask(now)
            {
                self.errands.push_back(Errand::Ask(first));
            }
        }
        self.start_at.take_if(|at| *at <= now);
        self.room.handle_timeout(now);
        let waiting: Vec<_> = self
            .objects
            .iter()
            .filter(|(_, entry)| entry.slot.is_none())
            .map(|(object, _)| object.clone())
            .collect();
        for object in waiting {
            let right = self.right(object.kind);
            if !right.is_used() || right.is_missing() {
                self.know(&object, Observed::Unmeasured, now);
            } else if right.is_held() && self.start_at.is_none() {
                match self.room.find(None) {
                    Some(connection) => self.start(object, connection, None, now),
                    None => self.know(&object, Observed::Unmeasured, now),
                }
            }
        }
    }

    /// Takes in an answer.
    pub(super) fn answered(&mut self, kind: ObjectKind, answer: Answer, now: Time) {
        match self.right_mut(kind).answered(answer, now) {
            Turn::Held(protocol) => {
                if self.room.speak(protocol) {
                    self.stop_all();
                }
            }
            Turn::Lost => self.stop_kind(kind),
            Turn::None => {}
        }
        self.handle_timeout(now);
    }

    /// Whether the right to watch such objects is known to be missing.
    pub(super) fn is_missing(&self, kind: ObjectKind) -> bool {
        self.right(kind).is_missing()
    }

    /// Everything begins anew: the API server is reached by another way now.
    pub(super) fn restart(&mut self, now: Time) {
        self.room.restart();
        self.stop_all();
        self.handle_timeout(now);
    }

    /// A watch was answered; one that was stopped says nothing.
    pub(super) fn began(&mut self, watch: &ObjectWatch, now: Time) {
        let Some(entry) = self.objects.get_mut(&watch.object) else { return };
        let Some(slot) = entry.slot.as_mut().filter(|slot| slot.watch() == watch) else { return };
        let silent_on = slot.began(now);
        entry.ran = true;
        entry.watch_fails = false;
        if let Some(silent) = silent_on {
            // It wasn't the API server that was late: there it has no room for more.
            let takes = self.running_on(silent);
            if self.room.takes(takes, now) {
                self.errands.push_back(Errand::SayFewer(self.room.per_connection()));
            }
        }
    }

    /// A watch shows that there is something to fetch.
    pub(super) fn showed(&mut self, watch: &ObjectWatch, shown: Shown, at: Time) {
        if !self.runs(watch) {
            return;
        }
        let Some(entry) = self.objects.get_mut(&watch.object) else { return };
        let freshness = match shown {
            Shown::Version(version) => {
                entry.shown = Some(version.clone());
                match &entry.known {
                    Some(Known::Version { version: known, .. }) if *known == version => return,
                    Some(Known::Version { version: known, .. }) if !is_older(known, &version) => {
                        Freshness::Newest
                    }
                    Some(_) | None => Freshness::NotOlderThan(version),
                }
            }
            Shown::Deleted | Shown::Unclear => {
                entry.shown = None;
                Freshness::Newest
            }
        };
        self.fetches.want(&watch.object, freshness, Some(at), at);
    }

    /// An object was fetched.
    pub(super) fn fetched(&mut self, id: u64, fetched: Fetched, now: Time) {
        let Some(Running { object, freshness, since, begun, .. }) = self.fetches.ended(id) else { return };
        self.fetches.succeeded(&object);
        let Some(entry) = self.objects.get_mut(&object) else { return };
        entry.fetch_fails = false;
        let observed = match &fetched.found {
            Found::Version(version) => Observed::Version(version.clone()),
            Found::Absent => Observed::Absent,
            Found::TooLarge | Found::Garbage => Observed::Unmeasured,
        };
        let is_newest = freshness == Freshness::Newest;
        if !is_newest && entry.known.as_ref().is_some_and(|known| known.doubts(&observed)) {
            self.fetches.want(&object, Freshness::Newest, Some(since), now);
            return;
        }
        let too_large = fetched.found == Found::TooLarge;
        if too_large && !entry.too_large {
            self.errands.push_back(Errand::SayTooLarge(object.clone()));
        }
        entry.too_large = too_large;
        if let Some(watch) = entry.slot.as_mut().and_then(Slot::fetched) {
            self.errands.push_back(Errand::Start(watch.clone(), fetched.version));
        }
        if entry.anew.take_if(|asked| is_newest && begun >= *asked).is_some()
            && entry.known.as_ref() == Some(&Known::from(&observed))
        {
            // It is so still, or again.
            self.errands.push_back(Errand::Observed(object.clone(), observed.clone(), begun));
        }
        if let (Observed::Version(found), Some(shown), None) = (&observed, &entry.shown, entry.anew)
            && !is_older(&found.version, shown)
        {
            self.fetches.settle(&object);
        }
        self.know(&object, observed, since);
    }

    /// An object couldn't be fetched: it is tried again.
    pub(super) fn not_fetched(&mut self, id: u64, failure: Failure, now: Time, chances: u64) {
        let Some(running) = self.fetches.ended(id) else { return };
        let object = running.object.clone();
        let retry_after = if let Failure::Other(retry_after) = failure { retry_after } else { None };
        self.fetches.failed(running, retry_after, now, chances);
        if let Some(entry) = self.objects.get_mut(&object) {
            entry.fetch_fails = true;
        }
        self.doubt(object.kind, failure, now);
    }

    /// A watch couldn't be started: it is started anew after a pause.
    pub(super) fn not_started(&mut self, watch: &ObjectWatch, now: Time) {
        if self.runs(watch) {
            self.stop(&watch.object);
            self.start_at.get_or_insert(now + START_PAUSE);
        }
    }

    /// A watch has ended: the object is fetched, and watched from there.
    pub(super) fn ended(&mut self, watch: &ObjectWatch, failure: Failure, now: Time, chances: u64) {
        if !self.runs(watch) {
            return;
        }
        let connection = watch.connection;
        let elsewhere = self.room.find(Some(connection));
        let others_run = self.running_on(connection) > 0;
        let Some(entry) = self.objects.get_mut(&watch.object) else { return };
        let Some(slot) = &mut entry.slot else { return };
        let (lived, silent_on) = slot.ended(now);
        if lived {
            entry.failures.succeeded();
        }
        entry.watch_fails = failure != Failure::Ended;
        let retry_after = if let Failure::Other(retry_after) = failure { retry_after } else { None };
        let at = match failure {
            Failure::Ended if lived => now,
            Failure::Unanswered if others_run && silent_on.is_none() && elsewhere.is_some() => now,
            Failure::Ended | Failure::Forbidden | Failure::Unanswered | Failure::Other(_) => {
                now + entry.failures.failed(retry_after, chances)
            }
        };
        if failure == Failure::Unanswered
            && let Some(elsewhere) = elsewhere
        {
            // It isn't answered on the connection that it has.
            self.stop(&watch.object);
            self.start(watch.object.clone(), elsewhere, Some(connection), at);
        } else {
            self.fetches.want(&watch.object, Freshness::Any, None, at);
        }
        self.doubt(watch.object.kind, failure, now);
    }

    /// Something of a kind has failed. Perhaps the right is missing, or nothing works any more, or by another protocol.
    fn doubt(&mut self, kind: ObjectKind, failure: Failure, now: Time) {
        if self.right_mut(kind).doubt(failure, now) {
            self.handle_timeout(now);
        }
    }

    /// What runs for the objects of a kind ends.
    fn stop_kind(&mut self, kind: ObjectKind) {
        let all: Vec<_> = self.objects.keys().filter(|object| object.kind == kind).cloned().collect();
        for object in all {
            self.stop(&object);
            self.fetches.forget(&object);
        }
    }

    fn know(&mut self, object: &ObjectRef, observed: Observed, at: Time) {
        if let Some(entry) = self.objects.get_mut(object)
            && entry.known.as_ref() != Some(&Known::from(&observed))
        {
            entry.known = Some(Known::from(&observed));
            self.errands.push_back(Errand::Observed(object.clone(), observed, at));
        }
    }

    fn runs(&self, watch: &ObjectWatch) -> bool {
        let slot = self.objects.get(&watch.object).and_then(|entry| entry.slot.as_ref());
        slot.is_some_and(|slot| slot.watch() == watch)
    }

    /// How many watches run on a connection.
    fn running_on(&self, connection: usize) -> usize {
        let slots = self.objects.values().filter_map(|entry| entry.slot.as_ref());
        slots.filter(|slot| slot.watch().connection == connection && slot.is_running()).count()
    }

    /// Watches an object on a connection; `silent_on` is the one on which it wasn't answered.
    fn start(&mut self, object: ObjectRef, connection: usize, silent_on: Option<usize>, at: Time) {
        let Some(entry) = self.objects.get_mut(&object) else { return };
        self.room.take(connection);
        self.next_id += 1;
        self.fetches.want(&object, Freshness::Any, None, at);
        let watch = ObjectWatch { object, id: self.next_id, connection };
        entry.slot = Some(Slot::new(watch, silent_on));
    }

    fn stop(&mut self, object: &ObjectRef) {
        let Some(slot) = self.objects.get_mut(object).and_then(|entry| entry.slot.take()) else { return };
        let ObjectWatch { object, connection, .. } = slot.watch();
        self.errands.push_back(Errand::Stop(object.clone()));
        if self.room.leave(*connection) {
            self.errands.push_back(Errand::Close(*connection));
        }
    }

    fn stop_all(&mut self) {
        self.stop_kind(ObjectKind::ConfigMap);
        self.stop_kind(ObjectKind::Secret);
    }

    fn first_of(&self, kind: ObjectKind) -> Option<&ObjectRef> {
        self.objects.keys().find(|object| object.kind == kind)
    }

    fn right(&self, kind: ObjectKind) -> &Right {
        match kind {
            ObjectKind::ConfigMap => &self.config_maps,
            ObjectKind::Secret => &self.secrets,
        }
    }

    fn right_mut(&mut self, kind: ObjectKind) -> &mut Right {
        match kind {
            ObjectKind::ConfigMap => &mut self.config_maps,
            ObjectKind::Secret => &mut self.secrets,
        }
    }
}

#[cfg(test)]
mod tests;
