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
    #[error("a duration of whole numbers with the units h, m, s and ms in this order, such as 250ms, 2s or 1m30s")]
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
