//! The pods of the demo: what changes in them, and how they show that they have seen it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use standin::{ContainerSpec, Interrupt, LogRecord, Node, Payload, Pod, PodSpec, VolumeSpec, boottime_ns};

use crate::nginx::Nginx;

/// How long a process may take to show that it has seen a change.
const SEEN: Duration = Duration::from_secs(5);
/// reloadlet leaves a younger process alone until it is that old.
const YOUNG: Duration = Duration::from_secs(3);

const FILE: &str = "app.conf";

/// A pod with one volume that changes.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) pod: Arc<Pod>,
    pub(crate) volume: String,
    nginx: Option<Nginx>,
    /// The texts that were published, in order.
    published: Vec<String>,
}

/// One change, as the node knows it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) generation: String,
    pub(crate) settled_at: u64,
    began: Instant,
}

/// How a process showed it.
#[derive(Debug)]
pub(crate) enum Seen {
    /// The workload's handler ran that long after the settle.
    Handled(Duration),
    /// nginx answered with the new text that long after the change.
    Served(Duration),
}

/// Puts the pods on the node: nginx if there is one, and a workload for each kind of volume.
pub(crate) fn start(node: &Node) -> Result<Vec<Actor>> {
    let nginx = Nginx::find()?;
    let mut specs = Vec::new();
    specs.extend(nginx.as_ref().map(|nginx| nginx.pod("web", "change 0")));
    for (name, volume, comm) in [
        ("orders", VolumeSpec::config_map("settings"), "orders-api"),
        ("gateway", VolumeSpec::secret("tls"), "gatewayd"),
        ("billing", VolumeSpec::projected("combined"), "billing-worker"),
    ] {
        let mount = volume.name.clone();
        let read = format!("/conf/{FILE}");
        let app = ContainerSpec::workload("app", &["--comm", comm, "--read", &read]).mount(&mount, "/conf");
        let spec = PodSpec::new(name).annotation("reloadlet.io/signal", "SIGHUP");
        specs.push(spec.volume(volume.key(FILE, "change 0\n")).container(app));
    }
    let volumes: Vec<String> = specs.iter().map(|spec| spec.volumes[0].name.clone()).collect();
    let pods = node.add_pods(specs).context("can't start the pods")?;
    let mut nginx = nginx;
    let actors = pods.into_iter().zip(volumes);
    Ok(actors
        .map(|(pod, volume)| Actor { pod, volume, nginx: nginx.take(), published: Vec::new() })
        .collect())
}

impl Actor {
    /// Waits until its process is up, and old enough for reloadlet to signal it.
    pub(crate) fn wait_ready(&self, stop: &Interrupt) -> Result<()> {
        match &self.nginx {
            Some(nginx) => wait_for(stop, SEEN, "an answer of nginx", || Ok(nginx.serves()))?.clear(),
            None => self.pod.wait_ready("app")?,
        }
        let pid = self.pod.container("app")?.pid;
        let started = started_at(pid)?;
        wait_for(stop, YOUNG * 2, "the age of a process", || {
            Ok((boottime_ns().saturating_sub(started) > as_ns(YOUNG)).then_some(()))
        })
    }

    /// Publishes the next text.
    pub(crate) fn change(&mut self, number: u32) -> Result<Change> {
        let text = format!("change {number}");
        let (file, content) = match &self.nginx {
            Some(nginx) => ("nginx.conf", nginx.conf(&text)),
            None => (FILE, format!("{text}\n")),
        };
        let payload = Payload::from([(file.to_owned(), content.into_bytes())]);
        let began = Instant::now();
        let written = self.pod.update(&self.volume, payload)?;
        self.published.push(text);
        match (written.generation(), written.settled_at()) {
            (Some(generation), Some(settled_at)) => {
                Ok(Change { generation: generation.to_owned(), settled_at, began })
            }
            _ => bail!("the node didn't publish a change: {written:?}"),
        }
    }

    /// Waits until the process has shown that it has seen the last change.
    pub(crate) fn wait_seen(&self, change: &Change, stop: &Interrupt) -> Result<Seen> {
        let what = format!("a sign of change {} from pod {}", self.published.len(), self.pod.name());
        if let Some(nginx) = &self.nginx {
            let wanted = self.published.last();
            wait_for(stop, SEEN, &what, || Ok(nginx.serves().filter(|text| Some(text) == wanted)))?;
            return Ok(Seen::Served(change.began.elapsed()));
        }
        let signals = wait_for(stop, SEEN, &what, || {
            let signals = self.pod.signals("app")?;
            Ok((signals.len() >= self.published.len()).then_some(signals))
        })?;
        match signals.last() {
            Some(LogRecord::Signal { at, .. }) => {
                Ok(Seen::Handled(Duration::from_nanos(at.saturating_sub(change.settled_at))))
            }
            _ => bail!("the workload of pod {} keeps no log", self.pod.name()),
        }
    }

    /// What the process itself says at the end: each change once, in order.
    pub(crate) fn check(&self) -> Result<()> {
        let name = self.pod.name();
        let wanted = self.published.len();
        if self.nginx.is_some() {
            let signals = Nginx::signals(&self.pod)?;
            ensure!(signals == wanted, "nginx in pod {name} got {signals} signals for {wanted} changes");
            return Ok(());
        }
        let read: Vec<String> = self.pod.signals("app")?.into_iter().filter_map(text_read).collect();
        ensure!(
            read == self.published,
            "the process in pod {name} read {read:?} on its signals, but published was {:?}",
            self.published
        );
        Ok(())
    }

    /// The name of its process.
    pub(crate) fn process_name(pid: &str) -> String {
        let path = PathBuf::from("/proc").join(pid).join("comm");
        std::fs::read_to_string(path).map_or_else(|_| "(gone)".to_owned(), |name| name.trim().to_owned())
    }
}

fn text_read(record: LogRecord) -> Option<String> {
    match record {
        LogRecord::Signal { read, .. } => read,
        LogRecord::Started { .. } | LogRecord::Ready { .. } => None,
    }
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// When a process was started, in nanoseconds of boot time.
fn started_at(pid: i32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    // After the name, which may hold blanks, the start time is the 20th field.
    let ticks = text.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(19)?.parse::<u64>().ok());
    let ticks = ticks.with_context(|| format!("{path} is not as expected"))?;
    Ok(ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1))
}

/// Asks until there is an answer; an error says that `what` didn't come in time.
pub(crate) fn wait_for<T>(
    stop: &Interrupt,
    limit: Duration,
    what: &str,
    ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    stop.wait_for(limit, ask)?.with_context(|| format!("{what} didn't come within {} s", limit.as_secs()))
}
