//! What the machine wants done.

use std::io;

use nix::sys::epoll::{EpollEvent, EpollFlags};
use reloadlet_core::kernel::guard::GuardReading;
use reloadlet_core::kernel::process::ProcessIdentity;
use reloadlet_core::kernel::procfs::SignalSet;
use reloadlet_core::machine::event::{Action, Event, Reading, StopOrder, VolumeRef};
use reloadlet_core::machine::volume::Listing;
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::names::{Name, PodUid};
use reloadlet_core::model::signal::Signal;
use reloadlet_core::propagation::nudge::NudgeAnswer;

use super::{NodeLoop, PROCESSES};
use crate::clock;
use crate::gates::Gate;
use crate::holder::{Hold, How};
use crate::metrics::RescanReason;
use crate::surveyor::{Depth, Request};

impl NodeLoop {
    /// One event, and everything that follows from it at once.
    pub(super) fn handle(&mut self, event: Event) {
        if event == Event::Overflowed {
            self.parts.metrics.overflow();
            self.parts.metrics.rescan(RescanReason::Overflow);
        }
        self.parts.machine.handle(clock::now(), event);
        self.run_actions();
    }

    pub(super) fn run_actions(&mut self) {
        while let Some(action) = self.parts.machine.poll_action() {
            let Some(action) = self.put_off(action) else { continue };
            if let Some(answer) = self.execute(action) {
                self.parts.machine.handle(clock::now(), answer);
            }
        }
    }

    /// Carries out an action. What is known at once comes back as an event.
    pub(super) fn execute(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Send(process, signal) => {
                let delivery = self.parts.holder.send(&process, signal);
                return Some(Event::Delivered(process, delivery));
            }
            Action::Stop(order) => return Some(self.stop(order)),
            Action::Show(volume, kind) => {
                let path = self.parts.watcher.place_of(&volume, kind);
                self.request(Request::Show(volume, path));
            }
            Action::Call(call) => {
                if let Some(delivery) = self.parts.holder.spare(&call.process) {
                    return Some(Event::Delivered(call.process, delivery));
                }
                self.parts.calls.call(&self.line.namespace(&call.process.pod), call);
            }
            Action::ReadGuard(process, signal) => return self.read_guard(process, signal),
            Action::ReadClosely(process, signal) => {
                self.request(Request::Masks(process, signal, Depth::Closely))
            }
            Action::Hold(process) => return Some(self.hold(process)),
            Action::Release(process) => self.parts.holder.release(&process),
            Action::Watch(pod, namespace, volumes) => {
                self.parts.watcher.watch_pod(&pod, &volumes);
                self.line.watch(pod.clone(), namespace.clone());
                self.parts.kubelet_root.watch(pod.clone(), namespace);
                self.request(Request::Home(pod.clone()));
                self.ask_for_gates(pod);
            }
            Action::Unwatch(pod) => {
                self.parts.watcher.unwatch_pod(&pod);
                self.line.unwatch(&pod);
                self.unlisted.retain(|volume| volume.pod != pod);
                self.reads.forget(&pod);
                let judgement = self.parts.kubelet_root.forget(&pod);
                self.request(Request::Forget(pod));
                return self.judged(judgement);
            }
            Action::List(volume) => {
                self.parts.watcher.check(&volume, clock::now());
                self.take_sights();
            }
            Action::Survey(survey) => self.request(Request::Survey(survey)),
            Action::Read(volume, generation, reading) => self.read(volume, generation, reading),
            Action::Observe(object) => {
                if let Some(api) = &self.parts.api {
                    api.observe(object);
                }
            }
            Action::Unobserve(object) => {
                if let Some(api) = &self.parts.api {
                    api.unobserve(&object);
                }
            }
            Action::Nudge(pod) => {
                let (uid, now) = (pod.uid.clone(), clock::now());
                let api = self.parts.api.as_mut();
                let answer = api.map_or(Some(NudgeAnswer::Refused), |api| api.nudge(pod, now));
                return answer.map(|answer| Event::Nudged(uid, answer));
            }
            Action::WatchOpens(volume, generation, below) => {
                let is_seen = self.parts.watcher.watch_opens(&volume, &generation, &below);
                return (!is_seen).then_some(Event::OpensUnseen(volume, generation));
            }
            Action::UnwatchOpens(volume, generation) => {
                self.parts.watcher.unwatch_opens(&volume, &generation);
            }
            Action::Record(update) => self.parts.journal.record(update),
            Action::Report(report) => self.reports.push_back(report),
        }
        None
    }

    /// Sends stop signals, unless their time is over.
    fn stop(&self, order: StopOrder) -> Event {
        let StopOrder { pod, until, processes } = order;
        let is_in_time = clock::wall().as_secs() <= until;
        let sent = processes.into_iter().map(|(process, signal)| {
            let delivery = self.parts.holder.send(&process, signal);
            (process, delivery)
        });
        let taken = is_in_time.then(|| sent.collect());
        Event::Stopped(pod, taken)
    }

    /// Has it seen which of a pod's volumes may be looked at, where that isn't known.
    pub(super) fn ask_for_gates(&self, pod: PodUid) {
        let barred = self.parts.watcher.barred(&pod);
        if !barred.is_empty() {
            self.request(Request::Gates(pod, barred));
        }
    }

    /// Which of a pod's volumes may be looked at. In one that may not nothing is seen that is published; neither is there yet where
    /// nothing is mounted, which is of interest at the agent's start only: later the first look at it says what was there.
    pub(super) fn take_gates(&mut self, pod: &PodUid, gates: Vec<(Name, Gate)>) {
        let begun = clock::now();
        let barred = self.parts.watcher.barred(pod);
        for (volume, gate) in gates.into_iter().filter(|(volume, _)| barred.contains(volume)) {
            let volume = VolumeRef { pod: pod.clone(), volume };
            match gate {
                Gate::Open => self.parts.watcher.unbar(&volume),
                Gate::Unknown if self.parts.startup.is_ready() => {}
                Gate::Unknown | Gate::Closed => {
                    self.parts.startup.end_listing(&volume);
                    let nothing = Listing { begun, dir: None, current: None, others: Vec::new() };
                    self.handle(Event::Listed(volume, nothing));
                }
            }
        }
    }

    /// Asks the surveyor for something.
    pub(super) fn request(&self, request: Request) {
        self.parts.surveyor.request(&self.line.namespace(request.pod()), request);
    }

    pub(super) fn list(&mut self, volume: VolumeRef) {
        if let Some(path) = self.parts.watcher.path(&volume) {
            let path = path.to_owned();
            self.parts.startup.begin_listing(&volume);
            self.request(Request::List(volume, path));
        }
    }

    pub(super) fn read(&mut self, volume: VolumeRef, generation: Generation, reading: Reading) {
        if let Some(path) = self.parts.watcher.path(&volume) {
            let path = path.join(generation.as_str());
            self.reads.ask(&volume, &generation, &reading);
            self.request(Request::Read(volume, generation, path, reading));
        }
    }

    pub(super) fn hold(&mut self, process: ProcessIdentity) -> Event {
        let Some(namespace) = self.line.watched(&process.pod) else {
            return Event::NotHeld(process);
        };
        match self.parts.holder.hold(&process, namespace) {
            Ok(Hold::Held(token, pidfd)) => {
                let exit = EpollEvent::new(EpollFlags::EPOLLIN, PROCESSES + token);
                if let Err(errno) = self.epoll.add(pidfd, exit) {
                    let error = io::Error::from(errno);
                    tracing::warn!(pid = process.pid, %error, "the exit of a process can't be awaited");
                }
                Event::Held(process)
            }
            Ok(Hold::Known) => Event::Held(process),
            Ok(Hold::Gone) => Event::NotHeld(process),
            Ok(Hold::Scarce(lack)) => {
                self.parts.lacks.say("hold a process", lack, None);
                Event::Lacked(process, lack)
            }
            Err(error) => {
                let lack = error.lack();
                self.parts.lacks.say("hold a process", lack, Some(&error));
                Event::Lacked(process, lack)
            }
        }
    }

    /// Whether a process has ended: its exit may still wait for its turn, or in the kernel, and the masks of a zombie can be
    /// read.
    pub(super) fn has_ended(&self, process: &ProcessIdentity) -> bool {
        let held = self.parts.holder.has_ended(process);
        held.unwrap_or_else(|| matches!(self.parts.proc.is(process), Ok(false)))
    }

    /// The descriptor of a process says that it has exited, or how.
    pub(super) fn exited(&mut self, token: u64) {
        let now = clock::now();
        if let Some((process, was_killed)) = self.parts.holder.hung_up(token) {
            if was_killed {
                self.wait_for_turn(Event::Killed(process));
            }
            return;
        }
        let Some((process, how)) = self.parts.holder.exited(token) else { return };
        let mut was_killed = false;
        match how {
            How::Killed => was_killed = true,
            How::Otherwise => {}
            How::NotYet(pidfd) => {
                // Whoever waits for nothing is told of a hang-up all the same (epoll_ctl(2)).
                let mut hang_up = EpollEvent::new(EpollFlags::empty(), PROCESSES + token);
                if let Err(errno) = self.epoll.modify(pidfd, &mut hang_up) {
                    tracing::debug!(pid = process.pid, error = %errno, "how a process ended can't be awaited");
                    self.parts.holder.hung_up(token);
                }
            }
        }
        self.wait_for_turn(Event::Exited(process.clone(), now));
        if was_killed {
            self.wait_for_turn(Event::Killed(process));
        }
    }

    pub(super) fn read_guard(&mut self, process: ProcessIdentity, signal: Signal) -> Option<Event> {
        if self.has_ended(&process) {
            return Some(Event::Guarded(process, signal, None));
        }
        if !signal.is_in_stat() {
            self.request(Request::Masks(process, signal, Depth::Masks));
            return None;
        }
        let read = clock::now();
        match self.parts.proc.leader_masks(process.pid) {
            Ok(Some(leader)) if leader.blocked.contains(signal.number()) => {
                self.request(Request::Masks(process, signal, Depth::Masks));
                None
            }
            Ok(Some(leader)) => {
                let others = SignalSet::from_bits(u64::MAX);
                Some(Event::Guarded(process, signal, Some(GuardReading::new(leader, others, read))))
            }
            Ok(None) => Some(Event::Guarded(process, signal, None)),
            Err(error) => {
                let lack = error.lack();
                self.parts.lacks.say("look at a process", lack, Some(&error));
                Some(Event::Lacked(process, lack))
            }
        }
    }
}
