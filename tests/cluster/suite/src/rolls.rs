//! The controller that is installed, and workloads that ask it to be rolled.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::process::Child;
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::space::{Space, kubectl, output, wait_until};

pub use controller::{Away, NAMESPACE, holder, kill, log, pods, status, status_command, wait_leading};
pub use refusal::Refusal;

mod controller;
mod refusal;

/// The annotation by which a workload asks to be rolled.
pub const ROLLOUT: &str = "reloadlet.io/rollout";
/// The mark of a roll, in a template.
pub const ROLLED: &str = "reloadlet.io/rolled";

/// Prints what it has taken at its start: a variable, all of the environment that begins alike, and a file.
const SCRIPT: &str = r#"echo "holds $VALUE$key$(cat /file 2>/dev/null)"; exec sleep 100000"#;

/// A ConfigMap with one key, `key`.
pub fn config_map(name: &str, content: &str) -> Value {
    object("ConfigMap", name, content)
}

/// A ConfigMap or Secret with one key, `key`.
pub fn object(kind: &str, name: &str, content: &str) -> Value {
    let data = if kind == "Secret" { "stringData" } else { "data" };
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, data: {"key": content}})
}

/// The variable `VALUE` out of a ConfigMap's `key`, as part of a container.
pub fn variable(config_map: &str) -> Value {
    let reference = json!({"name": config_map, "key": "key"});
    json!({"env": [{"name": "VALUE", "valueFrom": {"configMapKeyRef": reference}}]})
}

/// A workload with one replica that asks to be rolled a second after the last change. Its container, `app`, has these fields beside
/// its own.
pub fn workload(kind: &str, name: &str, container: &Value) -> Value {
    let labels = json!({"app": name});
    let mut app = json!({"name": "app", "image": "localhost/busybox:test", "command": ["sh", "-c", SCRIPT]});
    app.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    let mut workload = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "annotations": {ROLLOUT: "true", "reloadlet.io/debounce": "1s"}},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [app]},
            },
        },
    });
    if kind == "StatefulSet" {
        workload["spec"]["serviceName"] = json!(name);
    }
    workload
}

/// The same Deployment with another annotation of its own.
#[must_use]
pub fn with(mut workload: Value, annotation: &str, value: &str) -> Value {
    workload["metadata"]["annotations"][annotation] = json!(value);
    workload
}

/// What is rolled in a namespace.
impl Space {
    /// Changes the ConfigMap of this name.
    pub fn change_object(&self, name: &str, content: &str) {
        let patch = json!({"data": {"key": content}}).to_string();
        self.kubectl(&["patch", "configmap", name, "--type=merge", "-p", &patch]);
    }

    /// Waits until all workloads have all of their pods, and those are available.
    #[track_caller]
    pub fn wait_available(&self) {
        wait_until("all workloads are available", || self.workloads().iter().all(is_available));
    }

    /// All workloads.
    pub fn workloads(&self) -> Vec<Value> {
        self.list("deployments,statefulsets,daemonsets", &[])
    }

    /// Starts these objects, and waits until the controller remembers what the pods of all workloads that it rolls hold.
    #[track_caller]
    pub fn start_rolled(&self, objects: &[Value]) {
        self.create(objects);
        self.wait_available();
        let rolled = objects.iter().filter(|object| !object["spec"]["template"].is_null());
        let names: Vec<&str> = rolled.map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
        self.wait_remembered(&names);
    }

    /// Waits until the controller remembers something of these workloads.
    #[track_caller]
    pub fn wait_remembered(&self, names: &[&str]) {
        wait_until(&format!("the controller remembers {names:?}"), || {
            let known = self.remembered();
            names.iter().all(|name| known.contains_key(*name))
        });
    }

    /// What the controller remembers of this namespace's workloads, each with its Secret.
    pub fn remembered(&self) -> BTreeMap<String, (String, Value)> {
        let secrets = kubectl(["-n", NAMESPACE, "get", "secrets", "-o", "json"]);
        let secrets: Value = serde_json::from_str(&secrets).unwrap();
        let mut all = BTreeMap::new();
        for secret in secrets["items"].as_array().unwrap() {
            let name = secret["metadata"]["name"].as_str().unwrap();
            if !name.starts_with("reloadlet-controller-state-") {
                continue;
            }
            let shard: Value =
                serde_json::from_slice(&base64(secret["data"]["data"].as_str().unwrap())).unwrap();
            for entry in shard["records"].as_array().unwrap() {
                if entry["namespace"] == self.name() {
                    let workload = entry["name"].as_str().unwrap().to_owned();
                    all.insert(workload, (name.to_owned(), entry["record"].clone()));
                }
            }
        }
        all
    }

    /// How far the last roll of a workload is, by what the controller remembers.
    #[track_caller]
    pub fn step(&self, name: &str) -> String {
        let (_, record) = self.remembered().remove(name).unwrap();
        let step = &record["step"];
        let with_roll = || step.as_object().unwrap().keys().next().unwrap().as_str();
        step.as_str().unwrap_or_else(with_roll).to_owned()
    }

    /// Waits until it is so far.
    #[track_caller]
    pub fn wait_step(&self, name: &str, expected: &str) {
        wait_until(&format!("{name} is remembered as {expected}"), || self.step(name) == expected);
    }

    /// How many revisions of its template each workload has had: ReplicaSets, or ControllerRevisions.
    pub fn revisions(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for revision in self.list("replicasets,controllerrevisions", &[]) {
            // A ReplicaSet may be nobody's.
            let owner = revision["metadata"]["ownerReferences"][0]["name"].as_str();
            *counts.entry(owner.unwrap_or_default().to_owned()).or_default() += 1;
        }
        counts
    }

    /// Waits until each of these workloads has had so many revisions, and all workloads are available.
    #[track_caller]
    pub fn wait_revisions(&self, names: &[&str], count: usize) {
        wait_until(&format!("{names:?} have had {count} revisions"), || {
            let known = self.revisions();
            names.iter().all(|name| known.get(*name).is_some_and(|known| *known >= count))
        });
        wait_until(&format!("{names:?} are available"), || {
            let all = self.workloads();
            let counts = |one: &&Value| names.iter().any(|name| one["metadata"]["name"] == *name);
            all.iter().filter(counts).all(is_available)
        });
    }

    /// Checks how many revisions the templates of workloads have had: those that are named this many, all others one.
    #[track_caller]
    pub fn assert_revisions(&self, named: &[(&str, usize)]) {
        let named: BTreeMap<&str, usize> = named.iter().copied().collect();
        for (name, count) in self.revisions() {
            let expected = named.get(&*name).copied().unwrap_or(1);
            assert_eq!(count, expected, "revisions of {name}");
        }
    }

    /// Waits until all pods of a workload say that they hold this.
    #[track_caller]
    pub fn wait_holds(&self, name: &str, content: &str) {
        let (label, expected) = (format!("--selector=app={name}"), format!("holds {content}"));
        wait_until(&format!("all pods of {name} hold {content}"), || {
            let pods = self.list("pods", &[&label]);
            !pods.is_empty()
                && pods.iter().all(|pod| {
                    let pod = pod["metadata"]["name"].as_str().unwrap();
                    self.told(pod, "app").last() == Some(&expected)
                })
        });
    }

    /// Has a change of another workload rolled, after all that was changed before: what isn't rolled by then stays as it is. The
    /// workload is one that [`sentinel`] has made.
    #[track_caller]
    pub fn wait_sentinel(&self, name: &str) {
        self.change_object(name, "two");
        self.wait_revisions(&[name], 2);
        self.wait_holds(name, "two");
    }

    /// Waits until the controller that leads says this of a workload in its status.
    #[track_caller]
    pub fn wait_status(&self, name: &str, key: &str, value: &str) {
        wait_until(&format!("the status has {key} {value} of {name}"), || {
            let status = status();
            let mut all = status["workloads"].as_array().unwrap().iter();
            all.any(|one| one["namespace"] == self.name() && one["name"] == name && one[key] == value)
        });
    }

    /// How many lines of the controllers that run say this of a workload.
    pub fn said(&self, name: &str, what: &str) -> usize {
        let all = log();
        let lines = all.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_it = |line: &Value| {
            let line = if line["fields"].is_object() { &line["fields"] } else { line };
            line["what"] == what && line["workload"] == name && line["workload_namespace"] == self.name()
        };
        lines.filter(is_it).count()
    }

    /// Holds all rolls in this namespace, or lifts that.
    pub fn hold(&self, is_held: bool) {
        hold(self.name(), is_held);
    }

    /// Begins to write down each state in which the Deployments are.
    pub fn record(&self) -> Recorder {
        self.record_all("deployments")
    }

    /// Begins to write down each state in which the objects of a kind are.
    pub fn record_all(&self, kind: &str) -> Recorder {
        let mut child = self.start_kubectl(&["get", kind, "--watch", "-o", "json"]);
        let mut stdout = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text).unwrap_or_default()
        });
        Recorder { child, reader }
    }
}

/// A Deployment, and its ConfigMap, for [`Space::wait_sentinel`].
pub fn sentinel(name: &str) -> [Value; 2] {
    [config_map(name, "one"), workload("Deployment", name, &variable(name))]
}

/// Whether a workload has all of its pods of its newest template, and those are available.
pub fn is_available(workload: &Value) -> bool {
    let (spec, status) = (&workload["spec"], &workload["status"]);
    let count = |name: &str| status[name].as_u64().unwrap_or_default();
    let is_seen = count("observedGeneration") >= workload["metadata"]["generation"].as_u64().unwrap();
    let counts = match workload["kind"].as_str() {
        Some("DaemonSet") => ["desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable"],
        _ => ["replicas", "updatedReplicas", "availableReplicas"],
    }
    .map(count);
    let wanted = spec["replicas"].as_u64().unwrap_or(counts[0]);
    is_seen && counts.iter().all(|count| *count == wanted)
}

/// Holds all rolls in a namespace, `_all` for all of them, or lifts that.
pub fn hold(namespace: &str, is_held: bool) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "reloadlet-holds"}});
    // It may be there already, by another test.
    drop(output(with_input(&["-n", NAMESPACE, "create", "-f", "-"], &map)));
    let patch = json!({"data": {namespace: is_held.then_some("a test looks")}}).to_string();
    kubectl(["-n", NAMESPACE, "patch", "configmap", "reloadlet-holds", "--type=merge", "-p", &patch]);
}

/// kubectl with an object as a file.
fn with_input(args: &[&str], object: &Value) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    let script = "object=$1; shift; printf %s \"$object\" | kubectl \"$@\"";
    command.args(["-c", script, "sh", &object.to_string()]).args(args);
    command
}

/// What a watch has shown.
pub struct Recorder {
    child: Child,
    reader: JoinHandle<String>,
}

impl Recorder {
    /// All that it has shown, in its order.
    pub fn end(mut self) -> Vec<Value> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let text = self.reader.join().unwrap();
        // The last one may be cut.
        serde_json::Deserializer::from_str(&text).into_iter().map_while(Result::ok).collect()
    }
}

/// Who was rolled at a time: at each moment at which one began, all that had begun and weren't available, that one last.
pub fn rolled_together(states: &[Value]) -> Vec<Vec<String>> {
    let (mut marks, mut rolling) = (BTreeMap::new(), BTreeSet::new());
    let mut moments = Vec::new();
    for state in states {
        let name = state["metadata"]["name"].as_str().unwrap().to_owned();
        let mark = state["spec"]["template"]["metadata"]["annotations"][ROLLED].clone();
        let before = marks.insert(name.clone(), mark.clone());
        if before.as_ref().is_some_and(|before| *before != mark) {
            rolling.remove(&name);
            let others = rolling.iter().cloned();
            moments.push(others.chain([name.clone()]).collect());
            rolling.insert(name);
        } else if is_available(state) {
            rolling.remove(&name);
        } else if !mark.is_null() && before.is_none() {
            // It had begun before anybody looked.
            rolling.insert(name);
        }
    }
    moments
}

/// What a text in base64 stands for.
fn base64(text: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text.bytes().filter_map(|byte| digits.iter().position(|digit| *digit == byte)) {
        bits = (bits << 6) | u32::try_from(digit).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).unwrap());
        }
    }
    bytes
}
