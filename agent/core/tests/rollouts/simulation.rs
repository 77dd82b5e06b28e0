//! The simulation: time, what is to come, and what must hold at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::{ObjectKind, ObjectRef};
use reloadlet_core::model::restart::Grant;
use reloadlet_core::policy::problem::Problem;
use reloadlet_core::rollouts::event::{Action, Event, Obstacle, Wait};
use reloadlet_core::rollouts::settings::Options;
use reloadlet_core::rollouts::workload::{Kind, WorkloadRef};

use crate::cluster::{Cluster, Deployed, Used, ms};
use crate::controllers::{Running, options};
use crate::rng::Rng;
use crate::seeds;

/// So many seeds are tried where nobody says how many.
const SEEDS: u64 = 150;
/// So much happens.
const HAPPENINGS: u32 = 40;

/// Something that is to come.
#[derive(Debug)]
pub(crate) enum Todo {
    Deliver(u32, Box<Event>),
    Ask(u32, Box<Action>),
    Timer(u32, Time),
    /// Kubernetes' controllers look at a workload.
    Replace(WorkloadRef),
    /// A pod's container ends, for this grant or by itself.
    Restart(WorkloadRef, u64, Option<Grant>),
    Happen,
    Set(ObjectRef, BTreeMap<Name, u64>),
    Start,
    End(u32),
}

pub(crate) struct Simulation {
    pub(crate) rng: Rng,
    pub(crate) now: Time,
    queue: BTreeMap<(Time, u64), Todo>,
    pushed: u64,
    pub(crate) cluster: Cluster,
    /// When Kubernetes' controllers look at a workload.
    scheduled: BTreeMap<WorkloadRef, Time>,
    pub(crate) options: Options,
    pub(crate) names: Vec<ObjectRef>,
    pub(crate) running: BTreeMap<u32, Running>,
    pub(crate) instances: u32,
    pub(crate) is_held: bool,
    pub(crate) is_calm: bool,
    pub(crate) values: u64,
    happened: u32,
    pub(crate) rolls: u32,
    /// How many starts were said by a controller that was alone.
    pub(crate) started: u32,
    pub(crate) finished: u32,
    pub(crate) failed: u32,
    /// How many rolls were over as there were no pods any more.
    pub(crate) emptied: u32,
    pub(crate) problems: Vec<Problem>,
    /// How many grants pods got.
    pub(crate) grants: u32,
    /// What was said against restarts in place, and whether new pods take their place.
    pub(crate) obstacles: Vec<(Obstacle, bool)>,
    /// How often pods were listed.
    pub(crate) listings: u32,
    /// So many of the next records that are to be written aren't.
    pub(crate) lost_writes: u32,
    /// What is refused as long as it is here.
    pub(crate) refused: Refused,
    /// So much longer it takes than usual to list pods, and to fetch what an object holds.
    pub(crate) slowness: Duration,
    /// Nothing is heard of the workloads once one was rolled, nor what came of that.
    pub(crate) is_mute: bool,
    /// What was said to be kept by something that can't be done.
    pub(crate) blocked: Vec<(WorkloadRef, Wait, String)>,
}

/// What the API server refuses.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// To write records, and to read them.
    pub(crate) writes: bool,
    pub(crate) reads: bool,
    /// To list the pods of these.
    pub(crate) lists: BTreeSet<WorkloadRef>,
    /// To show what this object holds.
    pub(crate) fetches: Option<ObjectRef>,
    /// To show any pod.
    pub(crate) looks: bool,
    /// To change the templates of these, for good or as if somebody had written them meanwhile.
    pub(crate) rolls: BTreeSet<WorkloadRef>,
    pub(crate) conflicts: BTreeSet<WorkloadRef>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut simulation = Self::empty(seed);
        simulation.install();
        simulation
    }

    /// A cluster without anything, in which nothing fails.
    pub(crate) fn calm() -> Self {
        Self { is_calm: true, ..Self::empty(1) }
    }

    fn empty(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            now: Time::since_boot(Duration::from_secs(1_000_000)),
            queue: BTreeMap::new(),
            pushed: 0,
            cluster: Cluster::default(),
            scheduled: BTreeMap::new(),
            options: options(),
            names: Vec::new(),
            running: BTreeMap::new(),
            instances: 0,
            is_held: false,
            is_calm: false,
            values: 0,
            happened: 0,
            rolls: 0,
            started: 0,
            problems: Vec::new(),
            grants: 0,
            obstacles: Vec::new(),
            listings: 0,
            lost_writes: 0,
            refused: Refused::default(),
            is_mute: false,
            blocked: Vec::new(),
            finished: 0,
            failed: 0,
            emptied: 0,
            slowness: Duration::ZERO,
        }
    }

    /// A workload is there from now on.
    pub(crate) fn deploy(&mut self, who: WorkloadRef, deployed: Deployed) {
        self.cluster.workloads.insert(who.clone(), deployed);
        let values = self.cluster.values(&who);
        self.cluster.workloads.get_mut(&who).unwrap().values = values;
        self.schedule(&who);
        self.show_workload(&who);
    }

    /// No controller runs any more.
    pub(crate) fn end_all(&mut self) {
        self.running.clear();
    }

    /// Who waits, and for what.
    pub(crate) fn waiting(&self) -> Vec<(WorkloadRef, Wait)> {
        self.running.values().flat_map(Running::waiting).collect()
    }

    /// Objects and workloads are there before the controller is.
    fn install(&mut self) {
        for namespace in ["one", "two"] {
            for name in ["x", "y", "z"] {
                let object =
                    ObjectRef { kind: ObjectKind::ConfigMap, namespace: namespace.into(), name: name.into() };
                self.names.push(object.clone());
                if name != "z" {
                    let data = [("a".into(), 10), ("b".into(), 20)].into();
                    self.cluster.apply(&object, Some(data), self.now);
                }
            }
            for index in 0..3 {
                let who = WorkloadRef {
                    kind: Kind::Deployment,
                    namespace: namespace.into(),
                    name: format!("web-{index}").as_str().into(),
                };
                let uses = self.uses();
                let uid = self.cluster.version();
                let replicas = 1 + usize::try_from(self.rng.below(3)).unwrap();
                let wave = i32::try_from(self.rng.below(2)).unwrap();
                let mut deployed = Deployed::new(uid, uses, replicas, wave, self.now);
                deployed.manner = self.rng.pick(&["true", "true", "in-place", "in-place,rollout"]).unwrap();
                self.deploy(who, deployed);
            }
        }
        let pause = ms(20_000 + self.rng.below(10_000));
        self.push(self.now + pause, Todo::Start);
        self.push(self.now + ms(60_000), Todo::Happen);
    }

    fn uses(&mut self) -> Vec<Used> {
        let mut uses = Vec::new();
        for name in ["x", "y", "z"] {
            if self.rng.percent(60) || (name == "z" && uses.is_empty()) {
                let key = [None, Some("a".into()), Some("b".into())];
                let key = self.rng.pick(&key).unwrap().clone();
                uses.push((ObjectKind::ConfigMap, name.into(), key));
            }
        }
        uses
    }

    pub(crate) fn push(&mut self, at: Time, todo: Todo) {
        self.pushed += 1;
        self.queue.insert((at, self.pushed), todo);
    }

    /// Kubernetes' controllers look at a workload soon.
    pub(crate) fn schedule(&mut self, who: &WorkloadRef) {
        let pause = ms(20 + self.rng.below(300));
        self.schedule_after(who, pause);
    }

    fn schedule_after(&mut self, who: &WorkloadRef, pause: Duration) {
        let at = self.now + pause;
        if self.scheduled.get(who).is_none_or(|known| at < *known) {
            self.scheduled.insert(who.clone(), at);
            self.push(at, Todo::Replace(who.clone()));
        }
    }

    #[expect(clippy::print_stderr, reason = "somebody asked for it")]
    pub(crate) fn trace(&self, what: &str) {
        if std::env::var_os("RELOADLET_TRACE").is_some() {
            eprintln!("{:?} {what}", self.now);
        }
    }

    pub(crate) fn run(&mut self, until: Time) {
        while let Some(entry) = self.queue.first_entry() {
            let (at, _) = *entry.key();
            if at > until {
                break;
            }
            self.now = self.now.max(at);
            match entry.remove() {
                Todo::Deliver(id, event) => self.deliver(id, *event),
                Todo::Ask(id, action) => self.answer(id, *action),
                Todo::Timer(id, at) => self.time_out(id, at),
                Todo::Replace(who) => self.replace(&who),
                Todo::Restart(who, uid, grant) => self.restart(&who, uid, grant.as_ref()),
                Todo::Happen => {
                    self.happened += 1;
                    self.happen();
                    if self.happened < HAPPENINGS {
                        let pause = ms(1_500 + self.rng.below(25_000));
                        self.push(self.now + pause, Todo::Happen);
                    }
                }
                Todo::Set(object, data) => self.set_back(&object, data),
                Todo::Start => {
                    self.start();
                }
                Todo::End(id) => {
                    self.running.remove(&id);
                    if self.running.is_empty() {
                        self.push(self.now + ms(500), Todo::Start);
                    }
                }
            }
        }
        self.now = self.now.max(until);
    }

    fn replace(&mut self, who: &WorkloadRef) {
        if self.scheduled.get(who).is_none_or(|at| *at > self.now) {
            return;
        }
        self.scheduled.remove(who);
        let (cluster, rng) = (&mut self.cluster, &mut self.rng);
        let is_step = cluster.replace(who, rng, self.now);
        if is_step {
            self.show_workload(who);
        }
        let workload = &self.cluster.workloads[who];
        // What makes no progress for so long makes none by itself.
        let is_late = !is_step && workload.stuck.is_some_and(|since| self.now > since + ms(120_000));
        match workload.is_busy() {
            true if is_late => self.schedule_after(who, ms(5_000)),
            true => self.schedule(who),
            false => {}
        }
    }

    /// Nothing fails any more, and all contents are good.
    fn calm_down(&mut self) {
        self.run(self.now + ms(1_500_000));
        self.is_calm = true;
        self.set_held(false);
        for who in self.cluster.workloads.keys().cloned().collect::<Vec<_>>() {
            self.set_paused(&who, false);
            self.set_agents(&who, None);
            self.scale_to(&who, 2);
        }
        // What was lost while nothing was calm is found by whoever comes next.
        self.running.clear();
        self.start();
        self.run(self.now + ms(20_000));
        for object in self.names.clone() {
            self.values += 2;
            let data = [("a".into(), self.values * 10), ("b".into(), self.values * 10 + 1)].into();
            self.set_back(&object, data);
            self.run(self.now + ms(2_000));
        }
        self.run(self.now + ms(2 * 3_600_000));
        // Pods that were made with a bad content, and by no roll, are a person's matter. Who waits for those is seen to afterwards.
        for _ in 0..3 {
            let waiting = self.waiting();
            for (who, _) in waiting.iter().filter(|(_, wait)| *wait == Wait::Unavailable) {
                self.delete_unavailable(who);
            }
            self.run(self.now + ms(2 * 3_600_000));
        }
    }

    fn check(&self) {
        for (who, workload) in &self.cluster.workloads {
            assert!(!workload.is_busy(), "{who} isn't at rest: {workload:?}");
            assert!(!self.cluster.is_stale(who), "{who} has stale pods: {workload:?}");
        }
        let waiting = self.waiting();
        assert!(waiting.is_empty(), "{waiting:?}");
        assert_eq!(self.problems, []);
        assert!(self.started <= self.rolls, "{} of {}", self.started, self.rolls);
    }
}

/// Gives back how many rolls there were, how many of them were finished, and how many failed.
fn simulate(seed: u64) -> [u32; 3] {
    let mut simulation = Simulation::new(seed);
    simulation.calm_down();
    simulation.check();
    [simulation.rolls, simulation.finished, simulation.failed]
}

#[test]
fn whatever_happens_each_content_is_rolled_once_and_none_is_lost() {
    let Some(all) = seeds::simulate(SEEDS, simulate) else { return };
    assert!(all.iter().all(|count| *count > 0), "rolled, finished and failed: {all:?}");
}
