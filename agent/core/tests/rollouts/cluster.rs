//! The cluster as it is: objects, workloads, their pods, and what replaces those.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::{ObjectKind, ObjectRef};
use reloadlet_core::model::restart::Finding;
use reloadlet_core::policy::reloader::Marks;
use reloadlet_core::rollouts::content::{Content, Seen, Value};
use reloadlet_core::rollouts::ledger::{Records, Shard};
use reloadlet_core::rollouts::workload::{Counts, Progress, Workload, WorkloadRef};

use crate::pods::PodState;
use crate::rng::Rng;

/// A value of this number, or of ten more, keeps a pod from becoming available.
pub(crate) const BAD: u64 = 7;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An object.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) uid: u64,
    pub(crate) version: u64,
    pub(crate) changed: Time,
    pub(crate) data: BTreeMap<Name, u64>,
}

/// What a container uses: all keys of an object, or one.
pub(crate) type Used = (ObjectKind, Name, Option<Name>);
/// What it has of that.
pub(crate) type Values = BTreeMap<(ObjectKind, Name, Name), u64>;

/// What a template is, beside what it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) marker: Option<Name>,
    pub(crate) chart: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Deployed {
    pub(crate) uid: u64,
    pub(crate) version: u64,
    pub(crate) generation: u64,
    pub(crate) observed: u64,
    pub(crate) uses: Vec<Used>,
    pub(crate) template: Template,
    /// When each revision was made; the newest last.
    pub(crate) revisions: Vec<(Template, Time)>,
    pub(crate) wave: i32,
    /// Whether it asks to be rolled itself.
    pub(crate) asks_itself: bool,
    /// Whether its pods start without the objects that it uses.
    pub(crate) is_optional: bool,
    /// How its pods are to come by what they take at their start.
    pub(crate) manner: &'static str,
    /// What its pods' agents say of grants, instead of ending anything; nothing where no agent is there.
    pub(crate) refuses: Option<Option<Finding>>,
    /// What they say of the containers that they have ended, once those run again.
    pub(crate) finds: Finding,
    /// So long its pods have to end.
    pub(crate) grace: Duration,
    /// Whether its pods have what they use as files, by subPath, and not in their environment.
    pub(crate) has_files: bool,
    /// So many bytes of annotations.
    pub(crate) ballast: usize,
    /// More annotations.
    pub(crate) asks: Vec<(&'static str, &'static str)>,
    pub(crate) is_paused: bool,
    /// Whether it is a StatefulSet.
    pub(crate) is_stateful: bool,
    /// Whether a PodDisruptionBudget allows no disruption.
    pub(crate) is_guarded: bool,
    pub(crate) replicas: usize,
    pub(crate) pods: Vec<PodState>,
    /// Since when its newest pods make no progress.
    pub(crate) stuck: Option<Time>,
    /// What its status says.
    pub(crate) status: Progress,
    /// The values that it uses, how often they have become others, and when they did last.
    pub(crate) values: Values,
    pub(crate) epoch: u64,
    pub(crate) changed: Time,
    /// The epoch at its last roll and when that was, and how many there were.
    pub(crate) rolled: Option<(u64, Time)>,
    pub(crate) rolls: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) objects: BTreeMap<ObjectRef, Stored>,
    pub(crate) workloads: BTreeMap<WorkloadRef, Deployed>,
    pub(crate) shards: BTreeMap<Shard, (u64, Records)>,
    /// What objects say to others: to Reloader, and whether they trigger nothing.
    pub(crate) said: BTreeMap<ObjectRef, (Marks, bool)>,
    versions: u64,
}

/// The deadline of a Deployment.
const DEADLINE: Duration = Duration::from_secs(60);

impl Cluster {
    pub(crate) fn version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    /// Has an object hold this. Whose values are others by that.
    pub(crate) fn apply(&mut self, object: &ObjectRef, data: Option<BTreeMap<Name, u64>>, now: Time) {
        let version = self.version();
        match data {
            None => drop(self.objects.remove(object)),
            Some(data) => {
                let before = self.objects.get(object);
                let is_same = before.is_some_and(|before| before.data == data);
                let changed = if is_same { before.map_or(now, |before| before.changed) } else { now };
                let uid = before.map_or(version, |before| before.uid);
                self.objects.insert(object.clone(), Stored { uid, version, changed, data });
            }
        }
        let users: Vec<WorkloadRef> =
            self.workloads.keys().filter(|who| who.namespace == object.namespace).cloned().collect();
        for who in users {
            let values = self.values(&who);
            let Some(workload) = self.workloads.get_mut(&who) else { continue };
            if workload.values != values {
                workload.values = values;
                workload.epoch += 1;
                workload.changed = now;
            }
        }
    }

    /// What a workload's new pods would have.
    pub(crate) fn values(&self, who: &WorkloadRef) -> Values {
        let mut values = Values::new();
        for (kind, name, key) in &self.workloads[who].uses {
            let object = ObjectRef { kind: *kind, namespace: who.namespace.clone(), name: name.clone() };
            let Some(stored) = self.objects.get(&object) else { continue };
            for (held, value) in
                stored.data.iter().filter(|(held, _)| key.as_ref().is_none_or(|key| key == *held))
            {
                values.insert((*kind, name.clone(), held.clone()), *value);
            }
        }
        values
    }

    /// Whether a workload has a pod that hasn't what it uses now.
    pub(crate) fn is_stale(&self, who: &WorkloadRef) -> bool {
        let workload = &self.workloads[who];
        workload.pods.iter().any(|pod| pod.values != workload.values)
    }

    /// Whether a workload has a pod of which the API server's times don't say that it was made after the last change of an object that
    /// it uses. It may have what there is now all the same, where a content came back or another key was changed.
    pub(crate) fn may_be_stale(&self, who: &WorkloadRef) -> bool {
        let changed = self.last_change(who);
        self.workloads[who].pods.iter().any(|pod| whole(pod.created) <= whole(changed))
    }

    /// When an object that a workload uses was changed last, whichever key of it: the API server says no more.
    pub(crate) fn last_change(&self, who: &WorkloadRef) -> Time {
        let workload = &self.workloads[who];
        let object = |(kind, name, _): &Used| {
            self.objects.get(&ObjectRef { kind: *kind, namespace: who.namespace.clone(), name: name.clone() })
        };
        workload.uses.iter().filter_map(object).map(|stored| stored.changed).max().unwrap_or_default()
    }

    /// Changes a workload's template.
    pub(crate) fn set_template(&mut self, who: &WorkloadRef, template: Template, now: Time) {
        let version = self.version();
        let Some(workload) = self.workloads.get_mut(who) else { return };
        workload.version = version;
        if workload.template != template {
            workload.generation += 1;
            // One that is taken up again is as old as it was.
            let made = workload.made(&template).unwrap_or(now);
            workload.revisions.retain(|(known, _)| *known != template);
            workload.revisions.push((template.clone(), made));
            workload.template = template;
            workload.stuck = Some(now);
        }
    }

    /// Changes something else of a workload's spec.
    pub(crate) fn touch(&mut self, who: &WorkloadRef, change: impl FnOnce(&mut Deployed)) {
        let version = self.version();
        if let Some(workload) = self.workloads.get_mut(who) {
            workload.version = version;
            workload.generation += 1;
            change(workload);
        }
    }

    /// Takes such pods of a workload away.
    pub(crate) fn delete_pods(&mut self, who: &WorkloadRef, are_meant: impl Fn(&PodState) -> bool) {
        let version = self.version();
        if let Some(workload) = self.workloads.get_mut(who) {
            workload.version = version;
            workload.pods.retain(|pod| !are_meant(pod));
        }
    }

    /// Kubernetes' controllers take one step. Whether there was one to take.
    pub(crate) fn replace(&mut self, who: &WorkloadRef, rng: &mut Rng, now: Time) -> bool {
        let fresh = self.values(who);
        let version = self.version();
        let Some(workload) = self.workloads.get_mut(who) else { return false };
        let mut step = workload.replace(fresh, version, rng, now);
        let status = workload.progress(now);
        step |= std::mem::replace(&mut workload.status, status) != status;
        if step {
            workload.version = version;
        }
        step
    }

    pub(crate) fn seen(&self, object: &ObjectRef) -> Option<Seen> {
        let stored = self.objects.get(object)?;
        let (marks, is_ignored) = self.said.get(object).copied().unwrap_or_default();
        Some(Seen { version: number(stored.version), marks, is_ignored })
    }

    pub(crate) fn content(&self, object: &ObjectRef) -> Option<Arc<Content>> {
        let stored = self.objects.get(object)?;
        let value = |(key, value): (&Name, &u64)| {
            let mut bytes = [0; 32];
            let mut state = 0_u64;
            for byte in format!("{object}/{key}={value}").bytes() {
                state = (state ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            }
            for part in bytes.chunks_mut(8) {
                state = (state ^ (state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                part.copy_from_slice(&state.to_le_bytes());
            }
            (key.clone(), Value { digest: Digest::new(bytes), is_binary: false })
        };
        Some(Arc::new(Content {
            uid: number(stored.uid),
            version: number(stored.version),
            is_immutable: false,
            changed: whole(stored.changed),
            // Whoever uses one in this cluster starts without it, too.
            is_original: false,
            keys: stored.data.iter().map(value).collect(),
        }))
    }

    pub(crate) fn workload(&self, who: &WorkloadRef) -> Option<Arc<Workload>> {
        self.workloads.get(who).map(|workload| Arc::new(workload.shown()))
    }

    /// The marks of its revisions.
    pub(crate) fn marks(&self, who: &WorkloadRef) -> Vec<Name> {
        let revisions = self.workloads.get(who).into_iter().flat_map(|workload| &workload.revisions);
        revisions.filter_map(|(template, _)| template.marker.clone()).collect()
    }
}

impl Deployed {
    pub(crate) fn new(uid: u64, uses: Vec<Used>, replicas: usize, wave: i32, now: Time) -> Self {
        let template = Template { marker: None, chart: 0 };
        Self {
            uid,
            version: uid,
            generation: 1,
            observed: 1,
            uses,
            revisions: vec![(template.clone(), now)],
            template,
            wave,
            asks_itself: true,
            is_optional: true,
            manner: "true",
            refuses: None,
            finds: Finding::Current,
            grace: ms(30_000),
            has_files: false,
            ballast: 0,
            asks: Vec::new(),
            is_paused: false,
            is_stateful: false,
            is_guarded: false,
            replicas,
            pods: Vec::new(),
            stuck: None,
            status: Progress::Available,
            values: Values::new(),
            epoch: 0,
            changed: now,
            rolled: None,
            rolls: 0,
        }
    }

    /// When the revision with a template was made.
    pub(crate) fn made(&self, template: &Template) -> Option<Time> {
        self.revisions.iter().find(|(known, _)| known == template).map(|(_, made)| *made)
    }

    fn is_current(&self, pod: &PodState) -> bool {
        pod.template == self.template
    }

    fn replace(&mut self, fresh: Values, version: u64, rng: &mut Rng, now: Time) -> bool {
        if self.observed < self.generation {
            self.observed = self.generation;
            return true;
        }
        if self.pods.len() > self.replicas + 1 || (self.replicas == 0 && !self.pods.is_empty()) {
            self.pods.remove(0);
            return true;
        }
        let is_available = |pod: &PodState| pod.available.is_some_and(|at| at <= now);
        let current = self.pods.iter().filter(|pod| self.is_current(pod)).count();
        let all_new_available = self.pods.iter().filter(|pod| self.is_current(pod)).all(is_available);
        let rolls = !self.is_paused && self.pods.iter().any(|pod| !self.is_current(pod));
        let wants_more = self.pods.len() < self.replicas
            || (rolls && current < self.replicas && self.pods.len() <= self.replicas);
        if wants_more && (all_new_available || self.pods.len() < self.replicas) {
            // A paused Deployment makes pods of the revision that it has.
            let template = match (self.is_paused, self.pods.first()) {
                (true, Some(pod)) => pod.template.clone(),
                _ => self.template.clone(),
            };
            let is_bad = fresh.values().any(|value| value % 10 == BAD);
            let available = (!is_bad).then(|| now + ms(500 + rng.below(3_000)));
            let started = now + ms(500);
            self.pods.push(PodState {
                created: now,
                template,
                values: fresh,
                available,
                uid: version,
                version,
                started,
                instance: version,
                restarts: 0,
                grant: None,
                said: Vec::new(),
            });
            self.stuck = Some(now);
            return true;
        }
        // Those that don't work go first.
        let surplus = self.pods.iter().position(|pod| !self.is_current(pod) && !is_available(pod));
        let surplus = surplus.or_else(|| self.pods.iter().position(|pod| !self.is_current(pod)));
        let available = self.pods.iter().filter(|pod| is_available(pod)).count();
        if rolls
            && let Some(index) = surplus
            && (available > self.replicas || !is_available(&self.pods[index]))
        {
            self.pods.remove(index);
            self.stuck = Some(now);
            return true;
        }
        if self.pods.len() > self.replicas {
            if rolls {
                return false;
            }
            self.pods.pop();
            return true;
        }
        if self.pods.len() == self.replicas && !rolls && self.pods.iter().all(is_available) {
            return self.stuck.take().is_some();
        }
        false
    }

    /// Whether Kubernetes' controllers have something to do, or to wait for.
    pub(crate) fn is_busy(&self) -> bool {
        let rolls = !self.is_paused && self.pods.iter().any(|pod| !self.is_current(pod));
        rolls || self.stuck.is_some() || self.observed < self.generation || self.pods.len() != self.replicas
    }

    /// Whether its status says that all is as it should be.
    pub(crate) fn is_available(&self) -> bool {
        self.observed == self.generation && self.status == Progress::Available
    }

    fn progress(&self, now: Time) -> Progress {
        let available = self.pods.iter().filter(|pod| pod.available.is_some_and(|at| at <= now)).count();
        Progress::of(Counts {
            generation: self.generation,
            observed: self.observed,
            wanted: self.replicas as u64,
            all: self.pods.len() as u64,
            updated: self.pods.iter().filter(|pod| self.is_current(pod)).count() as u64,
            available: available as u64,
            kept: 0,
            is_late: !self.is_paused && self.stuck.is_some_and(|since| now > since + DEADLINE),
        })
    }
}

pub(crate) fn number(number: u64) -> Name {
    number.to_string().as_str().into()
}

pub(crate) fn moment(seconds: u64) -> Time {
    Time::since_boot(Duration::from_secs(seconds))
}

/// A moment as the API server writes it.
pub(crate) fn whole(at: Time) -> Time {
    Time::since_boot(Duration::from_secs(at.elapsed_since_boot().as_secs()))
}
