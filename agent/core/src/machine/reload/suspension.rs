//! When a container isn't told any more: two deliveries in a row ended its process, as far as a signal can explain that.

use std::time::Duration;

use crate::kernel::process::ProcessIdentity;
use crate::model::means::Means;
use crate::model::names::Name;
use crate::model::time::Time;
use crate::policy::problem::{Problem, ProblemKind};

/// So many deliveries in a row that ended the process suspend further ones.
const ENDINGS: usize = 2;

/// A process that has lived for so long is told once more.
const PROBE: Duration = Duration::from_mins(10);

/// Why a reload ends that is suspended.
pub(super) const fn reason(means: &Means) -> &'static str {
    match means {
        Means::Signal(_) => {
            "its process ended after each of the last two signals; it is told once more when its process has run for ten \
             minutes, or at once when an annotation of reloadlet.io changes on the pod, and a restart loads the change"
        }
        Means::Http(_) => {
            "its process ended after each of the last two requests; it is told once more when its process has run for ten \
             minutes, or at once when an annotation of reloadlet.io changes on the pod, and a restart loads the change"
        }
    }
}

/// How many deliveries in a row ended the process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspension {
    in_a_row: u8,
    /// The newest of these endings, oldest first: each of them may turn out to be nothing that a signal does.
    ended: Vec<Ended>,
    /// An ending of the last delivery would count.
    counts: bool,
    /// The last delivery was followed by an ending.
    ended_last: bool,
    said: bool,
}

/// The end of a process that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ended {
    process: ProcessIdentity,
    /// How long after the delivery it came, if that was seen.
    after: Option<Duration>,
}

impl Suspension {
    /// What the journal holds of it: at least one ending.
    pub(super) const fn restored(in_a_row: u8) -> Self {
        Self { in_a_row, ended: Vec::new(), counts: false, ended_last: true, said: false }
    }

    /// How many deliveries in a row ended the process.
    pub(super) const fn in_a_row(&self) -> u8 {
        self.in_a_row
    }

    /// Whether deliveries ended the process so often that nothing is sent any more.
    pub(super) fn is_on(&self) -> bool {
        usize::from(self.in_a_row) >= ENDINGS
    }

    /// When a process that started then is told all the same: once, to see whether it lives through that by now.
    pub(super) fn probe(started: Time) -> Time {
        started + PROBE
    }

    /// Whether the journal holds anything of it.
    pub(super) const fn is_recorded(&self) -> bool {
        self.in_a_row > 0
    }

    /// Another delivery was made. Whether an ending of it counts.
    pub(super) const fn delivered(&mut self, counts: bool) {
        self.counts = counts;
        self.ended_last = false;
    }

    /// A process that was told has ended. Whether that counts.
    pub(super) fn exited(&mut self, process: &ProcessIdentity, after: Option<Duration>) -> bool {
        let is_first = !std::mem::replace(&mut self.ended_last, true);
        if !is_first || !self.counts {
            return false;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.keep(process, after);
        true
    }

    /// The last of the endings that the journal holds was this one.
    pub(super) fn restore_ending(&mut self, process: &ProcessIdentity, after: Duration) {
        if self.in_a_row > 0 {
            self.keep(process, Some(after));
        }
    }

    fn keep(&mut self, process: &ProcessIdentity, after: Option<Duration>) {
        if self.ended.len() == ENDINGS {
            self.ended.remove(0);
        }
        self.ended.push(Ended { process: process.clone(), after });
    }

    /// Whoever ended after the last delivery had handed over to another process, which may still end of it.
    pub(super) const fn handed_over(&mut self) {
        self.ended_last = false;
    }

    /// A process has ended by something that no signal of ours does. Whether its ending had counted.
    pub(super) fn killed(&mut self, is_it: impl Fn(&ProcessIdentity) -> bool) -> bool {
        let Some(place) = self.ended.iter().position(|ended| is_it(&ended.process)) else { return false };
        self.ended.remove(place);
        self.in_a_row = self.in_a_row.saturating_sub(1);
        self.said &= self.is_on();
        true
    }

    /// What is known of the last delivery is all that there is to know: if the process lived, the count starts anew. Whether
    /// the journal is to forget it.
    pub(super) fn judged(&mut self) -> bool {
        let lived = !self.ended_last && self.in_a_row > 0;
        if lived {
            *self = Self::default();
        }
        lived
    }

    /// What people are told of it, once.
    pub(super) fn say(&mut self, container: &Name, means: &Means) -> Option<Problem> {
        let is_on = self.is_on();
        let was_said = std::mem::replace(&mut self.said, is_on);
        (is_on && !was_said).then(|| self.problem(container, means))
    }

    fn problem(&self, container: &Name, means: &Means) -> Problem {
        let ends = match self.ended.last().and_then(|last| last.after) {
            Some(after) => format!("ends {} after {means}, {} times in a row", shown(after), self.in_a_row),
            None => match means {
                Means::Signal(signal) => format!("ended after the last {} {signal}s", self.in_a_row),
                Means::Http(_) => format!("ended after the last {} requests", self.in_a_row),
            },
        };
        let why = match means {
            Means::Signal(_) => "catch the signal in order to end",
            Means::Http(_) => "end at that request",
        };
        let sentence = format!(
            "container {container} {ends}: nothing more is sent to it until an annotation of reloadlet.io changes on the pod, \
             or its process has run for ten minutes; then it is told once of the newest files, if it is older than they are; \
             the program may {why}, or be unable to load the new files"
        );
        Problem::new(ProblemKind::Suspended, sentence)
    }
}

/// A time as people read it.
pub(super) fn shown(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::{ContainerId, PodUid};
    use crate::model::signal::Signal;

    fn process(pid: u32) -> ProcessIdentity {
        let pod = PodUid::parse("00000001").unwrap();
        let container = ContainerId::parse(&format!("{pid:064x}")).unwrap();
        ProcessIdentity { pid, started: Time::default(), pod, container }
    }

    fn hup() -> Means {
        Signal::HUP.into()
    }

    /// Deliveries that ended these processes, each so long after it.
    fn ended(pids: &[u32], after: u64) -> Suspension {
        let mut suspension = Suspension::default();
        for pid in pids {
            suspension.delivered(true);
            assert!(suspension.exited(&process(*pid), Some(Duration::from_millis(after))));
        }
        suspension
    }

    #[test]
    fn two_endings_in_a_row_suspend_it_and_are_said_once() {
        let mut suspension = ended(&[1], 100);
        assert!(!suspension.exited(&process(1), None), "one delivery counts once");
        assert!(!suspension.judged() && !suspension.is_on());
        assert_eq!(suspension.say(&"app".into(), &hup()), None);
        let mut suspension = ended(&[1, 2], 2_140);
        assert!(suspension.is_on() && !suspension.judged());
        let said = suspension.say(&"app".into(), &hup()).unwrap().sentence;
        assert!(said.starts_with("container app ends 2.1 s after SIGHUP, 2 times in a row: "), "{said}");
        assert_eq!(suspension.say(&"app".into(), &hup()), None);
    }

    #[test]
    fn what_the_journal_holds_is_said_without_what_isnt_known() {
        assert!(!Suspension::restored(1).is_on());
        let mut suspension = Suspension::restored(2);
        assert!(suspension.is_on() && !suspension.judged());
        let said = suspension.say(&"app".into(), &hup()).unwrap().sentence;
        assert!(said.starts_with("container app ended after the last 2 SIGHUPs: "), "{said}");
    }

    #[test]
    fn an_ending_that_the_journal_holds_is_said_with_its_time_and_can_be_taken_back() {
        let mut suspension = Suspension::restored(2);
        suspension.restore_ending(&process(2), Duration::from_millis(400));
        let said = suspension.say(&"app".into(), &hup()).unwrap().sentence;
        assert!(said.starts_with("container app ends 400 ms after SIGHUP, 2 times in a row: "), "{said}");
        assert!(suspension.killed(|other| *other == process(2)) && !suspension.is_on());
        // Nothing of it had counted.
        let mut suspension = Suspension::default();
        suspension.restore_ending(&process(2), Duration::from_millis(400));
        assert!(!suspension.killed(|other| *other == process(2)));
    }

    #[test]
    fn a_time_is_shown_in_seconds_from_one_on() {
        assert_eq!(shown(Duration::from_millis(999)), "999 ms");
        assert_eq!(shown(Duration::from_secs(1)), "1.0 s");
        assert_eq!(shown(Duration::from_millis(2_140)), "2.1 s");
    }

    #[test]
    fn a_delivery_after_which_it_lived_starts_the_count_anew() {
        let mut suspension = ended(&[1], 1);
        suspension.delivered(true);
        assert!(suspension.judged() && !suspension.is_recorded());
        assert!(!suspension.judged(), "the journal knows");
    }

    #[test]
    fn an_ending_that_says_nothing_neither_counts_nor_starts_the_count_anew() {
        let mut suspension = ended(&[1], 1);
        suspension.delivered(false);
        assert!(!suspension.exited(&process(2), None));
        assert!(!suspension.judged());
        assert_eq!(suspension.in_a_row(), 1);
    }

    #[test]
    fn a_kill_takes_an_ending_back_whichever_of_the_two_it_was() {
        for pid in [1, 2] {
            let mut suspension = ended(&[1, 2], 400);
            suspension.say(&"app".into(), &hup());
            assert!(!suspension.killed(|other| other.pid == 9) && suspension.is_on());
            assert!(suspension.killed(|other| *other == process(pid)));
            assert!(!suspension.is_on() && !suspension.killed(|other| *other == process(pid)));
            suspension.delivered(true);
            assert!(suspension.exited(&process(3), None) && suspension.is_on());
            assert!(suspension.say(&"app".into(), &hup()).is_some(), "it is on again");
        }
    }
}
