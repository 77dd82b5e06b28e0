//! Whose opens are watched: those of the generations that a delivery tells of, from before its send until one was seen,
//! it is too late, the window is closed or a newer generation is there.

use super::*;
use crate::machine::verify::REREAD_WITHIN;
use crate::model::names::clean;
use crate::model::pod::{ProjectedSource, VolumeSource};

/// The most directories of a generation that are watched below its own.
const MOST_DIRECTORIES: usize = 31;

impl PodMachine {
    /// Begins and ends watches as it is needed by now.
    pub(super) fn follow_opens(&mut self, ctx: &mut Context<'_>) {
        let mut wanted = BTreeSet::new();
        for target in &mut self.targets {
            if let Some(verify) = &mut target.verify {
                let in_time = ctx.now < verify.delivered + REREAD_WITHIN;
                verify
                    .opens
                    .retain(|(name, generation)| in_time && is_current(&self.volumes, name, generation));
                wanted.extend(verify.opens.iter().cloned());
            }
            let sent = target.sending.iter().flat_map(|sending| &sending.generations);
            let sent = sent.map(|(name, pending)| (name, &pending.generation));
            let sent = sent.filter(|(name, generation)| is_current(&self.volumes, name, generation));
            wanted.extend(sent.map(|(name, generation)| (name.clone(), generation.clone())));
        }
        self.watch_opens(wanted, ctx);
    }

    /// Nothing is of interest any more.
    pub(super) fn forget_opens(&mut self, ctx: &mut Context<'_>) {
        self.watch_opens(BTreeSet::new(), ctx);
    }

    fn watch_opens(&mut self, wanted: BTreeSet<(Name, Generation)>, ctx: &mut Context<'_>) {
        for (name, generation) in self.opens.difference(&wanted) {
            ctx.act(Action::UnwatchOpens(self.volume_ref(name), generation.clone()));
        }
        for (name, generation) in wanted.difference(&self.opens) {
            ctx.act(Action::WatchOpens(self.volume_ref(name), generation.clone()));
        }
        self.opens = wanted;
    }

    pub(crate) fn opened(&mut self, volume: &Name, generation: &Generation, at: Time, ctx: &mut Context<'_>) {
        for target in &mut self.targets {
            verify::opened(&self.pod, target, volume, generation, at, ctx);
        }
    }

    pub(crate) fn directories(&self, volume: &Name) -> &[Name] {
        self.volumes.get(volume).map(|volume| &*volume.directories).unwrap_or_default()
    }
}

fn is_current(volumes: &BTreeMap<Name, WatchedVolume>, name: &Name, generation: &Generation) -> bool {
    volumes.get(name).is_some_and(|volume| volume.state.generation() == Some(generation))
}

/// The directories of a volume's files, below the generation's own. A key can't contain a slash: the spec names them all.
pub(super) fn directories(pod: &Pod, volume: &Name) -> Arc<[Name]> {
    let Some(volume) = pod.volumes.iter().find(|found| found.name == *volume) else { return Arc::default() };
    let mut paths: Vec<&Name> = Vec::new();
    match &volume.source {
        VolumeSource::ConfigMap(source) | VolumeSource::Secret(source) => {
            paths.extend(source.items.iter().map(|item| &item.path));
        }
        VolumeSource::Projected(sources) => {
            for source in sources {
                match source {
                    ProjectedSource::ConfigMap(source) | ProjectedSource::Secret(source) => {
                        paths.extend(source.items.iter().map(|item| &item.path));
                    }
                    ProjectedSource::Rotating { paths: rotating } => paths.extend(rotating),
                }
            }
        }
        VolumeSource::DownwardApi | VolumeSource::Other => {}
    }
    let directory = |path: &Name| clean(path).rsplit_once('/').map(|(directory, _)| Name::from(directory));
    // The API server refuses such a path; a pods file may hold it.
    let is_inside = |path: &Name| !path.split('/').any(|element| element == "..");
    let all: BTreeSet<Name> = paths.into_iter().filter_map(directory).filter(is_inside).collect();
    all.into_iter().take(MOST_DIRECTORIES).collect()
}
