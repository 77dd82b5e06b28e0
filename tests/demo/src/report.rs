//! What the demo prints.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::actor::Seen;
use crate::agent_log::Reload;

/// Prints a line. A reader that has gone away is an error like others, so that everything is taken away first.
pub(crate) fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").context("nobody reads what it prints")
}

/// The head of the table.
pub(crate) fn head() -> Result<()> {
    say(&format!(
        "{:>3}  {:<32} {:<8} {:<21} {:<10} {:>7}  seen",
        "no", "generation", "pod", "process", "outcome", "sent"
    ))
}

/// One change.
pub(crate) fn line(number: u32, generation: &str, reload: &Reload, process: &str, seen: &Seen) -> Result<()> {
    let process = format!("{process} {}", reload.pids);
    let sent = micros(Duration::from_micros(reload.since_settle_us));
    let seen = match seen {
        Seen::Handled(after) => micros(*after),
        Seen::Served(_) => "served".to_owned(),
    };
    say(&format!(
        "{number:>3}  {generation:<32} {:<8} {process:<21} {:<10} {sent:>7}  {seen}",
        reload.pod, reload.outcome
    ))
}

/// `84 µs`, `1.2 ms` or `3.0 s`.
pub(crate) fn micros(duration: Duration) -> String {
    let us = duration.as_micros();
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", duration.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

/// The value below which that share of the values lies.
pub(crate) fn percentile(values: &mut [Duration], share: usize) -> Option<Duration> {
    values.sort_unstable();
    let rank = (values.len() * share).div_ceil(100).max(1);
    values.get(rank - 1).copied()
}

/// `p50 84 µs, p99 130 µs`.
pub(crate) fn quantiles(values: &mut [Duration]) -> String {
    match (percentile(values, 50), percentile(values, 99)) {
        (Some(half), Some(most)) => format!("p50 {}, p99 {}", micros(half), micros(most)),
        _ => "nothing to measure".to_owned(),
    }
}

/// The agent's own metrics that are not zero, without buckets.
pub(crate) fn metrics(text: &str) -> Result<()> {
    for line in text.lines() {
        let own = line.starts_with("reloadlet_") && !line.contains("_bucket{");
        if own && !line.ends_with(" 0") {
            say(&format!("  {line}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut values: Vec<_> = (1..=100).rev().map(Duration::from_micros).collect();
        assert_eq!(percentile(&mut values, 50), Some(Duration::from_micros(50)));
        assert_eq!(percentile(&mut values, 99), Some(Duration::from_micros(99)));
        assert_eq!(percentile(&mut values[..1], 99), Some(Duration::from_micros(1)));
        assert_eq!(percentile(&mut [], 50), None);
    }

    #[test]
    fn durations_keep_two_or_three_digits() {
        assert_eq!(micros(Duration::from_micros(84)), "84 µs");
        assert_eq!(micros(Duration::from_micros(1_240)), "1.2 ms");
        assert_eq!(micros(Duration::from_millis(3_000)), "3.0 s");
    }
}
