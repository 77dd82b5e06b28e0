//! The shell loop: what people put beside their application, with Debian's inotify-tools and procps.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use standin::{ContainerSpec, Hierarchy, require_root, wait_until};

use crate::contender::Running;
use crate::fleet::{SIDECAR, Target};

/// How long all loops together may take to start.
const START: Duration = Duration::from_secs(30);

/// Whether the programs are there.
pub(crate) fn is_installed() -> bool {
    require_root(Hierarchy::Unified, &["inotifywait", "pgrep"]).is_ok()
}

/// It waits for the same step as the others do, the removal of the old generation, and keeps its watch meanwhile. Many
/// loops in the field do worse: they signal at the first event, or lose what comes between two calls of inotifywait.
pub(crate) fn container(name: &str, comm: &str) -> ContainerSpec {
    let script = format!(
        "inotifywait -m -e delete --format '%e %f' /conf | while read -r line; do \
         case $line in 'DELETE,ISDIR ..2'*) kill -HUP \"$(pgrep -x {comm})\" ;; esac; done"
    );
    ContainerSpec::new(name, &["/bin/sh", "-c", &script])
}

/// Starts the loops of these pods.
pub(crate) fn start(fleet: &[Target]) -> Result<Running> {
    let begin = Instant::now();
    for target in fleet {
        target.pod.start_container(SIDECAR)?;
    }
    let mut leaves = Vec::new();
    for target in fleet {
        let container = target.pod.container(SIDECAR)?;
        let ready = || std::fs::read_to_string(&container.output).map(|text| text.contains("established"));
        wait_until(START, "the watch of a shell loop", ready)?;
        if target.pod.exit(SIDECAR)?.is_some() {
            bail!("a shell loop ended: {}", std::fs::read_to_string(&container.output)?);
        }
        leaves.push(container.leaf);
    }
    Ok(Running::Shell { leaves, ready: begin.elapsed() })
}
