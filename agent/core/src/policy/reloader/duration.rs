//! Durations as Go writes them.

use std::time::Duration;

/// The units of Go's durations (`time.ParseDuration`), in the order in which they are tried, in seconds.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// The duration that a text such as `1h30m` or `1.5s` stands for; one below zero is none at all.
pub(super) fn go_duration(text: &str) -> Option<Duration> {
    let is_negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let behind = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number: f64 = rest.strip_suffix(behind)?.parse().ok()?;
        let (unit, after) =
            UNITS.iter().find_map(|(unit, seconds)| Some((seconds, behind.strip_prefix(unit)?)))?;
        seconds += number * unit;
        rest = after;
    }
    // Go counts nanoseconds in 64 bits: what doesn't go into them is no duration.
    let longest = Duration::from_nanos(i64::MAX.unsigned_abs());
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= longest)?;
    Some(if is_negative { Duration::ZERO } else { duration })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (good, millis) in [
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            ("0", 0),
            ("-3ms", 0),
            ("250ms", 250),
            ("2000µs", 2),
            (".5h", 1_800_000),
            ("1.s", 1_000),
        ] {
            assert_eq!(go_duration(good), Some(Duration::from_millis(millis)), "{good}");
        }
        for bad in ["", "5", "5 minutes", "m", "1.2.3s", ".s", "5d", "1h 30m", "9999999999h", "1e3s", "infs"]
        {
            assert!(go_duration(bad).is_none(), "{bad}");
        }
    }
}
