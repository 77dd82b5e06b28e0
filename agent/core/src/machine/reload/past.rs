//! The last delivery, as far as something comes of it beyond its window or beyond the agent that made it: the process that it ended,
//! and the content that it told of. The journal holds it too. An agent that starts looks what became of the processes: where one of
//! them isn't there any more, it ended after it was told, and what it was told of is kept from other replicas.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::process::ProcessIdentity;
use crate::machine::context::Context;
use crate::machine::event::Action;
use crate::machine::reload::processes::Chosen;
use crate::machine::reload::sending::Sending;
use crate::machine::reload::verify::{SHORTEST, Verify};
use crate::machine::reload::{Site, Target};
use crate::machine::workloads::Content;
use crate::model::digest::Digest;
use crate::model::generation::Generation;
use crate::model::journal::{JournalUpdate, LastDelivery, Pid};
use crate::model::names::{Name, PodUid};
use crate::model::time::Time;

/// An agent that starts this long after a window takes a process that is gone for one that ended in it. One that starts later
/// does so only where the process in its place started in it.
const ABSENCE: Duration = Duration::from_secs(60);

/// A container is started again so soon after its end, at first.
const STARTED_AGAIN: Duration = Duration::from_secs(1);

/// Other replicas wait so long for what the agent finds of a delivery that the one before it made.
const DOUBT: Duration = Duration::from_secs(10);

/// The last delivery to a container.
#[derive(Clone, Debug)]
pub(super) struct Past {
    pod: PodUid,
    record: Arc<LastDelivery>,
    /// The digests that are known by now of what it told of.
    digests: BTreeMap<Name, Digest>,
    /// The content that ended a process is kept from other replicas.
    is_kept: bool,
    /// Where an agent before made it: how far this one knows what came of it.
    resumed: Option<Resumed>,
    /// The process that a survey didn't find, and which is taken to have ended.
    missed: Option<ProcessIdentity>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Resumed {
    /// Its processes were looked for.
    is_seen: bool,
    /// The other replicas needn't wait any more.
    is_settled: bool,
}

impl Past {
    fn identity(&self, (pid, started): Pid) -> ProcessIdentity {
        let (pod, container) = (self.pod.clone(), self.record.container.clone());
        ProcessIdentity { pid, started, pod, container }
    }

    fn told(&self) -> impl Iterator<Item = ProcessIdentity> {
        self.record.told.iter().map(|pid| self.identity(*pid))
    }

    /// The process whose end was its consequence, and when that was seen.
    fn ended(&self) -> Option<(ProcessIdentity, Time)> {
        self.record.ended.map(|(pid, at)| (self.identity(pid), at))
    }

    fn blame(&mut self, process: &ProcessIdentity, at: Time) {
        Arc::make_mut(&mut self.record).ended = Some(((process.pid, process.started), at));
    }

    /// Its consequence wasn't the end of one of these. Whether it was taken for it.
    fn absolve(&mut self, is_it: impl Fn(&ProcessIdentity) -> bool) -> bool {
        let was = self.ended().is_some_and(|(process, _)| is_it(&process));
        if was {
            Arc::make_mut(&mut self.record).ended = None;
            self.is_kept = false;
        }
        was
    }

    fn tells_of(&self, volume: &Name, generation: &Generation) -> bool {
        self.record.generations.get(volume) == Some(generation)
    }

    /// A generation was read.
    pub(super) fn read(&mut self, volume: &Name, generation: &Generation, digest: Option<Digest>) {
        if let Some(digest) = digest.filter(|_| self.tells_of(volume, generation)) {
            self.digests.entry(volume.clone()).or_insert(digest);
        }
    }

    /// The content that ended a process, once, when all of it is known.
    fn take_bad(&mut self) -> Option<(Content, ProcessIdentity, Time)> {
        let (process, at) = self.ended().filter(|_| !self.is_kept)?;
        self.is_kept = self.record.generations.keys().all(|volume| self.digests.contains_key(volume));
        self.is_kept.then(|| (self.digests.clone(), process, at))
    }

    /// Whether it will be known what it told of.
    fn will_be_known(&self, site: &Site) -> bool {
        self.record.generations.iter().all(|(volume, generation)| {
            self.digests.contains_key(volume)
                || site.volumes.get(volume).is_some_and(|watched| watched.may_be_read(generation))
        })
    }
}

impl Target {
    /// A delivery was made.
    pub(super) fn remember(
        &mut self,
        site: &Site,
        sending: &Sending,
        (counts, was_ready): (bool, bool),
        ctx: &mut Context<'_>,
    ) {
        let told = sending.receivers().cloned().collect();
        match self.record_of(site, sending, told, (counts, was_ready), ctx.now) {
            Some(record) => self.take_record(site, record, ctx),
            // Nobody knows any more whom to look for; what came before is over.
            None => self.drop_delivery(site, ctx),
        }
    }

    /// What the journal is to hold of a delivery to these processes.
    pub(super) fn record_of(
        &self,
        site: &Site,
        sending: &Sending,
        told: Vec<ProcessIdentity>,
        (counts, was_ready): (bool, bool),
        at: Time,
    ) -> Option<LastDelivery> {
        let first = self.processes.chosen()?.first();
        let pid = |process: &ProcessIdentity| (process.pid, process.started);
        Some(LastDelivery {
            at,
            until: at + site.terms.verify.max(SHORTEST),
            is_open: true,
            container: first.container.clone(),
            first: pid(first),
            told: told.iter().map(pid).collect(),
            generations: sending
                .generations()
                .iter()
                .map(|(name, told)| (name.clone(), told.generation.clone()))
                .collect(),
            was_ready,
            counts,
            ended: None,
            mark: site.terms.mark,
        })
    }

    /// That is the last delivery.
    pub(super) fn take_record(&mut self, site: &Site, record: LastDelivery, ctx: &mut Context<'_>) {
        let known = |(volume, generation): (&Name, &Generation)| {
            let digest = site.volumes.get(volume)?.known_digest(generation)?;
            Some((volume.clone(), digest))
        };
        let digests = record.generations.iter().filter_map(known).collect();
        self.past = Some(Past {
            pod: site.pod.uid.clone(),
            record: Arc::new(record),
            digests,
            is_kept: false,
            resumed: None,
            missed: None,
        });
        self.record_past(site, ctx);
    }

    /// What the journal holds of the last delivery. What an ending says of the content isn't known before the processes were looked
    /// for and the files were read: as long the other replicas wait.
    pub(crate) fn restore_delivery(&mut self, site: &Site, record: &Arc<LastDelivery>) {
        self.last_delivery = Some(record.at);
        if !site.pod.spec.is_marked(record.mark) {
            return;
        }
        let past = Past {
            pod: site.pod.uid.clone(),
            record: record.clone(),
            digests: BTreeMap::new(),
            is_kept: false,
            resumed: Some(Resumed::default()),
            missed: None,
        };
        self.processes.restore_told(past.told());
        if record.was_ready {
            self.maturity.was_ready(&record.container);
        }
        if let Some((process, at)) = past.ended() {
            self.suspension.restore_ending(&process, at.since(record.at));
        } else if record.is_open {
            self.suspension.delivered(record.counts);
            self.verify = Some(Verify::resume(record, past.identity(record.first), past.told().collect()));
        }
        self.past = Some(past);
    }

    /// What the next machine of the pod is to know of the last delivery.
    pub(crate) fn last_delivery(&self) -> Option<&Arc<LastDelivery>> {
        self.past.as_ref().map(|past| &past.record)
    }

    /// Nothing comes of the last delivery any more.
    pub(crate) fn drop_delivery(&mut self, site: &Site, ctx: &mut Context<'_>) {
        if self.past.take().is_some() {
            self.record_past(site, ctx);
        }
    }

    /// The other replicas wait for what came of a delivery that an agent before made.
    pub(super) fn begin_doubt(&self, site: &Site, ctx: &mut Context<'_>) {
        let Some(past) = self.past.as_ref().filter(|past| past.resumed.is_some()) else { return };
        if self.verify.is_none() && past.ended().is_none() {
            return;
        }
        let uid = &site.pod.uid;
        ctx.workloads.begin_doubt(&self.workload, uid, ctx.now + DOUBT);
        if let Some(verify) = self.verify.as_ref().filter(|verify| !verify.is_over(ctx.now)) {
            self.begin_turn_until(site, verify.until(), ctx);
        }
    }

    /// What came of that delivery may be known by now, or never will.
    pub(super) fn end_doubt(&mut self, site: &Site, ctx: &mut Context<'_>) {
        let Some(past) = &mut self.past else { return };
        let is_open = past.ended().is_some() && !past.is_kept && past.will_be_known(site);
        let Some(resumed) = past.resumed.as_mut().filter(|resumed| !resumed.is_settled) else { return };
        if resumed.is_seen && !is_open {
            resumed.is_settled = true;
            ctx.workloads.end_doubt(&self.workload, &site.pod.uid);
        }
    }

    /// The containers were looked at. `runs` says whether a process is there and lives, if that can be said.
    pub(crate) fn look_for_told(
        &mut self,
        site: &Site,
        runs: impl Fn(&ProcessIdentity) -> Option<bool>,
        ctx: &mut Context<'_>,
    ) {
        let Some(past) = &mut self.past else { return };
        if past.missed.take_if(|missed| runs(missed) == Some(true)).is_some() {
            self.revive(site, runs, ctx);
            return;
        }
        let first = past.identity(past.record.first);
        let all: Option<Vec<(ProcessIdentity, bool)>> =
            past.told().chain([first]).map(|process| runs(&process).map(|runs| (process, runs))).collect();
        let Some(resumed) = past.resumed.as_mut().filter(|resumed| !resumed.is_seen) else { return };
        let Some(all) = all else { return };
        // It ended with its pod, as far as is known.
        if self.is_of_last_time && self.processes.chosen().is_none() {
            return;
        }
        resumed.is_seen = true;
        if let Some(verify) = &mut self.verify {
            verify.seen();
        }
        let Some((gone, _)) = all.into_iter().find(|(_, runs)| !runs) else { return };
        past.missed = Some(gone.clone());
        if !self.may_have_ended_in_window(&gone, ctx.now) {
            self.suspension.delivered(false);
        }
        self.count_exit(site, &gone, None, ctx);
    }

    /// A process that an agent before has told couldn't be held: it is taken to have ended, unless a survey finds it again.
    pub(super) fn miss(&mut self, process: &ProcessIdentity) {
        if let Some(past) = self.past.as_mut().filter(|past| past.resumed.is_some()) {
            past.missed = Some(process.clone());
        }
    }

    /// Whether a process that isn't there any more may have ended in the window.
    fn may_have_ended_in_window(&self, gone: &ProcessIdentity, now: Time) -> bool {
        let Some(verify) = &self.verify else { return false };
        let next =
            self.processes.chosen().map(Chosen::first).filter(|first| first.container != gone.container);
        now <= verify.until() + ABSENCE
            || next.is_some_and(|first| first.started <= verify.until() + STARTED_AGAIN)
    }

    /// A process that was taken to have ended is there.
    fn revive(
        &mut self,
        site: &Site,
        runs: impl Fn(&ProcessIdentity) -> Option<bool>,
        ctx: &mut Context<'_>,
    ) {
        if let Some(verify) = &mut self.verify {
            verify.revive();
        }
        self.killed(site, &|process| runs(process) == Some(true), ctx);
        if let Some(past) = &self.past {
            // Its end may still come.
            self.suspension.delivered(past.record.counts);
        }
        let is_open = self.verify.is_some();
        if let Some(past) = self.past.as_mut().filter(|_| is_open) {
            Arc::make_mut(&mut past.record).is_open = true;
            self.record_past(site, ctx);
        }
    }

    /// The end of a process is the consequence of the last delivery. The journal knows it at once.
    pub(super) fn blame(&mut self, site: &Site, process: &ProcessIdentity, at: Time, ctx: &mut Context<'_>) {
        self.record_count(site, ctx);
        if let Some(past) = &mut self.past {
            past.blame(process, at);
            self.record_past(site, ctx);
        }
        self.keep_from_others(ctx);
    }

    /// These processes were ended by something else.
    pub(super) fn absolve(
        &mut self,
        site: &Site,
        is_it: &dyn Fn(&ProcessIdentity) -> bool,
        ctx: &mut Context<'_>,
    ) {
        if self.past.as_mut().is_some_and(|past| past.absolve(is_it)) {
            self.close_past(site, ctx);
        }
        ctx.workloads.killed(&self.workload, is_it);
    }

    /// The content whose delivery has ended a process is kept from the other replicas.
    pub(super) fn keep_from_others(&mut self, ctx: &mut Context<'_>) {
        if let Some((content, process, at)) = self.past.as_mut().and_then(Past::take_bad) {
            ctx.workloads.ended(&self.workload, content, &process, at);
        }
    }

    /// A newer generation of a volume is the same to the container.
    pub(super) fn carry_over(
        &mut self,
        site: &Site,
        volume: &Name,
        newer: &Generation,
        ctx: &mut Context<'_>,
    ) {
        let Some(past) = &mut self.past else { return };
        if let Some(told) = Arc::make_mut(&mut past.record).generations.get_mut(volume) {
            *told = newer.clone();
            self.record_past(site, ctx);
        }
    }

    /// The window is over, or nothing more of it counts.
    pub(super) fn close_past(&mut self, site: &Site, ctx: &mut Context<'_>) {
        if let Some(past) = &mut self.past {
            Arc::make_mut(&mut past.record).is_open = false;
            self.record_past(site, ctx);
        }
    }

    /// Whether a generation is to be read: what it holds has ended a process, or may have in the window of an agent before. Of a pod
    /// that is alone nothing was read until then, and other replicas may come.
    pub(crate) fn wants_digest(&self, volume: &Name, generation: &Generation) -> bool {
        self.past.as_ref().is_some_and(|past| {
            let may_end = past.record.is_open && past.resumed.is_some();
            let is_wanted = may_end || (past.record.ended.is_some() && !past.is_kept);
            is_wanted && past.tells_of(volume, generation)
        })
    }

    fn record_past(&self, site: &Site, ctx: &mut Context<'_>) {
        let record = self.past.as_ref().map(|past| past.record.clone());
        let container = self.plan.container.clone();
        ctx.act(Action::Record(JournalUpdate::LastDelivery(site.pod.uid.clone(), container, record)));
    }
}
