//! Pods, whose containers the controller will have restarted in place.

use super::*;

const ASKED: &str = "reloadlet-controller may not change a pod that doesn't ask to be restarted in place";
const PATCHES: &str = "reloadlet-controller may do nothing to pods but patch them";
const MUST: &str =
    "reloadlet-controller must set a pod's annotation reloadlet.io/restart, to 1 to 1024 characters";
const ANNOTATION: &str = "reloadlet-controller may change no annotation of a pod but reloadlet.io/restart";
const METADATA: &str = "reloadlet-controller may not change a pod's metadata";
const SPEC: &str = "reloadlet-controller may not change a pod's spec or status";
const NOBODY: &str = "nobody but reloadlet-controller may set the annotation reloadlet.io/restart";
const RESTART: &str = "reloadlet.io/restart";

fn grant(value: impl Into<Value>) -> Value {
    json!({"metadata": {"annotations": {RESTART: value.into()}}})
}

#[test]
fn of_pods_the_controllers_account_may_grant_a_restart_in_place_and_nothing_else() {
    let Some(space) = Space::new("controller-pods") else { return };
    give_all_rights(&space);
    let mut app = pod("app", json!({ROLLOUT: "in-place", "example.com/owner": "me"}));
    app["metadata"]["labels"] = json!({"team": "a"});
    space.create(&[
        app,
        pod("both", json!({ROLLOUT: "in-place,rollout"})),
        pod("rolled", json!({ROLLOUT: "true"})),
        pod("silent", Value::Null),
    ]);
    for name in ["app", "both"] {
        for value in ["a", &"b".repeat(1024)] {
            taken(patch(&space, "pod", name, &grant(value)));
            assert_eq!(space.get("pod", name)["metadata"]["annotations"][RESTART], *value);
        }
        let status = ["patch", "pod", name, "--subresource=status", "--type=merge", "-p"];
        taken(as_controller(&space, &[&status[..], &[&grant("c").to_string()]].concat()));
    }
    for name in ["rolled", "silent"] {
        refused(patch(&space, "pod", name, &grant("a")), ASKED);
    }
    let annotations = |key: &str, value: Value| json!({"metadata": {"annotations": {key: value}}});
    for (tried, sentence) in [
        (annotations("example.com/new", json!("x")), ANNOTATION),
        (annotations("example.com/owner", json!("x")), ANNOTATION),
        (annotations("example.com/owner", Value::Null), ANNOTATION),
        (annotations(ROLLOUT, Value::Null), ANNOTATION),
        (annotations(RESTART, Value::Null), MUST),
        (annotations(RESTART, json!("")), MUST),
        (annotations(RESTART, json!("c".repeat(1025))), MUST),
        (json!({"metadata": {"labels": {"a": "b"}}}), METADATA),
        (json!({"metadata": {"labels": null}}), METADATA),
        (json!({"metadata": {"finalizers": ["example.com/stay"]}}), METADATA),
        (json!({"spec": {"activeDeadlineSeconds": 1}}), SPEC),
    ] {
        // Beside what is allowed, unless that is what is tried.
        let mut patched = tried;
        let annotations = &mut patched["metadata"]["annotations"];
        if annotations.get(RESTART).is_none() {
            annotations[RESTART] = json!("d");
        }
        refused(patch(&space, "pod", "app", &patched), sentence);
    }
    let image = json!([
        {"op": "replace", "path": "/spec/containers/0/image", "value": "localhost/other:test"},
        {"op": "replace", "path": "/metadata/annotations/reloadlet.io~1restart", "value": "d"},
    ]);
    refused(as_controller(&space, &["patch", "pod", "app", "--type=json", "-p", &image.to_string()]), SPEC);
    let mut phase = grant("d");
    phase["status"] = json!({"phase": "Failed"});
    let status = ["patch", "pod", "app", "--subresource=status", "--type=merge", "-p"];
    refused(as_controller(&space, &[&status[..], &[&phase.to_string()]].concat()), SPEC);

    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "app"}});
    refused(raw(&space, &[CONTROLLER], "pods/app/eviction", &eviction), PATCHES);
    let new = pod("new", json!({ROLLOUT: "in-place", RESTART: "a"}));
    refused(raw(&space, &[CONTROLLER], "pods", &new), PATCHES);
    refused(as_controller(&space, &["delete", "pod", "app"]), PATCHES);
    refused(as_controller(&space, &["delete", "pod", "--all"]), PATCHES);
    refused(as_controller(&space, &["exec", "app", "--", "true"]), PATCHES);
    // Others are not fenced in.
    space.kubectl(&["label", "pod", "app", "a=b"]);
}

#[test]
fn nobody_but_the_controllers_account_may_grant_a_restart() {
    let Some(space) = Space::new("controller-grant") else { return };
    give_all_rights(&space);
    space.create(&[
        pod("app", json!({ROLLOUT: "in-place"})),
        pod("free", json!({ROLLOUT: "in-place"})),
        pod("silent", Value::Null),
    ]);
    taken(patch(&space, "pod", "app", &grant("a")));
    let agent = "--as=system:serviceaccount:reloadlet:reloadlet";
    space.kubectl(&[
        "create",
        "rolebinding",
        "agents",
        "--role=more",
        "--serviceaccount=reloadlet:reloadlet",
    ]);
    // The first one is who has made the cluster.
    for who in [&[][..], &[agent]] {
        for (name, value) in [("app", "b"), ("free", "b"), ("silent", "b")] {
            let value = grant(value).to_string();
            for more in [&[][..], &["--subresource=status"]] {
                let patch = ["patch", "pod", name, "--type=merge", "-p", &value];
                refused(as_anybody(&space, &[&patch[..], more, who].concat()), NOBODY);
            }
        }
        // What the scheduler does; the annotations become the pod's.
        let mut binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "free"},
            "target": {"apiVersion": "v1", "kind": "Node", "name": "elsewhere"},
        });
        binding["metadata"]["annotations"] = json!({RESTART: "a"});
        refused(raw(&space, who, "pods/free/binding", &binding), NOBODY);
        refused(raw(&space, who, "bindings", &binding), NOBODY);
    }
    assert_eq!(space.get("pod", "free")["metadata"]["annotations"][RESTART], Value::Null);
    // A copy of a pod has its annotations, and a grant names containers that it never has.
    space.create(&[pod("copy", grant("a")["metadata"]["annotations"].clone())]);
    refused(
        as_anybody(&space, &["annotate", "--overwrite", "pod", "copy", "reloadlet.io/restart=b"]),
        NOBODY,
    );
    // Whatever else is changed of a pod with a grant; and the grant can be taken away.
    space.kubectl(&["label", "pod", "app", "a=b"]);
    space.kubectl(&["annotate", "pod", "app", "example.com/new=x"]);
    space.kubectl(&["annotate", "pod", "app", "reloadlet.io/restart-"]);
    space.create(&[pod("new", json!({ROLLOUT: "in-place"}))]);
}

/// Creates by a path in the namespace.
fn raw(space: &Space, who: &[&str], path: &str, object: &Value) -> Command {
    let path = format!("/api/v1/namespaces/{}/{path}", space.name());
    let mut shell = Command::new("bash");
    let line = r#"printf %s "$1" | kubectl create --raw "$2" -f - "${@:3}""#;
    shell.args(["-c", line, "bash", &object.to_string(), &path]).args(who);
    shell
}
