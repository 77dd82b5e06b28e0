//! A reloadlet agent as a child process.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::error::{At, Error};
use crate::http::{Response, http_get};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::testing::wait_until;

/// How old the metrics that the agent serves are at most.
const PAGE_AGE: Duration = Duration::from_secs(1);

/// How to start the agent.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// `--kubelet-root`.
    pub kubelet_root: PathBuf,
    /// `--cgroup-root`.
    pub cgroup_root: PathBuf,
    /// `--proc-root`.
    pub proc_root: PathBuf,
    /// `--pods-file`.
    pub pods_file: PathBuf,
    /// `--state-dir`; made where it is missing.
    pub state_dir: PathBuf,
    /// The file that takes the agent's output; it is appended to.
    pub log: PathBuf,
    /// `--listen`; default a free port on loopback.
    pub listen: Option<SocketAddr>,
    /// `--admin-listen`; default a free port on loopback.
    pub admin_listen: Option<SocketAddr>,
    /// A command to start the agent with, e.g. `["setpriv", "--bounding-set", "-all,+kill"]`. It must become the agent
    /// by exec.
    pub wrapper: Vec<String>,
    /// Further arguments.
    pub args: Vec<String>,
    /// Further environment variables.
    pub env: Vec<(String, String)>,
}

impl AgentOptions {
    /// What fits a node: `pods.json`, `state` and `agent.log` in its directory.
    pub fn for_node(node: &Node) -> Self {
        Self {
            kubelet_root: node.kubelet_root().to_owned(),
            cgroup_root: node.cgroup_root().to_owned(),
            proc_root: PathBuf::from("/proc"),
            pods_file: node.dir().join("pods.json"),
            state_dir: node.dir().join("state"),
            log: node.dir().join("agent.log"),
            listen: None,
            admin_listen: None,
            wrapper: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Starts the agent through another command.
    pub fn wrapper(mut self, command: &[&str]) -> Self {
        self.wrapper = command.iter().map(|part| (*part).to_owned()).collect();
        self
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How an agent ended.
#[derive(Debug, Clone, Copy)]
pub struct Stopped {
    /// Its exit status.
    pub status: ExitStatus,
    /// From the signal to its end.
    pub took: Duration,
}

/// A running agent; killed when this is dropped.
#[derive(Debug)]
pub struct AgentProcess {
    child: Child,
    listen: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
}

impl AgentProcess {
    /// Starts `<binary> agent …`. Ready it is only after [`AgentProcess::wait_ready`].
    pub fn start(binary: &Path, options: AgentOptions) -> Result<Self, Error> {
        let (first, second) = (free_port()?, free_port()?);
        let listen =
            options.listen.map_or_else(|| first.local_addr(), Ok).at("bind", Path::new("127.0.0.1:0"))?;
        let admin = options
            .admin_listen
            .map_or_else(|| second.local_addr(), Ok)
            .at("bind", Path::new("127.0.0.1:0"))?;
        drop((first, second));
        std::fs::create_dir_all(&options.state_dir).at("mkdir", &options.state_dir)?;
        let log = File::options().create(true).append(true).open(&options.log).at("open", &options.log)?;
        let errors = log.try_clone().at("open", &options.log)?;
        let mut command = match options.wrapper.split_first() {
            Some((program, args)) => {
                let mut command = Command::new(program);
                command.args(args).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        let child = command
            .arg("agent")
            .arg("--kubelet-root")
            .arg(&options.kubelet_root)
            .arg("--cgroup-root")
            .arg(&options.cgroup_root)
            .arg("--proc-root")
            .arg(&options.proc_root)
            .arg("--pods-file")
            .arg(&options.pods_file)
            .arg("--state-dir")
            .arg(&options.state_dir)
            .args(["--listen", &listen.to_string(), "--admin-listen", &admin.to_string()])
            .args(["--log-format", "json"])
            .args(&options.args)
            .envs(options.env)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .at("start", binary)?;
        Ok(Self { child, listen, admin, log: options.log })
    }

    /// Its PID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The address of `/metrics`, `/livez` and `/readyz`.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The address of `/status` and `/`.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// GET on the public address.
    pub fn get(&self, path: &str) -> Result<Response, Error> {
        http_get(self.listen, path)
    }

    /// GET on the admin address.
    pub fn get_admin(&self, path: &str) -> Result<Response, Error> {
        http_get(self.admin, path)
    }

    /// Whether `/readyz` says 200 now.
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_ok_and(|answer| answer.status == 200)
    }

    /// Waits for 200 from `/readyz`; an agent that has ended is an error with the end of its log.
    pub fn wait_ready(&mut self, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        while !self.is_ready() {
            let ended = self.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let lines = self.log_lines()?;
                let last = lines[lines.len().saturating_sub(5)..].join("\n");
                let what = match ended {
                    Some(status) => format!("a ready agent, which ended ({status}): {last}"),
                    None => format!("a ready agent: {last}"),
                };
                return Err(Error::Timeout { what, waited: timeout });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Scrapes `/metrics`. The agent reuses a page for up to a second.
    pub fn scrape(&self) -> Result<Metrics, Error> {
        Metrics::parse(&self.get("/metrics")?.body)
    }

    /// The metrics as they are now: waits until no page from before this call is reused any more.
    pub fn metrics(&self) -> Result<Metrics, Error> {
        let asked = Instant::now();
        let limit = Duration::from_secs(10);
        wait_until(limit, "a page of now", || asked.elapsed() > PAGE_AGE)?;
        self.scrape()
    }

    /// Waits until a condition on the metrics holds.
    pub fn wait_metrics(
        &self,
        timeout: Duration,
        what: &str,
        condition: impl Fn(&Metrics) -> bool,
    ) -> Result<Metrics, Error> {
        wait_until(timeout, what, || self.scrape().ok().filter(&condition))
    }

    /// `/status`.
    pub fn status(&self) -> Result<Value, Error> {
        let answer = self.get_admin("/status")?;
        serde_json::from_str(&answer.body)
            .map_err(|error| Error::Malformed { what: "/status".to_owned(), message: error.to_string() })
    }

    /// SIGKILL, and waits for its end.
    pub fn kill9(&mut self) -> Result<(), Error> {
        let path = self.proc();
        self.child.kill().at("kill", &path)?;
        self.child.wait().at("wait for", &path).map(drop)
    }

    /// SIGTERM, and waits for its end for up to 10 s.
    pub fn terminate(&mut self) -> Result<Stopped, Error> {
        let begin = Instant::now();
        self.signal(Signal::TERM)?;
        let status = wait_until(Duration::from_secs(10), "the end of the agent", || self.try_wait())?;
        Ok(Stopped { status, took: begin.elapsed() })
    }

    /// Sends a signal, e.g. STOP and CONT.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        match Pid::from_raw(self.child.id().cast_signed()) {
            Some(pid) => rustix::process::kill_process(pid, signal).at("kill", &self.proc()),
            None => Err(Error::unknown("process", "0")),
        }
    }

    /// Its exit status, if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, Error> {
        let path = self.proc();
        self.child.try_wait().at("wait for", &path)
    }

    /// Its resident memory.
    pub fn rss_bytes(&self) -> Result<u64, Error> {
        let path = self.proc().join("statm");
        let pages = field(&path, 1)?;
        Ok(pages * u64::try_from(rustix::param::page_size()).unwrap_or(4096))
    }

    /// The processor time that it has used, user and system, in clock ticks (100 a second).
    pub fn cpu_ticks(&self) -> Result<u64, Error> {
        let path = self.proc().join("stat");
        // After the name, which may hold blanks, utime and stime are the 12th and 13th field.
        Ok(field(&path, 11)? + field(&path, 12)?)
    }

    /// How many files it has open.
    pub fn open_files(&self) -> Result<usize, Error> {
        let path = self.proc().join("fd");
        Ok(std::fs::read_dir(&path).at("read", &path)?.count())
    }

    /// Its output so far (of all agents that had this log).
    pub fn log_lines(&self) -> Result<Vec<String>, Error> {
        let text = std::fs::read(&self.log).at("read", &self.log)?;
        Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
    }

    fn proc(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.child.id()))
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        if let Err(error) = self.kill9() {
            #[allow(clippy::print_stderr, reason = "a drop has no other way to tell what it left behind")]
            {
                eprintln!("standin: {error}");
            }
        }
    }
}

fn free_port() -> Result<TcpListener, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).at("bind", Path::new("127.0.0.1:0"))
}

/// The n-th number of a /proc file, counted after the closing parenthesis where there is one.
fn field(path: &Path, index: usize) -> Result<u64, Error> {
    let text = std::fs::read_to_string(path).at("read", path)?;
    let rest = text.rsplit_once(") ").map_or(text.as_str(), |(_, rest)| rest);
    let number = rest.split_whitespace().nth(index).and_then(|word| word.parse().ok());
    number.ok_or_else(|| Error::Malformed { what: path.display().to_string(), message: text.clone() })
}
