//! Drives a [`Machine`] on a simulated node: time passes only where a test lets it, and what the machine asks for is
//! answered at once, except for the kinds of action that a test holds back.

use std::collections::{BTreeSet, VecDeque};
use std::mem::{Discriminant, discriminant, take};
use std::sync::Arc;
use std::time::Duration;

use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::kernel::process::ProcessIdentity;
use reloadlet_core::machine::event::{Answer, Delivery, Shown, VolumeRef};
use reloadlet_core::machine::volume::Listing;
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::journal::JournalSnapshot;
use reloadlet_core::model::names::PodUid;
use reloadlet_core::model::pod::Pod;
use reloadlet_core::propagation::measuring::Measuring;
use reloadlet_core::{Action, Event, Machine, Time};

use crate::gauges::Gauges;
use crate::journal::apply;
use crate::node::{Node, at, generation, ms, pod, uid};

/// When the volumes were published, the processes started, and the agent started.
pub(crate) const PUBLISHED: Time = at(50_000);
pub(crate) const STARTED: Time = at(50_500);
pub(crate) const AGENT_STARTED: Time = at(100_000);

/// What the wall clock shows, in seconds since the epoch.
pub(crate) const WALL: u64 = 1_800_000_000;

/// More actions than this without time passing are a loop.
const MOST_ACTIONS: usize = 10_000;

pub(crate) struct World {
    pub(crate) machine: Machine,
    pub(crate) now: Time,
    pub(crate) node: Node,
    pub(crate) pods: Vec<Pod>,
    pub(crate) journal: JournalSnapshot,
    pub(crate) held: BTreeSet<ProcessIdentity>,
    /// The generations whose opens are watched.
    pub(crate) opens: BTreeSet<(VolumeRef, Generation)>,
    /// Those whose watch has gone off, which it does once.
    gone_off: BTreeSet<(VolumeRef, Generation)>,
    /// Every action since they were last taken.
    pub(crate) actions: Vec<(Time, Action)>,
    /// How every send ends while its process lives.
    pub(crate) delivery: Delivery,
    /// The wall clock, which stands still.
    pub(crate) wall: u64,
    /// How every request ends while its process lives.
    pub(crate) answer: Answer,
    /// Processes that can't be held although they are there.
    pub(crate) unholdable: BTreeSet<u32>,
    /// Pods of which surveys show nothing.
    pub(crate) hidden: BTreeSet<PodUid>,
    /// What the agent lacks to look at containers, and to hold processes.
    pub(crate) blind: Option<Lack>,
    pub(crate) handless: Option<Lack>,
    /// Whether there is an API server that shows objects.
    pub(crate) measuring: Option<Measuring>,
    pub(crate) gauges: Gauges,
    held_back: Vec<Discriminant<Action>>,
    pub(crate) unanswered: Vec<Action>,
}

/// A pod with the container `app`, which mounts the only volume, `config`.
pub(crate) fn app(n: u32, annotations: &[(&str, &str)]) -> Pod {
    let with_signal: Vec<_> =
        [("reloadlet.io/signal", "SIGHUP")].iter().chain(annotations).copied().collect();
    pod(n, &with_signal, &[("app", &["config"])], &["config"])
}

/// The same with a second volume, `more`.
pub(crate) fn app_with_two_volumes(n: u32, annotations: &[(&str, &str)]) -> Pod {
    let with_signal: Vec<_> =
        [("reloadlet.io/signal", "SIGHUP")].iter().chain(annotations).copied().collect();
    pod(n, &with_signal, &[("app", &["config", "more"])], &["config", "more"])
}

impl World {
    /// A node where these pods have run for a while, and no agent yet. The PIDs are 1001 and so on.
    pub(crate) fn node(pods: Vec<Pod>) -> Self {
        let mut node = Node::default();
        for pod in &pods {
            node.add_pod(pod, PUBLISHED);
            for container in &pod.spec.containers {
                node.start(&pod.uid, &container.name, STARTED);
            }
        }
        Self {
            machine: Machine::new(),
            now: AGENT_STARTED,
            node,
            pods,
            journal: JournalSnapshot::default(),
            held: BTreeSet::new(),
            opens: BTreeSet::new(),
            gone_off: BTreeSet::new(),
            actions: Vec::new(),
            delivery: Delivery::Sent,
            wall: WALL,
            answer: Answer::Status(200, "".into()),
            unholdable: BTreeSet::new(),
            hidden: BTreeSet::new(),
            blind: None,
            handless: None,
            measuring: None,
            gauges: Gauges::default(),
            held_back: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    /// The agent's very first start, long enough ago for everything to be quiet.
    pub(crate) fn running(pods: Vec<Pod>) -> Self {
        let mut world = Self::node(pods);
        world.start_agent();
        world.pass(60_000);
        world.actions.clear();
        world
    }

    /// One such pod, `app(1, annotations)`; its process is 1001.
    pub(crate) fn app(annotations: &[(&str, &str)]) -> Self {
        Self::running(vec![app(1, annotations)])
    }

    /// The agent starts (again) with the journal as it is.
    pub(crate) fn start_agent(&mut self) {
        self.stop_agent();
        self.handle(Event::JournalRead(self.journal.clone()));
        self.sync();
    }

    pub(crate) fn stop_agent(&mut self) {
        self.machine = self.measuring.map_or_else(Machine::new, Machine::measuring);
        self.held.clear();
        self.opens.clear();
        self.gone_off.clear();
        self.unanswered.clear();
        self.gauges = Gauges::default();
    }

    /// The pods are listed.
    pub(crate) fn sync(&mut self) {
        self.handle(Event::PodsSynced(self.pods.iter().cloned().map(Arc::new).collect()));
    }

    pub(crate) fn handle(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        let mut actions = 0;
        while let Some(event) = events.pop_front() {
            self.machine.handle(self.now, event);
            while let Some(action) = self.machine.poll_action() {
                actions += 1;
                assert!(actions < MOST_ACTIONS, "a loop: {action:?}");
                events.extend(self.take_action(action));
            }
            self.gauges.follow(&mut self.machine);
        }
    }

    fn take_action(&mut self, action: Action) -> Option<Event> {
        self.actions.push((self.now, action.clone()));
        if self.held_back.contains(&discriminant(&action)) {
            self.unanswered.push(action);
            return None;
        }
        self.carry_out(action)
    }

    fn carry_out(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::List(volume) => {
                // Just after whatever was notified at this moment.
                let listing = self.node.listing(&volume, self.now + Duration::from_nanos(1));
                Some(Event::Listed(volume, listing))
            }
            Action::Survey(survey) => {
                if let Some(lack) = self.blind {
                    return Some(Event::NotSurveyed(survey.pod, lack));
                }
                let is_hidden = self.hidden.contains(&survey.pod);
                let facts = if is_hidden { Vec::new() } else { self.node.survey(&survey.pod) };
                Some(Event::Surveyed(survey.pod, facts))
            }
            Action::Hold(process) => {
                if let Some(lack) = self.handless {
                    return Some(Event::Lacked(process, lack));
                }
                let is_there =
                    self.node.process(&process).is_some() && !self.unholdable.contains(&process.pid);
                Some(if is_there {
                    self.held.insert(process.clone());
                    Event::Held(process)
                } else {
                    Event::NotHeld(process)
                })
            }
            Action::Release(process) => {
                self.held.remove(&process);
                None
            }
            Action::ReadGuard(process, signal) => {
                let reading = self.node.guard(&process, self.now).filter(|_| self.held.contains(&process));
                Some(Event::Guarded(process, signal, reading))
            }
            Action::ReadClosely(process, signal) => {
                let reading =
                    self.node.guard_closely(&process, self.now).filter(|_| self.held.contains(&process));
                Some(Event::Guarded(process, signal, reading))
            }
            Action::Send(process, _) => {
                assert!(self.held.contains(&process), "{process:?} is not held");
                let lives = self.node.process(&process).is_some();
                Some(Event::Delivered(process, if lives { self.delivery } else { Delivery::Gone }))
            }
            Action::Stop(order) => {
                let taken = (self.wall <= order.until).then(|| {
                    let taken = order.processes.into_iter().map(|(process, _)| {
                        assert!(self.held.contains(&process), "{process:?} is not held");
                        let lives = self.node.process(&process).is_some();
                        (process, if lives { self.delivery } else { Delivery::Gone })
                    });
                    taken.collect()
                });
                Some(Event::Stopped(order.pod, taken))
            }
            Action::Show(volume, _) => {
                let Listing { dir, current, .. } = self.node.listing(&volume, self.now);
                let shown = current.map(|(generation, _)| Shown { dir, generation });
                Some(Event::Shown(volume, shown))
            }
            Action::Call(call) => {
                assert!(self.held.contains(&call.process), "{:?} is not held", call.process);
                let lives = self.node.process(&call.process).is_some();
                let answer = if lives { self.answer.clone() } else { Answer::Gone };
                Some(Event::Answered(call.process, call.begun, answer))
            }
            Action::Read(volume, generation, reading) => {
                let contents = self.node.contents(&volume, &generation);
                Some(Event::Read(volume, generation, reading, contents))
            }
            Action::WatchOpens(volume, generation, _) => {
                self.gone_off.remove(&(volume.clone(), generation.clone()));
                assert!(self.opens.insert((volume.clone(), generation.clone())), "{generation} is watched");
                None
            }
            Action::UnwatchOpens(volume, generation) => {
                assert!(
                    self.opens.remove(&(volume.clone(), generation.clone())),
                    "{generation} isn't watched"
                );
                None
            }
            Action::Unwatch(pod) => {
                assert!(self.opens.iter().all(|(volume, _)| volume.pod != pod), "{:?}", self.opens);
                None
            }
            Action::Observe(_) | Action::Unobserve(_) | Action::Nudge(_) => None,
            Action::Record(update) => {
                apply(&mut self.journal, update);
                None
            }
            Action::Watch(..) | Action::Report(_) => None,
        }
    }

    /// Actions of the kind of this example stay without an answer.
    pub(crate) fn hold_back(&mut self, example: &Action) {
        self.held_back.push(discriminant(example));
    }

    /// What was held back is carried out now, and nothing is held back any more.
    pub(crate) fn answer(&mut self) {
        self.held_back.clear();
        for action in take(&mut self.unanswered) {
            if let Some(event) = self.carry_out(action) {
                self.handle(event);
            }
        }
    }

    /// Time passes, and timers go off on the way.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.now + ms(millis);
        let mut timers = 0;
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= end) {
            timers += 1;
            assert!(timers < MOST_ACTIONS, "timers go off without end");
            self.now = self.now.max(due);
            self.machine.handle_timeout(self.now);
            self.gauges.follow(&mut self.machine);
            let next = self.machine.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "{next:?} is due still at {:?}", self.now);
            let mut events = VecDeque::new();
            while let Some(action) = self.machine.poll_action() {
                events.extend(self.take_action(action));
            }
            for event in events {
                self.handle(event);
            }
        }
        self.now = end;
    }

    /// Somebody opens a file of a generation; whether that is seen.
    pub(crate) fn open(&mut self, volume: &VolumeRef, n: u32) -> bool {
        let watch = (volume.clone(), generation(n));
        let is_seen = self.opens.contains(&watch) && self.gone_off.insert(watch);
        if is_seen {
            self.handle(Event::Opened(volume.clone(), generation(n), self.now));
        }
        is_seen
    }

    /// The kubelet renames `..data`.
    pub(crate) fn swap(&mut self, volume: &VolumeRef, n: u32) {
        self.swap_unseen(volume, n);
        self.handle(Event::Swapped(volume.clone(), Some(generation(n)), self.now));
    }

    pub(crate) fn swap_unseen(&mut self, volume: &VolumeRef, n: u32) {
        let now = self.now;
        let state = self.node.volume(volume);
        let before = state.current.replace((generation(n), now));
        state.others.extend(before.map(|(before, _)| before));
    }

    /// The kubelet removes what was there before.
    pub(crate) fn settle(&mut self, volume: &VolumeRef) {
        for removed in self.settle_unseen(volume) {
            self.handle(Event::Removed(volume.clone(), removed, self.now));
        }
    }

    pub(crate) fn settle_unseen(&mut self, volume: &VolumeRef) -> BTreeSet<Generation> {
        take(&mut self.node.volume(volume).others)
    }

    /// A whole change: it settles 1 ms after the swap.
    pub(crate) fn publish(&mut self, volume: &VolumeRef, n: u32) {
        self.swap(volume, n);
        self.pass(1);
        self.settle(volume);
    }

    pub(crate) fn publish_unseen(&mut self, volume: &VolumeRef, n: u32) {
        self.swap_unseen(volume, n);
        self.pass(1);
        self.settle_unseen(volume);
    }

    /// A process ends, and whoever holds it hears of it.
    pub(crate) fn exit(&mut self, pid: u32) {
        let process = self.node.kill(pid).unwrap();
        if self.held.contains(&process) {
            self.handle(Event::Exited(process, self.now));
        }
    }

    /// A container is started (again), and its cgroup shows. Gives back the PID.
    pub(crate) fn start(&mut self, pod: &PodUid, container: &str) -> u32 {
        let pid = self.node.start(pod, container, self.now);
        self.handle(Event::CgroupChanged(pod.clone()));
        pid
    }
}

/// The volume `config` of pod 1.
pub(crate) fn config() -> VolumeRef {
    volume_of(1, "config")
}

/// The volume `more` of pod 1.
pub(crate) fn more() -> VolumeRef {
    volume_of(1, "more")
}

pub(crate) fn volume_of(n: u32, name: &str) -> VolumeRef {
    VolumeRef { pod: uid(n), volume: name.into() }
}
