//! Processes of one container and readings of their masks, as the tests of several parts need them.

use crate::kernel::guard::GuardReading;
use crate::kernel::process::ProcessIdentity;
use crate::kernel::procfs::{SignalSet, Status};
use crate::model::names::{ContainerId, PodUid};
use crate::model::time::Time;

/// A process with this PID, as old as the node.
pub(super) fn identity(pid: u32) -> ProcessIdentity {
    let pod = PodUid::parse("00000001").unwrap();
    let container = ContainerId::parse(&"a".repeat(64)).unwrap();
    ProcessIdentity { pid, started: Time::default(), pod, container }
}

/// The masks of a process called `app`, all of whose threads block the same.
pub(super) fn reading(caught: u64, blocked: u64, now: Time) -> GuardReading {
    let (caught, blocked) = (SignalSet::from_bits(caught), SignalSet::from_bits(blocked));
    let status = Status { comm: "app".to_owned(), caught, blocked, ..Status::default() };
    let reading = GuardReading::new(status, blocked, now);
    GuardReading { made: now, complete: true, ..reading }
}
