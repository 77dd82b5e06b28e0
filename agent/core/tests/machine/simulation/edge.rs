//! The agent's edges: what the machine asks for is done and answered, sooner or later.

use super::*;
use crate::journal::apply;
use reloadlet_core::Action;
use reloadlet_core::machine::event::{Delivery, Report, Shown};

impl Simulation {
    pub(super) fn carry_out_edge(&mut self, todo: Todo) {
        match todo {
            Todo::StartAgent => self.start_agent(),
            Todo::Wake => self.wake(),
            Todo::Event(life, event) => self.agent_event(life, event),
            Todo::Notify(life, epoch, event) => {
                if epoch == self.queue_epoch {
                    self.agent_event(life, event);
                }
            }
            Todo::BeginListing(life, volume) => {
                let pause = self.micros(2_000);
                self.push(pause, Todo::MakeListing(life, volume, self.now));
            }
            Todo::MakeListing(life, volume, begun) => {
                let mut listing = self.node.listing(&volume, begun);
                if let Some((_, linked)) = &mut listing.current {
                    *linked = (*linked + self.clock_ahead).min(self.now);
                }
                let pause = self.slow_for(&volume.pod);
                self.push(pause, Todo::Event(life, Event::Listed(volume, listing)));
            }
            Todo::MakeSurvey(life, uid) => {
                let facts = self.node.survey(&uid);
                let pause = self.slow_for(&uid);
                self.push(pause, Todo::Event(life, Event::Surveyed(uid, facts)));
            }
            Todo::Read(life, volume, generation, reading) => {
                let contents = self.node.contents(&volume, &generation);
                let pause = self.micros(10_000);
                self.push(pause, Todo::Event(life, Event::Read(volume, generation, reading, contents)));
            }
            Todo::Open(life, volume, generation) => {
                // A watch goes off once.
                let watch = (volume.clone(), generation.clone());
                if life == self.life && self.opens.contains(&watch) && self.gone_off.insert(watch) {
                    let pause = self.slow_at_times();
                    self.push(pause, Todo::Event(life, Event::Opened(volume, generation, self.now)));
                }
            }
            Todo::Hold(life, process) => {
                if life == self.life && self.wanted.contains(&process) {
                    let is_there = self.node.process(&process).is_some();
                    if is_there {
                        self.held.insert(process.clone());
                    }
                    self.answer(if is_there { Event::Held(process) } else { Event::NotHeld(process) });
                }
            }
            Todo::Connect(life, call) => self.connect(life, call),
            Todo::Respond(number) => self.respond(number),
            Todo::Act
            | Todo::Address(_)
            | Todo::Unlink(_)
            | Todo::Rebuild(_)
            | Todo::Expire(..)
            | Todo::Exec(_)
            | Todo::Handle(_)
            | Todo::BecomeInit(_)
            | Todo::Renew(_)
            | Todo::Boot(_)
            | Todo::Booted(_)
            | Todo::StartContainer(_)
            | Todo::Exit(_)
            | Todo::Fork(_)
            | Todo::Show(..)
            | Todo::ShowKill(..)
            | Todo::Sync(_) => self.carry_out(todo),
        }
    }

    /// Mostly a millisecond, at times seconds.
    fn slow_at_times(&mut self) -> Duration {
        match self.rng.below(100) {
            0 => self.micros(20_000_000),
            1..5 => self.micros(200_000),
            _ => self.micros(2_000),
        }
    }

    /// The same, unless it is a replica: others don't wait for longer than some seconds for what comes of one.
    pub(super) fn slow_for(&mut self, pod: &PodUid) -> Duration {
        if self.is_replica(pod) { self.micros(2_000) } else { self.slow_at_times() }
    }

    /// The loop's own answers keep their order.
    pub(super) fn answer(&mut self, event: Event) {
        let pause = self.micros(200);
        self.last_answered = self.last_answered.max(self.now + pause);
        self.push(self.last_answered.since(self.now), Todo::Event(self.life, event));
    }

    /// A notification of something in a watched pod; they keep their order.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else happens isn't notified")]
    pub(super) fn notify(&mut self, event: Event) {
        let pod = match &event {
            Event::Swapped(volume, ..) | Event::Removed(volume, ..) | Event::TornDown(volume, _) => {
                &volume.pod
            }
            Event::CgroupChanged(pod) => pod,
            other => panic!("no notification: {other:?}"),
        };
        if self.watched.contains(pod) {
            let pause = self.micros(500);
            self.last_notified = self.last_notified.max(self.now + pause);
            let notify = Todo::Notify(self.life, self.queue_epoch, event);
            self.push(self.last_notified.since(self.now), notify);
        }
    }

    /// Whatever can be read by now: a listing is taken in after the notifications that are older than it.
    fn read_notifications(&mut self) {
        let is_one = |todo: &Todo| matches!(todo, Todo::Notify(life, epoch, _) if (*life, *epoch) == (self.life, self.queue_epoch));
        let due: Vec<(Time, u64)> =
            self.todo.iter().filter(|(_, todo)| is_one(todo)).map(|(due, _)| *due).collect();
        for due in due {
            if let Some(Todo::Notify(_, _, event)) = self.todo.remove(&due) {
                self.take_event(event);
            }
        }
    }

    pub(super) fn overflow(&mut self) {
        self.queue_epoch += 1;
        let pause = self.micros(500);
        self.push(pause, Todo::Event(self.life, Event::Overflowed));
    }

    pub(super) fn stall(&mut self) {
        let pause = self.micros(5_000_000);
        self.stalled_until = self.now + pause;
        self.push(pause, Todo::Wake);
    }

    pub(super) fn kill_agent(&mut self) {
        if self.machine.take().is_none() {
            return;
        }
        let cut = self.now - self.micros(10_000);
        for (written, update) in std::mem::take(&mut self.uncommitted) {
            if written <= cut {
                apply(&mut self.journal, update);
            } else {
                self.checks.lost(&update);
                self.asking.lost(&update);
                self.forget_told(&update);
                self.forget_carried(&update);
            }
        }
        self.life += 1;
        self.forget_asked();
        self.asking.new_life();
        self.excuse(|_| true);
        self.proven.clear();
        self.wanted.clear();
        self.held.clear();
        self.opens.clear();
        self.gone_off.clear();
        self.watched.clear();
        self.shown.clear();
        self.waiting.clear();
        self.checks.new_life();
        let pause = self.micros(5_000_000);
        self.push(pause, Todo::StartAgent);
    }

    fn start_agent(&mut self) {
        self.machine = Some(Machine::new());
        self.clock_ahead = if self.rng.percent(20) { self.micros(60_000_000) } else { Duration::ZERO };
        let pauses = [self.micros(50_000), self.micros(50_000)];
        self.push(pauses[0], Todo::Event(self.life, Event::JournalRead(self.journal.clone())));
        self.push(pauses[1], Todo::Sync(self.life));
    }

    pub(super) fn agent_timeout(&mut self) {
        let Some(machine) = &mut self.machine else { return };
        machine.handle_timeout(self.now);
        let next = machine.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "{next:?} is due still at {:?}", self.now);
        self.take_actions("a timer");
    }

    pub(super) fn agent_event(&mut self, life: u32, event: Event) {
        if life != self.life {
            // A listing of pods that was on its way when the agent was killed comes to the next one.
            if let Event::PodsSynced(_) = event {
                self.push(ms(100), Todo::Sync(self.life));
            }
            return;
        }
        if self.now < self.stalled_until || !self.waiting.is_empty() {
            self.waiting.push_back(event);
            return;
        }
        self.take_event(event);
    }

    /// The loop goes on after a stall.
    pub(super) fn wake(&mut self) {
        if self.now < self.stalled_until {
            self.push(self.stalled_until.since(self.now), Todo::Wake);
            return;
        }
        for event in std::mem::take(&mut self.waiting) {
            self.take_event(event);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "everything else is taken in as it is")]
    fn take_event(&mut self, event: Event) {
        // The time of a notification is the time at which it is read.
        let event = match event {
            Event::Swapped(volume, generation, _) => Event::Swapped(volume, generation, self.now),
            Event::Removed(volume, generation, _) => Event::Removed(volume, generation, self.now),
            Event::TornDown(volume, _) => Event::TornDown(volume, self.now),
            Event::Opened(volume, generation, _) => {
                // What is read during a request counts only if a delivery comes of that.
                if !self.is_asked(&volume.pod) {
                    self.proven.insert(volume.pod.clone());
                }
                Event::Opened(volume, generation, self.now)
            }
            // The loop reads masks itself, and takes them in at once.
            Event::Guarded(process, signal, Some(reading)) if reading.nature.is_none() => {
                let reading = self.node.guard(&process, self.now);
                Event::Guarded(process, signal, reading)
            }
            // An open may be lost too.
            Event::Overflowed => {
                self.excuse(|_| true);
                event
            }
            // Pods are listed as they are by now, or not at all.
            Event::PodsSynced(pods) if !pods.is_empty() => Event::PodsSynced(self.listed()),
            Event::Listed(..) => {
                self.read_notifications();
                event
            }
            event => event,
        };
        if self.machine.is_none() {
            if let Event::PodsSynced(_) = event {
                self.push(ms(1_000), Todo::Sync(self.life));
            }
            return;
        }
        if let Event::PodsSynced(pods) = &event {
            self.forget_proofs(pods);
            self.asking.listed(pods);
            for pod in pods {
                let ids = pod.status.iter().filter_map(|(name, id)| Some((id, pod.phases.get(name)?)));
                self.shown.extend(ids.map(|(id, phase)| (id.clone(), phase.clone())));
            }
        }
        match &event {
            Event::Answered(process, begun, answer) => {
                let telling = self.telling(&process.pod);
                self.asking.answers(process, *begun, answer, &telling);
            }
            Event::Exited(process, _) => self.asking.ended(process),
            _ => {}
        }
        let what = format!("{event:?}");
        self.trace(&what);
        if let Some(machine) = &mut self.machine {
            machine.handle(self.now, event);
        }
        self.take_actions(&what);
        self.asking.answered();
    }

    #[expect(clippy::print_stderr, reason = "somebody asked for it")]
    fn trace(&self, what: &str) {
        if std::env::var_os("RELOADLET_TRACE").is_some() {
            eprintln!("{:?} {what}", self.now);
        }
    }

    fn take_actions(&mut self, what: &str) {
        let mut actions = 0;
        while let Some(action) = self.machine.as_mut().and_then(Machine::poll_action) {
            actions += 1;
            assert!(actions < MOST_ACTIONS, "too many actions for {what}: {action:?}");
            self.trace(&format!("-> {action:?}"));
            self.take_action(action);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "other reports are nothing to requests")]
    fn take_action(&mut self, action: Action) {
        let life = self.life;
        match action {
            Action::Call(call) => self.make_call(call),
            Action::Watch(uid, ..) => {
                self.watched.insert(uid);
            }
            Action::Unwatch(uid) => {
                self.watched.remove(&uid);
                assert!(self.opens.iter().all(|(volume, _)| volume.pod != uid), "{:?}", self.opens);
            }
            Action::List(volume) => {
                let pause = self.micros(2_000);
                self.push(pause, Todo::BeginListing(life, volume));
            }
            Action::Survey(survey) => {
                let pause = self.slow_for(&survey.pod);
                self.push(pause, Todo::MakeSurvey(life, survey.pod));
            }
            Action::Hold(process) => {
                self.wanted.insert(process.clone());
                let pause = if self.rng.percent(5) { self.micros(300_000) } else { self.micros(100) };
                self.push(pause, Todo::Hold(life, process));
            }
            Action::Release(process) => {
                self.wanted.remove(&process);
                self.held.remove(&process);
            }
            Action::ReadGuard(process, signal) => {
                let reading = self.node.guard(&process, self.now).filter(|_| self.held.contains(&process));
                self.answer(Event::Guarded(process, signal, reading));
            }
            Action::ReadClosely(process, signal) => {
                let reading =
                    self.node.guard_closely(&process, self.now).filter(|_| self.held.contains(&process));
                let pause = self.micros(2_000);
                self.push(pause, Todo::Event(self.life, Event::Guarded(process, signal, reading)));
            }
            Action::Send(process, _) => self.send(process),
            Action::Stop(order) => self.stop(order),
            Action::Show(volume, _) => {
                let shown = self.node.listing(&volume, self.now);
                let (dir, current) = (shown.dir, shown.current);
                let shown = current.map(|(generation, _)| Shown { dir, generation });
                let pause = self.slow_for(&volume.pod);
                self.push(pause, Todo::Event(life, Event::Shown(volume, shown)));
            }
            Action::Read(volume, generation, reading) => {
                let pause = self.micros(10_000);
                self.push(pause, Todo::Read(life, volume, generation, reading));
            }
            Action::Observe(_) | Action::Unobserve(_) | Action::Nudge(_) => {}
            Action::WatchOpens(volume, generation, _) => {
                if self.manners[&volume.pod] != Manner::Drops {
                    let pause = self.micros(4_000_000);
                    self.push(pause, Todo::Open(life, volume.clone(), generation.clone()));
                }
                self.gone_off.remove(&(volume.clone(), generation.clone()));
                assert!(self.opens.insert((volume, generation)), "watched twice");
            }
            Action::UnwatchOpens(volume, generation) => {
                assert!(self.opens.remove(&(volume, generation)), "not watched");
            }
            Action::Record(update) => self.uncommitted.push((self.now, update)),
            Action::Report(report) => {
                if let Report::Unread { pod, .. } = &report
                    && self.node.pods.contains_key(&pod.uid)
                {
                    let mine: Vec<u32> = self.pids(&pod.uid);
                    self.excuse(|pid| mine.contains(&pid));
                }
                self.checks.reported(&report, self.now, &self.settled);
                match &report {
                    Report::Reload(reload) => self.asking.reported(reload, false, &self.settled, self.now),
                    Report::Restart(report) => self.restarted(report),
                    Report::Retold(reload) => self.asking.reported(reload, true, &self.settled, self.now),
                    Report::Reread { pod, .. } => {
                        self.proven.insert(pod.uid.clone());
                    }
                    Report::Problem(pod, problem) => self.asking.problem(&pod.uid, Some(problem.kind)),
                    Report::Solved(pod) | Report::Forgotten(pod) => self.asking.problem(&pod.uid, None),
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, process: ProcessIdentity) {
        assert!(self.held.contains(&process), "{process:?} is not held");
        let lives = self.node.process(&process).is_some_and(|state| {
            assert!(!state.comm.starts_with("runc"), "{process:?} is the runtime's");
            state.state != 'Z'
        });
        self.checks.sent(&process, self.now);
        let told = self.check_content(&process);
        self.note_told(&process.pod, told);
        let is_starting = self.starts.get(&process.container).is_some_and(|over| self.now < *over);
        if lives && is_starting {
            assert_eq!(self.shown.get(&process.container), None, "{process:?} hasn't started");
            assert!(self.now >= process.started + ms(3_000), "{process:?} is young");
        }
        if lives {
            self.signal(process.pid, &process.pod);
        }
        self.answer(Event::Delivered(process, if lives { Delivery::Sent } else { Delivery::Gone }));
    }
}
