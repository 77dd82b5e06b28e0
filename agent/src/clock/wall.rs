//! How the wall clock stood to the boot-time clock, and when. Files are stamped by the wall clock, and processes by the
//! boot-time clock. The two run at the same speed (both are slewed by the same amount, and both count a suspend), so their
//! distance changes only where somebody sets the wall clock. A stamp from before such a step is known by the distance of that
//! time: the journal keeps it, since the clock may be set while there is no agent. Where a stamp can mean several moments the
//! latest one counts, and where it can mean none, now: a change that seems too late is told once more, and one that seems too
//! early would be lost.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reloadlet_core::Time;
use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use super::{duration, now};

/// Distances that differ by less are the same: both clocks can't be read at once. Processes' start times are known to
/// 10 ms.
const JITTER: Duration = Duration::from_millis(10);
/// How often the clocks are read to find a moment at which nothing came in between.
const MOST_READS: usize = 8;
/// A look at both clocks that took no longer is good enough.
const QUICK: Duration = Duration::from_micros(200);
/// So many steps are remembered. A clock that is set all the time makes stamps doubtful, and nothing else.
const MOST_SPANS: usize = 16;
/// No timer waits for longer than some hundred years.
const NEVER: i64 = 10_000_000_000;

/// The clock of the file systems' stamps. Clones share what is known of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct WallClock(Arc<Mutex<Offsets>>);

impl WallClock {
    /// What the journal holds of it was read: it comes before what was seen since.
    pub(crate) fn restore(&self, text: &str) {
        let earlier = Offsets::parse(text, now());
        let mut offsets = self.lock();
        let later = std::mem::take(&mut *offsets);
        *offsets = earlier;
        for span in later.spans {
            offsets.saw(span.first, span.offset);
            offsets.saw(span.last, span.offset);
        }
    }

    /// Looks at the clocks; whether the wall clock was set since the last look, whoever has noticed it since.
    pub(crate) fn look(&self) -> bool {
        std::mem::take(&mut self.seen().1.is_set)
    }

    /// The latest moment that a stamp can mean.
    pub(crate) fn moment(&self, seconds: i64, nanos: i64) -> Time {
        let (at, offsets) = self.seen();
        offsets.latest(i128::from(seconds) * 1_000_000_000 + i128::from(nanos), at)
    }

    /// What the journal is to hold of it.
    pub(crate) fn record(&self) -> String {
        self.seen().1.to_text()
    }

    /// What is known, with how the clocks stand now, and when that is.
    fn seen(&self) -> (Time, MutexGuard<'_, Offsets>) {
        let (at, offset) = read();
        let mut offsets = self.lock();
        offsets.saw(at, offset);
        (at, offsets)
    }

    fn lock(&self) -> MutexGuard<'_, Offsets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells when the wall clock is set: readable then (timerfd_create(2), `TFD_TIMER_CANCEL_ON_SET`).
#[derive(Debug)]
pub(crate) struct ClockSet(OwnedFd);

impl ClockSet {
    /// Waits for it from now on.
    pub(crate) fn new() -> Result<Self, Errno> {
        let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let never = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: NEVER, tv_nsec: 0 },
        };
        timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &never)?;
        Ok(Self(timer))
    }

    /// Readable when the clock was set.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// It was seen. The timer goes on.
    pub(crate) fn clear(&self) {
        // ECANCELED: it was set, and the next read waits for the next time.
        if let Err(error) = rustix::io::read(&self.0, &mut [0; 8])
            && !matches!(error, Errno::CANCELED | Errno::AGAIN | Errno::INTR)
        {
            tracing::debug!(%error, "can't read a timer");
        }
    }
}

/// The boot-time clock, and how far the wall clock is ahead of it, in nanoseconds.
fn read() -> (Time, i128) {
    let mut best: Option<(Duration, Time, i128)> = None;
    for _ in 0..MOST_READS {
        let before = now();
        let wall = duration(clock_gettime(ClockId::Realtime));
        let after = now();
        let took = after.since(before);
        let middle = before + took / 2;
        let offset = signed(wall) - signed(middle.elapsed_since_boot());
        if best.is_none_or(|(shortest, ..)| took < shortest) {
            best = Some((took, middle, offset));
        }
        if took <= QUICK {
            break;
        }
    }
    best.map_or_else(|| (now(), 0), |(_, at, offset)| (at, offset))
}

fn signed(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

/// A time in which the clocks had the same distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// When it was first and last seen.
    first: Time,
    last: Time,
    offset: i128,
}

/// The distances of the clocks in this boot, as far as they were seen, the newest last.
#[derive(Debug, Default, PartialEq, Eq)]
struct Offsets {
    /// Until when there were others that are forgotten.
    forgotten: Time,
    spans: VecDeque<Span>,
    /// Whether another distance than the one before was seen, and nobody was told.
    is_set: bool,
}

impl Offsets {
    /// The clocks had this distance then.
    fn saw(&mut self, at: Time, offset: i128) {
        let jitter = signed(JITTER);
        if let Some(span) = self.spans.back_mut()
            && (span.offset - offset).abs() <= jitter
        {
            span.last = span.last.max(at);
            return;
        }
        self.is_set |= !self.spans.is_empty();
        self.spans.push_back(Span { first: at, last: at, offset });
        if self.spans.len() > MOST_SPANS {
            self.forgotten = self.spans.pop_front().map_or(self.forgotten, |span| span.last);
        }
    }

    /// The latest moment that a stamp of the wall clock can mean, by `now`; `now` where it can mean none.
    fn latest(&self, stamp: i128, now: Time) -> Time {
        let mut from = self.forgotten;
        let mut latest = None;
        for (n, span) in self.spans.iter().enumerate() {
            // When the clock was set between two looks isn't known: each distance may have held until the other was seen.
            let until = self.spans.get(n + 1).map_or(now, |next| next.first);
            let moment = stamp - span.offset;
            let earliest = signed(from.elapsed_since_boot());
            let fits = (from == Time::default() || moment + signed(JITTER) >= earliest)
                && moment - signed(JITTER) <= signed(until.elapsed_since_boot());
            if fits {
                let moment = u64::try_from(moment.max(0)).map_or(now, Time::from_nanos).min(now);
                latest = latest.max(Some(moment));
            }
            from = span.last;
        }
        latest.unwrap_or(now)
    }

    fn to_text(&self) -> String {
        let nanos = |time: Time| time.elapsed_since_boot().as_nanos();
        let mut text = nanos(self.forgotten).to_string();
        for span in &self.spans {
            // Writing to a string doesn't fail.
            let _infallible = write!(text, ";{},{},{}", nanos(span.first), nanos(span.last), span.offset);
        }
        text
    }

    /// What [`Self::to_text`] wrote in this boot; nothing where it can't be that.
    fn parse(text: &str, now: Time) -> Self {
        let time = |text: &str| Some(Time::from_nanos(text.parse().ok()?)).filter(|time| *time <= now);
        let span = |text: &str| {
            let mut parts = text.split(',');
            let (first, last) = (time(parts.next()?)?, time(parts.next()?)?);
            let offset = parts.next()?.parse().ok()?;
            parts.next().is_none().then_some(Span { first, last, offset })
        };
        let parse = || {
            let mut parts = text.split(';');
            let forgotten = time(parts.next()?)?;
            let spans: VecDeque<Span> = parts.map(span).collect::<Option<_>>()?;
            (spans.len() <= MOST_SPANS).then_some(Self { forgotten, spans, is_set: false })
        };
        parse().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i128 = 1_000_000_000;
    /// How far the wall clock is ahead at first.
    const WALL: i128 = 1_800_000_000 * SECOND;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    /// Looks at these times, at which the clock had been set by so many seconds since the beginning.
    fn seen(looks: &[(u64, i128)]) -> Offsets {
        let mut offsets = Offsets::default();
        for (seconds, step) in looks {
            offsets.saw(at(*seconds), WALL + step * SECOND);
        }
        offsets
    }

    /// What a file says that was written then, while the clock had been set by so many seconds.
    fn stamp(seconds: u64, step: i128) -> i128 {
        i128::from(seconds) * SECOND + WALL + step * SECOND
    }

    #[test]
    fn a_stamp_from_before_a_step_means_the_time_at_which_it_was_made() {
        for step in [3600, -3600, 5, -5] {
            // The agent was away from 100 to 200, and the clock was set meanwhile.
            let offsets = seen(&[(10, 0), (100, 0), (200, step)]);
            for second in [0, 50, 100] {
                assert!(offsets.latest(stamp(second, 0), at(200)) >= at(second), "{step}: {second}");
            }
            for second in [100, 150, 199] {
                for of in [0, step] {
                    let latest = offsets.latest(stamp(second, of), at(200));
                    assert!(latest >= at(second) && latest <= at(200), "{step}: {second} {latest:?}");
                }
            }
        }
        let small = seen(&[(100, 0), (200, 3600)]);
        assert_eq!(small.latest(stamp(90, 0), at(300)), at(90), "no other moment fits");
        assert_eq!(small.latest(stamp(250, 3600), at(300)), at(250));
    }

    #[test]
    fn without_a_step_a_stamp_means_one_moment() {
        let offsets = seen(&[(10, 0), (100, 0)]);
        assert_eq!(offsets.latest(stamp(50, 0), at(200)), at(50));
        assert_eq!(offsets.latest(stamp(0, 0) - 5 * SECOND, at(200)), at(0), "before the boot");
    }

    #[test]
    fn a_stamp_that_no_known_distance_explains_means_now() {
        let offsets = seen(&[(100, 0), (200, 3600)]);
        assert_eq!(offsets.latest(stamp(150, 90_000), at(300)), at(300));
        assert_eq!(Offsets::default().latest(stamp(1, 0), at(300)), at(300));
    }

    #[test]
    fn so_many_steps_are_remembered_and_what_is_forgotten_is_in_doubt() {
        let mut offsets = Offsets::default();
        for n in 0..100_u32 {
            offsets.saw(at(u64::from(n) * 10), WALL + i128::from(n) * 100 * SECOND);
        }
        assert_eq!(offsets.spans.len(), MOST_SPANS);
        assert_eq!(offsets.latest(stamp(5, 0), at(1000)), at(1000));
        assert_eq!(offsets.latest(stamp(985, 9800), at(1000)), at(985));
    }

    #[test]
    fn a_step_is_seen_and_what_two_reads_differ_by_is_none() {
        let mut offsets = seen(&[(100, 0)]);
        offsets.saw(at(101), WALL + SECOND / 200);
        assert!(!offsets.is_set);
        offsets.saw(at(102), WALL + SECOND / 50);
        assert!(offsets.is_set);
        let clock = WallClock::default();
        assert!(!clock.look() && !clock.look(), "nobody sets the clock");
        // Whoever asks what a stamp means, or keeps what is known, sees it first.
        clock.lock().saw(Time::default(), 0);
        clock.moment(0, 0);
        clock.record();
        assert!(clock.look() && !clock.look());
    }

    #[test]
    fn what_the_journal_holds_comes_before_what_was_seen_since() {
        let earlier = seen(&[(1, -3600), (2, 0)]).to_text();
        assert_eq!(Offsets::parse(&earlier, at(3)).spans, seen(&[(1, -3600), (2, 0)]).spans);
        let clock = WallClock::default();
        clock.look();
        clock.restore(&earlier);
        let known = clock.lock().spans.len();
        assert_eq!(known, 3, "the clock of this machine is another one");
        let again = WallClock::default();
        again.restore(&clock.record());
        assert!(!again.look());
        assert_eq!(again.lock().spans.len(), known, "the newest distance holds on");
    }

    #[test]
    fn what_cant_be_of_this_boot_is_nothing() {
        for text in ["", "x", "0;1,2", "0;1,2,3,4", "0;1,9000000000,5", "9000000000", "-1;1,2,3", "0;1,2,x"] {
            assert_eq!(Offsets::parse(text, at(3)), Offsets::default(), "{text:?}");
        }
    }

    #[test]
    fn a_stamp_of_now_means_now() {
        let clock = WallClock::default();
        let before = now();
        let wall = clock_gettime(ClockId::Realtime);
        let moment = clock.moment(wall.tv_sec, wall.tv_nsec);
        assert!(moment + JITTER * 100 >= before && moment <= now() + JITTER, "{moment:?} {before:?}");
    }

    #[test]
    fn a_timer_waits_for_the_clock_to_be_set() {
        let timer = ClockSet::new().unwrap();
        timer.clear();
    }

    proptest! {
        #[test]
        fn no_stamp_of_a_known_distance_means_an_earlier_time(
            steps in proptest::collection::vec((1_u64..1000, -100_000_i128..100_000), 1..12),
            (place, within) in (0_usize..12, 0_u64..1000),
        ) {
            let (mut seconds, mut looks) = (0, Vec::new());
            for (pause, step) in steps {
                seconds += pause;
                looks.push((seconds, step));
            }
            let offsets = seen(&looks);
            let (from, step) = looks[place % looks.len()];
            let until = looks.get(place % looks.len() + 1).map_or(from + 1000, |(next, _)| *next);
            let made = (from + within).min(until);
            let now = at(seconds + 2000);
            let latest = offsets.latest(stamp(made, step), now);
            prop_assert!(latest + JITTER >= at(made) && latest <= now, "{latest:?}");
        }

        #[test]
        fn whatever_the_journal_holds_is_read_as_it_was_written(
            steps in proptest::collection::vec((1_u64..1000, -100_000_i128..100_000), 0..40),
        ) {
            let (mut seconds, mut looks) = (0, Vec::new());
            for (pause, step) in steps {
                seconds += pause;
                looks.push((seconds, step));
            }
            let offsets = seen(&looks);
            let known = Offsets { is_set: false, ..offsets };
            prop_assert_eq!(Offsets::parse(&known.to_text(), at(seconds)), known);
        }
    }
}
