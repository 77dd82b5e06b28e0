//! A stand-in node with the real agent on it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde_json::Value;
use standin::{
    AgentOptions, AgentProcess, ContainerSpec, LogRecord, Node, NodeOptions, Pod, PodSpec, VolumeSpec,
    Written, boottime_ns, payload, require_root, sibling_binary, wait_until,
};

/// How long a test waits for what must come.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const SIGNAL: &str = "reloadlet.io/signal";

/// Tests that lower one of the kernel's limits run alone.
static TURN: RwLock<()> = RwLock::new(());

/// A test's turn, here and among other processes that run this suite.
#[allow(dead_code, reason = "held until the end of the test")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>, File),
    Alone(RwLockWriteGuard<'static, ()>, File),
}

impl Turn {
    fn wait(alone: bool) -> Self {
        let file = File::create(std::env::temp_dir().join("reloadlet-node-suite.lock")).unwrap();
        if alone {
            let turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
            file.lock().unwrap();
            Self::Alone(turn, file)
        } else {
            let turn = TURN.read().unwrap_or_else(PoisonError::into_inner);
            file.lock_shared().unwrap();
            Self::Shared(turn, file)
        }
    }
}

type ChangeOptions = Box<dyn FnOnce(&Node, AgentOptions) -> AgentOptions>;

/// What a test needs.
#[derive(Default)]
pub(crate) struct Setup {
    node: NodeOptions,
    programs: Vec<&'static str>,
    alone: bool,
    options: Option<ChangeOptions>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn node(mut self, node: NodeOptions) -> Self {
        self.node = node;
        self
    }

    /// Cheap containers.
    pub(crate) fn light(mut self) -> Self {
        self.node.light = true;
        self
    }

    pub(crate) fn programs(mut self, programs: &[&'static str]) -> Self {
        self.programs = programs.to_vec();
        self
    }

    /// No other test runs meanwhile.
    pub(crate) fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Changes how the agent is started.
    pub(crate) fn agent(
        mut self,
        options: impl FnOnce(&Node, AgentOptions) -> AgentOptions + 'static,
    ) -> Self {
        self.options = Some(Box::new(options));
        self
    }

    /// A node with these pods, without an agent; nothing where it can't be had here.
    pub(crate) fn stage(self, pods: Vec<PodSpec>) -> Option<Stage> {
        if let Err(skip) = require_root(self.node.hierarchy, &self.programs) {
            eprintln!("{skip}");
            return None;
        }
        let turn = Turn::wait(self.alone);
        let node = Node::start(self.node).unwrap();
        node.add_pods(pods).unwrap();
        node.write_pods_file(&node.dir().join("pods.json")).unwrap();
        let options = AgentOptions::for_node(&node).arg("--log-level").arg("debug");
        let options = match self.options {
            Some(change) => change(&node, options),
            None => options,
        };
        Some(Stage { options, node, turn })
    }

    /// A node with these pods, and an agent that is ready.
    pub(crate) fn start(self, pods: Vec<PodSpec>) -> Option<Rig> {
        let mut rig = self.stage(pods)?.start();
        rig.agent.wait_ready(LIMIT).unwrap();
        Some(rig)
    }
}

/// A node whose agent isn't started yet.
pub(crate) struct Stage {
    pub(crate) options: AgentOptions,
    pub(crate) node: Node,
    turn: Turn,
}

impl Stage {
    pub(crate) fn start(self) -> Rig {
        let agent = start_agent(self.options.clone());
        Rig { agent, options: self.options, node: self.node, _turn: self.turn }
    }

    /// A handle without the node's turn, for tests that start agents themselves.
    pub(crate) fn pod(&self, name: &str) -> Arc<Pod> {
        self.node.pod(name).unwrap()
    }
}

pub(crate) fn start_agent(options: AgentOptions) -> AgentProcess {
    AgentProcess::start(&sibling_binary("reloadlet").unwrap(), options).unwrap()
}

/// A node and its agent, which goes first.
pub(crate) struct Rig {
    pub(crate) agent: AgentProcess,
    pub(crate) options: AgentOptions,
    pub(crate) node: Node,
    _turn: Turn,
}

impl Rig {
    pub(crate) fn pod(&self, name: &str) -> Arc<Pod> {
        self.node.pod(name).unwrap()
    }

    /// Makes the pods' annotations and status known to the agent.
    pub(crate) fn publish_pods(&self) {
        self.node.write_pods_file(&self.options.pods_file).unwrap();
    }

    pub(crate) fn add_pod(&self, spec: PodSpec) -> Arc<Pod> {
        let pod = self.node.add_pod(spec).unwrap();
        self.publish_pods();
        self.wait_known(&pod);
        pod
    }

    /// Waits until the agent has looked at every volume of a pod.
    pub(crate) fn wait_known(&self, pod: &Pod) {
        let known = || {
            let status = self.agent.status().ok()?;
            let pod = status["pods"].as_array()?.iter().find(|found| found["uid"] == pod.uid())?;
            let settled = |volume: &Value| volume["settledSecondsAgo"].is_number();
            pod["volumes"].as_array()?.iter().all(settled).then_some(())
        };
        wait_until(LIMIT, "a pod that the agent knows", known).unwrap();
    }

    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.agent.metrics().unwrap().value(name, labels)
    }

    /// How many reloads in a namespace ended so.
    pub(crate) fn outcomes(&self, namespace: &str, outcome: &str) -> f64 {
        self.metric("reloadlet_reloads_total", &[("pod_namespace", namespace), ("outcome", outcome)])
    }

    /// Waits until so many reloads in a namespace have ended so, and not one more.
    pub(crate) fn wait_outcomes(&self, namespace: &str, outcome: &str, count: u32) {
        let labels = [("pod_namespace", namespace), ("outcome", outcome)];
        let what = format!("{count} {outcome} in {namespace}");
        let found = self.agent.wait_metrics(LIMIT, &what, |metrics| {
            metrics.value("reloadlet_reloads_total", &labels) >= f64::from(count)
        });
        let found = found.unwrap_or_else(|error| panic!("{error}\n{}", self.tail()));
        assert_eq!(found.value("reloadlet_reloads_total", &labels), f64::from(count), "{what}");
    }

    pub(crate) fn wait_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name}{labels:?} = {value}");
        self.agent
            .wait_metrics(LIMIT, &what, |metrics| (metrics.value(name, labels) - value).abs() < 0.5)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.tail()));
    }

    /// All reloads of a pod that ended, as the agent logged them.
    pub(crate) fn reloads(&self, pod: &str) -> Vec<Value> {
        self.log().into_iter().filter(|line| line["message"] == "reload" && line["pod"] == pod).collect()
    }

    /// The agent's log lines that are JSON.
    pub(crate) fn log(&self) -> Vec<Value> {
        let lines = self.agent.log_lines().unwrap();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The messages of a level, e.g. `WARN`.
    pub(crate) fn messages(&self, level: &str) -> Vec<String> {
        let lines = self.log().into_iter().filter(|line| line["level"] == level);
        lines.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits for a log line: the log has a thread of its own, and comes after the metrics.
    pub(crate) fn wait_line(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_until(LIMIT, what, || self.log().into_iter().find(&wanted))
            .unwrap_or_else(|error| panic!("{error}\n{}", self.tail()))
    }

    /// Waits for a warning that says this.
    pub(crate) fn wait_warning(&self, part: &str) {
        let says = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains(part));
        self.wait_line(part, |line| line["level"] == "WARN" && says(line));
    }

    /// Waits for the reason that was given with an outcome.
    pub(crate) fn wait_reason(&self, pod: &str, outcome: &str, part: &str) {
        let line = self.wait_line(&format!("{outcome} of {pod}"), |line| {
            line["pod"] == pod && line["outcome"] == outcome
        });
        assert!(line["reason"].as_str().unwrap_or_default().contains(part), "{line}");
    }

    /// The end of the log, for a failure's message.
    pub(crate) fn tail(&self) -> String {
        let lines = self.agent.log_lines().unwrap_or_default();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Waits until the workload has caught so many signals (all its starts together), and not one more.
    pub(crate) fn signals(&self, pod: &Pod, container: &str, count: usize) -> Vec<LogRecord> {
        let signals =
            pod.wait_signals(container, count).unwrap_or_else(|error| panic!("{error}\n{}", self.tail()));
        assert_eq!(signals.len(), count, "{signals:?}\n{}", self.tail());
        signals
    }

    /// Waits until the workload was told of this content, which it reads at the signal.
    pub(crate) fn wait_told(&self, pod: &Pod, container: &str, content: &str) -> u64 {
        let told = || {
            let signals = pod.signals(container).ok()?;
            signals.into_iter().find_map(|record| match record {
                LogRecord::Signal { at, read, .. } if read.as_deref() == Some(content) => Some(at),
                LogRecord::Signal { .. } | LogRecord::Started { .. } | LogRecord::Ready { .. } => None,
            })
        };
        let what = format!("{}/{container} told of {content}", pod.name());
        wait_until(LIMIT, &what, told).unwrap_or_else(|error| panic!("{error}\n{}", self.tail()))
    }

    /// The PID namespaces' view of who was told: the agent's log names only these processes for a pod.
    pub(crate) fn assert_only_told(&self, pod: &str, pids: &[i32]) {
        let wanted: Vec<String> = pids.iter().map(i32::to_string).collect();
        for line in self.reloads(pod).iter().filter(|line| line["outcome"] == "delivered") {
            assert_eq!(line["pids"], wanted.join(","), "{line}");
        }
    }

    /// Waits until what has happened is in the journal: its thread takes a record up within 10 ms, and sleeps when it is in the file.
    pub(crate) fn wait_recorded(&self) {
        let tasks = format!("/proc/{}/task", self.agent.pid());
        let is_it = |task: &Path| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm == "journal\n");
        let task = fs::read_dir(tasks).unwrap().map(|entry| entry.unwrap().path()).find(|task| is_it(task));
        let status = task.unwrap().join("status");
        let sleeps = || {
            let status = fs::read_to_string(&status).unwrap();
            let of = |name: &str| status.lines().find(|line| line.starts_with(name)).map(str::to_owned);
            of("State:\tS").and_then(|_| of("voluntary_ctxt_switches:"))
        };
        let mut last = (sleeps(), Instant::now());
        wait_until(LIMIT, "a journal at rest", || {
            let now = sleeps();
            if now != last.0 || now.is_none() {
                last = (now, Instant::now());
            }
            last.1.elapsed() > Duration::from_millis(100)
        })
        .unwrap();
    }

    pub(crate) fn kill_and_restart(&mut self) {
        self.agent.kill9().unwrap();
        self.agent = start_agent(self.options.clone());
    }

    /// Takes the pods away under the running agent, which must not pin anything, then ends the agent.
    pub(crate) fn end(mut self) {
        for pod in self.node.pods() {
            pod.remove().unwrap_or_else(|error| panic!("{error} ({})", pod.name()));
        }
        let stopped = self.agent.terminate().unwrap();
        assert_eq!(stopped.status.code(), Some(0), "{}", self.tail());
        let errors = self.messages("ERROR");
        assert!(errors.is_empty(), "{errors:?}");
        self.end_of_node();
    }

    /// Takes everything away, where the agent has ended already.
    pub(crate) fn end_of_node(self) {
        drop(self.agent);
        self.node.shutdown().unwrap();
    }
}

/// A pod in a namespace of its own with one ConfigMap volume `conf` and one container `app` that reads it at SIGHUP.
pub(crate) fn app(name: &str) -> PodSpec {
    bare(name).annotation(SIGNAL, "SIGHUP").container(reader("app", &[]))
}

/// The same without annotation and container.
pub(crate) fn bare(name: &str) -> PodSpec {
    PodSpec::new(name).namespace(name).volume(VolumeSpec::config_map("conf").key("app.conf", "one\n"))
}

/// A workload that mounts `conf` at `/conf` and reads `app.conf` at each signal.
pub(crate) fn reader(name: &str, args: &[&str]) -> ContainerSpec {
    let mut all = vec!["--read", "/conf/app.conf"];
    all.extend(args);
    ContainerSpec::workload(name, &all).mount("conf", "/conf")
}

/// Publishes a new content of `app.conf`.
pub(crate) fn change(pod: &Pod, content: &str) -> Written {
    pod.update("conf", payload([("app.conf", &format!("{content}\n"))])).unwrap()
}

/// Start times and change times are coarse: for 20 ms it is not clear what came first. Waits longer than that.
pub(crate) fn end_doubt() {
    let end = boottime_ns() + 50_000_000;
    wait_until(LIMIT, "the end of the doubt", || boottime_ns() > end).unwrap();
}

/// A pod that runs a script in Python, with a volume in `/conf`.
pub(crate) fn script(name: &str, source: &str) -> PodSpec {
    let container = ContainerSpec::new("app", &["/usr/bin/python3", "-c", source]).mount("conf", "/conf");
    bare(name).annotation(SIGNAL, "SIGHUP").container(container)
}

/// How many lines a file in the pod's directory has.
pub(crate) fn lines(pod: &Pod, file: &str) -> usize {
    fs::read_to_string(pod.exchange_dir().join(file)).unwrap_or_default().lines().count()
}

/// Waits until it has so many.
pub(crate) fn wait_lines(rig: &Rig, pod: &Pod, file: &str, count: usize) {
    let what = format!("{count} lines in {file} of {}", pod.name());
    wait_until(LIMIT, &what, || lines(pod, file) >= count)
        .unwrap_or_else(|error| panic!("{error} ({:?})\n{}", pod.exit("app"), rig.tail()));
}

/// The PIDs of a process's children.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// A process's parent.
pub(crate) fn parent(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A kernel parameter that is put back at the end, also when this process is killed: by a shell that waits for the end
/// of its standard input.
#[derive(Debug)]
pub(crate) struct Sysctl(Child);

impl Sysctl {
    /// Sets a file below `/proc/sys`.
    pub(crate) fn set(name: &str, value: &str) -> Self {
        let path = Path::new("/proc/sys").join(name);
        let before = fs::read_to_string(&path).unwrap();
        let script = "read -r _; echo \"$1\" >\"$2\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh", before.trim()]).arg(&path).stdin(Stdio::piped()).process_group(0);
        let guard = Self(shell.spawn().unwrap());
        fs::write(&path, value).unwrap();
        guard
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        match self.0.wait() {
            Ok(status) if status.success() => {}
            other => eprintln!("a kernel parameter is not what it was: {other:?}"),
        }
    }
}
