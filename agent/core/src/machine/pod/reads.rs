//! The agent's own reads of a pod's volumes. An own read looks like anybody's to a watch of opens, and a container that was told
//! reads within a millisecond: a read that can wait does so until the container was seen to read, or for some time. What is
//! opened while one is under way isn't seen.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::machine::event::Reading;
use crate::machine::reload::sight::Wait;
use crate::model::generation::Generation;
use crate::model::names::Name;
use crate::model::time::Time;

/// How long a read waits at most. What is measured of a generation that nobody reads is known so much later.
const fn longest(wait: Wait) -> Duration {
    match wait {
        Wait::Nothing => Duration::ZERO,
        Wait::Reader => Duration::from_millis(300),
        Wait::Window => Duration::from_secs(60),
    }
}

/// The reads of a pod's volumes.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    /// Those that wait, one for each volume at most.
    late: BTreeMap<Name, Late>,
    /// Those that are under way, each with what was asked for last.
    underway: BTreeMap<(Name, Generation), Reading>,
}

#[derive(Clone, Debug)]
struct Late {
    generation: Generation,
    reading: Reading,
    since: Time,
}

impl Reads {
    /// A generation is to be read, when nobody is waited for any more. One that was to be read before isn't of interest now.
    pub(super) fn put(&mut self, volume: Name, generation: Generation, reading: Reading, now: Time) {
        self.late.insert(volume, Late { generation, reading, since: now });
    }

    /// Those that wait for nobody, or have waited long enough; `wait` says what for.
    pub(super) fn take(
        &mut self,
        wait: impl Fn(&Name, &Generation) -> Wait,
        now: Time,
    ) -> Vec<(Name, Generation, Reading)> {
        let is_due = |name: &Name, late: &mut Late| now >= late.until(&wait, name);
        let due = self.late.extract_if(.., is_due);
        due.map(|(name, late)| (name, late.generation, late.reading)).collect()
    }

    /// When the next one has waited long enough.
    pub(super) fn timeout(&self, wait: impl Fn(&Name, &Generation) -> Wait) -> Option<Time> {
        self.late.iter().map(|(name, late)| late.until(&wait, name)).min()
    }

    /// A read begins. One of the volume that waits isn't needed any more.
    pub(super) fn begin(&mut self, volume: &Name, generation: &Generation, reading: &Reading) {
        self.late.remove(volume);
        self.underway.insert((volume.clone(), generation.clone()), reading.clone());
    }

    /// A read has ended. If something else of the generation was asked for meanwhile, that is still under way.
    pub(super) fn end(&mut self, volume: &Name, generation: &Generation, reading: &Reading) {
        let key = (volume.clone(), generation.clone());
        if self.underway.get(&key) == Some(reading) {
            self.underway.remove(&key);
        }
    }

    /// Whether a generation is being read.
    pub(super) fn is_underway(&self, volume: &Name, generation: &Generation) -> bool {
        !self.underway.is_empty() && self.underway.contains_key(&(volume.clone(), generation.clone()))
    }
}

impl Late {
    fn until(&self, wait: impl Fn(&Name, &Generation) -> Wait, name: &Name) -> Time {
        self.since + longest(wait(name, &self.generation))
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
        let mut reads = Reads::default();
        reads.put("config".into(), generation(1), reading(), at(0));
        reads.put("other".into(), generation(2), reading(), at(100));
        assert_eq!(reads.timeout(|_, _| Wait::Reader), Some(at(300)));
        assert!(reads.take(|_, _| Wait::Reader, at(299)).is_empty());
        let wait =
            |name: &Name, _: &Generation| if &**name == "config" { Wait::Reader } else { Wait::Nothing };
        assert_eq!(reads.take(wait, at(299)), [("other".into(), generation(2), reading())]);
        assert_eq!(reads.timeout(|_, _| Wait::Window), Some(at(60_000)));
        assert!(reads.take(|_, _| Wait::Window, at(59_999)).is_empty());
        assert_eq!(
            reads.take(|_, _| Wait::Window, at(60_000)),
            [("config".into(), generation(1), reading())]
        );
        assert_eq!(reads.timeout(|_, _| Wait::Nothing), None);
    }

    #[test]
    fn a_newer_generation_takes_the_place_of_the_one_that_waits() {
        let mut reads = Reads::default();
        reads.put("config".into(), generation(1), reading(), at(0));
        reads.put("config".into(), generation(2), reading(), at(200));
        assert!(reads.take(|_, _| Wait::Reader, at(499)).is_empty());
        assert_eq!(reads.take(|_, _| Wait::Reader, at(500)), [("config".into(), generation(2), reading())]);
        reads.put("config".into(), generation(3), reading(), at(600));
        reads.begin(&"config".into(), &generation(3), &reading());
        assert_eq!(reads.timeout(|_, _| Wait::Nothing), None, "it is read at once");
    }

    #[test]
    fn a_read_is_under_way_until_what_was_asked_for_last_has_come() {
        let (mut reads, config) = (Reads::default(), Name::from("config"));
        let again = Reading { decides: true, ..reading() };
        reads.begin(&config, &generation(1), &reading());
        reads.begin(&config, &generation(1), &again);
        reads.end(&config, &generation(1), &reading());
        assert!(reads.is_underway(&config, &generation(1)) && !reads.is_underway(&config, &generation(2)));
        reads.end(&config, &generation(1), &again);
        assert!(!reads.is_underway(&config, &generation(1)));
    }
}
