//! The one place that decides. Events go in with the time, actions come out in the order in which they are to be
//! carried out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::machine::context::Context;
use crate::machine::event::{Action, Event, Report, VolumeRef};
use crate::machine::pod::{PodMachine, Restored};
use crate::machine::status::Counts;
use crate::machine::workloads::Workloads;
use crate::model::journal::JournalSnapshot;
use crate::model::names::{Name, PodUid};
use crate::model::object::{ObjectRef, Observed};
use crate::model::pod::Pod;
use crate::model::time::Time;
use crate::policy::plan::Allowed;
use crate::policy::problem::Problem;
use crate::propagation::kept::Kept;
use crate::propagation::measuring::Measuring;
use crate::propagation::objects::Objects;

mod departed;
mod listing;
mod objects;

use departed::AllDeparted;

/// How long the agent waits to be told the pods before it serves those that the journal remembers: their annotations may
/// have changed meanwhile.
const REMEMBERED_AFTER: Duration = Duration::from_secs(5);

/// How much is taken in at a time of what concerns many pods, in pods and their volumes, and at least one pod: notifications
/// are taken in between, so that nobody's pods keep another's change waiting.
const AT_A_TIME: usize = 64;

/// So many pieces of objects that containers took at their start are as much to do as a volume.
const PIECES_A_VOLUME: usize = 16;

/// How many of the things that the API server said of objects wait for pods to be told; with more, they are told at once.
const MOST_NEWS: usize = 256;

/// What is left to do about a listing of pods.
#[derive(Debug)]
enum Work {
    Gone(PodUid),
    Listed(Arc<Pod>),
}

/// What the API server said of an object, and the pods that weren't told yet.
#[derive(Debug)]
struct News {
    object: ObjectRef,
    observed: Observed,
    at: Time,
    pods: VecDeque<PodUid>,
}

/// All pods of a node.
///
/// There are four kinds of methods. [`Self::handle`] and [`Self::handle_timeout`] take in what happened, and that time has
/// passed. [`Self::poll_action`] gives what is to be done, and [`Self::poll_timeout`] when [`Self::handle_timeout`] is to be
/// called: both are asked after each of the first ones, the actions until there is none, and carried out in their order.
/// [`Self::take_counts`] gives the numbers for gauges when they have changed, whenever it is asked. The others only look, and
/// nothing needs them to carry out an action. The times that are handed in never go back: they are of one clock, that of the
/// boot. Who answers which action is in [`crate::machine::event`].
#[derive(Debug, Default)]
pub struct Machine {
    /// What the operator allows.
    allowed: Allowed,
    /// Which objects are watched on the API server, if there is one.
    measuring: Option<Measuring>,
    objects: Objects,
    /// What is kept of volumes' files to measure them.
    files: Kept<(PodUid, Name)>,
    /// What the journal held; taken from as pods are first seen. `None` until it was read.
    journal: Option<JournalSnapshot>,
    /// A listing of pods that came before the journal was read.
    early: Option<Vec<Arc<Pod>>>,
    /// The pods of last time, and when they are served if nobody has told the pods.
    remembered: Option<(Time, Vec<Arc<Pod>>)>,
    /// Those are served.
    serves_remembered: bool,
    synced: bool,
    /// What is taken in is the first listing that names any pods.
    is_first: bool,
    work: VecDeque<Work>,
    /// The pods that are still to be looked at again since notifications were lost.
    rescans: VecDeque<PodUid>,
    news: VecDeque<News>,
    /// The pods of last time, until those are forgotten that aren't there any more.
    last_time: Vec<Arc<Pod>>,
    /// Until when what the journal holds of pods that nobody has told is kept.
    foreign_until: Option<Time>,
    /// The pods that aren't listed any more.
    departed: AllDeparted,
    /// Machines are boxed so that moving one in the map is cheap.
    pods: BTreeMap<PodUid, Box<PodMachine>>,
    invalid: BTreeMap<PodUid, Invalid>,
    workloads: Workloads,
    timers: BTreeSet<(Time, PodUid)>,
    due: BTreeMap<PodUid, Time>,
    /// What is wrong with the kubelet root, while something is.
    kubelet_root: Option<Arc<str>>,
    actions: VecDeque<Action>,
    /// Whether anything was taken in since the numbers for gauges were asked for, and the numbers that were given last.
    has_taken_in: bool,
    given: Option<Counts>,
}

/// A pod that isn't told anything, since its annotations have problems.
#[derive(Debug)]
pub(crate) struct Invalid {
    pub(crate) pod: Arc<Pod>,
    pub(crate) problems: Vec<Problem>,
    /// What was handled before, for the time when it is mended.
    restored: Restored,
}

impl Machine {
    /// A machine that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with an API server that shows objects.
    pub fn measuring(measuring: Measuring) -> Self {
        Self { measuring: Some(measuring), ..Self::default() }
    }

    /// The same, where the operator allows this.
    #[must_use]
    pub fn allowing(self, allowed: Allowed) -> Self {
        Self { allowed, ..self }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        let remembered = self.remembered.as_ref().map(|(due, _)| *due);
        let at_once = self.is_busy().then(Time::default);
        let due = [remembered, at_once, self.foreign_until, self.departed.timeout()];
        self.timers.first().map(|(due, _)| *due).into_iter().chain(due.into_iter().flatten()).min()
    }

    /// Whether pods are known, each of their volumes was looked at, and every baseline was recorded.
    pub fn is_ready(&self) -> bool {
        self.synced && self.work.is_empty() && self.pods.values().all(|pod| pod.is_ready())
    }

    /// Whether something isn't taken in as a whole yet: a listing of pods, lost notifications, news of an object or of a
    /// workload.
    pub fn is_busy(&self) -> bool {
        let is_spread = self.rescans.is_empty() && self.news.is_empty() && !self.workloads.has_woken();
        !self.work.is_empty() || !is_spread
    }

    /// Takes in something that happened.
    pub fn handle(&mut self, now: Time, event: Event) {
        self.has_taken_in = true;
        match event {
            Event::JournalRead(snapshot) => self.journal_read(snapshot, now),
            Event::PodsSynced(pods) => self.pods_synced(pods, now),
            Event::Overflowed => self.overflowed(now),
            Event::Dropped(uid) => self.with(&uid, now, PodMachine::dropped),
            Event::Swapped(volume, generation, at) => {
                self.with_volume(&volume, now, |pod, name, ctx| pod.swapped(name, generation, at, ctx));
            }
            Event::Removed(volume, generation, at) => {
                self.with_volume(&volume, now, |pod, name, ctx| pod.removed(name, &generation, at, ctx));
            }
            Event::TornDown(volume, at) => {
                self.with_volume(&volume, now, |pod, name, ctx| pod.torn_down(name, at, ctx));
            }
            Event::Listed(volume, listing) => {
                self.with_volume(&volume, now, |pod, name, ctx| pod.listed(name, &listing, ctx));
            }
            Event::Read(volume, generation, reading, contents) => {
                self.with_volume(&volume, now, |pod, name, ctx| {
                    pod.read(name, &generation, &reading, contents.as_ref(), ctx);
                });
                self.account(&volume.pod);
            }
            Event::Observed(object, observed, at) => self.observed(&object, observed, at, now),
            Event::Nudged(uid, answer) => self.with(&uid, now, |pod, ctx| pod.nudged(answer, ctx)),
            Event::Strategy(strategy) => self.set_strategy(strategy, now),
            Event::KubeletRoot(sentence) => self.set_kubelet_root(sentence, now),
            Event::Opened(volume, generation, at) => {
                self.with_volume(&volume, now, |pod, name, ctx| pod.opened(name, &generation, at, ctx));
            }
            Event::LookedThrough(volume, generation) => {
                self.with_volume(&volume, now, |pod, name, _| pod.looked_through(name, &generation));
            }
            Event::OpensUnseen(volume, generation) => {
                self.with_volume(&volume, now, |pod, name, _| pod.opens_unseen(name, &generation));
            }
            Event::CgroupChanged(uid) => self.with(&uid, now, PodMachine::cgroup_changed),
            Event::Surveyed(uid, containers) => {
                self.with(&uid, now, |pod, ctx| pod.surveyed(&containers, ctx));
            }
            Event::NotSurveyed(uid, lack) => self.with(&uid, now, |pod, ctx| pod.not_surveyed(lack, ctx)),
            Event::Held(process) => self.with(&process.pod, now, |pod, _| pod.held(&process)),
            Event::Lacked(process, lack) => {
                self.with(&process.pod, now, |pod, ctx| pod.lacked(&process, lack, ctx));
            }
            Event::NotHeld(process) => {
                self.with(&process.pod, now, |pod, ctx| pod.not_held(&process, ctx));
            }
            Event::Exited(process, at) => {
                self.with(&process.pod, now, |pod, ctx| pod.exited(&process, at, ctx));
            }
            Event::Killed(process) => self.with(&process.pod, now, |pod, ctx| pod.killed(&process, ctx)),
            Event::Guarded(process, signal, reading) => {
                self.with(&process.pod, now, |pod, ctx| pod.guarded(&process, signal, reading.as_ref(), ctx));
            }
            Event::Delivered(process, delivery) => {
                self.with(&process.pod, now, |pod, ctx| pod.delivered(&process, delivery, ctx));
            }
            Event::Stopped(uid, taken) => {
                self.with(&uid, now, |pod, ctx| pod.stopped(taken.as_deref(), ctx));
            }
            Event::Shown(volume, shown) => {
                self.with_volume(&volume, now, |pod, name, _| pod.shown(name, shown.as_ref()));
            }
            Event::Answered(process, begun, answer) => {
                self.with(&process.pod, now, |pod, ctx| pod.answered(&process, begun, &answer, ctx));
            }
        }
        self.wake_some(now);
    }

    /// Takes in that time has passed: some of what is due. With more of it the next timeout is due at once.
    pub fn handle_timeout(&mut self, now: Time) {
        self.has_taken_in = true;
        self.serve_remembered(now);
        self.forget_departed(now);
        let due = self.timers.iter().take_while(|(due, _)| *due <= now);
        let due: Vec<PodUid> = due.take(AT_A_TIME).map(|(_, uid)| uid.clone()).collect();
        let enough = self.actions.len() + AT_A_TIME;
        for uid in due {
            self.with(&uid, now, PodMachine::handle_timeout);
            if self.actions.len() >= enough {
                break;
            }
        }
        self.rescan_some(now);
        self.spread_some(now);
        if !self.work.is_empty() {
            self.go_on(now);
        }
        self.wake_some(now);
    }

    /// The numbers for gauges, if they are others than those that this gave last.
    pub fn take_counts(&mut self) -> Option<Counts> {
        if !std::mem::take(&mut self.has_taken_in) && self.given.is_some() {
            return None;
        }
        let counts = self.counts();
        (self.given.as_ref() != Some(&counts)).then(|| self.given.insert(counts).clone())
    }

    /// The agent ends: what was held back is said.
    pub fn say_all(&mut self, now: Time) {
        for pod in self.pods.values_mut() {
            pod.say_all(&mut Context { now, out: &mut self.actions, workloads: &mut self.workloads });
        }
    }

    /// The pods that are watched.
    pub(crate) fn watched(&self) -> impl Iterator<Item = &PodMachine> {
        self.pods.values().map(Box::as_ref)
    }

    /// The pods whose annotations have problems.
    pub(crate) fn invalid(&self) -> impl Iterator<Item = &Invalid> {
        self.invalid.values()
    }

    fn with_volume(
        &mut self,
        volume: &VolumeRef,
        now: Time,
        what: impl FnOnce(&mut PodMachine, &Name, &mut Context<'_>),
    ) {
        self.with(&volume.pod, now, |pod, ctx| what(pod, &volume.volume, ctx));
    }

    fn with(&mut self, uid: &PodUid, now: Time, what: impl FnOnce(&mut PodMachine, &mut Context<'_>)) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        let mut ctx = Context { now, out: &mut self.actions, workloads: &mut self.workloads };
        what(pod, &mut ctx);
        // Whatever happened: a timer that is overdue by now is not set again.
        pod.advance(&mut ctx);
        let due = pod.timeout(now);
        self.set_timer(uid, due);
    }

    fn set_timer(&mut self, uid: &PodUid, due: Option<Time>) {
        let before = match due {
            Some(due) => self.due.insert(uid.clone(), due),
            None => self.due.remove(uid),
        };
        if before == due {
            return;
        }
        if let Some(before) = before {
            self.timers.remove(&(before, uid.clone()));
        }
        if let Some(due) = due {
            self.timers.insert((due, uid.clone()));
        }
    }

    fn overflowed(&mut self, now: Time) {
        self.actions.push_back(Action::Report(Report::Rescan));
        let mut ctx = Context { now, out: &mut self.actions, workloads: &mut self.workloads };
        self.pods.values_mut().for_each(|pod| pod.doubt_volumes(&mut ctx));
        // Those who have little don't wait for those who have much.
        let mut pods: Vec<_> = self.pods.iter().map(|(uid, pod)| (pod.volumes().len(), uid)).collect();
        pods.sort();
        self.rescans = pods.into_iter().map(|(_, uid)| uid.clone()).collect();
        self.rescan_some(now);
    }

    /// Has some of the pods looked at again.
    fn rescan_some(&mut self, now: Time) {
        let mut done = 0;
        while done < AT_A_TIME {
            let Some(uid) = self.rescans.pop_front() else { return };
            done += self.cost(&uid);
            self.with(&uid, now, PodMachine::rescan);
        }
    }

    /// Has some of those pods go on that waited for what came of another replica.
    fn wake_some(&mut self, now: Time) {
        for _ in 0..AT_A_TIME {
            let Some(uid) = self.workloads.next_woken() else { return };
            self.with(&uid, now, |_, _| {});
        }
    }

    /// How much it is to do something about each of a pod's volumes, and of what its containers took at their start.
    fn cost(&self, uid: &PodUid) -> usize {
        1 + self.pods.get(uid).map_or(0, |pod| pod.volumes().len() + pod.frozen_pieces() / PIECES_A_VOLUME)
    }

    /// For the pods that are known, and for those to come.
    fn set_kubelet_root(&mut self, sentence: Option<Arc<str>>, now: Time) {
        self.kubelet_root.clone_from(&sentence);
        let uids: Vec<PodUid> = self.pods.keys().cloned().collect();
        for uid in uids {
            self.with(&uid, now, |pod, ctx| pod.set_kubelet_root(sentence.as_deref(), ctx));
        }
    }
}
