//! The pods that change.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use standin::{ContainerSpec, Interrupt, Node, Pod, PodSpec, VolumeSpec, boottime_ns, payload, read_stamps};

use crate::samples::Change;

/// The container that is signalled.
pub(crate) const APP: &str = "app";
/// The container of the shell loop, where there is one.
pub(crate) const SIDECAR: &str = "reloader";
/// reloadlet leaves younger processes alone until they are that old; a start time is exact to 10 ms.
const YOUNG_NS: u64 = 3_020_000_000;
/// The size of one record of the workload.
const RECORD: u64 = 24;

/// One pod with one volume.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) pod: Arc<Pod>,
    stamps: PathBuf,
    version: u64,
}

impl Target {
    /// Publishes something new.
    pub(crate) fn change(&mut self) -> Result<Change> {
        self.version += 1;
        let written = self.pod.update("conf", payload([("app.conf", &format!("{}\n", self.version))]))?;
        match (written.renamed_at(), written.settled_at()) {
            (Some(renamed_at), Some(settled_at)) => Ok(Change { renamed_at, settled_at }),
            _ => bail!("the node didn't publish a change: {written:?}"),
        }
    }

    /// How many signals it has got so far.
    pub(crate) fn signal_count(&self) -> usize {
        let size = std::fs::metadata(&self.stamps).map_or(0, |data| data.len());
        usize::try_from(size / RECORD).unwrap_or(usize::MAX)
    }

    /// When the signals came, from the n-th on.
    pub(crate) fn signals_from(&self, first: usize) -> Result<Vec<u64>> {
        Ok(read_stamps(&self.stamps)?.into_iter().skip(first).map(|(at, _)| at).collect())
    }
}

/// How a pod is reloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// From outside.
    Plain,
    /// By a sidecar of its own, which is started later.
    WithSidecar,
}

/// Adds pods until there are so many.
pub(crate) fn grow(
    node: &Node,
    fleet: &mut Vec<Target>,
    count: usize,
    kind: Kind,
    stop: &Interrupt,
) -> Result<()> {
    stop.check()?;
    let specs = (fleet.len()..count).map(|index| spec(index, kind)).collect();
    let pods = node.add_pods(specs).with_context(|| format!("can't start {count} pods"))?;
    for pod in pods {
        pod.wait_ready(APP)?;
        let stamps = pod.exchange_dir().join("app.stamps");
        fleet.push(Target { pod, stamps, version: 0 });
    }
    wait_old(stop)
}

fn spec(index: usize, kind: Kind) -> PodSpec {
    let comm = comm(index);
    let args = ["--stamps", "/pod/app.stamps", "--comm", &comm];
    let spec = PodSpec::new(&format!("pod-{index}"))
        .annotation("reloadlet.io/signal", "SIGHUP")
        .annotation("reloadlet.io/container", APP)
        .volume(VolumeSpec::config_map("conf").key("app.conf", "0\n"))
        .container(ContainerSpec::workload(APP, &args).mount("conf", "/conf"));
    match kind {
        Kind::Plain => spec,
        Kind::WithSidecar => spec
            .share_process_namespace()
            .container(crate::shell::container(SIDECAR, &comm).mount("conf", "/conf").unstarted()),
    }
}

/// A process name that no other process of the machine has: the shell loop looks for it.
fn comm(index: usize) -> String {
    format!("b{}-{index}", std::process::id())
}

/// The last process was started just now.
fn wait_old(stop: &Interrupt) -> Result<()> {
    let old = boottime_ns() + YOUNG_NS;
    while boottime_ns() < old {
        stop.sleep(Duration::from_nanos(old.saturating_sub(boottime_ns())))?;
    }
    Ok(())
}

/// The signals that each target has got so far.
pub(crate) fn counts(fleet: &[Target]) -> Vec<usize> {
    fleet.iter().map(Target::signal_count).collect()
}

/// Directory and PID of each target, as the floor wants them.
pub(crate) fn floor_lines(fleet: &[Target]) -> Result<String> {
    let mut lines = BTreeMap::new();
    for target in fleet {
        lines.insert(target.pod.volume_dir("conf")?, target.pod.container(APP)?.pid);
    }
    Ok(lines.into_iter().map(|(dir, pid)| format!("{}\t{pid}\n", dir.display())).collect())
}
