//! One volume between the API server and the disk: which versions of its objects were seen, which of them the volume
//! holds, and since when it lags behind.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::event::Versions;
use crate::generation::Generation;
use crate::object::{ObjectRef, ObjectVersion, Observed};
use crate::pod::{Name, ObjectSource};
use crate::sources::{self, Files, Source};
use crate::time::Time;

/// How many contents of one object are remembered. More of them between two looks of the kubelet (a minute) are taken
/// together with the oldest that is left.
const REMEMBERED: usize = 16;

/// A volume's objects and what of them is on disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Propagation {
    sources: Vec<Measured>,
    /// What else writes into it, by the place in the order of sources: these paths, or any.
    others: Vec<(usize, Option<Vec<Name>>)>,
    /// Whether each file in the volume comes from the one object that is measured.
    whole: bool,
    disk: Option<Disk>,
}

#[derive(Clone, Debug)]
struct Disk {
    generation: Generation,
    swapped: Time,
    files: Arc<Files>,
}

/// One object of the volume.
#[derive(Clone, Debug)]
struct Measured {
    /// Its place in the order of sources.
    place: usize,
    object: ObjectRef,
    source: ObjectSource,
    /// Its contents, oldest first; versions with the same content are one.
    seen: VecDeque<Seen>,
    last_number: u64,
    /// The content that is on disk, and everything before it, is done with.
    done: Option<u64>,
    /// The disk holds a content that wasn't seen yet: the kubelet's watch was faster.
    ahead: bool,
}

#[derive(Clone, Debug)]
struct Seen {
    number: u64,
    version: Option<Arc<ObjectVersion>>,
    /// `None` if the kubelet can't publish it.
    files: Option<Files>,
    /// When the first version with this content was received.
    observed: Time,
    /// Whether it stood there when the object was first looked at.
    first: bool,
}

impl Seen {
    /// When it came to be, as well as that is known.
    fn since(&self) -> Time {
        let updated = self.version.as_ref().and_then(|version| version.updated);
        updated.filter(|_| self.first).map_or(self.observed, |updated| updated.min(self.observed))
    }
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
        /// Since when.
        since: Time,
        /// Whether the kubelet doesn't look at the object any more, since the one it knows is immutable.
        immutable: bool,
    },
}

/// What is kept from triggering.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// Nothing.
    #[default]
    Nothing,
    /// These files.
    Paths(BTreeSet<Name>),
    /// The whole volume.
    Everything,
}

/// One swap that brought something new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) generation: Generation,
    pub(crate) swapped: Time,
    /// When the oldest version that it settles was received.
    pub(crate) observed: Time,
    /// The versions that it brought.
    pub(crate) versions: Versions,
    /// How many contents were never on disk, since a newer one came before the kubelet looked.
    pub(crate) collapsed: usize,
}

impl Publication {
    /// From the receipt of the oldest version to the swap; the kubelet can be faster than the agent's watch.
    pub(crate) fn delay(&self) -> Duration {
        self.swapped.since(self.observed)
    }
}

impl Propagation {
    /// A volume made of these sources, of which only some objects are watched.
    pub(crate) fn new(sources: &[Source], is_measured: impl Fn(&ObjectRef) -> bool) -> Self {
        let mut volume = Self { whole: sources.len() == 1, ..Self::default() };
        for (place, source) in sources.iter().enumerate() {
            match source {
                Source::Object(object, source) if is_measured(object) => volume.sources.push(Measured {
                    place,
                    object: object.clone(),
                    source: source.clone(),
                    seen: VecDeque::new(),
                    last_number: 0,
                    done: None,
                    ahead: false,
                }),
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
            Ignored::Nothing
        } else if ignored.len() == objects && self.others.is_empty() {
            Ignored::Everything
        } else {
            let files = ignored.iter().flat_map(|source| source.seen.iter().flat_map(|seen| &seen.files));
            Ignored::Paths(files.flat_map(|files| files.keys().cloned()).collect())
        }
    }

    /// Whether it is known what this generation brought.
    pub(crate) fn is_decided(&self, generation: &Generation) -> bool {
        let read = self.disk.as_ref().is_some_and(|disk| disk.generation == *generation);
        read && !self.sources.iter().any(|source| source.ahead)
    }

    /// Takes in what the API server says of an object.
    pub(crate) fn observed(
        &mut self,
        object: &ObjectRef,
        observed: &Observed,
        at: Time,
    ) -> Option<Publication> {
        for source in self.sources.iter_mut().filter(|source| source.object == *object) {
            source.observed(observed, at);
        }
        let disk = self.disk.clone()?;
        let mut brought = Brought::default();
        for index in 0..self.sources.len() {
            let found = self.newest_on_disk(index, &disk.files);
            let Some(source) = self.sources.get_mut(index) else { continue };
            if found.is_none() {
                continue;
            }
            if std::mem::take(&mut source.ahead) {
                brought.take(source, found);
            }
            // A content that came back before the kubelet looked is on disk without a swap.
            if found == source.seen.back().map(|seen| seen.number) {
                source.done = found;
            }
        }
        brought.publication(&disk)
    }

    /// Takes in what a generation holds.
    pub(crate) fn read(
        &mut self,
        generation: &Generation,
        swapped: Time,
        changed: bool,
        files: Arc<Files>,
    ) -> Option<Publication> {
        if self.disk.as_ref().is_some_and(|disk| disk.generation == *generation) {
            return None;
        }
        let disk = Disk { generation: generation.clone(), swapped, files };
        let mut brought = Brought::default();
        for index in 0..self.sources.len() {
            let found = self.newest_on_disk(index, &disk.files);
            let Some(source) = self.sources.get_mut(index) else { continue };
            source.ahead = found.is_none() && changed && !source.seen.is_empty();
            if found.is_some() {
                if changed {
                    brought.take(source, found);
                }
                source.done = found;
            }
        }
        let publication = brought.publication(&disk);
        self.disk = Some(disk);
        publication
    }

    /// Where the newest versions stand.
    pub(crate) fn standing(&self) -> Standing {
        let Some(disk) = &self.disk else { return Standing::Unknown };
        let mut known = false;
        let mut waiting: Option<(Time, bool)> = None;
        for (index, source) in self.sources.iter().enumerate() {
            let Some(newest) = source.seen.back() else { continue };
            let Some(files) = &newest.files else { continue };
            known = true;
            if self.holds(index, files, &disk.files) {
                continue;
            }
            let behind = source.seen.iter().find(|seen| source.done.is_none_or(|done| seen.number > done));
            let since = behind.unwrap_or(newest).since();
            let immutable = source.known_immutable(newest);
            waiting = Some(match waiting {
                Some((before, all)) => (before.min(since), all && immutable),
                None => (since, immutable),
            });
        }
        match waiting {
            Some((since, immutable)) => Standing::Waiting { since, immutable },
            None if known => Standing::UpToDate,
            None => Standing::Unknown,
        }
    }

    /// The object whose newest version is not on disk and was seen last, and when; not those that the kubelet doesn't look
    /// at any more.
    pub(crate) fn newest_lagging(&self) -> Option<(&ObjectRef, Time)> {
        let disk = self.disk.as_ref()?;
        let lagging = self.sources.iter().enumerate().filter_map(|(index, source)| {
            let newest = source.seen.back()?;
            let lags = !self.holds(index, newest.files.as_ref()?, &disk.files);
            (lags && !source.known_immutable(newest)).then_some((&source.object, newest.observed))
        });
        lagging.max_by_key(|(_, seen)| *seen)
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
        let writes = |after: bool, path: &str| {
            let counts = |place: usize| place != source.place && (!after || place > source.place);
            let may_write = |other: &Measured| counts(other.place) && other.may_write(path);
            self.sources.iter().any(may_write)
                || self.others.iter().any(|(place, paths)| {
                    counts(*place)
                        && paths.as_ref().is_none_or(|paths| paths.iter().any(|other| **other == *path))
                })
        };
        let there = files
            .iter()
            .all(|(path, digest)| writes(true, path) || disk.get(path).is_some_and(|found| found == digest));
        let mut elsewhere = source.seen.iter().flat_map(|seen| &seen.files).flat_map(|files| files.keys());
        there
            && elsewhere
                .all(|path| files.contains_key(path) || !disk.contains_key(path) || writes(false, path))
    }
}

impl Measured {
    /// Whether a file at this path can be the object's.
    fn may_write(&self, path: &str) -> bool {
        if self.seen.is_empty() {
            let paths = sources::paths(&self.source);
            return paths.is_none_or(|paths| paths.iter().any(|own| **own == *path));
        }
        self.seen.iter().flat_map(|seen| &seen.files).any(|files| files.contains_key(path))
    }

    fn observed(&mut self, observed: &Observed, at: Time) {
        let version = match observed {
            Observed::Version(version) => Some(version.clone()),
            Observed::Absent => None,
            Observed::Unmeasured => {
                self.seen.clear();
                self.ahead = false;
                self.done = None;
                return;
            }
        };
        let files = sources::files(&self.source, version.as_deref());
        if let Some(last) = self.seen.back_mut()
            && last.files == files
            && last.version.is_some() == version.is_some()
        {
            // Nothing that becomes a file has changed.
            last.version = version;
            return;
        }
        self.last_number += 1;
        let (number, first) = (self.last_number, self.seen.is_empty());
        self.seen.push_back(Seen { number, version, files, observed: at, first });
        if self.seen.len() > REMEMBERED {
            self.forget_one();
        }
    }

    /// The content after the one on disk takes over the time of the one that is forgotten.
    fn forget_one(&mut self) {
        let keep = self.seen.front().is_some_and(|seen| Some(seen.number) == self.done);
        let Some(forgotten) = self.seen.remove(usize::from(keep)) else { return };
        let waited = self.done.is_none_or(|done| forgotten.number > done);
        if let Some(next) = self.seen.get_mut(usize::from(keep)).filter(|_| waited) {
            next.observed = forgotten.observed;
        }
    }

    /// Whether the kubelet holds on to another content, since that was immutable when it read it.
    fn known_immutable(&self, newest: &Seen) -> bool {
        let held = self.seen.iter().find(|seen| Some(seen.number) == self.done);
        let held = held.and_then(|seen| seen.version.as_ref()).filter(|version| version.immutable);
        held.is_some_and(|held| newest.version.as_ref().is_none_or(|newest| newest.uid != held.uid))
    }
}

/// What a swap brought, gathered over the sources.
#[derive(Debug, Default)]
struct Brought {
    observed: Option<Time>,
    versions: Versions,
    collapsed: usize,
}

impl Brought {
    fn take(&mut self, source: &Measured, found: Option<u64>) {
        let news =
            source.seen.iter().filter(|seen| Some(seen.number) > source.done && Some(seen.number) <= found);
        let news: Vec<&Seen> = news.filter(|seen| seen.files.is_some()).collect();
        let Some((newest, older)) = news.split_last() else { return };
        let oldest = older.first().unwrap_or(newest).observed;
        self.observed = Some(self.observed.map_or(oldest, |before| before.min(oldest)));
        self.versions.push((source.object.clone(), newest.version.clone()));
        self.collapsed += older.len();
    }

    fn publication(self, disk: &Disk) -> Option<Publication> {
        let Self { observed, versions, collapsed } = self;
        let (generation, swapped) = (disk.generation.clone(), disk.swapped);
        Some(Publication { generation, swapped, observed: observed?, versions, collapsed })
    }
}

#[cfg(test)]
mod tests;
