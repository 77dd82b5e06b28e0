//! What happens to the cluster.

use std::collections::BTreeMap;

use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectRef;
use reloadlet_core::model::restart::Finding;
use reloadlet_core::rollouts::event::Event;
use reloadlet_core::rollouts::workload::WorkloadRef;

use crate::cluster::{BAD, Template, ms};
use crate::simulation::{Simulation, Todo};

impl Simulation {
    /// Something happens.
    pub(crate) fn happen(&mut self) {
        // No two things in one second, so that their order can be seen.
        let objects: Vec<ObjectRef> = self.names.clone();
        let object = self.rng.pick(&objects).unwrap().clone();
        let all: Vec<WorkloadRef> = self.cluster.workloads.keys().cloned().collect();
        let who = self.rng.pick(&all).unwrap().clone();
        match self.rng.below(100) {
            0..40 => self.change(&object),
            40..44 => self.write_again(&object),
            44..50 => self.remove(&object),
            50..56 => self.upgrade(&who),
            56..61 => self.undo(&who),
            61..65 => self.scale(&who),
            65..70 => self.pause(&who),
            70..74 => self.hold(),
            74..82 => self.crash(),
            82..88 => self.second(),
            88..91 => self.agents(&who),
            _ => {
                let other = self.rng.pick(&objects).unwrap().clone();
                self.change(&object);
                self.change(&other);
            }
        }
    }

    fn show_object(&mut self, object: &ObjectRef) {
        let seen = self.cluster.seen(object);
        self.show(&Event::Object(object.clone(), seen));
    }

    pub(crate) fn set(&mut self, object: &ObjectRef, data: Option<BTreeMap<Name, u64>>) {
        self.trace(&format!("{object} is {data:?}"));
        self.cluster.apply(object, data, self.now);
        self.show_object(object);
    }

    fn value(&mut self) -> u64 {
        self.values += 1;
        let value = self.values * 10;
        if self.rng.percent(12) { value + BAD } else { value }
    }

    fn change(&mut self, object: &ObjectRef) {
        let mut data = self.cluster.objects.get(object).map(|stored| stored.data.clone()).unwrap_or_default();
        let key: Name = (*self.rng.pick(&["a", "b", "c"]).unwrap()).into();
        let value = self.value();
        let before = data.insert(key.clone(), value);
        if before.is_some() && self.rng.percent(10) {
            data.remove(&key);
        }
        self.set(object, Some(data.clone()));
        // And back again.
        if let Some(before) = before
            && self.rng.percent(10)
        {
            data.insert(key, before);
            let pause = ms(1_000 + self.rng.below(4_000));
            self.push(self.now + pause, Todo::Set(object.clone(), data));
        }
    }

    pub(crate) fn set_back(&mut self, object: &ObjectRef, data: BTreeMap<Name, u64>) {
        self.set(object, Some(data));
    }

    /// Metadata only, or the same data.
    fn write_again(&mut self, object: &ObjectRef) {
        let data = self.cluster.objects.get(object).map(|stored| stored.data.clone());
        if data.is_some() {
            self.set(object, data);
        }
    }

    fn remove(&mut self, object: &ObjectRef) {
        let Some(stored) = self.cluster.objects.get(object) else { return };
        let mut data = stored.data.clone();
        self.set(object, None);
        if self.rng.percent(50) {
            let value = self.value();
            data.insert("a".into(), value);
        }
        let pause = ms(1_000 + self.rng.below(20_000));
        self.push(self.now + pause, Todo::Set(object.clone(), data));
    }

    /// A chart changes an object and the template together.
    fn upgrade(&mut self, who: &WorkloadRef) {
        let uses = self.cluster.workloads[who].uses.clone();
        let (kind, name, _) = self.rng.pick(&uses).unwrap().clone();
        self.change(&ObjectRef { kind, namespace: who.namespace.clone(), name });
        let template = self.cluster.workloads[who].template.clone();
        self.values += 1;
        self.template(who, Template { chart: self.values, ..template });
    }

    pub(crate) fn template(&mut self, who: &WorkloadRef, template: Template) {
        self.trace(&format!("{who} gets {template:?}"));
        self.cluster.set_template(who, template, self.now);
        self.schedule(who);
        self.show_workload(who);
    }

    pub(crate) fn undo(&mut self, who: &WorkloadRef) {
        let revisions = &self.cluster.workloads[who].revisions;
        let Some((template, _)) = revisions.iter().rev().nth(1).cloned() else { return };
        self.template(who, template);
    }

    fn scale(&mut self, who: &WorkloadRef) {
        let replicas = usize::try_from(self.rng.below(4)).unwrap();
        self.scale_to(who, replicas);
    }

    pub(crate) fn scale_to(&mut self, who: &WorkloadRef, replicas: usize) {
        self.trace(&format!("{who} gets {replicas} replicas"));
        self.cluster.touch(who, |workload| workload.replicas = replicas);
        self.schedule(who);
        self.show_workload(who);
    }

    fn pause(&mut self, who: &WorkloadRef) {
        let is_paused = !self.cluster.workloads[who].is_paused;
        self.set_paused(who, is_paused);
    }

    pub(crate) fn set_paused(&mut self, who: &WorkloadRef, is_paused: bool) {
        self.trace(&format!("{who}: paused is {is_paused}"));
        self.cluster.touch(who, |workload| workload.is_paused = is_paused);
        self.schedule(who);
        self.show_workload(who);
    }

    /// Agents come, go, or find something against restarts.
    fn agents(&mut self, who: &WorkloadRef) {
        let all = [None, None, Some(None), Some(Some(Finding::Unhandled)), Some(Some(Finding::StillRuns))];
        let refuses = *self.rng.pick(&all).unwrap();
        self.set_agents(who, refuses);
    }

    pub(crate) fn set_agents(&mut self, who: &WorkloadRef, refuses: Option<Option<Finding>>) {
        self.trace(&format!("{who}: agents refuse {refuses:?}"));
        self.cluster.workloads.get_mut(who).unwrap().refuses = refuses;
    }

    fn hold(&mut self) {
        let all = !self.is_held;
        self.set_held(all);
    }

    pub(crate) fn set_held(&mut self, all: bool) {
        self.is_held = all;
        self.show(&Event::Holds { all, namespaces: Vec::new() });
    }

    /// A person deletes pods that don't work.
    pub(crate) fn delete_unavailable(&mut self, who: &WorkloadRef) {
        let now = self.now;
        self.cluster.delete_pods(who, |pod| pod.available.is_none_or(|at| at > now));
        self.schedule(who);
        self.show_workload(who);
    }

    /// The controller ends, and another one starts after a while.
    fn crash(&mut self) {
        self.trace("crash");
        self.running.clear();
        let pause = ms(self.rng.below(20_000));
        self.push(self.now + pause, Todo::Start);
    }

    /// A second one starts; the first one ends later.
    fn second(&mut self) {
        let all: Vec<u32> = self.running.keys().copied().collect();
        self.start();
        for id in all {
            let pause = ms(self.rng.below(30_000));
            self.push(self.now + pause, Todo::End(id));
        }
    }
}
