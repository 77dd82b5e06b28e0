//! What the API server shows of a pod's objects, what was read of its volumes, and nudges where one lags behind.

use std::collections::BTreeSet;

use crate::machine::context::Context;
use crate::machine::event::{Action, Reading, Report};
use crate::machine::pod::PodMachine;
use crate::machine::reload::Target;
use crate::machine::reload::sight::{Sight, Wait};
use crate::machine::watched::{IGNORED_WAITS, Measured, WasRead};
use crate::model::digest::Contents;
use crate::model::generation::Generation;
use crate::model::names::Name;
use crate::model::object::{ObjectRef, Observed};
use crate::model::time::Time;
use crate::propagation::frozen::Frozen;
use crate::propagation::nudge::NudgeAnswer;
use crate::propagation::strategy::Strategy;

impl PodMachine {
    /// The objects to watch for this pod.
    pub(crate) fn objects(&self) -> BTreeSet<ObjectRef> {
        let volumes = self.site.volumes.values().flat_map(|volume| volume.objects());
        volumes.chain(self.frozen.iter().map(|frozen| &frozen.object)).cloned().collect()
    }

    /// In how many pieces its containers took objects at their start.
    pub(crate) fn frozen_pieces(&self) -> usize {
        self.frozen.iter().map(Frozen::pieces).sum()
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
        }
        self.note_starts(|of| of == object);
        let names: Vec<Name> = self.site.volumes.keys().cloned().collect();
        for name in names {
            let Some(watched) = self.site.volumes.get_mut(&name) else { continue };
            if watched.objects().any(|own| own == object) {
                let measured = watched.observed(object, observed, at);
                self.take_measured(&name, measured, ctx);
            }
        }
        self.say_restarts(ctx);
        self.remember(ctx);
        self.say_due(ctx);
    }

    /// What a generation holds was read.
    pub(crate) fn read(
        &mut self,
        name: &Name,
        generation: &Generation,
        reading: &Reading,
        contents: Option<&Contents>,
        ctx: &mut Context<'_>,
    ) {
        self.reads.end(name, generation, reading);
        let Some(watched) = self.site.volumes.get_mut(name) else { return };
        let counting = contents.map(|contents| contents.counting);
        match watched.read(generation, reading, counting, ctx.now) {
            WasRead::So => {
                self.targets.iter_mut().for_each(|target| target.read(name, generation, counting, ctx))
            }
            WasRead::Missing => {
                ctx.act(Action::List(self.volume_ref(name)));
                return;
            }
            WasRead::Otherwise(again) => {
                if let Some(reading) = again {
                    self.begin_read(name, generation.clone(), reading, ctx);
                }
            }
        }
        let Some(watched) = self.site.volumes.get_mut(name) else { return };
        if let Some(measured) = watched.measure(generation, contents, ctx.now) {
            self.take_measured(name, measured, ctx);
            self.say_due(ctx);
        }
    }

    fn take_measured(&mut self, name: &Name, measured: Measured, ctx: &mut Context<'_>) {
        measured.doubted.into_iter().for_each(|object| ctx.act(Action::Observe(object)));
        if let Some(generation) = measured.reread {
            self.want_contents(name, &generation, ctx);
        }
        if let Some(publication) = measured.publication {
            ctx.act(Action::Report(Report::Published {
                pod: self.site.pod.clone(),
                volume: name.clone(),
                delay: publication.delay(),
                generation: publication.generation,
                versions: publication.versions,
                collapsed: publication.collapsed,
            }));
        }
    }

    /// Has a generation read, where that decides something, is measured or may be kept from other replicas. Where a reload may
    /// wait for it that is at once, and else once the containers that are told of it have read it.
    pub(super) fn want_contents(&mut self, name: &Name, generation: &Generation, ctx: &mut Context<'_>) {
        let compare = self.targets.iter().any(|target| {
            ctx.workloads.has_others(target.workload()) || target.wants_digest(name, generation)
        });
        let watched = self.site.volumes.get_mut(name);
        let Some(reading) = watched.and_then(|watched| watched.want(generation, compare)) else { return };
        if reading.decides {
            self.begin_read(name, generation.clone(), reading, ctx);
        } else {
            self.reads.put(name.clone(), generation.clone(), reading, ctx.now);
        }
    }

    /// Has what stands in a volume read, where nobody wanted that when it came: since then another replica has ended of something.
    pub(super) fn compare(&mut self, name: &Name, ctx: &mut Context<'_>) {
        let Some(watched) = self.site.volumes.get_mut(name) else { return };
        let Some(generation) = watched.state().settled().map(|settled| settled.generation.clone()) else {
            return;
        };
        if let Some(reading) = watched.want(&generation, true) {
            self.begin_read(name, generation, reading, ctx);
        }
    }

    /// Has a generation read. What a container opens meanwhile isn't seen.
    pub(super) fn begin_read(
        &mut self,
        name: &Name,
        generation: Generation,
        reading: Reading,
        ctx: &mut Context<'_>,
    ) {
        self.reads.begin(name, &generation, &reading);
        self.targets.iter_mut().for_each(|target| target.dim(name, &generation, Sight::Hidden));
        ctx.act(Action::Read(self.volume_ref(name), generation, reading));
    }

    /// Has those generations read after which a process has ended.
    pub(super) fn read_told(&mut self, ctx: &mut Context<'_>) {
        let told = self.site.volumes.iter().filter_map(|(name, watched)| {
            let generation = watched.state().generation()?;
            let is_wanted = self.targets.iter().any(|target| target.wants_digest(name, generation));
            is_wanted.then(|| (name.clone(), generation.clone()))
        });
        for (name, generation) in told.collect::<Vec<_>>() {
            self.want_contents(&name, &generation, ctx);
        }
    }

    /// Has those generations read that wait for nobody any more.
    pub(super) fn read_late(&mut self, ctx: &mut Context<'_>) {
        let mut reads = std::mem::take(&mut self.reads);
        let due = reads.take(|name, generation| self.read_waits_for(name, generation), ctx.now);
        self.reads = reads;
        for (name, generation, reading) in due {
            self.begin_read(&name, generation, reading, ctx);
        }
    }

    /// What a read waits for that can wait.
    pub(super) fn read_waits_for(&self, name: &Name, generation: &Generation) -> Wait {
        let Some(watched) = self.site.volumes.get(name) else { return Wait::Nothing };
        if self.targets.iter().any(|target| target.needs_read(name, generation, watched)) {
            return Wait::Nothing;
        }
        let waits = self.targets.iter().map(|target| target.read_waits_for(name, generation, watched));
        waits.max().unwrap_or(Wait::Nothing)
    }

    /// When nothing more is waited for to see whether what is ignored is all that a generation brought.
    pub(super) fn ignored_timeout(&self, now: Time) -> Option<Time> {
        let pending = self.targets.iter().flat_map(Target::pending);
        let waits = pending.filter(|(name, pending)| {
            self.site.volumes.get(*name).is_some_and(|watched| watched.may_be_ignored(&pending.generation))
        });
        waits.map(|(_, pending)| pending.settled + IGNORED_WAITS).filter(|until| *until > now).min()
    }

    /// How much is kept of each measured volume's files.
    pub(crate) fn kept_files(&self) -> Vec<(Name, usize)> {
        let measured = self.site.volumes.iter().filter(|(_, watched)| watched.is_measured());
        measured.map(|(name, watched)| (name.clone(), watched.cost())).collect()
    }

    /// There is no room for what is to be kept of a volume.
    pub(crate) fn leave_unmeasured(&mut self, name: &Name) {
        if let Some(watched) = self.site.volumes.get_mut(name) {
            watched.leave_unmeasured();
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

    /// Has the kubelet look at the pod where a volume lags behind.
    pub(super) fn nudge(&mut self, ctx: &mut Context<'_>) {
        let Some(accelerate) = self.accelerate else { return };
        if !accelerate.may_help() {
            self.nudges.stop();
            return;
        }
        let newest = self
            .site
            .volumes
            .values()
            .filter_map(|volume| volume.newest_lagging())
            .max_by_key(|(_, seen)| *seen);
        let waiting = newest.map(|(object, seen)| (seen, accelerate.share(object)));
        let next = self.nudges.next(ctx.now, waiting);
        if let Some(result) = next.result {
            ctx.act(Action::Report(Report::Nudged(self.site.pod.clone(), result)));
        }
        if next.send {
            ctx.act(Action::Nudge(self.site.pod.clone()));
        }
    }

    /// How the API server took a nudge.
    pub(crate) fn nudged(&mut self, answer: NudgeAnswer, ctx: &mut Context<'_>) {
        if let Some(result) = self.nudges.answered(answer, ctx.now) {
            ctx.act(Action::Report(Report::Nudged(self.site.pod.clone(), result)));
        }
    }
}
