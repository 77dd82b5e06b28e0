//! A busy node: loops in one processor cgroup, the contender in another beside it, with the weight that its request gives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use rustix::process::set_parent_process_death_signal;

/// The processor controller of version 1, as hosts with such cgroups have it.
const CONTROLLER: &str = "/sys/fs/cgroup/cpu";
/// What ships: the request in it is the one that is measured.
const DAEMON_SET: &str = include_str!("../../../deploy/base/daemonset.yaml");
/// How many loops keep the processors busy.
const LOOPS: usize = 4;
/// Their weight: that of pods which ask for two processors.
const LOOPS_SHARES: u64 = 2048;

/// The cgroups and the loops; gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Busy {
    loops: Vec<Child>,
    /// As the kubelet has it for all pods: a weight of 1,024 for each processor.
    pods: PathBuf,
}

impl Busy {
    /// Whether this machine has what it takes.
    pub(crate) fn is_possible() -> bool {
        Path::new(CONTROLLER).join("cpu.shares").exists()
    }

    /// Starts the loops.
    pub(crate) fn start() -> Result<Self> {
        let pods = Path::new(CONTROLLER).join(format!("reloadlet-{}", std::process::id()));
        // From here on Drop takes away what is there.
        let mut busy = Self { loops: Vec::new(), pods: pods.clone() };
        let processors = std::thread::available_parallelism().context("can't count the processors")?;
        make(&pods, 1024 * processors.get() as u64)?;
        make(&pods.join("busy"), LOOPS_SHARES)?;
        make(&pods.join("measured"), shares(request()?))?;
        for _ in 0..LOOPS {
            let child = Command::new(std::env::current_exe().context("can't find the bench itself")?)
                .arg("burn")
                .stdin(Stdio::null())
                .spawn()
                .context("can't start a loop")?;
            let pid = child.id();
            busy.loops.push(child);
            enter(&pods.join("busy"), pid)?;
        }
        Ok(busy)
    }

    /// Puts a contender beside the loops.
    pub(crate) fn take_in(&self, pid: u32) -> Result<()> {
        enter(&self.pods.join("measured"), pid)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.loops {
            if let Err(error) = child.kill().and_then(|()| child.wait().map(drop)) {
                eprintln!("bench: can't end a loop: {error}");
            }
        }
        for directory in [self.pods.join("busy"), self.pods.join("measured"), self.pods.clone()] {
            if directory.exists()
                && let Err(error) = fs::remove_dir(&directory)
            {
                eprintln!("bench: can't remove {}: {error}", directory.display());
            }
        }
    }
}

/// Takes all the processor time that it gets, until it is killed.
pub(crate) fn burn() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("can't ask to die with the bench")?;
    loop {
        std::hint::spin_loop();
    }
}

fn make(directory: &Path, shares: u64) -> Result<()> {
    fs::create_dir(directory).with_context(|| format!("can't make {}", directory.display()))?;
    let file = directory.join("cpu.shares");
    fs::write(&file, shares.to_string()).with_context(|| format!("can't write {}", file.display()))
}

fn enter(directory: &Path, pid: u32) -> Result<()> {
    let file = directory.join("cgroup.procs");
    fs::write(&file, pid.to_string()).with_context(|| format!("can't write {}", file.display()))
}

/// The processor time that the DaemonSet asks for, in thousandths of a processor.
fn request() -> Result<u64> {
    let line = DAEMON_SET.lines().find_map(|line| line.trim().strip_prefix("cpu: ")?.strip_suffix('m'));
    let Some(request) = line.and_then(|text| text.parse().ok()) else {
        bail!("deploy/base/daemonset.yaml has no request such as `cpu: 50m`");
    };
    Ok(request)
}

/// The weight that a request gets (kubelet `pkg/kubelet/cm/helpers_linux.go`, `MilliCPUToShares`).
fn shares(request: u64) -> u64 {
    (request * 1024 / 1000).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_request_has_a_weight() {
        assert_eq!(shares(1), 2);
        assert_eq!(shares(50), 51);
        assert_eq!(shares(2000), 2048);
        assert!(request().unwrap() > 0);
    }
}
