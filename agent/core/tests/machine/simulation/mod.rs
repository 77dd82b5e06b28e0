//! Everything at once, by chance: kubelets that die in the middle, containers that come and go, lost notifications,
//! agents that are killed with a journal that isn't complete, slow surveys and late holds. What must always hold is
//! checked at each step, and when everything has calmed down, every process must have seen the newest files.
//!
//! A failure names its seed: `RELOADLET_SEED=<seed> cargo test -p reloadlet-core --test machine simulation`. `RELOADLET_SEEDS=20000`
//! tries so many, and `make simulate` does that with seeds that nobody has tried.

mod acts;
mod asking;
mod checks;
mod contents;
mod edge;
mod grants;
mod kubelet;
mod programs;
pub(crate) mod rng;
mod seeds;
mod servers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use reloadlet_core::kernel::process::ProcessIdentity;
use reloadlet_core::machine::event::{Call, Reading, VolumeRef};
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::journal::{JournalSnapshot, JournalUpdate};
use reloadlet_core::model::names::{ContainerId, Name, PodUid};
use reloadlet_core::model::pod::{AnnotationValue, Phase, Pod};
use reloadlet_core::{Event, Machine, Time};

use self::asking::Asking;
use self::checks::Checks;
use self::contents::Contents;
use self::grants::Grants;
use self::rng::Rng;
use self::servers::Servers;
use crate::node::{Node, at, ms};

/// How many seeds are tried if nothing else is asked for.
const SEEDS: u64 = 300;
/// How many things happen by chance.
const ACTS: u32 = 150;
/// More actions than this for one event are a loop.
const MOST_ACTIONS: usize = 200;
/// More steps than this are a loop.
const MOST_STEPS: u32 = 100_000;

/// Something that is to come.
#[derive(Clone, Debug)]
enum Todo {
    /// Something by chance.
    Act,
    /// The kubelet removes the directory of before.
    Unlink(VolumeRef),
    /// It makes a volume anew that it has torn down.
    Rebuild(VolumeRef),
    /// A generation whose kubelet died counts as complete.
    Expire(VolumeRef, Generation),
    /// The runtime's process becomes the program.
    Exec(u32),
    /// A process installs its handlers.
    Handle(u32),
    /// A shell becomes the init of its program.
    BecomeInit(u32),
    /// A process executes itself anew, its VM catches the signal in order to end, and it has booted.
    Renew(u32),
    Boot(u32),
    Booted(u32),
    /// A container is started.
    StartContainer(PodUid),
    /// A process ends.
    Exit(u32),
    /// The supervisor's child is started again.
    Fork(PodUid),
    /// The pod's status shows whether a container has started.
    Show(PodUid, ContainerId, bool),
    /// It shows that a container was killed.
    ShowKill(PodUid, ContainerId),
    /// The pods are listed.
    Sync(u32),
    /// The agent starts.
    StartAgent,
    /// The agent's loop goes on after a stall.
    Wake,
    /// A listing is begun, and made.
    BeginListing(u32, VolumeRef),
    MakeListing(u32, VolumeRef, Time),
    /// A survey is made.
    MakeSurvey(u32, PodUid),
    /// A digest is made.
    Read(u32, VolumeRef, Generation, Reading),
    /// A file of a generation is opened.
    Open(u32, VolumeRef, Generation),
    /// A pidfd is opened.
    Hold(u32, ProcessIdentity),
    /// The pod's status shows its address.
    Address(PodUid),
    /// A request goes out, and a server answers one.
    Connect(u32, Call),
    Respond(u64),
    /// The agent (of this life) hears of something.
    Event(u32, Event),
    /// The same by inotify, unless the queue overflows before.
    Notify(u32, u32, Event),
}

/// What a program does about the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// It handles it, some time after its start.
    Handles,
    /// It handles it half a minute after its start.
    HandlesLate,
    /// It never does.
    Ignores,
    /// It catches it and ends.
    Quits,
    /// It takes it by signalfd.
    Blocks,
    /// It never handles it, and starts other programs all the time, which blocks everything for a moment.
    Spawns,
    /// It executes itself anew at each one, in a VM that catches it in order to end.
    Renews,
    /// It drops those that come while it reloads, and opens its files when it does.
    Drops,
}

struct Simulation {
    rng: Rng,
    now: Time,
    todo: BTreeMap<(Time, u64), Todo>,
    order: u64,
    acts_left: u32,
    node: Node,
    pods: BTreeMap<PodUid, Pod>,
    /// Pods whose annotations are broken at the moment.
    broken: BTreeSet<PodUid>,
    manners: BTreeMap<PodUid, Manner>,
    /// Pods whose containers have a status, and those whose programs end of the signal while they start.
    reported: BTreeSet<PodUid>,
    slow: BTreeSet<PodUid>,
    /// When the program of a container has started.
    starts: BTreeMap<ContainerId, Time>,
    /// What the agent of this life was shown of a container.
    shown: BTreeMap<ContainerId, Phase>,
    /// Pods that were to be told although they don't handle the signal.
    unhandled: BTreeSet<PodUid>,
    first_started: BTreeMap<PodUid, Time>,
    /// When a process lost its handlers last, and in which life of the agent.
    lost_handlers: BTreeMap<u32, (Time, u32)>,
    /// Pods of which a process was killed from outside without the agent's seeing that.
    unseen_kills: BTreeSet<PodUid>,
    /// Processes whose VM boots.
    booting: BTreeSet<u32>,
    /// Until when processes drop signals, and which of them dropped the last one.
    dropping: BTreeMap<u32, Time>,
    dropped: BTreeSet<u32>,
    /// Those of which the agent couldn't know that, or has said it.
    excused: BTreeSet<u32>,
    /// Pods of which the agent has seen that they read after a signal.
    proven: BTreeSet<PodUid>,
    /// The annotations that the agent knows.
    taken: BTreeMap<PodUid, BTreeMap<String, AnnotationValue>>,
    /// How much later than they are stamps of links mean to the agent, since the clock was set while there was none.
    clock_ahead: Duration,
    next_pod: u32,
    next_generation: u32,
    /// What a program sees in each volume: the newest complete generation.
    visible: BTreeMap<VolumeRef, Generation>,
    settled: BTreeMap<(VolumeRef, Generation), Time>,
    /// Volumes whose swap isn't complete.
    swapping: BTreeSet<VolumeRef>,
    /// What each process has read.
    loaded: BTreeMap<u32, BTreeMap<Name, Digest>>,
    machine: Option<Machine>,
    life: u32,
    stalled_until: Time,
    /// What happened while the loop stalled.
    waiting: VecDeque<Event>,
    wanted: BTreeSet<ProcessIdentity>,
    held: BTreeSet<ProcessIdentity>,
    watched: BTreeSet<PodUid>,
    /// The generations whose opens are watched.
    opens: BTreeSet<(VolumeRef, Generation)>,
    /// Those whose watch has gone off, which it does once.
    gone_off: BTreeSet<(VolumeRef, Generation)>,
    queue_epoch: u32,
    last_notified: Time,
    last_answered: Time,
    journal: JournalSnapshot,
    uncommitted: Vec<(Time, JournalUpdate)>,
    checks: Checks,
    contents: Contents,
    grants: Grants,
    servers: Servers,
    asking: Asking,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut simulation = Self {
            rng: Rng::new(seed),
            now: at(1_000_000),
            todo: BTreeMap::new(),
            order: 0,
            acts_left: ACTS,
            node: Node::default(),
            pods: BTreeMap::new(),
            broken: BTreeSet::new(),
            manners: BTreeMap::new(),
            reported: BTreeSet::new(),
            slow: BTreeSet::new(),
            starts: BTreeMap::new(),
            shown: BTreeMap::new(),
            unhandled: BTreeSet::new(),
            first_started: BTreeMap::new(),
            lost_handlers: BTreeMap::new(),
            unseen_kills: BTreeSet::new(),
            booting: BTreeSet::new(),
            dropping: BTreeMap::new(),
            dropped: BTreeSet::new(),
            excused: BTreeSet::new(),
            proven: BTreeSet::new(),
            taken: BTreeMap::new(),
            clock_ahead: Duration::ZERO,
            next_pod: 1,
            next_generation: 1,
            visible: BTreeMap::new(),
            settled: BTreeMap::new(),
            swapping: BTreeSet::new(),
            loaded: BTreeMap::new(),
            machine: None,
            life: 0,
            stalled_until: Time::default(),
            waiting: VecDeque::new(),
            wanted: BTreeSet::new(),
            held: BTreeSet::new(),
            watched: BTreeSet::new(),
            opens: BTreeSet::new(),
            gone_off: BTreeSet::new(),
            queue_epoch: 0,
            last_notified: Time::default(),
            last_answered: Time::default(),
            journal: JournalSnapshot::default(),
            uncommitted: Vec::new(),
            checks: Checks::default(),
            contents: Contents::default(),
            grants: Grants::default(),
            servers: Servers::default(),
            asking: Asking::default(),
        };
        for _ in 0..4 {
            simulation.add_pod();
        }
        simulation.run_for(ms(10_000));
        simulation.push(ms(0), Todo::StartAgent);
        // A first start takes what it finds as it is: nothing changes during it.
        simulation.run_for(ms(25_000));
        simulation.push(ms(0), Todo::Act);
        simulation
    }

    fn push(&mut self, after: Duration, todo: Todo) {
        self.order += 1;
        self.todo.insert((self.now + after, self.order), todo);
    }

    /// A time below so many microseconds.
    fn micros(&mut self, end: u64) -> Duration {
        Duration::from_micros(self.rng.below(end))
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while self.step(end) {
            steps += 1;
            assert!(steps < MOST_STEPS, "steps without end");
        }
        self.now = end;
    }

    /// The next thing until `end`.
    fn step(&mut self, end: Time) -> bool {
        let timer = self.machine.as_ref().and_then(Machine::poll_timeout);
        let timer = timer.map(|due| due.max(self.stalled_until).max(self.now));
        let next = self.todo.first_key_value().map(|((due, _), _)| *due);
        if let Some(due) = timer.filter(|due| *due <= end && next.is_none_or(|next| *due < next)) {
            self.now = due;
            self.agent_timeout();
            return true;
        }
        let Some(entry) = self.todo.first_entry().filter(|entry| entry.key().0 <= end) else { return false };
        let ((due, _), todo) = entry.remove_entry();
        self.now = due;
        self.carry_out(todo);
        true
    }

    /// Chance ends, everything that is broken is mended, and time passes until nothing is to come.
    fn calm_down(&mut self) {
        while self.acts_left > 0 {
            self.run_for(ms(60_000));
        }
        for uid in std::mem::take(&mut self.broken) {
            self.write_annotations(&uid, 0);
        }
        // Whatever the kubelet has begun is over by then.
        self.run_for(ms(10_000));
        self.publish_good();
        self.push(ms(0), Todo::Sync(self.life));
        for uid in self.pods.keys().cloned().collect::<Vec<_>>() {
            if self.node.pod(&uid).containers.is_empty() {
                self.push(ms(0), Todo::StartContainer(uid));
            }
        }
        // What is withheld is told when a process has lived for ten minutes.
        self.run_for(ms(1_400_000));
    }

    /// The files that count of what a program sees.
    fn seen(&mut self, pod: &PodUid) -> BTreeMap<Name, Digest> {
        let mine = self.visible.iter().filter(|(volume, _)| volume.pod == *pod);
        let mine: Vec<(VolumeRef, Generation)> = mine.map(|(v, g)| (v.clone(), g.clone())).collect();
        let content = |(volume, generation): (VolumeRef, Generation)| {
            let digest = self.node.volume(&volume).digests[&generation];
            (volume.volume, digest)
        };
        mine.into_iter().map(content).collect()
    }

    fn listed(&self) -> Vec<Arc<Pod>> {
        self.pods.values().cloned().map(Arc::new).collect()
    }
}

/// Gives back how many deliveries there were, after how many of them an open counted, how many were made for want of one, how
/// many contents ended a replica before another one had them, how many requests were acknowledged and were given up, and how many
/// containers were ended by grants, and grants carried out.
fn simulate(seed: u64) -> [u32; 8] {
    let mut simulation = Simulation::new(seed);
    simulation.calm_down();
    simulation.check_at_rest();
    let Checks { delivered, rereads, retold, .. } = simulation.checks;
    let asking = simulation.asking;
    let Grants { ended, carried, .. } = simulation.grants;
    [delivered, rereads, retold, simulation.contents.spared, asking.delivered, asking.refused, ended, carried]
}

#[test]
fn whatever_happens_every_process_hears_of_the_newest_files_and_none_of_them_twice() {
    let Some(all) = seeds::simulate(SEEDS, simulate) else { return };
    assert!(
        all.iter().all(|count| *count > 0),
        "told, reread, told again, spared, acknowledged, given up, ended by grants and carried out: {all:?}"
    );
}
