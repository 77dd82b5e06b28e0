//! Whether a process that catches the signal goes on to do so. One that was seen without a handler, once it was no longer young,
//! may have one for a moment only: around a section, or while it ends or executes itself anew. The signal would end it a moment
//! later.
//!
//! So such a process is believed only after [`FEW`] readings in a row that show a handler, 0.4 to 0.6 s apart, by a share that is
//! another one for each reading, so that they fall in step with no loop: over 2 to 3 s. Each series that is broken doubles what
//! the next one takes, up to [`MANY`]. One that was never seen without a handler is believed at once.

use std::time::Duration;

use crate::kernel::process::ProcessIdentity;
use crate::model::hash;
use crate::model::time::Time;

/// So many readings in a row prove it.
const FEW: u32 = 6;
/// So many do at most: over 40 to 60 s.
const MANY: u32 = 96;

/// From one reading that counts to the next.
const SHORTEST_PAUSE: Duration = Duration::from_millis(400);
const SPREAD: Duration = Duration::from_millis(200);

/// What was seen of a signal that is caught.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Catching {
    /// How many readings in a row have shown a handler, since there was none.
    series: u32,
    /// How many it takes: none where it was never seen without one.
    needed: u32,
    /// The next reading that counts is one from then on.
    next: Time,
}

impl Catching {
    /// A reading shows a handler. Whether that is believed.
    pub(super) fn caught(&mut self, process: &ProcessIdentity, now: Time) -> bool {
        if !self.is_believed() && now >= self.next {
            self.series += 1;
            self.next = now + self.pause(process);
            if self.series >= self.needed {
                *self = Self::default();
            }
        }
        self.is_believed()
    }

    /// A reading shows no handler, in a process that is old enough to have one.
    pub(super) fn not_caught(&mut self) {
        let broken = if self.series > 0 { 2 } else { 1 };
        self.needed = self.needed.max(FEW).saturating_mul(broken).min(MANY);
        self.interrupt();
    }

    /// Another program may run in the process, or a reading says something else: only what speaks against it counts on.
    pub(super) fn interrupt(&mut self) {
        self.series = 0;
        self.next = Time::default();
    }

    /// Whether a handler that is seen is taken for one that stays.
    pub(super) const fn is_believed(&self) -> bool {
        self.needed == 0
    }

    /// When the next reading is wanted; `None` where there is nothing to find out.
    pub(super) fn next(&self) -> Option<Time> {
        (self.series > 0).then_some(self.next)
    }

    fn pause(&self, process: &ProcessIdentity) -> Duration {
        let started = process.started.elapsed_since_boot().as_nanos();
        let salt = [u128::from(process.pid), started, self.series.into(), self.needed.into()];
        SHORTEST_PAUSE + hash::of(salt.into_iter().flat_map(u128::to_le_bytes), SPREAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::{ContainerId, PodUid};

    fn process() -> ProcessIdentity {
        let pod = PodUid::parse("00000001").unwrap();
        let container = ContainerId::parse(&"a".repeat(64)).unwrap();
        ProcessIdentity { pid: 7, started: Time::default(), pod, container }
    }

    fn at(millis: u64) -> Time {
        Time::since_boot(Duration::from_millis(millis))
    }

    /// Reads a handler whenever that is due, until it is believed or this many readings were made; how long that took.
    fn catch(catching: &mut Catching, most: u32) -> Duration {
        let mut now = at(0);
        for _ in 0..most {
            if catching.caught(&process(), now) {
                break;
            }
            now = catching.next().unwrap();
        }
        now.since(at(0))
    }

    #[test]
    fn a_handler_is_believed_at_once_where_there_was_never_none_and_else_after_two_to_three_seconds() {
        let mut catching = Catching::default();
        assert!(catching.caught(&process(), at(0)));
        catching.not_caught();
        let took = catch(&mut catching, FEW);
        assert!(catching.is_believed() && catching.next().is_none());
        assert!((Duration::from_secs(2)..Duration::from_secs(3)).contains(&took), "{took:?}");
    }

    #[test]
    fn readings_that_come_together_are_one() {
        let mut catching = Catching::default();
        catching.not_caught();
        assert!((0..1_000).all(|_| !catching.caught(&process(), at(0))));
        assert!(catching.next() >= Some(at(400)));
    }

    #[test]
    fn each_series_that_is_broken_doubles_what_the_next_one_takes_up_to_a_minute() {
        let mut catching = Catching::default();
        catching.not_caught();
        catching.not_caught();
        for needed in [FEW, 12, 24, 48, 96, 96] {
            catch(&mut catching, needed - 1);
            assert!(!catching.is_believed(), "{needed}");
            catching.not_caught();
        }
        let took = catch(&mut catching, MANY);
        assert!(catching.is_believed() && took < Duration::from_secs(60), "{took:?}");
        catching.not_caught();
        catch(&mut catching, FEW);
        assert!(catching.is_believed(), "what was believed once begins anew");
    }

    #[test]
    fn another_program_in_the_process_begins_anew_and_inherits_what_speaks_against_it() {
        let mut catching = Catching::default();
        catching.interrupt();
        assert!(catching.caught(&process(), at(0)));
        catching.not_caught();
        catch(&mut catching, FEW - 1);
        catching.interrupt();
        assert!(!catching.caught(&process(), at(9_000)) && catching.next().is_some());
    }
}
