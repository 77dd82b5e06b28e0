//! A send on its way: which generations it is about, and how each process took it.

use crate::kernel::process::ProcessIdentity;
use crate::machine::event::Delivery;
use crate::machine::reload::progress::Pending;
use crate::model::names::Name;
use crate::model::outcome::Outcome;
use crate::model::time::Time;

/// What the kernel says where it denies a send.
const DENIED: &str = "EPERM: Operation not permitted";

/// A send on its way.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    /// What it settles; what settles meanwhile has a reload of its own.
    generations: Vec<(Name, Pending)>,
    /// When the waits that the pod asked for were over.
    due: Time,
    changes: Option<(Time, Time)>,
    results: Vec<(ProcessIdentity, Option<Delivery>)>,
    /// What the processes that were not sent anything make of it.
    worst: Outcome,
}

/// What came of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Some processes haven't answered yet.
    NotYet,
    /// All of them are gone: nobody was told.
    ToNobody,
    /// The worst of what came of it, and whether anybody was sent anything.
    So(Outcome, bool),
}

impl Sending {
    /// A signal goes out to these processes.
    pub(super) fn new(
        generations: Vec<(Name, Pending)>,
        due: Time,
        changes: Option<(Time, Time)>,
        to: &[ProcessIdentity],
        worst: Outcome,
    ) -> Self {
        let results = to.iter().map(|process| (process.clone(), None)).collect();
        Self { generations, due, changes, results, worst }
    }

    /// The generations that it is about.
    pub(super) fn generations(&self) -> &[(Name, Pending)] {
        &self.generations
    }

    /// The generation of a volume that it is about.
    pub(super) fn generation(&self, volume: &Name) -> Option<&Pending> {
        self.generations.iter().find(|(name, _)| name == volume).map(|(_, pending)| pending)
    }

    /// How a process took it; what was known first stays.
    pub(super) fn took(&mut self, process: &ProcessIdentity, delivery: Delivery) {
        for (_, result) in self.results.iter_mut().filter(|(sent, _)| sent == process) {
            result.get_or_insert(delivery);
        }
    }

    /// What came of it so far.
    pub(super) fn result(&self) -> Sent {
        let results: Option<Vec<Delivery>> = self.results.iter().map(|(_, result)| *result).collect();
        let Some(results) = results else { return Sent::NotYet };
        if results.iter().all(|result| *result == Delivery::Gone) {
            return Sent::ToNobody;
        }
        let worst = results.iter().map(|result| result.outcome()).fold(self.worst, Outcome::max);
        Sent::So(worst, results.contains(&Delivery::Sent))
    }

    /// When the waits that the pod asked for were over.
    pub(super) const fn due(&self) -> Time {
        self.due
    }

    /// When the first and the last of the changes settled that it is about.
    pub(super) const fn changes(&self) -> Option<(Time, Time)> {
        self.changes
    }

    /// Whether it tells a second time.
    pub(super) fn is_again(&self) -> bool {
        self.generations.iter().any(|(_, pending)| pending.again)
    }

    /// What the kernel said where it refused one of them, the first that was refused.
    pub(super) fn reason(&self) -> Option<&'static str> {
        self.results.iter().find_map(|(_, result)| match result {
            Some(Delivery::Denied) => Some(DENIED),
            Some(Delivery::Failed(error)) => Some(*error),
            Some(Delivery::Sent | Delivery::Spared | Delivery::Gone) | None => None,
        })
    }

    /// What it was about.
    pub(super) fn into_generations(self) -> Vec<(Name, Pending)> {
        self.generations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::{ContainerId, PodUid};

    fn process(pid: u32) -> ProcessIdentity {
        let pod = PodUid::parse("00000001").unwrap();
        let container = ContainerId::parse(&"a".repeat(64)).unwrap();
        ProcessIdentity { pid, started: Time::default(), pod, container }
    }

    fn sending(worst: Outcome) -> Sending {
        Sending::new(Vec::new(), Time::default(), None, &[process(1), process(2)], worst)
    }

    #[test]
    fn its_result_is_the_worst_once_everybody_has_answered() {
        let mut some = sending(Outcome::Delivered);
        some.took(&process(1), Delivery::Sent);
        assert_eq!(some.result(), Sent::NotYet);
        some.took(&process(2), Delivery::Denied);
        some.took(&process(2), Delivery::Sent);
        assert_eq!(some.result(), Sent::So(Outcome::Denied, true));
        let mut spared = sending(Outcome::Unhandled);
        [1, 2].into_iter().for_each(|pid| spared.took(&process(pid), Delivery::Spared));
        assert_eq!(spared.result(), Sent::So(Outcome::Unhandled, false));
    }

    #[test]
    fn the_kernels_error_is_its_reason() {
        let mut failed = sending(Outcome::Delivered);
        failed.took(&process(1), Delivery::Sent);
        assert_eq!(failed.reason(), None);
        failed.took(&process(2), Delivery::Failed("ENOSYS: Function not implemented"));
        assert_eq!(failed.reason(), Some("ENOSYS: Function not implemented"));
        let mut denied = sending(Outcome::Delivered);
        denied.took(&process(1), Delivery::Denied);
        assert_eq!(denied.reason(), Some("EPERM: Operation not permitted"));
    }

    #[test]
    fn where_all_are_gone_nobody_was_told() {
        let mut sending = sending(Outcome::Delivered);
        [1, 2].into_iter().for_each(|pid| sending.took(&process(pid), Delivery::Gone));
        assert_eq!(sending.result(), Sent::ToNobody);
    }
}
