//! Which generations' opens are watched, so that it is seen whether a container reads what it is told of.

use std::collections::BTreeSet;

use crate::machine::context::Context;
use crate::machine::event::Action;
use crate::machine::pod::PodMachine;
use crate::model::generation::Generation;
use crate::model::names::Name;

impl PodMachine {
    /// Begins and ends watches of opens as they are needed by now: those of the generations that a delivery tells of, from
    /// before its send until one was seen, it is too late, the window is closed or a newer generation is there.
    pub(super) fn follow_opens(&mut self, ctx: &mut Context<'_>) {
        let volumes = &self.site.volumes;
        let is_current = |name: &Name, generation: &Generation| {
            volumes.get(name).is_some_and(|watched| watched.is_current(generation))
        };
        let mut wanted = BTreeSet::new();
        for target in &mut self.targets {
            wanted.extend(target.opens(is_current).iter().cloned());
            let sent = target.sent().map(|(name, pending)| (name, &pending.generation));
            let sent = sent.filter(|(name, generation)| is_current(name, generation));
            wanted.extend(sent.map(|(name, generation)| (name.clone(), generation.clone())));
        }
        self.watch_opens(wanted, ctx);
    }

    /// A watch has gone off, and shows nothing any more: whoever is told now needs another one.
    pub(super) fn end_opened(&mut self, name: &Name, generation: &Generation, ctx: &mut Context<'_>) {
        if self.opens.remove(&(name.clone(), generation.clone())) {
            ctx.act(Action::UnwatchOpens(self.volume_ref(name), generation.clone()));
        }
    }

    pub(super) fn watch_opens(&mut self, wanted: BTreeSet<(Name, Generation)>, ctx: &mut Context<'_>) {
        for (name, generation) in self.opens.difference(&wanted) {
            ctx.act(Action::UnwatchOpens(self.volume_ref(name), generation.clone()));
        }
        for (name, generation) in wanted.difference(&self.opens) {
            let directories = self.site.volumes.get(name).map(|watched| watched.directories().clone());
            let directories = directories.unwrap_or_default();
            ctx.act(Action::WatchOpens(self.volume_ref(name), generation.clone(), directories));
        }
        self.opens = wanted;
    }
}
