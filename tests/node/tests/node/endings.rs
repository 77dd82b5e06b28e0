//! When real processes may be told, and what it means that they end.

use rustix::process::Signal;
use serde_json::json;
use standin::{Exit, LogRecord, PodSpec};

use crate::support::{SIGNAL, Setup, app, bare, change, reader};

#[test]
fn a_container_that_hasnt_started_is_told_when_its_status_says_that_it_has() {
    let Some(rig) = Setup::new().start(vec![app("starts"), app("well")]) else { return };
    let (starts, well) = (rig.pod("starts"), rig.pod("well"));
    starts.set_phase("app", false, false);
    // The one of before was ready.
    starts.restart_container("app").unwrap();
    starts.wait_ready("app").unwrap();
    rig.publish_pods();
    change(&starts, "two");
    // Another one of the same age has its change meanwhile.
    well.restart_container("app").unwrap();
    well.wait_ready("app").unwrap();
    rig.publish_pods();
    change(&well, "two");
    rig.wait_told(&well, "app", "two");
    rig.signals(&starts, "app", 0);
    starts.set_phase("app", true, true);
    rig.publish_pods();
    rig.wait_told(&starts, "app", "two");
    rig.signals(&starts, "app", 1);
    rig.end();
}

#[test]
fn a_container_that_is_killed_right_after_each_signal_goes_on_being_told() {
    // The window is open still whenever the end is seen.
    let spec = app("killed").annotation("reloadlet.io/verify", "30s");
    let Some(rig) = Setup::new().start(vec![spec]) else { return };
    let pod = rig.pod("killed");
    for (count, content) in (1..).zip(["two", "three", "four"]) {
        change(&pod, content);
        rig.wait_told(&pod, "app", content);
        pod.kill_container("app", Signal::KILL).unwrap();
        assert_eq!(pod.wait_exit("app").unwrap(), Exit::Signal(9));
        // The status says so too, for a kernel that doesn't tell.
        rig.publish_pods();
        rig.wait_outcomes("killed", "delivered", count);
        let verdicts = [("pod_namespace", "killed"), ("verdict", "exited")];
        rig.wait_metric("reloadlet_verdicts_total", &verdicts, f64::from(count));
        pod.start_container("app").unwrap();
        pod.wait_ready("app").unwrap();
        rig.publish_pods();
    }
    change(&pod, "five");
    rig.wait_told(&pod, "app", "five");
    assert!(rig.outcomes("killed", "held") < 0.5, "{}", rig.tail());
    rig.end();
}

/// A replica of a set, whose program ends of the signal.
fn replica(name: &str) -> PodSpec {
    let reference = json!({ "kind": "ReplicaSet", "name": "web", "uid": "1", "controller": true });
    bare(name)
        .namespace("web")
        .annotation(SIGNAL, "SIGHUP")
        .annotation("reloadlet.io/verify", "2s")
        .container(reader("app", &["--exit-on", "HUP"]))
        .patch(json!({ "metadata": { "ownerReferences": [reference] } }))
}

#[test]
fn a_content_that_ends_one_replica_is_kept_from_the_others() {
    let names = ["one", "two", "three", "four"];
    let specs = names.iter().map(|name| replica(name)).chain([app("well")]).collect();
    let Some(rig) = Setup::new().start(specs) else { return };
    let pods: Vec<_> = names.iter().map(|name| rig.pod(name)).collect();
    pods.iter().for_each(|pod| drop(change(pod, "bad")));
    rig.wait_outcomes("web", "held", 3);
    rig.wait_outcomes("web", "delivered", 1);
    rig.wait_metric("reloadlet_problems", &[("kind", "bad_content")], 3.0);
    rig.wait_warning("they ended the process of another replica on this node");
    let is_signal = |record: &LogRecord| matches!(record, LogRecord::Signal { .. });
    let told = |count: usize| {
        let log = pods.iter().flat_map(|pod| pod.log("app").unwrap());
        assert_eq!(log.filter(is_signal).count(), count, "{}", rig.tail());
    };
    told(1);
    // A newer one is told, and is as bad for the next.
    let living = pods.iter().filter(|pod| pod.exit("app").unwrap().is_none());
    living.for_each(|pod| drop(change(pod, "worse")));
    rig.wait_outcomes("web", "delivered", 2);
    rig.wait_outcomes("web", "held", 5);
    told(2);
    rig.end();
}
