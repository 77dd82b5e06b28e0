//! One pod that asked for something: routes what happens to its volumes and containers, and carries out the next
//! step of each waiting reload.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::machine::context::Context;
use crate::machine::event::{Action, ReloadReport, Survey, VolumeRef};
use crate::machine::reload::predecessor::Predecessor;
use crate::machine::reload::waiting::Waits;
use crate::machine::reload::{KnownProcesses, Site, Target, Terms};
use crate::machine::volume::{News, Volume};
use crate::machine::watched::Watched;
use crate::model::frozen::Remembered;
use crate::model::generation::Generation;
use crate::model::hash;
use crate::model::journal::{Endings, Handled, JournalKey, LastDelivery, Rereads};
use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::model::outcome::Outcome;
use crate::model::pod::Pod;
use crate::model::time::Time;
use crate::policy::plan::Plan;
use crate::policy::problem::Problem;
use crate::propagation::frozen::{self, Frozen};
use crate::propagation::measuring::Measuring;
use crate::propagation::nudge::{Accelerate, Nudges, Pace};

use self::memory::Memory;
use self::reads::Reads;
use self::restart::Restarts;
use self::starts::Starts;
use self::surveys::Surveys;
use self::unsaid::Unsaid;

mod leaves;
mod measuring;
mod memory;
mod opens;
mod problems;
mod reads;
pub(crate) mod restart;
mod restarting;
mod routing;
mod stages;
mod stale;
mod starts;
mod steps;
mod surveys;
mod unsaid;

/// What a pod begins with from the journal.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) handled: Vec<(JournalKey, Handled)>,
    pub(crate) endings: Vec<(Name, Endings)>,
    pub(crate) rereads: Vec<(Name, Rereads)>,
    pub(crate) deliveries: Vec<(Name, Arc<LastDelivery>)>,
    /// What its machine before knew of the containers' processes.
    pub(crate) processes: Vec<(Name, KnownProcesses)>,
    /// How often it is nudged, from its machine before.
    pub(crate) pace: Pace,
    /// What is known of its grants.
    pub(crate) restarts: Restarts,
    /// What is known of what its containers took at their start.
    pub(crate) frozen: Arc<Vec<Remembered>>,
    /// What the journal says of whom the agent before has told.
    pub(crate) predecessor: Predecessor,
    /// Nobody has told the pod since the agent started: it may be gone.
    pub(crate) is_of_last_time: bool,
    /// The very first start: volumes are taken as they are.
    pub(crate) as_is: bool,
}

/// How many processes of a pod are sent to at a time, and at least one container's: notifications are taken in after that.
/// A pod can have thousands.
const SENT_AT_A_TIME: usize = 32;

/// One watched pod: its volumes, its containers to tell, and what is known of them.
#[derive(Clone, Debug)]
pub(crate) struct PodMachine {
    plan: Plan,
    /// The pod, its terms and its volumes.
    site: Site,
    as_is: bool,
    targets: Vec<Target>,
    surveys: Surveys,
    problem: Option<Problem>,
    frozen: Vec<Frozen>,
    starts: Starts,
    memory: Memory,
    /// What was handled of containers and volumes that aren't told under this plan: they may be again under the next one.
    untold: Vec<(JournalKey, Handled)>,
    unsaid: Unsaid,
    /// What the node does about volumes that lag behind, if the pod asks for it.
    accelerate: Option<Accelerate>,
    nudges: Nudges,
    /// The generations whose opens are watched.
    opens: BTreeSet<(Name, Generation)>,
    reads: Reads,
    restarts: Restarts,
    /// How many more processes are sent to before something else has its turn, and whether any waits for that.
    sends_left: usize,
    unsent: bool,
}

impl PodMachine {
    /// A pod that asks for what the plan says.
    pub(crate) fn new(
        pod: Arc<Pod>,
        plan: Plan,
        restored: Restored,
        measuring: Option<Measuring>,
        ctx: &mut Context<'_>,
    ) -> Self {
        let is_measured =
            |object: &ObjectRef| measuring.is_some_and(|m| m.covers(object.kind) && object.can_exist());
        let volumes = plan.volumes.iter().map(|volume| {
            (volume.name.clone(), Box::new(Watched::new(&pod.spec, volume, ctx.now, is_measured)))
        });
        let frozen = frozen::of(&pod, &plan, is_measured);
        let mut starts = Starts::default();
        starts.take_status(&pod, &frozen, ctx.now);
        let targets = plan.targets.iter().cloned().map(|plan| Target::new(plan, &pod)).collect();
        let mut machine = Self {
            site: Site { terms: terms(&pod, &plan), volumes: volumes.collect(), pod },
            as_is: restored.as_is,
            targets,
            surveys: Surveys::default(),
            problem: None,
            frozen,
            starts,
            memory: Memory::default(),
            untold: Vec::new(),
            unsaid: Unsaid::default(),
            accelerate: measuring
                .and_then(|measuring| measuring.accelerate)
                .filter(|_| plan.can_accelerate()),
            nudges: Nudges::with_pace(restored.pace),
            opens: BTreeSet::new(),
            reads: Reads::default(),
            restarts: Restarts::default(),
            sends_left: SENT_AT_A_TIME,
            unsent: false,
            plan,
        };
        machine.restore(restored, ctx);
        let volumes = machine.plan.volumes.iter().map(|volume| (volume.name.clone(), volume.kind)).collect();
        let pod = &machine.site.pod;
        ctx.act(Action::Watch(pod.uid.clone(), pod.namespace.clone(), volumes));
        for volume in machine.site.volumes.keys() {
            ctx.act(Action::List(machine.volume_ref(volume)));
        }
        machine.advance_restart(ctx);
        machine.begin_survey(ctx);
        machine
    }

    fn restore(&mut self, restored: Restored, ctx: &mut Context<'_>) {
        self.restarts = restored.restarts;
        self.recall(restored.frozen);
        let told = restored.handled.iter().filter(|(_, handled)| handled.outcome == Some(Outcome::Delivered));
        let told: BTreeSet<Name> = told.map(|(key, _)| key.container.clone()).collect();
        for (key, handled) in restored.handled {
            let mut targets = self.targets.iter_mut();
            let told = targets.find(|target| {
                *target.container() == key.container && target.progress().contains_key(&key.volume)
            });
            match told {
                Some(target) => target.restore(&key.volume, handled),
                None => self.untold.push((key, handled)),
            }
        }
        for (container, endings) in
            restored.endings.into_iter().filter(|(_, of)| self.site.pod.spec.is_marked(of.mark))
        {
            if let Some(target) = self.targets.iter_mut().find(|target| *target.container() == container) {
                target.restore_endings(endings, self.site.pod.replica.is_some());
            }
        }
        for (container, rereads) in
            restored.rereads.into_iter().filter(|(_, of)| self.site.pod.spec.is_marked(of.mark))
        {
            if let Some(target) = self.targets.iter_mut().find(|target| *target.container() == container) {
                target.restore_rereads(&rereads);
            }
        }
        for (container, delivery) in restored.deliveries {
            if let Some(target) = self.targets.iter_mut().find(|target| *target.container() == container) {
                target.restore_delivery(&self.site, &delivery);
            }
        }
        for target in &mut self.targets {
            target.set_of_last_time(restored.is_of_last_time);
            target.follow(restored.predecessor, ctx.now);
        }
        for (container, processes) in restored.processes {
            if let Some(target) = self.targets.iter_mut().find(|target| *target.container() == container) {
                target.restore_processes(processes, self.plan.process.as_ref());
            }
        }
        for target in &mut self.targets {
            target.join(&self.site, told.contains(target.container()), ctx);
            target.status_came(&self.site, ctx);
        }
    }

    /// The pod.
    pub(crate) const fn pod(&self) -> &Arc<Pod> {
        &self.site.pod
    }

    /// What is to be done about it.
    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The containers to tell.
    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The watched volumes.
    pub(crate) const fn volumes(&self) -> &BTreeMap<Name, Box<Watched>> {
        &self.site.volumes
    }

    /// Its problem, if it has one.
    pub(crate) const fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    /// Whether every volume was listed, its files that count were read where that decides, and what stood there is
    /// recorded. A container that the agent can't look at for long doesn't keep it from being ready: one namespace can
    /// use up its share of what is scarce.
    pub(crate) fn is_ready(&self) -> bool {
        self.site.volumes.values().all(|volume| volume.is_known())
            && self.targets.iter().all(|target| target.is_lack_said() || target.has_baseline())
    }

    /// The pod's spec or status changed in a way that leaves its plan as it is.
    pub(crate) fn update(&mut self, pod: Arc<Pod>, ctx: &mut Context<'_>) {
        let status_changed = pod.status != self.site.pod.status;
        self.starts.take_status(&pod, &self.frozen, ctx.now);
        self.site.pod = pod;
        for target in &mut self.targets {
            target.belong(&self.site, ctx);
            target.status_came(&self.site, ctx);
        }
        if status_changed {
            self.begin_survey(ctx);
        }
    }

    /// What the pod's next machine begins with. Under another plan nothing is known of quick endings.
    pub(crate) fn into_restored(mut self, other_plan: bool, ctx: &mut Context<'_>) -> Restored {
        // A very first start that isn't over yet goes on.
        let unlisted = self.site.volumes.values().any(|watched| !watched.state().is_listed());
        let as_is = self.as_is && unlisted;
        let handled = std::mem::take(&mut self.untold);
        let restarts = std::mem::take(&mut self.restarts).for_the_next(ctx);
        let frozen = Arc::new(self.known_of_starts());
        let mut restored =
            Restored { as_is, pace: self.nudges.pace(), handled, restarts, frozen, ..Restored::default() };
        self.set_problem(None, ctx);
        self.unsay_restarts(ctx);
        self.release_all(ctx);
        self.targets.iter().for_each(|target| target.leave(&self.site, ctx));
        for target in &mut self.targets {
            restored
                .processes
                .push((target.container().clone(), target.remembered(self.plan.process.as_ref())));
            for (volume, handled) in target.handled() {
                let (pod, container) = (self.site.pod.uid.clone(), target.container().clone());
                restored.handled.push((JournalKey { pod, container, volume: volume.clone() }, handled));
            }
            if other_plan {
                target.drop_endings(&self.site, ctx);
                target.drop_rereads(&self.site, ctx);
                target.drop_delivery(&self.site, ctx);
            } else {
                let endings = target.endings(&self.site);
                restored.endings.extend(endings.map(|endings| (target.container().clone(), endings)));
                let rereads = target.rereads(&self.site);
                restored.rereads.extend(rereads.map(|rereads| (target.container().clone(), rereads)));
                let delivery = target.last_delivery().cloned();
                restored.deliveries.extend(delivery.map(|delivery| (target.container().clone(), delivery)));
            }
        }
        restored
    }

    /// The pod is gone, so long ago at most: what waits ends.
    pub(crate) fn end(&mut self, ago: Duration, ctx: &mut Context<'_>) {
        let mut reports = Vec::new();
        for target in &mut self.targets {
            reports.extend(target.end_all(&self.site, ctx));
        }
        self.say_each(reports, ctx);
        self.release_all(ctx);
        self.targets.iter().for_each(|target| target.delete(&self.site, ago, ctx));
    }

    /// Nothing is told any more, as long as it isn't known whether the pod is gone; `is_deleted` says whether it will be.
    pub(crate) fn park(&mut self, is_deleted: bool, ctx: &mut Context<'_>) {
        self.targets.iter_mut().for_each(|target| target.take_back(&self.site, ctx));
        self.release_all(ctx);
        for target in &self.targets {
            if is_deleted {
                target.delete(&self.site, Duration::ZERO, ctx);
            } else {
                target.end_turn(&self.site, ctx);
            }
        }
    }

    fn release_all(&mut self, ctx: &mut Context<'_>) {
        self.say_all(ctx);
        self.restarts.release_all(ctx);
        for target in &mut self.targets {
            target.release(&self.site, ctx);
        }
        self.watch_opens(BTreeSet::new(), ctx);
    }

    /// When something is due.
    pub(crate) fn timeout(&self, now: Time) -> Option<Time> {
        let volumes = self.site.volumes.values().filter_map(|watched| watched.state().timeout());
        let targets = self.targets.iter().flat_map(|target| {
            let probe = target.probe_due(&self.site, now);
            [self.step_due(target, now), target.window_timeout(), target.look_due(), probe]
        });
        volumes
            .chain(self.surveys.timeout().filter(|_| self.needs_surveys()))
            .chain(targets.flatten())
            .chain(self.unsaid.timeout())
            .chain(self.ignored_timeout(now))
            .chain(self.nudges.timeout())
            .chain(self.reads.timeout(|name, generation| self.read_waits_for(name, generation)))
            .chain(self.restarts.timeout())
            .chain(self.memory.timeout())
            .chain(self.unsent.then_some(now))
            .min()
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, ctx: &mut Context<'_>) {
        let now = ctx.now;
        self.sends_left = SENT_AT_A_TIME;
        self.take_each(ctx, |state| state.handle_timeout(now));
        self.say_due(ctx);
        self.remember_due(ctx);
        self.targets.iter_mut().for_each(|target| target.handle_window_timeout(&self.site, ctx));
        self.end_sends(ctx);
        self.targets.iter_mut().for_each(|target| target.look_again(ctx));
        if self.surveys.timeout().is_some_and(|due| now >= due) {
            self.begin_survey(ctx);
        }
    }

    /// Notifications were lost: nothing is known for certain of the volumes any more.
    pub(crate) fn doubt_volumes(&mut self, ctx: &mut Context<'_>) {
        self.site.volumes.values_mut().for_each(|watched| watched.doubt(ctx.now));
        // An open may be among them, with which its watch has ended.
        self.targets.iter_mut().for_each(Target::blind);
        self.watch_opens(BTreeSet::new(), ctx);
    }

    /// Notifications were lost: everything is looked at again.
    pub(crate) fn dropped(&mut self, ctx: &mut Context<'_>) {
        self.doubt_volumes(ctx);
        self.rescan(ctx);
    }

    /// Everything is looked at again.
    pub(crate) fn rescan(&mut self, ctx: &mut Context<'_>) {
        self.take_each(ctx, |_| News::List);
        self.begin_survey(ctx);
    }

    fn take_each(&mut self, ctx: &mut Context<'_>, what: impl Fn(&mut Volume) -> News) {
        let names: Vec<Name> = self.site.volumes.keys().cloned().collect();
        for name in names {
            self.take_news(&name, ctx, &what);
        }
    }

    fn volume_ref(&self, volume: &Name) -> VolumeRef {
        VolumeRef { pod: self.site.pod.uid.clone(), volume: volume.clone() }
    }

    /// Whether it matters which processes the containers have.
    fn needs_surveys(&self) -> bool {
        !(self.targets.is_empty() && self.frozen.is_empty()) || self.restarts.is_under_way()
    }

    /// Has the containers looked at, unless that is on its way: then once more after it.
    fn begin_survey(&mut self, ctx: &mut Context<'_>) {
        if self.needs_surveys() && self.surveys.want(ctx.now) {
            let (pod, name) = (self.site.pod.uid.clone(), self.plan.process.clone());
            ctx.act(Action::Survey(Survey { pod, name, fresh_mounts: self.surveys.take_fresh_mounts() }));
        }
    }

    fn say_each(&mut self, reports: Vec<ReloadReport>, ctx: &mut Context<'_>) {
        reports.into_iter().for_each(|report| self.say(report, ctx));
    }
}

fn terms(pod: &Pod, plan: &Plan) -> Terms {
    let waits = Waits {
        debounce: plan.debounce,
        min_interval: plan.min_interval,
        splay: hash::of(pod.uid.as_str().bytes(), plan.splay),
    };
    let mark = pod.spec.mark();
    Terms { waits, verify: plan.verify, send_unhandled: plan.send_unhandled, retell: plan.retell, mark }
}
