//! Restarts in place: the agents end containers that the controller grants them, one pod after another, and the kubelet starts them again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use cluster_suite::rolls::{ROLLOUT, config_map, variable, workload};
use cluster_suite::space::{Space, wait_until};

/// Ends at SIGTERM; without it, the first process of a container would never be ended by it. With the value `bad` it doesn't start.
const SCRIPT: &str = r#"trap 'exit 0' TERM
echo "holds $VALUE$key$(cat /file 2>/dev/null)"
[ "$VALUE" != bad ] || exit 1
while :; do sleep 1 & wait $!; done"#;

/// A workload whose pods, so many, ask for this, and end when they are told to.
fn in_place(kind: &str, name: &str, replicas: usize, rollout: &str, container: &Value) -> Value {
    let mut workload = workload(kind, name, container);
    workload["metadata"]["annotations"].as_object_mut().unwrap().remove(ROLLOUT);
    workload["spec"]["replicas"] = json!(replicas);
    let template = &mut workload["spec"]["template"];
    template["metadata"]["annotations"] = json!({ROLLOUT: rollout});
    template["spec"]["terminationGracePeriodSeconds"] = json!(20);
    template["spec"]["containers"][0]["command"] = json!(["sh", "-c", SCRIPT]);
    workload
}

/// A file out of a ConfigMap's volume, mounted by `subPath`.
fn with_file(mut workload: Value, config_map: &str) -> Value {
    let spec = &mut workload["spec"]["template"]["spec"];
    spec["volumes"] = json!([{"name": "config", "configMap": {"name": config_map}}]);
    spec["containers"][0]["volumeMounts"] =
        json!([{"name": "config", "mountPath": "/file", "subPath": "key"}]);
    workload
}

/// How often each pod's container was started again, by the pod's UID.
fn restarts(space: &Space, name: &str) -> BTreeMap<String, u64> {
    let pods = space.list("pods", &[&format!("--selector=app={name}")]);
    let count =
        |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default();
    pods.iter().map(|pod| (pod["metadata"]["uid"].as_str().unwrap().to_owned(), count(pod))).collect()
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// The largest number of pods that weren't ready at a time, and in which order they weren't, by what a watch has shown.
fn disruptions(states: &[Value]) -> (usize, Vec<String>) {
    let (mut away, mut most, mut order) = (BTreeSet::new(), 0, Vec::new());
    for pod in states {
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        if is_ready(pod) {
            away.remove(&name);
        } else if away.insert(name.clone()) {
            order.push(name);
        }
        most = most.max(away.len());
    }
    (most, order)
}

#[test]
fn ten_pods_are_restarted_one_after_another_and_each_has_the_new_content() {
    let Some(space) = Space::new("in-place-ten") else { return };
    let web = in_place("Deployment", "web", 10, "in-place", &variable("web"));
    space.start_rolled(&[config_map("web", "one"), web]);
    space.wait_holds("web", "one");
    let before = restarts(&space, "web");
    let recorder = space.record_all("pods");
    space.change_object("web", "two");
    space.wait_holds("web", "two");
    space.wait_step("web", "Done");
    let (most, order) = disruptions(&recorder.end());
    let after = restarts(&space, "web");
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "no new pod");
    assert_eq!(after.values().copied().collect::<Vec<_>>(), [1; 10], "each once");
    assert_eq!((most, order.len()), (1, 10), "{order:?}");
    space.assert_revisions(&[]);
    for pod in &order {
        // A node's agent has so many Events a minute.
        space.wait_event(pod, "Restarted");
        assert_eq!(space.events(pod, "Restarted").len(), 1, "{pod}");
    }
    eprintln!("10 pods restarted, never more than {most} not ready");

    // Nothing else happens by that content.
    space.wait_step("web", "Done");
    assert_eq!(restarts(&space, "web"), after);
}

#[test]
fn what_a_stateful_set_mounts_by_sub_path_is_new_after_a_restart_the_highest_ordinal_first() {
    // What the agent says is waited for, and other tests' pods may have taken the Events that it has in a minute.
    let Some(space) = Space::alone("in-place-file") else { return };
    let db = with_file(in_place("StatefulSet", "db", 3, "in-place", &json!({})), "db");
    space.start_rolled(&[config_map("db", "one"), db]);
    space.wait_holds("db", "one");
    let before = restarts(&space, "db");
    let recorder = space.record_all("pods");
    space.change_object("db", "two");
    space.wait_holds("db", "two");
    space.wait_step("db", "Done");
    let (most, order) = disruptions(&recorder.end());
    assert_eq!((most, order), (1, ["db-2", "db-1", "db-0"].map(str::to_owned).to_vec()));
    assert!(restarts(&space, "db").keys().eq(before.keys()), "no new pod");
    space.assert_revisions(&[]);
}

#[test]
fn a_content_with_which_containers_dont_start_stops_after_the_first_and_a_good_one_goes_on() {
    let Some(space) = Space::new("in-place-bad") else { return };
    let web = in_place("Deployment", "web", 3, "in-place", &variable("web"));
    space.start_rolled(&[config_map("web", "one"), web]);
    space.wait_holds("web", "one");
    space.change_object("web", "bad");
    let said = space.wait_event("web", "RollFailed");
    let after = restarts(&space, "web");
    assert_eq!(after.values().filter(|count| **count > 0).count(), 1, "{after:?}");
    let pods = space.list("pods", &[]);
    let held = |pod: &Value| space.told(pod["metadata"]["name"].as_str().unwrap(), "app").pop();
    let held: Vec<String> = pods.iter().filter_map(held).collect();
    assert_eq!(held.iter().filter(|line| *line == "holds one").count(), 2, "{held:?}");
    eprintln!("of 3 pods 1 was restarted; {said}");

    // The one that ends again and again has it by itself, within seconds here, so that it may be taken for one that hasn't: it is told
    // again after ten minutes, and nobody waits for that.
    space.change_object("web", "two");
    space.wait_holds("web", "two");
    let known = restarts(&space, "web");
    assert!(known.keys().eq(after.keys()), "no new pod");
    let others = after.iter().filter(|(_, count)| **count == 0).map(|(pod, _)| known[pod]);
    assert_eq!(others.collect::<Vec<_>>(), [1, 1], "each of the others once");
    space.assert_revisions(&[]);
}

#[test]
fn who_cant_be_restarted_in_place_says_why_and_is_replaced_where_that_is_asked_for() {
    // As above: the agent says why.
    let Some(space) = Space::alone("in-place-not") else { return };
    let mut hooked = in_place("Deployment", "hooked", 1, "in-place", &variable("web"));
    hooked["spec"]["template"]["spec"]["containers"][0]["lifecycle"] =
        json!({"preStop": {"exec": {"command": ["true"]}}});
    // The first process of its container, which handles nothing, is never ended by SIGTERM.
    let deaf = |name: &str, rollout| {
        let mut deaf = in_place("Deployment", name, 1, rollout, &variable("web"));
        let command = r#"echo "holds $VALUE"; exec sleep 100000"#;
        deaf["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["sh", "-c", command]);
        deaf
    };
    space.start_rolled(&[
        config_map("web", "one"),
        hooked,
        deaf("deaf", "in-place"),
        deaf("replaced", "in-place,rollout"),
    ]);
    for name in ["hooked", "deaf", "replaced"] {
        space.wait_holds(name, "one");
    }
    space.change_object("web", "two");
    space.wait_revisions(&["replaced"], 2);
    space.wait_holds("replaced", "two");
    // A controller has so many Events, and this one is nobody's to act on.
    wait_until("it is said why replaced is", || space.said("replaced", "not-in-place") > 0);
    for (name, why) in [("hooked", "preStop"), ("deaf", "doesn't handle")] {
        let said = space.wait_event(name, "NotRestartedInPlace");
        assert!(said.contains(why), "{said}");
        eprintln!("{name}: {said}");
    }
    for name in ["hooked", "deaf"] {
        space.wait_status(name, "wait", "in-place");
        assert_eq!(restarts(&space, name).into_values().collect::<Vec<_>>(), [0], "{name}");
        space.wait_holds(name, "one");
    }
    space.assert_revisions(&[("replaced", 2)]);
}

#[test]
fn a_controller_that_is_killed_in_the_midst_is_followed_by_one_that_goes_on() {
    let Some(space) = Space::alone("in-place-killed") else { return };
    let web = in_place("Deployment", "web", 4, "in-place", &variable("web"));
    space.start_rolled(&[config_map("web", "one"), web]);
    space.wait_holds("web", "one");
    let before = restarts(&space, "web");
    let recorder = space.record_all("pods");
    space.change_object("web", "two");
    wait_until("a pod was restarted", || restarts(&space, "web").values().sum::<u64>() > 0);
    cluster_suite::rolls::kill();
    space.wait_holds("web", "two");
    space.wait_step("web", "Done");
    let (most, _) = disruptions(&recorder.end());
    let after = restarts(&space, "web");
    assert_eq!((most, after.values().copied().collect::<Vec<_>>()), (1, vec![1; 4]));
    assert!(after.keys().eq(before.keys()), "no new pod");
    space.assert_revisions(&[]);
}
