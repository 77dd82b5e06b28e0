//! What a waiting reload needs next: a pure look at what is known.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kernel::guard::Handling;
use crate::kernel::mounts::View;
use crate::kernel::process::{NoProcess, ProcessIdentity};
use crate::machine::reload::processes::Chosen;
use crate::machine::reload::progress::START_DOUBT;
use crate::machine::reload::suspension;
use crate::machine::reload::waiting::Waiting;
use crate::machine::reload::{Site, Target, Terms};
use crate::machine::watched::Compared;
use crate::model::names::Name;
use crate::model::outcome::Outcome;
use crate::model::time::Time;

/// A process younger than this waits: programs install their handlers after they start.
const YOUNG: Duration = Duration::from_secs(3);

/// A guard reading older than this is read again before a send.
const GUARD_AGE: Duration = Duration::from_millis(250);

/// What a waiting reload needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing waits.
    Idle,
    /// Something that is on its way.
    Await,
    /// A time.
    Until(Time),
    /// The processes.
    Survey,
    /// Fresh masks of these.
    Guard(Vec<ProcessIdentity>),
    /// These volumes' generations end like this, without a send.
    End(Vec<Name>, Outcome, Option<&'static str>),
    /// New to the journal and read already: the baseline of these.
    Baseline(Vec<Name>),
    /// Send to these; the outcome is at least as bad as this.
    Send(Vec<ProcessIdentity>, Outcome),
    /// Nobody handles the signal: pause, then look again.
    Refused,
}

impl Target {
    /// What to do next, at this time. `surveying` says whether a survey is still to be waited for.
    pub(crate) fn step(&self, site: &Site, surveying: bool, now: Time) -> Step {
        let Some(waiting) = &self.waiting else { return Step::Idle };
        if self.sending.is_some() {
            return Step::Await;
        }
        if let Some(step) = self.compare(site, now) {
            return step;
        }
        let baseline = self.new_and_read();
        if !baseline.is_empty() {
            return Step::Baseline(baseline);
        }
        if self.is_suspended() {
            let reason = Some(suspension::REASON);
            return Step::End(self.waiting_volumes(|_, _| true), Outcome::Held, reason);
        }
        let due = self.due(site.terms.waits);
        if now < due {
            return Step::Until(due);
        }
        let patient = surveying || !waiting.has_looked_enough(now);
        match (self.processes.chosen(), self.processes.why_missing()) {
            (Some(chosen), _) if !self.processes.is_doubtful() => {
                self.step_with(chosen, waiting, &site.terms, now)
            }
            // A survey that is on its way may still find it.
            (_, Some(why)) if !patient && !why.is_unknown() => self.end_without_process(why, waiting),
            (_, _) => Step::Survey,
        }
    }

    /// What ends since it changes nothing for the container, or is still being read.
    fn compare(&self, site: &Site, now: Time) -> Option<Step> {
        let mut same: BTreeMap<Outcome, Vec<Name>> = BTreeMap::new();
        for (name, progress) in &self.progress {
            let Some(pending) = progress.pending() else { continue };
            let compared = site.volumes.get(name).map(|watched| watched.compared(&pending.generation, now));
            match compared.unwrap_or(Compared::NotNeeded) {
                Compared::NotNeeded => {}
                Compared::Reading => return Some(Step::Await),
                Compared::Excluded => same.entry(Outcome::Excluded).or_default().push(name.clone()),
                Compared::Known(digest, outcome) => {
                    let is_same = digest.is_some() && digest == progress.told();
                    let youngest = self.processes.youngest();
                    if is_same && youngest.is_some_and(|started| started + START_DOUBT < pending.since) {
                        same.entry(outcome).or_default().push(name.clone());
                    }
                }
            }
        }
        same.pop_first().map(|(outcome, names)| Step::End(names, outcome, None))
    }

    /// Volumes that are new to the journal and whose generation the container has read at its start.
    fn new_and_read(&self) -> Vec<Name> {
        let Some(chosen) = self.processes.chosen() else { return Vec::new() };
        let started = chosen.first().started;
        self.waiting_volumes(|_, pending| pending.only_if_older && started + START_DOUBT >= pending.settled)
    }

    fn end_without_process(&self, why: NoProcess, waiting: &Waiting) -> Step {
        let fresh = self.waiting_volumes(|_, pending| pending.only_if_older);
        if !fresh.is_empty() {
            return Step::Baseline(fresh);
        }
        let outcome = if waiting.has_lost() { Outcome::Gone } else { Outcome::NoProcess };
        Step::End(self.waiting_volumes(|_, _| true), outcome, Some(why.sentence()))
    }

    fn step_with(&self, chosen: &Chosen, waiting: &Waiting, terms: &Terms, now: Time) -> Step {
        let started = chosen.first().started;
        let read = self.waiting_volumes(|_, pending| started > pending.settled + START_DOUBT);
        if !read.is_empty() {
            return Step::End(read, Outcome::StartedAfter, None);
        }
        let blind = self.waiting_volumes(|name, _| {
            chosen.view(name).is_some_and(|view| matches!(view, View::Frozen | View::Dead))
        });
        if !blind.is_empty() {
            return Step::End(blind, Outcome::NoProcess, Some(NoProcess::StaleMount.sentence()));
        }
        if !chosen.is_told_held() {
            return Step::Await;
        }
        let grown = chosen.told().iter().map(|process| process.identity().started + YOUNG).max();
        if let Some(grown) = grown.filter(|grown| now < *grown) {
            return Step::Until(grown);
        }
        if let Some(due) = waiting.guard_due().filter(|due| now < *due) {
            return Step::Until(due);
        }
        self.guarded_step(chosen, waiting, terms, now)
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
}
