//! Changes, and what they did.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::contender::Running;
use crate::fleet::{Target, counts};
use crate::samples::{Change, Samples};
use standin::Interrupt;

/// How long a signal may take before it counts as lost.
const LOST: Duration = Duration::from_secs(5);
/// A second signal for the last change would come soon after the first.
const AFTERMATH: Duration = Duration::from_millis(300);

/// What a contender did with changes.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) samples: Samples,
    /// From the end of the last change of a round to its last signal, in the worst round.
    pub(crate) last: Option<Duration>,
    pub(crate) cpu_per_change: Duration,
}

/// Changes one pod again and again; the next change waits for the signal of the one before.
pub(crate) fn one_by_one(
    running: &Running,
    target: &mut Target,
    count: usize,
    stop: &Interrupt,
) -> Result<Work> {
    let before = target.signal_count();
    let cpu = running.cpu()?;
    let mut changes = Vec::with_capacity(count);
    for number in 1..=count {
        stop.check()?;
        changes.push(target.change()?);
        let deadline = Instant::now() + LOST;
        // The first look comes late enough not to disturb.
        std::thread::sleep(Duration::from_millis(15));
        while target.signal_count() < before + number && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    stop.sleep(AFTERMATH)?;
    let cpu = running.cpu()?.saturating_sub(cpu);
    let mut samples = Samples::default();
    samples.add(&changes, &target.signals_from(before)?);
    Ok(Work { samples, last: None, cpu_per_change: share(cpu, count) })
}

/// Changes every pod as fast as one writer can, then waits for all signals; again and again.
pub(crate) fn at_once(
    running: &Running,
    fleet: &mut [Target],
    rounds: usize,
    stop: &Interrupt,
) -> Result<Work> {
    let before = counts(fleet);
    let cpu = running.cpu()?;
    let mut changes: Vec<Vec<Change>> = vec![Vec::with_capacity(rounds); fleet.len()];
    let mut times = Vec::with_capacity(rounds);
    for round in 1..=rounds {
        stop.check()?;
        for (target, changes) in fleet.iter_mut().zip(&mut changes) {
            changes.push(target.change()?);
        }
        let newest = || changes.iter().filter_map(|changes| changes.last());
        let begin = newest().map(|change| change.renamed_at).min().unwrap_or(0);
        let end = newest().map(|change| change.settled_at).max().unwrap_or(0);
        times.push((begin, end));
        let deadline = Instant::now() + LOST;
        let all_told = || fleet.iter().zip(&before).all(|(one, before)| one.signal_count() >= before + round);
        // Nobody looks before the signals have come: looking takes processor time.
        stop.sleep(AFTERMATH)?;
        while !all_told() && Instant::now() < deadline {
            stop.sleep(Duration::from_millis(100))?;
        }
    }
    stop.sleep(AFTERMATH)?;
    let cpu = running.cpu()?.saturating_sub(cpu);
    let mut samples = Samples::default();
    let mut signals = Vec::new();
    for ((target, before), changes) in fleet.iter().zip(&before).zip(&changes) {
        let own = target.signals_from(*before)?;
        samples.add(changes, &own);
        signals.extend(own);
    }
    let last = last(&times, &signals);
    Ok(Work { samples, last, cpu_per_change: share(cpu, rounds * fleet.len()) })
}

/// The worst round's time from its end to its last signal. A round is the times of its first and its last change.
fn last(rounds: &[(u64, u64)], signals: &[u64]) -> Option<Duration> {
    let of_round = |(index, (begin, end)): (usize, &(u64, u64))| {
        let until = rounds.get(index + 1).map_or(u64::MAX, |(begin, _)| *begin);
        let latest = signals.iter().copied().filter(|at| (*begin..until).contains(at)).max()?;
        Some(Duration::from_nanos(latest.saturating_sub(*end)))
    };
    rounds.iter().enumerate().filter_map(of_round).max()
}

fn share(cpu: Duration, changes: usize) -> Duration {
    cpu / u32::try_from(changes).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_round_counts_and_a_signal_before_the_end_is_no_delay() {
        let last = |rounds: &[(u64, u64)], signals: &[u64]| last(rounds, signals).map(|last| last.as_nanos());
        assert_eq!(last(&[(10, 20), (50, 60)], &[12, 25, 55, 63]), Some(5));
        assert_eq!(last(&[(10, 20)], &[12, 15]), Some(0));
        assert_eq!(last(&[(10, 20)], &[]), None);
    }
}
