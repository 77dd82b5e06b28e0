//! A namespace of a test's own, and kubectl.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a test waits for what must come.
pub const LIMIT: Duration = Duration::from_secs(150);
/// kubectl takes a tenth of a second of a processor.
const POLL: Duration = Duration::from_millis(250);

/// The annotation that opts a pod in.
pub const SIGNAL: &str = "reloadlet.io/signal";

/// Prints a line with the content of the file for each signal, and ends when it is asked to.
const SCRIPT: &str = r#"
told() { echo "$1 $(cat /config/key)"; }
trap 'told hup' HUP; trap 'told usr1' USR1; trap 'exit 0' TERM
sleep 100000 & while :; do wait; done"#;

/// Tests that disturb the agent run alone.
static TURN: RwLock<()> = RwLock::new(());

#[allow(dead_code, reason = "held until the end of the test")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
    /// Another namespace's, of the same test.
    Other,
}

/// A namespace that goes with the test.
pub struct Space {
    name: String,
    turn: Turn,
}

impl Space {
    /// A namespace, or `None` if there is no cluster.
    pub fn new(name: &str) -> Option<Self> {
        Self::make(name, || Turn::Shared(TURN.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The same, with no other test beside this one.
    pub fn alone(name: &str) -> Option<Self> {
        Self::make(name, || Turn::Alone(TURN.write().unwrap_or_else(PoisonError::into_inner)))
    }

    /// A further namespace of the same test.
    pub fn beside(&self, name: &str) -> Self {
        Self::make(name, || Turn::Other).expect("there is a cluster")
    }

    /// From here on no other test is beside this one.
    pub fn take_turn_alone(&mut self) {
        self.turn = Turn::Other;
        self.turn = Turn::Alone(TURN.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn make(name: &str, turn: impl FnOnce() -> Turn) -> Option<Self> {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let missing = if !is_set("KUBECONFIG") {
            Some("KUBECONFIG isn't set")
        } else if !is_set("CLUSTER") && !is_set("NODE") {
            Some("neither CLUSTER nor NODE is set")
        } else {
            None
        };
        if let Some(missing) = missing {
            let reason = format!("{missing}: see tests/cluster/README.md");
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
            eprintln!("skipped: {reason}");
            return None;
        }
        let turn = turn();
        let space = Self { name: format!("{name}-{}", std::process::id()), turn };
        kubectl(["create", "namespace", &space.name]);
        // Pods can't be made before it is there.
        wait_until("the namespace's account", || {
            output(kubectl_command(["get", "-n", &space.name, "serviceaccount", "default"])).is_ok()
        });
        Some(space)
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What kubectl prints in this namespace; it must succeed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        kubectl(["-n", &self.name].iter().chain(args))
    }

    /// kubectl at work, until it is killed or ends.
    pub fn start_kubectl(&self, args: &[&str]) -> Child {
        kubectl_command(["-n", &self.name].iter().chain(args))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Creates objects.
    pub fn create(&self, objects: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let mut child = kubectl_command(["-n", &self.name, "create", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(list.to_string().as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "kubectl can't create {list:#}");
    }

    /// The objects, and their pods ready.
    pub fn start(&self, objects: &[Value]) {
        self.create(objects);
        self.wait_ready();
    }

    /// Waits until there are pods and all of them are ready.
    pub fn wait_ready(&self) {
        wait_until("pods are made", || !self.list("pods", &[]).is_empty());
        self.kubectl(&["wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s"]);
    }

    /// One object.
    pub fn get(&self, kind: &str, name: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", kind, name, "-o", "json"])).unwrap()
    }

    /// All objects of a kind; the arguments are further ones for kubectl.
    pub fn list(&self, kind: &str, more: &[&str]) -> Vec<Value> {
        let text = self.kubectl(&[&["get", kind, "-o", "json"], more].concat());
        let mut list: Value = serde_json::from_str(&text).unwrap();
        std::mem::take(list["items"].as_array_mut().unwrap())
    }

    /// Changes the ConfigMap `config`.
    pub fn change(&self, content: &str) {
        let patch = json!({"data": {"key": content}}).to_string();
        self.kubectl(&["patch", "configmap", "config", "--type=merge", "-p", &patch]);
    }

    /// Sets an annotation of a pod, or takes it away.
    pub fn annotate(&self, pod: &str, key: &str, value: Option<&str>) {
        let patch = json!({"metadata": {"annotations": {key: value}}}).to_string();
        self.kubectl(&["patch", "pod", pod, "--type=merge", "-p", &patch]);
    }

    /// What a container of [`app`] was told since its start.
    pub fn told(&self, pod: &str, container: &str) -> Vec<String> {
        let command = kubectl_command(["-n", &self.name, "logs", pod, "-c", container]);
        // A container that is starting has none.
        output(command).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Waits until a container was told as often as this, and checks that it was told exactly this.
    #[track_caller]
    pub fn wait_told(&self, pod: &str, container: &str, expected: &[&str]) {
        wait_until(&format!("{pod}'s {container} is told {expected:?}"), || {
            self.told(pod, container).len() >= expected.len()
        });
        assert_eq!(self.told(pod, container), expected, "{pod}'s {container}");
    }

    /// Waits until a file in a pod has this content.
    #[track_caller]
    pub fn wait_file(&self, pod: &str, path: &str, content: &str) {
        wait_until(&format!("{path} of {pod} holds {content}"), || {
            let command = kubectl_command(["-n", &self.name, "exec", pod, "--", "cat", path]);
            output(command).is_ok_and(|text| text.trim() == content)
        });
    }

    /// The note of an Event on a pod.
    #[track_caller]
    pub fn wait_event(&self, pod: &str, reason: &str) -> String {
        wait_until(&format!("an Event {reason} on {pod}"), || self.events(pod, reason).pop())
    }

    /// The notes of all Events with this reason on a pod.
    pub fn events(&self, pod: &str, reason: &str) -> Vec<String> {
        self.list("events.events.k8s.io", &[])
            .iter()
            .filter(|event| event["reason"] == reason && event["regarding"]["name"] == pod)
            .map(|event| event["note"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let mut commands = Vec::new();
        if thread::panicking() {
            commands.push(vec!["-n", &self.name, "get", "pods,configmaps,events"]);
            commands.push(vec!["-n", "reloadlet", "logs", "daemonset/reloadlet", "--tail=200"]);
        }
        commands.push(vec!["delete", "namespace", &self.name, "--wait=false"]);
        for args in commands {
            let said = output(kubectl_command(&args)).unwrap_or_else(|error| error);
            if thread::panicking() {
                eprintln!("kubectl {}:\n{said}", args.join(" "));
            }
        }
    }
}

/// The ConfigMap `config`, with one key, `key`.
pub fn config_map(content: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"key": content}})
}

/// A container that says what it is told, with the volume `config`.
pub fn container(name: &str) -> Value {
    json!({
        "name": name,
        "image": "localhost/busybox:test",
        "command": ["sh", "-c", SCRIPT],
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    })
}

/// A pod with one such container, `app`, on the ConfigMap `config`.
pub fn app(name: &str, annotations: &[(&str, &str)]) -> Value {
    let annotations: serde_json::Map<_, _> =
        annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [container("app")],
            "volumes": [{"name": "config", "configMap": {"name": "config"}}],
        },
    })
}

/// The Secret `config`, with one key, `key`.
pub fn secret(content: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "config"}, "stringData": {"key": content},
    })
}

/// A Deployment of such a pod, with its name.
pub fn deployment(pod: &Value, replicas: usize) -> Value {
    let (mut metadata, name) = (pod["metadata"].clone(), &pod["metadata"]["name"]);
    let labels = json!({"app": name});
    metadata["labels"] = labels.clone();
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": metadata, "spec": pod["spec"]},
        },
    })
}

/// What kubectl prints; it must succeed.
#[track_caller]
pub fn kubectl<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> String {
    output(kubectl_command(args)).unwrap_or_else(|error| panic!("{error}"))
}

/// kubectl, not started.
pub fn kubectl_command<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new("kubectl");
    command.args(args);
    command
}

/// Puts the image of one of Debian's programs on the node, `localhost/<name>:test`, of that and the further files that it needs: it takes
/// a second, and few tests need one.
pub fn import_image(name: &str, files: &[&str]) {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let files = files.join(" ");
    let import =
        format!("{directory}/images/debian {name} {files} | {directory}/node ctr -n k8s.io images import -");
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &import]).stdout(Stdio::null());
    assert!(command.status().unwrap().success(), "{import}");
}

/// Runs a command on the node.
#[track_caller]
pub fn node(args: &[&str]) -> String {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../node"));
    command.args(args);
    output(command).unwrap_or_else(|error| panic!("{error}"))
}

/// What a command prints, or what went wrong.
pub fn output(mut command: Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}

/// What a condition says: whether, or what.
pub trait Condition {
    /// What it gives when it holds.
    type Value;
    /// `None` as long as it doesn't hold.
    fn value(self) -> Option<Self::Value>;
}

impl Condition for bool {
    type Value = ();
    fn value(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Condition for Option<T> {
    type Value = T;
    fn value(self) -> Option<T> {
        self
    }
}

/// Asks until a condition holds; the text says what is waited for.
#[track_caller]
pub fn wait_until<C: Condition>(what: &str, mut condition: impl FnMut() -> C) -> C::Value {
    poll(LIMIT, &mut condition)
        .unwrap_or_else(|| panic!("waited {} s in vain until: {what}", LIMIT.as_secs()))
}

/// Asks until a condition holds, or for so long. Whether it held.
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    poll(limit, &mut condition).is_some()
}

fn poll<C: Condition>(limit: Duration, condition: &mut impl FnMut() -> C) -> Option<C::Value> {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition().value() {
            return Some(value);
        }
        if begun.elapsed() >= limit {
            return None;
        }
        thread::sleep(POLL);
    }
}
