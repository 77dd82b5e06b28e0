//! From what happens to a volume to the reload that waits for it.

use super::*;
use crate::machine::event::Report;

impl PodMachine {
    pub(crate) fn swapped(
        &mut self,
        volume: &Name,
        generation: Option<Generation>,
        at: Time,
        ctx: &mut Context<'_>,
    ) {
        self.take_news(volume, ctx, |state| state.swapped(generation, at));
    }

    pub(crate) fn removed(
        &mut self,
        volume: &Name,
        generation: &Generation,
        at: Time,
        ctx: &mut Context<'_>,
    ) {
        self.take_news(volume, ctx, |state| state.removed(generation, at));
    }

    pub(crate) fn torn_down(&mut self, volume: &Name, at: Time, ctx: &mut Context<'_>) {
        self.take_news(volume, ctx, |state| state.torn_down(at));
    }

    pub(crate) fn listed(&mut self, volume: &Name, listing: &Listing, ctx: &mut Context<'_>) {
        let now = ctx.now;
        let rebuilds =
            |volumes: &BTreeMap<Name, WatchedVolume>| volumes.get(volume).map(|v| v.state.rebuilds());
        let before = rebuilds(&self.volumes);
        self.take_news(volume, ctx, |state| state.listed(listing, now));
        if rebuilds(&self.volumes) != before {
            // What the container sees of it isn't known.
            for target in self.targets.iter_mut().filter(|target| target.volumes.contains_key(volume)) {
                target.stale_choice = true;
            }
            self.survey.fresh_mounts = true;
            self.begin_survey(ctx);
        }
    }

    pub(super) fn take_news(
        &mut self,
        name: &Name,
        ctx: &mut Context<'_>,
        news: impl FnOnce(&mut Volume) -> News,
    ) {
        let Some(volume) = self.volumes.get_mut(name) else { return };
        let before = volume.state.generation().cloned();
        let news = news(&mut volume.state);
        if volume.state.is_changed() && volume.state.generation() != before.as_ref() {
            ctx.act(Action::Report(Report::Swapped(volume.plan.kind)));
        }
        let timed_out = volume.state.take_timed_out();
        match news {
            News::Nothing => {}
            News::List => ctx.act(Action::List(self.volume_ref(name))),
            News::Swapped(generation) => self.prepare(name, &generation, ctx),
            News::Settled(settled) => {
                if timed_out {
                    ctx.act(Action::Report(Report::SettleTimedOut(self.volume_ref(name))));
                }
                self.settled(name, &settled, ctx);
            }
        }
    }

    /// Between a swap and its settle: what can be read now needn't be read after it.
    fn prepare(&mut self, name: &Name, generation: &Generation, ctx: &mut Context<'_>) {
        self.want_contents(name, generation, ctx);
        let mut survey = false;
        for target in self.targets.iter_mut().filter(|target| target.volumes.contains_key(name)) {
            let Resolution::Found(resolved) = &target.resolution else { continue };
            if resolved.volatile {
                target.stale_choice = true;
                survey = true;
            }
            let held = resolved.told.iter().filter(|process| process.held);
            let held: Vec<ProcessIdentity> = held.map(|process| process.identity.clone()).collect();
            target.ask_guards(&held, ctx.now);
            for process in held {
                ctx.act(Action::ReadGuard(process, target.plan.signal));
            }
        }
        if survey {
            self.begin_survey(ctx);
        }
    }

    fn settled(&mut self, name: &Name, settled: &Settled, ctx: &mut Context<'_>) {
        if settled.how == How::Changed {
            let took = settled.settled.since(settled.swapped);
            ctx.act(Action::Report(Report::Settled(took)));
        }
        self.want_contents(name, &settled.generation, ctx);
        for index in 0..self.targets.len() {
            self.settled_for(index, name, settled, ctx);
        }
    }

    fn settled_for(&mut self, index: usize, name: &Name, settled: &Settled, ctx: &mut Context<'_>) {
        let Some(volume) = self.targets[index].volumes.get_mut(name) else { return };
        let new_here = volume.handled.is_none();
        let as_it_is = match settled.how {
            How::First => new_here,
            How::Discovered => new_here && self.as_is,
            How::Changed => false,
        };
        if as_it_is {
            self.take_baseline(index, name, settled.generation.clone(), ctx);
            return;
        }
        if let Some(older) = self.targets[index].settled(name, settled, new_here)
            && !older.only_if_older
        {
            report::superseded(self.pod.clone(), &self.targets[index], name, older, ctx);
        }
    }

    pub(super) fn take_baseline(
        &mut self,
        index: usize,
        name: &Name,
        generation: Generation,
        ctx: &mut Context<'_>,
    ) {
        let digest = self.known_digest(name, &generation);
        let target = &mut self.targets[index];
        let key = report::key(&self.pod.uid, &target.plan.container, name);
        let handled = Handled { generation: generation.clone(), outcome: None };
        ctx.act(Action::Record(JournalUpdate::Handled(key, handled)));
        if let Some(volume) = target.volumes.get_mut(name) {
            volume.handled = Some(generation);
            volume.holds_it = true;
            volume.told = digest;
            volume.pending = None;
        }
        target.forget_if_idle();
    }

    /// Whether a swap of the volume may carry nothing that counts.
    pub(super) fn needs_digest(volume: &WatchedVolume) -> bool {
        !volume.plan.files.everything() || volume.state.is_rebuilt() || volume.ignored != Ignored::Nothing
    }

    /// Has a generation read, where that decides something or is measured.
    pub(super) fn want_contents(&mut self, name: &Name, generation: &Generation, ctx: &mut Context<'_>) {
        let volume_ref = self.volume_ref(name);
        let Some(volume) = self.volumes.get_mut(name) else { return };
        let known = volume.digest.as_ref().is_some_and(|(known, _)| known == generation);
        if !known && (Self::needs_digest(volume) || volume.propagation.is_measured()) {
            volume.digest = Some((generation.clone(), None));
            ctx.act(Action::Read(volume_ref, generation.clone()));
        }
    }

    pub(super) fn known_digest(&self, name: &Name, generation: &Generation) -> Option<Digest> {
        let (known, digest) = self.volumes.get(name)?.digest.as_ref()?;
        if known == generation { digest.flatten() } else { None }
    }

    pub(crate) fn read(
        &mut self,
        name: &Name,
        generation: &Generation,
        reading: &Reading,
        contents: Option<&Contents>,
        ctx: &mut Context<'_>,
    ) {
        // What counts may be something else by now: then another read is on its way.
        if self.reading(name).is_some_and(|wanted| wanted.filter == reading.filter) {
            self.take_digest(name, generation, contents.map(|contents| contents.counting));
        }
        self.measure(name, generation, contents, ctx);
    }

    fn take_digest(&mut self, name: &Name, generation: &Generation, digest: Option<Digest>) {
        let Some(volume) = self.volumes.get_mut(name) else { return };
        if volume.digest.as_ref().is_some_and(|(wanted, _)| wanted == generation) {
            volume.digest = Some((generation.clone(), Some(digest)));
        }
        for target in &mut self.targets {
            let told = target.volumes.get_mut(name).filter(|told| {
                told.holds_it && told.pending.is_none() && told.handled.as_ref() == Some(generation)
            });
            if let Some(told) = told {
                told.told = digest;
            }
        }
    }
}
