//! One pod: its directories, volumes and containers. Every method takes `&self`, from any thread.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::Signal;

use crate::atomic_writer::{AtomicWriter, Payload, WriteOptions, Written};
use crate::container::{Container, Exec, Exit};
use crate::error::{At, Error};
use crate::node::Shared;
use crate::runner::Slot;
use crate::spec::{ContainerKind, ContainerSpec, PodSpec};
use crate::testing::wait_until;
use crate::volumes::{Volume, lock, make_dir, missing_is_fine};
use crate::workload_log::{LogRecord, read_log};
use crate::{mounts, random};

/// How long the waiting methods wait.
const WAIT: Duration = Duration::from_secs(30);

/// A pod of a [`crate::Node`].
#[derive(Debug)]
pub struct Pod {
    pub(crate) node: Arc<Shared>,
    pub(crate) spec: PodSpec,
    uid: String,
    /// `<kubelet root>/pods/<uid>`.
    dir: PathBuf,
    /// The host directory that the containers see as `/pod`.
    exchange: PathBuf,
    pub(crate) cgroup: String,
    annotations: Mutex<BTreeMap<String, String>>,
    /// What the status says of containers instead of that they are started and ready.
    phases: Mutex<BTreeMap<String, (bool, bool)>>,
    volumes: BTreeMap<String, Volume>,
    pub(crate) slots: BTreeMap<String, Slot>,
    pub(crate) sandbox: Slot,
    removed: AtomicBool,
}

impl Pod {
    pub(crate) fn new(node: Arc<Shared>, spec: PodSpec) -> Self {
        let uid = spec.uid.clone().unwrap_or_else(random::uid);
        let dir = node.kubelet_root().join("pods").join(&uid);
        let volumes = spec
            .volumes
            .iter()
            .map(|volume| (volume.name.clone(), Volume::new(&dir, volume.clone())))
            .collect();
        let slots = spec.containers.iter().map(|one| (one.name.clone(), Slot::new(one.clone()))).collect();
        let pause = ContainerSpec::new("POD", &["/workload", "--pause"]);
        Self {
            exchange: node.dir().join("exchange").join(&uid),
            cgroup: node.cgroups().pod(&uid, spec.qos),
            annotations: Mutex::new(spec.annotations.clone()),
            phases: Mutex::default(),
            volumes,
            slots,
            sandbox: Slot::new(pause),
            removed: AtomicBool::new(false),
            node,
            spec,
            uid,
            dir,
        }
    }

    /// Cgroup, directories, volumes, sandbox, containers: the kubelet's order.
    pub(crate) fn set_up(&self) -> Result<(), Error> {
        self.node.cgroups().create(&self.cgroup)?;
        for dir in [self.dir.clone(), self.dir.join("volumes"), self.dir.join("plugins")] {
            make_dir(&dir, 0o750)?;
        }
        make_dir(&self.exchange, 0o777)?;
        rustix::fs::chmod(&self.exchange, Mode::from_raw_mode(0o777)).at("chmod", &self.exchange)?;
        for volume in self.volumes.values().filter(|volume| volume.spec.make) {
            volume.make(&volume.spec.payload, Duration::ZERO)?;
        }
        let hosts = self.dir.join("etc-hosts");
        fs::write(&hosts, "127.0.0.1\tlocalhost\n").at("write", &hosts)?;
        if !self.spec.start {
            return Ok(());
        }
        self.start_sandbox()?;
        for container in self.spec.containers.iter().filter(|container| container.start) {
            self.start_container(&container.name)?;
            if container.kind == ContainerKind::Init {
                self.wait_exit(&container.name)?;
            }
        }
        Ok(())
    }

    /// The pod's name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The pod's namespace.
    pub fn namespace(&self) -> &str {
        &self.spec.namespace
    }

    /// The pod's UID.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// `<kubelet root>/pods/<uid>`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The host directory that the pod's containers see as `/pod`.
    pub fn exchange_dir(&self) -> &Path {
        &self.exchange
    }

    /// The pod's cgroup directory (in the first of the node's hierarchies).
    pub fn cgroup_dir(&self) -> PathBuf {
        self.node.cgroups().dirs(&self.cgroup).swap_remove(0)
    }

    /// Has the status say whether a container is started and ready. [`crate::Node::write_pods_file`] makes it known.
    pub fn set_phase(&self, container: &str, started: bool, ready: bool) {
        lock(&self.phases).insert(container.to_owned(), (started, ready));
    }

    /// Whether the status says that a running container is started and ready.
    pub(crate) fn phase(&self, container: &str) -> (bool, bool) {
        lock(&self.phases).get(container).copied().unwrap_or((true, true))
    }

    /// The annotations as they stand.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        lock(&self.annotations).clone()
    }

    /// Replaces the annotations. [`crate::Node::write_pods_file`] makes them known.
    pub fn set_annotations(&self, annotations: BTreeMap<String, String>) {
        *lock(&self.annotations) = annotations;
    }

    /// Sets one annotation.
    pub fn set_annotation(&self, key: &str, value: &str) {
        lock(&self.annotations).insert(key.to_owned(), value.to_owned());
    }

    /// Whether [`Pod::remove`] has come to its end.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::SeqCst)
    }

    // Volumes.

    /// The directory of a volume.
    pub fn volume_dir(&self, volume: &str) -> Result<PathBuf, Error> {
        Ok(self.volume(volume)?.dir.clone())
    }

    /// The current generation's directory name.
    pub fn generation(&self, volume: &str) -> Result<Option<String>, Error> {
        AtomicWriter::new(self.volume_dir(volume)?).generation()
    }

    /// What the kubelet does on each sync of the pod: it reads every file of the volume and finds nothing to write.
    pub fn resync(&self, volume: &str) -> Result<Written, Error> {
        self.volume(volume)?.resync()
    }

    /// Publishes a payload as the kubelet does.
    pub fn update(&self, volume: &str, payload: Payload) -> Result<Written, Error> {
        self.update_with(volume, &payload, &WriteOptions::default())
    }

    /// Publishes a payload with options. When the write fails, the volume is torn down, as the kubelet does.
    pub fn update_with(
        &self,
        volume: &str,
        payload: &Payload,
        options: &WriteOptions,
    ) -> Result<Written, Error> {
        self.volume(volume)?.update(payload, options)
    }

    /// The kubelet's teardown of one volume: running containers stay on the old object for good.
    pub fn unmake_volume(&self, volume: &str) -> Result<(), Error> {
        self.volume(volume)?.unmake()
    }

    /// Makes a volume (again): a new directory, resp. a new tmpfs, and a first publication.
    pub fn make_volume(&self, volume: &str, payload: Payload) -> Result<Written, Error> {
        self.volume(volume)?.make(&payload, Duration::ZERO)
    }

    /// As [`Pod::make_volume`], with a pause between the directory and the tmpfs (12 ms on a real node). Blocks until
    /// the volume is written; call it from a thread of its own to watch the directory meanwhile.
    pub fn make_volume_late(
        &self,
        volume: &str,
        payload: Payload,
        delay: Duration,
    ) -> Result<Written, Error> {
        self.volume(volume)?.make(&payload, delay)
    }

    fn volume(&self, name: &str) -> Result<&Volume, Error> {
        self.volumes.get(name).ok_or_else(|| Error::unknown("volume", name))
    }

    // Containers.

    /// Starts a container and returns when its program runs (with an init delay: when its first process exists).
    pub fn start_container(&self, name: &str) -> Result<Container, Error> {
        if self.needs_sandbox() && self.sandbox.info().is_err() {
            self.start_sandbox()?;
        }
        self.run(self.slot(name)?)
    }

    /// The container as it was started last; its process may have ended since.
    pub fn container(&self, name: &str) -> Result<Container, Error> {
        self.slot(name)?.info()
    }

    /// The pause process, where the pod has one.
    pub fn sandbox(&self) -> Option<Container> {
        self.sandbox.info().ok()
    }

    /// Waits until the program of a container with an init delay runs.
    pub fn wait_started(&self, name: &str) -> Result<(), Error> {
        self.slot(name)?.wait_started(WAIT)
    }

    /// Sends a signal to the container's first process.
    pub fn kill_container(&self, name: &str, signal: Signal) -> Result<(), Error> {
        self.slot(name)?.kill(signal)
    }

    /// Waits for the end of the container; its cgroup leaf is gone then.
    pub fn wait_exit(&self, name: &str) -> Result<Exit, Error> {
        self.slot(name)?.wait_exit(WAIT)
    }

    /// How the container ended, if it has.
    pub fn exit(&self, name: &str) -> Result<Option<Exit>, Error> {
        Ok(self.slot(name)?.exit())
    }

    /// Kills a container and starts it again: new ID, new leaf, new termination log.
    pub fn restart_container(&self, name: &str) -> Result<Container, Error> {
        let slot = self.slot(name)?;
        if slot.exit().is_none() {
            slot.kill(Signal::KILL)?;
            slot.wait_exit(WAIT)?;
        }
        self.start_container(name)
    }

    /// Runs a command in a container as `kubectl exec` does: in its cgroup and namespaces, with its parent outside.
    pub fn exec<S: AsRef<str>>(&self, container: &str, command: &[S]) -> Result<Exec, Error> {
        let command = command.iter().map(|part| part.as_ref().to_owned()).collect();
        self.run_in(self.slot(container)?, command)
    }

    /// Sends SIGTERM to all containers, SIGKILL after the grace period, and waits for their end. Volumes stay.
    pub fn terminate(&self, grace: Duration) -> Result<(), Error> {
        let all = || self.slots.values().filter(|slot| slot.is_running());
        for slot in all() {
            slot.kill(Signal::TERM)?;
        }
        let ended = wait_until(grace, "the end of all containers", || all().next().is_none());
        if ended.is_err() {
            self.kill_all()?;
        }
        self.sandbox.stop()
    }

    /// Kills all containers, then takes away volumes, directory and cgroup as the kubelet does: umount without force.
    /// An error ([`Error::is_busy`] where something pins a tmpfs for more than 0.1 s) leaves the rest in place; it can
    /// be called again.
    pub fn remove(&self) -> Result<(), Error> {
        self.kill_all()?;
        self.sandbox.stop()?;
        for point in mounts::below(&self.dir.join("volume-subpaths"))? {
            mounts::unmount(&point)?;
        }
        for volume in self.volumes.values() {
            volume.unmake()?;
        }
        self.node.cgroups().remove(&self.cgroup)?;
        for dir in [&self.dir, &self.exchange] {
            missing_is_fine(fs::remove_dir_all(dir)).at("remove", dir)?;
        }
        self.removed.store(true, Ordering::SeqCst);
        self.node.forget(&self.uid);
        Ok(())
    }

    fn kill_all(&self) -> Result<(), Error> {
        self.slots.values().try_for_each(Slot::stop)
    }

    // The bundled workload.

    /// The workload's log of a container.
    pub fn log(&self, container: &str) -> Result<Vec<LogRecord>, Error> {
        read_log(&self.log_path(container))
    }

    /// Where that log is on the host.
    pub fn log_path(&self, container: &str) -> PathBuf {
        self.exchange.join(format!("{container}.log"))
    }

    /// Waits until the workload in a container has installed its handlers (counted from its last start).
    pub fn wait_ready(&self, container: &str) -> Result<(), Error> {
        let before = self.slot(container)?.log_before();
        self.wait_log(container, "a ready workload", |log| {
            log.iter().skip(before).any(|record| matches!(record, LogRecord::Ready { .. })).then_some(())
        })
    }

    /// Waits until the workload in a container has caught that many signals (all its starts together).
    pub fn wait_signals(&self, container: &str, count: usize) -> Result<Vec<LogRecord>, Error> {
        self.wait_log(container, "a caught signal", |log| {
            let signals = log.into_iter().filter(|record| matches!(record, LogRecord::Signal { .. }));
            let signals: Vec<_> = signals.collect();
            (signals.len() >= count).then_some(signals)
        })
    }

    /// The signals that the workload in a container has caught so far.
    pub fn signals(&self, container: &str) -> Result<Vec<LogRecord>, Error> {
        let log = self.log(container)?;
        Ok(log.into_iter().filter(|record| matches!(record, LogRecord::Signal { .. })).collect())
    }

    fn wait_log<T>(
        &self,
        container: &str,
        what: &str,
        ready: impl Fn(Vec<LogRecord>) -> Option<T>,
    ) -> Result<T, Error> {
        let what = format!("{what} in {}/{container}", self.spec.name);
        wait_until(WAIT, &what, || self.log(container).map(&ready))
    }

    pub(crate) fn slot(&self, name: &str) -> Result<&Slot, Error> {
        self.slots.get(name).ok_or_else(|| Error::unknown("container", name))
    }
}
