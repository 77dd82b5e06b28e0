//! The means of a reload: a signal to processes. Which ones is for [`super::processes`]; here is what they need before it can go
//! out, and what becomes of it where nobody handles it. Another means has a file of its own beside this one, and the same
//! [`Step`]s.

use std::time::Duration;

use crate::kernel::guard::{GuardReading, Handling};
use crate::kernel::process::ProcessIdentity;
use crate::machine::context::Context;
use crate::machine::event::Action;
use crate::machine::reload::maturity::Ripe;
use crate::machine::reload::processes::Chosen;
use crate::machine::reload::step::Step;
use crate::machine::reload::waiting::Waiting;
use crate::machine::reload::{Site, Target, Terms};
use crate::model::outcome::{Outcome, Verdict};
use crate::model::time::Time;
use crate::policy::problem::{Problem, ProblemKind};

/// A guard reading older than this is read again before a send.
const GUARD_AGE: Duration = Duration::from_millis(250);

impl Target {
    /// What the signal waits for, or to whom it goes.
    pub(super) fn signalling(&self, chosen: &Chosen, waiting: &Waiting, site: &Site, now: Time) -> Step {
        if !chosen.is_told_held() {
            return Step::Await;
        }
        let standing = self.maturity.standing(site, &self.plan.container, chosen);
        match self.maturity.ripe(standing, chosen, now) {
            Ripe::Now => {}
            Ripe::At(time) => return Step::Until(time),
            Ripe::WhenStarted => return Step::Await,
        }
        if let Some(turn) = self.objection.turn.filter(|turn| now < *turn) {
            return Step::Until(turn);
        }
        if let Some(due) = waiting.guard_due().filter(|due| now < *due) {
            return Step::Until(due);
        }
        self.guarded_step(chosen, waiting, &site.terms, now)
    }

    fn guarded_step(&self, chosen: &Chosen, waiting: &Waiting, terms: &Terms, now: Time) -> Step {
        let newest_swap = self.pending().map(|(_, pending)| pending.swapped).max().unwrap_or_default();
        let oldest_use = newest_swap.max(now - GUARD_AGE).max(waiting.guard_due().unwrap_or(newest_swap));
        let mut unread = false;
        let mut to_ask = Vec::new();
        let mut handled = Vec::new();
        let mut refused = 0_usize;
        for process in chosen.told() {
            match process.guard(oldest_use) {
                Some(Handling::Handled) => handled.push(process.identity().clone()),
                Some(Handling::Ignored | Handling::Default | Handling::Unknown) if terms.send_unhandled => {
                    handled.push(process.identity().clone());
                }
                Some(Handling::Ignored | Handling::Default | Handling::Starting | Handling::Unknown) => {
                    refused += 1;
                }
                None => {
                    unread = true;
                    if !process.is_asked(oldest_use) {
                        to_ask.push(process.identity().clone());
                    }
                }
            }
        }
        if unread {
            return if to_ask.is_empty() { Step::Await } else { Step::Guard(to_ask) };
        }
        if refused == 0 {
            Step::Send(handled, Outcome::Delivered)
        } else if waiting.is_refused_for_long(now) && !handled.is_empty() {
            Step::Send(handled, Outcome::Unhandled)
        } else {
            Step::Refused
        }
    }

    /// Has these processes' masks read.
    pub(crate) fn read_guards(&mut self, processes: Vec<ProcessIdentity>, ctx: &mut Context<'_>) {
        self.processes.ask(&processes, ctx.now);
        for process in processes {
            ctx.act(Action::ReadGuard(process, self.plan.signal));
        }
    }

    /// A process's masks were read.
    pub(crate) fn guarded(
        &mut self,
        site: &Site,
        process: &ProcessIdentity,
        reading: &GuardReading,
        ctx: &mut Context<'_>,
    ) {
        self.processes.guarded(process, reading, self.plan.signal, ctx.now);
        let pending = reading.is_pending(self.plan.signal);
        self.end_window(site, process, if pending { Verdict::Pending } else { Verdict::Alive }, ctx);
    }

    /// Nobody handles the signal: it is looked at again after a pause. What people are told of it comes back.
    pub(crate) fn refused(&mut self, now: Time) -> Option<Problem> {
        let is_unreadable = self.processes.is_unreadable();
        let (container, signal) = (&self.plan.container, self.plan.signal);
        let say = self.waiting.as_mut().is_some_and(|waiting| waiting.refused(now));
        say.then(|| {
            let sentence = if is_unreadable {
                format!(
                    "whether container {container} handles {signal} isn't known, since it has too many threads or its \
                     threads take too long to look at: nothing is sent until that is known"
                )
            } else {
                format!(
                    "container {container} doesn't handle {signal}: nothing is sent until it does; handle the signal, \
                     or set reloadlet.io/unhandled to send"
                )
            };
            Problem::new(ProblemKind::Unhandled, sentence)
        })
    }
}
