//! What the controller's account can do with the right to patch workloads: one annotation of the templates of those that ask
//! to be rolled. And of pods, with a right that it doesn't have: to grant a restart in place, which nobody else can.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::overlays::built;
use cluster_suite::overlay::directory;
use cluster_suite::space::{Space, kubectl, kubectl_command, output, wait_until};

mod full;
mod pods;
mod workloads;

/// Before the account's namespace and name.
const CONTROLLER: &str = "--as=system:serviceaccount:reloadlet:reloadlet-controller";
const POLICIES: [&str; 3] =
    ["reloadlet-controller", "reloadlet-controller-grants", "reloadlet-controller-pods"];
const ROLLOUT: &str = "reloadlet.io/rollout";

/// The account and its fence, as the overlay has them, as long as this lives. No controller runs.
struct Fence;

impl Fence {
    /// Installs it, and gives the account every right in the namespace, so that nothing but the fence refuses anything.
    fn around(space: &Space) -> Self {
        let kinds = ["ServiceAccount", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
        let mut objects = built(&directory("controller"));
        objects.retain(|object| {
            kinds.iter().any(|kind| object["kind"] == *kind)
                && object["metadata"]["name"].as_str().unwrap().starts_with("reloadlet-controller")
        });
        assert_eq!(objects.len(), 1 + 2 * POLICIES.len());
        let fence = Self;
        apply(&objects);
        space.create(&[json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "more"},
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
        })]);
        let account = "--serviceaccount=reloadlet:reloadlet-controller";
        space.kubectl(&["create", "rolebinding", "more", "--role=more", account]);
        space.create(&[workload("Deployment", "probe", json!({}), json!({}))]);
        space.create(&[pod("probe", json!({}))]);
        for kind in ["deployment", "pod"] {
            wait_until("the fence is up", || {
                let said = output(as_controller(space, &["label", kind, "probe", "a=b", "--dry-run=server"]));
                said.is_err_and(|error| error.contains(" denied request: reloadlet-controller may "))
            });
        }
        wait_until("the fence around grants is up", || {
            let grant = ["annotate", "pod", "probe", "reloadlet.io/restart=a", "--dry-run=server"];
            output(as_anybody(space, &grant)).is_err()
        });
        fence
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        for name in POLICIES {
            for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
                if let Err(error) = output(kubectl_command(["delete", kind, name])) {
                    eprintln!("{error}");
                }
            }
        }
        let account = ["-n", "reloadlet", "delete", "serviceaccount", "reloadlet-controller"];
        if let Err(error) = output(kubectl_command(account)) {
            eprintln!("{error}");
        }
    }
}

fn apply(objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let mut child =
        kubectl_command(["apply", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "kubectl can't apply {list}");
}

/// A workload that makes no pod.
fn workload(kind: &str, name: &str, annotations: Value, of_template: Value) -> Value {
    let labels = json!({"app": name});
    let container = json!({"name": "app", "image": "localhost/none:test"});
    let mut workload = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": of_template},
                "spec": {"nodeSelector": {"example.com/a": "none"}, "containers": [container]},
            },
        },
    });
    if kind != "DaemonSet" {
        workload["spec"]["replicas"] = json!(0);
    }
    workload
}

/// A pod that no node takes.
fn pod(name: &str, annotations: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "nodeSelector": {"example.com/a": "none"},
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "app", "image": "localhost/none:test"}],
        },
    })
}

fn as_controller(space: &Space, args: &[&str]) -> Command {
    kubectl_command(["-n", space.name(), CONTROLLER].iter().chain(args))
}

fn as_anybody(space: &Space, args: &[&str]) -> Command {
    kubectl_command(["-n", space.name()].iter().chain(args))
}

/// Sends a merge patch, as the controller does it.
fn patch(space: &Space, kind: &str, name: &str, patch: &Value) -> Command {
    as_controller(space, &["patch", kind, name, "--type=merge", "-p", &patch.to_string()])
}

/// Takes what the fence refuses for it: the sentence.
#[track_caller]
fn refused(command: Command, sentence: &str) {
    let shown = format!("{command:?}");
    let said = output(command).expect_err(&format!("{shown} was taken"));
    assert!(said.trim_end().ends_with(&format!(" denied request: {sentence}")), "{said}, not {sentence}");
}

#[track_caller]
fn taken(command: Command) {
    output(command).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_controllers_fence_has_no_mistake_that_the_api_server_knows_of() {
    let Some(space) = Space::alone("controller-types") else { return };
    let _fence = Fence::around(&space);
    for name in POLICIES {
        let checked = wait_until("its expressions are checked", || {
            let policy = kubectl(["get", "validatingadmissionpolicy", name, "-o", "json"]);
            let policy: Value = serde_json::from_str(&policy).unwrap();
            let seen = policy["status"]["observedGeneration"] == policy["metadata"]["generation"];
            seen.then(|| policy["status"]["typeChecking"].clone())
        });
        assert!(checked["expressionWarnings"].as_array().is_none_or(Vec::is_empty), "{name}: {checked:#}");
    }
}
