//! How often something may be done: a number at once, and one more each time that a while has passed.

use std::time::Duration;

use reloadlet_core::Time;

/// What may be done now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokens {
    most: u32,
    each: Duration,
    left: u32,
    refilled: Time,
}

impl Tokens {
    /// All that there may be; a token comes back after each such while.
    pub(crate) const fn new(most: u32, each: Duration, now: Time) -> Self {
        Self { most, each, left: most, refilled: now }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, now: Time) -> bool {
        let some = self.any(now);
        self.left = self.left.saturating_sub(1);
        some
    }

    /// Whether there is one.
    fn any(&mut self, now: Time) -> bool {
        self.left(now) > 0
    }

    /// How many there are.
    pub(crate) fn left(&mut self, now: Time) -> u32 {
        let whiles = now.since(self.refilled).as_nanos().checked_div(self.each.as_nanos());
        match whiles.map(u32::try_from) {
            Some(Ok(tokens)) => {
                self.left = self.left.saturating_add(tokens).min(self.most);
                self.refilled = self.refilled + self.each * tokens;
            }
            Some(Err(_)) | None => {
                self.left = self.most;
                self.refilled = now;
            }
        }
        self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::since_boot(Duration::from_millis(millis))
    }

    fn taken(tokens: &mut Tokens, now: Time) -> usize {
        (0..100).filter(|_| tokens.take(now)).count()
    }

    #[test]
    fn tokens_come_back_one_by_one_and_no_more_than_there_were() {
        let mut tokens = Tokens::new(5, Duration::from_millis(50), at(0));
        assert_eq!(taken(&mut tokens, at(0)), 5);
        assert_eq!(taken(&mut tokens, at(49)), 0);
        assert_eq!(taken(&mut tokens, at(75)), 1);
        assert_eq!(taken(&mut tokens, at(100)), 1, "what is left of a while is not lost");
        assert_eq!(taken(&mut tokens, at(1_000_000_000_000)), 5);
    }
}
