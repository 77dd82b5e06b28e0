//! What processes use.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::ClockId;
use nix::unistd::Pid;

/// Resident memory in bytes.
pub(crate) fn rss(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path} has no VmRSS"))? * 1024)
}

/// Processor time so far, with all threads and those that ended, in nanoseconds: ticks are too coarse for one change.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid.cast_signed())).context("no processor clock")?;
    Ok(clock.now().context("can't read a processor clock")?.into())
}

/// Resident memory of all processes in a cgroup, summed up.
pub(crate) fn cgroup_rss(leaf: &Path) -> Result<u64> {
    let path = leaf.join("cgroup.procs");
    let text = std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    text.lines().map(|pid| rss(pid.parse()?)).sum()
}

/// Processor time of all processes that were ever in a cgroup.
pub(crate) fn cgroup_cpu(leaf: &Path) -> Result<Duration> {
    let path = leaf.join("cpu.stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
    let micros = line.and_then(|number| number.parse().ok());
    Ok(Duration::from_micros(micros.with_context(|| format!("{} has no usage_usec", path.display()))?))
}
