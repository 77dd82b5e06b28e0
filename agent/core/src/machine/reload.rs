//! One container to tell: what it holds of each volume, which reload waits for what, and what came of the last one. Whom
//! to tell is for [`processes`], when is for [`waiting`] and [`step`], whether it is good for the container is for
//! [`maturity`], [`suspension`], [`withholding`] and [`verify`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::process::{NoProcess, ProcessIdentity};
use crate::machine::context::Context;
use crate::machine::event::{Action, ReloadReport};
use crate::machine::reload::maturity::Maturity;
use crate::machine::reload::past::Past;
use crate::machine::reload::processes::Processes;
use crate::machine::reload::progress::{Pending, Progress};
use crate::machine::reload::rereading::Rereading;
use crate::machine::reload::sending::Sending;
use crate::machine::reload::suspension::Suspension;
use crate::machine::reload::verify::Verify;
use crate::machine::reload::waiting::{Waiting, Waits};
use crate::machine::reload::withholding::Withholding;
use crate::machine::watched::Watched;
use crate::machine::workloads::{Key, Objection};
use crate::model::generation::Generation;
use crate::model::journal::{Again, Endings, Handled, Pid, Rereads};
use crate::model::mark::Mark;
use crate::model::means::Means;
use crate::model::names::{ContainerId, Name};
use crate::model::outcome::{Outcome, Unread};
use crate::model::pod::Pod;
use crate::model::time::Time;
use crate::policy::plan::TargetPlan;
use crate::policy::problem::Problem;

mod again;
mod blocking;
mod calling;
mod catching;
mod ending;
mod maturity;
mod past;
pub(crate) mod predecessor;
pub(crate) mod process;
pub(crate) mod processes;
pub(crate) mod progress;
mod refusal;
mod remembered;
mod renewal;
mod report;
mod rereading;
pub(crate) mod retry;
mod searching;
mod sending;
pub(crate) mod sight;
mod signalling;
pub(crate) mod step;
mod suspension;
mod telling;
#[cfg(test)]
mod testing;
mod tries;
mod verify;
pub(crate) mod waiting;
mod withholding;

/// What a container's reloads need to know of its pod.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) pod: Arc<Pod>,
    pub(crate) terms: Terms,
    /// Boxed, as the progress of a target is: most pods have few, and a map keeps room for eleven.
    pub(crate) volumes: BTreeMap<Name, Box<Watched>>,
}

/// What the pod asked for that concerns each of its reloads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) waits: Waits,
    /// How long a delivery is observed.
    pub(crate) verify: Duration,
    /// Whether a process that doesn't handle the signal is sent it all the same.
    pub(crate) send_unhandled: bool,
    /// Whether a container is told once more of what it didn't read.
    pub(crate) retell: bool,
    /// What stands for the annotations in the journal.
    pub(crate) mark: Mark,
}

/// A container to tell.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    plan: TargetPlan,
    progress: BTreeMap<Name, Box<Progress>>,
    processes: Processes,
    /// There while anything waits or is being sent.
    waiting: Option<Waiting>,
    sending: Option<Sending>,
    verify: Option<Verify>,
    maturity: Maturity,
    rereading: Rereading,
    suspension: Suspension,
    withholding: Withholding,
    workload: Arc<Key>,
    /// What stands against telling it, as it was looked up last.
    objection: Objection,
    last_delivery: Option<Time>,
    past: Option<Past>,
    /// Processes that surveys don't show or that aren't chosen any more, and that stay held: the window is about them.
    lingering: BTreeSet<ProcessIdentity>,
    /// The pod is one of last time, and may be gone: that nothing of it is found says nothing.
    is_of_last_time: bool,
    /// The volumes of which the agent before may have told something that isn't recorded.
    unconfirmed: BTreeSet<Name>,
    /// The container of which the end was seen last.
    ended: Option<ContainerId>,
    /// How the last reload ended.
    last: Option<(Outcome, Time)>,
    /// What came of the last request for what waits, where it is made again.
    last_answer: Option<Box<str>>,
    /// What was said of a supervisor in the place of the program, by its PID and start.
    supervisor: Option<(Pid, Problem)>,
}

/// What follows from the end of a process.
#[derive(Debug, Default)]
pub(crate) struct Exit {
    /// The container hung on it.
    pub(crate) is_lost: bool,
    /// What people are told of what waited for it.
    pub(crate) report: Option<ReloadReport>,
}

/// What came of the answer to a send.
#[derive(Debug)]
pub(crate) enum Answered {
    /// Nothing follows from it yet.
    Nothing,
    /// The processes are gone, and what was sent waits again.
    Lost,
    /// The send has ended. Whether anybody was sent anything.
    Ended { was_sent: bool },
}

/// What is known of a container's processes beyond the plan under which it was found out.
#[derive(Debug)]
pub(crate) struct KnownProcesses {
    /// By what they were told: their masks were read for a signal.
    means: Means,
    /// The name under which they were chosen, if the pod gave one.
    name: Option<Name>,
    processes: Processes,
    maturity: Maturity,
}

impl Target {
    /// Nothing is known of it yet but its pod.
    pub(crate) fn new(plan: TargetPlan, pod: &Pod) -> Self {
        let workload = Key::of(pod, &plan.container);
        let progress = plan.volumes.iter().map(|name| (name.clone(), Box::default())).collect();
        Self {
            plan,
            progress,
            processes: Processes::default(),
            waiting: None,
            sending: None,
            verify: None,
            maturity: Maturity::default(),
            rereading: Rereading::default(),
            suspension: Suspension::default(),
            withholding: Withholding::default(),
            workload,
            objection: Objection::default(),
            last_delivery: None,
            past: None,
            lingering: BTreeSet::new(),
            is_of_last_time: false,
            unconfirmed: BTreeSet::new(),
            ended: None,
            last: None,
            last_answer: None,
            supervisor: None,
        }
    }

    /// What the journal holds of a volume.
    pub(crate) fn restore(&mut self, volume: &Name, handled: Handled) {
        if let Some(progress) = self.progress.get_mut(volume) {
            **progress = Progress::restored(handled);
        }
    }

    /// What the journal holds of endings. Nothing is withheld for its content where no other replica may have ended of it.
    pub(crate) fn restore_endings(&mut self, endings: Endings, is_replica: bool) {
        self.suspension = Suspension::restored(endings.in_a_row);
        let is_content = endings.in_a_row == 0 || (self.withholds() && !self.suspension.is_on());
        self.withholding = Withholding::restored(is_content && is_replica);
    }

    /// What the machine before knew of its processes. Those that are told now are chosen by this name, if the pod gives one.
    pub(crate) fn restore_processes(&mut self, known: KnownProcesses, name: Option<&Name>) {
        let KnownProcesses { means, name: named, mut processes, maturity } = known;
        self.maturity = maturity.kept();
        if means.signal() != self.plan.means.signal() {
            processes = processes.for_another_signal();
        }
        if named.as_ref() != name || means.request().is_some() != self.plan.means.request().is_some() {
            processes.forget_choice();
        }
        self.processes = processes;
    }

    /// Whether anything of it was handled before.
    pub(crate) fn is_recorded(&self) -> bool {
        self.progress.values().any(|progress| progress.handled().is_some())
    }

    /// What is known of its processes, which were let go of.
    pub(crate) fn remembered(&mut self, name: Option<&Name>) -> KnownProcesses {
        let (means, name) = (self.plan.means.clone(), name.cloned());
        let maturity = self.maturity.clone();
        KnownProcesses { means, name, processes: self.processes.remembered(), maturity }
    }

    /// What the journal holds of whether it reads what it is told of.
    pub(crate) fn restore_rereads(&mut self, rereads: &Rereads) {
        self.rereading = Rereading::restored(rereads);
        if rereads.again != Again::No || rereads.unread > 0 {
            self.progress.values_mut().for_each(|progress| progress.doubt_told());
        }
    }

    /// What the journal holds of each volume, for the same container under another plan.
    pub(crate) fn handled(&self) -> impl Iterator<Item = (&Name, Handled)> {
        self.progress.iter().filter_map(|(volume, progress)| {
            let missed = if progress.is_to_be_given() { Outcome::Suspended } else { Outcome::Failed };
            let outcome = if progress.holds().is_some() { None } else { Some(missed) };
            Some((volume, Handled { outcome, ..progress.record()? }))
        })
    }

    /// Whether the journal holds anything of endings.
    pub(crate) fn has_endings(&self) -> bool {
        self.suspension.is_recorded() || self.withholding.is_content()
    }

    /// The workload that it is of.
    pub(crate) const fn workload(&self) -> &Arc<Key> {
        &self.workload
    }

    /// What the journal holds of quick endings.
    pub(crate) fn endings(&self, site: &Site) -> Option<Endings> {
        let in_a_row = self.suspension.in_a_row();
        self.has_endings().then_some(Endings { in_a_row, mark: site.terms.mark })
    }

    /// The container's name.
    pub(crate) const fn container(&self) -> &Name {
        &self.plan.container
    }

    /// By what it is told.
    pub(crate) const fn means(&self) -> &Means {
        &self.plan.means
    }

    /// How the last reload ended, and when.
    pub(crate) const fn last(&self) -> Option<(Outcome, Time)> {
        self.last
    }

    /// How far it is with each volume.
    pub(crate) const fn progress(&self) -> &BTreeMap<Name, Box<Progress>> {
        &self.progress
    }

    /// Whether a supervisor stands in the place of its program.
    pub(crate) const fn is_supervised(&self) -> bool {
        matches!(self.processes.why_missing(), Some(NoProcess::Supervised(_)))
    }

    /// Its processes.
    pub(crate) const fn processes(&self) -> &Processes {
        &self.processes
    }

    /// Whether what is there isn't sent to it, since it doesn't live through that, or another replica didn't.
    pub(crate) fn is_suspended(&self) -> bool {
        self.suspension.is_on() || self.withholding.is_content()
    }

    /// How it has left unread what it was told of, if it has, and after how many signals in a row.
    pub(crate) fn left_how(&self) -> Option<(Unread, u8)> {
        self.rereading.known(self.processes.youngest())
    }

    /// Whether it was told a second time of what it was told of last.
    pub(crate) fn is_told_again(&self) -> bool {
        self.rereading.is_told_again(self.processes.youngest())
    }

    /// Whether a reload waits or is on its way.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether something was said that people wait to hear the end of.
    pub(crate) fn is_anything_said(&self) -> bool {
        self.is_suspended() || self.waiting.is_some_and(|waiting| waiting.is_anything_said())
    }

    /// Whether it was said that the agent lacks something for it.
    pub(crate) fn is_lack_said(&self) -> bool {
        self.waiting.is_some_and(|waiting| waiting.is_lack_said())
    }

    /// Whether what stood there at the start is recorded.
    pub(crate) fn has_baseline(&self) -> bool {
        !self.pending().any(|(_, pending)| pending.only_if_older)
    }

    /// The generations that wait.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (&Name, &Pending)> {
        self.progress.iter().filter_map(|(name, progress)| Some((name, progress.pending()?)))
    }

    /// The generations that are on their way.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (&Name, &Pending)> {
        let sent = self.sending.iter().flat_map(Sending::generations);
        sent.map(|(name, pending)| (name, pending))
    }

    /// The generations whose opens still count.
    pub(crate) fn opens(&mut self, is_current: impl Fn(&Name, &Generation) -> bool) -> &[(Name, Generation)] {
        self.verify.as_mut().map(|verify| verify.opens(is_current)).unwrap_or_default()
    }

    fn waiting_volumes(&self, test: impl Fn(&Name, &Pending) -> bool) -> Vec<Name> {
        self.pending().filter(|(name, pending)| test(name, pending)).map(|(name, _)| name.clone()).collect()
    }

    fn due(&self, waits: Waits) -> Time {
        self.waiting.map_or_else(Time::default, |waiting| waiting.due(waits, self.last_delivery))
    }
}

fn release(processes: impl IntoIterator<Item = ProcessIdentity>, ctx: &mut Context<'_>) {
    processes.into_iter().for_each(|process| ctx.act(Action::Release(process)));
}
