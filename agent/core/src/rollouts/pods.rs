//! The pods of a workload, as they were listed, and whether they are older than a change.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::names::Name;
use crate::model::pod::ContainerKind;
use crate::model::time::Time;
use crate::rollouts::event::{Listed, Pod};
use crate::rollouts::record::{Prints, seconds};

/// A container that was started again after a change has the new content, by clocks that may be this far apart.
const SKEW: Duration = Duration::from_secs(10);

/// Its pods.
#[derive(Debug)]
pub(crate) enum Listing {
    Unknown,
    /// They were asked for then, of the workload at this version.
    Asked(Time, Name),
    /// They were these: whatever the workload's status says since, it says of others.
    Known(Known),
}

/// They, as they were when they were asked for, of the workload at a version.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) asked: Time,
    pub(crate) came: Time,
    pub(crate) version: Name,
    pub(crate) listed: Listed,
    /// With which contents its roll was found to be wanted by them, and waits.
    pub(crate) waits_for: Option<Prints>,
}

impl Listing {
    /// By these pods a roll for these contents is wanted, and waits.
    pub(crate) fn wait_for(&mut self, wanted: Prints) {
        if let Self::Known(known) = self {
            known.waits_for = Some(wanted);
        }
    }
}

/// A change, as pods may be older than it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// When it was, by the API server's clock.
    pub(crate) at: Time,
    /// Whether it made an object without which no container starts that uses it.
    pub(crate) is_beginning: bool,
}

/// Whether a pod has anything from before a change. The API server's times are whole seconds: of two in the same one the order isn't
/// known. A revision of that second is taken for newer, since objects are applied before the workloads that use them, and a pod of
/// an earlier revision for older.
pub(crate) fn is_stale(pod: &Pod, keepers: &BTreeSet<Name>, changed: Moment) -> bool {
    let Moment { at: changed, is_beginning } = changed;
    let is_newer = |at: Time| seconds(at) > seconds(changed);
    if is_newer(pod.created) || pod.revision.is_some_and(|at| seconds(at) >= seconds(changed)) {
        return false;
    }
    // Whoever waited for an object starts right after it is made.
    let skew = if is_beginning { Duration::ZERO } else { SKEW };
    let is_older = |started: Time| started < changed + skew;
    // Nobody that uses it: it is one that is only named, and all that runs counts.
    let counts = |name: &Name| keepers.is_empty() || keepers.contains(name);
    pod.containers.iter().any(|(name, kind, started)| {
        let is_kept = match (kind, started) {
            (ContainerKind::Init, Some(started)) if is_beginning => is_older(*started),
            // They aren't run again.
            (ContainerKind::Init, _) => pod.containers.iter().any(|(_, _, started)| started.is_some()),
            (ContainerKind::Regular | ContainerKind::Sidecar, started) => started.is_some_and(is_older),
            (ContainerKind::Ephemeral, _) => false,
        };
        counts(name) && is_kept
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    fn pod(kind: ContainerKind, started: u64) -> Pod {
        Pod {
            created: at(90),
            revision: Some(at(90)),
            is_current: true,
            is_terminating: false,
            ordinal: None,
            containers: vec![
                ("mine".into(), kind, Some(at(started))),
                ("other".into(), ContainerKind::Regular, Some(at(91))),
            ],
        }
    }

    #[test]
    fn who_waited_for_an_object_has_it_and_who_ran_before_hasnt() {
        let keepers = BTreeSet::from(["mine".into()]);
        let stale = |kind, started, is_beginning| {
            is_stale(&pod(kind, started), &keepers, Moment { at: at(100), is_beginning })
        };
        for kind in [ContainerKind::Regular, ContainerKind::Sidecar] {
            assert!(stale(kind, 99, true), "{kind:?}");
            assert!(!stale(kind, 100, true) && !stale(kind, 103, true), "{kind:?}");
            // Of any other change nothing is known that holds a container up.
            assert!(stale(kind, 103, false) && !stale(kind, 110, false), "{kind:?}");
        }
        assert!(stale(ContainerKind::Init, 99, true) && !stale(ContainerKind::Init, 101, true));
        assert!(stale(ContainerKind::Init, 120, false), "they aren't run again");
    }
}
