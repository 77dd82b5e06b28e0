//! Which watches should run, and what is known of each object. Nothing here waits or asks.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::object::{ObjectKind, ObjectRef, Observed};

use super::step::{Answer, Protocol, Step, Watch};

/// How many watches share a connection: API servers take about 100 streams, and more would wait without a word.
pub(super) const PER_CONNECTION: usize = 64;
/// How many connections there are at most.
pub(super) const MOST_CONNECTIONS: usize = 16;
/// How long a right that was held must have been refused until it counts as lost: an API server that has just started
/// refuses everything for a moment, since it doesn't know the roles yet. Meanwhile it is asked this often.
const REFUSAL: Duration = Duration::from_secs(30);
const REFUSAL_PAUSE: Duration = Duration::from_secs(5);
/// How often a missing right is looked for after that.
const RIGHT_PAUSE: Duration = Duration::from_secs(5 * 60);
/// How long after an answer a watch's trouble leads to another question.
const DOUBT_PAUSE: Duration = Duration::from_secs(60);
/// How long after a watch couldn't be started another one is.
const START_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Entry {
    /// Which request for it this is about.
    request: u64,
    watch: Option<Watch>,
    known: Option<(Observed, Time)>,
}

/// What is known of the right to watch a kind of object.
#[derive(Debug)]
struct Right {
    /// Whether anybody wants to use it.
    used: bool,
    held: bool,
    missing: bool,
    asking: bool,
    ask_at: Option<Time>,
    answered: Time,
    /// Held, and refused since then.
    refused: Option<Time>,
}

impl Right {
    fn new(used: bool) -> Self {
        let (ask_at, answered) = (Some(Time::default()), Time::default());
        Self { used, held: false, missing: false, asking: false, ask_at, answered, refused: None }
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    config_maps: Right,
    secrets: Right,
    objects: BTreeMap<ObjectRef, Entry>,
    /// How many watches each connection has.
    connections: Vec<usize>,
    protocol: Option<Protocol>,
    next_id: u64,
    /// Nothing is started before.
    start_at: Option<Time>,
    steps: VecDeque<Step>,
}

impl Ledger {
    pub(super) fn new(watch_secrets: bool) -> Self {
        Self {
            config_maps: Right::new(true),
            secrets: Right::new(watch_secrets),
            objects: BTreeMap::new(),
            connections: Vec::new(),
            protocol: None,
            next_id: 0,
            start_at: None,
            steps: VecDeque::new(),
        }
    }

    pub(super) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// How many objects are watched, on how many connections, and how many aren't for want of room.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let watched = self.objects.values().filter(|entry| entry.watch.is_some()).count();
        let connections = self.connections.iter().filter(|watches| **watches > 0).count();
        let left_out = self.objects.iter().filter(|(object, entry)| {
            let right = self.right(object.kind);
            // What can't be started yet isn't without room.
            right.held && right.used && entry.watch.is_none() && self.start_at.is_none()
        });
        (watched, connections, left_out.count())
    }

    /// The objects that are wanted now, each with the number of the request for it.
    pub(super) fn want(&mut self, wanted: &BTreeMap<ObjectRef, u64>, now: Time) {
        let gone: Vec<_> =
            self.objects.keys().filter(|object| !wanted.contains_key(object)).cloned().collect();
        for object in gone {
            self.stop(&object);
            self.objects.remove(&object);
            self.steps.push_back(Step::Forget(object));
        }
        for (object, request) in wanted {
            let entry = self.objects.entry(object.clone()).or_default();
            let before = std::mem::replace(&mut entry.request, *request);
            if before != *request
                && let Some((observed, time)) = entry.known.clone()
            {
                // Who asks anew has forgotten.
                self.steps.push_back(Step::Tell(object.clone(), observed, time));
            }
        }
        self.handle_timeout(now);
    }

    /// When something is to be done without anything happening.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let due = |kind| {
            self.right(kind).ask_at.filter(|_| self.first_of(kind).is_some() && !self.right(kind).asking)
        };
        [ObjectKind::ConfigMap, ObjectKind::Secret]
            .into_iter()
            .filter(|kind| self.right(*kind).used)
            .filter_map(due)
            .chain(self.start_at)
            .min()
    }

    /// Asks what is to be asked, and starts what can be.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        for kind in [ObjectKind::ConfigMap, ObjectKind::Secret] {
            let first = self.first_of(kind).cloned();
            let right = self.right_mut(kind);
            if right.used
                && !right.asking
                && right.ask_at.is_some_and(|at| at <= now)
                && let Some(first) = first
            {
                right.asking = true;
                self.steps.push_back(Step::Ask(first));
            }
        }
        self.start_at.take_if(|at| *at <= now);
        let waiting: Vec<_> = self
            .objects
            .iter()
            .filter(|(_, entry)| entry.watch.is_none())
            .map(|(object, _)| object.clone())
            .collect();
        for object in waiting {
            let right = self.right(object.kind);
            if !right.used || right.missing {
                self.know(&object, Observed::Unmeasured, now);
            } else if right.held && self.start_at.is_none() {
                match self.room() {
                    Some(connection) => self.start(object, connection),
                    None => self.know(&object, Observed::Unmeasured, now),
                }
            }
        }
    }

    /// Takes in an answer.
    pub(super) fn answered(&mut self, kind: ObjectKind, answer: Answer, now: Time) {
        let right = self.right_mut(kind);
        right.asking = false;
        right.answered = now;
        match answer {
            Answer::Yes(protocol) => {
                right.held = true;
                right.missing = false;
                right.ask_at = None;
                right.refused = None;
                if self.protocol.replace(protocol).is_some_and(|before| before != protocol) {
                    let all: Vec<_> = self.objects.keys().cloned().collect();
                    for object in all {
                        self.stop(&object);
                    }
                }
            }
            Answer::Forbidden if right.held && now.since(*right.refused.get_or_insert(now)) < REFUSAL => {
                right.ask_at = Some(now + REFUSAL_PAUSE);
            }
            Answer::Forbidden => self.lose(kind, now),
            Answer::Fails(pause) => right.ask_at = Some(now + pause),
        }
        self.handle_timeout(now);
    }

    /// Whether the right to watch such objects is known to be missing.
    pub(super) fn is_missing(&self, kind: ObjectKind) -> bool {
        self.right(kind).missing
    }

    /// What a watch has seen; a watch that was stopped says nothing.
    pub(super) fn saw(&mut self, watch: &Watch, observed: Observed, at: Time) {
        if self.runs(watch) {
            self.know(&watch.object, observed, at);
        }
    }

    /// A watch couldn't be started: it is started anew after a pause.
    pub(super) fn not_started(&mut self, watch: &Watch, now: Time) {
        if self.runs(watch) {
            self.stop(&watch.object);
            self.start_at.get_or_insert(now + START_PAUSE);
        }
    }

    /// A watch was refused, and tries again.
    pub(super) fn refused(&mut self, watch: &Watch, now: Time) {
        if self.runs(watch) {
            let right = self.right_mut(watch.object.kind);
            if right.refused.replace(right.refused.unwrap_or(now)).is_none() {
                right.ask_at = Some(now + REFUSAL_PAUSE);
            }
        }
    }

    /// A watch has failed and tries again. Perhaps nothing works any more, or by another protocol.
    pub(super) fn failed(&mut self, watch: &Watch, now: Time) {
        if self.runs(watch) {
            let right = self.right_mut(watch.object.kind);
            let at = (right.answered + DOUBT_PAUSE).max(now);
            right.ask_at.get_or_insert(at);
            self.handle_timeout(now);
        }
    }

    fn lose(&mut self, kind: ObjectKind, now: Time) {
        let right = self.right_mut(kind);
        right.held = false;
        right.refused = None;
        let known = std::mem::replace(&mut right.missing, true);
        right.ask_at = Some(now + if known { RIGHT_PAUSE } else { REFUSAL });
        let all: Vec<_> = self.objects.keys().filter(|object| object.kind == kind).cloned().collect();
        for object in all {
            self.stop(&object);
        }
    }

    fn know(&mut self, object: &ObjectRef, observed: Observed, at: Time) {
        if let Some(entry) = self.objects.get_mut(object)
            && entry.known.as_ref().is_none_or(|(known, _)| is_news(known, &observed))
        {
            entry.known = Some((observed.clone(), at));
            self.steps.push_back(Step::Tell(object.clone(), observed, at));
        }
    }

    fn runs(&self, watch: &Watch) -> bool {
        self.objects.get(&watch.object).is_some_and(|entry| entry.watch.as_ref() == Some(watch))
    }

    /// The first connection that can take one more watch.
    fn room(&self) -> Option<usize> {
        let most = match self.protocol? {
            Protocol::Http1 => 1,
            Protocol::Http2 => MOST_CONNECTIONS,
        };
        (0..most).find(|number| self.connections.get(*number).is_none_or(|watches| *watches < PER_CONNECTION))
    }

    fn start(&mut self, object: ObjectRef, connection: usize) {
        if self.connections.len() <= connection {
            self.connections.resize(connection + 1, 0);
        }
        if let Some((watches, entry)) =
            self.connections.get_mut(connection).zip(self.objects.get_mut(&object))
        {
            *watches += 1;
            self.next_id += 1;
            let watch = Watch { object, id: self.next_id, connection };
            entry.watch = Some(watch.clone());
            self.steps.push_back(Step::Start(watch));
        }
    }

    fn stop(&mut self, object: &ObjectRef) {
        let Some(watch) = self.objects.get_mut(object).and_then(|entry| entry.watch.take()) else { return };
        self.steps.push_back(Step::Stop(watch.object));
        if let Some(watches) = self.connections.get_mut(watch.connection) {
            *watches -= 1;
            if *watches == 0 {
                self.steps.push_back(Step::Close(watch.connection));
            }
        }
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

/// Whether it says something new. A list may come from an API server that lags behind: an older version is no news.
fn is_news(known: &Observed, observed: &Observed) -> bool {
    match (known, observed) {
        (Observed::Version(known), Observed::Version(observed)) if known.uid == observed.uid => {
            let number = |version: &str| version.parse::<u128>().ok();
            match (number(&known.version), number(&observed.version)) {
                (Some(known), Some(observed)) => known < observed,
                (_, _) => known.version != observed.version,
            }
        }
        (_, _) => known != observed,
    }
}

#[cfg(test)]
mod tests;
