//! Volumes of CSI drivers.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use cluster_suite::agent;
use cluster_suite::space::{SIGNAL, Space, app, kubectl_command, node, output, wait_until};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const NAME: &str = "csi.reloadlet.test";
const VOLUMES: &str = "reloadlet.io/volumes";
/// What two deletions may differ by, on a machine that does other things as well.
const SPREAD: Duration = Duration::from_secs(6);

/// The driver of `tests/cluster/csi`, as long as this lives: as drivers are installed, by a privileged pod.
struct Driver;

impl Driver {
    fn start(space: &Space) -> Self {
        let import = format!(
            "program=$({DIRECTORY}/csi/build); {DIRECTORY}/images/pack localhost/csi:test \"$program\" | {DIRECTORY}/node ctr -n k8s.io \
             images import -"
        );
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &import]).stdout(Stdio::null());
        assert!(command.status().unwrap().success(), "{import}");
        let node = agent::pod()["spec"]["nodeName"].clone();
        let driver = Self;
        space.start(&[
            json!({
                "apiVersion": "storage.k8s.io/v1",
                "kind": "CSIDriver",
                "metadata": {"name": NAME},
                "spec": {
                    "attachRequired": false, "podInfoOnMount": false, "requiresRepublish": true,
                    "volumeLifecycleModes": ["Ephemeral"],
                },
            }),
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "content"}, "data": {"key": "one"},
            }),
            json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "driver"},
                "spec": {
                    "containers": [{
                        "name": "driver",
                        "image": "localhost/csi:test",
                        "env": [{"name": "NODE", "value": node}],
                        "securityContext": {"privileged": true},
                        "volumeMounts": [
                            {"name": "kubelet", "mountPath": "/var/lib/kubelet", "mountPropagation": "Bidirectional"},
                            {"name": "content", "mountPath": "/content"},
                        ],
                    }],
                    "volumes": [
                        {"name": "kubelet", "hostPath": {"path": "/var/lib/kubelet"}},
                        {"name": "content", "configMap": {"name": "content"}},
                    ],
                },
            }),
        ]);
        wait_until("the kubelet knows the driver", || {
            let known = output(kubectl_command(["get", "csinodes", "-o", "json"])).unwrap_or_default();
            known.contains(NAME)
        });
        driver
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(output(kubectl_command(["delete", "csidriver", NAME, "--wait=false"])));
    }
}

/// A pod with a volume of the driver's.
fn driven(name: &str, annotations: &[(&str, &str)], layout: &str) -> Value {
    let mut pod = app(name, annotations);
    pod["spec"]["volumes"] = json!([{
        "name": "config", "csi": {"driver": NAME, "readOnly": true, "volumeAttributes": {"layout": layout}},
    }]);
    pod
}

fn delete(space: &Space, pod: &str) -> Duration {
    let begun = Instant::now();
    space.kubectl(&["delete", "pod", pod, "--timeout=60s"]);
    begun.elapsed()
}

#[test]
fn what_a_driver_publishes_as_the_kubelet_does_is_told_of_and_torn_down_in_the_usual_time() {
    let Some(space) = Space::new("drivers") else { return };
    let _driver = Driver::start(&space);
    space.start(&[
        driven("told", &[(SIGNAL, "SIGHUP")], "kubelet"),
        driven("named", &[(SIGNAL, "SIGHUP"), (VOLUMES, "config")], "kubelet"),
        driven("plain", &[], "kubelet"),
        driven("flat", &[(SIGNAL, "SIGHUP")], "plain"),
        driven("flat-named", &[(SIGNAL, "SIGHUP"), (VOLUMES, "config")], "plain"),
    ]);
    let said = space.wait_event("flat-named", "ReloadProblem");
    assert!(
        said.contains("a csi volume in which nothing is seen that is published as the kubelet does"),
        "{said}"
    );
    wait_until("the agent knows what it can't watch", || {
        let status = agent::status(&[]);
        let is_said = |line: &str| {
            line.contains(space.name())
                && line.contains(" flat ")
                && line.contains("not watched: nothing is seen in it")
        };
        status.lines().any(is_said)
    });
    assert_eq!(space.events("flat", "ReloadProblem"), Vec::<String>::new());

    for content in ["two", "three"] {
        let patch = json!({"data": {"key": content}}).to_string();
        space.kubectl(&["patch", "configmap", "content", "--type=merge", "-p", &patch]);
        let told: &[&str] = if content == "two" { &["hup two"] } else { &["hup two", "hup three"] };
        space.wait_told("told", "app", told);
        space.wait_told("named", "app", told);
    }
    space.wait_file("flat", "/config/key", "three");
    assert_eq!(space.told("flat", "app"), Vec::<String>::new());
    let status = agent::status(&[]);
    let is_of = |line: &&str| line.contains(space.name()) && line.split_whitespace().nth(1) == Some("told");
    let line = status.lines().find(is_of);
    assert!(line.is_some_and(|line| line.contains("not measured")), "{status}");
    let volumes = agent::metric("reloadlet_volumes", &[String::from("kind=\"csi\"")]);
    assert!(volumes >= 4.0, "{volumes}");

    let uid = space.get("pod", "told")["metadata"]["uid"].as_str().unwrap().to_owned();
    let (plain, told) = (delete(&space, "plain"), delete(&space, "told"));
    eprintln!("deleted: plain {plain:.1?}, told {told:.1?}");
    assert!(told < plain + SPREAD, "{told:?} instead of {plain:?}");
    wait_until("the kubelet has removed the pod's directory", || {
        node(&["find", "/var/lib/kubelet/pods", "-maxdepth", "1", "-name", &uid]).is_empty()
    });
    // The driver has to be there until the last of its volumes is gone.
    for pod in ["named", "flat", "flat-named"] {
        delete(&space, pod);
    }
}
