//! How long the API server is left alone before it is asked again. Nothing else tries again: kube's own retries are
//! off, since they obey any `Retry-After`, and say nothing meanwhile.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::RETRY_AFTER;

/// The pause after the first failure, before some of it is taken off by chance; twice as long after each further one.
const FIRST: Duration = Duration::from_millis(800);
/// The longest pause. After an interruption of any length the agent knows the newest state within that.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);
/// After so many failures the pause doesn't grow any more.
const DOUBLINGS: u32 = 6;

/// The failures in a row, and so the next pause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    pub(crate) const fn new() -> Self {
        Self { failures: 0 }
    }

    /// Something failed again: how long to wait now. What the server asked for is obeyed up to [`LONGEST`]. Of `chances`,
    /// which are [`chances`], comes the share that is taken off or added, so that agents which failed together don't try
    /// together.
    pub(crate) fn failed(&mut self, retry_after: Option<Duration>, chances: u64) -> Duration {
        let longest = FIRST.saturating_mul(1 << self.failures.min(DOUBLINGS)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let (from, to) = match retry_after {
            // It isn't obeyed to the letter anyway.
            Some(asked) if asked > LONGEST => (LONGEST / 2, LONGEST),
            Some(asked) => {
                let from = asked.max(longest / 2);
                (from, from.saturating_add(longest / 2).min(LONGEST))
            }
            None => (longest / 2, longest),
        };
        from + share(to.saturating_sub(from), chances)
    }

    /// What was asked for was answered.
    pub(crate) const fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// A part of this time, from nothing to all of it, by chance.
pub(crate) fn share(of: Duration, chances: u64) -> Duration {
    // The upper half of the bits is enough, and divides without a remainder.
    of.mul_f64((chances >> 32) as f64 / f64::from(u32::MAX))
}

/// Other bits each time, from the randomness of the process.
pub(crate) fn chances() -> u64 {
    RandomState::new().hash_one(())
}

/// For how long the server asks to be left alone, if it says that as a number of seconds.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    text.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: u64 = 0;
    const ALL: u64 = u64::MAX;

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn pauses_double_from_under_a_second_to_half_a_minute() {
        let mut backoff = Backoff::new();
        let pauses: Vec<Duration> = (0..8).map(|_| backoff.failed(None, ALL)).collect();
        assert_eq!(pauses, [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0].map(secs));
        backoff.succeeded();
        assert_eq!(backoff.failed(None, ALL), secs(0.8));
    }

    #[test]
    fn half_of_each_pause_is_left_to_chance() {
        let mut backoff = Backoff { failures: 100 };
        assert_eq!(backoff.failed(None, NONE), secs(15.0));
        let pauses: Vec<Duration> = (0..100).map(|_| Backoff::new().failed(None, chances())).collect();
        assert!(pauses.iter().all(|pause| (secs(0.4)..=secs(0.8)).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
    }

    #[test]
    fn what_the_server_asks_for_is_obeyed_up_to_half_a_minute() {
        let after = |asked, chances| Backoff::new().failed(Some(Duration::from_secs(asked)), chances);
        assert_eq!(after(0, NONE), secs(0.4), "no less than without it");
        assert_eq!((after(7, NONE), after(7, ALL)), (secs(7.0), secs(7.4)));
        assert_eq!((after(30, NONE), after(30, ALL)), (secs(30.0), secs(30.0)));
        for absurd in [31, 100_000, u64::MAX] {
            assert_eq!((after(absurd, NONE), after(absurd, ALL)), (secs(15.0), secs(30.0)));
        }
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.failed(Some(Duration::from_secs(1)), ALL), LONGEST);
    }

    #[test]
    fn a_retry_after_that_is_no_number_of_seconds_is_none() {
        let read = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        for text in ["-1", "1e9", "99999999999999999999", "Wed, 21 Oct 2026 07:28:00 GMT", ""] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
