//! Clocks: boot time for stamps, UTC for the names of generations, and a precise pause.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// CLOCK_BOOTTIME in nanoseconds.
pub fn boottime_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Waits until the boot-time clock shows `deadline`. Sleeps while there is time and spins at the end: a plain sleep is
/// late by more than the 0.1 ms that tests ask for.
pub(crate) fn pause_until(deadline: u64) {
    const SPIN: u64 = 1_000_000;
    loop {
        let left = deadline.saturating_sub(boottime_ns());
        if left == 0 {
            return;
        }
        if left > SPIN {
            std::thread::sleep(Duration::from_nanos(left - SPIN));
        } else {
            std::hint::spin_loop();
        }
    }
}

/// A point in time in UTC: year, month, day, hour, minute, second.
pub(crate) fn utc_now() -> (u64, u64, u64, u64, u64, u64) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    utc(seconds)
}

fn utc(seconds: u64) -> (u64, u64, u64, u64, u64, u64) {
    // Days since 0000-03-01, in eras of 400 years (Howard Hinnant's civil_from_days).
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let of_day = seconds % 86_400;
    (year, month, day, of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

/// The current time as in a pod's status.
pub(crate) fn rfc3339_now() -> String {
    let (year, month, day, hour, minute, second) = utc_now();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_a_civil_date() {
        assert_eq!(utc(0), (1970, 1, 1, 0, 0, 0));
        assert_eq!(utc(951_782_399), (2000, 2, 28, 23, 59, 59));
        assert_eq!(utc(951_782_400), (2000, 2, 29, 0, 0, 0));
        assert_eq!(utc(1_795_240_604), (2026, 11, 21, 5, 56, 44));
    }

    #[test]
    fn a_pause_of_a_tenth_of_a_millisecond_is_one() {
        let shortest = (0..50)
            .map(|_| {
                let start = boottime_ns();
                pause_until(start + 100_000);
                boottime_ns() - start
            })
            .min();
        assert!(matches!(shortest, Some(100_000..150_000)), "{shortest:?}");
    }
}
