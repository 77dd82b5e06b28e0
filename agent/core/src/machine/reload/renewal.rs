//! Whether a process has executed itself anew since it was seen last: then another program runs in it, or the same one boots,
//! and as with any young process nothing is known of its handlers yet. Ruby's VM, Go and the JVM catch signals from their first
//! millisecond on, in order to end.
//!
//! `exe` can't be read without a capability, and nothing in `stat` says when a process was executed. What shows it:
//! - its name is another one. A program can also have given itself a title;
//! - other signals that it caught have their default action again (exec resets handlers, signal(7)). Where only the one that
//!   it is to be sent has, it isn't told anyway;
//! - the most memory that it ever had mapped (`VmPeak`) has become less: that is a number of the program's memory, which exec
//!   makes anew, and it only grows otherwise. Read only where less memory is mapped than was seen once.

use std::time::Duration;

use crate::kernel::guard::GuardReading;
use crate::kernel::procfs::SignalSet;
use crate::machine::reload::retry::PATIENCE;
use crate::model::signal::Signal;
use crate::model::time::Time;

/// While a change waits, signs are taken as ones of the same renewal for so long after its first one that no program keeps a
/// change waiting for good by executing or renaming itself again and again.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// What was seen of a process that tells whether it was executed anew, and when it was.
#[derive(Clone, Debug, Default)]
pub(super) struct Renewal {
    seen: Option<Seen>,
    /// The first and the last sign.
    signs: Option<(Time, Time)>,
    /// When the agent started, before which nothing was seen.
    unseen: Option<Time>,
}

#[derive(Clone, Debug)]
struct Seen {
    comm: String,
    caught: SignalSet,
    /// The most memory that it had mapped.
    memory: u64,
}

impl Renewal {
    /// A process that has this name.
    pub(super) fn of(comm: &str) -> Self {
        let (caught, memory) = (SignalSet::default(), 0);
        Self { seen: Some(Seen { comm: comm.to_owned(), caught, memory }), signs: None, unseen: None }
    }

    /// Nothing was seen of the process before, and it may have been told: it may be executing itself anew just then.
    pub(super) fn begin_unseen(&mut self, now: Time) {
        self.unseen = Some(now);
    }

    /// It wasn't told.
    pub(super) const fn end_unseen(&mut self) {
        self.unseen = None;
    }

    /// Whether a reading leaves open what a closer look would tell.
    pub(super) fn is_in_doubt(&self, reading: &GuardReading) -> bool {
        reading.most_memory.is_none() && self.seen.as_ref().is_some_and(|seen| reading.memory < seen.memory)
    }

    /// Whether the process had this name when it was seen last.
    pub(super) fn is_named(&self, comm: &str) -> bool {
        self.seen.as_ref().is_none_or(|seen| seen.comm == comm)
    }

    /// Takes in a reading; a change waits `since` then, if one does. Whether the process was executed anew or has another name.
    pub(super) fn take(
        &mut self,
        reading: &GuardReading,
        signal: Signal,
        since: Option<Time>,
        now: Time,
    ) -> bool {
        let most = reading.most_memory.unwrap_or_default().max(reading.memory);
        let (is_executed, is_renamed, memory) = match &self.seen {
            None => (false, false, most),
            Some(seen) => {
                let is_less = reading.most_memory.is_some() && most < seen.memory;
                let kept = [reading.caught, reading.ignored, SignalSet::of(signal.number())];
                let lost = kept.into_iter().fold(seen.caught.in_stat(), SignalSet::without);
                let has_lost = !lost.is_empty();
                let memory = if is_less { most } else { most.max(seen.memory) };
                (is_less || has_lost, seen.comm != reading.comm, memory)
            }
        };
        self.seen = Some(Seen { comm: reading.comm.clone(), caught: reading.caught, memory });
        self.signs = match self.signs {
            Some((first, _)) if now < first + FORGOTTEN => {
                let is_another = is_executed && since.is_none_or(|since| now < first.max(since) + PATIENCE);
                self.signs.map(|(first, last)| (first, if is_another { now } else { last }))
            }
            Some(_) | None if is_executed || is_renamed => Some((now, now)),
            before => before,
        };
        is_executed || is_renamed
    }

    /// The process was told: signs that come now are those of a new renewal.
    pub(super) const fn told(&mut self) {
        (self.signs, self.unseen) = (None, None);
    }

    /// When the last sign came that it was executed anew, or until when it may have been, unseen.
    pub(super) fn last(&self) -> Option<Time> {
        self.signs.map(|(_, last)| last).max(self.unseen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::procfs::Status;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    fn reading(comm: &str, caught: u64, memory: u64) -> GuardReading {
        let caught = SignalSet::from_bits(caught);
        let status = Status { comm: comm.to_owned(), caught, memory, ..Status::default() };
        GuardReading::new(status, SignalSet::default(), Time::default())
    }

    fn closely(reading: GuardReading, most: u64) -> GuardReading {
        GuardReading { most_memory: Some(most), ..reading }
    }

    #[test]
    fn another_name_lost_handlers_and_less_memory_at_most_are_signs() {
        let first = || {
            let mut renewal = Renewal::of("sh");
            assert!(!renewal.take(&reading("sh", 3, 100), Signal::HUP, None, at(1)));
            renewal
        };
        assert!(first().take(&reading("ruby", 3, 100), Signal::HUP, None, at(2)));
        assert!(first().take(&reading("sh", 1, 100), Signal::HUP, None, at(2)));
        assert!(!first().take(&reading("sh", 2, 100), Signal::HUP, None, at(2)), "it isn't told anyway");
        assert!(first().take(&closely(reading("sh", 3, 50), 60), Signal::HUP, None, at(2)));
        for same in
            [reading("sh", 7, 200), closely(reading("sh", 3, 50), 100), closely(reading("sh", 3, 50), 101)]
        {
            let mut renewal = first();
            assert!(!renewal.take(&same, Signal::HUP, None, at(2)), "{same:?}");
            assert_eq!(renewal.last(), None);
        }
        let ignored = SignalSet::from_bits(2);
        let in_system = GuardReading { ignored, ..reading("sh", 1, 100) };
        assert!(
            !first().take(&in_system, Signal::HUP, None, at(2)),
            "system(3) ignores what it caught for a while"
        );
    }

    #[test]
    fn real_time_signals_say_nothing_since_stat_doesnt_have_them() {
        let mut renewal = Renewal::of("sh");
        renewal.take(&closely(reading("sh", 1 << 40 | 1, 1), 1), Signal::HUP, None, at(1));
        assert!(!renewal.take(&reading("sh", 1, 1), Signal::HUP, None, at(2)));
    }

    #[test]
    fn only_less_memory_than_was_seen_is_looked_at_closely() {
        let mut renewal = Renewal::of("sh");
        renewal.take(&reading("sh", 0, 100), Signal::HUP, None, at(1));
        assert!(renewal.is_in_doubt(&reading("sh", 0, 99)) && !renewal.is_in_doubt(&reading("sh", 0, 100)));
        assert!(!renewal.is_in_doubt(&closely(reading("sh", 0, 99), 100)));
        renewal.take(&closely(reading("sh", 0, 10), 20), Signal::HUP, None, at(2));
        assert!(
            !renewal.is_in_doubt(&reading("sh", 0, 20)),
            "what the program before had counts for nothing"
        );
    }

    #[test]
    fn whoever_renames_itself_all_the_time_has_done_so_once_and_who_executes_itself_has_for_ten_seconds() {
        let mut renames = Renewal::of("a");
        let mut executes = Renewal::of("a");
        for second in 1..60 {
            renames.take(&reading(&format!("{second}"), 0, 0), Signal::HUP, None, at(second));
            executes.take(&reading("a", second % 2 * 2, 0), Signal::HUP, Some(at(1)), at(second));
        }
        assert_eq!(renames.last(), Some(at(1)));
        let mut later = renames.clone();
        later.take(&reading("61", 0, 0), Signal::HUP, None, at(61));
        assert_eq!(later.last(), Some(at(61)), "a minute after the first one it does so anew");
        let last = executes.last().unwrap();
        assert!(last > at(9) && last < at(13), "{last:?}");
        renames.told();
        assert_eq!(renames.last(), None);
        renames.take(&reading("b", 0, 0), Signal::HUP, None, at(60));
        assert_eq!(renames.last(), Some(at(60)));
    }

    #[test]
    fn what_a_process_did_before_a_change_waits_doesnt_hide_that_it_executes_itself_now() {
        let mut renewal = Renewal::of("sh");
        renewal.take(&reading("wrapper", 2, 0), Signal::HUP, None, at(5));
        renewal.take(&reading("ruby", 0, 0), Signal::HUP, None, at(20));
        assert_eq!(renewal.last(), Some(at(20)), "nothing waits");
        renewal.take(&reading("ruby", 2, 0), Signal::HUP, Some(at(21)), at(21));
        renewal.take(&reading("ruby", 0, 0), Signal::HUP, Some(at(21)), at(30));
        assert_eq!(renewal.last(), Some(at(30)), "ten seconds count from the change");
        let mut late = renewal.clone();
        late.take(&reading("ruby", 2, 0), Signal::HUP, Some(at(21)), at(30));
        late.take(&reading("ruby", 0, 0), Signal::HUP, Some(at(21)), at(31));
        assert_eq!(late.last(), Some(at(30)), "ten seconds are over");
        renewal.take(&reading("ruby", 2, 0), Signal::HUP, Some(at(21)), at(31));
        renewal.take(&reading("ruby", 0, 0), Signal::HUP, Some(at(21)), at(32));
        assert_eq!(renewal.last(), Some(at(30)));
    }

    #[test]
    fn what_an_agent_that_starts_didnt_see_hides_no_sign_that_it_sees() {
        let mut renewal = Renewal::of("app");
        renewal.take(&reading("app", 3, 100), Signal::HUP, None, at(100));
        renewal.begin_unseen(at(100));
        assert_eq!(renewal.last(), Some(at(100)));
        assert!(renewal.take(&reading("app", 1, 100), Signal::HUP, None, at(115)));
        assert_eq!(renewal.last(), Some(at(115)));
        renewal.told();
        assert_eq!(renewal.last(), None);
    }
}
