//! Acceleration: the agent has the kubelet publish at once for pods that ask for it.

use serde_json::{Value, json};

use crate::fence::OWN;
use cluster_suite::agent;
use cluster_suite::overlay::Overlay;
use cluster_suite::space::{SIGNAL, Space, app, config_map, kubectl, wait_until};

const ACCELERATE: (&str, &str) = ("reloadlet.io/accelerate", "true");

fn nudges(result: &str) -> f64 {
    agent::metric("reloadlet_nudges_total", &[format!("result=\"{result}\"")])
}

fn observed(space: &Space, pod: &str) -> Value {
    space.get("pod", pod)["metadata"]["annotations"]["reloadlet.io/observed"].clone()
}

#[test]
fn who_asks_for_it_is_accelerated_and_told_once() {
    let Some(space) = Space::alone("accelerate") else { return };
    let _overlay = Overlay::apply("acceleration", OWN);
    space.start(&[
        config_map("one"),
        app("fast", &[(SIGNAL, "SIGHUP"), ACCELERATE]),
        app("slow", &[(SIGNAL, "SIGHUP")]),
    ]);
    let mut told = Vec::new();
    let mut nonces = Vec::new();
    for content in ["two", "three"] {
        let before = nudges("published");
        space.change(content);
        told.push(format!("hup {content}"));
        let told: Vec<_> = told.iter().map(String::as_str).collect();
        space.wait_told("fast", "app", &told);
        space.wait_told("slow", "app", &told);
        wait_until("the nudge is counted", || nudges("published") > before);
        nonces.push(observed(&space, "fast"));
    }
    assert!(nonces.iter().all(Value::is_string) && nonces[0] != nonces[1], "{nonces:?}");
    assert_eq!(observed(&space, "slow"), Value::Null);
    assert_eq!(nudges("refused"), 0.0);
}

#[test]
fn a_nudge_alone_tells_nobody_anything() {
    let Some(space) = Space::alone("alone") else { return };
    let _overlay = Overlay::apply("acceleration", OWN);
    let mut pod = app("app", &[(SIGNAL, "SIGHUP"), ACCELERATE]);
    let annotations = json!({"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}});
    let volume = json!({"name": "pod", "downwardAPI": {"items": [annotations]}});
    pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
    let mounts = &mut pod["spec"]["containers"][0]["volumeMounts"];
    mounts.as_array_mut().unwrap().push(json!({"name": "pod", "mountPath": "/pod"}));
    space.start(&[config_map("one"), pod]);
    space.annotate("app", "reloadlet.io/observed", Some("by-hand"));
    wait_until("the kubelet has synced the pod", || {
        space.kubectl(&["exec", "app", "--", "cat", "/pod/annotations"]).contains("by-hand")
    });
    assert_eq!(space.told("app", "app"), [""; 0]);
    space.change("two");
    space.wait_told("app", "app", &["hup two"]);
}

#[test]
fn without_the_right_to_nudge_changes_take_their_time_and_that_is_said_once() {
    let Some(space) = Space::alone("refused") else { return };
    let _overlay = Overlay::apply("acceleration", OWN);
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP"), ACCELERATE])]);
    let role: Value =
        serde_json::from_str(&kubectl(["get", "clusterrole", "reloadlet", "-o", "json"])).unwrap();
    let rules: Vec<_> = role["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| rule["resources"] != json!(["pods/status"]))
        .collect();
    assert_eq!(rules.len() + 1, role["rules"].as_array().unwrap().len());
    let patch = json!([{"op": "replace", "path": "/rules", "value": rules}]).to_string();
    kubectl(["patch", "clusterrole", "reloadlet", "--type=json", "-p", &patch]);

    let mut told = Vec::new();
    let mut change = 0;
    wait_until("two nudges are refused", || {
        change += 1;
        space.change(&change.to_string());
        told.push(format!("hup {change}"));
        space.wait_told("app", "app", &told.iter().map(String::as_str).collect::<Vec<_>>());
        nudges("refused") >= 2.0
    });
    let log = agent::log();
    let said: Vec<_> = log.lines().filter(|line| line.contains("the kubelet can't be nudged")).collect();
    assert!(said.len() == 1 && said[0].contains("cannot patch resource \\\"pods/status\\\""), "{said:#?}");
}
