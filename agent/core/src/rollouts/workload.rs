//! Workloads whose pods can be replaced by a change of their template.

use std::fmt;
use std::time::Duration;

use crate::model::closed::closed_set;
use crate::model::names::Name;
use crate::model::pod::{Annotations, PodSpec};
use crate::policy::reloader::Form;

closed_set! {
    /// What kind of workload.
    pub enum Kind {
        /// A Deployment.
        Deployment => "deployment",
        /// A StatefulSet.
        StatefulSet => "statefulset",
        /// A DaemonSet.
        DaemonSet => "daemonset",
    }
}

impl Kind {
    /// The one that comes before the others.
    pub(crate) const FIRST: Self = Self::Deployment;

    /// The kind as manifests write it.
    pub const fn written(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

/// One workload by name. One that is deleted and made again is the same one here; its UID is another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkloadRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.written(), self.namespace, self.name)
    }
}

impl fmt::Debug for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the API server says of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its UID.
    pub uid: Name,
    /// Its `resourceVersion`.
    pub version: Name,
    /// Its `generation`, which each change of its spec counts up.
    pub generation: u64,
    /// What of it decides whether and how its pods are replaced.
    pub form: Form,
    /// Those of its own annotations that count: ours, and Reloader's.
    pub own: Annotations,
    /// Reloader's on its template; ours are in the spec.
    pub of_template: Annotations,
    /// What its pods are like.
    pub spec: PodSpec,
    /// The mark of the last roll in its template (`reloadlet.io/rolled`).
    pub marker: Option<Name>,
    /// How far it is with replacing its pods.
    pub progress: Progress,
    /// How long a pod must have been ready to count as available.
    pub min_ready: Duration,
    /// Whether it is to have no pods.
    pub is_empty: bool,
}

impl Workload {
    /// Whether it says the same as another one, whatever their versions.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let Self {
            uid,
            version: _,
            generation,
            form,
            own,
            of_template,
            spec,
            marker,
            progress,
            min_ready,
            is_empty,
        } = self;
        (uid, generation, form, own, of_template)
            == (&other.uid, &other.generation, &other.form, &other.own, &other.of_template)
            && (spec, marker, progress, min_ready, is_empty)
                == (&other.spec, &other.marker, &other.progress, &other.min_ready, &other.is_empty)
    }

    /// About how much memory it takes, in bytes: what was measured of pods, rounded up.
    pub(crate) fn cost(&self) -> usize {
        let own = self.own.iter().chain(&self.of_template);
        self.spec.cost() + own.map(|(key, value)| 96 + key.len() + value.len()).sum::<usize>()
    }
}

closed_set! {
    /// How far a workload is with replacing its pods.
    pub enum Progress {
        /// All of its pods are of its template, and available.
        Available => "available",
        /// Some aren't of its template yet.
        Rolling => "rolling",
        /// All are of its template, and some aren't available.
        Unavailable => "unavailable",
        /// Its deadline is over (`progressDeadlineSeconds`).
        Late => "late",
    }
}

/// What a workload's status counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The generation of the workload.
    pub generation: u64,
    /// The generation that the status is of.
    pub observed: u64,
    /// How many pods there should be.
    pub wanted: u64,
    /// How many there are.
    pub all: u64,
    /// How many of them are of the newest template.
    pub updated: u64,
    /// How many of them are available.
    pub available: u64,
    /// How many stay as they are, whatever the template says: those below a StatefulSet's partition.
    pub kept: u64,
    /// Whether its deadline is over.
    pub is_late: bool,
}

impl Progress {
    /// What these counts come to.
    pub const fn of(counts: Counts) -> Self {
        let Counts { generation, observed, wanted, all, updated, available, kept, is_late } = counts;
        if observed < generation {
            // Whatever the rest of the status says, it is of another template.
            Self::Rolling
        } else if is_late {
            Self::Late
        } else if updated.saturating_add(kept) < wanted || all > wanted {
            Self::Rolling
        } else if available < wanted {
            Self::Unavailable
        } else {
            Self::Available
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_available_once_all_of_its_pods_are_of_its_template_and_available() {
        let done = Counts {
            generation: 2,
            observed: 2,
            wanted: 3,
            all: 3,
            updated: 3,
            available: 3,
            ..Counts::default()
        };
        assert_eq!(Progress::of(done), Progress::Available);
        for (counts, expected) in [
            (Counts { observed: 1, is_late: true, ..done }, Progress::Rolling),
            (Counts { updated: 2, ..done }, Progress::Rolling),
            (Counts { updated: 2, kept: 1, ..done }, Progress::Available),
            (Counts { all: 4, ..done }, Progress::Rolling),
            (Counts { available: 2, ..done }, Progress::Unavailable),
            (Counts { updated: 1, is_late: true, ..done }, Progress::Late),
            (Counts { wanted: 0, all: 0, updated: 0, available: 0, ..done }, Progress::Available),
        ] {
            assert_eq!(Progress::of(counts), expected, "{counts:?}");
        }
    }
}
