//! The work of the replica that holds the Lease.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use reloadlet_core::Time;
use reloadlet_core::model::names::Name;
use reloadlet_core::policy::rollout::Clock;
use reloadlet_core::rollouts::controller::Controller;
use reloadlet_core::rollouts::event::{Action, Event};
use reloadlet_core::rollouts::settings::{Calendar, Looks, Options};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::asker::Asker;
use super::desk::{Desk, Question};
use super::leader::Leadership;
use super::people::People;
use super::queue::Queue;
use super::requests::Executor;
use super::state::{NoKey, State};
use super::watches::{Holds, Scope, Told, Watches};
use crate::api::backoff::{Backoff, chances};
use crate::api::fence::Gate;
use crate::cli::ControllerConfig;
use crate::clock;
use crate::logs::Causes;

/// So much that was heard is taken in before anything is done.
const AT_ONCE: usize = 256;
/// So many requests are under way or wait for their turn: each takes 5 KB meanwhile.
const MOST_UNDER_WAY: usize = 64;
/// How often it is counted what waits.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// The longest sleep: nothing depends on it.
const LONG: Duration = Duration::from_secs(3600);

/// The options of the core that the flags ask for.
fn options(config: &ControllerConfig) -> Options {
    Options {
        looks: Looks { annotations: config.reloader_annotations, secrets: config.secrets },
        most: config.max_rollouts,
        most_each: config.max_rollouts_per_namespace,
        debounce: config.debounce,
        interval: config.min_interval,
        limit: config.deadline,
    }
}

/// What a zone's clocks show, by the database of time zones that is part of the program.
fn clock_of(zone: &str, at: Time) -> Option<Clock> {
    let zone = TimeZone::get(zone).ok()?;
    let elapsed = SignedDuration::try_from(at.elapsed_since_boot()).ok()?;
    let now = Timestamp::UNIX_EPOCH.checked_add(elapsed).ok()?.to_zoned(zone);
    Some(Clock {
        day: u8::try_from(now.weekday().to_monday_zero_offset()).ok()?,
        minute: u16::try_from(now.hour()).ok()? * 60 + u16::try_from(now.minute()).ok()?,
    })
}

/// A clock of the time since the epoch that never goes back.
#[derive(Default)]
struct Epoch(Time);

impl Epoch {
    fn now(&mut self) -> Time {
        self.0 = self.0.max(Time::since_boot(clock::wall()));
        self.0
    }
}

/// What a replica works with, whenever the Lease is its own.
pub(super) struct Worker<'a> {
    pub(super) config: &'a ControllerConfig,
    pub(super) asker: Asker,
    pub(super) gate: Gate,
    pub(super) desk: Desk,
    pub(super) people: People,
    pub(super) questions: mpsc::Receiver<Question>,
    pub(super) leadership: watch::Receiver<Leadership>,
}

impl Worker<'_> {
    /// Works whenever the Lease is this replica's.
    pub(super) async fn take_turns(&mut self) -> Result<()> {
        loop {
            if self.lasts().is_some() {
                tracing::info!("this replica leads");
                self.desk.metrics.set_leader(true);
                let ended = self.lead().await;
                self.stop();
                ended?;
                tracing::info!("this replica leads no more");
            }
            tokio::select! {
                changed = self.leadership.changed() => if changed.is_err() { return Ok(()) },
                Some(question) = self.questions.recv() => self.desk.answer(question, None),
            }
        }
    }

    /// The work has stopped, and so says whoever is asked.
    pub(super) fn stop(&self) {
        self.desk.metrics.set_leader(false);
        self.desk.metrics.set_waiting([]);
        self.desk.metrics.set_workloads(0);
        self.desk.is_synced.store(false, Ordering::Relaxed);
    }

    /// Works until the Lease is lost. What is under way then is given up.
    async fn lead(&mut self) -> Result<()> {
        let state = State::new(self.asker.clone(), self.config.namespace.clone());
        self.take_key(&state).await?;
        let scope = Scope {
            own: &self.config.namespace,
            namespaces: &self.config.namespaces,
            secrets: self.config.secrets,
            annotations: self.config.reloader_annotations,
        };
        let executor = Executor {
            asker: self.asker.clone(),
            state,
            gate: self.gate.clone(),
            annotations: self.config.reloader_annotations,
        };
        let mut watches = Watches::start(self.asker.cluster(), &scope);
        let mut work = Work {
            machine: Controller::new(options(self.config), Calendar::new(clock_of)),
            executor,
            tasks: JoinSet::new(),
            lists: Queue::default(),
            epoch: Epoch::default(),
            unlisted: watches.count,
            holds: Holds::default(),
        };
        let mut fence = self.gate.standing();
        work.handle(Event::Fence(self.gate.allows()));
        let mut counting = tokio::time::interval(COUNT_EVERY);
        counting.set_missed_tick_behavior(MissedTickBehavior::Delay);
        work.act(&mut self.people);
        while let Some(lasts) = self.lasts() {
            let timer = work.timer();
            tokio::select! {
                told = watches.told.recv() => {
                    let Some(told) = told else { break };
                    self.take(&mut work, told);
                    for _ in 0..AT_ONCE {
                        let Ok(told) = watches.told.try_recv() else { break };
                        self.take(&mut work, told);
                    }
                }
                Some(done) = work.tasks.join_next() => {
                    work.end(done.context("a task of the controller ended unexpectedly")?);
                }
                Some(question) = self.questions.recv() => {
                    let now = work.epoch.now();
                    self.desk.answer(question, Some((&work.machine, &self.people, &work.holds, now)));
                }
                changed = fence.changed() => {
                    // Its sender runs as long as this process.
                    changed.context("nobody proves the fence any more")?;
                    work.handle(Event::Fence(self.gate.allows()));
                }
                _ = counting.tick() => {
                    self.desk.metrics.set_waiting(work.machine.waiting().map(|(_, wait)| wait));
                    self.desk.metrics.set_workloads(work.machine.asking());
                }
                () = tokio::time::sleep(timer) => work.time_out(),
                () = tokio::time::sleep(lasts) => {}
                changed = self.leadership.changed() => if changed.is_err() { break },
            }
            work.act(&mut self.people);
        }
        Ok(())
    }

    /// For how long the Lease is this replica's.
    fn lasts(&mut self) -> Option<Duration> {
        self.leadership.borrow_and_update().lasts(clock::now())
    }

    fn take(&mut self, work: &mut Work, told: Told) {
        if let Told::Workload(who, workload) = &told {
            let uid = work.machine.uid(who).cloned();
            let is_gone = |uid: &Name| workload.as_ref().is_none_or(|workload| workload.uid != *uid);
            if let Some(uid) = uid.filter(is_gone) {
                self.people.forget(who, &uid);
            }
        }
        if work.take(told) {
            tracing::info!(workloads = work.machine.asking(), "all workloads and objects are listed");
            self.desk.is_synced.store(true, Ordering::Relaxed);
        }
    }

    /// Has the key taken. Where it can't be had, it is asked for again.
    async fn take_key(&mut self, state: &State) -> Result<()> {
        let mut backoff = Backoff::new();
        while self.lasts().is_some() {
            match state.take_key().await {
                Ok(()) => break,
                Err(error @ NoKey::Another) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(
                        error = %Causes(&error),
                        "the controller has no key for what it remembers: it rolls nothing"
                    );
                    let pause = tokio::time::sleep(backoff.failed(None, chances()));
                    tokio::pin!(pause);
                    loop {
                        tokio::select! {
                            () = &mut pause => break,
                            Some(question) = self.questions.recv() => self.desk.answer(question, None),
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// What came of something that was done.
struct Done {
    event: Option<Event>,
    /// In which namespace pods were listed, if that was it.
    listed_in: Option<Name>,
}

/// The controller's core, with what it has under way.
struct Work {
    machine: Controller,
    executor: Executor,
    tasks: JoinSet<Done>,
    /// The lists of pods that are to be made.
    lists: Queue,
    epoch: Epoch,
    /// How many watches haven't told all that there is.
    unlisted: usize,
    holds: Holds,
}

impl Work {
    /// Takes in what was heard. Whether everything is known for the first time.
    fn take(&mut self, told: Told) -> bool {
        match told {
            Told::Workload(who, workload) => self.handle(Event::Workload(who, workload)),
            Told::Object(object, seen) => self.handle(Event::Object(object, seen)),
            Told::Holds(holds) => {
                let namespaces = holds.namespaces.keys().cloned().collect();
                self.handle(Event::Holds { all: holds.all.is_some(), namespaces });
                self.holds = holds;
            }
            // Later it says so again after each listing.
            Told::Listed if self.unlisted > 0 => {
                self.unlisted -= 1;
                if self.unlisted == 0 {
                    self.handle(Event::Synced);
                    return true;
                }
            }
            Told::Listed => {}
        }
        false
    }

    fn handle(&mut self, event: Event) {
        let now = self.epoch.now();
        self.machine.handle(event, now);
    }

    fn time_out(&mut self) {
        let now = self.epoch.now();
        self.machine.handle_timeout(now);
    }

    /// How long it is until time has to be told.
    fn timer(&mut self) -> Duration {
        let now = self.epoch.now();
        self.machine.poll_timeout().map_or(LONG, |at| at.since(now).min(LONG))
    }

    /// Has done what is to be done, as much of it as may be under way at a time. Lists of pods, which may take long, wait apart from all else.
    fn act(&mut self, people: &mut People) {
        let now = self.epoch.now();
        while self.tasks.len() < MOST_UNDER_WAY
            && let Some(action) = self.machine.poll_action(now)
        {
            match action {
                Action::Report(ref who, ref report) => people.tell(who, self.machine.uid(who), report, now),
                Action::ListPods(who) => self.lists.add(who),
                Action::Access(..)
                | Action::Fetch(_)
                | Action::Refetch(_)
                | Action::Roll(..)
                | Action::Grant(..)
                | Action::LookAt(..) => self.begin(action, None),
            }
        }
        while let Some(who) = self.lists.take() {
            let namespace = who.namespace.clone();
            self.begin(Action::ListPods(who), Some(namespace));
        }
    }

    fn begin(&mut self, action: Action, listed_in: Option<Name>) {
        tracing::trace!(?action, "to be done");
        let done = self.executor.clone().carry_out(action);
        self.tasks.spawn(async move { Done { event: done.await, listed_in } });
    }

    /// Something was done.
    fn end(&mut self, done: Done) {
        if let Some(namespace) = done.listed_in {
            self.lists.ended(&namespace);
        }
        if let Some(event) = done.event {
            self.handle(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reloadlet_core::rollouts::workload::{Kind, WorkloadRef};

    use super::super::metrics::Metrics;
    use super::super::testing::Server;
    use super::super::tests::config;
    use super::*;
    use crate::api::events::{self, Speaks};
    use crate::api::fence::{self, Trial};

    #[tokio::test]
    async fn however_many_lists_of_pods_wait_few_are_under_way() {
        let server = Server::new();
        server.serve(|path, _| {
            let name = path.rsplit('/').next()?;
            let workload = format!(
                r#"{{"metadata": {{"name": "{name}", "namespace": "shop", "uid": "u-1"}}, "spec": {{"selector": {{}},
                    "template": {{"spec": {{"containers": [{{"name": "app"}}]}}}}}}}}"#
            );
            let is_list = ["pods", "replicasets", "poddisruptionbudgets"].contains(&name);
            Some(if is_list { r#"{"items": []}"#.to_owned() } else { workload })
        });
        let asker = server.asker();
        let (notes, _sender) = events::channel(asker.cluster().clone(), Speaks::of_controller("me"));
        let mut people = People::new(notes, Arc::new(Metrics::new().unwrap()));
        let trial = Trial::Roll { deployment: "reloadlet-controller".to_owned() };
        let (gate, _prover) = fence::channel(asker.cluster().clone(), trial, true, |_| {});
        let state = State::new(asker.clone(), "reloadlet".to_owned());
        let mut work = Work {
            machine: Controller::new(options(&config()), Calendar::new(clock_of)),
            executor: Executor { asker, state, gate, annotations: false },
            tasks: JoinSet::new(),
            lists: Queue::default(),
            epoch: Epoch::default(),
            unlisted: 1,
            holds: Holds::default(),
        };
        // What else the core wants is under way beside them.
        work.act(&mut people);
        let mut others = work.tasks.len();
        for n in 0..20 {
            let (namespace, name) = (format!("shop-{}", n % 5), format!("web-{n}"));
            let (namespace, name) = (namespace.as_str().into(), name.as_str().into());
            work.lists.add(WorkloadRef { kind: Kind::Deployment, namespace, name });
        }
        work.act(&mut people);
        let mut listed = 0;
        while let Some(done) = work.tasks.join_next().await {
            let done = done.unwrap();
            let is_list = matches!((&done.listed_in, &done.event), (Some(_), Some(Event::Pods(..))));
            listed += usize::from(is_list);
            others -= usize::from(!is_list);
            work.end(Done { event: None, ..done });
            work.act(&mut people);
            assert!(work.tasks.len() <= others + 3, "{} {others}", work.tasks.len());
        }
        assert_eq!((listed, others), (20, 0));
    }

    #[test]
    fn the_clocks_of_a_zone_are_those_of_the_people_there() {
        // 2026-03-29 00:59:00 and 01:00:00 UTC, between which Berlin's clocks go from 2 to 3: a Sunday.
        let at = |second: u64| Time::since_boot(Duration::from_secs(1_774_745_940 + second));
        let clock = |day, minute| Some(Clock { day, minute });
        assert_eq!(clock_of("UTC", at(0)), clock(6, 59));
        assert_eq!(clock_of("Europe/Berlin", at(0)), clock(6, 119));
        assert_eq!(clock_of("Europe/Berlin", at(60)), clock(6, 180));
        assert_eq!(clock_of("America/New_York", at(0)), clock(5, 20 * 60 + 59));
        for unknown in ["", "Nowhere/City", "../../etc/passwd", "/etc/localtime"] {
            assert_eq!(clock_of(unknown, at(0)), None, "{unknown}");
        }
    }
}
