//! One watched volume: how far the kubelet is with it, what its files are, and what is measured of it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::machine::event::Reading;
use crate::machine::volume::{News, Volume};
use crate::model::digest::Digest;
use crate::model::generation::Generation;
use crate::model::names::{FilePath, Name};
use crate::model::object::ObjectRef;
use crate::model::outcome::Outcome;
use crate::model::pod::{PodSpec, ProjectedSource, Volume as SpecVolume, VolumeSource};
use crate::model::time::Time;
use crate::policy::plan::VolumePlan;
use crate::propagation::volume::{Ignored, Propagation, Publication};

mod measure;

pub(crate) use measure::{IGNORED_WAITS, Measured};

/// The most directories of a generation that are watched below its own.
const MOST_DIRECTORIES: usize = 31;

/// A watched volume.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    plan: VolumePlan,
    /// Since when it is watched.
    since: Time,
    state: Volume,
    digest: FilesDigest,
    propagation: Propagation,
    publications: VecDeque<Publication>,
    ignored: Ignored,
    /// The directories of a generation that hold files, below its own.
    directories: Arc<[Name]>,
    /// Whether these are all of them.
    has_all_directories: bool,
    /// The last generation whose opens couldn't be seen.
    unseen: Option<Generation>,
}

/// The digest of the files that count.
#[derive(Clone, Debug, PartialEq, Eq)]
enum FilesDigest {
    /// Nobody asked for it.
    Unwanted,
    /// That of this generation is being read.
    Reading(Generation),
    /// A generation that couldn't be read then: a newer one may have taken its place, which a listing will show.
    Missing(Generation, Time),
    /// A listing has shown it since, and it is read once more.
    ReadingAgain(Generation),
    /// The digest of a generation that was read; `None` where it couldn't be.
    Read(Generation, Option<Digest>),
}

impl FilesDigest {
    /// The generation that it is about.
    const fn generation(&self) -> Option<&Generation> {
        match self {
            Self::Unwanted => None,
            Self::Reading(known)
            | Self::Missing(known, _)
            | Self::ReadingAgain(known)
            | Self::Read(known, _) => Some(known),
        }
    }
}

/// What came of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WasRead {
    /// What was read is what counts, or it can't be read.
    So,
    /// The generation couldn't be read, and may be another one by now: a listing is needed.
    Missing,
    /// Something else counts by now: another read is on its way, or was lost to this one. This is to be read.
    Otherwise(Option<Reading>),
}

/// A generation against what was told before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// Every swap of the volume counts.
    NotNeeded,
    /// It is being read.
    Reading,
    /// The digest; `None` where it couldn't be read. If it is the one that was told of last, this is the outcome.
    Known(Option<Digest>, Outcome),
    /// Whatever it is, the volume's owner keeps it from triggering.
    Excluded,
}

/// What happened to a volume.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub(crate) news: News,
    /// The kubelet published a change.
    pub(crate) swapped: bool,
    /// The generation before was never removed.
    pub(crate) timed_out: bool,
    /// When the generation was swapped in that a newer one took the place of before it was complete.
    pub(crate) displaced: Option<Time>,
}

impl Watched {
    /// A volume of a pod, watched from now on.
    pub(crate) fn new(
        spec: &PodSpec,
        plan: &VolumePlan,
        now: Time,
        is_measured: impl Fn(&ObjectRef) -> bool,
    ) -> Self {
        let all = directories(&spec.volumes, &plan.name);
        Self {
            plan: plan.clone(),
            since: now,
            state: Volume::watched_since(now),
            digest: FilesDigest::Unwanted,
            propagation: Propagation::new(&plan.sources, is_measured),
            publications: VecDeque::new(),
            ignored: Ignored::Nothing,
            has_all_directories: all.len() <= MOST_DIRECTORIES,
            directories: all.into_iter().take(MOST_DIRECTORIES).collect(),
            unseen: None,
        }
    }

    /// What is to be done about it.
    pub(crate) const fn plan(&self) -> &VolumePlan {
        &self.plan
    }

    /// Since when it is watched.
    pub(crate) const fn since(&self) -> Time {
        self.since
    }

    /// How far the kubelet is with it.
    pub(crate) const fn state(&self) -> &Volume {
        &self.state
    }

    /// The directories of a generation that hold files, below its own.
    pub(crate) const fn directories(&self) -> &Arc<[Name]> {
        &self.directories
    }

    /// Opens of a generation can't be seen.
    pub(crate) fn opens_unseen(&mut self, generation: &Generation) {
        self.unseen = Some(generation.clone());
    }

    /// Whether opens of this generation are seen wherever its files are.
    pub(crate) fn shows_opens(&self, generation: &Generation) -> bool {
        self.has_all_directories && self.unseen.as_ref() != Some(generation)
    }

    /// Whether a generation is the one that is published.
    pub(crate) fn is_current(&self, generation: &Generation) -> bool {
        self.state.generation() == Some(generation)
    }

    /// Whether it was listed, and its files that count were read where that decides.
    pub(crate) fn is_known(&self) -> bool {
        let is_read = match &self.digest {
            FilesDigest::Unwanted | FilesDigest::Read(..) => true,
            FilesDigest::Reading(_) | FilesDigest::Missing(..) | FilesDigest::ReadingAgain(_) => false,
        };
        self.state.is_listed() && (is_read || !self.needs_digest())
    }

    /// Notifications were lost.
    pub(crate) fn doubt(&mut self, now: Time) {
        self.state.doubt(now);
    }

    /// Something happened to it.
    pub(crate) fn take(&mut self, what: impl FnOnce(&mut Volume) -> News) -> Happened {
        let before = self.state.generation().cloned();
        let incomplete = self.state.settling().map(|settling| settling.swapped);
        let news = what(&mut self.state);
        let is_another = self.state.generation() != before.as_ref();
        let swapped = self.state.is_changed() && is_another;
        let displaced = incomplete.filter(|_| is_another);
        Happened { news, swapped, timed_out: self.state.take_timed_out(), displaced }
    }

    /// Whether a swap may carry nothing that counts.
    fn needs_digest(&self) -> bool {
        !self.plan.files.everything() || self.state.is_rebuilt() || self.ignored != Ignored::Nothing
    }

    /// What is to be read of its generations.
    fn reading(&self) -> Reading {
        let filter = match &self.ignored {
            Ignored::Nothing | Ignored::Everything => self.plan.files.clone(),
            Ignored::Paths(paths) => self.plan.files.without(paths.iter().cloned()),
        };
        Reading { filter, each: self.propagation.is_measured(), decides: self.needs_digest() }
    }

    /// Whether it isn't known yet what a generation holds: it is being read, or nobody has wanted that.
    pub(crate) fn is_unread(&self, generation: &Generation) -> bool {
        match &self.digest {
            FilesDigest::Unwanted | FilesDigest::Reading(_) => true,
            FilesDigest::Missing(known, _)
            | FilesDigest::ReadingAgain(known)
            | FilesDigest::Read(known, _) => known != generation,
        }
    }

    /// What is to be read of a generation: it decides something, is measured, or is to be compared with what other replicas
    /// are told, and isn't known or being read.
    pub(crate) fn want(&mut self, generation: &Generation, compare: bool) -> Option<Reading> {
        let known = self.digest.generation() == Some(generation);
        let wanted = !known && (compare || self.needs_digest() || self.propagation.is_measured());
        wanted.then(|| {
            self.digest = FilesDigest::Reading(generation.clone());
            self.reading()
        })
    }

    /// What counts has changed: what is on disk is to be read once more. Gives that back.
    fn forget_digest(&mut self) -> Option<Generation> {
        self.digest = FilesDigest::Unwanted;
        self.state.generation().cloned()
    }

    /// A generation was read, or couldn't be.
    pub(crate) fn read(
        &mut self,
        generation: &Generation,
        reading: &Reading,
        counting: Option<Digest>,
        now: Time,
    ) -> WasRead {
        let wanted = self.reading();
        if wanted.filter != reading.filter {
            let is_awaited = match &self.digest {
                FilesDigest::Reading(known) | FilesDigest::ReadingAgain(known) => known == generation,
                FilesDigest::Unwanted | FilesDigest::Missing(..) | FilesDigest::Read(..) => false,
            };
            return WasRead::Otherwise(is_awaited.then_some(wanted));
        }
        let is_wanted = self.digest.generation() == Some(generation);
        let is_first = matches!(self.digest, FilesDigest::Reading(_));
        if is_wanted && is_first && counting.is_none() && self.needs_digest() {
            self.digest = FilesDigest::Missing(generation.clone(), now);
            return WasRead::Missing;
        }
        if is_wanted {
            self.digest = FilesDigest::Read(generation.clone(), counting);
        }
        WasRead::So
    }

    /// It was listed. What is to be read once more, if a generation couldn't be read and is still there.
    pub(crate) fn look_again(&mut self) -> Option<(Generation, Reading)> {
        let FilesDigest::Missing(generation, since) = &self.digest else { return None };
        if self.state.last_listed() <= *since {
            return None;
        }
        let generation = generation.clone();
        if self.is_current(&generation) {
            self.digest = FilesDigest::ReadingAgain(generation.clone());
            return Some((generation, self.reading()));
        }
        // A newer one would be read by now: nothing is published.
        self.digest = FilesDigest::Read(generation, None);
        None
    }

    /// The digest of a generation's files that count, where it was read.
    pub(crate) fn known_digest(&self, generation: &Generation) -> Option<Digest> {
        match &self.digest {
            FilesDigest::Read(known, digest) if known == generation => *digest,
            FilesDigest::Unwanted
            | FilesDigest::Reading(_)
            | FilesDigest::Missing(..)
            | FilesDigest::ReadingAgain(_)
            | FilesDigest::Read(..) => None,
        }
    }

    /// Whether it is still to be seen what a generation holds: it may stand there, and isn't known to be unreadable.
    pub(crate) fn may_be_read(&self, generation: &Generation) -> bool {
        let is_there = !self.state.is_listed() || self.is_current(generation);
        is_there && !matches!(&self.digest, FilesDigest::Read(known, None) if known == generation)
    }

    /// A generation against what was told before it.
    pub(crate) fn compared(&self, generation: &Generation, now: Time) -> Compared {
        if self.may_be_ignored(generation) {
            let settled = self.state.settled().map_or(now, |settled| settled.settled);
            return if now < settled + IGNORED_WAITS { Compared::Reading } else { Compared::NotNeeded };
        }
        let same = match &self.ignored {
            Ignored::Everything => return Compared::Excluded,
            Ignored::Paths(_) => Outcome::Excluded,
            Ignored::Nothing => Outcome::Unchanged,
        };
        match &self.digest {
            _ if !self.needs_digest() => Compared::NotNeeded,
            FilesDigest::Reading(known)
            | FilesDigest::Missing(known, _)
            | FilesDigest::ReadingAgain(known)
                if known == generation =>
            {
                Compared::Reading
            }
            FilesDigest::Read(known, digest) if known == generation => Compared::Known(*digest, same),
            FilesDigest::Unwanted
            | FilesDigest::Reading(_)
            | FilesDigest::Missing(..)
            | FilesDigest::ReadingAgain(_)
            | FilesDigest::Read(..) => Compared::Known(None, same),
        }
    }
}

/// The directories of a volume's files, below the generation's own. A key can't contain a slash: the spec names them all.
fn directories(volumes: &[SpecVolume], volume: &Name) -> BTreeSet<Name> {
    let Some(volume) = volumes.iter().find(|found| found.name == *volume) else { return BTreeSet::new() };
    let mut paths: Vec<&FilePath> = Vec::new();
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
    let directory =
        |path: &FilePath| path.as_str().rsplit_once('/').map(|(directory, _)| Name::from(directory));
    // The API server refuses such a path; a pods file may hold it.
    let is_inside = |path: &Name| !path.split('/').any(|element| element == "..");
    paths.into_iter().filter_map(directory).filter(is_inside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pod::{Item, ObjectSource};

    #[test]
    fn directories_below_a_generation_are_known_from_the_spec() {
        let object = |paths: &[&str]| ObjectSource {
            items: paths.iter().map(|path| Item { key: "key".into(), path: (*path).into() }).collect(),
            ..ObjectSource::default()
        };
        let below = |name: &str, source| {
            let volumes = vec![SpecVolume { name: "config".into(), source, csi: None }];
            directories(&volumes, &name.into()).iter().map(|name| String::from(&**name)).collect::<Vec<_>>()
        };
        assert!(below("config", VolumeSource::ConfigMap(object(&["a", "./b"]))).is_empty());
        let sources = vec![
            ProjectedSource::ConfigMap(object(&["x/y//a", "./x/b", "x/c", "../../z/d"])),
            ProjectedSource::Secret(object(&["tls/key"])),
            ProjectedSource::Rotating { paths: vec!["tokens/one".into()] },
        ];
        assert_eq!(below("config", VolumeSource::Projected(sources)), ["tls", "tokens", "x", "x/y"]);
        let many: Vec<String> = (0..100).map(|n| format!("{n}/key")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(below("config", VolumeSource::Secret(object(&many))).len(), 100);
        assert!(below("more", VolumeSource::Secret(object(&many))).is_empty());
    }
}
