//! Whether a container reads what it is told of: what was seen of that after its deliveries, and what follows. That nothing was
//! seen proves nothing about a container that was never seen to read; one that was has dropped the signal, as far as can be told
//! from outside: some programs do that while they reload.

use std::time::Duration;

use crate::machine::reload::sight::Sight;
use crate::model::journal::{Again, Rereads};
use crate::model::mark::Mark;
use crate::model::outcome::Unread;
use crate::model::time::Time;

/// After so many deliveries in a row after which nothing was read, a container that was never seen to read is said not to. One
/// that was isn't told a second time any more.
const MOST_UNREAD: u8 = 3;

/// What was seen of whether a container reads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rereading {
    has_reread: bool,
    /// After so many deliveries in a row nothing was read; a second telling isn't one more.
    unread: u8,
    /// When the first of them was made.
    since: Option<Time>,
    /// Whether it is told a second time of the generations that it was told of last.
    again: Again,
    /// A second telling was due when the agent before ended.
    was_due: bool,
    /// It was seen to read after somebody had looked through a generation's directory, as the kubelet does: then its own reads may
    /// look like the kubelet's.
    looks_through: bool,
    /// When the youngest process had started that was told last. Others have read what was there when they started.
    started: Time,
}

/// Why a window ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// Its time is over. `newest` says whether what was told of is the newest still, and nothing newer waits.
    InTime { newest: bool },
    /// A newer delivery was made.
    Newer,
    /// The pod is gone, or has another plan.
    Over,
}

/// What was seen of a container that lives and didn't read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) closing: Closing,
    /// How well an open would have been seen.
    pub(super) sight: Sight,
    /// Whether somebody looked through a generation's directory: the kubelet, or a reader.
    pub(super) looked_through: bool,
    /// Since when the delivery's window was open, and how long one is.
    pub(super) delivered: Time,
    pub(super) window: Duration,
    /// Whether the pod wants to be told a second time.
    pub(super) retell: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Nothing,
    /// It is to be told a second time.
    Again,
    /// That it didn't read is to be said, since it wasn't before.
    Say(Unread),
}

impl Rereading {
    /// What the journal holds of it.
    pub(super) const fn restored(record: &Rereads) -> Self {
        let Rereads { has_reread, unread, again, started, mark: _ } = *record;
        // One that was due isn't made any more: what the first telling told of was left unread.
        let (again, unread) = match again {
            Again::Due => (Again::No, unread.saturating_add(1)),
            Again::No | Again::Made => (again, unread),
        };
        let was_due = matches!(record.again, Again::Due);
        Self { has_reread, unread, since: None, again, was_due, looks_through: false, started }
    }

    /// What the journal is to hold of it; nothing where nothing was seen.
    pub(super) fn record(&self, mark: Mark) -> Option<Rereads> {
        let Self { has_reread, unread, again, started, .. } = *self;
        let is_anything_seen = has_reread || unread > 0 || again != Again::No;
        is_anything_seen.then_some(Rereads { has_reread, unread, again, started, mark })
    }

    /// A delivery was made, of which the youngest process had started then; `again` says whether it was a second telling.
    pub(super) fn delivered(&mut self, youngest: Time, again: bool) {
        if youngest != self.started {
            (self.unread, self.since, self.started) = (0, None, youngest);
        }
        self.again = if again { Again::Made } else { Again::No };
    }

    /// A file of what it was told of was opened; `looked_through` says whether somebody had looked through its directory before.
    pub(super) const fn reread(&mut self, looked_through: bool) {
        self.has_reread = true;
        self.looks_through |= looked_through;
        (self.unread, self.since) = (0, None);
    }

    /// Nothing was opened in the window of a delivery, and the container lives.
    pub(super) fn unread(&mut self, seen: Seen, now: Time) -> Next {
        // Nothing is said of what a read of the agent may have hidden.
        let is_unsure = match seen.sight {
            Sight::Clear => false,
            Sight::Hidden => self.has_reread || self.would_be_last(),
            Sight::Blind => true,
        };
        if is_unsure {
            return Next::Nothing;
        }
        let before = self.state();
        match seen.closing {
            Closing::Over | Closing::InTime { newest: false } => return Next::Nothing,
            // What it makes of the newer one decides.
            Closing::Newer if self.has_reread => return Next::Nothing,
            // Its reads may have looked like the kubelet's.
            Closing::Newer | Closing::InTime { .. } if seen.looked_through && self.hides() => {
                return Next::Nothing;
            }
            Closing::InTime { .. }
                if self.has_reread && self.again == Again::No && seen.retell && !self.is_given_up() =>
            {
                self.again = Again::Due;
                return Next::Again;
            }
            Closing::Newer | Closing::InTime { .. } => self.count(seen, now),
        }
        self.state().filter(|_| before.is_none()).map_or(Next::Nothing, Next::Say)
    }

    /// A second telling was refused.
    pub(super) fn refused(&mut self) -> Next {
        let before = self.state();
        self.unread = self.unread.saturating_add(1);
        self.state().filter(|_| before.is_none()).map_or(Next::Nothing, Next::Say)
    }

    /// Several quick deliveries are said to be unread only once a window's time has passed since the first of them.
    fn count(&mut self, seen: Seen, now: Time) {
        let since = *self.since.get_or_insert(seen.delivered);
        if self.unread.saturating_add(1) < MOST_UNREAD || now.since(since) >= seen.window {
            self.unread = self.unread.saturating_add(1);
        }
    }

    /// How many deliveries in a row were left unread.
    pub(super) const fn in_a_row(&self) -> u8 {
        self.unread
    }

    /// Whether reads of the container can't be told from the kubelet's, as far as is known.
    const fn hides(&self) -> bool {
        self.looks_through || !self.has_reread
    }

    /// Whether it is said to read nothing, or to have read nothing, after one more delivery that it leaves unread.
    const fn would_be_last(&self) -> bool {
        self.unread.saturating_add(1) >= MOST_UNREAD
    }

    /// Whether something follows if nothing is seen in a window; `looked_through` says whether somebody has looked through a
    /// generation's directory in it.
    pub(super) const fn is_decided_by(&self, looked_through: bool) -> bool {
        let is_hidden = looked_through && self.hides();
        !is_hidden && !self.is_given_up() && (self.has_reread || self.would_be_last())
    }

    /// Whether second tellings have come to nothing too often.
    const fn is_given_up(&self) -> bool {
        self.unread >= MOST_UNREAD
    }

    const fn state(&self) -> Option<Unread> {
        match (self.has_reread, self.unread) {
            (_, 0) => None,
            (true, _) => Some(Unread::NotRead),
            (false, unread) if unread >= MOST_UNREAD => Some(Unread::NeverRead),
            (false, _) => None,
        }
    }

    /// How its processes, of which the youngest has started then, have left unread what they were told of, and after how many
    /// deliveries in a row.
    pub(crate) fn known(&self, youngest: Option<Time>) -> Option<(Unread, u8)> {
        self.state().filter(|_| youngest == Some(self.started)).map(|unread| (unread, self.unread))
    }

    /// Whether a second telling was due when the agent before ended: it may have been made.
    pub(super) const fn was_due(&self) -> bool {
        self.was_due
    }

    /// Whether these processes were told a second time of what they were told of last.
    pub(crate) fn is_told_again(&self, youngest: Option<Time>) -> bool {
        self.again == Again::Made && youngest == Some(self.started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    fn seen(closing: Closing, delivered: u64) -> Seen {
        Seen {
            closing,
            sight: Sight::Clear,
            looked_through: false,
            delivered: at(delivered),
            window: Duration::from_secs(10),
            retell: true,
        }
    }

    const IN_TIME: Closing = Closing::InTime { newest: true };

    fn reader() -> Rereading {
        let mut rereading = Rereading::default();
        rereading.delivered(at(1), false);
        rereading.reread(false);
        rereading.delivered(at(1), false);
        rereading
    }

    #[test]
    fn who_has_read_before_is_told_a_second_time_and_then_it_is_said() {
        let mut rereading = reader();
        assert_eq!(rereading.unread(seen(IN_TIME, 10), at(20)), Next::Again);
        rereading.delivered(at(1), true);
        assert_eq!(rereading.unread(seen(IN_TIME, 20), at(30)), Next::Say(Unread::NotRead));
        assert_eq!(rereading.known(Some(at(1))), Some((Unread::NotRead, 1)));
        rereading.delivered(at(1), false);
        assert_eq!(rereading.unread(seen(IN_TIME, 40), at(50)), Next::Again, "of another generation");
        rereading.delivered(at(1), true);
        rereading.reread(false);
        assert_eq!(rereading.known(Some(at(1))), None);
        assert!(rereading.is_told_again(Some(at(1))));
    }

    #[test]
    fn second_tellings_that_come_to_nothing_end_after_three() {
        let mut rereading = reader();
        for _ in 0..3 {
            rereading.delivered(at(1), false);
            assert_eq!(rereading.unread(seen(IN_TIME, 10), at(20)), Next::Again);
            rereading.delivered(at(1), true);
            rereading.unread(seen(IN_TIME, 20), at(30));
        }
        rereading.delivered(at(1), false);
        assert_eq!(rereading.unread(seen(IN_TIME, 40), at(50)), Next::Nothing);
        rereading.reread(false);
        rereading.delivered(at(1), false);
        assert_eq!(rereading.unread(seen(IN_TIME, 60), at(70)), Next::Again);
    }

    #[test]
    fn where_opens_cant_be_seen_or_something_newer_waits_nothing_follows() {
        for seen in [
            Seen { sight: Sight::Hidden, ..seen(IN_TIME, 10) },
            Seen { sight: Sight::Blind, ..seen(IN_TIME, 10) },
            seen(Closing::InTime { newest: false }, 10),
            seen(Closing::Newer, 10),
            seen(Closing::Over, 10),
        ] {
            let mut rereading = reader();
            assert_eq!(rereading.unread(seen, at(20)), Next::Nothing, "{seen:?}");
        }
        let mut unwilling = reader();
        let seen = Seen { retell: false, ..seen(IN_TIME, 10) };
        assert_eq!(unwilling.unread(seen, at(20)), Next::Say(Unread::NotRead));
    }

    #[test]
    fn three_deliveries_without_a_read_are_said_once() {
        let mut rereading = Rereading::default();
        let mut said = Vec::new();
        for n in 1..6 {
            rereading.delivered(at(1), false);
            said.push(rereading.unread(seen(IN_TIME, n * 20), at(n * 20 + 10)));
        }
        let never = Next::Say(Unread::NeverRead);
        assert_eq!(said, [Next::Nothing, Next::Nothing, never, Next::Nothing, Next::Nothing]);
        assert_eq!(rereading.known(Some(at(1))), Some((Unread::NeverRead, 5)));
        assert_eq!(rereading.known(Some(at(2))), None, "another process has read what was there");
    }

    #[test]
    fn what_an_own_read_may_have_hidden_counts_and_is_never_the_last() {
        let hidden = |n| Seen { sight: Sight::Hidden, ..seen(IN_TIME, n * 20) };
        let mut rereading = Rereading::default();
        for n in 1..6 {
            rereading.delivered(at(1), false);
            assert_eq!(rereading.unread(hidden(n), at(n * 20 + 10)), Next::Nothing);
            assert_eq!(rereading.is_decided_by(false), n >= 2);
        }
        assert!(!rereading.is_decided_by(true), "its reads may look like the kubelet's");
        let blind = Seen { sight: Sight::Blind, ..seen(IN_TIME, 200) };
        assert_eq!((rereading.unread(blind, at(210)), rereading.in_a_row()), (Next::Nothing, 2));
        assert_eq!(rereading.unread(seen(IN_TIME, 200), at(210)), Next::Say(Unread::NeverRead));
        assert!(!rereading.is_decided_by(false) && reader().is_decided_by(true));
    }

    #[test]
    fn quick_deliveries_are_said_once_a_windows_time_has_passed() {
        let mut rereading = Rereading::default();
        let mut said = Vec::new();
        for n in 0..6 {
            rereading.delivered(at(1), false);
            said.push(rereading.unread(seen(Closing::Newer, n * 3), at(n * 3 + 3)));
        }
        let place = said.iter().position(|next| *next == Next::Say(Unread::NeverRead));
        assert_eq!(place, Some(3), "after 12 s: {said:?}");
    }

    #[test]
    fn whose_reads_may_look_like_the_kubelets_isnt_said_not_to_read() {
        let looked = |delivered| Seen { looked_through: true, ..seen(IN_TIME, delivered) };
        let mut rereading = Rereading::default();
        for n in 1..6 {
            rereading.delivered(at(1), false);
            assert_eq!(rereading.unread(looked(n * 20), at(n * 20 + 10)), Next::Nothing);
        }
        let mut slow = reader();
        slow.reread(true);
        slow.delivered(at(1), false);
        assert_eq!(slow.unread(looked(200), at(210)), Next::Nothing);
        assert_eq!(reader().unread(looked(10), at(20)), Next::Again, "it was the kubelet");
    }

    #[test]
    fn what_the_journal_holds_goes_on() {
        let mark = Mark::recorded(2, 7);
        assert_eq!(Rereading::default().record(mark), None);
        let mut rereading = reader();
        rereading.unread(seen(IN_TIME, 10), at(20));
        assert!(!rereading.is_told_again(Some(at(1))), "it is due");
        let due = Rereading::restored(&rereading.record(mark).unwrap());
        assert!(due.was_due() && !due.is_told_again(Some(at(1))));
        assert_eq!(due.known(Some(at(1))), Some((Unread::NotRead, 1)), "and isn't made any more");
        rereading.delivered(at(1), true);
        let mut again = Rereading::restored(&rereading.record(mark).unwrap());
        assert!(again.is_told_again(Some(at(1))) && !again.was_due());
        assert_eq!(again.unread(seen(IN_TIME, 30), at(40)), Next::Say(Unread::NotRead), "no third time");
        let after = Rereading::restored(&again.record(mark).unwrap());
        assert_eq!(after.known(Some(at(1))), Some((Unread::NotRead, 1)));
    }
}
