//! The table.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::run::{Row, Who};
use crate::shell;

/// Where it was measured.
pub(crate) fn machine() -> Result<()> {
    let cores = std::thread::available_parallelism().context("can't count the processors")?;
    let system = rustix::system::uname();
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{cores} cores ({}), Linux {}, load {} before the start",
        model.trim_start_matches(['\t', ' ', ':']),
        system.release().to_string_lossy(),
        load.split(' ').next().unwrap_or("unknown")
    );
    Ok(())
}

/// Prints it.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "\nMicroseconds from the kubelet's last step (the removal of the old generation) to the process's handler.\n"
    );
    println!(
        "{:>5} {:<15} {:>7} {:>7} {:>7} {:>7} {:>8} {:>7} {:>5} {:>5} {:>8} {:>7} {:>7} {:>5}",
        "pods",
        "contender",
        "changes",
        "p50",
        "p90",
        "p99",
        "max",
        "last",
        "lost",
        "twice",
        "RSS MiB",
        "CPU µs",
        "ready",
        "idle"
    );
    for row in rows {
        line(row);
    }
    println!(
        "\nlast: from the end of a round's last change to its last signal, worst round, ms. RSS: resident memory,\n\
         shell loops summed up. CPU: processor time a change. ready: from start to ready, ms (shell loops: all\n\
         containers one after the other). idle: clock ticks of processor time in 10 s without a change."
    );
    println!(
        "busy: a busy node. Four loops in a processor cgroup of 2,048 shares, the contender beside it with the weight of the\n\
         DaemonSet's request."
    );
    println!("With more than 1 pod, one writer changes all pods as fast as it can, again and again.");
    if shell::is_installed() {
        println!("Shell loops in 500 pods are left out: their 1,500 containers take too long.");
    } else {
        println!("Shell loops are left out: inotifywait or pgrep isn't installed.");
    }
}

fn line(row: &Row) {
    let none = || "-".to_owned();
    let samples = row.work.as_ref().map(|work| &work.samples);
    let percentile = |share| {
        samples
            .and_then(|samples| samples.percentile(share))
            .map_or_else(none, |micros| format!("{micros:.0}"))
    };
    let count = |of: fn(&crate::samples::Samples) -> usize| samples.map_or_else(none, |s| of(s).to_string());
    let last = row.work.as_ref().and_then(|work| work.last);
    let cpu = row.work.as_ref().map(|work| work.cpu_per_change);
    println!(
        "{:>5} {:<15} {:>7} {:>7} {:>7} {:>7} {:>8} {:>7} {:>5} {:>5} {:>8.1} {:>7} {:>7.0} {:>5}",
        row.pods,
        name(row),
        count(|samples| samples.changes),
        percentile(50),
        percentile(90),
        percentile(99),
        percentile(100),
        last.map_or_else(none, |last| format!("{:.1}", millis(last))),
        count(|samples| samples.lost),
        count(|samples| samples.twice),
        mebibytes(row.rss),
        cpu.map_or_else(none, |cpu| cpu.as_micros().to_string()),
        millis(row.ready),
        row.idle_ticks.map_or_else(none, |ticks| ticks.to_string()),
    );
}

fn name(row: &Row) -> &'static str {
    match (row.who, row.busy) {
        (Who::Floor, false) => "floor",
        (Who::Floor, true) => "floor, busy",
        (Who::Reloadlet, false) => "reloadlet",
        (Who::Reloadlet, true) => "reloadlet, busy",
        (Who::Shell, _) => "shell loop",
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

pub(crate) fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
}
