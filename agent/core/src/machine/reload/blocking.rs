//! Whether a signal that a process blocks without having a handler for it is one that it takes in another way, by `signalfd`
//! or `sigwait`: then it is blocked for good. vfork and posix_spawn block all signals too, for less than a millisecond, and a
//! program that starts others again and again is seen so now and then: the signal would end it a moment later.
//!
//! So one reading proves nothing. A series of [`FEW`] readings in a row does, each some time after the one before: from 50 ms
//! to 0.8 s, by a share of a range that is another one for each reading, so that they fall in step with no loop. A reading of a
//! process that waits for its child (state D, as the caller of vfork does nearly all the time that it blocks anything) doesn't
//! count. Where the process was ever seen with the default action, once it was no longer young, it takes [`MANY`] readings,
//! over two minutes; and each series that is broken doubles what the next one takes.
//!
//! What that comes to: of a program that is seen with everything blocked in a share `p` of the readings, the chance that the
//! first series is an accident is `p` to the power of 8, and of all later ones together, however long the change waits, less
//! than `p^32 + p^64 + p^128 + …`, which is `p^32 / (1 - p^32)` at most. A loop of Python's `subprocess.run` was ended by its
//! 12th, 23rd and 35th reading when one was taken for proof, state D included: `p` is some 4 %, and the chances are 7 in 10^12
//! and 2 in 10^45. At 50 % they would be 0.4 % and 2 in 10^10.

use std::time::Duration;

use crate::kernel::process::ProcessIdentity;
use crate::model::hash;
use crate::model::time::Time;

/// So many readings in a row prove it of a process that was never seen with the default action.
const FEW: u32 = 8;
/// So many do of one that was.
const MANY: u32 = 32;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause among the first [`FEW`] readings, and after them.
const LONGEST_OF_FEW: Duration = Duration::from_millis(800);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What was seen of a signal that is blocked without a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocking {
    /// How many readings in a row have shown it blocked.
    series: u32,
    /// How many it takes.
    needed: u32,
    /// The next reading that counts is one from then on.
    next: Time,
    /// How many series were broken: it makes the pauses of each one different.
    broken: u32,
}

impl Default for Blocking {
    fn default() -> Self {
        Self { series: 0, needed: FEW, next: Time::default(), broken: 0 }
    }
}

impl Blocking {
    /// A reading shows it blocked.
    pub(super) fn blocked(&mut self, process: &ProcessIdentity, now: Time) {
        if self.is_proven() || now < self.next {
            return;
        }
        self.series += 1;
        self.next = now + self.pause(process);
    }

    /// A reading shows that it isn't blocked; `by_default` says whether it would have taken its default action, in a process
    /// that is old enough to have its handlers.
    pub(super) fn not_blocked(&mut self, by_default: bool) {
        if self.series > 0 {
            self.needed = self.needed.saturating_mul(2);
            self.broken = self.broken.saturating_add(1);
        }
        if by_default {
            self.needed = self.needed.max(MANY);
        }
        self.series = 0;
        self.next = Time::default();
    }

    /// A reading that was due says nothing: the next one follows after a pause.
    pub(super) fn put_off(&mut self, process: &ProcessIdentity, now: Time) {
        if self.series > 0 && now >= self.next {
            self.next = now + self.pause(process);
        }
    }

    /// Another program may run in the process, or a reading says something else: what was seen before counts for nothing, unless
    /// it speaks against it.
    pub(super) fn interrupt(&mut self) {
        self.series = 0;
        self.next = Time::default();
    }

    /// Whether it is known to be taken in another way.
    pub(super) const fn is_proven(&self) -> bool {
        self.series >= self.needed
    }

    /// When the next reading is wanted; `None` where there is nothing to find out.
    pub(super) fn next(&self) -> Option<Time> {
        (self.series > 0 && !self.is_proven()).then_some(self.next)
    }

    /// From half of a length to one and a half of it. The length doubles with each reading.
    fn pause(&self, process: &ProcessIdentity) -> Duration {
        let longest = if self.series < FEW { LONGEST_OF_FEW } else { LONGEST_PAUSE };
        let length = (FIRST_PAUSE * 2_u32.saturating_pow((self.series - 1).min(16))).min(longest);
        let started = process.started.elapsed_since_boot().as_nanos();
        let salt = [u128::from(process.pid), started, self.series.into(), self.broken.into()];
        length / 2 + hash::of(salt.into_iter().flat_map(u128::to_le_bytes), length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::{ContainerId, PodUid};
    use proptest::prelude::*;

    fn process() -> ProcessIdentity {
        let pod = PodUid::parse("00000001").unwrap();
        let container = ContainerId::parse(&"a".repeat(64)).unwrap();
        ProcessIdentity { pid: 7, started: Time::default(), pod, container }
    }

    fn at(millis: u64) -> Time {
        Time::since_boot(Duration::from_millis(millis))
    }

    /// Reads it blocked whenever that is due, until it is proven; how many readings that took, and how long.
    fn prove(blocking: &mut Blocking, from: Time) -> (u32, Duration) {
        let (mut now, mut readings) = (from, 0);
        while !blocking.is_proven() {
            blocking.blocked(&process(), now);
            readings += 1;
            now = blocking.next().unwrap_or(now);
        }
        (readings, now.since(from))
    }

    #[test]
    fn eight_readings_in_a_row_some_time_apart_prove_it() {
        let mut blocking = Blocking::default();
        let (readings, took) = prove(&mut blocking, at(0));
        assert_eq!(readings, FEW);
        assert!((Duration::from_millis(1_500)..Duration::from_millis(4_800)).contains(&took), "{took:?}");
        assert_eq!(blocking.next(), None);
    }

    #[test]
    fn readings_that_come_together_are_one() {
        let mut blocking = Blocking::default();
        for _ in 0..1_000 {
            blocking.blocked(&process(), at(0));
        }
        assert!(!blocking.is_proven());
        let next = blocking.next().unwrap();
        assert!(next >= at(25), "{next:?}");
        blocking.blocked(&process(), next - Duration::from_nanos(1));
        assert_eq!(blocking.next(), Some(next));
        blocking.blocked(&process(), next);
        assert!(blocking.next() > Some(next));
    }

    #[test]
    fn one_that_was_ever_seen_with_the_default_action_takes_thirty_two_over_two_minutes() {
        let mut blocking = Blocking::default();
        blocking.not_blocked(true);
        blocking.not_blocked(true);
        let (readings, took) = prove(&mut blocking, at(0));
        assert_eq!(readings, MANY);
        assert!(took > Duration::from_secs(60), "{took:?}");
        blocking.not_blocked(true);
        assert!(!blocking.is_proven(), "what is known of it ends with the first reading that says otherwise");
        assert_eq!(prove(&mut blocking, at(0)).0, 2 * MANY);
    }

    #[test]
    fn a_young_process_without_a_handler_isnt_held_against_it() {
        let mut blocking = Blocking::default();
        blocking.not_blocked(false);
        assert_eq!(prove(&mut blocking, at(0)).0, FEW);
    }

    #[test]
    fn another_program_in_the_process_begins_anew_and_inherits_what_speaks_against_it() {
        let mut blocking = Blocking::default();
        blocking.not_blocked(true);
        prove(&mut blocking, at(0));
        blocking.interrupt();
        assert_eq!(prove(&mut blocking, at(0)).0, MANY);
    }

    #[test]
    fn the_pauses_double_up_to_what_few_readings_need_and_many() {
        let mut blocking = Blocking { needed: MANY, ..Blocking::default() };
        for reading in 1..MANY {
            let before = blocking.next;
            blocking.blocked(&process(), before);
            let longest = if reading < FEW { LONGEST_OF_FEW } else { LONGEST_PAUSE };
            let length = FIRST_PAUSE.saturating_mul(1 << (reading - 1).min(20)).min(longest);
            let pause = blocking.next.since(before);
            assert!((length / 2..length * 3 / 2).contains(&pause), "{reading}: {pause:?} of {length:?}");
        }
    }

    #[test]
    fn a_reading_that_says_nothing_is_made_up_for_after_a_pause() {
        let mut blocking = Blocking::default();
        blocking.put_off(&process(), at(7));
        assert_eq!(blocking, Blocking::default(), "nothing was to be found out");
        blocking.blocked(&process(), at(0));
        let due = blocking.next;
        blocking.put_off(&process(), due - Duration::from_nanos(1));
        assert_eq!(blocking.next, due, "it wasn't due");
        blocking.put_off(&process(), due);
        assert!((due + FIRST_PAUSE / 2..due + FIRST_PAUSE * 3 / 2).contains(&blocking.next));
        assert_eq!(prove(&mut blocking, due + FIRST_PAUSE * 2).0, FEW - 1);
    }

    #[test]
    fn the_pauses_of_two_series_differ() {
        let pauses = |broken| {
            let mut blocking = Blocking { broken, ..Blocking::default() };
            let mut pauses = Vec::new();
            for _ in 0..FEW - 1 {
                let before = blocking.next;
                blocking.blocked(&process(), before);
                pauses.push(blocking.next.since(before));
            }
            pauses
        };
        assert!(
            pauses(0)
                .iter()
                .zip(pauses(1))
                .all(|(one, other)| one.abs_diff(other) > Duration::from_micros(10))
        );
    }

    proptest! {
        #[test]
        fn an_accident_becomes_less_likely_with_each_that_almost_was_one(seen in proptest::collection::vec(any::<bool>(), 0..400)) {
            let mut blocking = Blocking::default();
            blocking.not_blocked(true);
            let (mut now, mut row, mut broken) = (at(0), 0, 0);
            for blocked in seen {
                now = blocking.next().unwrap_or(now);
                if blocked {
                    blocking.blocked(&process(), now);
                    row += 1;
                } else {
                    broken += u32::from(row > 0);
                    blocking.not_blocked(true);
                    row = 0;
                }
                let needed = MANY.saturating_mul(2_u32.saturating_pow(broken));
                prop_assert_eq!(blocking.is_proven(), row >= needed);
            }
        }
    }
}
