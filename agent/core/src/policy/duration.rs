//! Durations as annotations write them.

use std::time::Duration;

/// The longest duration that may be written.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The units in the order in which they are written, in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A text that is no duration; says what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It isn't written as a duration.
    #[error(
        "a duration of whole numbers with the units h, m, s and ms in this order, such as 250ms, 2s or 1m30s"
    )]
    Malformed,
    /// It is longer than [`LONGEST`].
    #[error("a duration of at most 24h")]
    TooLong,
}

/// Reads `250ms`, `2s`, `1m30s`, `1h`, `0s`.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let mut units = UNITS.iter();
    let mut rest = text;
    let mut sum = Duration::ZERO;
    loop {
        let (digits, after) = split(rest, |b| b.is_ascii_digit());
        let (unit, after) = split(after, |b| b.is_ascii_alphabetic());
        // The iterator goes on where the last unit was found: a unit that is repeated or out of order is not found.
        let (_, millis) = units.find(|(known, _)| *known == unit).ok_or(DurationError::Malformed)?;
        if digits.is_empty() {
            return Err(DurationError::Malformed);
        }
        // Only digits are left, so what fails here is a number that is too large.
        let count: u64 = digits.parse().unwrap_or(u64::MAX);
        sum = sum.saturating_add(Duration::from_millis(count.saturating_mul(*millis)));
        rest = after;
        if rest.is_empty() {
            return if sum <= LONGEST { Ok(sum) } else { Err(DurationError::TooLong) };
        }
    }
}

/// Splits where the bytes stop to fit.
fn split(text: &str, fits: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|b| !fits(b)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, millis) in [
            ("0s", 0),
            ("0ms", 0),
            ("250ms", 250),
            ("2s", 2_000),
            ("1m30s", 90_000),
            ("1m90s", 150_000),
            ("1h", 3_600_000),
            ("1h2m3s4ms", 3_723_004),
            ("24h", 86_400_000),
            ("86400s", 86_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn everything_else_says_what_is_allowed() {
        for text in [
            "", " ", "5", "-1s", "+1s", "1.5s", "s", "1s2", "1s1m", "1s1s", "1ms1s", "1d", "1us", "1 s",
            "1s ", "1S", "1M", "ms", "1h-1m", "1µs", "٣s", "infinite",
        ] {
            assert_eq!(parse(text), Err(DurationError::Malformed), "{text:?}");
        }
        assert_eq!(
            DurationError::Malformed.to_string(),
            "a duration of whole numbers with the units h, m, s and ms in this order, such as 250ms, 2s or 1m30s"
        );
    }

    #[test]
    fn more_than_a_day_is_too_long_and_never_overflows() {
        for text in [
            "24h1ms",
            "25h",
            "144115188075855872h",
            "86401s",
            "99999999999999999999999h",
            "18446744073709551615h18446744073709551615m",
        ] {
            assert_eq!(parse(text), Err(DurationError::TooLong), "{text}");
        }
        assert_eq!(DurationError::TooLong.to_string(), "a duration of at most 24h");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(h in 0u64..24, m in 0u64..60, s in 0u64..60, ms in 0u64..1000, all: bool) {
            let written: String = [(h, "h"), (m, "m"), (s, "s"), (ms, "ms")]
                .into_iter()
                .filter(|(count, unit)| all || *count > 0 || *unit == "ms")
                .map(|(count, unit)| format!("{count}{unit}"))
                .collect();
            let meant = Duration::from_millis(((h * 60 + m) * 60 + s) * 1000 + ms);
            prop_assert_eq!(parse(&written), Ok(meant));
        }

        #[test]
        fn no_text_makes_it_panic(text in "([0-9]{0,25}(h|m|s|ms|.)?){0,5}") {
            prop_assert!(parse(&text).is_ok_and(|duration| duration <= LONGEST) || parse(&text).is_err());
        }
    }
}
