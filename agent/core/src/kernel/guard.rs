//! The guard: whether a signal would take its default action on a process. It is no proof that the process reloads.

use crate::kernel::process::is_runtime;
use crate::kernel::procfs::{SignalSet, Status};
use crate::kernel::program::{Harm, Nature};
use crate::model::signal::Signal;
use crate::model::time::Time;

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
    /// The state of its first thread, as `stat` has it.
    pub state: char,
    /// How much memory it has mapped, in KiB.
    pub memory: u64,
    /// The most that it has had mapped since it was executed last, where that was read.
    pub most_memory: Option<u64>,
    /// When the first of it was read: what happened before is in it.
    pub begun: Time,
    /// When the last of it was read: what happened after isn't.
    pub made: Time,
    /// What runs the program, where it was looked at closely.
    pub nature: Option<Nature>,
}

impl GuardReading {
    /// The reading out of the leader's `status` and, where they were read, the other threads' blocked signals.
    pub fn new(leader: Status, others_block: SignalSet, read: Time) -> Self {
        Self {
            comm: leader.comm,
            blocked_in_all: leader.blocked.and(others_block),
            ignored: leader.ignored,
            caught: leader.caught,
            pending: leader.pending,
            complete: true,
            state: leader.state,
            memory: leader.memory,
            most_memory: leader.most_memory,
            begun: read,
            made: read,
            nature: None,
        }
    }

    /// What a signal would meet.
    pub fn handling(&self, signal: Signal) -> Handling {
        let number = signal.number();
        if !self.complete {
            Handling::Unknown
        } else if is_runtime(&self.comm) {
            Handling::Starting
        } else if self.catches(signal) {
            Handling::Handled
        } else if self.ignores(signal) {
            Handling::Ignored
        } else if !self.blocked_in_all.contains(number) {
            Handling::Default
        } else if self.state == WAITS_FOR_CHILD {
            Handling::Spawning
        } else {
            Handling::Blocked
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

/// The state of a process that has called vfork, as posix_spawn does: it blocks everything until its child has executed
/// something (kernel `kernel/fork.c`, `wait_for_vfork_done`).
const WAITS_FOR_CHILD: char = 'D';

/// Whether the other threads decide: the leader blocks the signal and nothing catches it.
pub const fn needs_threads(leader: &Status, signal: Signal) -> bool {
    let number = signal.number();
    leader.threads > 1 && leader.blocked.contains(number) && !leader.caught.contains(number)
}

/// What a signal would meet in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// A handler, or it is known to be taken in another way.
    Handled,
    /// A handler that may be there for a moment only. Only time tells.
    Fleeting,
    /// It is blocked in every thread and has no handler: by a program that takes it by `signalfd` or `sigwait`, or for a moment
    /// by one that starts another. Only time tells.
    Blocked,
    /// The same, and the process waits as one does that has just started another: that says nothing.
    Spawning,
    /// It would be dropped: the process ignores it (HAProxy, while it executes anew, also blocks it; what waits is
    /// discarded with each `SIG_IGN`).
    Ignored,
    /// Its default action: it ends the process, or is dropped by the first process of a PID namespace.
    Default,
    /// A handler of what runs the program, which does this unless the program has put one of its own in its place. The masks show
    /// both alike.
    Harmful(Harm),
    /// The container isn't started yet: the runtime's own process still stands in its place.
    Starting,
    /// The masks couldn't be read, or not in the time that there is.
    Unknown,
}

impl Handling {
    /// Whether the signal is sent: it is handled, or, where that was asked for, may be without that being seen.
    pub const fn is_sent(self, send_unhandled: bool) -> bool {
        match self {
            Self::Handled => true,
            Self::Fleeting
            | Self::Blocked
            | Self::Ignored
            | Self::Default
            | Self::Harmful(_)
            | Self::Unknown => send_unhandled,
            Self::Starting | Self::Spawning => false,
        }
    }
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
            state: 'S',
            memory: 0,
            most_memory: None,
            begun: Time::default(),
            made: Time::default(),
            nature: None,
        }
    }

    fn hup() -> Signal {
        Signal::parse("HUP").unwrap()
    }

    #[test]
    fn what_is_caught_is_handled_what_is_blocked_everywhere_may_be_and_the_rest_is_not() {
        assert_eq!(reading(0, 0, 1).handling(hup()), Handling::Handled);
        assert_eq!(reading(1, 0, 1).handling(hup()), Handling::Handled, "it takes it later");
        assert_eq!(reading(1, 0, 0).handling(hup()), Handling::Blocked);
        assert_eq!(GuardReading { state: 'D', ..reading(1, 0, 0) }.handling(hup()), Handling::Spawning);
        assert_eq!(GuardReading { state: 'D', ..reading(0, 0, 0) }.handling(hup()), Handling::Default);
        assert_eq!(reading(1, 1, 0).handling(hup()), Handling::Ignored, "HAProxy executes anew");
        assert_eq!(reading(0, 1, 0).handling(hup()), Handling::Ignored);
        assert_eq!(reading(2, 2, 2).handling(hup()), Handling::Default);
    }

    #[test]
    fn masks_that_were_not_read_to_the_end_prove_nothing() {
        let cut = GuardReading { complete: false, ..reading(1, 0, 1) };
        assert_eq!(cut.handling(hup()), Handling::Unknown);
        assert_eq!(
            GuardReading {
                complete: false,
                ..GuardReading::new(Status::default(), SignalSet::default(), Time::default())
            }
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
        let reading = GuardReading::new(leader(2, 1, 0), SignalSet::default(), Time::default());
        assert_eq!(reading.handling(hup()), Handling::Default, "another thread takes it");
    }
}
