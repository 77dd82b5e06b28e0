//! What containers took at their start, over the end of its object and over a restart of the agent.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster_suite::agent;
use cluster_suite::space::{SIGNAL, Space, app, config_map, wait_until};
use serde_json::{Value, json};

use crate::propagation::status;

/// What lies so far apart is in that order for certain, whatever is known of the clocks.
const APART: Duration = Duration::from_secs(10);

fn levels(level: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "levels"}, "data": {"level": level},
    })
}

fn environment() -> Value {
    json!([{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "levels", "key": "level"}}}])
}

/// A pod whose container has an object in its environment and mounts another one; both have been there for a while.
fn space(name: &str) -> Option<Space> {
    let mut pod = app("app", &[(SIGNAL, "SIGHUP")]);
    pod["spec"]["containers"][0]["env"] = environment();
    with(name, &pod)
}

/// Such a pod, with the objects that it uses.
fn with(name: &str, pod: &Value) -> Option<Space> {
    let space = Space::alone(name)?;
    let apart = |what: &str| {
        let begun = Instant::now();
        wait_until(what, || begun.elapsed() > APART);
    };
    space.create(&[config_map("one"), levels("low")]);
    apart("nobody can take the objects for later than the start");
    space.start(std::slice::from_ref(pod));
    apart("nobody can take the start for later than a change");
    Some(space)
}

/// The states of what isn't a volume, once there are so many.
fn states(space: &Space, count: usize) -> Vec<String> {
    let of_pod = || -> Vec<String> {
        let shown = status(space).into_iter().filter(|((pod, volume), _)| pod == "app" && volume == "-");
        shown.map(|(_, [.., state])| state).collect()
    };
    wait_until(&format!("{count} lines that are about no volume"), || {
        let states = of_pod();
        (is_shown(space) && states.len() == count).then_some(states)
    })
}

fn is_shown(space: &Space) -> bool {
    status(space).contains_key(&("app".to_owned(), "config".to_owned()))
}

fn stale() -> f64 {
    agent::metric("reloadlet_stale_volumes", &["reason=\"env\"".to_owned()])
}

#[test]
fn that_a_container_needs_a_restart_is_one_event_for_each_version_also_after_a_restart_of_the_agent() {
    let Some(space) = space("needs-restart") else { return };
    let patch = json!({"data": {"level": "high"}}).to_string();
    space.kubectl(&["patch", "configmap", "levels", "--type=merge", "-p", &patch]);
    let wanted = space.get("configmap", "levels")["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let note = space.wait_event("app", "ConfigNeedsRestart");
    assert!(note.contains(&format!("levels has changed to version {wanted}")), "{note}");
    agent::restart();
    wait_until("it shows as stale again", || is_shown(&space) && stale() > 0.5);
    // What it says of the next version comes after what it has to say of this one.
    wait_until("the agent has found it", || {
        let line = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["namespace"] == space.name() && line["way"] == "env").then_some(())
        };
        agent::log().lines().find_map(line)
    });
    let patch = json!({"data": {"level": "higher"}}).to_string();
    space.kubectl(&["patch", "configmap", "levels", "--type=merge", "-p", &patch]);
    // It may be what the container has: of that the next agent knows no more than that the last version was something else.
    let next = space.wait_event("app", "ConfigMayNeedRestart");
    let wanted = space.get("configmap", "levels")["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    assert!(next.contains(&format!("version {wanted} is there now")), "{next}");
    assert_eq!(space.events("app", "ConfigNeedsRestart"), [note]);
}

#[test]
fn a_change_of_another_key_is_no_reason_to_restart_before_and_after_a_restart_of_the_agent() {
    let Some(space) = space("other-key") else { return };
    let patch = json!({"data": {"other": "new"}}).to_string();
    space.kubectl(&["patch", "configmap", "levels", "--type=merge", "-p", &patch]);
    // A change that comes after it is known.
    space.change("two");
    for restarts in [false, true] {
        if restarts {
            agent::restart();
        }
        wait_until("the volume is up to date", || {
            let shown = status(&space).remove(&("app".to_owned(), "config".to_owned()));
            shown.is_some_and(|[.., state]| state == "up to date")
        });
        assert_eq!(states(&space, 0), [""; 0]);
        assert!(stale() < 0.5);
    }
    // What is written while no agent runs may be anything.
    agent::stop_while(|| {
        let patch = json!({"data": {"other": "newer"}}).to_string();
        space.kubectl(&["patch", "configmap", "levels", "--type=merge", "-p", &patch]);
    });
    let state = states(&space, 1).remove(0);
    assert!(state.starts_with("unsure for ") && state.contains("isn't known"), "{state}");
    space.wait_event("app", "ConfigMayNeedRestart");
    assert!(stale() < 0.5);
    assert_eq!(space.events("app", "ConfigNeedsRestart"), [""; 0]);
}

#[test]
fn what_others_than_the_told_container_took_at_their_start_is_stale_too_also_after_a_restart_of_the_agent() {
    let mut pod = app("app", &[(SIGNAL, "SIGHUP")]);
    let containers = pod["spec"]["containers"].as_array_mut().unwrap();
    let image = containers[0]["image"].clone();
    let other = |name: &str, command: &[&str]| json!({"name": name, "image": image, "command": command, "env": environment()});
    containers.push(other("side", &["sleep", "3600"]));
    pod["spec"]["initContainers"] = json!([other("setup", &["true"])]);
    let Some(space) = with("others", &pod) else { return };
    let patch = json!({"data": {"level": "high"}}).to_string();
    space.kubectl(&["patch", "configmap", "levels", "--type=merge", "-p", &patch]);
    for restarts in [false, true] {
        if restarts {
            agent::restart();
        }
        let stale = wait_until("both are stale", || {
            let document: Value = serde_json::from_str(&agent::status(&["-o", "json"])).ok()?;
            let pods = document["pods"].as_array()?;
            let pod = pods.iter().find(|pod| pod["namespace"] == space.name())?;
            let of = |stale: &Value| {
                [&stale["container"], &stale["code"]]
                    .map(|field| field.as_str().unwrap_or_default().to_owned())
            };
            let stale: BTreeSet<[String; 2]> = pod["stale"].as_array()?.iter().map(of).collect();
            (stale.len() > 1).then_some(stale)
        });
        assert_eq!(
            stale,
            [["setup", "init-container"], ["side", "frozen-env"]].map(|pair| pair.map(str::to_owned)).into()
        );
    }
    let note = wait_until("both are said", || {
        let notes = space.events("app", "ConfigNeedsRestart");
        (notes.len() > 1).then_some(notes)
    });
    assert!(note.iter().any(|note| note.contains("init container setup ran")), "{note:?}");
}

#[test]
fn an_object_that_is_gone_is_no_reason_to_restart_before_and_after_a_restart_of_the_agent() {
    let Some(space) = space("gone") else { return };
    space.kubectl(&["delete", "configmap", "levels"]);
    space.kubectl(&["delete", "configmap", "config"]);
    let config = ("app".to_owned(), "config".to_owned());
    for restarts in [false, true] {
        if restarts {
            agent::restart();
        }
        let state = states(&space, 1).remove(0);
        assert!(state.starts_with("gone: configmap levels isn't there"), "{state}");
        let volume = wait_until("the volume's object is known to be gone", || {
            status(&space)
                .remove(&config)
                .map(|[.., state]| state)
                .filter(|state| state.starts_with("gone: "))
        });
        assert!(volume.contains("configmap config isn't there"), "{volume}");
        assert!(stale() < 0.5);
    }
    assert_eq!(space.events("app", "ConfigNeedsRestart"), [""; 0]);
}

#[test]
fn an_object_that_is_made_anew_with_the_same_content_heals_before_and_after_a_restart_of_the_agent() {
    let Some(space) = space("anew") else { return };
    space.kubectl(&["delete", "configmap", "levels", "config"]);
    states(&space, 1);
    space.create(&[levels("low"), config_map("one")]);
    let config = ("app".to_owned(), "config".to_owned());
    for restarts in [false, true] {
        if restarts {
            agent::restart();
        }
        wait_until("the volume is up to date", || {
            status(&space).remove(&config).is_some_and(|[.., state]| state == "up to date")
        });
        assert_eq!(states(&space, 0), [""; 0]);
        assert!(stale() < 0.5);
    }
    assert_eq!(space.events("app", "ConfigNeedsRestart"), [""; 0]);
    assert_eq!(space.told("app", "app"), [""; 0]);
}
