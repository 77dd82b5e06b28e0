//! Something that is tried again with growing pauses.

use std::time::Duration;

use crate::model::time::Time;

/// After this long a missing process ends the reload, and an unhandled signal is said aloud.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Since when something is tried, and when the next try is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    since: Time,
    next: Time,
    pause: Duration,
}

impl Retry {
    /// The first try is now.
    pub(crate) fn begin(now: Time) -> Self {
        Self { since: now, next: now + FIRST_PAUSE, pause: FIRST_PAUSE }
    }

    /// Another try is made now: the pause after it is twice as long.
    pub(crate) fn again(&mut self, now: Time) {
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let end = self.since + PATIENCE;
        // What ends or is said after so long needs no timer of its own.
        self.next = if now < end { end.min(now + self.pause) } else { now + self.pause };
    }

    /// The next try is due at once.
    pub(crate) fn hurry(&mut self, now: Time) {
        self.next = self.next.min(now);
    }

    /// Since when it is tried.
    pub(crate) const fn since(self) -> Time {
        self.since
    }

    /// When the next try is due.
    pub(crate) const fn next(self) -> Time {
        self.next
    }

    /// Whether the next try is due.
    pub(crate) fn is_due(self, now: Time) -> bool {
        now >= self.next
    }

    /// Whether it was tried for so long that something else follows.
    pub(crate) fn is_hopeless(self, now: Time) -> bool {
        now >= self.since + PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pauses_grow_to_five_seconds_and_one_ends_where_patience_does(
            start in prop_oneof![Just(0), 0..5_000_u64, 0..86_400_000_u64].prop_map(Duration::from_millis),
        ) {
            let start = Time::since_boot(start);
            let mut retry = Retry::begin(start);
            let mut tries = vec![retry.next];
            for _ in 0..12 {
                retry.again(retry.next);
                tries.push(retry.next);
            }
            prop_assert!(tries.contains(&(start + PATIENCE)));
            prop_assert_eq!(retry.since(), start);
            let pauses = tries.windows(2).map(|pair| pair[1].since(pair[0]));
            prop_assert!(pauses.into_iter().all(|pause| pause > Duration::ZERO && pause <= LONGEST_PAUSE));
        }
    }
}
