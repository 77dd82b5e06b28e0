//! Measuring: which versions the API server shows, which of them are on disk, and the reports of deliveries that wait
//! to know. Nothing here holds up a reload.

use super::*;
use crate::machine::event::Stages;
use crate::model::object::{MOST_KEYS, ObjectRef, Observed};
use crate::propagation::kept;
use crate::propagation::nudge::NudgeAnswer;
use crate::propagation::strategy::Strategy;
use crate::propagation::volume::{OnDisk, Publication};

/// How long the report of a delivery waits for what its generation brought.
const REPORT_WAITS: Duration = Duration::from_secs(1);
/// How long a change of a volume with ignored objects waits to be matched with what the API server shows: a watch that is
/// behind must not make a change that counts an ignored one.
pub(super) const IGNORED_WAITS: Duration = Duration::from_secs(1);
/// How many publications of a volume are remembered for the deliveries that are still to come.
const PUBLICATIONS: usize = 4;

/// A delivery that is not reported yet.
#[derive(Clone, Debug)]
pub(super) struct Unsaid {
    report: Box<ReloadReport>,
    until: Time,
}

impl PodMachine {
    /// The objects to watch for this pod.
    pub(crate) fn objects(&self) -> BTreeSet<ObjectRef> {
        let volumes = self.volumes.values().flat_map(|volume| volume.propagation.objects());
        volumes.chain(self.frozen.iter().map(|frozen| &frozen.object)).cloned().collect()
    }

    /// The API server said something of an object.
    pub(crate) fn observed(
        &mut self,
        object: &ObjectRef,
        observed: &Observed,
        at: Time,
        ctx: &mut Context<'_>,
    ) {
        for frozen in self.frozen.iter_mut().filter(|frozen| frozen.object == *object) {
            frozen.observed(observed, at);
            let target = self.targets.iter().find(|target| target.plan.container == frozen.container);
            if let Some(Resolution::Found(resolved)) = target.map(|target| &target.resolution) {
                frozen.started(resolved.first.started);
            }
        }
        let names: Vec<Name> = self.volumes.keys().cloned().collect();
        for name in names {
            let Some(volume) = self.volumes.get_mut(&name) else { continue };
            if !volume.propagation.objects().any(|own| own == object) {
                continue;
            }
            let publication = volume.propagation.observed(object, observed, at);
            volume.propagation.take_doubted().into_iter().for_each(|object| ctx.act(Action::Observe(object)));
            let ignored = volume.propagation.ignored();
            if ignored != volume.ignored {
                volume.ignored = ignored;
                self.reread(&name, ctx);
            }
            self.published(&name, publication, ctx);
        }
        self.say_decided(ctx);
    }

    /// What counts of a volume has changed: what is on disk is read once more.
    fn reread(&mut self, name: &Name, ctx: &mut Context<'_>) {
        let Some(volume) = self.volumes.get_mut(name) else { return };
        volume.digest = None;
        if let Some(generation) = volume.state.generation().cloned() {
            self.want_contents(name, &generation, ctx);
        }
    }

    /// What a generation holds was read.
    pub(super) fn measure(
        &mut self,
        name: &Name,
        generation: &Generation,
        contents: Option<&Contents>,
        ctx: &mut Context<'_>,
    ) {
        let Some(volume) = self.volumes.get_mut(name) else { return };
        if !volume.propagation.is_measured() || volume.state.generation() != Some(generation) {
            return;
        }
        let Some((swapped, changed)) = volume.state.swapped_at() else { return };
        let Some(contents) = contents.filter(|contents| contents.files.len() <= MOST_KEYS) else {
            volume.propagation.unreadable();
            return;
        };
        let disk =
            OnDisk { generation: generation.clone(), swapped, files: contents.files.clone(), read: ctx.now };
        let publication = volume.propagation.read(disk, changed);
        volume.propagation.take_doubted().into_iter().for_each(|object| ctx.act(Action::Observe(object)));
        self.published(name, publication, ctx);
        self.say_decided(ctx);
    }

    fn published(&mut self, name: &Name, publication: Option<Publication>, ctx: &mut Context<'_>) {
        let (Some(publication), Some(volume)) = (publication, self.volumes.get_mut(name)) else { return };
        ctx.act(Action::Report(Report::Published {
            pod: self.pod.clone(),
            volume: name.clone(),
            generation: publication.generation.clone(),
            delay: publication.delay(),
            versions: publication.versions.clone(),
            collapsed: publication.collapsed,
        }));
        volume.publications.push_back(publication);
        if volume.publications.len() > PUBLICATIONS {
            volume.publications.pop_front();
        }
    }

    /// Has the kubelet look at the pod where a volume lags behind.
    pub(super) fn nudge(&mut self, ctx: &mut Context<'_>) {
        let Some(accelerate) = self.accelerate else { return };
        if !accelerate.may_help() {
            self.nudges.stop();
            return;
        }
        let lagging = self.volumes.values().filter_map(|volume| {
            volume.state.generation().and_then(|current| volume.propagation.newest_lagging(current))
        });
        let newest = lagging.max_by_key(|(_, seen)| *seen);
        let waiting = newest.map(|(object, seen)| (seen, accelerate.share(object)));
        let next = self.nudges.next(ctx.now, waiting);
        if let Some(result) = next.result {
            ctx.act(Action::Report(Report::Nudged(self.pod.clone(), result)));
        }
        if next.send {
            ctx.act(Action::Nudge(self.pod.clone()));
        }
    }

    /// How much is kept of each measured volume's files.
    pub(crate) fn kept_files(&self) -> Vec<(Name, usize)> {
        let measured = self.volumes.iter().filter(|(_, volume)| volume.propagation.is_measured());
        let cost = |volume: &WatchedVolume| {
            let ignored = match &volume.ignored {
                Ignored::Paths(paths) => paths.iter().map(|path| path.len() + kept::EACH).sum(),
                Ignored::Nothing | Ignored::Everything => 0,
            };
            volume.propagation.cost() + ignored
        };
        measured.map(|(name, volume)| (name.clone(), cost(volume))).collect()
    }

    /// There is no room for what is to be kept of a volume. What is ignored of it stays ignored.
    pub(crate) fn leave_unmeasured(&mut self, name: &Name) {
        if let Some(volume) = self.volumes.get_mut(name) {
            volume.propagation.give_up();
        }
    }

    /// How the kubelet learns of changes was read, or isn't known any more.
    pub(crate) fn set_strategy(&mut self, strategy: Option<Strategy>) {
        if let Some(accelerate) = &mut self.accelerate {
            accelerate.strategy = strategy;
        }
    }

    /// The strategy for which the pod isn't nudged though it asks for it.
    pub(crate) fn not_nudged(&self) -> Option<Strategy> {
        self.accelerate.filter(|accelerate| !accelerate.may_help())?.strategy
    }

    /// How the API server took a nudge.
    pub(crate) fn nudged(&mut self, answer: NudgeAnswer, ctx: &mut Context<'_>) {
        if let Some(result) = self.nudges.answered(answer, ctx.now) {
            ctx.act(Action::Report(Report::Nudged(self.pod.clone(), result)));
        }
    }

    /// Reports a reload; a delivery once it is known what its generations brought, or never will be.
    pub(super) fn say(&mut self, report: Box<ReloadReport>, ctx: &mut Context<'_>) {
        if report.outcome == Outcome::Delivered && !self.is_decided(&report) {
            self.unsaid.push(Unsaid { report, until: ctx.now + REPORT_WAITS });
        } else {
            self.say_now(report, ctx);
        }
    }

    fn say_now(&self, mut report: Box<ReloadReport>, ctx: &mut Context<'_>) {
        report.stages = self.stages(&report);
        ctx.act(Action::Report(Report::Reload(report)));
    }

    fn is_decided(&self, report: &ReloadReport) -> bool {
        report.generations.iter().all(|(name, generation)| {
            self.volumes.get(name).is_none_or(|volume| {
                !volume.propagation.is_measured()
                    || volume.state.generation() != Some(generation)
                    || volume.propagation.is_decided(generation)
            })
        })
    }

    fn say_decided(&mut self, ctx: &mut Context<'_>) {
        self.say_where(|machine, unsaid| machine.is_decided(&unsaid.report), ctx);
    }

    /// Reports what has waited long enough.
    pub(super) fn say_overdue(&mut self, ctx: &mut Context<'_>) {
        let now = ctx.now;
        self.say_where(|_, unsaid| unsaid.until <= now, ctx);
    }

    /// Reports whatever waits: a later report must not come before it.
    pub(crate) fn say_all(&mut self, ctx: &mut Context<'_>) {
        self.say_where(|_, _| true, ctx);
    }

    fn say_where(&mut self, due: impl Fn(&Self, &Unsaid) -> bool, ctx: &mut Context<'_>) {
        let waiting = std::mem::take(&mut self.unsaid);
        for unsaid in waiting {
            if due(self, &unsaid) {
                self.say_now(unsaid.report, ctx);
            } else {
                self.unsaid.push(unsaid);
            }
        }
    }

    /// Whether it is still to be seen if what is ignored is all that a settled generation brought.
    pub(super) fn may_be_ignored(&self, name: &Name, generation: &Generation) -> bool {
        self.volumes.get(name).is_some_and(|volume| {
            volume.ignored != Ignored::Nothing && !volume.propagation.is_decided(generation)
        })
    }

    /// When nothing more is waited for to see it.
    pub(super) fn ignored_timeout(&self, now: Time) -> Option<Time> {
        let pending = self.targets.iter().flat_map(Target::pending);
        let waits = pending.filter(|(name, pending)| self.may_be_ignored(name, &pending.generation));
        waits.map(|(_, pending)| pending.settled + IGNORED_WAITS).filter(|until| *until > now).min()
    }

    /// When a report has waited long enough.
    pub(super) fn say_timeout(&self) -> Option<Time> {
        self.unsaid.iter().map(|unsaid| unsaid.until).min()
    }

    /// From the API server to the process: what a reload's generations brought, counted from the oldest.
    fn stages(&self, report: &ReloadReport) -> Option<Stages> {
        let publications = report.generations.iter().filter_map(|(name, generation)| {
            self.volumes.get(name)?.publications.iter().find(|known| known.generation == *generation)
        });
        let mut stages: Option<Stages> = None;
        for publication in publications {
            let observed = publication.observed.min(publication.swapped);
            let stages = stages.get_or_insert_with(|| Stages {
                observed,
                publish: Duration::ZERO,
                propagation: Duration::ZERO,
                versions: Vec::new(),
            });
            stages.observed = stages.observed.min(observed);
            stages.versions.extend(publication.versions.iter().cloned());
        }
        let mut stages = stages?;
        stages.publish = report.swapped.since(stages.observed);
        stages.propagation = report.ended.since(stages.observed);
        Some(stages)
    }
}
