//! The guard: whether a signal would take its default action on a process. It is no proof that the process reloads.

use crate::kernel::process::is_runtime;
use crate::kernel::procfs::{SignalSet, Status};
use crate::model::signal::Signal;

/// A process's signal masks at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardReading {
    /// The command's name at that moment.
    pub comm: String,
    /// Signals that every thread blocks; `SigBlk` in `status` is the leader's alone.
    pub blocked_in_all: SignalSet,
    /// Signals that the process ignores.
    pub ignored: SignalSet,
    /// Signals that the process catches.
    pub caught: SignalSet,
    /// Signals that wait for the whole process.
    pub pending: SignalSet,
    /// Whether the masks were read as far as they decide; a process can have more threads than are looked at.
    pub complete: bool,
}

impl GuardReading {
    /// The reading out of the leader's `status` and, where they were read, the other threads' blocked signals.
    pub fn new(leader: Status, others_block: SignalSet) -> Self {
        Self {
            comm: leader.comm,
            blocked_in_all: leader.blocked.and(others_block),
            ignored: leader.ignored,
            caught: leader.caught,
            pending: leader.pending,
            complete: true,
        }
    }

    /// What a signal would meet.
    pub fn handling(&self, signal: Signal) -> Handling {
        let number = signal.number();
        if !self.complete {
            Handling::Unknown
        } else if is_runtime(&self.comm) {
            Handling::Starting
        } else if self.catches(signal) || (self.blocked_in_all.contains(number) && !self.ignores(signal)) {
            Handling::Handled
        } else if self.ignores(signal) {
            Handling::Ignored
        } else {
            Handling::Default
        }
    }

    /// Whether the process catches the signal.
    pub const fn catches(&self, signal: Signal) -> bool {
        self.caught.contains(signal.number())
    }

    const fn ignores(&self, signal: Signal) -> bool {
        self.ignored.contains(signal.number())
    }

    /// Whether the signal waits, blocked by every thread.
    pub const fn is_pending(&self, signal: Signal) -> bool {
        let number = signal.number();
        self.blocked_in_all.contains(number) && self.pending.contains(number)
    }
}

/// Whether the other threads decide: the leader blocks the signal and nothing catches it.
pub const fn needs_threads(leader: &Status, signal: Signal) -> bool {
    let number = signal.number();
    leader.threads > 1 && leader.blocked.contains(number) && !leader.caught.contains(number)
}

/// What a signal would meet in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// A handler, or it is blocked in every thread (`signalfd`, `sigwait`).
    Handled,
    /// It would be dropped: the process ignores it (HAProxy, while it executes anew, also blocks it; what waits is
    /// discarded with each `SIG_IGN`).
    Ignored,
    /// Its default action: it ends the process, or is dropped by the first process of a PID namespace.
    Default,
    /// The container isn't started yet: the runtime's own process still stands in its place.
    Starting,
    /// The masks couldn't be read, or not in the time that there is.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(blocked: u64, ignored: u64, caught: u64) -> GuardReading {
        GuardReading {
            comm: "app".to_owned(),
            blocked_in_all: SignalSet::from_bits(blocked),
            ignored: SignalSet::from_bits(ignored),
            caught: SignalSet::from_bits(caught),
            pending: SignalSet::from_bits(1),
            complete: true,
        }
    }

    fn hup() -> Signal {
        Signal::parse("HUP").unwrap()
    }

    #[test]
    fn caught_or_blocked_everywhere_is_handled_and_the_rest_is_not() {
        assert_eq!(reading(0, 0, 1).handling(hup()), Handling::Handled);
        assert_eq!(reading(1, 0, 0).handling(hup()), Handling::Handled);
        assert_eq!(reading(1, 1, 0).handling(hup()), Handling::Ignored, "HAProxy executes anew");
        assert_eq!(reading(0, 1, 0).handling(hup()), Handling::Ignored);
        assert_eq!(reading(2, 2, 2).handling(hup()), Handling::Default);
    }

    #[test]
    fn masks_that_were_not_read_to_the_end_prove_nothing() {
        let cut = GuardReading { complete: false, ..reading(1, 0, 1) };
        assert_eq!(cut.handling(hup()), Handling::Unknown);
        assert_eq!(
            GuardReading { complete: false, ..GuardReading::new(Status::default(), SignalSet::default()) }
                .handling(hup()),
            Handling::Unknown
        );
    }

    #[test]
    fn a_runtimes_mask_counts_for_nothing() {
        let runc = GuardReading { comm: "runc:[2:INIT]".to_owned(), ..reading(0, 0, u64::MAX) };
        assert_eq!(runc.handling(hup()), Handling::Starting);
    }

    #[test]
    fn pending_means_blocked_everywhere_and_still_waiting() {
        assert!(reading(1, 0, 1).is_pending(hup()));
        assert!(!reading(0, 0, 1).is_pending(hup()));
    }

    #[test]
    fn other_threads_decide_only_where_the_leader_blocks_and_nothing_catches() {
        let leader = |threads, blocked, caught| Status {
            threads,
            blocked: SignalSet::from_bits(blocked),
            caught: SignalSet::from_bits(caught),
            ..Status::default()
        };
        assert!(needs_threads(&leader(2, 1, 0), hup()));
        assert!(!needs_threads(&leader(1, 1, 0), hup()));
        assert!(!needs_threads(&leader(2, 0, 0), hup()));
        assert!(!needs_threads(&leader(2, 1, 1), hup()));
        let reading = GuardReading::new(leader(2, 1, 0), SignalSet::default());
        assert_eq!(reading.handling(hup()), Handling::Default, "another thread takes it");
    }
}
