//! Reads of generations that only measure. The agent's own read of a file looks like anybody's to a watch of opens, and a container
//! that was told reads within a millisecond: such a read waits until the container was seen to read, or for some time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::machine::event::Reading;
use crate::model::generation::Generation;
use crate::model::names::Name;
use crate::model::time::Time;

/// How long a read waits for a container to read first: most do within some milliseconds of their signal. What is measured of a
/// generation that nobody reads is known this much later.
const LONGEST: Duration = Duration::from_millis(300);

/// The reads of a pod's volumes that wait, one for each volume at most.
#[derive(Clone, Debug, Default)]
pub(super) struct LateReads(BTreeMap<Name, Late>);

#[derive(Clone, Debug)]
struct Late {
    generation: Generation,
    reading: Reading,
    until: Time,
}

impl LateReads {
    /// A generation is to be read, when nobody is waited for any more. One that was to be read before isn't of interest now.
    pub(super) fn put(&mut self, volume: Name, generation: Generation, reading: Reading, now: Time) {
        self.0.insert(volume, Late { generation, reading, until: now + LONGEST });
    }

    /// A volume is read at once.
    pub(super) fn remove(&mut self, volume: &Name) {
        self.0.remove(volume);
    }

    /// Those that wait for nobody, or have waited long enough; `is_awaited` says whether a container may still read a
    /// generation that it is told of.
    pub(super) fn take(
        &mut self,
        is_awaited: impl Fn(&Name, &Generation) -> bool,
        now: Time,
    ) -> Vec<(Name, Generation, Reading)> {
        let due =
            self.0.extract_if(.., |name, late| now >= late.until || !is_awaited(name, &late.generation));
        due.map(|(name, late)| (name, late.generation, late.reading)).collect()
    }

    /// When the next one has waited long enough.
    pub(super) fn timeout(&self) -> Option<Time> {
        self.0.values().map(|late| late.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::files::FileFilter;

    fn at(millis: u64) -> Time {
        Time::since_boot(Duration::from_millis(millis))
    }

    fn generation(n: u32) -> Generation {
        Generation::parse(&format!("..2026_11_21_05_56_44.{n}")).unwrap()
    }

    fn reading() -> Reading {
        Reading { filter: FileFilter::default(), each: true, decides: false }
    }

    #[test]
    fn a_read_waits_as_long_as_a_container_may_read_first_and_not_longer() {
        let mut late = LateReads::default();
        late.put("config".into(), generation(1), reading(), at(0));
        late.put("other".into(), generation(2), reading(), at(100));
        assert_eq!(late.timeout(), Some(at(300)));
        assert!(late.take(|_, _| true, at(299)).is_empty());
        let due = late.take(|name, _| &**name == "config", at(299));
        assert_eq!(due, [("other".into(), generation(2), reading())]);
        assert_eq!(late.take(|_, _| true, at(300)), [("config".into(), generation(1), reading())]);
        assert_eq!((late.timeout(), late.take(|_, _| false, at(400))), (None, vec![]));
    }

    #[test]
    fn a_newer_generation_takes_the_place_of_the_one_that_waits() {
        let mut late = LateReads::default();
        late.put("config".into(), generation(1), reading(), at(0));
        late.put("config".into(), generation(2), reading(), at(200));
        assert!(late.take(|_, told| *told == generation(2), at(300)).is_empty());
        assert_eq!(late.take(|_, _| true, at(500)), [("config".into(), generation(2), reading())]);
    }
}
