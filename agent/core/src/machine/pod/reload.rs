//! A reload on its way: its next step, the guard, the send, and what comes of it.

use super::*;

impl PodMachine {
    /// Carries out the next steps of every waiting reload, until each waits for something.
    pub(crate) fn advance(&mut self, ctx: &mut Context<'_>) {
        self.unsent = false;
        for index in 0..self.targets.len() {
            self.advance_target(index, ctx);
        }
        self.nudge(ctx);
        self.follow_opens(ctx);
    }

    fn advance_target(&mut self, index: usize, ctx: &mut Context<'_>) {
        self.targets[index].decide_older();
        loop {
            let step = self.next_step(index, ctx.now);
            let target = &mut self.targets[index];
            match step {
                Step::Idle | Step::Await | Step::Until(_) => return,
                Step::Survey => {
                    self.look_for_process(index, ctx);
                    return;
                }
                Step::Guard(processes) => {
                    target.ask_guards(&processes, ctx.now);
                    for process in processes {
                        ctx.act(Action::ReadGuard(process, target.plan.signal));
                    }
                    return;
                }
                Step::Refused => {
                    self.refused(index, ctx);
                    return;
                }
                Step::Send(..) if self.sends_left == 0 => {
                    self.unsent = true;
                    return;
                }
                Step::Send(processes, worst) => {
                    self.sends_left = self.sends_left.saturating_sub(processes.len());
                    let signal = target.plan.signal;
                    target.begin_sending(&processes, worst, self.waits);
                    self.follow_opens(ctx);
                    for process in processes {
                        ctx.act(Action::Send(process, signal));
                    }
                    return;
                }
                Step::End(volumes, outcome, reason) => self.conclude(index, &volumes, outcome, reason, ctx),
                Step::Baseline(volumes) => {
                    for name in volumes {
                        let pending = self.targets[index].volumes.get(&name).and_then(|v| v.pending.clone());
                        if let Some(pending) = pending {
                            self.take_baseline(index, &name, pending.generation, ctx);
                        }
                    }
                }
            }
        }
    }

    pub(super) fn next_step(&self, index: usize, now: Time) -> Step {
        let digest_of = |name: &Name, generation: &Generation| {
            let Some(volume) = self.volumes.get(name) else { return NeededDigest::NotNeeded };
            if self.may_be_ignored(name, generation) {
                let settled = volume.state.settled().map(|settled| settled.settled).unwrap_or(now);
                return if now < settled + measure::IGNORED_WAITS {
                    NeededDigest::Reading
                } else {
                    NeededDigest::NotNeeded
                };
            }
            let same = match &volume.ignored {
                Ignored::Everything => return NeededDigest::Excluded,
                Ignored::Paths(_) => Outcome::Excluded,
                Ignored::Nothing => Outcome::Unchanged,
            };
            match &volume.digest {
                _ if !Self::needs_digest(volume) => NeededDigest::NotNeeded,
                Some((known, digest)) if known == generation => {
                    digest.map_or(NeededDigest::Reading, |digest| NeededDigest::Known(digest, same))
                }
                Some(_) | None => NeededDigest::Known(None, same),
            }
        };
        let surveying = self.survey.running || self.has_survey_to_come(index);
        self.targets[index].step(now, self.waits, self.plan.send_unhandled, surveying, digest_of)
    }

    fn refused(&mut self, index: usize, ctx: &mut Context<'_>) {
        let target = &mut self.targets[index];
        match &mut target.unhandled {
            Some(retry) => retry.again(ctx.now),
            None => target.unhandled = Some(Retry::begin(ctx.now)),
        }
        let overdue = target.unhandled.is_some_and(|retry| ctx.now >= retry.since + PATIENCE);
        if overdue && !target.unhandled_said {
            target.unhandled_said = true;
            let (container, signal) = (&target.plan.container, target.plan.signal);
            let sentence = if target.is_unreadable() {
                format!(
                    "whether container {container} handles {signal} isn't known, since it has too many threads or its \
                     threads take too long to look at: nothing is sent until that is known"
                )
            } else {
                format!(
                    "container {container} doesn't handle {signal}: nothing is sent until it does; handle the signal, \
                     or set reloadlet.io/unhandled to send"
                )
            };
            self.set_problem(Some(Problem::new(ProblemKind::Unhandled, sentence)), ctx);
        }
    }

    pub(super) fn set_problem(&mut self, problem: Option<Problem>, ctx: &mut Context<'_>) {
        if self.problem == problem {
            return;
        }
        ctx.act(Action::Report(match &problem {
            Some(problem) => Report::Problem(self.pod.clone(), problem.clone()),
            None => Report::Solved(self.pod.clone()),
        }));
        self.problem = problem;
    }

    /// Ends these volumes' waiting generations.
    pub(super) fn conclude(
        &mut self,
        index: usize,
        names: &[Name],
        outcome: Outcome,
        reason: Option<&'static str>,
        ctx: &mut Context<'_>,
    ) {
        let target = &mut self.targets[index];
        let due = target.due(self.waits);
        let waiting = |name: &Name| Some((name.clone(), target.volumes.get_mut(name)?.pending.take()?));
        let ended: Vec<(Name, Pending)> = names.iter().filter_map(waiting).collect();
        self.ended(index, &ended, due, outcome, reason, ctx);
    }

    /// These generations have ended.
    fn ended(
        &mut self,
        index: usize,
        ended: &[(Name, Pending)],
        due: Time,
        outcome: Outcome,
        reason: Option<&'static str>,
        ctx: &mut Context<'_>,
    ) {
        if ended.is_empty() {
            return;
        }
        let holds_it = outcome.reached();
        for (name, pending) in ended {
            let told = self.known_digest(name, &pending.generation).filter(|_| holds_it);
            if let Some(volume) = self.targets[index].volumes.get_mut(name) {
                volume.handled = Some(pending.generation.clone());
                volume.holds_it = holds_it;
                volume.told = told;
            }
        }
        if let Some(report) = report::ended(&self.pod, &self.targets[index], due, ended, outcome, reason, ctx)
        {
            self.say(report, ctx);
        }
        self.targets[index].last = Some((outcome, ctx.now));
        self.targets[index].unhandled_said &= outcome != Outcome::Delivered;
        self.targets[index].forget_if_idle();
        self.solve_unhandled(ctx);
    }

    fn solve_unhandled(&mut self, ctx: &mut Context<'_>) {
        let said = |target: &Target| target.unhandled_said || target.lack_said || target.is_held();
        let of_root = self.problem.as_ref().is_some_and(|problem| problem.kind == ProblemKind::KubeletRoot);
        if !of_root && !self.targets.iter().any(said) {
            self.set_problem(None, ctx);
        }
    }

    pub(crate) fn guarded(
        &mut self,
        process: &ProcessIdentity,
        reading: Option<&GuardReading>,
        ctx: &mut Context<'_>,
    ) {
        let Some(reading) = reading else {
            self.exited(process, ctx.now, ctx);
            return;
        };
        for target in &mut self.targets {
            target.guarded(process, reading, ctx.now);
            verify::guarded(&self.pod, target, process, reading, ctx);
        }
    }

    pub(crate) fn delivered(&mut self, process: &ProcessIdentity, delivery: Delivery, ctx: &mut Context<'_>) {
        for index in 0..self.targets.len() {
            let target = &mut self.targets[index];
            let Some(sending) = &mut target.sending else { continue };
            for (_, result) in sending.results.iter_mut().filter(|(sent, _)| sent == process) {
                result.get_or_insert(delivery);
            }
            let results: Option<Vec<Delivery>> = sending.results.iter().map(|(_, result)| *result).collect();
            let Some(results) = results else { continue };
            if results.iter().all(|result| *result == Delivery::Gone) {
                // It may run again already: what it is to be told is decided anew.
                self.take_back(index, ctx);
                self.exited(process, ctx.now, ctx);
                continue;
            }
            let Some(sending) = target.sending.take() else { continue };
            let worst = results.iter().map(|result| result.outcome()).fold(sending.worst, Outcome::max);
            let was_sent = results.contains(&Delivery::Sent);
            if was_sent {
                self.say_all(ctx);
                let target = &mut self.targets[index];
                verify::close(&self.pod, target, Verdict::Alive, ctx);
            }
            self.ended(index, &sending.generations, sending.due, worst, None, ctx);
            if was_sent {
                let told = &sending.generations;
                verify::open(&self.pod, &mut self.targets[index], told, self.plan.verify, ctx);
            }
        }
    }

    /// A send that came to nothing: its generations wait again.
    pub(super) fn take_back(&mut self, index: usize, ctx: &mut Context<'_>) {
        for (name, older) in self.targets[index].take_back() {
            report::superseded(self.pod.clone(), &self.targets[index], &name, older, ctx);
        }
    }

    pub(crate) fn exited(&mut self, process: &ProcessIdentity, at: Time, ctx: &mut Context<'_>) {
        let mut lost = false;
        for index in 0..self.targets.len() {
            let target = &mut self.targets[index];
            let ended = verify::exited(target, process, at);
            if ended {
                self.count_ending(index, ctx);
            }
            let target = &mut self.targets[index];
            if !target.hangs_on(process) {
                continue;
            }
            lost = true;
            target.lost = target.is_waiting();
            for held in target.held_processes() {
                ctx.act(Action::Release(held));
            }
            target.resolution = Resolution::Unknown;
            if let Some(sending) = &mut target.sending {
                for (_, result) in sending.results.iter_mut().filter(|(sent, _)| sent == process) {
                    result.get_or_insert(Delivery::Gone);
                }
            }
            if target.unhandled.is_some() {
                let waiting = target.waiting_volumes(|_, _| true);
                let reason = "the process ended without having handled the signal";
                self.conclude(index, &waiting, Outcome::Unhandled, Some(reason), ctx);
            }
        }
        if lost {
            self.survey.retry = Some(Retry::begin(ctx.now));
            self.begin_survey(ctx);
        }
    }

    fn count_ending(&mut self, index: usize, ctx: &mut Context<'_>) {
        let target = &mut self.targets[index];
        target.endings = target.endings.saturating_add(1);
        let endings = Endings { in_a_row: target.endings, plan: self.plan_mark };
        let (uid, container) = (self.pod.uid.clone(), target.plan.container.clone());
        ctx.act(Action::Record(JournalUpdate::Endings(uid, container, Some(endings))));
        self.say_held(ctx);
    }

    pub(super) fn say_held(&mut self, ctx: &mut Context<'_>) {
        let Some(target) = self.targets.iter().find(|target| target.is_held()) else { return };
        let sentence = format!(
            "container {} ended within a second of two {}s in a row: further ones are held until the pod's \
             annotations change; the program catches the signal in order to end, or can't load the new files",
            target.plan.container, target.plan.signal
        );
        self.set_problem(Some(Problem::new(ProblemKind::Held, sentence)), ctx);
    }
}
