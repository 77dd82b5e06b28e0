//! A running container: its processes, its cgroup leaf and its shim.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};

use crate::error::{At, Error};
use crate::shim::Plan;

/// How long a start may take on a busy machine.
pub(crate) const START: Duration = Duration::from_secs(30);

/// What a running container is, as the host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its container ID: 64 hex digits.
    pub id: String,
    /// The host PID of its first process.
    pub pid: i32,
    /// The directory of the cgroup that holds its processes (in the first of the node's hierarchies).
    pub leaf: PathBuf,
    /// The cgroup's path as `/proc/<pid>/cgroup` has it.
    pub cgroup: String,
    /// The workload's log on the host (`/pod/<name>.log` in the container).
    pub log: PathBuf,
    /// What the container writes to its standard output and error, on the host.
    pub output: PathBuf,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A process that was put into a container from outside, as `kubectl exec` does. It is killed when this is dropped.
#[derive(Debug)]
pub struct Exec {
    pub(crate) shim: Shim,
    pub(crate) pid: i32,
    pub(crate) output: PathBuf,
}

impl Exec {
    /// Its host PID.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its standard output and error, on the host.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// Waits for its end.
    pub fn wait(&mut self, timeout: Duration) -> Result<Exit, Error> {
        self.shim.wait_exit(timeout)
    }

    /// Kills it and waits for its end.
    pub fn kill(mut self) -> Result<Exit, Error> {
        self.shim.kill(self.pid, Signal::KILL)?;
        self.shim.wait_exit(Duration::from_secs(10))
    }
}

/// The node's end of a shim.
#[derive(Debug)]
pub(crate) struct Shim {
    container: String,
    child: Child,
    /// Closed when this is dropped: the shim then kills its process.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    buffer: Vec<u8>,
    pid: Option<i32>,
    started: bool,
    failure: Option<String>,
    exit: Option<Exit>,
}

impl Shim {
    pub(crate) fn spawn(binary: &Path, container: &str, plan: &Plan) -> Result<Self, Error> {
        let text = serde_json::to_string(plan)
            .map_err(|error| Error::Malformed { what: "a plan".to_owned(), message: error.to_string() })?;
        let mut child = Command::new(binary)
            .args(["shim", &text])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .at("start", binary)?;
        let stdin = child.stdin.take();
        let Some(stdout) = child.stdout.take() else {
            return Err(Error::unknown("pipe", "stdout"));
        };
        let container = container.to_owned();
        Ok(Self {
            container,
            child,
            stdin,
            stdout,
            buffer: Vec::new(),
            pid: None,
            started: false,
            failure: None,
            exit: None,
        })
    }

    /// The host PID of its process.
    pub(crate) fn wait_pid(&mut self) -> Result<i32, Error> {
        self.wait(START, "its first process", |shim| shim.pid)
    }

    /// Waits until the process has become the program. With a timeout of zero it tells whether that is so.
    pub(crate) fn wait_started(&mut self, timeout: Duration) -> Result<(), Error> {
        self.wait(timeout, "its start", |shim| shim.started.then_some(()))
    }

    pub(crate) fn wait_exit(&mut self, timeout: Duration) -> Result<Exit, Error> {
        self.wait(timeout, "its end", |shim| shim.exit)
    }

    /// The process's end, if it is known by now.
    pub(crate) fn exit(&mut self) -> Option<Exit> {
        // An error here is an end of the shim, which the next waiting call reports.
        while self.exit.is_none() && matches!(self.read(Duration::ZERO), Ok(true)) {}
        self.exit
    }

    pub(crate) fn kill(&mut self, pid: i32, signal: Signal) -> Result<(), Error> {
        if self.exit().is_some() {
            return Ok(());
        }
        let path = PathBuf::from(format!("/proc/{pid}"));
        match Pid::from_raw(pid).map(|pid| rustix::process::kill_process(pid, signal)) {
            Some(Err(rustix::io::Errno::SRCH)) | Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(Error::io("kill", &path, error)),
            None => Err(Error::unknown("process", "0")),
        }
    }

    fn wait<T>(
        &mut self,
        timeout: Duration,
        what: &str,
        ready: impl Fn(&Self) -> Option<T>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(value) = ready(self) {
                return Ok(value);
            }
            let ended = self.exit.map(|exit| format!("it ended ({exit:?})"));
            if let Some(message) = self.failure.clone().or(ended) {
                return Err(Error::Start { container: self.container.clone(), message });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.read(left)? && left.is_zero() {
                let what = format!("{what} (container {})", self.container);
                return Err(Error::Timeout { what, waited: timeout });
            }
        }
    }

    /// Reads what there is; false when nothing came in time.
    fn read(&mut self, timeout: Duration) -> Result<bool, Error> {
        let path = Path::new("the shim's pipe");
        let wait = Timespec::try_from(timeout).ok();
        let mut fds = [PollFd::new(&self.stdout, PollFlags::IN)];
        match poll(&mut fds, wait.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(Error::io("poll", path, error)),
        }
        let mut chunk = [0; 512];
        let count = self.stdout.read(&mut chunk).at("read", path)?;
        if count == 0 {
            if self.exit.is_none() && self.failure.is_none() {
                self.failure = Some("its shim died".to_owned());
            }
            return Ok(false);
        }
        self.buffer.extend_from_slice(&chunk[..count]);
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            self.line(String::from_utf8_lossy(&line).trim());
        }
        Ok(true)
    }

    fn line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "pid" => self.pid = rest.parse().ok(),
            "started" => self.started = true,
            "exited" => self.exit = rest.parse().ok().map(Exit::Code),
            "signaled" => self.exit = rest.parse().ok().map(Exit::Signal),
            _ => self.failure = Some(rest.to_owned()),
        }
        // These are a shim's last words; it must not stay a zombie until the pod is dropped.
        if (self.exit.is_some() || self.failure.is_some())
            && let Err(error) = self.child.wait()
        {
            self.failure = Some(error.to_string());
        }
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        // The shim kills its process when its standard input ends, removes the cgroup leaf and exits.
        drop(self.stdin.take());
        if let Err(error) = self.child.wait() {
            self.failure = Some(error.to_string());
        }
    }
}
