//! The boot-time clock, by which everything is decided. The journal and the pods file ask for the wall clock too, for people.

use std::time::Duration;

use nix::poll::PollTimeout;
use reloadlet_core::Time;
use rustix::time::{ClockId, Timespec, clock_gettime};

pub(crate) mod wall;

/// Now, on the boot-time clock.
pub(crate) fn now() -> Time {
    Time::since_boot(duration(clock_gettime(ClockId::Boottime)))
}

/// A wait as poll(2) and epoll_wait(2) take it, in whole milliseconds: it never ends early, unless it is longer than the 24
/// days that they can wait.
pub(crate) fn wait_of(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
}

/// Now, on the wall clock, since the Unix epoch.
pub(crate) fn wall() -> Duration {
    duration(clock_gettime(ClockId::Realtime))
}

/// The moment on the boot-time clock of a second on somebody else's wall clock, which may be still to come.
pub(crate) fn from_wall_second(second: i64) -> Time {
    let (wall, now) = (wall(), now());
    let second = Duration::from_secs(u64::try_from(second).unwrap_or(0));
    if second > wall { now + (second - wall) } else { now - (wall - second) }
}

/// A moment as people read it, in UTC, to a millisecond.
pub(crate) fn rfc3339(time: Time) -> String {
    let (wall, now) = (wall(), now());
    let moment = if time > now { wall + time.since(now) } else { wall.saturating_sub(now.since(time)) };
    let millis = moment + Duration::from_micros(500);
    let stamp =
        i64::try_from(millis.as_millis()).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(String::new, |stamp| format!("{stamp:.3}"))
}

fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_time_and_the_boot_time_of_one_moment_agree() {
        let second = clock_gettime(ClockId::Realtime).tv_sec;
        let (before, found) = (now(), from_wall_second(second));
        let apart = before.since(found).max(found.since(before));
        assert!(apart < Duration::from_secs(5), "{apart:?} apart");
        assert!(from_wall_second(second - 100) < before && from_wall_second(second + 100) > before);
    }

    #[test]
    fn no_wait_ends_before_its_time() {
        for (nanos, millis) in [(0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2)] {
            assert_eq!(wait_of(Duration::from_nanos(nanos)).as_millis(), Some(millis), "{nanos} ns");
        }
        assert_eq!(wait_of(Duration::MAX), PollTimeout::MAX);
    }

    #[test]
    fn a_moment_is_written_as_it_was_read() {
        let second = clock_gettime(ClockId::Realtime).tv_sec - 60;
        let expected = jiff::Timestamp::from_second(second).unwrap().to_string();
        let time = from_wall_second(second);
        assert_eq!(rfc3339(time), expected.replace('Z', ".000Z"));
        assert_eq!(rfc3339(time + Duration::from_millis(250)), expected.replace('Z', ".250Z"));
    }
}
