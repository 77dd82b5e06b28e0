//! The processes of a container: which ones stand for it, whether they are held, and what they do with the signal.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::kernel::guard::{GuardReading, Handling};
use crate::kernel::mounts::{ContainerMounts, View};
use crate::kernel::process::{NoProcess, ProcessIdentity};
use crate::machine::reload::process::{Face, Process, Taken};
use crate::machine::reload::remembered::Remembered;
use crate::machine::watched::Watched;
use crate::model::signal::Signal;
use crate::model::time::Time;

/// The processes of a container, as far as they are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes {
    known: Known,
    /// The choice of processes must be made again before the next send.
    is_doubtful: bool,
    remembered: Remembered,
    /// When the agent started, if the one before it may have told the container: what its processes did then wasn't seen.
    unseen: Option<Time>,
}

#[derive(Clone, Debug, Default)]
enum Known {
    #[default]
    Nothing,
    /// There is none to tell.
    Missing(NoProcess),
    /// These processes stand for the container.
    Found(Chosen),
}

/// The processes that stand for a container.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    first: ProcessIdentity,
    first_held: bool,
    told: Vec<Process>,
    /// See [`crate::kernel::process::Chosen::volatile`].
    volatile: bool,
    /// What the container sees of the pod's volumes, where that could be read.
    mounts: Option<Arc<ContainerMounts>>,
    /// When whoever found this out was asked to look.
    looked_at: Time,
}

impl Chosen {
    /// These were chosen, and none of them is held.
    pub(crate) fn new(
        first: ProcessIdentity,
        told: impl IntoIterator<Item = ProcessIdentity>,
        volatile: bool,
        mounts: Option<Arc<ContainerMounts>>,
        looked_at: Time,
    ) -> Self {
        let process = |identity| Process::new(identity, Face::default());
        let told = told.into_iter().map(process).collect();
        Self { first, first_held: false, told, volatile, mounts, looked_at }
    }

    /// The same; the processes look like this, in their order.
    pub(crate) fn with_faces(mut self, faces: impl IntoIterator<Item = Face>) -> Self {
        for (process, face) in self.told.iter_mut().zip(faces) {
            *process = Process::new(process.identity().clone(), face);
        }
        self
    }

    /// The container's first process.
    pub(crate) const fn first(&self) -> &ProcessIdentity {
        &self.first
    }

    /// The processes to tell.
    pub(super) fn told(&self) -> &[Process] {
        &self.told
    }

    /// When whoever found this out was asked to look.
    pub(super) const fn looked_at(&self) -> Time {
        self.looked_at
    }

    /// What the container sees of a volume, as far as is known of its directory by now.
    pub(crate) fn view(&self, watched: &Watched) -> Option<View> {
        let plan = watched.plan();
        self.mounts.as_ref().map(|mounts| mounts.view(plan.kind, &plan.name, watched.state().dir()))
    }

    /// Whether the processes to tell are held.
    pub(super) fn is_told_held(&self) -> bool {
        self.told.iter().all(Process::is_held)
    }

    /// Whether all of them are held.
    pub(super) fn is_held(&self) -> bool {
        self.first_held && self.is_told_held()
    }

    /// Whether none of those that are told is left without this process, or its container ends with it.
    pub(super) fn ends_with(&self, process: &ProcessIdentity) -> bool {
        self.first == *process || self.told.iter().all(|told| told.identity() == process)
    }

    fn contains(&self, process: &ProcessIdentity) -> bool {
        self.first == *process || self.told.iter().any(|told| told.identity() == process)
    }

    fn all(&self) -> Vec<ProcessIdentity> {
        let mut all: Vec<_> = self.told.iter().map(|process| process.identity().clone()).collect();
        if !all.contains(&self.first) {
            all.push(self.first.clone());
        }
        all
    }

    /// Keeps what is known of the processes that were chosen before.
    fn inherit(&mut self, before: &[Process]) {
        for process in &mut self.told {
            if let Some(same) = before.iter().find(|other| other.identity() == process.identity()) {
                *process = same.chosen_anew(process.face().clone());
            }
        }
    }
}

/// Which processes are to be held, and which not any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turnover {
    pub(crate) release: Vec<ProcessIdentity>,
    pub(crate) hold: Vec<ProcessIdentity>,
}

impl Processes {
    /// The agent starts, and the one before it may have told the container.
    pub(super) const fn begin_unseen(&mut self, now: Time) {
        self.unseen = Some(now);
    }

    /// It hasn't.
    pub(super) fn end_unseen(&mut self) {
        self.unseen = None;
        if let Known::Found(chosen) = &mut self.known {
            chosen.told.iter_mut().for_each(Process::end_unseen);
        }
    }

    /// An agent before has told these.
    pub(super) fn restore_told(&mut self, told: impl Iterator<Item = ProcessIdentity>) {
        self.remembered.tell(told);
    }

    /// These stand for the container now.
    pub(super) fn found(&mut self, mut chosen: Chosen) -> Turnover {
        let before = self.all();
        let (unseen, told) = (self.unseen, std::mem::take(&mut chosen.told));
        chosen.told = told.into_iter().map(|process| process.unseen(unseen)).collect();
        let is_same = |known: &Chosen| known.first_held && known.first == chosen.first;
        chosen.first_held = self.chosen().is_some_and(is_same);
        if let Known::Found(known) = std::mem::take(&mut self.known) {
            chosen.inherit(&known.told);
            let gone = known.told.into_iter().filter(|process| !chosen.contains(process.identity()));
            gone.for_each(|process| self.remembered.put(process));
        }
        for process in &mut chosen.told {
            if let Some(known) = self.remembered.take(process.identity()) {
                *process = known.chosen_anew(process.face().clone());
            }
        }
        let after = chosen.all();
        self.known = Known::Found(chosen);
        Turnover {
            release: before.iter().filter(|process| !after.contains(process)).cloned().collect(),
            hold: after.into_iter().filter(|process| !before.contains(process)).collect(),
        }
    }

    /// There is none to tell. Gives back those that are to be released.
    pub(super) fn missing(&mut self, why: NoProcess) -> Vec<ProcessIdentity> {
        self.replace(Known::Missing(why))
    }

    /// Nothing is known any more. Gives back those that are to be released.
    pub(super) fn forget(&mut self) -> Vec<ProcessIdentity> {
        self.replace(Known::Nothing)
    }

    /// Nobody stands for the container. Gives back those that are to be released.
    fn replace(&mut self, known: Known) -> Vec<ProcessIdentity> {
        let released = self.all();
        if let Known::Found(chosen) = std::mem::replace(&mut self.known, known) {
            chosen.told.into_iter().for_each(|process| self.remembered.put(process));
        }
        released
    }

    /// The same processes, of which it isn't known what they do with another signal.
    pub(super) fn for_another_signal(self) -> Self {
        Self { remembered: self.remembered.for_another_signal(), ..self }
    }

    /// What is known of processes that aren't held, for the same container under another plan.
    pub(super) fn remembered(&mut self) -> Self {
        Self { remembered: std::mem::take(&mut self.remembered), unseen: self.unseen, ..Self::default() }
    }

    /// Others are to be told from now on: that these were doesn't make them the ones.
    pub(super) fn forget_choice(&mut self) {
        self.remembered.forget_told();
    }

    /// The choice must be made again before the next send.
    pub(super) const fn doubt(&mut self) {
        self.is_doubtful = true;
    }

    /// The choice was made again.
    pub(super) const fn believe(&mut self) {
        self.is_doubtful = false;
    }

    /// Whether the choice must be made again before the next send.
    pub(crate) const fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// A process is held.
    pub(super) fn held(&mut self, process: &ProcessIdentity) {
        if let Known::Found(chosen) = &mut self.known {
            chosen.first_held |= chosen.first == *process;
            chosen.told.iter_mut().filter(|told| told.identity() == process).for_each(Process::hold);
        }
    }

    /// A process's masks were read. A change waits `since` then, if one does.
    pub(super) fn guarded(
        &mut self,
        process: &ProcessIdentity,
        reading: &GuardReading,
        signal: Signal,
        since: Option<Time>,
        now: Time,
    ) -> Taken {
        let Known::Found(chosen) = &mut self.known else { return Taken::Known };
        let same = chosen.told.iter_mut().find(|told| told.identity() == process);
        same.map_or(Taken::Known, |told| told.guarded(reading, signal, since, now))
    }

    /// These processes' masks are asked for.
    pub(super) fn ask(&mut self, processes: &[ProcessIdentity], now: Time) {
        if let Known::Found(chosen) = &mut self.known {
            let asked = chosen.told.iter_mut().filter(|told| processes.contains(told.identity()));
            asked.for_each(|process| process.ask(now));
        }
    }

    /// These processes were sent the signal.
    pub(super) fn were_sent<'a>(&mut self, to: impl Iterator<Item = &'a ProcessIdentity>, now: Time) {
        let Known::Found(chosen) = &mut self.known else { return };
        for process in to {
            let same = chosen.told.iter_mut().filter(|told| told.identity() == process);
            same.for_each(|told| told.told(now));
            self.remembered.tell([process.clone()]);
        }
    }

    /// Those of these processes for which the kernel may drop this signal, as far as the masks tell.
    pub(super) fn may_drop(&self, to: &[ProcessIdentity], signal: Signal) -> Vec<ProcessIdentity> {
        let told = self.chosen().into_iter().flat_map(|chosen| &chosen.told);
        let dropping = told.filter(|process| process.may_drop(signal)).map(Process::identity);
        dropping.filter(|process| to.contains(process)).cloned().collect()
    }

    /// Whether a process was told.
    pub(crate) fn was_told(&self, process: &ProcessIdentity) -> bool {
        self.remembered.was_told(process)
    }

    /// A survey was made: of those that it and the ones before haven't found for long nothing is remembered.
    pub(super) fn surveyed(&mut self, is_there: impl Fn(&ProcessIdentity) -> bool, now: Time) {
        self.remembered.surveyed(is_there, now);
    }

    /// A process has ended.
    pub(super) fn ended(&mut self, process: &ProcessIdentity) {
        self.remembered.ended(process);
    }

    /// Those that are held.
    pub(super) fn held_ones(&self) -> BTreeSet<ProcessIdentity> {
        let Some(chosen) = self.chosen() else { return BTreeSet::new() };
        let first = chosen.first_held.then(|| chosen.first.clone());
        let told = chosen.told.iter().filter(|told| told.is_held()).map(|told| told.identity().clone());
        told.chain(first).collect()
    }

    /// When one of them is looked at though nothing waits for it.
    pub(super) fn look_due(&self) -> Option<Time> {
        self.chosen().into_iter().flat_map(|chosen| &chosen.told).filter_map(Process::look_due).min()
    }

    /// Those that are looked at now.
    pub(super) fn take_looks(&mut self, now: Time) -> Vec<ProcessIdentity> {
        let Known::Found(chosen) = &mut self.known else { return Vec::new() };
        let due =
            chosen.told.iter_mut().filter_map(|told| told.take_look(now).then(|| told.identity().clone()));
        due.collect()
    }

    /// The processes that stand for the container.
    pub(crate) const fn chosen(&self) -> Option<&Chosen> {
        match &self.known {
            Known::Found(chosen) => Some(chosen),
            Known::Nothing | Known::Missing(_) => None,
        }
    }

    /// Those whose masks may be read: they are held.
    pub(super) fn readable(&self) -> Vec<ProcessIdentity> {
        let told = self.chosen().into_iter().flat_map(|chosen| &chosen.told);
        told.filter(|process| process.is_held()).map(|process| process.identity().clone()).collect()
    }

    /// Whether each of them handled the signal when its masks were read last.
    pub(super) fn handle_all(&self) -> bool {
        let handles = |process: &Process| process.last_handling() == Some(Handling::Handled);
        self.chosen().is_some_and(|chosen| chosen.told.iter().all(handles))
    }

    /// Whether others may stand for the container by now.
    pub(super) fn is_volatile(&self) -> bool {
        self.chosen().is_some_and(|chosen| chosen.volatile)
    }

    /// Why there is none to tell.
    pub(crate) const fn why_missing(&self) -> Option<&NoProcess> {
        match &self.known {
            Known::Missing(why) => Some(why),
            Known::Nothing | Known::Found(_) => None,
        }
    }

    /// The processes that are told.
    pub(crate) fn told(&self) -> impl Iterator<Item = &ProcessIdentity> {
        self.chosen().into_iter().flat_map(|chosen| &chosen.told).map(Process::identity)
    }

    /// Every process that is to be held.
    pub(super) fn all(&self) -> Vec<ProcessIdentity> {
        self.chosen().map(Chosen::all).unwrap_or_default()
    }

    /// Whether one of them was seen to execute itself anew since then.
    pub(super) fn were_renewed_since(&self, time: Time) -> bool {
        let told = self.chosen().into_iter().flat_map(|chosen| &chosen.told);
        told.filter_map(Process::renewed).any(|renewed| renewed >= time)
    }

    /// When the last of them started.
    pub(super) fn youngest(&self) -> Option<Time> {
        let chosen = self.chosen()?;
        chosen.told.iter().map(|process| process.identity().started).chain([chosen.first.started]).max()
    }

    /// Whether they are known and held.
    pub(crate) fn are_held(&self) -> bool {
        self.chosen().is_some_and(Chosen::is_held)
    }

    /// Whether the container hangs on this process.
    pub(crate) fn hang_on(&self, process: &ProcessIdentity) -> bool {
        self.chosen().is_some_and(|chosen| chosen.contains(process))
    }

    /// The first of the processes to which nothing is sent, and what it does with the signal; `send_unhandled` says whether it is
    /// sent to those that don't handle it, as far as that can be seen.
    pub(super) fn refusing(&self, send_unhandled: bool) -> Option<(&Process, Handling)> {
        let mut told = self.chosen().into_iter().flat_map(|chosen| &chosen.told);
        told.find_map(|process| {
            let handling = process.last_handling()?;
            let is_taken = handling.is_sent(send_unhandled);
            (!is_taken || process.other_kind().is_some()).then_some((process, handling))
        })
    }
}

#[cfg(test)]
mod tests;
