//! Generations, from the settle to their end: each one that is taken in ends here, once, whatever becomes of it.

use std::borrow::Cow;
use std::time::Duration;

use crate::machine::context::Context;
use crate::machine::event::{Action, ReloadReport, Report};
use crate::machine::reload::progress::{Ending, Pending, START_DOUBT, Taken};
use crate::machine::reload::{Site, Target, report};
use crate::machine::volume::{How, Settled};
use crate::model::digest::Digest;
use crate::model::generation::Generation;
use crate::model::journal::JournalUpdate;
use crate::model::names::Name;
use crate::model::outcome::Outcome;
use crate::model::time::Time;

/// Whoever was sent a signal may read its files this much later.
const READS_WITHIN: Duration = Duration::from_secs(10);

impl Target {
    /// A generation has settled. With `as_is`, what stands there when nothing is known is nobody's change.
    pub(crate) fn settled(
        &mut self,
        site: &Site,
        volume: &Name,
        settled: &Settled,
        as_is: bool,
        ctx: &mut Context<'_>,
    ) {
        let Some(progress) = self.progress.get_mut(volume) else { return };
        let is_new = progress.handled().is_none();
        let is_baseline = match settled.how {
            How::First => is_new,
            How::Discovered => is_new && as_is,
            How::Changed => false,
        };
        if is_baseline {
            self.end(site, volume, settled.generation.clone(), Ending::Baseline, ctx);
            self.forget_if_idle();
            return;
        }
        let sent = self.sending.as_ref().and_then(|sending| sending.generation(volume));
        let taken = progress.settled(settled, sent);
        if taken == Taken::Known {
            if settled.how == How::Discovered {
                self.confirm(volume);
            }
            return;
        }
        self.waiting.get_or_insert_default().settled(settled.settled);
        if let Taken::Supersedes(older) = taken
            && !older.only_if_older
            && !older.again
        {
            self.supersede(site, volume, older, ctx);
        }
    }

    /// A generation was read, or couldn't be: that is what the container holds, if it holds that one.
    pub(crate) fn read(
        &mut self,
        volume: &Name,
        generation: &Generation,
        digest: Option<Digest>,
        ctx: &mut Context<'_>,
    ) {
        if let Some(progress) = self.progress.get_mut(volume) {
            progress.read(generation, digest);
        }
        if let Some(past) = &mut self.past {
            past.read(volume, generation, digest);
        }
        self.keep_from_others(ctx);
    }

    /// The first process is known to be older than these generations: they are changes to it.
    pub(crate) fn decide_older(&mut self) {
        let Some(chosen) = self.processes.chosen() else { return };
        let started = chosen.first().started;
        self.progress.values_mut().for_each(|progress| progress.decide_older(started));
    }

    /// What waits of these volumes was there before anything was known.
    pub(crate) fn take_baseline(&mut self, site: &Site, volumes: &[Name], ctx: &mut Context<'_>) {
        for volume in volumes {
            let pending = self.progress.get(volume).and_then(|progress| progress.pending());
            if let Some(generation) = pending.map(|pending| pending.generation.clone()) {
                self.end(site, volume, generation, Ending::Baseline, ctx);
            }
        }
        self.forget_if_idle();
    }

    /// Ends what waits of these volumes. What people are told of it comes back.
    pub(crate) fn conclude(
        &mut self,
        site: &Site,
        volumes: &[Name],
        outcome: Outcome,
        reason: Option<Cow<'static, str>>,
        ctx: &mut Context<'_>,
    ) -> Option<ReloadReport> {
        let due = self.due(site.terms.waits);
        let waiting = |name: &Name| Some((name.clone(), self.progress.get_mut(name)?.take_pending()?));
        let mut ended: Vec<(Name, Pending)> = volumes.iter().filter_map(waiting).collect();
        // How that ended stands.
        ended.retain(|(_, pending)| !pending.again);
        self.end_reload(site, &ended, due, outcome, reason, ctx)
    }

    /// Ends all that waits, since the pod is gone.
    pub(crate) fn end_all(&mut self, site: &Site, ctx: &mut Context<'_>) -> Option<ReloadReport> {
        self.take_back(site, ctx);
        let waiting = self.waiting_volumes(|_, _| true);
        self.conclude(site, &waiting, Outcome::Gone, Some(Cow::Borrowed("the pod is gone")), ctx)
    }

    /// A reload of these generations has ended.
    pub(super) fn end_reload(
        &mut self,
        site: &Site,
        ended: &[(Name, Pending)],
        due: Time,
        outcome: Outcome,
        reason: Option<Cow<'static, str>>,
        ctx: &mut Context<'_>,
    ) -> Option<ReloadReport> {
        if ended.is_empty() {
            self.forget_if_idle();
            return None;
        }
        for (volume, pending) in ended {
            self.end(site, volume, pending.generation.clone(), Ending::Reload(outcome), ctx);
            if let Some(verify) = &mut self.verify
                && matches!(outcome, Outcome::Unchanged | Outcome::Excluded)
            {
                verify.carry_over(volume, pending);
            }
            if outcome == Outcome::Unchanged {
                self.carry_over(site, volume, &pending.generation, ctx);
            }
        }
        let report = report::ended(&site.pod, self, due, ended, outcome, reason, ctx.now)?;
        self.last = Some((outcome, ctx.now));
        if outcome == Outcome::Suspended {
            self.withhold(site, ctx);
        } else if !self.withholds() {
            self.withhold_nothing(site, ctx);
        }
        if outcome == Outcome::Delivered
            && let Some(waiting) = &mut self.waiting
        {
            waiting.forget_refusal();
        }
        self.forget_if_idle();
        Some(report)
    }

    /// A generation was folded into a newer one's reload.
    pub(super) fn supersede(&mut self, site: &Site, volume: &Name, older: Pending, ctx: &mut Context<'_>) {
        self.end(site, volume, older.generation.clone(), Ending::Superseded, ctx);
        self.displaced(volume, older.swapped);
        let report = report::superseded(site.pod.clone(), self, volume, older, ctx.now);
        ctx.act(Action::Report(Report::Reload(Box::new(report))));
    }

    /// A newer generation took the place of one that stood there since then and wasn't told. It may have been read:
    /// whoever executes itself anew reads what stands there, and so does whoever is told of another volume.
    pub(crate) fn displaced(&mut self, volume: &Name, swapped: Time) {
        if self.may_have_read(swapped)
            && let Some(progress) = self.progress.get_mut(volume)
        {
            progress.doubt_told();
        }
    }

    /// Whether its processes may have read their files since then. A request may be taken whatever comes back, and beside the first
    /// process, which it is meant for, others come and go unseen. A process that isn't known to handle the signal may start the one
    /// that will, and one that started shortly before may have done so after it: of that is heard late where the loop stands still.
    pub(super) fn may_have_read(&self, since: Time) -> bool {
        let has_others = self.plan.means.request().is_some() || !self.processes.handle_all();
        let was_told = self.last_delivery.is_some_and(|delivered| delivered + READS_WITHIN >= since);
        let is_young = self.processes.youngest().is_some_and(|started| started + READS_WITHIN >= since);
        has_others || is_young || was_told || self.processes.were_renewed_since(since)
    }

    /// Ends a generation for the container: every one that was taken in ends here, once.
    fn end(
        &mut self,
        site: &Site,
        volume: &Name,
        generation: Generation,
        ending: Ending,
        ctx: &mut Context<'_>,
    ) {
        // The journal isn't told: the newer one is still to come.
        if matches!(ending, Ending::Superseded) {
            return;
        }
        let digest = digest(site, volume, &generation);
        let started = self.processes.chosen().map(|chosen| chosen.first().started);
        let Some(progress) = self.progress.get_mut(volume) else { return };
        progress.end(generation, ending, digest, started);
        self.record_handled(site, volume, ctx);
    }

    /// The journal is to hold what is known of a volume by now.
    pub(super) fn record_handled(&self, site: &Site, volume: &Name, ctx: &mut Context<'_>) {
        if let Some(handled) = self.progress.get(volume).and_then(|progress| progress.record()) {
            let key = report::key(&site.pod.uid, &self.plan.container, volume);
            ctx.act(Action::Record(JournalUpdate::Handled(key, handled)));
        }
    }

    /// Takes in which generations were there for certain when the container's first process started.
    pub(crate) fn note_start(&mut self, site: &Site, ctx: &mut Context<'_>) {
        let Some(first) = self.processes.chosen().map(|chosen| chosen.first().started) else { return };
        let mut news = Vec::new();
        for (name, progress) in &mut self.progress {
            let settled = site.volumes.get(name).and_then(|watched| watched.state().settled());
            if let Some(settled) = settled.filter(|settled| first > settled.settled + START_DOUBT)
                && progress.was_there(&settled.generation, first)
            {
                news.push(name.clone());
            }
        }
        news.iter().for_each(|name| self.record_handled(site, name, ctx));
    }

    /// Nothing waits any more: what was remembered of the wait goes.
    pub(super) fn forget_if_idle(&mut self) {
        if self.sending.is_none() && self.pending().next().is_none() {
            (self.waiting, self.last_answer) = (None, None);
        }
    }
}

/// The digest of a generation's files that count, where it was read.
fn digest(site: &Site, volume: &Name, generation: &Generation) -> Option<Digest> {
    site.volumes.get(volume).and_then(|watched| watched.known_digest(generation))
}
