//! Where a change is stuck: which volumes and containers hold something else than the API server shows, and why.

use super::*;
use crate::kernel::mounts::View;
use crate::machine::status::{Stale, StaleReason};
use crate::model::object::{ObjectRef, ObjectVersion};
use crate::propagation::volume::Standing;

impl PodMachine {
    /// Everything of the pod that is stale: a volume, or what a container took at its start.
    pub(crate) fn stale(&self) -> Vec<Stale> {
        let volumes = self.volumes.keys().filter_map(|name| self.stale_volume(name));
        volumes.chain(self.frozen.iter().filter_map(stale_since_start)).collect()
    }

    /// A volume is stale once, for the reason that comes first on the way.
    pub(crate) fn stale_volume(&self, name: &Name) -> Option<Stale> {
        let volume = self.volumes.get(name)?;
        let stale = |reason, since| {
            Some(Stale { volume: Some(name.clone()), container: None, object: None, reason, since })
        };
        match volume.propagation.standing() {
            Standing::Waiting { since, immutable: true } => return stale(StaleReason::Immutable, since),
            Standing::Waiting { since, immutable: false } => return stale(StaleReason::Waiting, since),
            Standing::Unknown | Standing::UpToDate => {}
        }
        let of_targets = self.targets.iter().filter_map(|target| {
            let (reason, since) = stale_for(target, name, volume)?;
            let container = Some(target.plan.container.clone());
            Some(Stale { volume: Some(name.clone()), container, object: None, reason, since })
        });
        of_targets.min_by_key(|stale| stale.since)
    }

    /// The versions of a volume's objects that a generation of it brought, as far as they are known.
    pub(crate) fn versions_of(&self, name: &Name, generation: &Generation) -> Vec<(ObjectRef, Option<Name>)> {
        let Some(volume) = self.volumes.get(name) else { return Vec::new() };
        if volume.state.generation() == Some(generation) {
            return named(volume.propagation.on_disk());
        }
        let publication = volume.publications.iter().find(|known| known.generation == *generation);
        publication.map_or_else(Vec::new, |known| {
            named(known.versions.iter().map(|(object, version)| (object, version.as_ref())))
        })
    }

    /// The newest versions of a volume's objects that the API server has shown.
    pub(crate) fn versions_wanted(&self, name: &Name) -> Vec<(ObjectRef, Option<Name>)> {
        let Some(volume) = self.volumes.get(name) else { return Vec::new() };
        named(volume.propagation.wanted())
    }
}

fn named<'a>(
    versions: impl Iterator<Item = (&'a ObjectRef, Option<&'a Arc<ObjectVersion>>)>,
) -> Vec<(ObjectRef, Option<Name>)> {
    let named = |version: &Arc<ObjectVersion>| version.version.clone();
    versions.map(|(object, version)| (object.clone(), version.map(named))).collect()
}

/// Why a container doesn't hold what is on disk, and since when.
fn stale_for(target: &Target, name: &Name, watched: &WatchedVolume) -> Option<(StaleReason, Time)> {
    let volume = target.volumes.get(name)?;
    let settled = watched.state.settled()?;
    let started = match &target.resolution {
        Resolution::Found(resolved) => {
            let view = resolved.views.get(name);
            if watched.state.is_rebuilt() && view.is_some_and(|view| *view == View::Dead) {
                return Some((StaleReason::Orphaned, settled.settled));
            }
            resolved.first.started
        }
        // Whatever starts reads what is there.
        Resolution::Missing(NoProcess::NotRunning | NoProcess::Starting) => return None,
        Resolution::Missing(_) | Resolution::Unknown => Time::default(),
    };
    let since = match &volume.pending {
        Some(pending) => pending.settled,
        None if volume.handled.as_ref() == Some(&settled.generation) && !volume.holds_it => settled.settled,
        None => return None,
    };
    if started > since {
        return None;
    }
    let reason = if target.is_held() { StaleReason::Held } else { StaleReason::Undelivered };
    Some((reason, since))
}

fn stale_since_start(frozen: &Frozen) -> Option<Stale> {
    let since = frozen.stale_since()?;
    let reason = match frozen.way {
        frozen::Way::Environment => StaleReason::Environment,
        frozen::Way::SubPath => StaleReason::SubPath,
    };
    let (container, object) = (Some(frozen.container.clone()), Some(frozen.object.clone()));
    Some(Stale { volume: None, container, object, reason, since })
}
