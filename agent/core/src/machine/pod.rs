//! One pod that asked for something: routes what happens to its volumes and containers, and carries out the next
//! step of each waiting reload.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::guard::GuardReading;
use crate::kernel::lack::Lack;
use crate::kernel::process::{NoProcess, ProcessIdentity};
use crate::machine::context::Context;
use crate::machine::event::{
    Action, ContainerFacts, Delivery, Reading, ReloadReport, Report, Survey, VolumeRef,
};
use crate::machine::reload::{NeededDigest, PATIENCE, Pending, Resolution, Retry, Step, Target, Waits};
use crate::machine::report;
use crate::machine::verify;
use crate::machine::volume::{How, Listing, News, Settled, Volume};
use crate::model::digest::{Contents, Digest};
use crate::model::generation::Generation;
use crate::model::hash;
use crate::model::journal::{Endings, Handled, JournalKey, JournalUpdate};
use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::model::outcome::{Outcome, Verdict};
use crate::model::pod::{Container, Pod};
use crate::model::time::Time;
use crate::policy::plan::{Plan, VolumePlan};
use crate::policy::problem::{Problem, ProblemKind};
use crate::policy::sources::Source;
use crate::propagation::frozen::{self, Frozen};
use crate::propagation::measuring::Measuring;
use crate::propagation::nudge::{Accelerate, Nudges, Pace};
use crate::propagation::volume::{Ignored, Propagation, Publication};

mod lack;
mod measure;
mod opens;
mod reload;
mod resolve;
mod stale;
mod volumes;

/// What a pod begins with from the journal.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) handled: Vec<(JournalKey, Handled)>,
    pub(crate) endings: Vec<(Name, Endings)>,
    /// How often it is nudged, from its machine before.
    pub(crate) pace: Pace,
    /// The very first start: volumes are taken as they are.
    pub(crate) as_is: bool,
}

#[derive(Clone, Debug)]
struct WatchedVolume {
    plan: VolumePlan,
    state: Volume,
    /// The digest of the files that count; within: `None` while it is being read.
    digest: Option<(Generation, Option<Option<Digest>>)>,
    propagation: Propagation,
    publications: VecDeque<Publication>,
    ignored: Ignored,
    /// The directories of a generation that hold files, below its own.
    directories: Arc<[Name]>,
}

/// One pod.
#[derive(Clone, Debug)]
pub(crate) struct PodMachine {
    pod: Arc<Pod>,
    plan: Plan,
    plan_mark: u64,
    waits: Waits,
    as_is: bool,
    volumes: BTreeMap<Name, WatchedVolume>,
    targets: Vec<Target>,
    survey: SurveyState,
    problem: Option<Problem>,
    frozen: Vec<Frozen>,
    unsaid: Vec<measure::Unsaid>,
    /// What the node does about volumes that lag behind, if the pod asks for it.
    accelerate: Option<Accelerate>,
    nudges: Nudges,
    /// The generations whose opens are watched.
    opens: BTreeSet<(Name, Generation)>,
    /// How many more processes are sent to before something else has its turn, and whether any waits for that.
    sends_left: usize,
    unsent: bool,
}

/// How many processes of a pod are sent to at a time, and at least one container's: notifications are taken in after that.
/// A pod can have thousands.
const SENT_AT_A_TIME: usize = 32;

/// Whether a survey is needed, and when.
#[derive(Clone, Copy, Debug, Default)]
struct SurveyState {
    running: bool,
    /// Something changed since the running survey was asked for.
    again: bool,
    fresh_mounts: bool,
    retry: Option<Retry>,
    /// The last survey was given up: no other one is begun for a while.
    pause: Option<Pause>,
    /// A survey is wanted after the pause.
    put_off: bool,
    /// Containers came or went since the running survey was asked for.
    changed: bool,
}

impl SurveyState {
    /// When the next one is due.
    fn timeout(&self) -> Option<Time> {
        let retry = self.retry.map(|retry| retry.next);
        let paused = self.pause.map(|pause| pause.until);
        let due = if self.put_off { paused } else { retry.map(|next| paused.map_or(next, |p| p.max(next))) };
        due.filter(|_| !self.running)
    }
}

/// The first pause after a survey that was given up, and the longest one: a survey of what is too much takes up to two
/// seconds of a processor, again and again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long no survey is begun after one that was given up.
#[derive(Clone, Copy, Debug)]
struct Pause {
    since: Time,
    until: Time,
    length: Duration,
}

impl Pause {
    /// Twice as long as the one before.
    fn after(before: Option<Self>, now: Time) -> Self {
        let length = before.map_or(FIRST_PAUSE, |before| (before.length * 2).min(LONGEST_PAUSE));
        Self { since: now, until: now + length, length }
    }
}

impl PodMachine {
    pub(crate) fn new(
        pod: Arc<Pod>,
        plan: Plan,
        restored: Restored,
        measuring: Option<Measuring>,
        ctx: &mut Context<'_>,
    ) -> Self {
        let waits = Waits {
            debounce: plan.debounce,
            min_interval: plan.min_interval,
            splay: hash::of(pod.uid.as_str().bytes(), plan.splay),
        };
        let state = Volume::watched_since(ctx.now);
        let is_measured =
            |object: &ObjectRef| measuring.is_some_and(|m| m.covers(object.kind) && object.can_exist());
        let watched = |plan: &VolumePlan| WatchedVolume {
            plan: plan.clone(),
            state: state.clone(),
            digest: None,
            propagation: Propagation::new(&plan.sources, is_measured),
            publications: VecDeque::new(),
            ignored: Ignored::Nothing,
            directories: opens::directories(&pod, &plan.name),
        };
        let told = |container: &&Container| plan.targets.iter().any(|t| t.container == container.name);
        let frozen = frozen::of(&pod, pod.containers.iter().filter(told)).into_iter();
        let mut machine = Self {
            plan_mark: mark_of(&pod),
            waits,
            as_is: restored.as_is,
            volumes: plan.volumes.iter().map(|volume| (volume.name.clone(), watched(volume))).collect(),
            targets: plan.targets.iter().cloned().map(Target::new).collect(),
            survey: SurveyState::default(),
            problem: None,
            frozen: frozen.filter(|frozen| is_measured(&frozen.object)).collect(),
            unsaid: Vec::new(),
            accelerate: measuring
                .and_then(|measuring| measuring.accelerate)
                .filter(|_| can_accelerate(&plan)),
            nudges: Nudges::with_pace(restored.pace),
            opens: BTreeSet::new(),
            sends_left: SENT_AT_A_TIME,
            unsent: false,
            pod,
            plan,
        };
        machine.restore(restored);
        let volumes = machine.plan.volumes.iter().map(|volume| (volume.name.clone(), volume.kind)).collect();
        ctx.act(Action::Watch(machine.pod.uid.clone(), volumes));
        for volume in machine.volumes.keys() {
            ctx.act(Action::List(machine.volume_ref(volume)));
        }
        machine.begin_survey(ctx);
        machine.say_held(ctx);
        machine
    }

    fn restore(&mut self, restored: Restored) {
        for (key, handled) in restored.handled {
            let target = self.targets.iter_mut().find(|target| target.plan.container == key.container);
            if let Some(volume) = target.and_then(|target| target.volumes.get_mut(&key.volume)) {
                volume.handled = Some(handled.generation);
                volume.holds_it = handled.outcome.is_none_or(Outcome::reached);
            }
        }
        for (container, endings) in restored.endings {
            let target = self.targets.iter_mut().find(|target| target.plan.container == container);
            if let Some(target) = target.filter(|_| endings.plan == self.plan_mark) {
                target.endings = endings.in_a_row;
                target.ended_last = endings.in_a_row > 0;
            }
        }
    }

    pub(crate) fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    pub(crate) fn volumes(&self) -> impl Iterator<Item = (&VolumePlan, &Volume)> {
        self.volumes.values().map(|volume| (&volume.plan, &volume.state))
    }

    pub(crate) fn reading(&self, volume: &Name) -> Option<Reading> {
        let volume = self.volumes.get(volume)?;
        let filter = match &volume.ignored {
            Ignored::Nothing | Ignored::Everything => volume.plan.files.clone(),
            Ignored::Paths(paths) => volume.plan.files.without(paths.iter().cloned()),
        };
        Some(Reading { filter, each: volume.propagation.is_measured(), decides: Self::needs_digest(volume) })
    }

    pub(crate) fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    /// Whether every volume was listed, its files that count were read where that decides, and what stood there is
    /// recorded. A container that the agent can't look at for long doesn't keep it from being ready: one namespace can
    /// use up its share of what is scarce.
    pub(crate) fn is_ready(&self) -> bool {
        let is_read =
            |volume: &WatchedVolume| !Self::needs_digest(volume) || !matches!(volume.digest, Some((_, None)));
        self.volumes.values().all(|volume| volume.state.is_listed() && is_read(volume))
            && self
                .targets
                .iter()
                .all(|target| target.lack_said || !target.pending().any(|(_, pending)| pending.only_if_older))
    }

    fn volume_ref(&self, volume: &Name) -> VolumeRef {
        VolumeRef { pod: self.pod.uid.clone(), volume: volume.clone() }
    }

    /// The pod's spec or status changed in a way that leaves its plan as it is.
    pub(crate) fn update(&mut self, pod: Arc<Pod>, ctx: &mut Context<'_>) {
        let status_changed = pod.status != self.pod.status;
        self.pod = pod;
        if status_changed {
            self.begin_survey(ctx);
        }
    }

    /// What the pod's next machine, under another plan, begins with.
    pub(crate) fn into_restored(mut self, ctx: &mut Context<'_>) -> Restored {
        // A very first start that isn't over yet goes on.
        let unlisted = self.volumes.values().any(|volume| !volume.state.is_listed());
        let as_is = self.as_is && unlisted;
        let mut restored = Restored { as_is, pace: self.nudges.pace(), ..Restored::default() };
        self.set_problem(None, ctx);
        self.release_all(ctx);
        for target in &self.targets {
            for (volume, state) in &target.volumes {
                let Some(generation) = state.handled.clone() else { continue };
                let key = JournalKey {
                    pod: self.pod.uid.clone(),
                    container: target.plan.container.clone(),
                    volume: volume.clone(),
                };
                let outcome = if state.holds_it { None } else { Some(Outcome::Failed) };
                restored.handled.push((key, Handled { generation, outcome }));
            }
            if target.endings > 0 {
                let (uid, container) = (self.pod.uid.clone(), target.plan.container.clone());
                ctx.act(Action::Record(JournalUpdate::Endings(uid, container, None)));
            }
        }
        restored
    }

    /// The pod is gone, or isn't to be told any more: what waits ends.
    pub(crate) fn end(&mut self, ctx: &mut Context<'_>) {
        for index in 0..self.targets.len() {
            self.take_back(index, ctx);
            let waiting = self.targets[index].waiting_volumes(|_, _| true);
            self.conclude(index, &waiting, Outcome::Gone, Some("the pod is gone"), ctx);
        }
        self.release_all(ctx);
    }

    fn release_all(&mut self, ctx: &mut Context<'_>) {
        self.say_all(ctx);
        for target in &mut self.targets {
            verify::close(&self.pod, target, Verdict::Alive, ctx);
            for process in target.held_processes() {
                ctx.act(Action::Release(process));
            }
            target.resolution = Resolution::Unknown;
        }
        self.forget_opens(ctx);
    }

    /// When something is due.
    pub(crate) fn timeout(&self, now: Time) -> Option<Time> {
        let volumes = self.volumes.values().filter_map(|volume| volume.state.timeout());
        let survey = self.survey.timeout();
        let at_once = self.unsent.then_some(now);
        let targets = (0..self.targets.len()).flat_map(|index| {
            let step = match self.next_step(index, now) {
                Step::Until(due) => Some(due),
                Step::Idle
                | Step::Await
                | Step::Survey
                | Step::Guard(_)
                | Step::End(..)
                | Step::Baseline(_)
                | Step::Send(..)
                | Step::Refused => None,
            };
            let verify = self.targets[index].verify.as_ref();
            [step, verify.and_then(verify::timeout)]
        });
        volumes
            .chain(survey)
            .chain(targets.flatten())
            .chain(self.say_timeout())
            .chain(self.ignored_timeout(now))
            .chain(self.nudges.timeout())
            .chain(at_once)
            .min()
    }

    pub(crate) fn handle_timeout(&mut self, ctx: &mut Context<'_>) {
        let now = ctx.now;
        self.sends_left = SENT_AT_A_TIME;
        let names: Vec<Name> = self.volumes.keys().cloned().collect();
        for name in names {
            self.take_news(&name, ctx, |state| state.handle_timeout(now));
        }
        self.say_overdue(ctx);
        for target in &mut self.targets {
            verify::handle_timeout(&self.pod, target, ctx);
        }
        if self.survey.timeout().is_some_and(|due| now >= due) {
            self.begin_survey(ctx);
        }
    }

    /// Notifications were lost: everything is looked at again.
    pub(crate) fn rescan(&mut self, ctx: &mut Context<'_>) {
        let names: Vec<Name> = self.volumes.keys().cloned().collect();
        for name in names {
            self.take_news(&name, ctx, Volume::overflowed);
        }
        self.begin_survey(ctx);
    }
}

/// Whether the pod asks for nudges, and no file counts that the kubelet may rewrite for one: a nudge must trigger nothing.
fn can_accelerate(plan: &Plan) -> bool {
    let rewritten = plan.volumes.iter().any(|volume| {
        let others = volume.sources.iter().filter_map(|source| match source {
            Source::Other(paths) => Some(paths),
            Source::Object(..) => None,
        });
        others.flatten().any(|path| volume.files.counts(path))
    });
    plan.accelerate && !rewritten
}

/// What tells one set of annotations from another.
fn mark_of(pod: &Pod) -> u64 {
    hash::mark(format!("{:?}", pod.annotations).bytes())
}
