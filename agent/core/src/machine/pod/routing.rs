//! What happens to a pod's volumes and processes goes to the reloads that it concerns.

use crate::kernel::guard::GuardReading;
use crate::kernel::lack::Lack;
use crate::kernel::process::{NoProcess, ProcessIdentity};
use crate::machine::context::Context;
use crate::machine::event::{Action, Answer, ContainerFacts, Delivery, Report};
use crate::machine::pod::PodMachine;
use crate::machine::pod::leaves::Leaves;
use crate::machine::reload::sight::Sight;
use crate::machine::reload::{Answered, Target};
use crate::machine::volume::{How, Listing, News, Settled, Volume};
use crate::model::generation::Generation;
use crate::model::names::Name;
use crate::model::signal::Signal;
use crate::model::time::Time;

/// From what happens to a volume to the reloads that wait for it.
impl PodMachine {
    /// `..data` names another generation.
    pub(crate) fn swapped(
        &mut self,
        volume: &Name,
        generation: Option<Generation>,
        at: Time,
        ctx: &mut Context<'_>,
    ) {
        self.take_news(volume, ctx, |state| state.swapped(generation, at));
    }

    /// A generation was removed.
    pub(crate) fn removed(
        &mut self,
        volume: &Name,
        generation: &Generation,
        at: Time,
        ctx: &mut Context<'_>,
    ) {
        self.take_news(volume, ctx, |state| state.removed(generation, at));
    }

    /// The volume's directory is gone.
    pub(crate) fn torn_down(&mut self, volume: &Name, at: Time, ctx: &mut Context<'_>) {
        self.take_news(volume, ctx, |state| state.torn_down(at));
    }

    /// The volume's directory was listed.
    pub(crate) fn listed(&mut self, volume: &Name, listing: &Listing, ctx: &mut Context<'_>) {
        let now = ctx.now;
        let rebuilds = |pod: &Self| pod.site.volumes.get(volume).map(|watched| watched.state().rebuilds());
        let before = rebuilds(self);
        self.take_news(volume, ctx, |state| state.listed(listing, now));
        if let Some((generation, reading)) =
            self.site.volumes.get_mut(volume).and_then(|volume| volume.look_again())
        {
            self.begin_read(volume, generation, reading, ctx);
        }
        self.say_layout(ctx);
        if rebuilds(self) != before {
            // What the container sees of it isn't known.
            self.targets.iter_mut().for_each(|target| target.doubt(volume));
            self.surveys.doubt_mounts();
            self.begin_survey(ctx);
        }
    }

    pub(super) fn take_news(
        &mut self,
        name: &Name,
        ctx: &mut Context<'_>,
        what: impl FnOnce(&mut Volume) -> News,
    ) {
        let Some(watched) = self.site.volumes.get_mut(name) else { return };
        let happened = watched.take(what);
        if happened.swapped {
            ctx.act(Action::Report(Report::Swapped(watched.plan().kind)));
        }
        if let Some(swapped) = happened.displaced {
            self.targets.iter_mut().for_each(|target| target.displaced(name, swapped));
        }
        match happened.news {
            News::Nothing => {}
            News::List => ctx.act(Action::List(self.volume_ref(name))),
            News::Swapped(generation) => self.prepare(name, &generation, ctx),
            News::Settled(settled) => {
                if happened.timed_out {
                    ctx.act(Action::Report(Report::SettleTimedOut(self.volume_ref(name))));
                }
                self.settled(name, &settled, ctx);
            }
        }
    }

    /// Between a swap and its settle: what can be read now needn't be read after it.
    fn prepare(&mut self, name: &Name, generation: &Generation, ctx: &mut Context<'_>) {
        self.want_contents(name, generation, ctx);
        let mut survey = false;
        for target in &mut self.targets {
            survey |= target.prepare(name, ctx);
        }
        if survey {
            self.begin_survey(ctx);
        }
    }

    fn settled(&mut self, name: &Name, settled: &Settled, ctx: &mut Context<'_>) {
        if settled.how == How::Changed {
            let took = settled.settled.since(settled.swapped);
            ctx.act(Action::Report(Report::Settled(took)));
        }
        self.want_contents(name, &settled.generation, ctx);
        for target in &mut self.targets {
            target.settled(&self.site, name, settled, self.as_is, ctx);
        }
    }
}

/// From what happens to processes to the reloads that wait for them.
impl PodMachine {
    /// Somebody has told the pod: it isn't one of last time any more.
    pub(crate) fn told(&mut self, ctx: &mut Context<'_>) {
        self.targets.iter_mut().for_each(|target| target.set_of_last_time(false));
        self.begin_survey(ctx);
    }

    /// Containers came or went.
    pub(crate) fn cgroup_changed(&mut self, ctx: &mut Context<'_>) {
        if self.needs_surveys() {
            self.surveys.containers_changed(ctx.now);
            self.begin_survey(ctx);
        }
    }

    /// The survey is there.
    pub(crate) fn surveyed(&mut self, containers: &[ContainerFacts], ctx: &mut Context<'_>) {
        let leaves = Leaves::of(&self.site.pod, containers, self.surveys.begun());
        let again = self.surveys.is_wanted_again();
        for target in &mut self.targets {
            match leaves.find(target, self.plan.process.as_deref()) {
                Ok(chosen) => target.found(&self.site, chosen, ctx),
                Err(why) => target.missing(&self.site, why, !again, ctx),
            }
            target.look_for_told(&self.site, |process| leaves.runs(process), ctx);
            target.surveyed(|process| leaves.is_there(process), ctx.now);
        }
        self.restarts.surveyed(&self.site, &leaves, ctx);
        self.starts.take_in(&leaves, &self.frozen);
        self.absolve_all(ctx);
        self.note_starts(|_| true);
        self.read_told(ctx);
        let supervisor = self.targets.iter_mut().find_map(|target| target.say_supervisor(ctx.now));
        self.say_restarts(ctx);
        self.remember(ctx);
        let is_too_much =
            |target: &Target| matches!(target.processes().why_missing(), Some(&NoProcess::TooMuch));
        self.surveys.came(self.targets.iter().any(is_too_much), ctx.now);
        if self.surveys.take_again() {
            self.begin_survey(ctx);
        } else {
            // A survey that was begun before the change that made the choice doubtful doesn't stand for it.
            self.targets.iter_mut().for_each(Target::believe);
        }
        let missing = self.targets.iter().any(|target| !target.processes().are_held());
        // What is withheld is told once a process has lived for long enough, unless it is a supervisor.
        let will_be_told = |target: &Target| {
            let is_supervised = matches!(target.processes().why_missing(), Some(NoProcess::Supervised(_)));
            target.withholds() && !is_supervised
        };
        let waiting = self.is_waiting() || self.targets.iter().any(will_be_told);
        self.surveys.pace(missing, waiting, ctx.now);
        if supervisor.is_some() {
            self.set_problem(supervisor, ctx);
        }
        self.say_layout(ctx);
    }

    /// The containers can't be looked at. Processes that are held stay held; the survey is made again with growing pauses.
    pub(crate) fn not_surveyed(&mut self, lack: Lack, ctx: &mut Context<'_>) {
        self.restarts.not_surveyed(lack, ctx.now);
        self.surveys.failed();
        for target in &mut self.targets {
            if target.processes().is_doubtful() || !target.processes().are_held() {
                target.lacks(&self.site, NoProcess::Lacking(lack), true, ctx);
            }
        }
        if self.needs_surveys() {
            self.surveys.pace_failures(ctx.now);
        }
    }

    /// A process can't be held, or its masks can't be read: what waits for it looks for it again, but not at once.
    pub(crate) fn lacked(&mut self, process: &ProcessIdentity, lack: Lack, ctx: &mut Context<'_>) {
        let again = self.surveys.is_wanted_again();
        self.restarts.lacked(process, lack, ctx.now);
        for target in &mut self.targets {
            target.unread(&self.site, process, ctx);
            if target.processes().hang_on(process) {
                target.lacks(&self.site, NoProcess::Lacking(lack), !again, ctx);
            }
        }
        if self.is_waiting() {
            self.surveys.keep_looking(ctx.now);
        }
    }

    /// The process is gone or another one: look again, but not at once.
    pub(crate) fn not_held(&mut self, process: &ProcessIdentity, ctx: &mut Context<'_>) {
        self.restarts.not_held(process);
        for target in &mut self.targets {
            if target.not_held(&self.site, process, ctx) && target.is_waiting() {
                self.surveys.keep_looking(ctx.now);
            }
        }
        self.absolve(&process.container, ctx);
    }

    /// The identity was checked after the pidfd was opened.
    pub(crate) fn held(&mut self, process: &ProcessIdentity) {
        self.restarts.held(process);
        self.targets.iter_mut().for_each(|target| target.held(process));
        if self.targets.iter().all(|target| target.processes().are_held()) {
            self.surveys.stop_looking();
        }
    }

    /// A process's masks were read with regard to a signal; `None`: it is gone.
    pub(crate) fn guarded(
        &mut self,
        process: &ProcessIdentity,
        signal: Signal,
        reading: Option<&GuardReading>,
        ctx: &mut Context<'_>,
    ) {
        let Some(reading) = reading else {
            self.exited(process, ctx.now, ctx);
            return;
        };
        self.restarts.guarded(process, signal, reading, ctx);
        // Of another signal, which they were asked for under another plan, they may say something wrong.
        for target in self.targets.iter_mut().filter(|target| target.means().signal() == Some(signal)) {
            target.guarded(&self.site, process, reading, ctx);
        }
    }

    /// How a process took the signal.
    pub(crate) fn delivered(&mut self, process: &ProcessIdentity, delivery: Delivery, ctx: &mut Context<'_>) {
        let (mut is_lost, mut is_any_sent) = (false, false);
        for target in &mut self.targets {
            match target.answered(&self.site, process, delivery, ctx) {
                Answered::Nothing => {}
                Answered::Lost => is_lost = true,
                Answered::Ended { was_sent } => is_any_sent |= was_sent,
            }
        }
        if is_any_sent {
            self.say_all(ctx);
        }
        self.end_sends(ctx);
        if is_lost {
            self.exited(process, ctx.now, ctx);
        }
    }

    /// How the request to a process's pod ended that was begun then.
    pub(crate) fn answered(
        &mut self,
        process: &ProcessIdentity,
        begun: Time,
        answer: &Answer,
        ctx: &mut Context<'_>,
    ) {
        let mut targets = self.targets.iter_mut();
        let delivery =
            targets.find_map(|target| target.judge_answer(&self.site, process, begun, answer, ctx));
        if let Some(delivery) = delivery {
            self.delivered(process, delivery, ctx);
        }
    }

    /// Ends each send of which is known what came of it.
    pub(super) fn end_sends(&mut self, ctx: &mut Context<'_>) {
        let ended = self.targets.iter_mut().filter_map(|target| target.end_sending(&self.site, ctx));
        let reports = ended.collect();
        self.say_each(reports, ctx);
    }

    /// A process has ended.
    pub(crate) fn exited(&mut self, process: &ProcessIdentity, at: Time, ctx: &mut Context<'_>) {
        let mut lost = false;
        let mut reports = Vec::new();
        self.restarts.exited(process, ctx.now);
        for target in &mut self.targets {
            let exit = target.exited(&self.site, process, at, ctx);
            lost |= exit.is_lost;
            reports.extend(exit.report);
        }
        self.absolve(&process.container, ctx);
        self.say_each(reports, ctx);
        self.read_told(ctx);
        if lost {
            self.surveys.look(ctx.now);
            self.begin_survey(ctx);
        }
    }

    /// A process that has ended was ended by something that no signal of ours does.
    pub(crate) fn killed(&mut self, process: &ProcessIdentity, ctx: &mut Context<'_>) {
        for target in &mut self.targets {
            target.killed(&self.site, &|other| other == process, ctx);
        }
    }

    /// A file of a generation was opened.
    pub(crate) fn opened(&mut self, volume: &Name, generation: &Generation, at: Time, ctx: &mut Context<'_>) {
        self.end_opened(volume, generation, ctx);
        self.targets.iter_mut().for_each(|target| target.opened(&self.site, volume, generation, at, ctx));
        self.end_sends(ctx);
    }

    /// Somebody looked through a generation's directory.
    pub(crate) fn looked_through(&mut self, volume: &Name, generation: &Generation) {
        self.targets.iter_mut().for_each(|target| target.looked_through(volume, generation));
    }

    /// It isn't seen any more whether a generation's files are opened.
    pub(crate) fn opens_unseen(&mut self, volume: &Name, generation: &Generation) {
        if let Some(watched) = self.site.volumes.get_mut(volume) {
            watched.opens_unseen(generation);
        }
        self.targets.iter_mut().for_each(|target| target.dim(volume, generation, Sight::Blind));
    }

    fn is_waiting(&self) -> bool {
        self.targets.iter().any(Target::is_waiting)
    }
}
