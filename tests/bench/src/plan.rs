//! How much is measured.

use std::time::Duration;

/// The sizes of a run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// How often floor and reloadlet take turns with one pod.
    pub(crate) pairs: usize,
    /// How many changes each of them gets.
    pub(crate) changes: usize,
    /// How often every pod of 110 changes at once.
    pub(crate) rounds_110: usize,
    /// How often every pod of 500 changes at once.
    pub(crate) rounds_500: usize,
    /// The same for the shell loop with 110 pods.
    pub(crate) rounds_shell: usize,
    /// How long an idle agent is watched; not at all if zero.
    pub(crate) idle: Duration,
    /// The number of pods that are only watched; none if zero.
    pub(crate) most_pods: usize,
}

impl Plan {
    /// What the limits are about.
    pub(crate) fn full() -> Self {
        Self {
            pairs: 3,
            changes: 150,
            rounds_110: 8,
            rounds_500: 4,
            rounds_shell: 3,
            idle: Duration::from_secs(10),
            most_pods: 1_000,
        }
    }

    /// Enough to see whether something is wrong.
    pub(crate) fn quick() -> Self {
        Self {
            pairs: 1,
            changes: 50,
            rounds_110: 2,
            rounds_500: 1,
            rounds_shell: 1,
            idle: Duration::ZERO,
            most_pods: 0,
        }
    }
}
