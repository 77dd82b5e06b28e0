//! When a pod's containers are looked at: one survey at a time, again where something changed meanwhile, with growing pauses
//! while something is missing, and not at once after one that was given up.

use std::time::Duration;

use crate::machine::reload::retry::{PATIENCE, Retry};
use crate::model::time::Time;

/// The first pause after a survey that was given up, and the longest one: a survey of what is too much takes up to two
/// seconds of a processor, again and again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whether a survey is needed, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Surveys {
    running: bool,
    /// When the running survey, or the last one, was asked for.
    begun: Time,
    /// How long the last one took.
    took: Duration,
    /// Something changed since the running survey was asked for.
    again: bool,
    fresh_mounts: bool,
    retry: Option<Retry>,
    /// The last survey was given up: no other one is begun for a while.
    pause: Option<Pause>,
    /// A survey is wanted after the pause.
    put_off: bool,
    /// Containers came or went since the running survey was asked for.
    changed: bool,
}

/// How long no survey is begun after one that was given up.
#[derive(Clone, Copy, Debug)]
struct Pause {
    since: Time,
    until: Time,
    length: Duration,
}

impl Pause {
    /// Twice as long as the one before.
    fn after(before: Option<Self>, now: Time) -> Self {
        let length = before.map_or(FIRST_PAUSE, |before| (before.length * 2).min(LONGEST_PAUSE));
        Self { since: now, until: now + length, length }
    }
}

impl Surveys {
    /// A survey is wanted. Whether it is to be begun now: else one is on its way, and another one follows it, or it is put
    /// off.
    pub(super) fn want(&mut self, now: Time) -> bool {
        if self.running {
            self.again = true;
            return false;
        }
        self.put_off = self.pause.is_some_and(|pause| now < pause.until);
        self.running = !self.put_off;
        if self.running {
            self.begun = now;
        }
        self.running
    }

    /// When the running survey, or the last one, was asked for.
    pub(super) const fn begun(&self) -> Time {
        self.begun
    }

    /// Whether the last one was asked for before then, or took so long that it may have seen how things were before then, and another one
    /// will be made soon.
    pub(super) fn is_older_than(&self, time: Time) -> bool {
        self.pause.is_none() && (self.begun < time || self.took > PATIENCE / 2)
    }

    /// Containers came or went.
    pub(super) fn containers_changed(&mut self, now: Time) {
        self.retry = Some(Retry::begin(now));
        // Others than those that were too much.
        self.pause = None;
        self.changed = self.running;
    }

    /// What was read of mounts may be another by now.
    pub(super) const fn doubt_mounts(&mut self) {
        self.fresh_mounts = true;
    }

    /// Whether mounts are to be read anew by the survey that begins.
    pub(super) const fn take_fresh_mounts(&mut self) -> bool {
        std::mem::replace(&mut self.fresh_mounts, false)
    }

    /// Whether a survey is on its way.
    pub(super) const fn is_running(&self) -> bool {
        self.running
    }

    /// Whether something changed since the running survey was asked for, or the last one.
    pub(super) const fn is_wanted_again(&self) -> bool {
        self.again
    }

    /// The survey is there; `given_up` says whether it was too much.
    pub(super) fn came(&mut self, given_up: bool, now: Time) {
        self.running = false;
        self.took = now.since(self.begun);
        let changed = std::mem::take(&mut self.changed);
        self.pause = (given_up && !changed).then(|| Pause::after(self.pause, now));
    }

    /// The containers couldn't be looked at.
    pub(super) const fn failed(&mut self) {
        self.running = false;
        self.again = false;
        self.fresh_mounts = true;
    }

    /// Whether another survey was wanted while the last one was on its way.
    pub(super) const fn take_again(&mut self) -> bool {
        std::mem::replace(&mut self.again, false)
    }

    /// Something is looked for from now on, at once and with growing pauses.
    pub(super) fn look(&mut self, now: Time) {
        self.retry = Some(Retry::begin(now));
    }

    /// Something is looked for, if nothing was before.
    pub(super) fn keep_looking(&mut self, now: Time) {
        self.retry.get_or_insert_with(|| Retry::begin(now));
    }

    /// Nothing is looked for any more, unless a survey is on its way.
    pub(super) const fn stop_looking(&mut self) {
        if !self.running {
            self.retry = None;
        }
    }

    /// Surveys go on with growing pauses while something is missing, and stop when nothing waits for it.
    pub(super) fn pace(&mut self, missing: bool, waiting: bool, now: Time) {
        let retry = self.retry.get_or_insert_with(|| Retry::begin(now));
        if !missing || (!waiting && retry.is_hopeless(now)) {
            self.retry = None;
        } else if retry.is_due(now) {
            retry.again(now);
        }
    }

    /// Surveys that fail go on with growing pauses.
    pub(super) fn pace_failures(&mut self, now: Time) {
        let retry = self.retry.get_or_insert_with(|| Retry::begin(now));
        if retry.is_due(now) {
            retry.again(now);
        }
    }

    /// Whether no survey was made yet since something was looked for then, and one will be.
    pub(super) fn is_put_off_since(&self, looks_since: Option<Time>) -> bool {
        let given_up = self.pause.map(|pause| pause.since);
        self.put_off && looks_since.zip(given_up).is_none_or(|(since, given_up)| given_up < since)
    }

    /// When the next one is due.
    pub(super) fn timeout(&self) -> Option<Time> {
        let retry = self.retry.map(Retry::next);
        let paused = self.pause.map(|pause| pause.until);
        let due = if self.put_off { paused } else { retry.map(|next| paused.map_or(next, |p| p.max(next))) };
        due.filter(|_| !self.running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::since_boot(Duration::from_millis(millis))
    }

    #[test]
    fn one_survey_is_made_at_a_time_and_one_follows_it() {
        let mut surveys = Surveys::default();
        assert!(surveys.want(at(0)) && !surveys.want(at(1)) && !surveys.want(at(2)));
        surveys.came(false, at(3));
        assert!(surveys.take_again() && !surveys.take_again());
    }

    #[test]
    fn one_that_took_long_may_have_seen_what_was_before_and_another_one_decides() {
        let mut surveys = Surveys::default();
        assert!(surveys.want(at(8_000)));
        surveys.came(false, at(8_100));
        assert!(!surveys.is_older_than(at(5_000)) && surveys.is_older_than(at(8_001)));
        assert!(surveys.want(at(9_000)));
        surveys.came(false, at(19_000));
        assert!(surveys.is_older_than(at(5_000)));
        assert!(surveys.want(at(19_200)));
        surveys.came(false, at(19_201));
        assert!(!surveys.is_older_than(at(5_000)));
    }

    #[test]
    fn after_one_that_was_given_up_pauses_double_until_containers_change() {
        let mut surveys = Surveys::default();
        assert!(surveys.want(at(0)));
        surveys.came(true, at(0));
        assert!(!surveys.want(at(999)));
        assert!(surveys.is_put_off_since(Some(at(500))) && !surveys.is_put_off_since(Some(at(0))));
        assert_eq!(surveys.timeout(), Some(at(1000)));
        assert!(surveys.want(at(1000)));
        surveys.came(true, at(1000));
        assert!(!surveys.want(at(2999)) && surveys.want(at(3000)));
        surveys.came(true, at(3000));
        surveys.containers_changed(at(3001));
        assert!(surveys.want(at(3001)));
    }
}
