//! One volume between the API server and the disk: which versions of its objects were seen, which of them the volume
//! holds, and since when it lags behind.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::digest::Files;
use crate::model::generation::Generation;
use crate::model::names::Name;
use crate::model::object::{ObjectRef, ObjectVersion, Observed};
use crate::model::time::Time;
use crate::policy::sources::{self, Source};
use crate::propagation::kept;

mod measured;
mod publication;

use self::measured::Measured;
use self::publication::Brought;
pub(crate) use self::publication::Publication;

/// A volume's objects and what of them is on disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Propagation {
    sources: Vec<Measured>,
    /// What else writes into it, by the place in the order of sources: these paths, or any.
    others: Vec<(usize, Option<Vec<Name>>)>,
    /// Whether each file in the volume comes from the one object that is measured.
    whole: bool,
    disk: Option<OnDisk>,
    /// The generation whose publication was told last.
    published: Option<Generation>,
}

/// What was read of a volume's current generation.
#[derive(Clone, Debug)]
pub(crate) struct OnDisk {
    pub(crate) generation: Generation,
    pub(crate) swapped: Time,
    pub(crate) files: Arc<Files>,
    /// When it was read.
    pub(crate) read: Time,
}

/// Where a version stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not known yet, or not measured.
    Unknown,
    /// The volume holds the newest version of each of its objects.
    UpToDate,
    /// The kubelet hasn't published the newest version yet.
    Waiting {
        /// Since when the disk is behind.
        since: Time,
        /// Whether the kubelet doesn't look at the object any more, since the one it knows is immutable.
        immutable: bool,
    },
}

/// An object whose newest version is not on disk.
#[derive(Debug)]
struct Lagging<'a> {
    object: &'a ObjectRef,
    /// Since when the disk holds something else than the API server shows.
    since: Time,
    /// When its newest content was seen.
    seen: Time,
    /// Whether the kubelet doesn't look at it any more.
    immutable: bool,
}

/// What is kept from triggering.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// Nothing is kept from triggering.
    #[default]
    Nothing,
    /// These files are kept from triggering.
    Paths(BTreeSet<Name>),
    /// The whole volume.
    Everything,
}

impl Propagation {
    /// A volume made of these sources, of which only some objects are watched.
    pub(crate) fn new(sources: &[Source], is_measured: impl Fn(&ObjectRef) -> bool) -> Self {
        let mut volume = Self { whole: sources.len() == 1, ..Self::default() };
        for (place, source) in sources.iter().enumerate() {
            match source {
                Source::Object(object, source) if is_measured(object) => {
                    volume.sources.push(Measured::new(place, object.clone(), source.clone()));
                }
                Source::Object(_, source) => volume.others.push((place, sources::paths(source))),
                Source::Other(paths) => volume.others.push((place, Some(paths.clone()))),
            }
        }
        volume
    }

    /// The objects to watch.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        self.sources.iter().map(|source| &source.object)
    }

    /// Whether anything is measured.
    pub(crate) fn is_measured(&self) -> bool {
        !self.sources.is_empty()
    }

    /// The newest version of each object, as far as it was seen.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = (&ObjectRef, Option<&Arc<ObjectVersion>>)> {
        self.sources.iter().filter_map(|source| Some((&source.object, source.seen.back()?.version.as_ref())))
    }

    /// The version of each object that is on disk, where it was seen.
    pub(crate) fn on_disk(&self) -> impl Iterator<Item = (&ObjectRef, Option<&Arc<ObjectVersion>>)> {
        self.sources.iter().filter_map(|source| {
            let seen = source.seen.iter().find(|seen| Some(seen.number) == source.done && !source.ahead)?;
            Some((&source.object, seen.version.as_ref()))
        })
    }

    /// What of the volume is kept from triggering by the objects' owners.
    pub(crate) fn ignored(&self) -> Ignored {
        let is_ignored = |source: &&Measured| {
            let newest = source.seen.back().and_then(|seen| seen.version.as_ref());
            newest.is_some_and(|version| version.ignored)
        };
        let ignored: Vec<&Measured> = self.sources.iter().filter(is_ignored).collect();
        let objects = self.sources.len() + self.others.iter().filter(|(_, paths)| paths.is_none()).count();
        if ignored.is_empty() {
            return Ignored::Nothing;
        }
        if ignored.len() == objects && self.others.is_empty() {
            return Ignored::Everything;
        }
        let counts_for_others = |source: &Measured, path: &str| {
            let later = |place: usize| place > source.place;
            let of_objects = self
                .sources
                .iter()
                .any(|other| later(other.place) && !is_ignored(&other) && other.writes(path) != Some(false));
            of_objects
                || self.others.iter().any(|(place, paths)| {
                    later(*place) && paths.as_ref().is_none_or(|paths| paths.iter().any(|own| **own == *path))
                })
        };
        let paths = ignored.iter().flat_map(|source| {
            let newest = source.seen.back().map(|seen| seen.number);
            let current =
                source.seen.iter().filter(move |s| Some(s.number) == source.done || Some(s.number) == newest);
            let paths = current.flat_map(|seen| &seen.files).flat_map(|files| files.keys());
            paths.filter(|path| !counts_for_others(source, path)).cloned()
        });
        Ignored::Paths(paths.collect())
    }

    /// Whether this generation was read.
    pub(crate) fn has_read(&self, generation: &Generation) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.generation == *generation)
    }

    /// Whether it is known what this generation brought.
    pub(crate) fn is_decided(&self, generation: &Generation) -> bool {
        self.has_read(generation) && !self.sources.iter().any(|source| source.ahead)
    }

    /// Takes in what the API server says of an object.
    pub(crate) fn observed(
        &mut self,
        object: &ObjectRef,
        observed: &Observed,
        at: Time,
    ) -> Option<Publication> {
        let read = self.disk.as_ref().map(|disk| disk.read);
        for source in self.sources.iter_mut().filter(|source| source.object == *object) {
            let again = source.observed(observed, at);
            // There is nothing newer than what isn't on disk: it is behind.
            let is_newest = again && read.is_some_and(|read| read <= at);
            source.ahead &= !is_newest;
            source.doubted = source.ahead && !again;
        }
        let disk = self.disk.clone()?;
        let mut brought = Brought::default();
        for index in 0..self.sources.len() {
            let found = self.newest_on_disk(index, &disk.files);
            let Some(source) = self.sources.get_mut(index) else { continue };
            if found.is_none() {
                continue;
            }
            source.doubted = false;
            if std::mem::take(&mut source.ahead) {
                brought.take(source, found);
            }
            // A content that came back before the kubelet looked is on disk without a swap.
            if found == source.seen.back().map(|seen| seen.number) {
                source.done = found;
            }
        }
        self.publish(brought, &disk)
    }

    /// Takes in what a generation holds.
    pub(crate) fn read(&mut self, disk: OnDisk, changed: bool) -> Option<Publication> {
        if self.disk.as_ref().is_some_and(|known| known.generation == disk.generation) {
            return None;
        }
        let mut brought = Brought::default();
        for index in 0..self.sources.len() {
            let found = self.newest_on_disk(index, &disk.files);
            let Some(source) = self.sources.get_mut(index) else { continue };
            source.ahead = found.is_none() && changed && !source.seen.is_empty();
            source.doubted = source.ahead;
            if found.is_some() {
                if changed {
                    brought.take(source, found);
                }
                source.done = found;
            }
        }
        let publication = self.publish(brought, &disk);
        self.sources.iter_mut().for_each(Measured::forget_old);
        self.disk = Some(disk);
        self.share_files();
        publication
    }

    /// A swap is told of once, when the first version that it brought is known. Of an object whose version isn't, what was
    /// seen before it and waited counts: the swap has overtaken that.
    fn publish(&mut self, mut brought: Brought, disk: &OnDisk) -> Option<Publication> {
        self.sources.iter().filter(|source| source.ahead).for_each(|source| brought.overtake(source));
        let publication = brought.publication(disk)?;
        let before = self.published.replace(disk.generation.clone());
        (before.as_ref() != Some(&disk.generation)).then_some(publication)
    }

    /// What the disk and a version have in common is kept once.
    fn share_files(&mut self) {
        let Some(disk) = self.disk.as_mut().filter(|_| self.whole) else { return };
        let same = self.sources.iter().flat_map(|source| &source.seen).filter_map(|seen| seen.files.as_ref());
        if let Some(same) = same.into_iter().find(|files| **files == disk.files) {
            disk.files = same.clone();
        }
    }

    /// The objects of which the disk has something that wasn't seen: maybe it is newer, and the watch is late, or it is older
    /// than what was seen, and came before it. Who asks anew what the API server has hears which.
    pub(crate) fn take_doubted(&mut self) -> Vec<ObjectRef> {
        let doubted = self
            .sources
            .iter_mut()
            .filter_map(|source| std::mem::take(&mut source.doubted).then(|| source.object.clone()));
        doubted.collect()
    }

    /// How much is kept of files that belongs to nobody else: the objects' own are counted there.
    pub(crate) fn cost(&self) -> usize {
        let kept = self.sources.iter().flat_map(Measured::kept_files);
        let is_shared = |disk: &OnDisk| {
            let mut contents = self.sources.iter().flat_map(|source| &source.seen);
            contents.any(|seen| seen.files.as_ref().is_some_and(|files| Arc::ptr_eq(files, &disk.files)))
        };
        let disk = self.disk.iter().filter(|disk| !is_shared(disk)).map(|disk| &disk.files);
        kept.chain(disk).map(|files| kept::cost(files)).sum()
    }

    /// There is no room for all this: nothing is known until the next change.
    pub(crate) fn give_up(&mut self) {
        self.disk = None;
        self.sources.iter_mut().for_each(Measured::give_up);
    }

    /// What is on disk can't be read.
    pub(crate) fn unreadable(&mut self) {
        self.disk = None;
    }

    /// Where the newest versions stand.
    pub(crate) fn standing(&self) -> Standing {
        let Some(lagging) = self.lagging() else { return Standing::Unknown };
        match lagging.iter().map(|one| one.since).min() {
            Some(since) => Standing::Waiting { since, immutable: lagging.iter().all(|one| one.immutable) },
            None => Standing::UpToDate,
        }
    }

    /// The object whose newest version is not on disk and was seen last, and when; not those that the kubelet doesn't look
    /// at any more.
    pub(crate) fn newest_lagging(&self, current: &Generation) -> Option<(&ObjectRef, Time)> {
        if !self.has_read(current) {
            return None;
        }
        let lagging = self.lagging()?.into_iter().filter(|one| !one.immutable);
        lagging.map(|one| (one.object, one.seen)).max_by_key(|(_, seen)| *seen)
    }

    /// The objects whose newest version is not on disk; `None` if that isn't known, or not measured.
    fn lagging(&self) -> Option<Vec<Lagging<'_>>> {
        let disk = self.disk.as_ref()?;
        if self.sources.iter().any(|source| source.seen.is_empty() && !source.unmeasured) {
            return None;
        }
        let mut known = false;
        let mut lagging = Vec::new();
        for (index, source) in self.sources.iter().enumerate() {
            let Some(newest) = source.seen.back() else { continue };
            let Some(files) = &newest.files else { continue };
            if source.ahead {
                continue;
            }
            known = true;
            if self.holds(index, files, &disk.files) {
                continue;
            }
            let behind = source.seen.iter().find(|seen| source.done.is_none_or(|done| seen.number > done));
            lagging.push(Lagging {
                object: &source.object,
                since: behind.unwrap_or(newest).since(),
                seen: newest.observed,
                immutable: source.known_immutable(newest),
            });
        }
        let is_sure = !lagging.is_empty() || !self.sources.iter().any(|source| source.ahead);
        (known && is_sure).then_some(lagging)
    }

    /// The newest content of a source that the files can come from.
    fn newest_on_disk(&self, index: usize, disk: &Files) -> Option<u64> {
        let source = self.sources.get(index)?;
        let found = source
            .seen
            .iter()
            .rev()
            .find(|seen| seen.files.as_ref().is_some_and(|files| self.holds(index, files, disk)))?;
        Some(found.number)
    }

    /// Whether the disk shows these files of a source. A path that several sources write is the last one's (kubelet
    /// `projected.go`, `collectData`); one that only other contents of the source have must not be there.
    fn holds(&self, index: usize, files: &Files, disk: &Files) -> bool {
        if self.whole {
            return files == disk;
        }
        let Some(source) = self.sources.get(index) else { return false };
        // Later sources that are known to write the path: theirs is on disk.
        let covered = |path: &str| {
            let later = |place: usize| place > source.place;
            self.sources.iter().any(|other| later(other.place) && other.writes(path) == Some(true))
                || self.others.iter().any(|(place, paths)| {
                    later(*place)
                        && paths.as_ref().is_some_and(|paths| paths.iter().any(|other| **other == *path))
                })
        };
        // Any other source that may write it.
        let may_be_anothers = |path: &str| {
            let other = |place: usize| place != source.place;
            self.sources.iter().any(|one| other(one.place) && one.writes(path) != Some(false))
                || self.others.iter().any(|(place, paths)| {
                    other(*place) && paths.as_ref().is_none_or(|paths| paths.iter().any(|own| **own == *path))
                })
        };
        let there = files
            .iter()
            .all(|(path, digest)| covered(path) || disk.get(path).is_some_and(|found| found == digest));
        let mut elsewhere = source.seen.iter().flat_map(|seen| &seen.files).flat_map(|files| files.keys());
        there
            && elsewhere
                .all(|path| files.contains_key(path) || !disk.contains_key(path) || may_be_anothers(path))
    }
}

#[cfg(test)]
mod tests;
