//! What reloadlet promises, and whether this run kept it.

use std::time::Duration;

use crate::run::{Row, Who};
use crate::table::{mebibytes, millis};

/// How many times the floor's median reloadlet's may be.
const RATIO: f64 = 3.0;
const P99_MICROS: f64 = 2_000.0;
/// The same where others keep the processors busy; there the floor waits for one as well.
const BUSY_RATIO: f64 = 4.0;
const BUSY_P99_RATIO: f64 = 3.0;
const LAST: Duration = Duration::from_millis(30);
const READY: Duration = Duration::from_secs(1);
/// Pods and MiB.
const MEMORY: [(usize, f64); 3] = [(110, 15.0), (500, 25.0), (1_000, 30.0)];
const IDLE: [usize; 2] = [110, 1_000];

/// One promise.
#[derive(Debug)]
pub(crate) struct Limit {
    promise: String,
    measured: String,
    /// Nothing where this run didn't measure it.
    kept: Option<bool>,
}

impl Limit {
    fn new(promise: &str, found: Option<(String, bool)>) -> Self {
        let promise = promise.to_owned();
        match found {
            Some((measured, kept)) => Self { promise, measured, kept: Some(kept) },
            None => Self { promise, measured: String::new(), kept: None },
        }
    }
}

/// Compares the rows with the promises.
pub(crate) fn judge(rows: &[Row]) -> Vec<Limit> {
    let agent = |pods| rows.iter().rfind(|row| row.who == Who::Reloadlet && row.pods == pods);
    let mut limits = vec![
        Limit::new(
            "1 pod: p50 at most 3 times the floor's, p99 at most 2 ms (best of the pairs)",
            best_pair(rows),
        ),
        Limit::new(
            "busy node: p50 at most 4 times the floor's, p99 at most 3 times (medians of the runs)",
            busy(rows),
        ),
        Limit::new(
            "500 pods at once: none lost, none twice, the last within 30 ms of the last change",
            agent(500).and_then(storm),
        ),
    ];
    for (pods, most) in MEMORY {
        let found = agent(pods).map(|row| mebibytes(row.rss));
        limits.push(Limit::new(
            &format!("{pods} pods: at most {most} MiB resident"),
            found.map(|mib| (format!("{mib:.1} MiB"), mib <= most)),
        ));
    }
    for pods in IDLE {
        let found = agent(pods).and_then(|row| row.idle_ticks);
        limits.push(Limit::new(
            &format!("{pods} pods: no clock tick in 10 idle seconds"),
            found.map(|ticks| (format!("{ticks}"), ticks == 0)),
        ));
    }
    limits.push(Limit::new(
        "1000 pods: ready within 1 s of the start",
        agent(1_000).map(|row| (format!("{:.0} ms", millis(row.ready)), row.ready <= READY)),
    ));
    limits
}

/// Floor and reloadlet took turns; the pair with the smallest ratio counts, of those with a good p99 if there are any.
fn best_pair(rows: &[Row]) -> Option<(String, bool)> {
    let of = |who, share| {
        rows.iter()
            .filter(move |row| row.pods == 1 && row.who == who && !row.busy)
            .filter_map(move |row| row.work.as_ref()?.samples.percentile(share))
    };
    let pairs = of(Who::Floor, 50).zip(of(Who::Reloadlet, 50)).zip(of(Who::Reloadlet, 99));
    let judged = pairs.map(|((floor, half), most)| (half / floor, most));
    let (ratio, most) = judged.min_by(|a, b| {
        (a.1 > P99_MICROS, a.0).partial_cmp(&(b.1 > P99_MICROS, b.0)).unwrap_or(std::cmp::Ordering::Equal)
    })?;
    Some((format!("{ratio:.2} times, p99 {most:.0} µs"), ratio <= RATIO && most <= P99_MICROS))
}

/// The medians of what the runs on a busy node came to, as times of the floor's.
fn busy(rows: &[Row]) -> Option<(String, bool)> {
    let median = |who, share| {
        let of_runs = rows.iter().filter(|row| row.who == who && row.busy);
        let mut values: Vec<f64> =
            of_runs.filter_map(|row| row.work.as_ref()?.samples.percentile(share)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let half = median(Who::Reloadlet, 50)? / median(Who::Floor, 50)?;
    let most = median(Who::Reloadlet, 99)? / median(Who::Floor, 99)?;
    Some((format!("p50 {half:.2} times, p99 {most:.2} times"), half <= BUSY_RATIO && most <= BUSY_P99_RATIO))
}

fn storm(row: &Row) -> Option<(String, bool)> {
    let work = row.work.as_ref()?;
    let (lost, twice, last) = (work.samples.lost, work.samples.twice, work.last?);
    let measured = format!("{lost} lost, {twice} twice, last after {:.1} ms", millis(last));
    Some((measured, lost == 0 && twice == 0 && last <= LAST))
}

/// Prints them; whether none is broken.
pub(crate) fn print(limits: &[Limit]) -> bool {
    println!("\nLimits:");
    for limit in limits {
        let word = match limit.kept {
            Some(true) => "pass",
            Some(false) => "FAIL",
            None => "not measured",
        };
        let measured =
            if limit.measured.is_empty() { String::new() } else { format!(": {}", limit.measured) };
        println!("  {word:<4}  {}{measured}", limit.promise);
    }
    let broken: Vec<_> = limits.iter().filter(|limit| limit.kept == Some(false)).collect();
    for limit in &broken {
        eprintln!("bench: not kept: {}: {}", limit.promise, limit.measured);
    }
    broken.is_empty()
}
