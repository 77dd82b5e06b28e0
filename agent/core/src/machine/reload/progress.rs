//! How far a container is with one volume: what it holds of it, and which generation waits to be told.

use std::time::Duration;

use crate::machine::volume::{How, Settled};
use crate::model::digest::Digest;
use crate::model::generation::Generation;
use crate::model::journal::{Handled, Held};
use crate::model::outcome::Outcome;
use crate::model::time::Time;

/// A first process that started this much later than a settle has read the generation; start times have a
/// resolution of 10 ms, change times one of a kernel tick.
pub(crate) const START_DOUBT: Duration = Duration::from_millis(20);

/// How far a container is with a volume.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The last generation that is done with.
    handled: Option<Generation>,
    /// Whether the container is taken to hold that generation: it was told, or it started after it.
    holds_it: bool,
    /// How it ended.
    outcome: Option<Outcome>,
    /// What the container holds for certain.
    held: Option<Held>,
    /// The digest of what the container was told of last; unknown after a restart or a failure.
    told: Option<Digest>,
    /// Whether the container may hold something else than what it was told of last.
    is_told_doubtful: bool,
    /// The generation that waits.
    pending: Option<Pending>,
    /// The generation that is done with was withheld from the container.
    withheld: bool,
    /// The last signal that was left unread told of it.
    unread: bool,
}

/// A generation that waits to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) generation: Generation,
    pub(crate) swapped: Time,
    /// Until when the container saw for certain what it was told of last. A process that started later can have read
    /// a generation between that and this one.
    pub(crate) since: Time,
    pub(crate) settled: Time,
    /// New to the journal: told only to a process that is clearly older.
    pub(crate) only_if_older: bool,
    /// It was delivered, and is told a second time: how it ended stands.
    pub(crate) again: bool,
    /// A request that told of it has failed.
    pub(crate) tried: bool,
}

impl Pending {
    pub(super) fn of(settled: &Settled, new_here: bool) -> Self {
        Self {
            generation: settled.generation.clone(),
            swapped: settled.swapped,
            since: settled.since,
            settled: settled.settled,
            only_if_older: new_here && settled.how == How::Discovered,
            again: false,
            tried: false,
        }
    }
}

/// How a generation ends for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It was there before anything is known: nobody is told of it.
    Baseline,
    /// A newer one is told instead, and decides what the container holds.
    Superseded,
    /// Its reload ended so.
    Reload(Outcome),
}

/// What becomes of a generation that has settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is known.
    Known,
    /// It waits to be told.
    Waits,
    /// It waits in place of this one.
    Supersedes(Pending),
}

impl Progress {
    /// What the journal holds of it.
    pub(super) fn restored(record: Handled) -> Self {
        let Handled { generation, outcome, held, unread } = record;
        Self {
            handled: Some(generation),
            holds_it: outcome.is_none_or(Outcome::reached),
            outcome,
            held,
            told: None,
            is_told_doubtful: false,
            pending: None,
            withheld: outcome == Some(Outcome::Suspended),
            unread,
        }
    }

    /// What the journal is to hold of it.
    pub(super) fn record(&self) -> Option<Handled> {
        let Self { outcome, held, unread, .. } = self;
        let generation = self.handled.clone()?;
        Some(Handled { generation, outcome: *outcome, held: held.clone(), unread: *unread })
    }

    /// The last generation that is done with.
    pub(crate) const fn handled(&self) -> Option<&Generation> {
        self.handled.as_ref()
    }

    /// The generation that the container is taken to hold.
    pub(crate) fn holds(&self) -> Option<&Generation> {
        self.handled.as_ref().filter(|_| self.holds_it)
    }

    /// How the last generation that is done with ended; `None` for one that was there before anything is known.
    pub(crate) const fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// What a container whose first process has started then holds for certain.
    pub(crate) fn held(&self, started: Time) -> Option<&Generation> {
        self.held.as_ref().filter(|held| held.started == started).map(|held| &held.generation)
    }

    /// A generation was there when the first process started. Whether that is news.
    pub(super) fn was_there(&mut self, generation: &Generation, started: Time) -> bool {
        if self.held(started) == Some(generation) {
            return false;
        }
        self.held = Some(Held { generation: generation.clone(), started });
        true
    }

    /// The digest of what the container was told of last, where it is known.
    pub(super) const fn told(&self) -> Option<Digest> {
        self.told
    }

    /// A signal that told of it was left unread, or one was read. Whether that is news.
    pub(super) const fn leave_unread(&mut self, unread: bool) -> bool {
        std::mem::replace(&mut self.unread, unread) != unread
    }

    /// Whether the last signal that was left unread told of it.
    pub(crate) const fn is_unread(&self) -> bool {
        self.unread
    }

    /// The generation that was withheld from the container.
    pub(super) fn withheld(&self) -> Option<&Generation> {
        self.handled.as_ref().filter(|_| self.withheld && self.pending.is_none())
    }

    /// What was withheld waits again.
    pub(super) fn give(&mut self, settled: &Settled) {
        self.withheld = false;
        self.pending = Some(Pending::of(settled, false));
    }

    /// Whether the generation that is done with is only so since it was withheld.
    pub(super) fn is_to_be_given(&self) -> bool {
        let given = self.pending.as_ref().map(|pending| &pending.generation);
        self.withheld || (given.is_some() && given == self.handled.as_ref())
    }

    /// What was withheld is what the container has read at its start.
    pub(super) const fn has_read(&mut self) {
        self.withheld = false;
    }

    /// The generation that waits.
    pub(crate) const fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// A generation has settled; `sent` is the one that is on its way to the container.
    pub(super) fn settled(&mut self, settled: &Settled, sent: Option<&Pending>) -> Taken {
        if self.handled.as_ref() == Some(&settled.generation) && self.pending.is_none() {
            return Taken::Known;
        }
        if self.pending.iter().chain(sent).any(|pending| pending.generation == settled.generation) {
            return Taken::Known;
        }
        let mut pending = Pending::of(settled, self.handled.is_none());
        if let Some(older) = &self.pending {
            pending.since = pending.since.min(older.since);
        }
        self.pending.replace(pending).map_or(Taken::Waits, Taken::Supersedes)
    }

    /// What was delivered last waits to be told a second time: what the container holds of it isn't known.
    pub(super) fn tell_again(&mut self, told: &Pending) {
        if self.pending.is_none() && self.handled.as_ref() == Some(&told.generation) {
            self.pending = Some(Pending { again: true, tried: false, ..told.clone() });
        }
    }

    /// The container may hold something else than what it was told of last: no later content is the same as that.
    pub(super) const fn doubt_told(&mut self) {
        self.told = None;
        self.is_told_doubtful = true;
    }

    /// Nothing is told a second time any more. Whether something was to be.
    pub(super) fn drop_again(&mut self) -> bool {
        self.pending.take_if(|pending| pending.again).is_some()
    }

    /// What waits is on its way.
    pub(super) const fn take_pending(&mut self) -> Option<Pending> {
        self.pending.take()
    }

    /// Nothing was sent: it waits again. Gives it back where a newer one waits.
    pub(super) fn give_back(&mut self, sent: Pending) -> Option<Pending> {
        match &mut self.pending {
            Some(newer) => {
                newer.since = newer.since.min(sent.since);
                Some(sent)
            }
            waiting @ None => {
                *waiting = Some(sent);
                None
            }
        }
    }

    /// A generation is done with. What is told of it has this digest, where that is known; `started` says when the container's
    /// first process has.
    pub(super) fn end(
        &mut self,
        generation: Generation,
        ending: Ending,
        digest: Option<Digest>,
        started: Option<Time>,
    ) {
        let holds_it = match ending {
            Ending::Superseded => return,
            Ending::Baseline => {
                self.pending = None;
                true
            }
            Ending::Reload(outcome) => outcome.reached(),
        };
        self.withheld = matches!(ending, Ending::Reload(Outcome::Suspended));
        self.outcome = match ending {
            Ending::Baseline | Ending::Superseded => None,
            Ending::Reload(outcome) => Some(outcome),
        };
        if self.outcome == Some(Outcome::Delivered) {
            self.held = started.map(|started| Held { generation: generation.clone(), started });
        } else if let Some(held) = self.held.as_mut().filter(|_| self.outcome == Some(Outcome::Unchanged)) {
            // What counts of it is what it holds.
            held.generation = generation.clone();
        }
        self.handled = Some(generation);
        self.holds_it = holds_it;
        self.told = digest.filter(|_| holds_it);
        self.is_told_doubtful = false;
    }

    /// A generation that the container may hold was read, or couldn't be.
    pub(super) fn read(&mut self, generation: &Generation, digest: Option<Digest>) {
        if self.pending.is_none() && self.holds() == Some(generation) && !self.is_told_doubtful {
            self.told = digest;
        }
    }

    /// The first process started then: what settled clearly later is a change to it.
    pub(super) fn decide_older(&mut self, started: Time) {
        if let Some(pending) = &mut self.pending {
            pending.only_if_older &= started + START_DOUBT >= pending.settled;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    fn generation(n: u32) -> Generation {
        Generation::parse(&format!("..2026_11_21_05_56_44.{n}")).unwrap()
    }

    fn settled(n: u32, how: How) -> Settled {
        let time = at(n.into());
        Settled { generation: generation(n), swapped: time, since: time, settled: time, how }
    }

    #[test]
    fn a_generation_waits_once_and_a_newer_one_takes_its_place() {
        let mut progress = Progress::restored(Handled::new(generation(1), None));
        assert_eq!(progress.settled(&settled(1, How::Changed), None), Taken::Known);
        assert_eq!(progress.settled(&settled(2, How::Changed), None), Taken::Waits);
        assert_eq!(progress.settled(&settled(2, How::Changed), None), Taken::Known);
        let Taken::Supersedes(older) = progress.settled(&settled(3, How::Changed), None) else { panic!() };
        assert_eq!(older.generation, generation(2));
        let pending = progress.take_pending().unwrap();
        assert_eq!((pending.generation.clone(), pending.since), (generation(3), at(2)));
        assert_eq!(progress.settled(&settled(3, How::Changed), Some(&pending)), Taken::Known, "it is sent");
    }

    #[test]
    fn what_comes_back_waits_unless_something_newer_does() {
        let mut progress = Progress::restored(Handled::new(generation(1), None));
        progress.settled(&settled(2, How::Changed), None);
        let sent = progress.take_pending().unwrap();
        assert_eq!(progress.give_back(sent.clone()), None);
        assert_eq!(progress.pending(), Some(&sent));
        let sent = progress.take_pending().unwrap();
        progress.settled(&settled(3, How::Changed), None);
        assert_eq!(progress.give_back(sent.clone()), Some(sent));
        assert_eq!(progress.pending().unwrap().since, at(2), "what was seen last for certain");
    }

    #[test]
    fn what_it_holds_follows_from_how_a_generation_ends() {
        let (digest, start) = (Some(Digest::new([1; 32])), Some(at(7)));
        let mut progress = Progress::default();
        progress.end(generation(1), Ending::Baseline, digest, start);
        assert_eq!((progress.holds(), progress.told()), (Some(&generation(1)), digest));
        assert_eq!(progress.held(at(7)), None, "it may be older");
        progress.end(generation(2), Ending::Superseded, digest, start);
        assert_eq!((progress.handled(), progress.outcome()), (Some(&generation(1)), None));
        assert!(progress.was_there(&generation(1), at(7)) && !progress.was_there(&generation(1), at(7)));
        progress.end(generation(3), Ending::Reload(Outcome::Failed), digest, start);
        assert_eq!(
            (progress.handled(), progress.holds(), progress.told()),
            (Some(&generation(3)), None, None)
        );
        for outcome in [Outcome::Denied, Outcome::NoProcess, Outcome::Unhandled, Outcome::Suspended] {
            progress.end(generation(4), Ending::Reload(outcome), digest, start);
            assert_eq!(progress.held(at(7)), Some(&generation(1)), "what it held before");
        }
        for outcome in [Outcome::DryRun, Outcome::Excluded, Outcome::Gone] {
            progress.end(generation(5), Ending::Reload(outcome), digest, start);
            assert_eq!(progress.held(at(7)), Some(&generation(1)), "it wasn't told");
        }
        progress.end(generation(6), Ending::Reload(Outcome::Unchanged), digest, start);
        assert_eq!(progress.held(at(7)), Some(&generation(6)), "it is the same to it");
        progress.end(generation(7), Ending::Reload(Outcome::Delivered), digest, start);
        assert_eq!((progress.holds(), progress.held(at(7))), (Some(&generation(7)), Some(&generation(7))));
        assert_eq!(progress.outcome(), Some(Outcome::Delivered));
        assert_eq!((progress.told(), progress.held(at(8))), (digest, None), "another one may hold another");
        assert_eq!(Progress::restored(progress.record().unwrap()).held(at(7)), Some(&generation(7)));
    }

    #[test]
    fn what_is_told_a_second_time_is_what_was_delivered_last_and_gives_way_to_anything_newer() {
        let mut progress = Progress::restored(Handled::new(generation(1), None));
        progress.settled(&settled(2, How::Changed), None);
        let told = progress.take_pending().unwrap();
        progress.end(generation(2), Ending::Reload(Outcome::Delivered), None, None);
        progress.tell_again(&Pending { generation: generation(1), ..told.clone() });
        assert_eq!(progress.pending(), None, "it isn't what was told last");
        progress.tell_again(&told);
        assert!(progress.pending().unwrap().again);
        assert_eq!(progress.settled(&settled(2, How::Changed), None), Taken::Known);
        assert!(progress.drop_again() && !progress.drop_again());
        progress.settled(&settled(3, How::Changed), None);
        assert!(!progress.drop_again(), "it is news");
    }

    #[test]
    fn what_was_withheld_is_given_once() {
        let mut progress = Progress::default();
        progress.end(generation(1), Ending::Reload(Outcome::Suspended), None, None);
        assert_eq!(progress.withheld(), Some(&generation(1)));
        progress.give(&settled(1, How::Changed));
        assert!(progress.withheld().is_none() && progress.is_to_be_given());
        assert_eq!(progress.settled(&settled(1, How::Changed), None), Taken::Known);
        let sent = progress.take_pending().unwrap();
        assert!(progress.withheld().is_none());
        assert_eq!(progress.settled(&settled(1, How::Changed), Some(&sent)), Taken::Known);
        progress.end(generation(1), Ending::Reload(Outcome::Delivered), None, None);
        assert!(progress.withheld().is_none() && !progress.is_to_be_given());
        progress.settled(&settled(2, How::Changed), None);
        assert!(!progress.is_to_be_given(), "what waits was never withheld");
        assert!(
            Progress::restored(Handled::new(generation(1), Some(Outcome::Suspended))).withheld().is_some()
        );
        assert!(Progress::restored(Handled::new(generation(1), Some(Outcome::Failed))).withheld().is_none());
    }

    #[test]
    fn what_is_new_to_the_journal_is_for_older_processes_only() {
        let mut progress = Progress::default();
        progress.settled(&settled(10, How::Discovered), None);
        assert!(progress.pending().unwrap().only_if_older);
        progress.decide_older(at(10));
        assert!(progress.pending().unwrap().only_if_older, "within the doubt");
        progress.decide_older(at(9));
        assert!(!progress.pending().unwrap().only_if_older);
        let mut known = Progress::restored(Handled::new(generation(1), None));
        known.settled(&settled(10, How::Discovered), None);
        assert!(!known.pending().unwrap().only_if_older);
    }
}
