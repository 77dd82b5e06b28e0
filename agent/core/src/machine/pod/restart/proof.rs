//! Whether what runs again has what its volumes hold now: its `subPath` mounts show the generation that was there at its start.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::part::Part;
use crate::machine::event::Shown;
use crate::model::names::Name;
use crate::model::pod::{Pod, VolumeKind};
use crate::model::restart::Finding;

/// A container is being set up for a moment, and some of its mounts come after others.
const GROWN: Duration = Duration::from_secs(3);

/// What volumes hold now, as far as it was asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Proof {
    /// `None` while that is on its way, or where it can't be told.
    volumes: BTreeMap<Name, Answer>,
}

#[derive(Clone, Debug)]
enum Answer {
    Awaited,
    Shown(Option<Shown>),
}

impl Proof {
    /// The volumes of which it is to be asked what they hold: those that are mounted by `subPath`, once all containers run again.
    pub(super) fn wants(&mut self, pod: &Pod, parts: &[Part]) -> Vec<(Name, VolumeKind)> {
        if !parts.iter().all(|part| has_started(pod, part)) {
            return Vec::new();
        }
        let mounted: BTreeSet<(Name, VolumeKind)> =
            parts.iter().flat_map(|part| frozen(pod, part.name())).collect();
        let new = mounted.into_iter().filter(|(volume, _)| !self.volumes.contains_key(volume));
        let new: Vec<_> = new.collect();
        self.volumes.extend(new.iter().map(|(volume, _)| (volume.clone(), Answer::Awaited)));
        new
    }

    /// What a volume holds now.
    pub(super) fn shown(&mut self, volume: &Name, shown: Option<&Shown>) {
        if let Some(answer) = self.volumes.get_mut(volume) {
            *answer = Answer::Shown(shown.cloned());
        }
    }

    /// What is to be said, once all containers run again and all is known: the worst of it.
    pub(super) fn finding(&self, pod: &Pod, parts: &[Part]) -> Option<(Finding, Option<Cow<'static, str>>)> {
        if !parts.iter().all(|part| has_started(pod, part)) {
            return None;
        }
        let mut worst: (Finding, Option<Cow<'static, str>>) = (Finding::Current, None);
        for part in parts {
            for (volume, kind) in frozen(pod, part.name()) {
                let Answer::Shown(shown) = self.volumes.get(&volume)? else { return None };
                let finding = shows(part, &volume, kind, shown.as_ref());
                if finding > worst.0 {
                    let what =
                        if finding == Finding::Old { "an older generation" } else { "something unknown" };
                    let sentence =
                        format!("container {} shows {what} of volume {volume} by subPath", part.name());
                    worst = (finding, Some(sentence.into()));
                }
            }
        }
        Some(worst)
    }
}

/// What a container's `subPath` mounts show of a volume.
fn shows(part: &Part, volume: &Name, kind: VolumeKind, shown: Option<&Shown>) -> Finding {
    let mounts = part.next().and_then(|next| next.mounts.as_ref());
    let (Some(mounts), Some(shown)) = (mounts, shown) else { return Finding::Unproved };
    match mounts.frozen(kind, volume, shown.dir) {
        None => Finding::Unproved,
        Some(seen) if seen.iter().all(|seen| **seen == shown.generation) => Finding::Current,
        Some(_) => Finding::Old,
    }
}

/// Whether another container runs in the place of this one, for long enough to have all its mounts where these count.
fn has_started(pod: &Pod, part: &Part) -> bool {
    part.next().is_some_and(|next| {
        let is_grown = next.looked_at >= next.started + GROWN && next.mounts.is_some();
        is_grown || frozen(pod, part.name()).next().is_none()
    })
}

/// The volumes of ConfigMaps and Secrets that a container mounts by `subPath`.
fn frozen<'a>(pod: &'a Pod, container: &Name) -> impl Iterator<Item = (Name, VolumeKind)> + 'a {
    let container = pod.spec.containers.iter().find(|known| known.name == *container);
    let mounts = container.into_iter().flat_map(|container| &container.mounts);
    mounts.filter(|mount| mount.sub_path.is_some()).filter_map(|mount| {
        let volume = pod.spec.volumes.iter().find(|volume| volume.name == mount.volume)?;
        let kind = volume.kind().filter(|kind| *kind != VolumeKind::Csi)?;
        Some((volume.name.clone(), kind))
    })
}
