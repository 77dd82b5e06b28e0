//! What the agent itself lacks: reloads wait for it, and none ends of it.

use super::*;

impl PodMachine {
    /// The containers can't be looked at. Processes that are held stay held; the survey is made again with growing pauses.
    pub(crate) fn not_surveyed(&mut self, lack: Lack, ctx: &mut Context<'_>) {
        self.survey.running = false;
        self.survey.again = false;
        self.survey.fresh_mounts = true;
        for index in 0..self.targets.len() {
            if self.targets[index].stale_choice || !self.targets[index].is_found() {
                self.take_lack(index, lack, ctx);
            }
        }
        let retry = self.survey.retry.get_or_insert_with(|| Retry::begin(ctx.now));
        if ctx.now >= retry.next {
            retry.again(ctx.now);
        }
    }

    /// A process can't be held, or its masks can't be read: what waits for it looks for it again, but not at once.
    pub(crate) fn lacked(&mut self, process: &ProcessIdentity, lack: Lack, ctx: &mut Context<'_>) {
        for index in 0..self.targets.len() {
            verify::unread(&self.pod, &mut self.targets[index], process, ctx);
            if self.targets[index].hangs_on(process) {
                self.take_lack(index, lack, ctx);
            }
        }
        if self.targets.iter().any(Target::is_waiting) {
            self.survey.retry.get_or_insert_with(|| Retry::begin(ctx.now));
        }
    }

    fn take_lack(&mut self, index: usize, lack: Lack, ctx: &mut Context<'_>) {
        self.take_missing(index, NoProcess::Lacking(lack), ctx);
        let target = &mut self.targets[index];
        // Whatever is found later is chosen anew.
        target.stale_choice = false;
        if target.is_waiting() {
            target.missing.get_or_insert_with(|| Retry::begin(ctx.now));
        }
    }

    /// Says what the agent lacks once a reload has waited for it for long.
    pub(super) fn say_lack(&mut self, index: usize, ctx: &mut Context<'_>) {
        let target = &mut self.targets[index];
        let Resolution::Missing(NoProcess::Lacking(lack)) = target.resolution else { return };
        let overdue = target.missing.is_some_and(|retry| ctx.now >= retry.since + PATIENCE);
        if overdue && !std::mem::replace(&mut target.lack_said, true) {
            let sentence = format!(
                "container {} isn't told of a change yet: {}",
                target.plan.container,
                lack.sentence()
            );
            self.set_problem(Some(Problem::new(ProblemKind::Agent, sentence)), ctx);
        }
    }

    /// Nothing is lacking any more, as far as that was said.
    pub(super) fn solve_lack(&mut self, ctx: &mut Context<'_>) {
        let was_said = self.problem.as_ref().is_some_and(|problem| problem.kind == ProblemKind::Agent);
        if was_said && !self.targets.iter().any(|target| target.lack_said) {
            self.set_problem(None, ctx);
        }
    }

    /// What is wrong with the kubelet root, or that nothing is any more.
    pub(crate) fn set_kubelet_root(&mut self, sentence: Option<&str>, ctx: &mut Context<'_>) {
        let was_said = self.problem.as_ref().is_some_and(|problem| problem.kind == ProblemKind::KubeletRoot);
        if let Some(sentence) = sentence {
            self.set_problem(Some(Problem::new(ProblemKind::KubeletRoot, sentence)), ctx);
        } else if was_said {
            self.set_problem(None, ctx);
        }
    }
}
