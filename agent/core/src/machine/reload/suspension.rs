//! When a container isn't told any more: two deliveries in a row ended its process.

use std::time::Duration;

use crate::model::names::Name;
use crate::model::signal::Signal;
use crate::model::time::Time;
use crate::policy::problem::{Problem, ProblemKind};

/// An exit within this time of a delivery counts as its consequence.
pub(crate) const QUICK_EXIT: Duration = Duration::from_secs(1);

/// So many deliveries in a row that ended the process suspend further ones.
const ENDINGS: u8 = 2;

/// Why a reload ends that is suspended.
pub(super) const REASON: &str =
    "two deliveries in a row were followed by an exit; change an annotation to try again";

/// How many deliveries in a row ended the process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Suspension {
    in_a_row: u8,
    /// The last delivery is one of them.
    ended_last: bool,
}

impl Suspension {
    /// What the journal holds of it.
    pub(super) const fn restored(in_a_row: u8) -> Self {
        Self { in_a_row, ended_last: in_a_row > 0 }
    }

    /// Whether nothing is to be sent.
    pub(super) const fn is_on(self) -> bool {
        self.in_a_row >= ENDINGS
    }

    /// Whether the journal holds anything of it.
    pub(super) const fn is_recorded(self) -> bool {
        self.in_a_row > 0
    }

    /// How many deliveries in a row ended the process.
    pub(super) const fn in_a_row(self) -> u8 {
        self.in_a_row
    }

    /// A process that was told has ended. How many deliveries in a row ended it, if this is another one.
    pub(super) fn exited(&mut self, delivered: Time, at: Time) -> Option<u8> {
        if at.since(delivered) > QUICK_EXIT || std::mem::replace(&mut self.ended_last, true) {
            return None;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        Some(self.in_a_row)
    }

    /// What is known of the last delivery is all that there is to know: if the process lived, the count starts anew. Whether
    /// the journal is to forget it.
    pub(super) const fn judged(&mut self) -> bool {
        let lived = !self.ended_last && self.in_a_row > 0;
        if lived {
            self.in_a_row = 0;
        }
        lived
    }

    /// Another delivery was made.
    pub(super) const fn delivered(&mut self) {
        self.ended_last = false;
    }

    /// What people are told of it.
    pub(super) fn problem(container: &Name, signal: Signal) -> Problem {
        let sentence = format!(
            "container {container} ended within a second of two {signal}s in a row: further ones are held until the pod's \
             annotations change; the program catches the signal in order to end, or can't load the new files"
        );
        Problem::new(ProblemKind::Suspended, sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::since_boot(Duration::from_millis(millis))
    }

    #[test]
    fn two_quick_endings_in_a_row_suspend_it() {
        let mut suspension = Suspension::default();
        assert_eq!(suspension.exited(at(0), at(1000)), Some(1));
        assert_eq!(suspension.exited(at(0), at(1000)), None, "one delivery counts once");
        assert!(!suspension.judged() && !suspension.is_on());
        suspension.delivered();
        assert_eq!(suspension.exited(at(5000), at(5001)), Some(2));
        assert!(suspension.is_on() && !suspension.judged());
        assert!(Suspension::restored(2).is_on() && !Suspension::restored(1).is_on());
    }

    #[test]
    fn a_delivery_after_which_it_lived_starts_the_count_anew() {
        let mut suspension = Suspension::default();
        suspension.exited(at(0), at(1));
        suspension.delivered();
        assert_eq!(suspension.exited(at(5000), at(6001)), None, "too late to be a consequence");
        assert!(suspension.judged() && !suspension.is_recorded());
        assert!(!suspension.judged(), "the journal knows");
    }
}
