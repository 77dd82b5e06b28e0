//! Reports of deliveries that wait to know what their generations brought.

use std::time::Duration;

use crate::machine::event::ReloadReport;
use crate::model::time::Time;

/// How long the report of a delivery waits for what its generation brought.
const WAITS: Duration = Duration::from_secs(1);

/// The reports that wait, in the order of their deliveries.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsaid(Vec<(ReloadReport, Time)>);

impl Unsaid {
    /// One more waits.
    pub(super) fn add(&mut self, report: ReloadReport, now: Time) {
        self.0.push((report, now + WAITS));
    }

    /// Those that it is time for: they are known to be decided, or have waited long enough.
    pub(super) fn take(
        &mut self,
        now: Time,
        is_decided: impl Fn(&ReloadReport) -> bool,
    ) -> Vec<ReloadReport> {
        let due = self.0.extract_if(.., |(report, until)| *until <= now || is_decided(report));
        due.map(|(report, _)| report).collect()
    }

    /// All of them.
    pub(super) fn take_all(&mut self) -> Vec<ReloadReport> {
        std::mem::take(&mut self.0).into_iter().map(|(report, _)| report).collect()
    }

    /// When one has waited long enough.
    pub(super) fn timeout(&self) -> Option<Time> {
        self.0.iter().map(|(_, until)| *until).min()
    }
}
