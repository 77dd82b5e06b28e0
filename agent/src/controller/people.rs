//! All that people are told of what the controller reports: Events, lines of the log, metrics, and since when rolls wait.

use std::sync::Arc;

use reloadlet_core::Time;
use reloadlet_core::model::names::Name;
use reloadlet_core::rollouts::event::{Obstacle, Report, Wait};
use reloadlet_core::rollouts::workload::WorkloadRef;

use super::metrics::{Metrics, RollResult};
use super::moments::Moments;
use super::notes;
use crate::api::events::Notes;

/// Where reports go.
pub(crate) struct People {
    notes: Notes,
    metrics: Arc<Metrics>,
    waits: Moments<Wait>,
    /// Rolls that have begun and aren't over well.
    rolls: Moments<()>,
}

impl People {
    /// Nothing was reported yet.
    pub(crate) const fn new(notes: Notes, metrics: Arc<Metrics>) -> Self {
        Self { notes, metrics, waits: Moments::new(), rolls: Moments::new() }
    }

    /// Tells of a report about a workload. An Event is on the one with this UID; without it there is none.
    pub(crate) fn tell(&mut self, who: &WorkloadRef, uid: Option<&Name>, report: &Report, now: Time) {
        log(who, report);
        if let Some(uid) = uid {
            notes::say(&self.notes, &notes::about(who, uid), report);
        }
        self.count(who, report, now);
        self.note_wait(who, report, now);
    }

    /// A workload is gone, or another one has its name: nothing is told of it any more.
    pub(crate) fn forget(&mut self, who: &WorkloadRef, uid: &Name) {
        let about = notes::about(who, uid);
        self.notes.say(|unsaid| unsaid.forget(&about), None);
        self.waits.end(who);
        self.rolls.end(who);
    }

    /// Since when a workload's roll waits for this, if that is known: not before it was reported to this replica.
    pub(crate) fn waits_since(&self, who: &WorkloadRef, wait: Wait) -> Option<Time> {
        self.waits.since(who, wait)
    }

    fn count(&mut self, who: &WorkloadRef, report: &Report, now: Time) {
        match report {
            Report::Started(_) | Report::Restarting(_) => {
                self.rolls.begin(who, (), now);
                self.metrics.rollout(RollResult::Started);
            }
            Report::Finished => {
                self.metrics.rollout(RollResult::Finished);
                if let Some(since) = self.rolls.end(who) {
                    self.metrics.took(now.since(since));
                }
            }
            Report::Emptied => {
                self.rolls.end(who);
                self.metrics.rollout(RollResult::Emptied);
            }
            // It may be finished yet.
            Report::Failed => self.metrics.rollout(RollResult::Failed),
            Report::Undone => {
                self.rolls.end(who);
                self.metrics.rollout(RollResult::Undone);
            }
            Report::Refused(_) => self.metrics.rollout(RollResult::Refused),
            Report::NotInPlace(..) => self.metrics.rollout(RollResult::NotInPlace),
            Report::Problems(_) | Report::Waits(_) | Report::Blocked(..) | Report::Stale(_) => {}
        }
    }

    fn note_wait(&mut self, who: &WorkloadRef, report: &Report, now: Time) {
        match report {
            Report::Waits(wait) | Report::Blocked(wait, _) => self.waits.begin(who, *wait, now),
            Report::Refused(_) => self.waits.begin(who, Wait::Refused, now),
            Report::NotInPlace(_, true) => drop(self.waits.end(who)),
            Report::NotInPlace(Obstacle::Recent, false) => self.waits.begin(who, Wait::Recent, now),
            Report::NotInPlace(_, false) => self.waits.begin(who, Wait::InPlace, now),
            // A roll that waits has a problem, or none.
            Report::Problems(_) => {}
            Report::Started(_)
            | Report::Restarting(_)
            | Report::Finished
            | Report::Emptied
            | Report::Failed
            | Report::Undone
            | Report::Stale(_) => drop(self.waits.end(who)),
        }
    }
}

/// Has one line in the log.
fn log(who: &WorkloadRef, report: &Report) {
    let (what, wait) = match report {
        Report::Problems(_) => ("problem", None),
        Report::Started(_) => ("started", None),
        Report::Restarting(_) => ("restarting", None),
        Report::NotInPlace(obstacle, _) => ("not-in-place", Some(obstacle.as_str())),
        Report::Finished => ("finished", None),
        Report::Emptied => ("emptied", None),
        Report::Failed => ("failed", None),
        Report::Undone => ("undone", None),
        Report::Waits(wait) | Report::Blocked(wait, _) => ("waits", Some(wait.as_str())),
        Report::Stale(_) => ("stale", None),
        Report::Refused(_) => ("refused", None),
    };
    let said = notes::text(report);
    let kind = who.kind.written();
    if notes::is_urgent(report) {
        tracing::warn!(kind, workload_namespace = %who.namespace, workload = %who.name, what, wait, "{said}");
    } else {
        tracing::info!(kind, workload_namespace = %who.namespace, workload = %who.name, what, wait, "{said}");
    }
}

#[cfg(test)]
mod tests;
