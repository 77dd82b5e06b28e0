//! The send, what comes of it, and the verify window after it.

use std::borrow::Cow;

use crate::kernel::process::ProcessIdentity;
use crate::machine::context::Context;
use crate::machine::event::{Action, Delivery, ReloadReport, Report};
use crate::machine::reload::processes::Chosen;
use crate::machine::reload::progress::Pending;
use crate::machine::reload::rereading::Closing;
use crate::machine::reload::sending::{Sending, Sent, TAKEN_WITHIN};
use crate::machine::reload::verify::{End, Verify};
use crate::machine::reload::waiting::Waiting;
use crate::machine::reload::{Answered, Exit, Site, Target, release};
use crate::model::generation::Generation;
use crate::model::journal::{Endings, JournalUpdate};
use crate::model::names::Name;
use crate::model::outcome::{Outcome, Verdict};
use crate::model::time::Time;

impl Target {
    /// The signal or the request goes out to these processes: what waits is on its way.
    pub(crate) fn begin_sending(&mut self, site: &Site, to: &[ProcessIdentity], worst: Outcome, now: Time) {
        let waits = site.terms.waits;
        let due = self.due(waits);
        if self.pending().any(|(_, pending)| !pending.again) {
            // The signal of something newer is one for all that the container holds.
            self.drop_again();
        }
        if self.is_untried()
            && let Some(waiting) = &mut self.waiting
        {
            // What came of the requests for what was told before says nothing about it.
            waiting.tries_mut().renew();
        }
        let progress = self.progress.iter_mut();
        let generations =
            progress.filter_map(|(name, progress)| Some((name.clone(), progress.take_pending()?)));
        let generations = generations.collect();
        let changes = self.waiting.as_mut().and_then(Waiting::take_changes);
        if worst == Outcome::Delivered
            && let Some(waiting) = &mut self.waiting
        {
            waiting.accepted();
        }
        let sending = Sending::new(generations, due, changes, to, worst, now);
        let Some(signal) = self.plan.means.signal() else {
            self.sending = Some(sending.request(self.is_grown(site, now)));
            return;
        };
        let may_drop = self.processes.may_drop(to, signal);
        self.sending =
            Some(if may_drop.is_empty() { sending } else { sending.unseen(may_drop, now + TAKEN_WITHIN) });
    }

    /// How a process took the signal.
    pub(crate) fn answered(
        &mut self,
        site: &Site,
        process: &ProcessIdentity,
        delivery: Delivery,
        ctx: &mut Context<'_>,
    ) -> Answered {
        let Some(sending) = &mut self.sending else { return Answered::Nothing };
        sending.took(process, delivery);
        match sending.result() {
            Sent::NotYet => Answered::Nothing,
            Sent::ToNobody => {
                // It may run again already: what it is to be told is decided anew.
                self.take_back(site, ctx);
                ctx.workloads.end_turn(&self.workload, &site.pod.uid);
                Answered::Lost
            }
            Sent::So(_, was_sent) => Answered::Ended { was_sent },
        }
    }

    /// Ends a send that has ended; where anybody was sent anything, the verify window opens. What people are told comes
    /// back.
    pub(crate) fn end_sending(&mut self, site: &Site, ctx: &mut Context<'_>) -> Option<ReloadReport> {
        let Sent::So(outcome, was_sent) = self.sending.as_ref()?.result() else { return None };
        let mut sending = self.sending.take()?;
        let (opened, sight) = (sending.take_opened(), sending.sight());
        let (counts, was_ready) = self.is_grown(site, ctx.now);
        let lives_since = self.verify.as_ref().and_then(|verify| verify.lives_since(ctx.now));
        if was_sent {
            self.close(site, Verdict::Alive, Closing::Newer, ctx);
            // The journal knows who was told before it knows that somebody was.
            self.remember(site, &sending, (counts, was_ready), ctx);
        } else {
            ctx.workloads.end_turn(&self.workload, &site.pod.uid);
        }
        let reason = match sending.reason() {
            reason if outcome == Outcome::Unhandled => {
                Some(Cow::Owned(self.why_unhandled(&sending, reason.as_deref())))
            }
            reason => reason.map(|reason| Cow::Owned(reason.into_owned())),
        };
        let report = if sending.is_again() {
            self.end_again(site, &sending, outcome, reason, ctx);
            None
        } else {
            self.end_reload(site, sending.generations(), sending.due(), outcome, reason, ctx)
        };
        if was_sent {
            self.suspension.delivered(counts);
            self.last_delivery = Some(ctx.now);
            if self.plan.means.signal().is_some() {
                self.processes.were_sent(sending.receivers(), ctx.now);
            }
            self.follow_delivery(site, sending.is_again(), ctx);
            if let Some(first) = self.processes.chosen().map(Chosen::first) {
                let (sent, receivers) = (sending.begun(), sending.receivers().cloned().collect());
                let told = sending.into_generations();
                let verify = Verify::open(first.clone(), receivers, told, site.terms.verify, ctx.now);
                let mut verify = verify.sent(sent).of_ready(was_ready).after(lives_since);
                verify.dim(sight);
                self.verify = Some(verify);
            }
            if self.plan.means.request().is_some() {
                // The answer may have come late.
                self.begin_turn(site, ctx);
            }
            if let Some((volume, generation, at)) = opened {
                self.opened(site, &volume, &generation, at, ctx);
            }
        }
        report
    }

    /// Nothing was sent: what was on its way waits again. Whoever is gone isn't told a second time.
    pub(crate) fn take_back(&mut self, site: &Site, ctx: &mut Context<'_>) {
        self.put_back(site, |pending| !pending.again, ctx);
    }

    /// What was on its way waits again, as far as that is true of it.
    pub(super) fn put_back(&mut self, site: &Site, waits: impl Fn(&Pending) -> bool, ctx: &mut Context<'_>) {
        let Some(sending) = self.sending.take() else { return };
        self.waiting.get_or_insert_default().give_back(sending.changes());
        for (name, pending) in sending.into_generations().into_iter().filter(|(_, pending)| waits(pending)) {
            let superseded = match self.progress.get_mut(&name) {
                Some(progress) => progress.give_back(pending),
                None => Some(pending),
            };
            if let Some(older) = superseded.filter(|older| !older.again) {
                self.supersede(site, &name, older, ctx);
            }
        }
        self.forget_if_idle();
    }

    /// A process has ended.
    pub(crate) fn exited(
        &mut self,
        site: &Site,
        process: &ProcessIdentity,
        at: Time,
        ctx: &mut Context<'_>,
    ) -> Exit {
        self.count_exit(site, process, Some(at), ctx);
        if self.lingering.remove(process) {
            ctx.act(Action::Release(process.clone()));
        }
        if !self.processes.hang_on(process) {
            self.processes.ended(process);
            return Exit::default();
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.lose();
        }
        let who = self.named(|other| other == process);
        // Others that are told live on otherwise, and what waits is theirs still.
        let is_last = self.processes.chosen().is_some_and(|chosen| chosen.ends_with(process));
        self.note_end(process);
        self.note_request(site, process, at);
        let mut held = self.processes.held_ones();
        held.remove(process);
        let all = self.processes.forget();
        self.let_go(all, &held, ctx);
        self.processes.ended(process);
        if is_last {
            // Whatever starts now reads what is there.
            self.drop_again();
        }
        // What comes of a request says its answer.
        if let Some(sending) = self.sending.as_mut().filter(|sending| sending.as_request().is_none()) {
            sending.took(process, Delivery::Gone);
        }
        let mut report = None;
        if is_last && self.waiting.is_some_and(|waiting| waiting.is_refused()) {
            let waiting = self.waiting_volumes(|_, _| true);
            let reason = Some(Cow::Owned(format!("{who} ended without having handled the signal")));
            report = self.conclude(site, &waiting, Outcome::Unhandled, reason, ctx);
        }
        Exit { is_lost: true, report }
    }

    /// A container ends with its first process.
    pub(super) fn note_end(&mut self, process: &ProcessIdentity) {
        if self.processes.chosen().is_some_and(|chosen| chosen.first() == process) {
            self.ended = Some(process.container.clone());
        }
    }

    /// Takes in that a process has ended, as far as a delivery may be the reason, and when if that was seen.
    pub(super) fn count_exit(
        &mut self,
        site: &Site,
        process: &ProcessIdentity,
        at: Option<Time>,
        ctx: &mut Context<'_>,
    ) {
        let Some(verify) = self.verify.as_mut().filter(|verify| verify.concerns(process)) else { return };
        if !verify.has_exited() && !verify.was_ready() {
            self.maturity.ended(process, verify.delivered(), at.unwrap_or(ctx.now));
        }
        verify.exited(process, at);
        let killed = site.pod.phases.get(&self.plan.container).and_then(|phase| phase.killed.as_ref());
        if killed == Some(&process.container) {
            // The status was faster than the kernel's notification.
            self.suspension.delivered(false);
        }
        let after = at.map(|at| at.since(verify.delivered()));
        if self.suspension.exited(process, after) {
            self.blame(site, process, at.unwrap_or(ctx.now), ctx);
        } else {
            // An agent that starts doesn't count it either.
            self.close_past(site, ctx);
        }
    }

    /// These processes stand for the container by now: one that was told may have handed over to one of them.
    pub(super) fn follow_hand_over(&mut self, site: &Site, chosen: &Chosen, ctx: &mut Context<'_>) {
        while let Some(ended) = self.verify.as_mut().and_then(|verify| verify.handed_over(chosen)) {
            self.killed(site, &|process| *process == ended, ctx);
            self.maturity.lived();
            if self.verify.as_ref().is_some_and(|verify| !verify.has_exited()) {
                self.suspension.handed_over();
            }
        }
    }

    pub(super) fn record_endings(&self, site: &Site, endings: Option<Endings>, ctx: &mut Context<'_>) {
        let update = JournalUpdate::Endings(site.pod.uid.clone(), self.plan.container.clone(), endings);
        ctx.act(Action::Record(update));
    }

    /// The journal holds nothing of quick endings any more.
    pub(crate) fn drop_endings(&self, site: &Site, ctx: &mut Context<'_>) {
        if self.has_endings() {
            self.record_endings(site, None, ctx);
        }
    }

    /// Endings count in a row: a delivery after which the process lived starts the count anew.
    pub(super) fn judge(&mut self, site: &Site, ctx: &mut Context<'_>) {
        if self.suspension.judged() {
            self.record_count(site, ctx);
        }
    }

    /// Its container was sent its stop signal: how its processes end says nothing of what it was told before.
    pub(crate) fn is_stopped(&mut self, site: &Site, ctx: &mut Context<'_>) {
        self.close(site, Verdict::Alive, Closing::Over, ctx);
        self.close_past(site, ctx);
        self.end_turn(site, ctx);
    }

    /// Whether a process is one of those that it needs to be held.
    pub(crate) fn needs(&self, process: &ProcessIdentity) -> bool {
        self.lingering.contains(process) || self.processes.hang_on(process)
    }

    /// Releases every process.
    pub(crate) fn release(&mut self, site: &Site, ctx: &mut Context<'_>) {
        self.close(site, Verdict::Alive, Closing::Over, ctx);
        release(self.processes.forget(), ctx);
    }
}

/// The verify window.
impl Target {
    /// A file of a generation was opened.
    pub(crate) fn opened(
        &mut self,
        site: &Site,
        volume: &Name,
        generation: &Generation,
        at: Time,
        ctx: &mut Context<'_>,
    ) {
        if let Some(sending) = &mut self.sending {
            sending.opened(volume, generation, at);
        }
        let after = self.verify.as_mut().and_then(|verify| verify.opened(volume, generation, at));
        if let Some(after) = after {
            self.reread(site, ctx);
            let container = self.plan.container.clone();
            ctx.act(Action::Report(Report::Reread { pod: site.pod.clone(), container, after }));
        }
    }

    /// When something of the window is due.
    pub(crate) fn window_timeout(&self) -> Option<Time> {
        let sending = self.sending.as_ref().and_then(Sending::timeout);
        self.verify.as_ref().and_then(Verify::timeout).into_iter().chain(sending).min()
    }

    /// Time has passed for the window.
    pub(crate) fn handle_window_timeout(&mut self, site: &Site, ctx: &mut Context<'_>) {
        if let Some(sending) = &mut self.sending {
            sending.handle_timeout(ctx.now);
        }
        match self.verify.as_mut().map_or(End::NotYet, |verify| verify.handle_timeout(ctx.now)) {
            End::NotYet => {}
            End::Read(process) => match self.plan.means.signal() {
                Some(signal) => ctx.act(Action::ReadGuard(process, signal)),
                // Masks say nothing of a request.
                None => self.close_in_time(site, Verdict::Alive, ctx),
            },
            End::Now => self.close_in_time(site, Verdict::Alive, ctx),
        }
    }

    /// The masks of a process can't be read: it lives, as far as is known.
    pub(crate) fn unread(&mut self, site: &Site, process: &ProcessIdentity, ctx: &mut Context<'_>) {
        self.end_window(site, process, Verdict::Alive, ctx);
    }

    pub(super) fn end_window(
        &mut self,
        site: &Site,
        process: &ProcessIdentity,
        living: Verdict,
        ctx: &mut Context<'_>,
    ) {
        if self.verify.as_ref().is_some_and(|verify| verify.ends_with(process)) {
            self.close_in_time(site, living, ctx);
        }
    }

    fn close_in_time(&mut self, site: &Site, living: Verdict, ctx: &mut Context<'_>) {
        let newest = self.verify.as_ref().is_some_and(|verify| self.is_newest(site, verify));
        self.close(site, living, Closing::InTime { newest }, ctx);
    }

    /// Ends the window; `living` is the verdict where no process ended.
    fn close(&mut self, site: &Site, living: Verdict, closing: Closing, ctx: &mut Context<'_>) {
        let Some(verify) = self.verify.take() else { return };
        self.release_lingering(ctx);
        if matches!(closing, Closing::InTime { .. }) {
            self.close_past(site, ctx);
        }
        if verify.is_over(ctx.now) {
            self.judge(site, ctx);
            if verify.has_exited() {
                ctx.workloads.end_turn(&self.workload, &site.pod.uid);
            } else {
                self.maturity.lived();
                ctx.workloads.lived(&self.workload, &site.pod.uid);
            }
        }
        let (verdict, reread) = verify.verdict(living, self.processes.chosen().map(Chosen::first));
        let container = self.plan.container.clone();
        ctx.act(Action::Report(Report::Verdict { pod: site.pod.clone(), container, verdict, reread }));
        if verdict == Verdict::Alive {
            self.follow_unread(site, &verify, closing, ctx);
        }
    }
}
