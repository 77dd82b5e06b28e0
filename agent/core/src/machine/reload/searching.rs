//! The processes of a container, and what its reload does for want of them.

use std::collections::BTreeSet;

use crate::kernel::lack::Lack;
use crate::kernel::process::{NoProcess, ProcessIdentity};
use crate::machine::context::Context;
use crate::machine::event::Action;
use crate::machine::reload::process::YOUNG;
use crate::machine::reload::processes::Chosen;
use crate::machine::reload::{Site, Target, release};
use crate::model::names::Name;
use crate::model::pod::Pod;
use crate::model::time::Time;
use crate::policy::problem::{Problem, ProblemKind};

impl Target {
    /// These processes stand for the container.
    pub(crate) fn found(&mut self, site: &Site, chosen: Chosen, ctx: &mut Context<'_>) {
        self.follow_hand_over(site, &chosen, ctx);
        let held = self.processes.held_ones();
        let turnover = self.processes.found(chosen);
        self.let_go(turnover.release, &held, ctx);
        for process in turnover.hold {
            if self.lingering.remove(&process) {
                self.processes.held(&process);
            } else {
                ctx.act(Action::Hold(process));
            }
        }
        // As long as they can't be held they are looked for with growing pauses.
        if self.processes.are_held() {
            self.end_search();
        }
    }

    /// These don't stand for the container any more. Those of them that an open window is about stay held: their end is to be seen.
    pub(super) fn let_go(
        &mut self,
        processes: Vec<ProcessIdentity>,
        held: &BTreeSet<ProcessIdentity>,
        ctx: &mut Context<'_>,
    ) {
        for process in processes {
            let is_watched = self.verify.as_ref().is_some_and(|verify| verify.concerns(&process));
            if is_watched && held.contains(&process) {
                self.lingering.insert(process);
            } else {
                ctx.act(Action::Release(process));
            }
        }
    }

    /// No window is about them any more.
    pub(super) fn release_lingering(&mut self, ctx: &mut Context<'_>) {
        release(std::mem::take(&mut self.lingering), ctx);
    }

    /// There is no process to tell. `looked` says whether whoever looked did so after the last sign of a change.
    pub(crate) fn missing(&mut self, site: &Site, why: NoProcess, looked: bool, ctx: &mut Context<'_>) {
        let is_not_started = why.is_not_started();
        let held = self.processes.held_ones();
        let missing = self.processes.missing(why);
        self.let_go(missing, &held, ctx);
        let looks = self.waiting.is_some_and(|waiting| waiting.looks_since().is_some());
        // New to the journal, and nothing runs that could be older: whatever starts now reads what is there.
        if looks && looked && is_not_started {
            let fresh = self.waiting_volumes(|_, pending| pending.only_if_older);
            self.take_baseline(site, &fresh, ctx);
        }
    }

    /// Whether the pod's status says that the container runs, and a survey found nothing of it. A status that is older than the
    /// end of the container that it names says nothing.
    pub(crate) fn is_unfound(&self, pod: &Pod) -> bool {
        let is_missing = self.processes.why_missing().is_some_and(NoProcess::is_not_started);
        let running = pod.status.get(&self.plan.container);
        is_missing
            && !self.is_of_last_time
            && running.is_some_and(|running| self.ended.as_ref() != Some(running))
    }

    /// A process is gone, or another one: whether the container hung on it.
    pub(crate) fn not_held(&mut self, site: &Site, process: &ProcessIdentity, ctx: &mut Context<'_>) -> bool {
        if !self.processes.hang_on(process) {
            return false;
        }
        // One that an agent before has told isn't held yet when it ends.
        self.count_exit(site, process, Some(ctx.now), ctx);
        self.miss(process);
        self.note_end(process);
        self.processes.ended(process);
        let held = self.processes.held_ones();
        let missing = self.processes.missing(NoProcess::NotRunning);
        self.let_go(missing, &held, ctx);
        self.look(ctx.now);
        true
    }

    /// A process is held.
    pub(crate) fn held(&mut self, process: &ProcessIdentity) {
        self.processes.held(process);
        if self.processes.are_held() {
            self.end_search();
            if let Some(waiting) = &mut self.waiting {
                waiting.forget_lack();
            }
        }
    }

    /// The agent can't look at the container's processes, or can't hold them.
    pub(crate) fn lacks(&mut self, site: &Site, why: NoProcess, looked: bool, ctx: &mut Context<'_>) {
        self.missing(site, why, looked, ctx);
        // Whatever is found later is chosen anew.
        self.processes.believe();
        self.look(ctx.now);
    }

    /// The processes are looked for, if a reload waits for them. Whether they weren't before.
    pub(crate) fn look(&mut self, now: Time) -> bool {
        self.waiting.as_mut().is_some_and(|waiting| waiting.look(now))
    }

    fn end_search(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.found();
        }
    }

    /// Since when the processes are looked for.
    pub(crate) fn looks_since(&self) -> Option<Time> {
        self.waiting.and_then(|waiting| waiting.looks_since())
    }

    /// What people are told of what the agent lacks, once a reload has waited for it for long.
    pub(crate) fn say_lack(&mut self, now: Time) -> Option<Problem> {
        let Some(NoProcess::Lacking(lack)) = self.processes.why_missing() else { return None };
        let lack = *lack;
        let overdue = self.waiting.as_mut().is_some_and(|waiting| waiting.lacks(now));
        overdue.then(|| self.lack(lack))
    }

    /// A reload has waited for long for what the agent lacks.
    pub(super) fn lack(&self, lack: Lack) -> Problem {
        let container = &self.plan.container;
        let sentence = format!("container {container} isn't told of a change yet: {}", lack.sentence());
        Problem::new(ProblemKind::Agent, sentence)
    }

    /// What people are told where a supervisor stands in the place of the program, once it is old enough not to become another
    /// one.
    pub(crate) fn say_supervisor(&mut self, now: Time) -> Option<Problem> {
        let Some(why @ NoProcess::Supervised(supervisor)) = self.processes.why_missing() else { return None };
        let who = (supervisor.pid, supervisor.started);
        if now < supervisor.started + YOUNG {
            return None;
        }
        let (said, problem) = match self.supervisor.take() {
            // The names beside it come and go.
            Some((said, problem)) if said == who => (said, problem),
            Some(_) | None => {
                let container = &self.plan.container;
                let sentence = format!("container {container} isn't told of changes: {}", why.sentence());
                (who, Problem::new(ProblemKind::Supervisor, sentence))
            }
        };
        self.supervisor = Some((said, problem.clone()));
        Some(problem)
    }

    /// Another program than was chosen runs in a process: the processes are chosen anew.
    pub(crate) fn choose_anew(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.choose();
        }
        self.processes.doubt();
    }

    /// A survey was made. Of those that aren't there any more nothing is remembered after a while.
    pub(crate) fn surveyed(&mut self, is_there: impl Fn(&ProcessIdentity) -> bool, now: Time) {
        self.processes.surveyed(is_there, now);
    }

    /// The choice of processes must be made again before the next send, if the container is told of this volume.
    pub(crate) fn doubt(&mut self, volume: &Name) {
        if self.progress.contains_key(volume) {
            self.processes.doubt();
        }
    }

    /// The choice of processes was made again.
    pub(crate) const fn believe(&mut self) {
        self.processes.believe();
    }

    /// Between a swap and its settle: what can be read now needn't be read after it. Whether the processes are to be looked
    /// for again.
    pub(crate) fn prepare(&mut self, volume: &Name, ctx: &mut Context<'_>) -> bool {
        if !self.progress.contains_key(volume) {
            return false;
        }
        let again = self.processes.is_volatile();
        if again {
            self.processes.doubt();
        }
        self.read_guards(self.processes.readable(), ctx);
        again
    }
}
