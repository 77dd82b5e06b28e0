//! Which changes roll a workload: those of what its pods took at their start, each once.

use serde_json::{Value, json};

use cluster_suite::rolls::{config_map, object, sentinel, variable, workload};
use cluster_suite::space::{SIGNAL, Space, output, wait_until};

/// All keys of a ConfigMap as the environment, as part of a container.
fn environment(name: &str, is_optional: bool) -> Value {
    json!({"envFrom": [{"configMapRef": {"name": name, "optional": is_optional}}]})
}

/// A Deployment with one file of a ConfigMap.
fn with_file(name: &str) -> Value {
    let mounts = json!([{"name": "config", "mountPath": "/file", "subPath": "key"}]);
    let mut deployment = workload("Deployment", name, &json!({"volumeMounts": mounts}));
    deployment["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "config", "configMap": {"name": name}}]);
    deployment
}

fn immutable(name: &str, content: &str) -> Value {
    let mut map = config_map(name, content);
    map["immutable"] = json!(true);
    map
}

/// Applies objects in one call, as Helm and GitOps do.
fn apply(space: &Space, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let mut command = std::process::Command::new("sh");
    let script = "printf %s \"$1\" | kubectl -n \"$2\" apply --server-side --force-conflicts -f -";
    command.args(["-c", script, "sh", &list, space.name()]);
    output(command).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn what_pods_took_at_their_start_is_rolled_once_for_each_change_and_nothing_else_is() {
    let Some(space) = Space::new("rolls-changes") else { return };
    let rolled = ["variable", "environment", "file", "immutable", "later", "set", "daemons"];
    // A kubelet shows the old content of an immutable object as long as any pod on its node uses it. Here the old pod is gone before
    // the new one is made, and so that its kubelet is done with it then, it has a time to end in.
    let mut recreated = workload("StatefulSet", "immutable", &variable("immutable"));
    recreated["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(1);
    let mut unused = config_map("unused", "one");
    unused["data"]["other"] = json!("one");
    let named: Vec<Value> = ["variable", "environment", "file", "set", "daemons", "labelled"]
        .map(|name| config_map(name, "one"))
        .into();
    let objects = [
        named,
        sentinel("sentinel").into(),
        vec![
            unused,
            immutable("immutable", "one"),
            recreated,
            workload("Deployment", "variable", &variable("variable")),
            workload("Deployment", "environment", &environment("environment", false)),
            with_file("file"),
            workload("Deployment", "later", &environment("later", true)),
            workload("StatefulSet", "set", &variable("set")),
            workload("DaemonSet", "daemons", &variable("daemons")),
            workload("Deployment", "unused", &variable("unused")),
            workload("Deployment", "labelled", &variable("labelled")),
        ],
    ]
    .concat();
    space.start_rolled(&objects);
    space.wait_holds("later", "");

    let other = json!({"data": {"other": "two"}}).to_string();
    space.kubectl(&["patch", "configmap", "unused", "--type=merge", "-p", &other]);
    space.kubectl(&["label", "configmap", "labelled", "a=b"]);
    space.kubectl(&["annotate", "configmap", "labelled", "a=b"]);
    for name in ["variable", "environment", "file", "set", "daemons"] {
        space.change_object(name, "two");
    }
    space.kubectl(&["delete", "configmap", "immutable"]);
    space.create(&[immutable("immutable", "two"), config_map("later", "two")]);
    space.wait_revisions(&rolled, 2);
    for name in rolled {
        space.wait_holds(name, "two");
    }
    space.wait_sentinel("sentinel");
    space.assert_revisions(
        &rolled.map(|name| (name, 2)).into_iter().chain([("sentinel", 2)]).collect::<Vec<_>>(),
    );
    eprintln!("7 changes, 7 rolls; 2 changes that nobody takes at a start, 0 rolls: {:?}", space.revisions());
}

#[test]
fn what_changes_together_is_rolled_once_and_what_somebody_else_rolls_or_undoes_is_left_to_them() {
    let Some(space) = Space::new("rolls-together") else { return };
    let both = json!({"env": [
        {"name": "VALUE", "valueFrom": {"configMapKeyRef": {"name": "both", "key": "key"}}},
        {"name": "key", "valueFrom": {"secretKeyRef": {"name": "both", "key": "key"}}},
    ]});
    let mut refusing = variable("refused");
    refusing["readinessProbe"] = json!({"exec": {"command": ["sh", "-c", "[ $VALUE = one ]"]}, "periodSeconds": 1, "timeoutSeconds": 10});
    let helm = |content: &str| {
        let mut deployment = workload("Deployment", "helm", &variable("helm"));
        deployment["spec"]["template"]["metadata"]["annotations"] = json!({"checksum/config": content});
        [config_map("helm", content), deployment]
    };
    apply(&space, &helm("one"));
    let objects = [
        sentinel("sentinel").into(),
        vec![
            config_map("both", "one"),
            object("Secret", "both", "one"),
            workload("Deployment", "both", &both),
            config_map("undone", "one"),
            workload("Deployment", "undone", &variable("undone")),
            config_map("refused", "one"),
            workload("Deployment", "refused", &refusing),
        ],
    ]
    .concat();
    space.start_rolled(&objects);
    space.wait_remembered(&["helm"]);

    apply(&space, &[config_map("both", "two"), object("Secret", "both", "two")]);
    apply(&space, &helm("two"));
    space.change_object("undone", "two");
    space.wait_revisions(&["both", "helm", "undone"], 2);
    space.wait_holds("both", "twotwo");
    space.wait_holds("helm", "two");
    space.wait_holds("undone", "two");
    space.wait_step("undone", "Done");
    space.kubectl(&["rollout", "undo", "deployment/undone"]);
    // In the midst of a roll.
    space.change_object("refused", "two");
    space.wait_step("refused", "Rolling");
    space.kubectl(&["rollout", "undo", "deployment/refused"]);
    space.wait_step("refused", "Undone");
    space.wait_available();

    space.wait_sentinel("sentinel");
    space.assert_revisions(&[("both", 2), ("helm", 2), ("undone", 2), ("refused", 2), ("sentinel", 2)]);
    let revision = |name: &str| {
        let deployment = space.get("deployment", name);
        let mark =
            deployment["spec"]["template"]["metadata"]["annotations"]["reloadlet.io/rolled"].is_string();
        (deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"].clone(), mark)
    };
    assert_eq!(revision("both"), (json!("2"), true));
    assert_eq!(revision("helm"), (json!("2"), false), "the upgrade's own revision");
    assert_eq!(revision("undone"), (json!("3"), false), "the first template once more");
    assert_eq!(revision("refused"), (json!("3"), false), "the first template once more");
    space.wait_holds("undone", "two");
    space.wait_holds("refused", "one");
    eprintln!("ConfigMap and Secret at once: 1 roll; an upgrade with its ConfigMap: 0; undone: not fought");
}

#[test]
fn a_container_that_can_be_told_is_told_at_once_and_the_other_one_is_rolled_once() {
    let Some(space) = Space::new("rolls-mixed") else { return };
    let mut mixed = workload("Deployment", "mixed", &variable("config"));
    let template = &mut mixed["spec"]["template"];
    template["metadata"]["annotations"] = json!({SIGNAL: "SIGHUP", "reloadlet.io/container": "told"});
    template["spec"]["containers"].as_array_mut().unwrap().push(cluster_suite::space::container("told"));
    template["spec"]["volumes"] = json!([{"name": "config", "configMap": {"name": "config"}}]);
    space.start_rolled(&[vec![config_map("config", "one"), mixed], sentinel("sentinel").into()].concat());
    let pods = || space.list("pods", &["--selector=app=mixed"]);
    let first = pods()[0]["metadata"]["name"].as_str().unwrap().to_owned();

    // The roll waits for this test: otherwise it would be a race.
    space.hold(true);
    space.change_object("config", "two");
    space.wait_told(&first, "told", &["hup two"]);
    space.wait_status("mixed", "wait", "held");
    space.assert_revisions(&[]);
    space.hold(false);
    space.wait_revisions(&["mixed"], 2);
    space.wait_holds("mixed", "two");
    wait_until("the first pod is gone", || pods().iter().all(|pod| pod["metadata"]["name"] != *first));
    space.wait_sentinel("sentinel");
    space.assert_revisions(&[("mixed", 2), ("sentinel", 2)]);
    eprintln!("told while its roll was held, then rolled once: {:?}", space.revisions());
}
