//! One pod never speaks for another, whatever its owner writes.

use std::fs;

use serde_json::Value;
use standin::PodSpec;

use crate::support::{LIMIT, Rig, SIGNAL, Setup, Stage, app, bare, change, reader};

/// All nodes share this machine's cgroups: each test has a UID of its own.
const VICTIM: &str = "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
const CLAIMED: &str = "7f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

/// A pod that says in an annotation that it has the victim's UID, and has a container and a volume of the same names.
fn evil(key: &str) -> PodSpec {
    bare("evil")
        .annotation(key, VICTIM)
        .annotation(SIGNAL, "SIGTERM")
        .annotation("reloadlet.io/container", "app")
        .annotation("reloadlet.io/volumes", "conf")
        .annotation("reloadlet.io/unhandled", "send")
        .container(reader("app", &["--catch", "TERM"]))
}

/// Makes only this pod known to an agent that isn't started yet.
fn publish_only(stage: &Stage, name: &str) {
    let mut list = stage.node.pods_json();
    let items = list["items"].as_array_mut().unwrap();
    items.retain(|pod: &Value| pod["metadata"]["name"] == name);
    assert_eq!(items.len(), 1);
    fs::write(&stage.options.pods_file, list.to_string()).unwrap();
}

fn start(key: &str, victim: PodSpec) -> Option<Rig> {
    let stage = Setup::new().stage(vec![victim, evil(key)])?;
    publish_only(&stage, "evil");
    let mut rig = stage.start();
    rig.agent.wait_ready(LIMIT).unwrap();
    Some(rig)
}

#[test]
fn a_pod_that_names_anothers_uid_in_an_annotation_tells_and_silences_nobody_else() {
    for key in ["kubernetes.io/config.hash", "kubernetes.io/config.mirror"] {
        // It catches what the other one sends: a signal would show.
        let victim = bare("victim").uid(VICTIM).container(reader("app", &["--catch", "HUP,TERM"]));
        let Some(rig) = start(key, victim) else { return };
        let (victim, evil) = (rig.pod("victim"), rig.pod("evil"));
        for pod in [&victim, &evil] {
            change(pod, "two");
        }
        rig.wait_told(&evil, "app", "two");
        rig.signals(&victim, "app", 0);

        victim.set_annotation(SIGNAL, "SIGHUP");
        rig.publish_pods();
        // What is on disk was published while nobody asked for it, and its process is older.
        rig.wait_told(&victim, "app", "two");
        change(&victim, "three");
        rig.wait_told(&victim, "app", "three");

        evil.remove().unwrap();
        rig.publish_pods();
        rig.wait_metric("reloadlet_pods", &[("state", "watched")], 1.0);
        change(&victim, "four");
        rig.wait_told(&victim, "app", "four");
        rig.signals(&victim, "app", 3);
        rig.end();
    }
}

#[test]
fn pods_that_claim_one_uid_are_left_alone_and_the_rest_is_served() {
    let Some(rig) = Setup::new().start(vec![app("twice").uid(CLAIMED), app("other")]) else { return };
    let (twice, other) = (rig.pod("twice"), rig.pod("other"));
    let mut list = rig.node.pods_json();
    let items = list["items"].as_array_mut().unwrap();
    let mut claim = items.iter().find(|pod| pod["metadata"]["name"] == "twice").unwrap().clone();
    claim["metadata"]["namespace"] = "attic".into();
    items.push(claim);
    fs::write(&rig.options.pods_file, list.to_string()).unwrap();
    rig.wait_warning(&format!("twice/twice, attic/twice have the same UID {CLAIMED}"));
    rig.wait_metric("reloadlet_pods", &[("state", "watched")], 1.0);
    for pod in [&twice, &other] {
        change(pod, "two");
    }
    rig.wait_told(&other, "app", "two");
    rig.signals(&twice, "app", 0);

    rig.publish_pods();
    rig.wait_told(&twice, "app", "two");
    rig.end();
}
