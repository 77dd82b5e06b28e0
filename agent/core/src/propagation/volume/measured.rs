//! One object of a volume: its contents, oldest first, as the API server has shown them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::digest::Files;
use crate::model::object::{ObjectRef, ObjectVersion, Observed};
use crate::model::pod::ObjectSource;
use crate::model::time::Time;
use crate::policy::sources::{self};

/// How many contents of one object are remembered. More of them between two looks of the kubelet (a minute) are taken
/// together with the oldest that is left.
pub(super) const REMEMBERED: usize = 16;

/// Of large contents fewer are remembered: so many files together, but two contents in any case.
const MOST_FILES: usize = 8192;
const FEWEST: usize = 2;

/// How many contents before the one on disk are remembered.
const KEPT: u64 = 3;

/// One object of the volume.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// Its place in the order of sources.
    pub(super) place: usize,
    pub(super) object: ObjectRef,
    pub(super) source: ObjectSource,
    /// Its contents, oldest first; versions with the same content are one.
    pub(super) seen: VecDeque<Seen>,
    last_number: u64,
    /// The content that is on disk, and everything before it, is done with.
    pub(super) done: Option<u64>,
    /// The disk holds a content that wasn't seen yet: the kubelet's watch was faster.
    pub(super) ahead: bool,
    /// Whether that was found just now.
    pub(super) doubted: bool,
    /// It can't be watched.
    pub(super) unmeasured: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) number: u64,
    pub(super) version: Option<Arc<ObjectVersion>>,
    /// `None` if the kubelet can't publish it.
    pub(super) files: Option<Arc<Files>>,
    /// When the first version with this content was received.
    pub(super) observed: Time,
    /// Whether it stood there when the object was first looked at.
    first: bool,
}

impl Seen {
    /// When it came to be, as well as that is known.
    pub(super) fn since(&self) -> Time {
        let updated = self.version.as_ref().and_then(|version| version.updated?.between);
        updated.filter(|_| self.first).map_or(self.observed, |(_, latest)| latest.min(self.observed))
    }
}

impl Measured {
    pub(super) fn new(place: usize, object: ObjectRef, source: ObjectSource) -> Self {
        Self {
            place,
            object,
            source,
            seen: VecDeque::new(),
            last_number: 0,
            done: None,
            ahead: false,
            doubted: false,
            unmeasured: false,
        }
    }

    /// Whether a file at this path can be the object's; `None` if that isn't known.
    pub(super) fn writes(&self, path: &str) -> Option<bool> {
        if let Some(paths) = sources::paths(&self.source) {
            return Some(paths.iter().any(|own| **own == *path));
        }
        if self.seen.is_empty() {
            return None;
        }
        Some(self.seen.iter().flat_map(|seen| &seen.files).any(|files| files.contains_key(path)))
    }

    /// Takes in what the API server says; gives back whether that is what it said before.
    pub(super) fn observed(&mut self, observed: &Observed, at: Time) -> bool {
        let version = match observed {
            Observed::Version(version) => Some(version.clone()),
            Observed::Absent => None,
            Observed::Unmeasured => {
                self.give_up();
                return false;
            }
        };
        self.unmeasured = false;
        let is_same = |seen: &Seen| match (&seen.version, &version) {
            (Some(last), Some(now)) => last.uid == now.uid && last.version == now.version,
            (last, now) => last.is_none() && now.is_none(),
        };
        if self.seen.back().is_some_and(is_same) {
            return true;
        }
        let files = sources::files(&self.source.items, self.source.optional, version.as_deref());
        if let Some(last) = self.seen.back_mut()
            && last.files == files
            && last.version.is_some() == version.is_some()
        {
            // Nothing that becomes a file has changed.
            (last.version, last.files) = (version, files);
            return false;
        }
        self.last_number += 1;
        let (number, first) = (self.last_number, self.seen.is_empty());
        self.seen.push_back(Seen { number, version, files, observed: at, first });
        while self.seen.len() > REMEMBERED || self.seen.len() > FEWEST && self.files() > MOST_FILES {
            self.forget_one();
        }
        false
    }

    /// What should be on disk isn't known.
    pub(super) fn give_up(&mut self) {
        self.unmeasured = true;
        self.seen.clear();
        (self.ahead, self.doubted) = (false, false);
        self.done = None;
    }

    /// The files of its contents that aren't the object's own.
    pub(super) fn kept_files(&self) -> impl Iterator<Item = &Arc<Files>> {
        let own = |seen: &Seen, files: &Arc<Files>| {
            seen.version.as_ref().is_some_and(|version| Arc::ptr_eq(&version.keys, files))
        };
        self.seen.iter().filter_map(move |seen| seen.files.as_ref().filter(|files| !own(seen, files)))
    }

    fn files(&self) -> usize {
        self.seen.iter().flat_map(|seen| &seen.files).map(|files| files.len()).sum()
    }

    /// Contents long gone from the disk are of no use; some stay, since one may still be read that was there before.
    pub(super) fn forget_old(&mut self) {
        let Some(done) = self.done else { return };
        while self.seen.front().is_some_and(|seen| seen.number + KEPT < done) {
            self.seen.pop_front();
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
    pub(super) fn known_immutable(&self, newest: &Seen) -> bool {
        let held = self.seen.iter().find(|seen| Some(seen.number) == self.done);
        let held = held.and_then(|seen| seen.version.as_ref()).filter(|version| version.immutable);
        held.is_some_and(|held| newest.version.as_ref().is_none_or(|newest| newest.uid != held.uid))
    }
}
