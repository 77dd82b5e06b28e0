//! The agent that is installed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::space::{kubectl, kubectl_command, node, output, wait_until};

const NAMESPACE: &str = "reloadlet";
/// Its pods; the controller's are in the same namespace.
pub const PODS: &str = "--selector=app.kubernetes.io/name=reloadlet";
/// How old the metrics that the agent serves are at most.
const PAGE_AGE: Duration = Duration::from_secs(1);

/// Its pod, the newest of them.
pub fn pod() -> Value {
    wait_until("the agent has a ready pod", || {
        let text = kubectl(["-n", NAMESPACE, "get", "pods", PODS, "-o", "json"]);
        let mut list: Value = serde_json::from_str(&text).unwrap();
        list["items"].as_array_mut().unwrap().iter_mut().map(Value::take).find(|pod| {
            pod["metadata"]["deletionTimestamp"].is_null()
                && pod["status"]["containerStatuses"][0]["ready"] == true
        })
    })
}

/// Starts it anew, and waits until it is ready.
pub fn restart() {
    kubectl(["-n", NAMESPACE, "rollout", "restart", "daemonset/reloadlet"]);
    wait_rolled_out();
}

/// Takes it away from the node, and starts it anew afterwards; waits until it is ready.
pub fn stop_while(meanwhile: impl FnOnce()) {
    let select = |system: &str| {
        let patch = json!([{
            "op": "replace",
            "path": "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/\
                     nodeSelectorTerms/0/matchExpressions/0/values/0",
            "value": system,
        }]);
        kubectl([
            "-n",
            NAMESPACE,
            "patch",
            "daemonset",
            "reloadlet",
            "--type=json",
            "-p",
            &patch.to_string(),
        ]);
    };
    select("none");
    wait_until("the agent is gone", || {
        kubectl(["-n", NAMESPACE, "get", "pods", PODS, "-o", "name"]).is_empty()
    });
    meanwhile();
    select("linux");
    wait_rolled_out();
}

/// Waits until the newest version runs everywhere.
pub fn wait_rolled_out() {
    kubectl(["-n", NAMESPACE, "rollout", "status", "daemonset/reloadlet", "--timeout=240s"]);
}

/// What its newest process has logged.
pub fn log() -> String {
    let command = kubectl_command(["-n", NAMESPACE, "logs", "daemonset/reloadlet"]);
    // None yet, while it starts.
    output(command).unwrap_or_default()
}

/// What its command `status` prints, with these further arguments.
pub fn status(arguments: &[&str]) -> String {
    let command = ["-n", NAMESPACE, "exec", "daemonset/reloadlet", "--", "/reloadlet", "status"];
    kubectl([&command, arguments].concat())
}

/// Its process on the node.
pub fn node_pid() -> String {
    node(&["pgrep", "--newest", "--full", "^/reloadlet agent "]).trim().to_owned()
}

/// The same process, as this machine numbers it.
pub fn machine_pid() -> i32 {
    let namespace = node(&["readlink", "/proc/self/ns/pid"]);
    let namespace = Path::new(namespace.trim());
    let in_node = node_pid();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .find(|pid: &i32| {
            fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|found| found == namespace)
                && fs::read_to_string(format!("/proc/{pid}/status"))
                    .is_ok_and(|text| field(&text, "NSpid").ends_with(&format!("\t{in_node}")))
        })
        .expect("the agent's process")
}

/// A line of its `/proc/<pid>/status`.
pub fn process_status(name: &str) -> String {
    field(&node(&["cat", &format!("/proc/{}/status", node_pid())]), name).to_owned()
}

/// The processor time that it has taken, in clock ticks.
pub fn cpu_ticks() -> u64 {
    let stat = node(&["cat", &format!("/proc/{}/stat", node_pid())]);
    // Its name, in parentheses, may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
    line[name.len() + 1..].trim()
}

/// Where the newest agent serves its metrics.
#[derive(Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Those of the agent that is ready now.
    pub fn now() -> Self {
        let pod = pod();
        let name = pod["metadata"]["name"].as_str().unwrap();
        Self(format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}:9847/proxy/metrics"))
    }

    /// The sum of a metric's values with these labels, such as `outcome="delivered"`. The agent reuses a page for up
    /// to a second.
    pub fn sum(&self, name: &str, labels: &[String]) -> f64 {
        kubectl(["get", "--raw", &self.0])
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }
}

/// The sum of a metric's values with these labels, of the newest agent, as they are now: no page from before this call
/// is reused any more.
pub fn metric(name: &str, labels: &[String]) -> f64 {
    let asked = Instant::now();
    wait_until("a page of now", || asked.elapsed() > PAGE_AGE);
    Metrics::now().sum(name, labels)
}
