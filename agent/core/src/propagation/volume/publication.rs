//! What a swap brought.

use std::time::Duration;

use super::OnDisk;
use super::measured::{Measured, Seen};
use crate::model::generation::Generation;
use crate::model::object::Versions;
use crate::model::time::Time;

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

/// What a swap brought, gathered over the sources.
#[derive(Debug, Default)]
pub(super) struct Brought {
    observed: Option<Time>,
    versions: Versions,
    collapsed: usize,
}

impl Brought {
    pub(super) fn take(&mut self, source: &Measured, found: Option<u64>) {
        let news =
            source.seen.iter().filter(|seen| Some(seen.number) > source.done && Some(seen.number) <= found);
        let news: Vec<&Seen> = news.filter(|seen| seen.files.is_some()).collect();
        let Some((newest, older)) = news.split_last() else { return };
        let oldest = older.first().unwrap_or(newest).observed;
        self.observed = Some(self.observed.map_or(oldest, |before| before.min(oldest)));
        self.versions.push((source.object.clone(), newest.version.clone()));
        self.collapsed += older.len();
    }

    /// The disk has something newer than all that was seen of an object.
    pub(super) fn overtake(&mut self, source: &Measured) {
        let waiting =
            source.seen.iter().filter(|seen| Some(seen.number) > source.done && seen.files.is_some());
        if let Some(observed) = &mut self.observed {
            for seen in waiting {
                *observed = seen.observed.min(*observed);
                self.collapsed += 1;
            }
        }
    }

    pub(super) fn publication(self, disk: &OnDisk) -> Option<Publication> {
        let Self { observed, versions, collapsed } = self;
        let (generation, swapped) = (disk.generation.clone(), disk.swapped);
        Some(Publication { generation, swapped, observed: observed?, versions, collapsed })
    }
}
