//! One container to tell: its waiting reload, its processes, and what came of its deliveries.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kernel::guard::{GuardReading, Handling};
use crate::kernel::mounts::View;
use crate::kernel::process::{NoProcess, ProcessIdentity};
use crate::machine::event::Delivery;
use crate::machine::volume::{How, Settled};
use crate::model::digest::Digest;
use crate::model::generation::Generation;
use crate::model::names::Name;
use crate::model::outcome::Outcome;
use crate::model::time::Time;
use crate::policy::plan::TargetPlan;

mod step;

/// A process younger than this waits: programs install their handlers after they start.
pub(crate) const YOUNG: Duration = Duration::from_secs(3);

/// A first process that started this much later than a settle has read the generation; start times have a
/// resolution of 10 ms, change times one of a kernel tick.
pub(crate) const START_DOUBT: Duration = Duration::from_millis(20);

/// After this long a missing process ends the reload, and an unhandled signal is said aloud.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// An exit within this time of a delivery counts as its consequence.
pub(crate) const QUICK_EXIT: Duration = Duration::from_secs(1);

/// So many deliveries in a row that ended the process make further ones held.
pub(crate) const ENDINGS_TO_HOLD: u8 = 2;

/// A guard reading older than this is read again before a send.
const GUARD_AGE: Duration = Duration::from_millis(250);

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// What one volume means to one container.
#[derive(Clone, Debug, Default)]
pub(crate) struct TargetVolume {
    /// The last generation that is done with.
    pub(crate) handled: Option<Generation>,
    /// Whether the container is taken to hold that generation: it was told, or it started after it.
    pub(crate) holds_it: bool,
    /// The digest of what the container was told of last; unknown after a restart or a failure.
    pub(crate) told: Option<Digest>,
    /// The generation that waits.
    pub(crate) pending: Option<Pending>,
}

/// A generation that waits to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) generation: Generation,
    pub(crate) swapped: Time,
    /// Until when the container saw for certain what it was told of last. A process that started later can have read
    /// a generation between that and this one.
    pub(crate) since: Time,
    pub(crate) settled: Time,
    /// New to the journal: told only to a process that is clearly older.
    pub(crate) only_if_older: bool,
}

/// The processes of the container.
#[derive(Clone, Debug)]
pub(crate) enum Resolution {
    /// Nothing is known.
    Unknown,
    /// There is none to tell.
    Missing(NoProcess),
    /// These.
    Found(Resolved),
}

/// A container's processes, held by pidfd.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) first: ProcessIdentity,
    pub(crate) first_held: bool,
    pub(crate) told: Vec<HeldProcess>,
    /// See [`crate::kernel::process::Chosen::volatile`].
    pub(crate) volatile: bool,
    /// What the container sees of each volume.
    pub(crate) views: BTreeMap<Name, View>,
}

impl Resolved {
    /// Whether every process is held.
    pub(crate) fn is_held(&self) -> bool {
        self.first_held && self.told.iter().all(|process| process.held)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct HeldProcess {
    pub(crate) identity: ProcessIdentity,
    pub(crate) held: bool,
    /// Whether it was seen to catch the signal. If it only blocks it later, it executes itself anew (HAProxy): that
    /// keeps the mask and drops the handlers, and what is sent meanwhile is lost (measured with HAProxy 2.6).
    pub(crate) catches: bool,
    /// When the masks were asked for that didn't come yet.
    pub(crate) asked: Option<Time>,
    pub(crate) guard: Option<(Time, Handling)>,
}

/// Something tried again with growing pauses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    pub(crate) since: Time,
    pub(crate) next: Time,
    pause: Duration,
}

impl Retry {
    pub(crate) fn begin(now: Time) -> Self {
        Self { since: now, next: now + FIRST_BACKOFF, pause: FIRST_BACKOFF }
    }

    pub(crate) fn again(&mut self, now: Time) {
        self.pause = (self.pause * 2).min(LONGEST_BACKOFF);
        let end = self.since + PATIENCE;
        // What ends or is said after so long needs no timer of its own.
        self.next = if now < end { end.min(now + self.pause) } else { now + self.pause };
    }
}

/// A send under way.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    /// What it settles; what settles meanwhile has a reload of its own.
    pub(crate) generations: Vec<(Name, Pending)>,
    /// When the waits that the pod asked for were over.
    pub(crate) due: Time,
    changes: Option<(Time, Time)>,
    pub(crate) results: Vec<(ProcessIdentity, Option<Delivery>)>,
    /// What the processes that were not sent anything make of it.
    pub(crate) worst: Outcome,
}

/// An open verify window.
#[derive(Clone, Debug)]
pub(crate) struct Verify {
    pub(crate) until: Time,
    pub(crate) first: ProcessIdentity,
    pub(crate) told: Vec<ProcessIdentity>,
    pub(crate) exited: bool,
    /// The last masks are being read.
    pub(crate) reading: bool,
    pub(crate) delivered: Time,
    /// The generations whose opens would be seen and would count still.
    pub(crate) opens: Vec<(Name, Generation)>,
    /// From the delivery to the first open.
    pub(crate) reread: Option<Duration>,
}

/// A container to tell.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) plan: TargetPlan,
    pub(crate) volumes: BTreeMap<Name, TargetVolume>,
    pub(crate) resolution: Resolution,
    /// The choice of processes must be made again before the next send.
    pub(crate) stale_choice: bool,
    /// When the waiting reload's first and last changes settled.
    pub(crate) changes: Option<(Time, Time)>,
    pub(crate) missing: Option<Retry>,
    /// The process that was to be told ended while the reload waited.
    pub(crate) lost: bool,
    pub(crate) unhandled: Option<Retry>,
    pub(crate) unhandled_said: bool,
    /// That the agent lacks something and the reload waits for it was said.
    pub(crate) lack_said: bool,
    pub(crate) sending: Option<Sending>,
    pub(crate) verify: Option<Verify>,
    pub(crate) last_delivery: Option<Time>,
    /// How the last reload ended.
    pub(crate) last: Option<(Outcome, Time)>,
    pub(crate) endings: u8,
    pub(crate) ended_last: bool,
}

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

/// The waits that the pod asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waits {
    pub(crate) debounce: Duration,
    pub(crate) min_interval: Duration,
    pub(crate) splay: Duration,
}

impl Target {
    pub(crate) fn new(plan: TargetPlan) -> Self {
        let volumes = plan.volumes.iter().map(|name| (name.clone(), TargetVolume::default())).collect();
        Self {
            plan,
            volumes,
            resolution: Resolution::Unknown,
            stale_choice: false,
            changes: None,
            missing: None,
            lost: false,
            unhandled: None,
            unhandled_said: false,
            lack_said: false,
            sending: None,
            verify: None,
            last_delivery: None,
            last: None,
            endings: 0,
            ended_last: false,
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.endings >= ENDINGS_TO_HOLD
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.sending.is_some() || self.volumes.values().any(|volume| volume.pending.is_some())
    }

    /// Nothing waits any more: the reload's own state goes.
    pub(crate) fn forget_if_idle(&mut self) {
        if !self.is_waiting() {
            self.changes = None;
            self.missing = None;
            self.lost = false;
            self.unhandled = None;
            self.unhandled_said = false;
            self.lack_said = false;
        }
    }

    pub(crate) fn pending(&self) -> impl Iterator<Item = (&Name, &Pending)> {
        self.volumes.iter().filter_map(|(name, volume)| Some((name, volume.pending.as_ref()?)))
    }

    /// Takes in a settled generation. Gives back the generation that it supersedes.
    pub(crate) fn settled(&mut self, volume: &Name, settled: &Settled, new_here: bool) -> Option<Pending> {
        let entry = self.volumes.get_mut(volume)?;
        if entry.handled.as_ref() == Some(&settled.generation) && entry.pending.is_none() {
            return None;
        }
        let sent = self.sending.iter().flat_map(|sending| &sending.generations);
        let sent = sent.filter(|(name, _)| name == volume).map(|(_, pending)| pending);
        if entry.pending.iter().chain(sent).any(|pending| pending.generation == settled.generation) {
            return None;
        }
        let first = self.changes.map_or(settled.settled, |(first, _)| first);
        self.changes = Some((first, settled.settled));
        let since = entry.pending.as_ref().map_or(settled.since, |older| older.since.min(settled.since));
        entry.pending.replace(Pending {
            generation: settled.generation.clone(),
            swapped: settled.swapped,
            since,
            settled: settled.settled,
            only_if_older: new_here && settled.how == How::Discovered,
        })
    }

    /// The signal goes out: what waits is on its way.
    pub(crate) fn begin_sending(&mut self, to: &[ProcessIdentity], worst: Outcome, waits: Waits) {
        let due = self.due(waits);
        let pending = self.volumes.iter_mut();
        let generations = pending.filter_map(|(name, volume)| Some((name.clone(), volume.pending.take()?)));
        let results = to.iter().map(|process| (process.clone(), None)).collect();
        let generations = generations.collect();
        self.sending = Some(Sending { generations, due, changes: self.changes.take(), results, worst });
        if worst == Outcome::Delivered {
            self.unhandled = None;
        }
    }

    /// Nothing was sent: what was on its way waits again. Gives back what is superseded by now.
    pub(crate) fn take_back(&mut self) -> Vec<(Name, Pending)> {
        let Some(sending) = self.sending.take() else { return Vec::new() };
        self.changes = match (sending.changes, self.changes) {
            (Some((first, _)), Some((_, last))) => Some((first, last)),
            (before, since) => before.or(since),
        };
        let mut superseded = Vec::new();
        for (name, pending) in sending.generations {
            match self.volumes.get_mut(&name).map(|volume| &mut volume.pending) {
                Some(waiting @ None) => *waiting = Some(pending),
                Some(Some(newer)) => {
                    newer.since = newer.since.min(pending.since);
                    superseded.push((name, pending));
                }
                None => superseded.push((name, pending)),
            }
        }
        superseded
    }

    /// When the waits that the pod asked for are over.
    pub(crate) fn due(&self, waits: Waits) -> Time {
        let Some((first, last)) = self.changes else { return Time::default() };
        let quiet = (last + waits.debounce).min(first + waits.debounce * 10);
        let spread = quiet + waits.splay;
        self.last_delivery.map_or(spread, |delivered| spread.max(delivered + waits.min_interval))
    }

    /// A process's masks were read.
    pub(crate) fn guarded(&mut self, identity: &ProcessIdentity, reading: &GuardReading, now: Time) {
        let signal = self.plan.signal;
        if let Resolution::Found(resolved) = &mut self.resolution {
            for process in resolved.told.iter_mut().filter(|process| process.identity == *identity) {
                let between_handlers = process.catches && !reading.catches(signal);
                process.catches |= reading.catches(signal);
                let handling = match reading.handling(signal) {
                    Handling::Handled if between_handlers => Handling::Starting,
                    other @ (Handling::Handled
                    | Handling::Ignored
                    | Handling::Default
                    | Handling::Starting
                    | Handling::Unknown) => other,
                };
                process.guard = Some((now, handling));
                process.asked = None;
            }
        }
    }

    /// These processes' masks are asked for.
    pub(crate) fn ask_guards(&mut self, identities: &[ProcessIdentity], now: Time) {
        if let Resolution::Found(resolved) = &mut self.resolution {
            for process in resolved.told.iter_mut().filter(|process| identities.contains(&process.identity)) {
                process.asked = Some(now);
            }
        }
    }

    /// The first process is known to be older than these generations: they are changes to it.
    pub(crate) fn decide_older(&mut self) {
        let Resolution::Found(resolved) = &self.resolution else { return };
        let started = resolved.first.started;
        for pending in self.volumes.values_mut().filter_map(|volume| volume.pending.as_mut()) {
            pending.only_if_older &= started + START_DOUBT >= pending.settled;
        }
    }

    pub(crate) fn waiting_volumes(&self, test: impl Fn(&Name, &Pending) -> bool) -> Vec<Name> {
        self.pending().filter(|(name, pending)| test(name, pending)).map(|(name, _)| name.clone()).collect()
    }

    /// Every process that is held for this container.
    pub(crate) fn held_processes(&self) -> Vec<ProcessIdentity> {
        let Resolution::Found(resolved) = &self.resolution else { return Vec::new() };
        let mut all: Vec<_> = resolved.told.iter().map(|process| process.identity.clone()).collect();
        if !all.contains(&resolved.first) {
            all.push(resolved.first.clone());
        }
        all
    }

    /// Whether a process's masks couldn't be read, so that it isn't known what it does with the signal.
    pub(crate) fn is_unreadable(&self) -> bool {
        let unknown = |process: &HeldProcess| matches!(process.guard, Some((_, Handling::Unknown)));
        matches!(&self.resolution, Resolution::Found(resolved) if resolved.told.iter().any(unknown))
    }

    /// Whether its processes are known and held.
    pub(crate) fn is_found(&self) -> bool {
        match &self.resolution {
            Resolution::Found(resolved) => resolved.is_held(),
            Resolution::Unknown | Resolution::Missing(_) => false,
        }
    }

    /// Whether this process is one that the container hangs on.
    pub(crate) fn hangs_on(&self, identity: &ProcessIdentity) -> bool {
        match &self.resolution {
            Resolution::Found(resolved) => {
                resolved.first == *identity
                    || resolved.told.iter().any(|process| process.identity == *identity)
            }
            Resolution::Unknown | Resolution::Missing(_) => false,
        }
    }
}

/// A generation's digest, where one is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NeededDigest {
    /// Every swap of the volume counts.
    NotNeeded,
    /// It is being read.
    Reading,
    /// This; `None` where it couldn't be read. If it is the one that was told of last, this is the outcome.
    Known(Option<Digest>, Outcome),
    /// Whatever it is, the volume's owner keeps it from triggering.
    Excluded,
}

#[cfg(test)]
mod tests;
