//! Telling a container a second time of what it was told of and didn't read, and saying that it didn't.

use std::borrow::Cow;

use crate::machine::context::Context;
use crate::machine::event::{Action, Report};
use crate::machine::reload::progress::Pending;
use crate::machine::reload::rereading::{Closing, Next, Rereading, Seen};
use crate::machine::reload::sending::Sending;
use crate::machine::reload::sight::Sight;
use crate::machine::reload::verify::Verify;
use crate::machine::reload::{Site, Target, report};
use crate::model::generation::Generation;
use crate::model::journal::{JournalUpdate, Rereads};
use crate::model::names::Name;
use crate::model::outcome::{Outcome, Unread};
use crate::model::time::Time;

impl Target {
    /// A window has ended in which nothing was opened, and the container lives.
    pub(super) fn follow_unread(
        &mut self,
        site: &Site,
        verify: &Verify,
        closing: Closing,
        ctx: &mut Context<'_>,
    ) {
        let told = || verify.generations().iter();
        let can_see = |(name, told): &(Name, Pending)| {
            site.volumes.get(name).is_some_and(|watched| watched.shows_opens(&told.generation))
        };
        let seen = Seen {
            closing,
            sight: if told().all(can_see) { verify.sight() } else { Sight::Blind },
            looked_through: verify.is_looked_through(),
            delivered: verify.delivered(),
            window: site.terms.verify,
            retell: site.terms.retell,
        };
        let before = self.rereading.in_a_row();
        let next = self.change_rereading(site, ctx, |rereading, now| rereading.unread(seen, now));
        if self.rereading.in_a_row() > before {
            self.leave_unread(site, |name| told().any(|(volume, _)| volume == name), ctx);
        }
        // What it holds isn't what it was told of, as far as is known: nothing later is the same as that.
        if next == Next::Again || self.left_how().is_some_and(|(unread, _)| unread == Unread::NotRead) {
            self.progress.values_mut().for_each(|progress| progress.doubt_told());
        }
        if next == Next::Again {
            for (name, pending) in told() {
                if let Some(progress) = self.progress.get_mut(name) {
                    progress.tell_again(pending);
                }
            }
            self.waiting.get_or_insert_default().settled(ctx.now);
            self.forget_if_idle();
        }
        self.say_unread(site, next, ctx);
    }

    /// Whether what a window's delivery told of is what the container would be told of still.
    pub(super) fn is_newest(&self, site: &Site, verify: &Verify) -> bool {
        let is_current = |name: &Name, generation: &Generation| {
            site.volumes.get(name).is_some_and(|watched| watched.is_current(generation))
        };
        self.waiting.is_none()
            && !self.is_suspended()
            && verify.generations().iter().all(|(name, told)| is_current(name, &told.generation))
    }

    /// Nothing is told a second time any more.
    pub(super) fn drop_again(&mut self) {
        let mut dropped = false;
        self.progress.values_mut().for_each(|progress| dropped |= progress.drop_again());
        // What was remembered of its wait is nothing to what waits now.
        if dropped && self.sending.is_none() && self.pending().next().is_none() {
            self.waiting = None;
        }
    }

    /// A second telling has ended. How the first one ended stands.
    pub(super) fn end_again(
        &mut self,
        site: &Site,
        sending: &Sending,
        outcome: Outcome,
        reason: Option<Cow<'static, str>>,
        ctx: &mut Context<'_>,
    ) {
        let told = sending.generations();
        let report = report::ended(&site.pod, self, sending.due(), told, outcome, reason, ctx.now);
        if let Some(report) = report {
            ctx.act(Action::Report(Report::Retold(Box::new(report))));
        }
        self.forget_if_idle();
        if outcome != Outcome::Delivered {
            let next = self.change_rereading(site, ctx, |rereading, _| rereading.refused());
            self.say_unread(site, next, ctx);
        }
    }

    /// A delivery was made; `again` says whether it was a second telling.
    pub(super) fn follow_delivery(&mut self, site: &Site, again: bool, ctx: &mut Context<'_>) {
        let youngest = self.processes.youngest().unwrap_or_default();
        self.change_rereading(site, ctx, |rereading, _| rereading.delivered(youngest, again));
    }

    /// A file of what it was told of was opened.
    pub(super) fn reread(&mut self, site: &Site, ctx: &mut Context<'_>) {
        let looked_through = self.verify.as_ref().is_some_and(Verify::is_looked_through);
        self.change_rereading(site, ctx, |rereading, _| rereading.reread(looked_through));
        self.leave_unread(site, |_| false, ctx);
    }

    /// Of these volumes the last signal told that was left unread.
    fn leave_unread(&mut self, site: &Site, is_it: impl Fn(&Name) -> bool, ctx: &mut Context<'_>) {
        let news = self
            .progress
            .iter_mut()
            .filter_map(|(name, progress)| progress.leave_unread(is_it(name)).then(|| name.clone()));
        let news: Vec<Name> = news.collect();
        news.iter().for_each(|name| self.record_handled(site, name, ctx));
    }

    /// Somebody looked through a generation's directory.
    pub(crate) fn looked_through(&mut self, volume: &Name, generation: &Generation) {
        if let Some(verify) = &mut self.verify {
            verify.looked_through(volume, generation);
        }
    }

    /// What the journal holds of whether it reads.
    pub(crate) fn rereads(&self, site: &Site) -> Option<Rereads> {
        self.rereading.record(site.terms.mark)
    }

    /// The journal holds nothing of whether it reads any more.
    pub(crate) fn drop_rereads(&self, site: &Site, ctx: &mut Context<'_>) {
        if self.rereads(site).is_some() {
            let (pod, container) = (site.pod.uid.clone(), self.plan.container.clone());
            ctx.act(Action::Record(JournalUpdate::Rereads(pod, container, None)));
        }
    }

    /// Changes what is known of whether it reads. The journal is told where it holds something else.
    fn change_rereading<T>(
        &mut self,
        site: &Site,
        ctx: &mut Context<'_>,
        change: impl FnOnce(&mut Rereading, Time) -> T,
    ) -> T {
        let before = self.rereading.record(site.terms.mark);
        let changed = change(&mut self.rereading, ctx.now);
        let record = self.rereading.record(site.terms.mark);
        if record != before {
            let (pod, container) = (site.pod.uid.clone(), self.plan.container.clone());
            ctx.act(Action::Record(JournalUpdate::Rereads(pod, container, record)));
        }
        changed
    }

    fn say_unread(&self, site: &Site, next: Next, ctx: &mut Context<'_>) {
        let (Next::Say(unread), Some((_, deliveries))) = (next, self.left_how()) else { return };
        ctx.act(Action::Report(Report::Unread {
            pod: site.pod.clone(),
            container: self.plan.container.clone(),
            means: self.plan.means.clone(),
            unread,
            deliveries,
            again: self.is_told_again(),
            window: site.terms.verify,
        }));
    }
}
