//! Pods end as if there were no agent.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use cluster_suite::space::{SIGNAL, Space, app, config_map, node, wait_until};

/// What two deletions may differ by, on a machine that does other things as well.
const SPREAD: Duration = Duration::from_secs(6);

fn delete(space: &Space, pod: &str) -> Duration {
    let begun = Instant::now();
    space.kubectl(&["delete", "pod", pod, "--timeout=60s"]);
    begun.elapsed()
}

/// A kubelet can't unmount a tmpfs in which somebody holds a file.
#[test]
fn a_pod_whose_reload_waits_is_torn_down_in_the_usual_time() {
    let Some(space) = Space::new("teardown") else { return };
    let on_tmpfs = |name, annotations: &[(&str, &str)]| {
        let mut pod = app(name, annotations);
        pod["spec"]["volumes"] = json!([{"name": "config", "projected": {"sources": [
            {"configMap": {"name": "config"}}, {"serviceAccountToken": {"path": "token"}},
        ]}}]);
        pod
    };
    space.start(&[
        config_map("one"),
        on_tmpfs("plain", &[]),
        on_tmpfs("waiting", &[(SIGNAL, "SIGHUP"), ("reloadlet.io/debounce", "1m")]),
        on_tmpfs("told", &[(SIGNAL, "SIGHUP")]),
    ]);
    space.change("two");
    space.wait_told("told", "app", &["hup two"]);
    for pod in ["plain", "waiting"] {
        space.wait_file(pod, "/config/key", "two");
    }
    space.wait_told("waiting", "app", &[]);

    let uids =
        ["waiting", "told"].map(|pod| space.get("pod", pod)["metadata"]["uid"].as_str().unwrap().to_owned());
    let [plain, waiting, told] = thread::scope(|scope| {
        ["plain", "waiting", "told"]
            .map(|pod| {
                scope.spawn({
                    let space = &space;
                    move || delete(space, pod)
                })
            })
            .map(|deleting| deleting.join().unwrap())
    });
    eprintln!("deleted: plain {plain:.1?}, waiting {waiting:.1?}, told {told:.1?}");
    for annotated in [waiting, told] {
        assert!(annotated < plain + SPREAD, "{annotated:?} instead of {plain:?}");
    }
    for uid in uids {
        wait_until("the kubelet has removed the pod's directory", || {
            node(&["find", "/var/lib/kubelet/pods", "-maxdepth", "1", "-name", &uid]).is_empty()
        });
    }
}
