//! A grant of a restart in place, carried out: the containers that it names are looked for, told to end all together or not at all, and
//! waited for until they run again. What came of it is said once.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::guard::GuardReading;
use crate::kernel::lack::Lack;
use crate::kernel::process::ProcessIdentity;
use crate::machine::context::Context;
use crate::machine::event::{Action, Report, RestartReport, Shown, StopOrder, VolumeRef};
use crate::machine::pod::leaves::Leaves;
use crate::machine::reload::Site;
use crate::model::granted::{Given, Granted};
use crate::model::journal::{CarriedOut, JournalUpdate};
use crate::model::names::{ContainerId, Name};
use crate::model::restart::{Finding, Grant};
use crate::model::signal::Signal;
use crate::model::time::Time;

use self::part::Part;
use self::proof::Proof;
use self::search::Search;

mod part;
mod proof;
mod search;
mod sending;

/// How long the containers may take to run again. The kubelet starts what ends again and again after five minutes at the latest.
const STARTED_WITHIN: Duration = Duration::from_secs(5 * 60);
/// How long after a reading of masks the next one is made.
const READ_EVERY: Duration = Duration::from_millis(250);
/// How long after a look at the containers the next one is made: while they are looked for, while their end is waited for, and at first
/// and at most while their start is.
const SEARCH_EVERY: Duration = Duration::from_millis(500);
const END_EVERY: Duration = Duration::from_secs(5);
const START_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// What is known of a pod's grants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restarts {
    /// The last one that was carried out.
    carried: Option<Arc<CarriedOut>>,
    /// The last one whose time was over before it was.
    late: Option<Grant>,
    under_way: Option<Box<UnderWay>>,
    /// What was said last, and when.
    last: Option<(Grant, Finding, Time)>,
    /// Those that aren't needed any more, and were held.
    unneeded: Vec<ProcessIdentity>,
}

/// The one that is carried out.
#[derive(Clone, Debug)]
struct UnderWay {
    granted: Granted,
    begun: Time,
    stage: Stage,
    parts: Vec<Part>,
    /// When the containers are looked at next, and after which pause.
    look: Time,
    pause: Duration,
    /// When the masks were asked for last.
    read: Option<Time>,
    /// What the agent lacked last, and when.
    lack: Option<(Lack, Time)>,
    /// Whether the containers were looked at since the first processes are looked for.
    is_seen: bool,
    proof: Proof,
}

/// How long whoever comes late to what was told to end, or is to run again, looks at that before it says anything.
const LOOKED: Duration = Duration::from_secs(10);

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It was asked whether its time isn't over.
    Asked,
    /// The first processes are looked for, and what they do with their signals, since then.
    Searching(Time),
    /// The signals are on their way.
    Sending,
    /// The containers are to end until then.
    Ending(Time),
    /// They are to run again until then.
    Starting(Time),
}

/// What follows for the rest of the pod.
#[derive(Debug, Default)]
pub(crate) struct Consequences {
    /// The containers are to be looked at.
    pub(crate) survey: bool,
    /// These aren't held for it any more.
    pub(crate) unneeded: Vec<ProcessIdentity>,
}

/// What people see of one that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen<'a> {
    pub(crate) grant: &'a Grant,
    pub(crate) begun: Time,
    pub(crate) waits_for: &'static str,
}

impl Restarts {
    /// With what the journal holds.
    pub(crate) fn restored(carried: Option<Arc<CarriedOut>>) -> Self {
        Self { carried, ..Self::default() }
    }

    /// The same for the pod's next machine: nothing is held any more.
    pub(crate) fn for_the_next(mut self, ctx: &mut Context<'_>) -> Self {
        self.release_all(ctx);
        if let Some(way) = &mut self.under_way {
            let looks_until = ctx.now + LOOKED;
            way.stage = match way.stage {
                Stage::Searching(_) => Stage::Searching(ctx.now),
                Stage::Ending(until) => Stage::Ending(until.max(looks_until)),
                Stage::Starting(until) => Stage::Starting(until.max(looks_until)),
                stage @ (Stage::Asked | Stage::Sending) => stage,
            };
            // What was asked for may have been answered to nobody.
            way.proof = Proof::default();
        }
        self
    }

    /// Lets go of all processes. They are looked for anew, if they still are of interest.
    pub(crate) fn release_all(&mut self, ctx: &mut Context<'_>) {
        let parts = self.under_way.iter_mut().flat_map(|way| &mut way.parts);
        let held: Vec<_> = parts.filter_map(Part::release).collect();
        held.into_iter().chain(std::mem::take(&mut self.unneeded)).for_each(|process| {
            ctx.act(Action::Release(process));
        });
        if let Some(way) = &mut self.under_way {
            way.look = ctx.now;
        }
    }

    /// Whether one is under way: then it matters what the containers do.
    pub(crate) const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether a process is held for it.
    pub(crate) fn holds(&self, process: &ProcessIdentity) -> bool {
        self.parts().any(|part| part.process() == Some(process))
    }

    /// Whether a container was sent its stop signal: however its processes end, no reload's signal has ended them.
    pub(crate) fn has_told(&self, container: &ContainerId) -> bool {
        self.carried.as_ref().is_some_and(|carried| carried.has_told(container))
    }

    /// Whether any container of the last grant was sent its stop signal.
    pub(crate) fn has_told_any(&self) -> bool {
        self.carried.as_ref().is_some_and(|carried| !carried.told.is_empty())
    }

    /// What people see of the one that is under way.
    pub(crate) fn seen(&self) -> Option<Seen<'_>> {
        let way = self.under_way.as_ref()?;
        let waits_for = match way.stage {
            Stage::Asked | Stage::Searching(_) => "its first process",
            Stage::Sending => "the signal",
            Stage::Ending(_) => "its end",
            Stage::Starting(_) => "its start",
        };
        Some(Seen { grant: &way.granted.grant, begun: way.begun, waits_for })
    }

    /// What was said last, and when.
    pub(crate) fn last(&self) -> Option<(&Grant, Finding, Time)> {
        self.last.as_ref().map(|(grant, finding, at)| (grant, *finding, *at))
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.under_way.iter().flat_map(|way| &way.parts)
    }

    fn part_mut(&mut self, process: &ProcessIdentity) -> Option<&mut Part> {
        let mut parts = self.under_way.iter_mut().flat_map(|way| &mut way.parts);
        parts.find(|part| part.process() == Some(process))
    }

    /// When something of it is due.
    pub(crate) fn timeout(&self) -> Option<Time> {
        let way = self.under_way.as_ref()?;
        let is_readable = way.parts.iter().all(Part::is_readable);
        let reads = way.read.filter(|_| is_readable).map(|read| read + READ_EVERY);
        let (due, reads) = match way.stage {
            Stage::Asked | Stage::Sending => return None,
            Stage::Searching(since) => (way.searched_until(since), reads),
            Stage::Ending(until) | Stage::Starting(until) => (until, None),
        };
        reads.into_iter().chain([due, way.look]).min()
    }
}

/// What happens goes to the one that is under way.
impl Restarts {
    /// The containers were looked at.
    pub(super) fn surveyed(&mut self, site: &Site, leaves: &Leaves<'_>, ctx: &mut Context<'_>) {
        let Some(way) = &mut self.under_way else { return };
        way.is_seen |= matches!(way.stage, Stage::Searching(_));
        for part in &mut way.parts {
            match way.stage {
                Stage::Asked | Stage::Sending => {}
                Stage::Searching(_) => self.unneeded.extend(part.find(&site.pod, leaves, ctx)),
                Stage::Ending(_) => part.see_end(leaves, ctx),
                Stage::Starting(_) => part.see_start(&site.pod, leaves),
            }
        }
    }

    /// The containers can't be looked at.
    pub(crate) fn not_surveyed(&mut self, lack: Lack, now: Time) {
        if let Some(way) = &mut self.under_way {
            way.lack = Some((lack, now));
        }
    }

    /// A process is held.
    pub(crate) fn held(&mut self, process: &ProcessIdentity) {
        if let Some(part) = self.part_mut(process) {
            part.hold();
        }
    }

    /// A process is gone, or another one: before it was told it is looked for again.
    pub(crate) fn not_held(&mut self, process: &ProcessIdentity) {
        let is_told = self.under_way.as_ref().is_some_and(|way| matches!(way.stage, Stage::Ending(_)));
        let Some(part) = self.part_mut(process) else { return };
        if is_told {
            part.lose();
        } else {
            part.release();
        }
    }

    /// A process can't be held or looked at, since the agent itself lacks something.
    pub(crate) fn lacked(&mut self, process: &ProcessIdentity, lack: Lack, now: Time) {
        let Some(part) = self.part_mut(process) else { return };
        let held = part.release();
        self.unneeded.extend(held);
        self.not_surveyed(lack, now);
    }

    /// A process has ended.
    pub(crate) fn exited(&mut self, process: &ProcessIdentity, now: Time) {
        let Some(part) = self.part_mut(process) else { return };
        part.lose();
        if let Some(way) = &mut self.under_way {
            way.look = now;
        }
    }

    /// A process's masks were read.
    pub(crate) fn guarded(
        &mut self,
        process: &ProcessIdentity,
        signal: Signal,
        reading: &GuardReading,
        ctx: &mut Context<'_>,
    ) {
        if let Some(part) = self.part_mut(process) {
            part.guarded(signal, reading, ctx);
        }
    }

    /// What a volume holds now.
    pub(crate) fn shown(&mut self, volume: &Name, shown: Option<&Shown>) {
        if let Some(way) = &mut self.under_way {
            way.proof.shown(volume, shown);
        }
    }

    fn record(&mut self, site: &Site, carried: CarriedOut, ctx: &mut Context<'_>) {
        let carried = Arc::new(carried);
        self.carried = Some(carried.clone());
        ctx.act(Action::Record(JournalUpdate::CarriedOut(site.pod.uid.clone(), carried)));
    }
}

/// What follows from all that is known.
impl Restarts {
    /// Carries out the next steps, until something is waited for.
    pub(crate) fn advance(&mut self, site: &Site, ctx: &mut Context<'_>) -> Consequences {
        self.follow_grant(site, ctx);
        let mut survey = false;
        while self.step(site, ctx) {}
        if let Some(way) = &mut self.under_way
            && !matches!(way.stage, Stage::Asked | Stage::Sending)
            && ctx.now >= way.look
        {
            way.look = ctx.now + way.pause;
            if matches!(way.stage, Stage::Starting(_)) {
                way.pause = (way.pause * 2).min(START_EVERY.1);
            }
            survey = true;
        }
        Consequences { survey, unneeded: std::mem::take(&mut self.unneeded) }
    }

    /// Takes up what is granted, one at a time. What was only looked for is dropped for another grant, or none; what was told to end is
    /// waited for.
    fn follow_grant(&mut self, site: &Site, ctx: &mut Context<'_>) {
        let granted = match site.pod.given.as_deref() {
            Some(Given::Granted(granted)) => Some(granted),
            Some(Given::Ignored(_)) | None => None,
        };
        if let Some(way) = &self.under_way {
            let is_it = granted.is_some_and(|granted| granted.grant == way.granted.grant);
            match way.stage {
                _ if is_it => return,
                Stage::Asked | Stage::Searching(_) => self.drop_it(),
                Stage::Starting(_) if granted.is_some() => {
                    let reason = "another one was granted before they ran again";
                    self.finish(site, Finding::Unproved, Some(reason.into()), ctx);
                }
                Stage::Sending | Stage::Ending(_) | Stage::Starting(_) => return,
            }
        }
        let Some(granted) = granted.filter(|granted| self.late.as_ref() != Some(&granted.grant)) else {
            return;
        };
        let carried = self.carried.as_ref().filter(|carried| carried.grant == granted.grant);
        let stage = match carried {
            Some(carried) if carried.said.is_some() => return,
            // The agent before has sent the signals.
            Some(carried) => Stage::Ending((carried.at.min(ctx.now) + granted.grace).max(ctx.now + LOOKED)),
            None => Stage::Asked,
        };
        if stage == Stage::Asked {
            let (pod, until) = (site.pod.uid.clone(), granted.grant.until);
            ctx.act(Action::Stop(StopOrder { pod, until, processes: Vec::new() }));
        }
        self.under_way = Some(Box::new(UnderWay {
            parts: granted.containers.iter().map(Part::new).collect(),
            granted: granted.clone(),
            begun: ctx.now,
            stage,
            look: ctx.now,
            pause: if carried.is_some() { END_EVERY } else { SEARCH_EVERY },
            read: None,
            lack: None,
            is_seen: false,
            proof: Proof::default(),
        }));
    }

    /// Whether there was a step, after which there may be another one.
    fn step(&mut self, site: &Site, ctx: &mut Context<'_>) -> bool {
        let Some(way) = &mut self.under_way else { return false };
        match way.stage {
            Stage::Asked | Stage::Sending => false,
            Stage::Searching(since) => match way.search(since, ctx) {
                Search::GoesOn => false,
                Search::Send(processes) => {
                    let (pod, until) = (site.pod.uid.clone(), way.granted.grant.until);
                    ctx.act(Action::Stop(StopOrder { pod, until, processes }));
                    way.stage = Stage::Sending;
                    false
                }
                Search::Refuse(finding, reason) => {
                    self.finish(site, finding, Some(reason.into()), ctx);
                    false
                }
            },
            Stage::Ending(until) => {
                let still: Vec<&str> =
                    way.parts.iter().filter(|part| !part.has_ended()).map(|part| &**part.name()).collect();
                if still.is_empty() {
                    way.stage = Stage::Starting(ctx.now + STARTED_WITHIN);
                    (way.look, way.pause) = (ctx.now, START_EVERY.0);
                    return true;
                }
                if ctx.now >= until {
                    let reason =
                        format!("after {} s container {}", way.granted.grace.as_secs(), still.join(", "));
                    self.finish(site, Finding::StillRuns, Some(format!("{reason} still runs").into()), ctx);
                }
                false
            }
            Stage::Starting(until) => {
                for (volume, kind) in way.proof.wants(&site.pod, &way.parts) {
                    let volume = VolumeRef { pod: site.pod.uid.clone(), volume };
                    ctx.act(Action::Show(volume, kind));
                }
                if let Some((finding, reason)) = way.proof.finding(&site.pod, &way.parts) {
                    self.finish(site, finding, reason, ctx);
                } else if ctx.now >= until {
                    let reason = "not all of them were seen to run again within 5 minutes";
                    self.finish(site, Finding::Unproved, Some(reason.into()), ctx);
                }
                false
            }
        }
    }

    /// It has ended so, which is said.
    fn finish(
        &mut self,
        site: &Site,
        finding: Finding,
        reason: Option<Cow<'static, str>>,
        ctx: &mut Context<'_>,
    ) {
        let Some(way) = &self.under_way else { return };
        let grant = way.granted.grant.clone();
        let took = ctx.now.since(way.begun);
        let before = self.carried.as_ref().filter(|carried| carried.grant == grant);
        let (at, told) = before.map_or((ctx.now, BTreeSet::new()), |before| (before.at, before.told.clone()));
        self.record(site, CarriedOut { grant: grant.clone(), at, told, said: Some(finding) }, ctx);
        self.last = Some((grant.clone(), finding, ctx.now));
        let report = RestartReport { pod: site.pod.clone(), grant, finding, reason, took };
        ctx.act(Action::Report(Report::Restart(Box::new(report))));
        self.drop_it();
    }

    fn drop_it(&mut self) {
        let parts = self.under_way.take().into_iter().flat_map(|way| way.parts);
        self.unneeded.extend(parts.filter_map(|mut part| part.release()));
    }
}
