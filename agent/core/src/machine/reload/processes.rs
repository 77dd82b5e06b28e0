//! The processes of a container: which ones stand for it, whether they are held, and what they do with the signal.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kernel::guard::{GuardReading, Handling};
use crate::kernel::mounts::View;
use crate::kernel::process::{NoProcess, ProcessIdentity};
use crate::model::names::Name;
use crate::model::signal::Signal;
use crate::model::time::Time;

/// A process younger than this waits: programs install their handlers after they start, and its container may still be being
/// set up.
pub(super) const YOUNG: Duration = Duration::from_secs(3);

/// The processes of a container, as far as they are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes {
    known: Known,
    /// The choice of processes must be made again before the next send.
    is_doubtful: bool,
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
    /// What the container sees of each volume.
    views: BTreeMap<Name, View>,
    /// When whoever found this out was asked to look.
    looked_at: Time,
}

/// One of the processes to tell.
#[derive(Clone, Debug)]
pub(super) struct Process {
    identity: ProcessIdentity,
    held: bool,
    /// Whether it was seen to catch the signal. If it only blocks it later, it executes itself anew (HAProxy): that
    /// keeps the mask and drops the handlers, and what is sent meanwhile is lost (measured with HAProxy 2.6).
    catches: bool,
    /// When the masks were asked for that didn't come yet.
    asked: Option<Time>,
    guard: Option<(Time, Handling)>,
}

impl Process {
    /// Who it is.
    pub(super) const fn identity(&self) -> &ProcessIdentity {
        &self.identity
    }

    /// What it does with the signal, if that was read at that time or later.
    pub(super) fn guard(&self, oldest: Time) -> Option<Handling> {
        self.guard.filter(|(read, _)| *read >= oldest).map(|(_, handling)| handling)
    }

    /// Whether its masks were asked for at that time or later, and didn't come yet.
    pub(super) fn is_asked(&self, oldest: Time) -> bool {
        self.asked.is_some_and(|asked| asked >= oldest)
    }

    /// Takes in what was read of its masks.
    fn guarded(&mut self, reading: &GuardReading, signal: Signal, now: Time) {
        let between_handlers = self.catches && !reading.catches(signal);
        self.catches |= reading.catches(signal);
        let handling = match reading.handling(signal) {
            Handling::Handled if between_handlers => Handling::Starting,
            other @ (Handling::Handled
            | Handling::Ignored
            | Handling::Default
            | Handling::Starting
            | Handling::Unknown) => other,
        };
        self.guard = Some((now, handling));
        self.asked = None;
    }
}

impl Chosen {
    /// These were chosen, and none of them is held.
    pub(crate) fn new(
        first: ProcessIdentity,
        told: impl IntoIterator<Item = ProcessIdentity>,
        volatile: bool,
        views: BTreeMap<Name, View>,
        looked_at: Time,
    ) -> Self {
        let process = |identity| Process { identity, held: false, asked: None, catches: false, guard: None };
        let told = told.into_iter().map(process).collect();
        Self { first, first_held: false, told, volatile, views, looked_at }
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

    /// What the container sees of a volume.
    pub(crate) fn view(&self, volume: &Name) -> Option<View> {
        self.views.get(volume).copied()
    }

    /// Whether the processes to tell are held.
    pub(super) fn is_told_held(&self) -> bool {
        self.told.iter().all(|process| process.held)
    }

    fn is_held(&self) -> bool {
        self.first_held && self.is_told_held()
    }

    fn contains(&self, process: &ProcessIdentity) -> bool {
        self.first == *process || self.told.iter().any(|told| told.identity == *process)
    }

    fn all(&self) -> Vec<ProcessIdentity> {
        let mut all: Vec<_> = self.told.iter().map(|process| process.identity.clone()).collect();
        if !all.contains(&self.first) {
            all.push(self.first.clone());
        }
        all
    }

    /// Keeps what is known of the processes that were chosen before.
    fn inherit(&mut self, before: &Self) {
        self.first_held = before.first_held && before.first == self.first;
        for process in &mut self.told {
            if let Some(same) = before.told.iter().find(|other| other.identity == process.identity) {
                *process = same.clone();
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
    /// These stand for the container now.
    pub(super) fn found(&mut self, mut chosen: Chosen) -> Turnover {
        let before = self.all();
        if let Known::Found(known) = &self.known {
            chosen.inherit(known);
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
        let before = self.all();
        self.known = Known::Missing(why);
        before
    }

    /// Nothing is known any more. Gives back those that are to be released.
    pub(super) fn forget(&mut self) -> Vec<ProcessIdentity> {
        let before = self.all();
        self.known = Known::Nothing;
        before
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
            for held in chosen.told.iter_mut().filter(|held| held.identity == *process) {
                held.held = true;
            }
        }
    }

    /// A process's masks were read.
    pub(super) fn guarded(
        &mut self,
        process: &ProcessIdentity,
        reading: &GuardReading,
        signal: Signal,
        now: Time,
    ) {
        if let Known::Found(chosen) = &mut self.known {
            let same = chosen.told.iter_mut().filter(|told| told.identity == *process);
            same.for_each(|told| told.guarded(reading, signal, now));
        }
    }

    /// These processes' masks are asked for.
    pub(super) fn ask(&mut self, processes: &[ProcessIdentity], now: Time) {
        if let Known::Found(chosen) = &mut self.known {
            for process in chosen.told.iter_mut().filter(|told| processes.contains(&told.identity)) {
                process.asked = Some(now);
            }
        }
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
        told.filter(|process| process.held).map(|process| process.identity.clone()).collect()
    }

    /// Whether others may stand for the container by now.
    pub(super) fn is_volatile(&self) -> bool {
        self.chosen().is_some_and(|chosen| chosen.volatile)
    }

    /// Why there is none to tell.
    pub(crate) const fn why_missing(&self) -> Option<NoProcess> {
        match &self.known {
            Known::Missing(why) => Some(*why),
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

    /// When the last of them started.
    pub(super) fn youngest(&self) -> Option<Time> {
        let chosen = self.chosen()?;
        chosen.told.iter().map(|process| process.identity.started).chain([chosen.first.started]).max()
    }

    /// Whether they are known and held.
    pub(crate) fn are_held(&self) -> bool {
        self.chosen().is_some_and(Chosen::is_held)
    }

    /// Whether the container hangs on this process.
    pub(crate) fn hang_on(&self, process: &ProcessIdentity) -> bool {
        self.chosen().is_some_and(|chosen| chosen.contains(process))
    }

    /// Whether a process's masks couldn't be read, so that it isn't known what it does with the signal.
    pub(super) fn is_unreadable(&self) -> bool {
        let unknown = |process: &Process| matches!(process.guard, Some((_, Handling::Unknown)));
        self.chosen().is_some_and(|chosen| chosen.told.iter().any(unknown))
    }
}
