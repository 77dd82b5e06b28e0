//! What owners of pods and workloads are to be told and aren't yet. What a person must act on waits until the budget has room for it, or
//! until it isn't true any more, also where it is refused; that a reload went well is dropped and counted instead.

use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::pod::Pod;
use reloadlet_core::model::restart::Said;

use super::budget::{Budget, Key, PAUSE};
use crate::fair::{Choice, FairQueue};

/// How many objects and reasons wait. Of more, the namespace that has most gives up its oldest.
const WAITING: usize = 256;
/// How many of those that were refused wait: they keep no place that another may need, of which an Event may be taken.
const PUT_OFF: usize = 128;
/// How many texts wait for one object and reason. Of more, the oldest are only counted.
const TEXTS: usize = 16;
/// The longest text of one Event: the API server takes 1024 bytes.
const EVENT_BYTES: usize = 1024;
/// What of that is left to the count of those that weren't sent.
const COUNT_BYTES: usize = 48;
/// What is refused is tried again after [`PAUSE`], then each time after twice as long, and after this at most: it may be refused as long
/// as the agent runs, by many agents at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(480);

/// Something to be told about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// The object.
    pub(crate) about: About,
    /// Whether a person must act on it.
    pub(crate) urgent: bool,
    /// The Event's reason.
    pub(crate) reason: &'static str,
    /// What is told.
    pub(crate) text: Text,
}

/// An object, as far as an Event on it needs it: what waits keeps no spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct About {
    /// Its kind, as manifests write it.
    pub(crate) kind: &'static str,
    /// The group and version in which it has that kind.
    pub(crate) api_version: &'static str,
    pub(crate) uid: Name,
    pub(crate) namespace: Name,
    pub(crate) name: Name,
}

impl From<&Pod> for About {
    fn from(pod: &Pod) -> Self {
        Self {
            kind: "Pod",
            api_version: "v1",
            uid: pod.uid.as_name().clone(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
        }
    }
}

/// What is told of one container, or else of the whole object. A newer text of a container takes the place of an older one; texts
/// of the object are told apart by what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) container: Option<Name>,
    pub(crate) text: String,
    /// Where it is said once for all times. It has an Event of its own.
    pub(crate) once: Option<Once>,
}

/// What is said once for all times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Once {
    /// What tells it from all else.
    pub(crate) name: String,
    /// What it is about: a newer one about the same takes its place as long as it waits.
    pub(crate) about: String,
    /// What is said of a grant, where it is that: it has to come to the controller, whether a person must act on it or not.
    pub(crate) said: Option<Said>,
}

impl Text {
    fn takes_the_place_of(&self, other: &Self) -> bool {
        if let (Some(once), Some(older)) = (&self.once, &other.once) {
            return once.about == older.about;
        }
        self.container == other.container && (self.container.is_some() || self.text == other.text)
    }
}

/// An Event to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saying {
    /// The object.
    pub(crate) about: About,
    /// Whether a person must act on it.
    pub(crate) urgent: bool,
    /// Its reason.
    pub(crate) reason: &'static str,
    /// What it says.
    pub(crate) text: String,
    /// What it is, where it is said once for all times.
    pub(crate) once: Option<Once>,
}

/// What waits for one object and reason.
#[derive(Clone, Debug)]
struct Item {
    about: About,
    urgent: bool,
    texts: Vec<Text>,
    /// How many texts were given up for newer ones.
    more: u32,
    /// When it may be tried again, where it was refused.
    refused: Option<Refused>,
}

/// How long something that was refused isn't tried.
#[derive(Clone, Copy, Debug)]
struct Refused {
    until: Time,
    pause: Duration,
}

impl Item {
    /// It was refused: it isn't tried for a while.
    fn put_off(&mut self, now: Time) {
        let pause = self.refused.map_or(PAUSE, |before| (2 * before.pause).min(LONGEST_PAUSE));
        self.refused = Some(Refused { until: now + pause, pause });
    }

    fn is_put_off(&self, now: Time) -> bool {
        self.refused.is_some_and(|refused| now < refused.until)
    }

    fn add(&mut self, text: Text) {
        if let Some(older) = self.texts.iter_mut().find(|older| text.takes_the_place_of(older)) {
            if text.once.is_none() {
                self.more = self.more.saturating_add(1);
            }
            *older = text;
            return;
        }
        self.texts.push(text);
        if self.texts.len() > TEXTS {
            self.texts.remove(0);
            self.more = self.more.saturating_add(1);
        }
    }

    /// Takes in what was said later.
    fn take_in(&mut self, newer: &mut Self) {
        self.more = self.more.saturating_add(newer.more);
        newer.texts.drain(..).for_each(|text| self.add(text));
    }

    /// Whether it is said of a grant.
    fn is_of_grant(&self) -> bool {
        let first = self.texts.first().and_then(|text| text.once.as_ref());
        first.is_some_and(|once| once.said.is_some())
    }

    /// Takes what fits into one Event, and leaves the rest.
    fn take_fitting(&mut self) -> Self {
        let mut bytes = 0;
        let is_alone = self.texts.first().is_some_and(|text| text.once.is_some());
        let fits = self.texts.iter().take_while(|text| {
            if is_alone || text.once.is_some() {
                return false;
            }
            bytes += text.text.len() + "; ".len();
            bytes <= EVENT_BYTES - COUNT_BYTES
        });
        // One that is too long by itself is cut.
        let fitting = fits.count().max(1).min(self.texts.len());
        let texts = self.texts.drain(..fitting).collect();
        Self { texts, about: self.about.clone(), more: std::mem::take(&mut self.more), ..*self }
    }

    /// All of it as one text.
    fn written(&self) -> String {
        let mut written = String::new();
        for Text { text, .. } in &self.texts {
            let between = match written.as_bytes().last() {
                None => "",
                Some(b'.') => " ",
                Some(_) => "; ",
            };
            written += between;
            written += text;
        }
        if written.len() > EVENT_BYTES - COUNT_BYTES {
            written.truncate(written.floor_char_boundary(EVENT_BYTES - COUNT_BYTES - "…".len()));
            written.push('…');
        }
        match self.more {
            0 => written,
            more => written + &format!(" (and {more} more since the last one)"),
        }
    }
}

/// What waits, what is being sent, and the budget.
#[derive(Debug)]
pub(crate) struct Unsaid {
    waiting: FairQueue<Key, Item>,
    /// What was refused and is tried again later.
    put_off: FairQueue<Key, Item>,
    sending: Option<(Key, Item)>,
    budget: Budget,
    /// That of what is said of grants: somebody waits for it, and it comes only where something was granted.
    of_grants: Budget,
}

impl Unsaid {
    /// Nothing, and a full budget.
    pub(crate) const fn new(now: Time) -> Self {
        let waiting = FairQueue::new(WAITING);
        let put_off = FairQueue::new(PUT_OFF);
        Self { waiting, put_off, sending: None, budget: Budget::new(now), of_grants: Budget::new(now) }
    }

    /// Has something told. Whether something else is given up for it.
    pub(crate) fn say(&mut self, note: Note) -> bool {
        let Note { about, urgent, reason, text } = note;
        let key = (about.uid.clone(), reason);
        for queue in [&mut self.waiting, &mut self.put_off] {
            if let Some(waits) = queue.get_mut(&about.namespace, &key) {
                waits.add(text);
                return false;
            }
        }
        let namespace = about.namespace.clone();
        let item = Item { about, urgent, texts: vec![text], more: 0, refused: None };
        self.waiting.push(&namespace, key, item).is_some()
    }

    /// What waits of an object for these reasons isn't true any more, as far as it is meant.
    pub(crate) fn unsay(&mut self, about: &About, reasons: &[&str], meant: impl Fn(&Text) -> bool) {
        let (uid, meant) = (&about.uid, &meant);
        self.keep(&about.namespace, |(of, reason), item| {
            if of == uid && reasons.contains(reason) {
                item.texts.retain(|text| !meant(text));
            }
            !item.texts.is_empty()
        });
    }

    /// An object is gone: nothing is told of it any more.
    pub(crate) fn forget(&mut self, about: &About) {
        self.keep(&about.namespace, |(of, _), _| *of != about.uid);
        self.budget.forget(&about.namespace, &about.uid);
        self.of_grants.forget(&about.namespace, &about.uid);
    }

    fn keep(&mut self, namespace: &Name, mut keep: impl FnMut(&Key, &mut Item) -> bool) {
        self.sending.take_if(|(key, item)| item.about.namespace == *namespace && !keep(key, item));
        self.waiting.retain(namespace, &mut keep);
        self.put_off.retain(namespace, keep);
    }

    /// Whether something waits: it may be sent later.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.len() + self.put_off.len() > 0
    }

    /// The next Event that may be sent. Whoever takes it says how that [ended](Self::ended).
    pub(crate) fn next(&mut self, now: Time) -> Option<Saying> {
        let is_due = |_: &Name, _: &Key, item: &Item| {
            if item.is_put_off(now) { Choice::Leave } else { Choice::Take }
        };
        while let Some((namespace, key, item)) = self.put_off.take(is_due) {
            self.wait_again(&namespace, key, item);
        }
        let (mut held_back, budget, of_grants) = (0, &mut self.budget, &mut self.of_grants);
        let (namespace, key, mut item) = self.waiting.take(|namespace, key, item| {
            let budget = if item.is_of_grant() { &mut *of_grants } else { &mut *budget };
            match budget.take(namespace, key, item.urgent, now) {
                Some(before) => {
                    held_back = before;
                    Choice::Take
                }
                None if item.urgent => Choice::Leave,
                None => {
                    budget.hold_back(namespace, key, item.more.saturating_add(1));
                    Choice::Drop
                }
            }
        })?;
        let mut sending = item.take_fitting();
        sending.more = sending.more.saturating_add(held_back);
        if !item.texts.is_empty() {
            self.waiting.push(&namespace, key.clone(), item);
        }
        let text = sending.written();
        let (about, urgent, reason) = (sending.about.clone(), sending.urgent, key.1);
        let once = sending.texts.first().and_then(|text| text.once.clone());
        self.sending = Some((key, sending));
        Some(Saying { about, urgent, reason, text, once })
    }

    /// What was taken last isn't taken in its namespace: it uses up nothing, and for a while nothing like it is tried there. Where the
    /// namespace is being deleted, it is dropped with what waits of it. Else it is tried again later, if a person must act on it, and is
    /// counted if nobody must: what refuses it, as a quota that is full, may pass.
    pub(crate) fn refused(&mut self, saying: &Saying, is_going: bool, now: Time) {
        let namespace = &saying.about.namespace;
        let is_of_grant = saying.once.as_ref().is_some_and(|once| once.said.is_some());
        let budget = if is_of_grant { &mut self.of_grants } else { &mut self.budget };
        budget.refused(namespace, now);
        if is_going {
            self.sending = None;
            self.waiting.retain(namespace, |_, _| false);
            self.put_off.retain(namespace, |_, _| false);
            return;
        }
        let Some((key, mut item)) = self.take_again() else { return };
        item.put_off(now);
        self.waiting.retain(namespace, |of, newer| {
            let is_other = *of != key;
            if !is_other {
                item.take_in(newer);
            }
            is_other
        });
        drop(self.put_off.push(namespace, key, item));
    }

    /// What was taken last was sent, or is refused for good; or else it waits again, if a person must act on it, and is counted
    /// if nobody must.
    pub(crate) fn ended(&mut self, again: bool) {
        if !again {
            self.sending = None;
        } else if let Some((key, item)) = self.take_again() {
            self.wait_again(&item.about.namespace.clone(), key, item);
        }
    }

    /// Takes what wasn't sent, if a person must act on it; else it is counted.
    fn take_again(&mut self) -> Option<(Key, Item)> {
        let (key, item) = self.sending.take()?;
        if item.urgent {
            return Some((key, item));
        }
        self.budget.hold_back(&item.about.namespace, &key, item.more.saturating_add(1));
        None
    }

    fn wait_again(&mut self, namespace: &Name, key: Key, mut item: Item) {
        match self.waiting.get_mut(namespace, &key) {
            Some(newer) => {
                item.take_in(newer);
                *newer = item;
            }
            None => drop(self.waiting.push(namespace, key, item)),
        }
    }
}

#[cfg(test)]
mod tests;
