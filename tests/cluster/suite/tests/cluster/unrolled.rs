//! Pods that nobody rolls and that are to get every change: the agents say what they don't get.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use cluster_suite::agent;
use cluster_suite::rolls::ROLLOUT;
use cluster_suite::space::{Space, app, config_map, wait_until};

/// What lies so far apart is in that order for certain, whatever is known of the clocks.
const APART: Duration = Duration::from_secs(10);
/// The reason of the Event.
const REASON: &str = "ConfigNeedsRestart";

fn levels(level: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "levels"}, "data": {"level": level},
    })
}

/// A pod that mounts `config` as a directory and has `levels` in its environment, and that nobody tells of anything.
fn pod(name: &str) -> Value {
    let mut pod = app(name, &[(ROLLOUT, "true")]);
    pod["metadata"]["labels"] = json!({"app": name});
    pod["spec"]["containers"][0]["env"] =
        json!([{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "levels", "key": "level"}}}]);
    pod
}

/// A workload whose template is such a pod.
fn of(version: &str, kind: &str, name: &str) -> Value {
    let mut template = pod(name);
    for field in ["apiVersion", "kind"] {
        template.as_object_mut().unwrap().remove(field);
    }
    template["metadata"].as_object_mut().unwrap().remove("name");
    let mut workload = json!({
        "apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": {"template": template},
    });
    if kind == "Job" {
        workload["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    } else {
        workload["spec"]["selector"] = json!({"matchLabels": {"app": name}});
    }
    workload
}

/// What is stale of the pods of this label, in the agent's status: the container, the object and why.
fn stale(space: &Space, label: &str) -> BTreeSet<[String; 3]> {
    let names: BTreeSet<String> = pods(space, label);
    let document: Value = serde_json::from_str(&agent::status(&["-o", "json"])).unwrap();
    let is_meant = |pod: &&Value| {
        pod["namespace"] == space.name() && pod["name"].as_str().is_some_and(|name| names.contains(name))
    };
    let of = |stale: &Value| {
        [&stale["container"], &stale["object"]["name"], &stale["reason"]]
            .map(|field| field.as_str().unwrap_or_default().to_owned())
    };
    let all = document["pods"].as_array().unwrap().iter().filter(is_meant);
    all.flat_map(|pod| pod["stale"].as_array().unwrap()).map(of).collect()
}

fn pods(space: &Space, label: &str) -> BTreeSet<String> {
    let pods = space.list("pods", &[&format!("--selector=app={label}")]);
    pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_pods_of_other_owners_dont_get_is_said_and_of_a_deployments_pods_it_isnt() {
    let Some(space) = Space::alone("unrolled") else { return };
    let apart = |what: &str| {
        let begun = Instant::now();
        wait_until(what, || begun.elapsed() > APART);
    };
    let operator = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "operator"}});
    space.create(&[config_map("one"), levels("low"), operator]);
    apart("nobody can take the objects for later than the start");
    let mut owned = pod("owned");
    owned["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "operator", "controller": true,
        "uid": space.get("configmap", "operator")["metadata"]["uid"],
    }]);
    let left = ["bare", "owned", "set", "once"];
    space.create(&[
        pod("bare"),
        owned,
        of("apps/v1", "ReplicaSet", "set"),
        of("batch/v1", "Job", "once"),
        of("apps/v1", "Deployment", "rolled"),
    ]);
    wait_until("each has its pod", || {
        left.iter().chain(&["rolled"]).all(|label| pods(&space, label).len() == 1)
    });
    space.wait_ready();
    space.wait_remembered(&["rolled"]);
    apart("nobody can take the start for later than a change");

    let before: BTreeSet<String> = left.iter().flat_map(|label| pods(&space, label)).collect();
    let rolled = pods(&space, "rolled");
    let patch = json!({"data": {"level": "high"}}).to_string();
    space.kubectl(&["patch", "configmap", "levels", "--type=merge", "-p", &patch]);
    space.change("two");
    let expected: BTreeSet<[String; 3]> =
        [["app", "levels", "env"], ["app", "config", "files"]].map(|one| one.map(str::to_owned)).into();
    for label in left {
        wait_until(&format!("what {label} doesn't get is known"), || stale(&space, label) == expected);
        for name in pods(&space, label) {
            let notes = wait_until(&format!("it is said of {label}"), || {
                let notes = space.events(&name, REASON);
                (notes.len() > 1).then_some(notes)
            });
            assert!(
                notes.iter().any(|note| note.contains("container app has it in its environment")),
                "{notes:?}"
            );
            assert!(
                notes.iter().any(|note| note.contains("which mounts it and isn't told of changes")),
                "{notes:?}"
            );
        }
    }
    // The one of the controller: its first pod is replaced, and nobody else says anything of it.
    space.wait_revisions(&["rolled"], 2);
    wait_until("the new pod is the only one", || {
        let now = pods(&space, "rolled");
        now.len() == 1 && now.is_disjoint(&rolled)
    });
    let after: BTreeSet<String> = left.iter().flat_map(|label| pods(&space, label)).collect();
    assert_eq!(after, before, "none of the others is replaced");
    for name in &rolled {
        assert_eq!(space.events(name, REASON), [""; 0], "{name}");
    }
    // What is started anew has what there is.
    space.kubectl(&["delete", "pod", "--selector=app=set"]);
    wait_until("another pod has what there is", || {
        pods(&space, "set").len() == 1
            && pods(&space, "set").is_disjoint(&before)
            && stale(&space, "set").is_empty()
    });
    assert_eq!(stale(&space, "bare"), expected);
}
