//! Who brings changes to processes.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use standin::{AgentOptions, AgentProcess, Interrupt, Node, sibling_binary};

use crate::fleet::{self, Target};
use crate::usage;

/// A contender at work.
#[derive(Debug)]
pub(crate) enum Running {
    Floor { child: Child, ready: Duration },
    Agent { process: AgentProcess, ready: Duration },
    Shell { leaves: Vec<PathBuf>, ready: Duration },
}

/// Starts the floor.
pub(crate) fn floor(node: &Node, fleet: &[Target]) -> Result<Running> {
    let targets = node.dir().join("floor.targets");
    std::fs::write(&targets, fleet::floor_lines(fleet)?).context("can't write the floor's targets")?;
    let begin = Instant::now();
    let mut child = Command::new(std::env::current_exe().context("can't find the bench itself")?)
        .arg("floor")
        .arg(&targets)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("can't start the floor")?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).context("can't hear from the floor")?;
    }
    // From here on it is ended by Drop.
    let running = Running::Floor { child, ready: begin.elapsed() };
    ensure!(line == "ready\n", "the floor didn't get ready");
    Ok(running)
}

/// Starts reloadlet as on a node where it never ran.
pub(crate) fn agent(node: &Node, run: usize) -> Result<Running> {
    let mut options = AgentOptions::for_node(node);
    options.state_dir = node.dir().join(format!("state-{run}"));
    options.log = node.dir().join(format!("agent-{run}.log"));
    node.write_pods_file(&options.pods_file)?;
    let binary = sibling_binary("reloadlet")?;
    let begin = Instant::now();
    let mut process = AgentProcess::start(&binary, options)?;
    process.wait_ready(Duration::from_secs(30))?;
    Ok(Running::Agent { process, ready: begin.elapsed() })
}

impl Running {
    /// From start to ready.
    pub(crate) fn ready(&self) -> Duration {
        match self {
            Self::Floor { ready, .. } | Self::Agent { ready, .. } | Self::Shell { ready, .. } => *ready,
        }
    }

    /// The process, where it is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Floor { child, .. } => Some(child.id()),
            Self::Agent { process, .. } => Some(process.pid()),
            Self::Shell { .. } => None,
        }
    }

    /// Resident memory in bytes; of all processes together.
    pub(crate) fn rss(&self) -> Result<u64> {
        match self {
            Self::Floor { child, .. } => usage::rss(child.id()),
            Self::Agent { process, .. } => usage::rss(process.pid()),
            Self::Shell { leaves, .. } => leaves.iter().map(|leaf| usage::cgroup_rss(leaf)).sum(),
        }
    }

    /// Processor time so far; of all processes together.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        match self {
            Self::Floor { child, .. } => usage::cpu(child.id()),
            Self::Agent { process, .. } => usage::cpu(process.pid()),
            Self::Shell { leaves, .. } => leaves.iter().map(|leaf| usage::cgroup_cpu(leaf)).sum(),
        }
    }

    /// How many clock ticks of processor time it takes while nothing changes; only the agent is asked.
    pub(crate) fn ticks_in(&self, time: Duration, stop: &Interrupt) -> Result<Option<u64>> {
        let Self::Agent { process, .. } = self else { return Ok(None) };
        let before = process.cpu_ticks()?;
        stop.sleep(time)?;
        Ok(Some(process.cpu_ticks()? - before))
    }

    /// Ends it. Shell loops end with their pods.
    pub(crate) fn stop(mut self) -> Result<()> {
        if let Self::Agent { process, .. } = &mut self {
            let stopped = process.terminate()?;
            ensure!(stopped.status.success(), "reloadlet ended with {}", stopped.status);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Floor { child, .. } = self
            && let Err(error) = child.kill().and_then(|()| child.wait().map(drop))
        {
            eprintln!("bench: can't end the floor: {error}");
        }
    }
}
