//! What a container's reload waits for. It is there while anything waits or is being sent, and gone with it.

use std::time::Duration;

use crate::machine::reload::retry::Retry;
use crate::machine::reload::tries::Tries;
use crate::model::time::Time;

/// The waits that the pod asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waits {
    pub(crate) debounce: Duration,
    pub(crate) min_interval: Duration,
    pub(crate) splay: Duration,
}

/// When the first and the last of the changes settled that wait.
type Changes = (Time, Time);

/// A reload that waits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waiting {
    /// `None` while nothing waits but what is being sent.
    changes: Option<Changes>,
    /// The processes are looked for since.
    missing: Option<Retry>,
    /// The process that was to be told ended meanwhile.
    lost: bool,
    /// Nobody handles the signal since.
    unhandled: Option<Retry>,
    unhandled_said: bool,
    /// That the agent lacks something and the reload waits for it was said.
    lack_said: bool,
    /// It waits, and what was read of processes before the end of that decides nothing.
    waits: bool,
    /// What was read since then decides. `None` until no wait is left.
    cleared: Option<Time>,
    /// How often the processes were chosen anew, since others ran in them than were chosen.
    choices: u8,
    /// The requests that were made for it, where it is told by one.
    tries: Tries,
}

/// With no wait at all, masks older than this are read again before a send.
const GUARD_AGE: Duration = Duration::from_millis(2);

/// So often the processes are chosen anew before what runs in them is taken as it is, until the next pause.
const MOST_CHOICES: u8 = 3;

impl Waiting {
    /// One more change has settled.
    pub(super) fn settled(&mut self, at: Time) {
        let first = self.changes.map_or(at, |(first, _)| first);
        self.changes = Some((first, at));
    }

    /// What waits is being sent.
    pub(super) const fn take_changes(&mut self) -> Option<Changes> {
        self.changes.take()
    }

    /// What was being sent waits again, with what has settled since.
    pub(super) fn give_back(&mut self, before: Option<Changes>) {
        self.changes = match (before, self.changes) {
            (Some((first, _)), Some((_, last))) => Some((first, last)),
            (before, since) => before.or(since),
        };
    }

    /// When the waits that the pod asked for are over, if the last delivery was then.
    pub(super) fn due(&self, waits: Waits, last_delivery: Option<Time>) -> Time {
        let Some((first, last)) = self.changes else { return Time::default() };
        let quiet = (last + waits.debounce).min(first + waits.debounce * 10);
        let spread = quiet + waits.splay;
        last_delivery.map_or(spread, |delivered| spread.max(delivered + waits.min_interval))
    }

    /// Since when the first of the changes waits.
    pub(super) fn since(&self) -> Option<Time> {
        self.changes.map(|(first, _)| first)
    }

    /// The processes are looked for. Whether they weren't before.
    pub(super) fn look(&mut self, now: Time) -> bool {
        let first = self.missing.is_none();
        self.missing.get_or_insert_with(|| Retry::begin(now));
        first
    }

    /// The processes are found, and held.
    pub(super) const fn found(&mut self) {
        self.missing = None;
    }

    /// Whether the processes were looked for already, and since when.
    pub(super) fn looks_since(&self) -> Option<Time> {
        self.missing.map(Retry::since)
    }

    /// Whether the processes were looked for in vain for as long as it is worth it.
    pub(super) fn has_looked_enough(&self, now: Time) -> bool {
        self.missing.is_some_and(|missing| missing.is_hopeless(now))
    }

    /// The process that was to be told has ended.
    pub(super) const fn lose(&mut self) {
        self.lost = true;
    }

    /// Whether the process that was to be told has ended.
    pub(super) const fn has_lost(&self) -> bool {
        self.lost
    }

    /// Nobody handles the signal: it is looked at again after a pause. Whether that is to be said now.
    pub(super) fn refused(&mut self, now: Time) -> bool {
        self.choices = 0;
        match &mut self.unhandled {
            Some(retry) => retry.again(now),
            None => self.unhandled = Some(Retry::begin(now)),
        }
        let overdue = self.unhandled.is_some_and(|retry| retry.is_hopeless(now));
        overdue && !std::mem::replace(&mut self.unhandled_said, true)
    }

    /// The masks may have become what the signal waits for: they are looked at again at once.
    pub(super) fn try_again(&mut self, now: Time) {
        if let Some(retry) = &mut self.unhandled {
            retry.hurry(now);
        }
    }

    /// Something is still to be waited for.
    pub(super) const fn wait(&mut self) {
        self.waits = true;
        self.cleared = None;
    }

    /// Nothing is left to be waited for but masks. Whether those that were read before don't count any more.
    pub(super) fn clear(&mut self, now: Time) -> bool {
        let waited = std::mem::take(&mut self.waits);
        if waited || self.cleared.is_none() {
            self.cleared = Some(if waited { now } else { now - GUARD_AGE });
        }
        waited
    }

    /// Masks that were asked for since then decide.
    pub(super) fn decides_since(&self, now: Time) -> Time {
        self.cleared.unwrap_or(now - GUARD_AGE)
    }

    /// Whether the processes may be chosen anew now.
    pub(super) const fn may_choose(&self) -> bool {
        self.choices < MOST_CHOICES
    }

    /// The processes are chosen anew.
    pub(super) const fn choose(&mut self) {
        self.choices = self.choices.saturating_add(1);
    }

    /// The requests that were made for it.
    pub(super) const fn tries(&self) -> &Tries {
        &self.tries
    }

    /// The same, for one more.
    pub(super) const fn tries_mut(&mut self) -> &mut Tries {
        &mut self.tries
    }

    /// When it is looked at again whether somebody handles the signal; `None` if nobody refused it.
    pub(super) fn guard_due(&self) -> Option<Time> {
        self.unhandled.map(Retry::next)
    }

    /// Whether the signal was refused.
    pub(super) const fn is_refused(&self) -> bool {
        self.unhandled.is_some()
    }

    /// Whether the signal was refused for as long as it is worth waiting for all processes.
    pub(super) fn is_refused_for_long(&self, now: Time) -> bool {
        self.unhandled.is_some_and(|retry| retry.is_hopeless(now))
    }

    /// Everybody handles the signal.
    pub(super) const fn accepted(&mut self) {
        self.unhandled = None;
    }

    /// A delivery has shown that somebody handles the signal.
    pub(super) const fn forget_refusal(&mut self) {
        self.unhandled_said = false;
    }

    /// The agent lacks something for this. Whether that is to be said now.
    pub(super) fn lacks(&mut self, now: Time) -> bool {
        self.has_looked_enough(now) && !std::mem::replace(&mut self.lack_said, true)
    }

    /// The agent lacks nothing any more.
    pub(super) const fn forget_lack(&mut self) {
        self.lack_said = false;
    }

    /// Whether it was said that the agent lacks something.
    pub(super) const fn is_lack_said(&self) -> bool {
        self.lack_said || self.tries.is_lack_said()
    }

    /// Whether something was said that people wait to hear the end of.
    pub(super) const fn is_anything_said(&self) -> bool {
        self.unhandled_said || self.lack_said || self.tries.is_anything_said()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis() -> impl Strategy<Value = Duration> {
        prop_oneof![Just(0), 0..5_000_u64, 0..86_400_000_u64].prop_map(Duration::from_millis)
    }

    proptest! {
        #[test]
        fn a_wait_is_never_shorter_than_one_of_its_parts_nor_longer_than_all_of_them(
            debounce in millis(),
            min_interval in millis(),
            splay in millis(),
            first in millis(),
            later in millis(),
            delivered in proptest::option::of(millis()),
        ) {
            let waits = Waits { debounce, min_interval, splay };
            let mut waiting = Waiting::default();
            prop_assert_eq!(waiting.due(waits, None), Time::default(), "nothing waits");
            let first = Time::since_boot(first);
            let delivered = delivered.map(Time::since_boot);
            waiting.settled(first);
            waiting.settled(first + later);
            let due = waiting.due(waits, delivered);
            let next = delivered.map_or(Time::default(), |delivered| delivered + min_interval);
            prop_assert!(due >= first + splay + debounce.min(later + debounce));
            prop_assert!(due >= next);
            prop_assert!(due <= next.max(first + debounce * 10 + splay));
        }
    }

    #[test]
    fn what_is_given_back_waits_from_its_own_first_change() {
        let at = |seconds| Time::since_boot(Duration::from_secs(seconds));
        let waits = Waits { debounce: Duration::from_secs(1), ..Waits::default() };
        let mut waiting = Waiting::default();
        waiting.settled(at(1));
        let sent = waiting.take_changes();
        waiting.settled(at(100));
        waiting.give_back(sent);
        assert_eq!(waiting.due(waits, None), at(11), "ten times the debounce after the first one");
    }

    #[test]
    fn each_thing_is_said_once_and_after_ten_seconds() {
        let at = |seconds| Time::since_boot(Duration::from_secs(seconds));
        let mut waiting = Waiting::default();
        assert!(!waiting.refused(at(0)) && !waiting.is_refused_for_long(at(9)));
        assert!(waiting.refused(at(10)) && !waiting.refused(at(20)));
        assert!(waiting.look(at(0)) && !waiting.look(at(1)));
        assert!(!waiting.lacks(at(9)) && waiting.lacks(at(10)) && !waiting.lacks(at(11)));
        assert!(waiting.is_anything_said());
        waiting.forget_lack();
        waiting.forget_refusal();
        assert!(!waiting.is_anything_said());
    }

    #[test]
    fn one_that_is_refused_or_missed_once_more_is_waited_for_as_long_as_the_first_time() {
        let at = |seconds| Time::since_boot(Duration::from_secs(seconds));
        let mut waiting = Waiting::default();
        assert!(!waiting.refused(at(0)));
        waiting.accepted();
        assert!(!waiting.is_refused() && !waiting.refused(at(10)) && waiting.refused(at(20)));
        assert!(waiting.look(at(0)));
        waiting.found();
        assert!(
            waiting.look(at(10)) && !waiting.has_looked_enough(at(19)) && waiting.has_looked_enough(at(20))
        );
    }
}
