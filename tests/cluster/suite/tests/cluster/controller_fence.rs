//! What the controller's account can do with the right to patch workloads: one annotation of the templates of those that ask
//! to be rolled. And of pods, with a right that it doesn't have: to grant a restart in place, which nobody else can.

use std::process::Command;

use serde_json::{Value, json};

use cluster_suite::space::{Space, kubectl, kubectl_command, output, wait_until};

mod full;
mod pods;
mod workloads;

/// Before the account's namespace and name.
const CONTROLLER: &str = "--as=system:serviceaccount:reloadlet:reloadlet-controller";
const POLICIES: [&str; 3] =
    ["reloadlet-controller", "reloadlet-controller-grants", "reloadlet-controller-pods"];
const ROLLOUT: &str = "reloadlet.io/rollout";

/// Gives the account of the controller that is installed every right in the namespace, so that nothing but its fence refuses
/// anything there.
fn give_all_rights(space: &Space) {
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
        wait_until("the account has the rights, and the fence is up", || {
            let said = output(as_controller(space, &["label", kind, "probe", "a=b", "--dry-run=server"]));
            said.is_err_and(|error| error.contains(" denied request: reloadlet-controller may "))
        });
    }
    wait_until("the fence around grants is up", || {
        let grant = ["annotate", "pod", "probe", "reloadlet.io/restart=a", "--dry-run=server"];
        output(as_anybody(space, &grant)).is_err()
    });
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
    let Some(_space) = Space::new("controller-types") else { return };
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
