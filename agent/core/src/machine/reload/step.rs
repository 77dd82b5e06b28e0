//! When a waiting reload goes on, and what it needs for that: a pure look at what is known. What its means need before it can
//! go out is for [`super::signalling`] and [`super::calling`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::kernel::mounts::View;
use crate::kernel::process::{NoProcess, ProcessIdentity};
use crate::machine::reload::process::YOUNG;
use crate::machine::reload::processes::Chosen;
use crate::machine::reload::progress::START_DOUBT;
use crate::machine::reload::suspension;
use crate::machine::reload::waiting::Waiting;
use crate::machine::reload::withholding;
use crate::machine::reload::{Site, Target};
use crate::machine::volume::SETTLE_TIMEOUT;
use crate::machine::watched::Compared;
use crate::model::means::Means;
use crate::model::names::Name;
use crate::model::outcome::Outcome;
use crate::model::time::Time;

/// What a waiting reload needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing waits.
    Idle,
    /// Something that is on its way.
    Await,
    /// Masks that are on their way.
    AwaitGuard,
    /// Nothing is to be done before this time.
    Until(Time),
    /// The processes are to be looked for.
    Survey,
    /// Fresh masks of these.
    Guard(Vec<ProcessIdentity>),
    /// These volumes' generations end like this, without a send.
    End(Vec<Name>, Outcome, Option<Cow<'static, str>>),
    /// New to the journal and read already: the baseline of these.
    Baseline(Vec<Name>),
    /// Send to these; the outcome is at least as bad as this.
    Send(Vec<ProcessIdentity>, Outcome),
    /// Another program than was chosen runs in a process: choose anew.
    ChooseAnew,
    /// Nobody handles the signal: pause, then look again.
    Refused,
    /// What stands in its volumes is to be compared with what has ended another replica, and isn't read yet.
    Compare,
    /// The pod's status names no address for a request.
    Unaddressed,
    /// The agent lacks something to make a request, and has for long.
    Lacking,
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
        if self.is_suspended_at(site, now) {
            let reason = Some(Cow::Borrowed(suspension::reason(&self.plan.means)));
            return Step::End(self.waiting_volumes(|_, _| true), Outcome::Suspended, reason);
        }
        if self.suspension.is_on() && self.verify.is_some() {
            // It was told once more, and what comes of that decides.
            return Step::Await;
        }
        let due = self.due(site.terms.waits);
        if now < due {
            return Step::Until(due);
        }
        // One that is swapped again and again, and never settles, doesn't hold it up for ever; nor does a loop that stood still meanwhile.
        let patience = due + 30 * SETTLE_TIMEOUT;
        if let Some(settles) = self.settles(site).filter(|_| now < patience) {
            return Step::Until(settles.min(patience));
        }
        let patient = surveying || !waiting.has_looked_enough(now);
        match (self.processes.chosen(), self.processes.why_missing()) {
            (Some(chosen), _) if !self.processes.is_doubtful() => self.step_with(chosen, waiting, site, now),
            // A survey that is on its way may still find it.
            (_, Some(why)) if !patient && !why.is_unknown() => self.end_without_process(why, waiting),
            (_, _) => Step::Survey,
        }
    }

    /// Until when at most a newer generation of a volume that waits settles: whoever is told meanwhile reads that one, as far as it is
    /// there, and is told of it once more.
    fn settles(&self, site: &Site) -> Option<Time> {
        let waiting = self.progress.iter().filter(|(_, progress)| progress.pending().is_some());
        waiting.filter_map(|(name, _)| site.volumes.get(name)?.state().timeout()).max()
    }

    /// What ends since it changes nothing for the container, or is still being read.
    fn compare(&self, site: &Site, now: Time) -> Option<Step> {
        let mut same: BTreeMap<Outcome, Vec<Name>> = BTreeMap::new();
        for (name, progress) in &self.progress {
            // What is told a second time is the same in any case.
            let Some(pending) = progress.pending().filter(|pending| !pending.again) else { continue };
            let compared = site.volumes.get(name).map(|watched| watched.compared(&pending.generation, now));
            match compared.unwrap_or(Compared::NotNeeded) {
                Compared::NotNeeded => {}
                Compared::Reading => return Some(Step::Await),
                Compared::Excluded => same.entry(Outcome::Excluded).or_default().push(name.clone()),
                Compared::Known(digest, outcome) => {
                    // Another one may have come and gone unseen, and have been read.
                    let is_doubtful = pending.since < pending.swapped && self.may_have_read(pending.since);
                    let is_same = digest.is_some() && digest == progress.told() && !is_doubtful;
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

    fn end_without_process(&self, why: &NoProcess, waiting: &Waiting) -> Step {
        let fresh = self.waiting_volumes(|_, pending| pending.only_if_older);
        if !fresh.is_empty() {
            return Step::Baseline(fresh);
        }
        let outcome = if waiting.has_lost() { Outcome::Gone } else { Outcome::NoProcess };
        Step::End(self.waiting_volumes(|_, _| true), outcome, Some(why.sentence()))
    }

    fn step_with(&self, chosen: &Chosen, waiting: &Waiting, site: &Site, now: Time) -> Step {
        let started = chosen.first().started;
        let read = self.waiting_volumes(|_, pending| started > pending.settled + START_DOUBT);
        if !read.is_empty() {
            return Step::End(read, Outcome::StartedAfter, None);
        }
        let blind = self.waiting_volumes(|name, _| {
            let view = site.volumes.get(name).and_then(|watched| chosen.view(watched));
            view.is_some_and(|view| matches!(view, View::Frozen | View::Dead))
        });
        if !blind.is_empty() && !chosen.is_held() {
            // Whoever was seen may have ended by now.
            return Step::Await;
        }
        if !blind.is_empty() {
            // What was read of its mounts while it was being set up may lack some of them.
            let grown = started + YOUNG;
            if chosen.looked_at() < grown {
                return if now < grown { Step::Until(grown) } else { Step::Survey };
            }
            return Step::End(blind, Outcome::NoProcess, Some(NoProcess::StaleMount.sentence()));
        }
        if self.objection.bad {
            let reason = Some(Cow::Borrowed(withholding::REASON));
            return Step::End(self.waiting_volumes(|_, _| true), Outcome::Suspended, reason);
        }
        if self.is_compared(site) {
            return Step::Compare;
        }
        match &self.plan.means {
            Means::Signal(_) => self.signalling(chosen, waiting, site, now),
            Means::Http(_) => self.calling(chosen, waiting, site, now),
        }
    }
}
