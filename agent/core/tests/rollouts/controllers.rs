//! Controllers, and what lies between them and the API server.

use std::collections::BTreeMap;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::model::restart::Grant;
use reloadlet_core::policy::rollout::Clock;
use reloadlet_core::rollouts::controller::Controller;
use reloadlet_core::rollouts::event::{
    Action, Answer, Disruption, Event, Granted, Listed, Mark, Report, Restart, Wait,
};
use reloadlet_core::rollouts::ledger::{Access, Shard};
use reloadlet_core::rollouts::settings::{Calendar, Options};
use reloadlet_core::rollouts::workload::WorkloadRef;

use crate::cluster::{Template, ms, number, whole};
use crate::pods::PodState;
use crate::simulation::{Simulation, Todo};

/// A controller that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) machine: Controller,
    timer: Option<Time>,
    /// When the last event of its watches comes.
    watched: Time,
}

impl Running {
    /// Who waits, and for what.
    pub(crate) fn waiting(&self) -> Vec<(WorkloadRef, Wait)> {
        self.machine.waiting().map(|(who, wait)| (who.clone(), wait)).collect()
    }
}

/// What is decided about a request.
enum Fate {
    Answered,
    /// It is done, and nobody hears of it.
    Unheard,
    /// It isn't done.
    Lost,
}

impl Simulation {
    /// A controller starts, and lists what there is.
    pub(crate) fn start(&mut self) -> u32 {
        self.instances += 1;
        let id = self.instances;
        let machine = Controller::new(self.options, Calendar::new(clock));
        self.running.insert(id, Running { machine, timer: None, watched: self.now });
        for object in self.cluster.objects.keys().cloned().collect::<Vec<_>>() {
            let seen = self.cluster.seen(&object);
            self.watch(id, Event::Object(object, seen));
        }
        for who in self.cluster.workloads.keys().cloned().collect::<Vec<_>>() {
            let workload = self.cluster.workload(&who);
            self.watch(id, Event::Workload(who, workload));
        }
        self.watch(id, Event::Fence(true));
        self.watch(id, Event::Holds { all: self.is_held, namespaces: Vec::new() });
        self.watch(id, Event::Synced);
        self.ask(id);
        id
    }

    /// All watches show something, each when it comes to it.
    pub(crate) fn show(&mut self, event: &Event) {
        for id in self.running.keys().copied().collect::<Vec<_>>() {
            self.watch(id, event.clone());
        }
    }

    pub(crate) fn show_workload(&mut self, who: &WorkloadRef) {
        let workload = self.cluster.workload(who);
        self.show(&Event::Workload(who.clone(), workload));
    }

    fn watch(&mut self, id: u32, event: Event) {
        if self.is_mute && matches!(event, Event::Workload(..)) && self.rolls > 0 {
            return;
        }
        let lag =
            if self.rng.percent(3) && !self.is_calm { self.rng.below(20_000) } else { self.rng.below(100) };
        let at = self.now + ms(lag);
        let Some(running) = self.running.get_mut(&id) else { return };
        running.watched = running.watched.max(at);
        let at = running.watched;
        self.push(at, Todo::Deliver(id, Box::new(event)));
    }

    pub(crate) fn deliver(&mut self, id: u32, event: Event) {
        let now = self.now;
        let Some(running) = self.running.get_mut(&id) else { return };
        running.machine.handle(event, now);
        self.ask(id);
    }

    pub(crate) fn time_out(&mut self, id: u32, at: Time) {
        let now = self.now;
        let Some(running) = self.running.get_mut(&id) else { return };
        if running.timer == Some(at) {
            running.timer = None;
            running.machine.handle_timeout(now);
            self.ask(id);
        }
    }

    /// Has done what a controller wants.
    fn ask(&mut self, id: u32) {
        let now = self.now;
        let Some(running) = self.running.get_mut(&id) else { return };
        let mut actions = Vec::new();
        while let Some(action) = running.machine.poll_action(now) {
            actions.push(action);
            assert!(actions.len() < 10_000, "no end of {:?}", actions.last());
        }
        let timer = running.machine.poll_timeout();
        if let Some(at) = timer.filter(|at| running.timer.is_none_or(|known| *at < known)) {
            running.timer = Some(at.max(now));
            self.push(at.max(now), Todo::Timer(id, at.max(now)));
        }
        for action in actions {
            self.trace(&format!("{id} -> {action:?}"));
            self.listings += u32::from(matches!(action, Action::ListPods(_)));
            match action {
                Action::Report(who, report) => self.report(&who, &report),
                action @ (Action::Access(..)
                | Action::Fetch(_)
                | Action::ListPods(_)
                | Action::Refetch(_)
                | Action::Grant(..)
                | Action::LookAt(..)
                | Action::Roll(..)) => {
                    let is_slow = matches!(action, Action::Fetch(_) | Action::ListPods(_));
                    let slowness = if is_slow { self.slowness } else { Duration::ZERO };
                    let pause = ms(1 + self.rng.below(60)) + slowness;
                    self.push(self.now + pause, Todo::Ask(id, Box::new(action)));
                }
            }
        }
    }

    fn report(&mut self, who: &WorkloadRef, report: &Report) {
        match report {
            Report::Restarting(objects) => assert!(!objects.is_empty(), "{who} for nothing"),
            Report::NotInPlace(obstacle, instead) => self.obstacles.push((*obstacle, *instead)),
            Report::Started(objects) => {
                assert!(!objects.is_empty(), "{who} for nothing");
                // Of two that run, both may find that a record is what each of them wanted.
                self.started += u32::from(self.running.len() == 1);
            }
            Report::Finished => self.finished += 1,
            Report::Failed => self.failed += 1,
            Report::Emptied => self.emptied += 1,
            Report::Waits(_) | Report::Undone | Report::Stale(_) | Report::Refused(_) => {}
            Report::Blocked(wait, why) => self.blocked.push((who.clone(), *wait, why.clone())),
            Report::Problems(problems) => self.problems.extend(problems.iter().cloned()),
        }
    }

    /// A request has come to the API server.
    pub(crate) fn answer(&mut self, id: u32, action: Action) {
        let is_refused = match &action {
            Action::Access(_, Access::Write(..)) => self.refused.writes,
            Action::Access(_, Access::Read) => self.refused.reads,
            Action::ListPods(who) => self.refused.lists.contains(who),
            Action::LookAt(..) => self.refused.looks,
            Action::Fetch(object) => self.refused.fetches.as_ref() == Some(object),
            Action::Refetch(_) | Action::Roll(..) | Action::Grant(..) | Action::Report(..) => false,
        };
        let fate = match self.rng.below(100) {
            _ if is_refused => Fate::Lost,
            0..3 if !self.is_calm => Fate::Lost,
            3..6 if !self.is_calm => Fate::Unheard,
            _ if self.lost_writes > 0 && matches!(action, Action::Access(_, Access::Write(..))) => {
                self.lost_writes -= 1;
                Fate::Lost
            }
            _ => Fate::Answered,
        };
        let none = match &action {
            Action::Access(shard, access) => {
                let what = if *access == Access::Read { "read" } else { "written" };
                Event::Lost(*shard, Some(format!("it can't be {what}")))
            }
            Action::Fetch(object) => Event::Unfetched(object.clone(), "it can't be read".to_owned()),
            Action::ListPods(who) => Event::Unlisted(who.clone(), "they can't be listed".to_owned()),
            Action::LookAt(who, ..) => Event::Unlooked(who.clone()),
            Action::Grant(who, _) => Event::Granted(who.clone(), Granted::Conflict),
            Action::Roll(who, _) => Event::Rolled(who.clone(), Answer::Conflict),
            Action::Refetch(_) | Action::Report(..) => {
                Event::Holds { all: self.is_held, namespaces: Vec::new() }
            }
        };
        let event = match fate {
            Fate::Lost => none,
            Fate::Unheard => {
                self.act(action);
                none
            }
            Fate::Answered => self.act(action),
        };
        // Nobody asks for records again at once.
        let pause = if is_refused && matches!(event, Event::Lost(..)) {
            ms(3_000)
        } else {
            ms(1 + self.rng.below(60))
        };
        self.push(self.now + pause, Todo::Deliver(id, Box::new(event)));
    }

    fn act(&mut self, action: Action) -> Event {
        match action {
            Action::Access(shard, access) => self.access(shard, access),
            Action::Fetch(object) => {
                let content = self.cluster.content(&object);
                Event::Content(object, content)
            }
            Action::ListPods(who) => {
                let pods = self.cluster.pods(&who, self.now);
                let marks = self.cluster.marks(&who);
                let workload = self.cluster.workloads.get(&who);
                let mark = workload.and_then(|workload| workload.template.marker.clone());
                let is_guarded = workload.is_some_and(|workload| workload.is_guarded);
                let disruption = if is_guarded { Disruption::Forbidden } else { Disruption::Allowed };
                Event::Pods(who, Listed { mark, pods, marks, disruption })
            }
            Action::Refetch(_) if self.is_mute => Event::Holds { all: self.is_held, namespaces: Vec::new() },
            Action::Refetch(who) => {
                let workload = self.cluster.workload(&who);
                Event::Workload(who, workload)
            }
            Action::Roll(who, _) if self.refused.rolls.contains(&who) => {
                Event::Rolled(who, Answer::Refused("annotations: Too long".to_owned()))
            }
            Action::Roll(who, _) if self.refused.conflicts.contains(&who) => {
                Event::Rolled(who, Answer::Conflict)
            }
            Action::Roll(who, mark) => {
                let answer = self.patch(&who, mark);
                let answer = if self.is_mute { Answer::Conflict } else { answer };
                Event::Rolled(who, answer)
            }
            Action::Grant(who, restart) => {
                let granted = self.grant(&who, &restart);
                Event::Granted(who, granted)
            }
            Action::LookAt(who, name, hears) => {
                let pods = self.cluster.pods(&who, self.now);
                let said = if hears { self.cluster.said_of(&who, &name) } else { Vec::new() };
                Event::Looked(who, pods.into_iter().find(|pod| pod.name == name), said)
            }
            Action::Report(..) => unreachable!("it was made at once"),
        }
    }

    fn access(&mut self, shard: Shard, access: Access) -> Event {
        let stored = self.cluster.shards.get(&shard).cloned();
        match access {
            Access::Read => {
                let (version, records) = stored
                    .map_or((None, BTreeMap::new()), |(version, records)| (Some(number(version)), records));
                Event::Read(shard, version, records)
            }
            Access::Write(expected, records) => {
                if stored.map(|(version, _)| number(version)) != expected {
                    return Event::Lost(shard, None);
                }
                let version = self.cluster.version();
                self.cluster.shards.insert(shard, (version, records));
                Event::Wrote(shard, number(version))
            }
        }
    }

    /// A template gets a mark, if it is what it was.
    fn patch(&mut self, who: &WorkloadRef, mark: Mark) -> Answer {
        let Some(workload) = self.cluster.workloads.get(who) else { return Answer::Conflict };
        if number(workload.uid) != mark.uid || number(workload.version) != mark.version {
            return Answer::Conflict;
        }
        if workload.template.marker.as_ref() != Some(&mark.marker) {
            self.check_roll(who);
            let template =
                Template { marker: Some(mark.marker), ..self.cluster.workloads[who].template.clone() };
            self.cluster.set_template(who, template, self.now);
            self.trace(&format!("{who} is rolled"));
            self.schedule(who);
            self.show_workload(who);
        }
        Answer::Taken(self.cluster.workload(who).unwrap())
    }

    /// A pod gets a grant, and its agent takes that up, if there is one.
    fn grant(&mut self, who: &WorkloadRef, restart: &Restart) -> Granted {
        let now = self.now;
        if !self.cluster.grant(who, restart) {
            return Granted::Conflict;
        }
        self.trace(&format!("{who} {} is granted a restart", restart.pod));
        let workload = &self.cluster.workloads[who];
        let is_mine = |pod: &&PodState| number(pod.uid) == restart.uid;
        let mine = workload.pods.iter().find(is_mine).unwrap();
        let changed = self.cluster.last_change(who).max(workload.changed);
        // Of an object that is gone nobody says since when.
        let is_recent = whole(mine.started) <= changed + ms(10_000) || now < workload.changed + ms(30_000);
        assert!(
            mine.values != workload.values || is_recent,
            "{who} {} is restarted and has what there is: {workload:?}",
            restart.pod
        );
        let other = workload.pods.iter().filter(|pod| !is_mine(pod)).find(|pod| pod.is_restarted(now));
        assert!(other.is_none(), "{who}: {} is restarted while {other:?} is", restart.pod);
        let uid = mine.uid;
        self.grants += 1;
        let pause = ms(200 + self.rng.below(4_000));
        self.push(now + pause, Todo::Restart(who.clone(), uid, Some(restart.grant.clone())));
        Granted::Taken
    }

    /// A container ends, and is started again.
    pub(crate) fn restart(&mut self, who: &WorkloadRef, uid: u64, grant: Option<&Grant>) {
        let (cluster, rng) = (&mut self.cluster, &mut self.rng);
        if !cluster.restart(who, uid, grant, rng, self.now) {
            // It may be less ready than before.
            self.schedule(who);
            self.show_workload(who);
            return;
        }
        self.trace(&format!("{who} {uid} is restarted"));
        let pods = &self.cluster.workloads[who].pods;
        let is_bad = pods.iter().any(|pod| pod.uid == uid && pod.available.is_none());
        self.schedule(who);
        self.show_workload(who);
        // One that doesn't work ends again, or stays as it is.
        if is_bad && uid.is_multiple_of(2) {
            self.push(self.now + ms(20_000), Todo::Restart(who.clone(), uid, None));
        }
    }

    /// Every roll has a reason, and none has two. Another key that is changed meanwhile is taken for one, since nothing says which it was.
    fn check_roll(&mut self, who: &WorkloadRef) {
        let may_be_stale = self.cluster.may_be_stale(who);
        let changed = self.cluster.last_change(who);
        let workload = self.cluster.workloads.get_mut(who).unwrap();
        // What no more than a list names isn't among the values.
        if workload.asks_itself {
            let is_recent = self.now < workload.changed + ms(30_000);
            assert!(
                may_be_stale || is_recent,
                "{who} is rolled, and none of its pods is stale: {workload:?}"
            );
            assert!(workload.epoch > 0, "{who} is rolled at the installation");
            let is_new = workload.rolled.is_none_or(|(epoch, at)| epoch != workload.epoch || at < changed);
            assert!(is_new, "{who} is rolled again for one content: {workload:?}");
        }
        workload.rolled = Some((workload.epoch, self.now));
        workload.rolls += 1;
        self.rolls += 1;
    }
}

/// All zones are one, and the time since the epoch begins on a Monday.
fn clock(zone: &str, at: Time) -> Option<Clock> {
    if zone != "UTC" {
        return None;
    }
    let minutes = at.elapsed_since_boot().as_secs() / 60;
    let day = u8::try_from(minutes / (24 * 60) % 7).unwrap();
    Some(Clock { day, minute: u16::try_from(minutes % (24 * 60)).unwrap() })
}

pub(crate) fn options() -> Options {
    Options { most: 2, most_each: 2, interval: ms(20_000), limit: ms(120_000), ..Options::default() }
}
