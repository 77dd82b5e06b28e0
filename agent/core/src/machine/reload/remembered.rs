//! What is known of processes that don't stand for their container at the moment: a survey may miss one whose cgroup is being moved
//! or whose command line can't be read, and another one may be chosen for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kernel::process::{MOST_TOLD, ProcessIdentity};
use crate::machine::reload::process::Process;
use crate::model::time::Time;

/// How long after the first survey that didn't find a process it is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// All of them, so many of each kind as may be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered {
    /// Those that were told: what they call themselves by now doesn't matter.
    told: BTreeMap<ProcessIdentity, Missed>,
    /// What is known of those that aren't chosen.
    known: BTreeMap<ProcessIdentity, (Process, Missed)>,
}

/// Since when surveys haven't found it.
type Missed = Option<Time>;

impl Remembered {
    /// These were told.
    pub(super) fn tell(&mut self, told: impl IntoIterator<Item = ProcessIdentity>) {
        for process in told {
            make_room(&mut self.told, |missed| *missed);
            if self.told.len() < MOST_TOLD {
                self.told.insert(process, None);
            }
        }
    }

    /// Whether a process was told.
    pub(super) fn was_told(&self, process: &ProcessIdentity) -> bool {
        self.told.contains_key(process)
    }

    /// Others are to be told from now on: that these were doesn't make them the ones.
    pub(super) fn forget_told(&mut self) {
        self.told.clear();
    }

    /// A process doesn't stand for the container any more.
    pub(super) fn put(&mut self, process: Process) {
        make_room(&mut self.known, |(_, missed)| *missed);
        if self.known.len() < MOST_TOLD {
            self.known.insert(process.identity().clone(), (process.released(), None));
        }
    }

    /// What is known of a process, which stands for the container again.
    pub(super) fn take(&mut self, process: &ProcessIdentity) -> Option<Process> {
        self.known.remove(process).map(|(known, _)| known)
    }

    /// With another signal it isn't known what they do.
    pub(super) fn for_another_signal(self) -> Self {
        let known = self.known.into_iter();
        let known =
            known.map(|(identity, (process, missed))| (identity, (process.for_another_signal(), missed)));
        Self { known: known.collect(), ..self }
    }

    /// A survey was made. Of those that aren't there for long nothing is remembered.
    pub(super) fn surveyed(&mut self, is_there: impl Fn(&ProcessIdentity) -> bool, now: Time) {
        let stays = |process: &ProcessIdentity, missed: &mut Missed| {
            if is_there(process) {
                *missed = None;
            }
            is_there(process) || now < *missed.get_or_insert(now) + FORGOTTEN
        };
        self.told.retain(|process, missed| stays(process, missed));
        self.known.retain(|process, (_, missed)| stays(process, missed));
    }

    /// A process has ended.
    pub(super) fn ended(&mut self, process: &ProcessIdentity) {
        self.told.remove(process);
        self.known.remove(process);
    }
}

/// One more is remembered: of too many the one goes that wasn't found for longest.
fn make_room<T>(of: &mut BTreeMap<ProcessIdentity, T>, missed: impl Fn(&T) -> Missed) {
    if of.len() < MOST_TOLD {
        return;
    }
    let longest = of.iter().filter_map(|(process, kept)| Some((missed(kept)?, process))).min();
    if let Some(process) = longest.map(|(_, process)| process.clone()) {
        of.remove(&process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::reload::process::Face;
    use crate::machine::reload::testing::identity as process;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn whoever_is_missed_for_a_minute_or_ends_is_forgotten() {
        let mut remembered = Remembered::default();
        for pid in [1, 2, 3] {
            remembered.tell([process(pid)]);
            remembered.put(Process::new(process(pid), Face::default()));
        }
        remembered.ended(&process(3));
        remembered.surveyed(|process| process.pid == 1, at(10));
        remembered.surveyed(|process| process.pid == 1, at(69));
        let told = |remembered: &Remembered| [1, 2, 3].map(|pid| remembered.was_told(&process(pid)));
        assert_eq!(told(&remembered), [true, true, false]);
        remembered.surveyed(|process| process.pid == 2, at(70));
        remembered.surveyed(|_| false, at(129));
        assert_eq!(told(&remembered), [true, true, false]);
        remembered.surveyed(|_| false, at(130));
        assert_eq!(told(&remembered), [false, true, false]);
        assert!(remembered.take(&process(1)).is_none() && remembered.take(&process(2)).is_some());
        assert!(remembered.take(&process(2)).is_none());
    }

    #[test]
    fn of_too_many_those_go_that_werent_found_for_longest() {
        let most = u32::try_from(MOST_TOLD).unwrap();
        let mut remembered = Remembered::default();
        remembered.tell((0..most).map(process));
        remembered.tell([process(most)]);
        assert!(!remembered.was_told(&process(most)), "all of them are there");
        remembered.surveyed(|process| process.pid != 5, at(10));
        remembered.tell([process(most)]);
        assert!(remembered.was_told(&process(most)) && !remembered.was_told(&process(5)));
    }

    #[test]
    fn as_long_as_there_is_room_nobody_goes_for_another() {
        let mut remembered = Remembered::default();
        remembered.tell([process(1)]);
        remembered.surveyed(|_| false, at(10));
        remembered.tell([process(2)]);
        assert!(remembered.was_told(&process(1)) && remembered.was_told(&process(2)));
    }

    #[test]
    fn of_those_that_arent_chosen_no_more_are_known_than_may_be_told() {
        let most = u32::try_from(MOST_TOLD).unwrap();
        let mut remembered = Remembered::default();
        (0..=most).for_each(|pid| remembered.put(Process::new(process(pid), Face::default())));
        assert!(remembered.take(&process(most)).is_none(), "all the others are there");
        assert!(remembered.take(&process(0)).is_some() && remembered.take(&process(most - 1)).is_some());
    }
}
