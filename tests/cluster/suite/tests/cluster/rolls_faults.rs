//! Controllers that aren't there, and controllers that are killed at each step of a roll: one roll for each change all the same. The
//! steps are held by admission policies, so that nothing in the controller is made for these tests.

use serde_json::{Value, json};

use cluster_suite::rolls::{
    Away, ROLLED, Refusal, config_map, is_available, kill, log, sentinel, status, variable, wait_leading,
    workload,
};
use cluster_suite::space::{Space, wait_until};

/// A Deployment that isn't ready before somebody lets it be, in each of its pods.
fn gated(name: &str) -> Value {
    let mut container = variable(name);
    container["readinessProbe"] = json!({"exec": {"command": ["sh", "-c", "[ $VALUE = one ] || [ -e /tmp/go ]"]}, "periodSeconds": 1, "timeoutSeconds": 10});
    workload("Deployment", name, &container)
}

/// Lets the pod with the new content be ready.
fn open(space: &Space, name: &str) {
    let label = format!("--selector=app={name}");
    let pod = wait_until("the new pod runs", || {
        let pods = space.list("pods", &[&label]);
        let ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        let new = pods.iter().find(|pod| pod["status"]["phase"] == "Running" && !ready(pod))?;
        Some(new["metadata"]["name"].as_str().unwrap().to_owned())
    });
    space.kubectl(&["exec", &pod, "--", "touch", "/tmp/go"]);
}

fn has_mark(space: &Space, name: &str) -> bool {
    space.get("deployment", name)["spec"]["template"]["metadata"]["annotations"][ROLLED].is_string()
}

#[test]
fn a_change_while_no_controller_runs_is_rolled_once_by_the_next_one() {
    let Some(space) = Space::alone("rolls-absent") else { return };
    let kinds = [("Deployment", "web"), ("StatefulSet", "set"), ("DaemonSet", "daemons")];
    let maps = kinds.map(|(_, name)| config_map(name, "one"));
    let workloads = kinds.map(|(kind, name)| workload(kind, name, &variable(name)));
    space.start_rolled(&[maps.as_slice(), &workloads, &sentinel("same"), &sentinel("sentinel")].concat());
    let away = Away::begin();
    for (_, name) in kinds {
        space.change_object(name, "two");
    }
    // What is as before once a controller looks again is no change.
    space.change_object("same", "other");
    space.change_object("same", "one");
    away.end();
    let names = kinds.map(|(_, name)| name);
    space.wait_revisions(&names, 2);
    for name in names {
        space.wait_holds(name, "two");
    }
    space.wait_sentinel("sentinel");
    space.assert_revisions(&[("web", 2), ("set", 2), ("daemons", 2), ("sentinel", 2)]);
    eprintln!("3 changes while no controller ran: 3 rolls: {:?}", space.revisions());
}

#[test]
fn a_controller_that_is_killed_at_any_step_rolls_once() {
    let Some(space) = Space::alone("rolls-killed") else { return };
    // A namespace has three at a time.
    let other = space.beside("rolls-killed-too");
    let maps = |names: &[&str]| names.iter().map(|name| config_map(name, "one")).collect::<Vec<_>>();
    let mine = vec![workload("Deployment", "planned", &variable("planned")), gated("rolling")];
    let others = vec![workload("Deployment", "made", &variable("made")), gated("available")];
    space.start_rolled(&[maps(&["planned", "rolling"]), mine, sentinel("sentinel").into()].concat());
    other.start_rolled(&[maps(&["made", "available"]), others].concat());

    // Planned, and refused.
    let planned = Refusal::of_marks(&space, "planned");
    let made = Refusal::of_marks(&other, "made");
    space.change_object("planned", "two");
    other.change_object("made", "two");
    // Begun: the pods of both of these aren't ready.
    space.change_object("rolling", "two");
    other.change_object("available", "two");
    space.wait_step("rolling", "Rolling");
    other.wait_step("available", "Rolling");
    space.wait_step("planned", "Planned");
    other.wait_step("made", "Planned");
    wait_until("both were refused", || {
        space.said("planned", "refused") > 0 && other.said("made", "refused") > 0
    });

    // From here on nothing can be remembered any more. One is made, another one becomes available.
    let records = Refusal::of_records();
    drop(made);
    wait_until("the mark is made", || has_mark(&other, "made"));
    open(&other, "available");
    wait_until("all pods of it are available", || is_available(&other.get("deployment", "available")));
    for name in ["made", "available"] {
        other.wait_status(name, "wait", "state");
    }
    let said = log();
    assert!(said.contains("what is remembered of workloads can't be read or written"), "{said}");
    let steps = [space.step("planned"), other.step("made"), space.step("rolling"), other.step("available")];
    assert_eq!(steps, ["Planned", "Planned", "Rolling", "Rolling"]);
    assert_eq!([has_mark(&space, "planned"), has_mark(&other, "made")], [false, true]);

    kill();
    drop(records);
    drop(planned);
    other.wait_revisions(&["made", "available"], 2);
    other.wait_holds("made", "two");
    wait_until("the rolls of the killed controller are over", || {
        ["made", "available"].map(|name| other.said(name, "finished")) == [1, 1]
    });
    space.wait_revisions(&["planned"], 2);
    assert_eq!(space.said("rolling", "finished"), 0, "its new pod isn't ready");
    open(&space, "rolling");
    space.wait_revisions(&["rolling"], 2);
    wait_until("all rolls are over", || {
        ["planned", "rolling"].map(|name| space.said(name, "finished")) == [1, 1]
    });
    for name in ["planned", "rolling"] {
        space.wait_holds(name, "two");
    }
    for name in ["made", "available"] {
        other.wait_holds(name, "two");
    }

    space.wait_sentinel("sentinel");
    space.assert_revisions(&[("planned", 2), ("rolling", 2), ("sentinel", 2)]);
    other.assert_revisions(&[("made", 2), ("available", 2)]);
    space.wait_step("sentinel", "Done");
    for (space, name) in [(&space, "planned"), (&space, "rolling"), (&other, "made"), (&other, "available")] {
        assert_eq!(space.step(name), "Done", "{name}");
    }
    let status = status();
    let mine = |one: &&Value| [space.name(), other.name()].contains(&one["namespace"].as_str().unwrap());
    assert_eq!(status["workloads"].as_array().unwrap().iter().filter(mine).count(), 0, "{status:#}");
    wait_leading();
    eprintln!("killed at 4 steps: 4 rolls: {:?} {:?}", space.revisions(), other.revisions());
}
