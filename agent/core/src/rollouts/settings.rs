//! How the controller runs.

use std::fmt;
use std::time::Duration;

use crate::model::time::Time;
use crate::policy::rollout::Clock;
pub use crate::rollouts::uses::Looks;

/// How the controller runs.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What it looks at.
    pub looks: Looks,
    /// So many workloads are rolled at a time.
    pub most: usize,
    /// So many of one namespace.
    pub most_each: usize,
    /// So long changes are gathered, where the workload doesn't say it.
    pub debounce: Duration,
    /// The shortest time from one roll of a workload to its next one.
    pub interval: Duration,
    /// So long a roll has until all pods are available, where the API server doesn't say that it is late.
    pub limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            looks: Looks::default(),
            most: 10,
            most_each: 3,
            debounce: Duration::from_secs(5),
            interval: Duration::from_secs(60),
            limit: Duration::from_secs(900),
        }
    }
}

/// What the clocks of a time zone show at a moment; `None` for a zone that isn't known.
pub struct Calendar(Box<Ask>);

type Ask = dyn Fn(&str, Time) -> Option<Clock> + Send;

impl Calendar {
    /// One that asks this.
    pub fn new(clock: impl Fn(&str, Time) -> Option<Clock> + Send + 'static) -> Self {
        Self(Box::new(clock))
    }

    /// What they show.
    pub(crate) fn clock(&self, zone: &str, at: Time) -> Option<Clock> {
        (self.0)(zone, at)
    }
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calendar")
    }
}
