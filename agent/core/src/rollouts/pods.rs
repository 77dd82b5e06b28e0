//! The pods of a workload, as they were listed, and whether they are older than a change.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::names::Name;
use crate::model::pod::ContainerKind;
use crate::model::time::Time;
use crate::rollouts::event::{Listed, Pod};
use crate::rollouts::record::seconds;

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
}

/// Whether a pod has anything from before a change. The API server's times are whole seconds: of two in the same one the order isn't
/// known. A revision of that second is taken for newer, since objects are applied before the workloads that use them, and a pod of
/// an earlier revision for older.
pub(crate) fn is_stale(pod: &Pod, keepers: &BTreeSet<Name>, changed: Time) -> bool {
    let is_newer = |at: Time| seconds(at) > seconds(changed);
    if is_newer(pod.created) || pod.revision.is_some_and(|at| seconds(at) >= seconds(changed)) {
        return false;
    }
    // Nobody that uses it: it is one that is only named, and all that runs counts.
    let counts = |name: &Name| keepers.is_empty() || keepers.contains(name);
    pod.containers.iter().any(|(name, kind, started)| {
        let is_kept = match kind {
            // They aren't run again.
            ContainerKind::Init => pod.containers.iter().any(|(_, _, started)| started.is_some()),
            ContainerKind::Regular | ContainerKind::Sidecar => {
                started.is_some_and(|started| started < changed + SKEW)
            }
            ContainerKind::Ephemeral => false,
        };
        counts(name) && is_kept
    })
}
