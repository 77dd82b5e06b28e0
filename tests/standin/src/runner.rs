//! The part of the container runtime: turns a container's spec into a plan for a shim.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::Signal;

use crate::container::{Container, Exec, Exit, START, Shim};
use crate::error::{At, Error};
use crate::pod::Pod;
use crate::shim::{Bind, Plan, Root, View};
use crate::spec::ContainerSpec;
use crate::volumes::{lock, make_dir};
use crate::{mounts, random};

/// How long a killed process may take to go.
const STOP: Duration = Duration::from_secs(30);

/// The place of one container in its pod.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) spec: ContainerSpec,
    running: Mutex<Option<Running>>,
    starts: AtomicUsize,
    /// How many records the workload's log had before the last start.
    log_before: AtomicUsize,
}

#[derive(Debug)]
struct Running {
    info: Container,
    shim: Shim,
    started_at: String,
}

/// What the pod's status says about a container.
pub(crate) struct SlotStatus {
    pub(crate) id: String,
    pub(crate) started_at: String,
    pub(crate) exit: Option<Exit>,
}

impl Slot {
    pub(crate) fn new(spec: ContainerSpec) -> Self {
        Self { spec, running: Mutex::new(None), starts: AtomicUsize::new(0), log_before: AtomicUsize::new(0) }
    }

    /// How often it was started.
    pub(crate) fn starts(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }

    /// How many records the workload's log had before the last start.
    pub(crate) fn log_before(&self) -> usize {
        self.log_before.load(Ordering::SeqCst)
    }

    pub(crate) fn info(&self) -> Result<Container, Error> {
        self.with(|running| Ok(running.info.clone()))
    }

    pub(crate) fn status(&self) -> Option<SlotStatus> {
        let status = |running: &mut Running| SlotStatus {
            id: running.info.id.clone(),
            started_at: running.started_at.clone(),
            exit: running.shim.exit(),
        };
        lock(&self.running).as_mut().map(status)
    }

    pub(crate) fn is_running(&self) -> bool {
        lock(&self.running).as_mut().is_some_and(|running| running.shim.exit().is_none())
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        lock(&self.running).as_mut().and_then(|running| running.shim.exit())
    }

    pub(crate) fn kill(&self, signal: Signal) -> Result<(), Error> {
        self.with(|running| running.shim.kill(running.info.pid, signal))
    }

    /// Waits without the lock, so that another thread can kill meanwhile.
    pub(crate) fn wait_started(&self, timeout: Duration) -> Result<(), Error> {
        let what = format!("the start of container {}", self.spec.name);
        let started = || match self.with(|running| running.shim.wait_started(Duration::ZERO)) {
            Err(Error::Timeout { .. }) => None,
            other => Some(other),
        };
        crate::wait_until(timeout, &what, started)?
    }

    /// Waits without the lock, so that another thread can kill meanwhile.
    pub(crate) fn wait_exit(&self, timeout: Duration) -> Result<Exit, Error> {
        let what = format!("the end of container {}", self.spec.name);
        self.info()?;
        crate::wait_until(timeout, &what, || self.exit())
    }

    /// Kills it, where it runs, and waits for its end.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        let mut place = lock(&self.running);
        let Some(running) = place.as_mut() else { return Ok(()) };
        running.shim.kill(running.info.pid, Signal::KILL)?;
        match running.shim.wait_exit(STOP) {
            Ok(_) | Err(Error::Start { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn with<T>(&self, action: impl FnOnce(&mut Running) -> Result<T, Error>) -> Result<T, Error> {
        match lock(&self.running).as_mut() {
            Some(running) => action(running),
            None => Err(Error::unknown("started container", &self.spec.name)),
        }
    }
}

impl Pod {
    /// A pause process is needed for a shared PID namespace; else light pods and CRI-O go without.
    pub(crate) fn needs_sandbox(&self) -> bool {
        self.spec.share_process_namespace || !(self.node.light() || self.node.cgroups().drops_infra())
    }

    pub(crate) fn start_sandbox(&self) -> Result<(), Error> {
        if self.needs_sandbox() {
            return self.run(&self.sandbox).map(drop);
        }
        if self.node.cgroups().drops_infra() {
            let path = format!("{}/crio-{}", self.cgroup, random::container_id());
            self.node.cgroups().create(&path)?;
        }
        Ok(())
    }

    pub(crate) fn run(&self, slot: &Slot) -> Result<Container, Error> {
        let mut place = lock(&slot.running);
        if place.as_mut().is_some_and(|running| running.shim.exit().is_none()) {
            return Err(Error::Start {
                container: slot.spec.name.clone(),
                message: "it is running".to_owned(),
            });
        }
        *place = None;
        let is_sandbox = std::ptr::eq(slot, &self.sandbox);
        let start = slot.starts();
        let id = random::container_id();
        let leaf = format!("{}/{}", self.cgroup, self.node.cgroups().leaf(&id));
        let cgroup = match self.node.cgroups().inner() {
            Some(inner) => format!("{leaf}/{inner}"),
            None => leaf.clone(),
        };
        self.node.cgroups().create(&cgroup)?;
        let mut remove = self.node.cgroups().dirs(&cgroup);
        if cgroup != leaf {
            remove.extend(self.node.cgroups().dirs(&leaf));
        }
        let sandbox_pid = (self.spec.share_process_namespace && !is_sandbox)
            .then(|| self.sandbox.info().map(|sandbox| sandbox.pid))
            .transpose()?;
        let output = self.exchange_dir().join(format!("{}-{start}.out", slot.spec.name));
        let plan = Plan {
            cgroups: self.node.cgroups().dirs(&cgroup),
            remove,
            join_pid_ns: sandbox_pid,
            view: View::New(Root {
                staging: self.node.staging(),
                light: self.node.light() || is_sandbox,
                workload: self.node.workload().to_owned(),
                pod_dir: self.exchange_dir().to_owned(),
                binds: if is_sandbox { Vec::new() } else { self.binds(&slot.spec)? },
            }),
            command: slot.spec.command.clone(),
            arg0: is_sandbox.then(|| "/pause".to_owned()),
            env: environment(&slot.spec.env),
            user: slot.spec.user,
            output: output.clone(),
            init_delay_ms: u64::try_from(slot.spec.init_delay.as_millis()).unwrap_or(u64::MAX),
            sweep: sandbox_pid.is_some(),
        };
        let log = if is_sandbox { Vec::new() } else { self.log(&slot.spec.name)? };
        slot.log_before.store(log.len(), Ordering::SeqCst);
        let mut shim = Shim::spawn(self.node.shim(), &slot.spec.name, &plan)?;
        let pid = shim.wait_pid()?;
        if slot.spec.init_delay.is_zero() {
            shim.wait_started(START)?;
        }
        let info = Container {
            name: slot.spec.name.clone(),
            id,
            pid,
            leaf: self.node.cgroups().dirs(&cgroup).swap_remove(0),
            cgroup,
            log: self.log_path(&slot.spec.name),
            output,
        };
        slot.starts.fetch_add(1, Ordering::SeqCst);
        *place = Some(Running { info: info.clone(), shim, started_at: crate::clock::rfc3339_now() });
        Ok(info)
    }

    pub(crate) fn run_in(&self, slot: &Slot, command: Vec<String>) -> Result<Exec, Error> {
        let container = slot.info()?;
        let output = self.exchange_dir().join(format!("exec-{}.out", random::log_name()));
        let plan = Plan {
            cgroups: self.node.cgroups().dirs(&container.cgroup),
            remove: Vec::new(),
            join_pid_ns: Some(container.pid),
            view: View::Of(container.pid),
            command,
            arg0: None,
            env: environment(&slot.spec.env),
            user: slot.spec.user,
            output: output.clone(),
            init_delay_ms: 0,
            sweep: false,
        };
        let mut shim = Shim::spawn(self.node.shim(), &container.name, &plan)?;
        let pid = shim.wait_pid()?;
        shim.wait_started(START)?;
        Ok(Exec { shim, pid, output })
    }

    /// The pod's own mounts of a container, in the order of a real one.
    fn binds(&self, spec: &ContainerSpec) -> Result<Vec<Bind>, Error> {
        let mut binds = Vec::new();
        for (index, mount) in spec.mounts.iter().enumerate() {
            let dir = self.volume_dir(&mount.volume)?;
            let source = match &mount.sub_path {
                Some(key) => self.prepare_sub_path(&dir, &mount.volume, &spec.name, index, key)?,
                None => dir,
            };
            binds.push(Bind { source, target: PathBuf::from(&mount.path), read_only: true });
        }
        if !self.node.light() {
            let source = self.dir().join("etc-hosts");
            binds.push(Bind { source, target: PathBuf::from("/etc/hosts"), read_only: false });
        }
        let dir = self.dir().join("containers").join(&spec.name);
        make_dir(&dir, 0o750)?;
        let log = dir.join(random::log_name());
        fs::write(&log, b"").at("write", &log)?;
        rustix::fs::chmod(&log, Mode::from_raw_mode(0o666)).at("chmod", &log)?;
        binds.push(Bind { source: log, target: PathBuf::from("/dev/termination-log"), read_only: false });
        Ok(binds)
    }

    /// Binds what the key is now (in the generation's directory) to `volume-subpaths/<volume>/<container>/<index>`.
    fn prepare_sub_path(
        &self,
        volume_dir: &Path,
        volume: &str,
        container: &str,
        index: usize,
        key: &str,
    ) -> Result<PathBuf, Error> {
        let link = volume_dir.join(key);
        let file = fs::canonicalize(&link).at("resolve", &link)?;
        let dir = self.dir().join("volume-subpaths").join(volume).join(container);
        make_dir(&dir, 0o750)?;
        let target = dir.join(index.to_string());
        if mounts::is_mount_point(&target)? {
            mounts::unmount(&target)?;
        } else if file.is_dir() {
            make_dir(&target, 0o750)?;
        } else {
            fs::write(&target, b"").at("write", &target)?;
        }
        mounts::bind(&file, &target)?;
        Ok(target)
    }
}

fn environment(own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([(
        "PATH".to_owned(),
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
    )]);
    env.extend(own.clone());
    env
}
