//! Workloads, as the controller rolls them.

use super::*;

const ASKED: &str = "reloadlet-controller may not change a workload that doesn't ask to be rolled";
const PATCHES: &str = "reloadlet-controller may do nothing to workloads but patch them";
const MUST: &str =
    "reloadlet-controller must set the template's annotation reloadlet.io/rolled, to 1 to 64 characters";
const ANNOTATION: &str =
    "reloadlet-controller may change no annotation of the template but reloadlet.io/rolled";
const TEMPLATES_METADATA: &str = "reloadlet-controller may not change the template's metadata";
const TEMPLATES_SPEC: &str = "reloadlet-controller may not change the template's spec";
const SPEC: &str = "reloadlet-controller may not change the spec";
const OWN: &str = "reloadlet-controller may change no annotation of a workload's own";
const METADATA: &str = "reloadlet-controller may not change a workload's metadata";

/// Counted by the API server in DaemonSets.
const GENERATION: &str = "deprecated.daemonset.template.generation";

const KINDS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];

pub(super) fn rolled(value: impl Into<Value>) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {"reloadlet.io/rolled": value.into()}}}}})
}

/// What a patch could change.
fn rest(space: &Space, kind: &str, name: &str) -> Value {
    let mut workload = space.get(kind, name);
    let metadata = workload["metadata"].as_object_mut().unwrap();
    for changing in ["resourceVersion", "generation", "managedFields"] {
        metadata.remove(changing);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| {
            !key.starts_with("deployment.kubernetes.io/") && !key.starts_with("deprecated.")
        });
    }
    // Its own controller writes it meanwhile.
    workload["status"] = Value::Null;
    workload
}

#[test]
fn the_controllers_account_may_mark_workloads_that_ask_to_be_rolled() {
    let Some(space) = Space::new("controller-asked") else { return };
    give_all_rights(&space);
    let reloader = |key: &str| json!({format!("{key}reloader.stakater.com/auto"): "true"});
    let rollout = |value: &str| json!({ROLLOUT: value});
    let asking = [
        ("own", rollout("true"), Value::Null),
        ("template", Value::Null, rollout("true")),
        ("before", rollout("true"), rollout("false")),
        ("in-place", rollout("in-place"), Value::Null),
        ("both", rollout("in-place,rollout"), Value::Null),
        ("reloader", reloader(""), Value::Null),
        ("reloaders-kind", Value::Null, reloader("secret.")),
    ];
    let silent = [
        ("nothing", Value::Null, Value::Null),
        ("others", json!({"example.com/rollout": "true"}), json!({"reloadlet.io/signal": "SIGHUP"})),
        ("false", rollout("false"), Value::Null),
        ("refuses", rollout("false"), rollout("true")),
        ("refuses-reloader", rollout("false"), reloader("")),
        ("mistaken", rollout("yes"), Value::Null),
    ];
    for kind in KINDS {
        let workloads = asking.iter().chain(&silent);
        space.create(
            &workloads
                .map(|(name, own, template)| workload(kind, name, own.clone(), template.clone()))
                .collect::<Vec<_>>(),
        );
        for (name, ..) in &asking {
            for value in ["0123456789abcdef", "a", &"b".repeat(64)] {
                taken(patch(&space, kind, name, &rolled(value)));
                let workload = space.get(kind, name);
                let template = &workload["spec"]["template"]["metadata"];
                assert_eq!(template["annotations"]["reloadlet.io/rolled"], *value, "{kind} {name}");
            }
        }
        for (name, ..) in &silent {
            refused(patch(&space, kind, name, &rolled("a")), ASKED);
            // Nor may it ask in the workload's place.
            let mut both = rolled("a");
            both["metadata"] = json!({"annotations": rollout("true")});
            both["spec"]["template"]["metadata"]["annotations"][ROLLOUT] = json!("true");
            refused(patch(&space, kind, name, &both), ASKED);
        }
    }
    // As the controller tries its fence on its own Deployment.
    let trial = ["patch", "deployment", "nothing", "--type=merge", "--dry-run=server", "-p"];
    let mark = rolled("fence").to_string();
    refused(as_controller(&space, &[&trial[..], &[&mark]].concat()), ASKED);
}

#[test]
fn the_controllers_account_may_change_nothing_else_of_workloads() {
    let Some(space) = Space::new("controller-fence") else { return };
    give_all_rights(&space);
    let template = |part: Value| json!({"spec": {"template": part}});
    let of_template = |key: &str, value: Value| template(json!({"metadata": {"annotations": {key: value}}}));
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "6f1e2d3c"});
    let image = json!([{"name": "app", "image": "localhost/other:test"}]);
    let tried = [
        (of_template("example.com/new", json!("x")), ANNOTATION),
        (of_template("example.com/owner", json!("x")), ANNOTATION),
        (of_template("example.com/owner", Value::Null), ANNOTATION),
        (of_template("reloadlet.io/signal", json!("SIGKILL")), ANNOTATION),
        (of_template("reloadlet.io/rolled", Value::Null), MUST),
        (of_template("reloadlet.io/rolled", json!("")), MUST),
        (of_template("reloadlet.io/rolled", json!("c".repeat(65))), MUST),
        (template(json!({"metadata": {"labels": {"a": "b"}}})), TEMPLATES_METADATA),
        (template(json!({"metadata": {"labels": {"version": null}}})), TEMPLATES_METADATA),
        (template(json!({"metadata": {"finalizers": null}})), TEMPLATES_METADATA),
        (template(json!({"metadata": {"generateName": "other-"}})), TEMPLATES_METADATA),
        (template(json!({"spec": {"containers": image}})), TEMPLATES_SPEC),
        (template(json!({"spec": {"serviceAccountName": "other"}})), TEMPLATES_SPEC),
        (template(json!({"spec": {"nodeSelector": null}})), TEMPLATES_SPEC),
        (template(json!({"spec": {"hostPID": true}})), TEMPLATES_SPEC),
        (json!({"spec": {"revisionHistoryLimit": 1}}), SPEC),
        (json!({"spec": {"minReadySeconds": null}}), SPEC),
        (json!({"metadata": {"labels": {"a": "b"}}}), METADATA),
        (json!({"metadata": {"labels": null}}), METADATA),
        (json!({"metadata": {"annotations": {"example.com/new": "x"}}}), OWN),
        (json!({"metadata": {"annotations": {"reloadlet.io/wave": null}}}), OWN),
        (json!({"metadata": {"finalizers": ["example.com/stay"]}}), METADATA),
        (json!({"metadata": {"ownerReferences": [owner]}}), METADATA),
    ];
    for kind in KINDS {
        let own = json!({ROLLOUT: "true", "reloadlet.io/wave": "1"});
        let mut workload = workload(kind, "app", own, json!({"example.com/owner": "me"}));
        workload["spec"]["template"]["metadata"]["labels"]["version"] = json!("1");
        workload["spec"]["template"]["metadata"]["finalizers"] = json!(["example.com/stay"]);
        workload["spec"]["minReadySeconds"] = json!(1);
        workload["metadata"]["labels"] = json!({"team": "a"});
        space.create(&[workload]);
        taken(patch(&space, kind, "app", &rolled("d")));
        let before = rest(&space, kind, "app");
        for (tried, sentence) in &tried {
            // Beside what is allowed, unless that is what is tried.
            let mut patched = tried.clone();
            let annotations = &mut patched["spec"]["template"]["metadata"]["annotations"];
            if annotations.get("reloadlet.io/rolled").is_none() {
                annotations["reloadlet.io/rolled"] = json!("c");
            }
            refused(patch(&space, kind, "app", &patched), sentence);
        }
        let mut counted = rolled("c");
        counted["metadata"] = json!({"annotations": {GENERATION: "99"}});
        if kind == "DaemonSet" {
            // It may be sent, and the API server doesn't take it over.
            let dry = ["patch", kind, "app", "--dry-run=server", "-o", "json", "--type=merge", "-p"];
            let said = output(as_controller(&space, &[&dry[..], &[&counted.to_string()]].concat())).unwrap();
            let said: Value = serde_json::from_str(&said).unwrap();
            assert_eq!(said["metadata"]["annotations"][GENERATION], "3");
        } else {
            refused(patch(&space, kind, "app", &counted), OWN);
            let mut scaled = rolled("c");
            scaled["spec"]["replicas"] = json!(1);
            refused(patch(&space, kind, "app", &scaled), SPEC);
            let scale = ["patch", kind, "app", "--subresource=scale", "--type=merge", "-p"];
            refused(
                as_controller(&space, &[&scale[..], &[r#"{"spec": {"replicas": 1}}"#]].concat()),
                PATCHES,
            );
        }
        let status = ["patch", kind, "app", "--subresource=status", "--type=merge", "-p"];
        let tried = r#"{"status": {"observedGeneration": 99}}"#;
        refused(as_controller(&space, &[&status[..], &[tried]].concat()), PATCHES);
        refused(as_controller(&space, &["delete", kind, "app"]), PATCHES);
        refused(as_controller(&space, &["delete", kind, "--all"]), PATCHES);
        assert_eq!(rest(&space, kind, "app"), before);
        // Others are not fenced in.
        space.kubectl(&["label", kind, "app", "a=b"]);
    }
    refused(as_controller(&space, &["create", "deployment", "new", "--image=localhost/none:test"]), PATCHES);
}
