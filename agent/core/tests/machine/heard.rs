//! What a [`World`] has heard of the machine.

use std::time::Duration;

use reloadlet_core::machine::event::{ReloadReport, Report};
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::outcome::{Outcome, Verdict};
use reloadlet_core::policy::problem::ProblemKind;
use reloadlet_core::{Action, Time};

use crate::world::World;

impl World {
    /// When and to whom signals were sent.
    pub(crate) fn sends(&self) -> Vec<(Time, u32)> {
        let sent = |(at, action): &(Time, Action)| {
            if let Action::Send(process, _) = action { Some((*at, process.pid)) } else { None }
        };
        self.actions.iter().filter_map(sent).collect()
    }

    /// When and to whom requests were made.
    pub(crate) fn calls(&self) -> Vec<(Time, u32)> {
        let made = |(at, action): &(Time, Action)| {
            if let Action::Call(call) = action { Some((*at, call.process.pid)) } else { None }
        };
        self.actions.iter().filter_map(made).collect()
    }

    pub(crate) fn surveys(&self) -> usize {
        self.actions.iter().filter(|(_, action)| matches!(action, Action::Survey(_))).count()
    }

    pub(crate) fn reports(&self) -> impl Iterator<Item = &Report> {
        self.actions.iter().filter_map(
            |(_, action)| {
                if let Action::Report(report) = action { Some(report) } else { None }
            },
        )
    }

    pub(crate) fn reloads(&self) -> Vec<&ReloadReport> {
        self.reports()
            .filter_map(|report| if let Report::Reload(reload) = report { Some(&**reload) } else { None })
            .collect()
    }

    /// By volume and generation, how each ended.
    pub(crate) fn outcomes(&self) -> Vec<(&str, Generation, Outcome)> {
        let each = |reload: &'_ ReloadReport| reload.outcome;
        self.reloads()
            .into_iter()
            .flat_map(|reload| {
                reload
                    .generations
                    .iter()
                    .map(move |(name, generation)| (&**name, generation.clone(), each(reload)))
            })
            .collect()
    }

    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        self.reports()
            .filter_map(
                |report| if let Report::Verdict { verdict, .. } = report { Some(*verdict) } else { None },
            )
            .collect()
    }

    /// How long after their deliveries files were opened.
    pub(crate) fn rereads(&self) -> Vec<Duration> {
        let of =
            |report: &Report| if let Report::Reread { after, .. } = report { Some(*after) } else { None };
        self.reports().filter_map(of).collect()
    }

    /// Problems as they came, and `None` for each time that they were solved.
    pub(crate) fn problems(&self) -> Vec<Option<ProblemKind>> {
        self.reports()
            .filter_map(|report| match report {
                Report::Problem(_, problem) => Some(Some(problem.kind)),
                Report::Solved(_) => Some(None),
                Report::Swapped(_)
                | Report::Settled(_)
                | Report::SettleTimedOut(_)
                | Report::Rescan
                | Report::Reload(_)
                | Report::Published { .. }
                | Report::Nudged(..)
                | Report::Mended(..)
                | Report::Forgotten(_)
                | Report::Reread { .. }
                | Report::Retold(_)
                | Report::Unread { .. }
                | Report::NeedsRestart { .. }
                | Report::RestartNotNeeded { .. }
                | Report::Restart(_)
                | Report::GrantIgnored(..)
                | Report::Verdict { .. } => None,
            })
            .collect()
    }
}
