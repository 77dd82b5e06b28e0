//! The requests that were made for what waits: when the next one is due, and whether there is one.

use std::time::Duration;

use crate::kernel::lack::Lack;
use crate::machine::reload::retry::PATIENCE;
use crate::model::time::Time;

/// So often a request is made to a container that was ready once.
const TRIES: u8 = 3;
/// When the second and the third of them are due, after the first one was begun.
const SECOND: Duration = Duration::from_secs(3);
const THIRD: Duration = Duration::from_secs(10);

/// The pauses between requests to a container that is starting still grow from the first one to the last one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// The requests that were made for what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tries {
    /// When the first of those was begun that count, and how many there were.
    counted: Option<(Time, u8)>,
    /// When the next one is due, and how long the pause before it was where those before didn't count.
    next: Time,
    pause: Duration,
    /// Since when there is no address.
    unaddressed: Option<Time>,
    unaddressed_said: bool,
    /// Since when the agent lacks something to make one, and what it lacked last.
    lacking: Option<(Time, Lack)>,
    lack_said: bool,
}

impl Tries {
    /// Something newer is told: what came of those before says nothing about it.
    pub(super) fn renew(&mut self) {
        (self.counted, self.next, self.pause) = (None, Time::default(), Duration::ZERO);
    }

    /// When the next one is due.
    pub(super) const fn next(&self) -> Time {
        self.next
    }

    /// One has failed in a container that is starting: there is a next one after a pause.
    pub(super) fn again(&mut self, now: Time) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
        self.next = now + self.pause;
    }

    /// One that was begun then has failed. Whether there is a next one.
    pub(super) fn failed(&mut self, begun: Time) -> bool {
        let (first, made) = self.counted.unwrap_or((begun, 0));
        let made = made.saturating_add(1);
        self.counted = Some((first, made));
        let due = first + if made == 1 { SECOND } else { THIRD };
        self.next = due.max(begun + FIRST_PAUSE);
        made < TRIES
    }

    /// The agent lacks something to make one.
    pub(super) fn lacks(&mut self, lack: Lack, now: Time) {
        self.lacking.get_or_insert((now, lack)).1 = lack;
    }

    /// It lacks nothing any more.
    pub(super) const fn lacks_nothing(&mut self) {
        (self.lacking, self.lack_said) = (None, false);
    }

    /// When it is to be said what it lacks, if it wasn't.
    pub(super) fn lack_due(&self) -> Option<Time> {
        self.lacking.filter(|_| !self.lack_said).map(|(since, _)| since + PATIENCE)
    }

    /// What it lacks is said.
    pub(super) fn say_lack(&mut self) -> Option<Lack> {
        self.lack_said = self.lacking.is_some();
        self.lacking.map(|(_, lack)| lack)
    }

    /// Whether it was said what it lacks.
    pub(super) const fn is_lack_said(&self) -> bool {
        self.lack_said
    }

    /// There is no address. Whether that is to be said now.
    pub(super) fn unaddressed(&mut self, now: Time) -> bool {
        let since = *self.unaddressed.get_or_insert(now);
        now >= since + PATIENCE && !std::mem::replace(&mut self.unaddressed_said, true)
    }

    /// When it is to be said that there is no address, while that isn't due.
    pub(super) fn unaddressed_until(&self, now: Time) -> Option<Time> {
        self.unaddressed.map(|since| since + PATIENCE).filter(|due| now < *due)
    }

    /// Whether something was said that people wait to hear the end of.
    pub(super) const fn is_anything_said(&self) -> bool {
        self.unaddressed_said || self.lack_said
    }
}
