//! Acceleration: the agent has the kubelet publish at once for pods that ask for it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fence::OWN;
use cluster_suite::agent;
use cluster_suite::audit;
use cluster_suite::kubelet::Reset;
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
    assert_eq!(wait_said(READ)["strategy"], "Watch", "the kubelet's configuration is read as well");
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

/// Takes a right away from the agent, for as long as the overlay is there.
fn take_right_away(resource: &str) {
    let role: Value =
        serde_json::from_str(&kubectl(["get", "clusterrole", "reloadlet", "-o", "json"])).unwrap();
    let rules: Vec<_> = role["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| rule["resources"] != json!([resource]))
        .collect();
    assert_eq!(rules.len() + 1, role["rules"].as_array().unwrap().len());
    let patch = json!([{"op": "replace", "path": "/rules", "value": rules}]).to_string();
    kubectl(["patch", "clusterrole", "reloadlet", "--type=json", "-p", &patch]);
}

#[test]
fn without_the_right_to_nudge_changes_take_their_time_and_that_is_said_once() {
    let Some(space) = Space::alone("refused") else { return };
    let _overlay = Overlay::apply("acceleration", OWN);
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP"), ACCELERATE])]);
    take_right_away("pods/status");

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

/// Waits for a line of the agent's log about the kubelet's strategy.
fn wait_said(what: &str) -> Value {
    wait_until(&format!("the agent says {what:?}"), || {
        let log = agent::log();
        let line = log.lines().find(|line| line.contains(what))?;
        Some(serde_json::from_str::<Value>(line).unwrap())
    })
}

const READ: &str = "the kubelet's configMapAndSecretChangeDetectionStrategy was read";

#[test]
fn without_the_right_to_read_the_strategy_the_kubelet_is_nudged_all_the_same() {
    let Some(space) = Space::alone("unread") else { return };
    let _overlay = Overlay::apply("acceleration", OWN);
    take_right_away("nodes/configz");
    // The kubelet remembers for minutes what a pod's token may.
    agent::restart();
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP"), ACCELERATE])]);
    let said = wait_said("the kubelet's configMapAndSecretChangeDetectionStrategy can't be read");
    let error = said["error"].as_str().unwrap();
    assert!(error.starts_with("the kubelet answers 403 Forbidden: ") && error.contains("configz"), "{error}");
    space.change("two");
    space.wait_told("app", "app", &["hup two"]);
    wait_until("the nudge is counted", || nudges("published") > 0.0);
    assert!(!agent::log().contains(READ));
}

#[test]
fn a_kubelet_whose_strategy_is_cache_is_not_nudged() {
    let Some(space) = Space::alone("cache") else { return };
    let Some(_caching) = Reset::with("configMapAndSecretChangeDetectionStrategy", "Cache") else { return };
    let _overlay = Overlay::apply("acceleration", OWN);
    let said = wait_said("the kubelet isn't nudged");
    assert_eq!(said["strategy"], "Cache");
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP"), ACCELERATE])]);
    space.change("two");
    space.wait_told("app", "app", &["hup two"]);
    assert_eq!(observed(&space, "app"), Value::Null);
    assert_eq!(agent::metric("reloadlet_nudges_total", &[]), 0.0);
    let status: Value = serde_json::from_str(&agent::status(&["-o", "json"])).unwrap();
    let pods = status["pods"].as_array().unwrap();
    let own = pods.iter().find(|pod| pod["namespace"] == space.name()).unwrap();
    assert_eq!(own["notNudged"], "the kubelet's configMapAndSecretChangeDetectionStrategy is Cache");
}

/// How much later than the agent the kubelet hears of a change, and by when the change is on disk all the same.
const LATE: &str = "700ms";
const ON_DISK: Duration = Duration::from_secs(3);

#[test]
fn a_kubelet_that_hears_of_a_change_after_the_nudge_is_nudged_until_it_has_it() {
    let Some(space) = Space::alone("late") else { return };
    // By itself it looks at the pod after 60 to 90 s.
    let Some(_late) = Reset::late("syncFrequency", "1m0s", LATE) else { return };
    let _overlay = Overlay::apply("acceleration", OWN);
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP"), ACCELERATE])]);
    let mark = audit::mark();
    let mut told = Vec::new();
    for (number, content) in (1_u32..).zip(["two", "three", "four"]) {
        space.change(content);
        let changed = Instant::now();
        space.wait_file("app", "/config/key", content);
        let took = changed.elapsed();
        assert!(took < ON_DISK, "{content}: {took:?}");
        told.push(format!("hup {content}"));
        let told: Vec<_> = told.iter().map(String::as_str).collect();
        space.wait_told("app", "app", &told);
        wait_until("the nudge is counted", || nudges("published") >= f64::from(number));
    }
    // The first nudge of each was too early. Each has an end.
    let sent = audit::since(mark).others["patch pods"];
    assert!(sent >= 2 * told.len(), "{sent} nudges");
    let sent = f64::from(u32::try_from(sent).unwrap());
    assert_eq!(nudges("published") + nudges("unanswered"), sent);
}
