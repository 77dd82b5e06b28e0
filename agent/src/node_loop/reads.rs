//! The reads of generations that weren't answered yet, each with what is to be read of it by now: one that failed is tried
//! again with that, whatever it was begun with.

use std::collections::{BTreeMap, BTreeSet};

use reloadlet_core::machine::event::{Reading, VolumeRef};
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::names::PodUid;

/// A generation of a volume.
type Key = (VolumeRef, Generation);

/// The reads on their way.
#[derive(Debug, Default)]
pub(super) struct Reads {
    asked: BTreeMap<Key, Reading>,
    /// Those of them that couldn't be read.
    failed: BTreeSet<Key>,
}

impl Reads {
    /// A read is asked for, in place of what was asked for of the same generation before.
    pub(super) fn ask(&mut self, volume: &VolumeRef, generation: &Generation, reading: &Reading) {
        self.asked.insert((volume.clone(), generation.clone()), reading.clone());
    }

    /// That was read. If something else of the generation is asked for by now, it is still to come.
    pub(super) fn answered(&mut self, volume: &VolumeRef, generation: &Generation, reading: &Reading) {
        let key = (volume.clone(), generation.clone());
        if self.asked.get(&key) == Some(reading) {
            self.failed.remove(&key);
            self.asked.remove(&key);
        }
    }

    /// A generation couldn't be read.
    pub(super) fn failed(&mut self, volume: VolumeRef, generation: Generation) {
        let key = (volume, generation);
        if self.asked.contains_key(&key) {
            self.failed.insert(key);
        }
    }

    /// Whether any is to be tried again.
    pub(super) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Those that are to be tried again.
    pub(super) fn take_failed(&mut self) -> Vec<(VolumeRef, Generation, Reading)> {
        let failed = std::mem::take(&mut self.failed).into_iter();
        failed.filter_map(|key| self.asked.remove(&key).map(|reading| (key.0, key.1, reading))).collect()
    }

    /// A pod isn't watched any more.
    pub(super) fn forget(&mut self, pod: &PodUid) {
        self.asked.retain(|(volume, _), _| volume.pod != *pod);
        self.failed.retain(|(volume, _)| volume.pod != *pod);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reloadlet_core::policy::files::FileFilter;

    fn volume(n: u32) -> VolumeRef {
        VolumeRef { pod: PodUid::parse(&format!("{n:032x}")).unwrap(), volume: "conf".into() }
    }

    fn generation() -> Generation {
        Generation::parse("..2026_11_21_05_56_44.1").unwrap()
    }

    fn reading(each: bool) -> Reading {
        Reading { filter: FileFilter::default(), each, decides: true }
    }

    #[test]
    fn what_couldnt_be_read_is_tried_again_until_it_is_answered() {
        let mut reads = Reads::default();
        reads.ask(&volume(1), &generation(), &reading(false));
        assert!(!reads.has_failed());
        reads.failed(volume(1), generation());
        assert!(reads.has_failed());
        assert_eq!(reads.take_failed(), [(volume(1), generation(), reading(false))]);
        assert!(!reads.has_failed() && reads.take_failed().is_empty());
        reads.ask(&volume(1), &generation(), &reading(false));
        reads.answered(&volume(1), &generation(), &reading(false));
        reads.failed(volume(1), generation());
        assert!(!reads.has_failed() && reads.asked.is_empty());
    }

    #[test]
    fn it_is_tried_again_with_what_is_to_be_read_by_then() {
        let mut reads = Reads::default();
        reads.ask(&volume(1), &generation(), &reading(false));
        reads.ask(&volume(1), &generation(), &reading(true));
        // The first one ends in one way or the other while the second one waits.
        reads.answered(&volume(1), &generation(), &reading(false));
        reads.failed(volume(1), generation());
        assert_eq!(reads.take_failed(), [(volume(1), generation(), reading(true))]);
    }

    #[test]
    fn nothing_is_kept_of_a_pod_that_isnt_watched_any_more() {
        let mut reads = Reads::default();
        for n in [1, 2] {
            reads.ask(&volume(n), &generation(), &reading(true));
            reads.failed(volume(n), generation());
        }
        reads.forget(&volume(1).pod);
        reads.failed(volume(1), generation());
        assert_eq!(reads.take_failed(), [(volume(2), generation(), reading(true))]);
        assert!(reads.asked.is_empty());
    }
}
