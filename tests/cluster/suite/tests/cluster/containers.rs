//! Which process of a pod is told.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout};

use serde_json::{Value, json};

use cluster_suite::agent;
use cluster_suite::space::{SIGNAL, Space, app, config_map, container, kubectl_command, output, wait_until};

#[test]
fn a_native_sidecar_is_told_if_it_is_named_and_then_alone() {
    let Some(space) = Space::new("sidecar") else { return };
    let mut sidecar = container("proxy");
    sidecar["restartPolicy"] = json!("Always");
    let with_sidecar = |name, annotations: &[(&str, &str)]| {
        let mut pod = app(name, annotations);
        pod["spec"]["initContainers"] = json!([sidecar]);
        pod
    };
    space.start(&[
        config_map("one"),
        with_sidecar("named", &[(SIGNAL, "SIGHUP"), ("reloadlet.io/container", "proxy")]),
        with_sidecar("own", &[("signal.reloadlet.io/proxy", "SIGUSR1")]),
        with_sidecar("app", &[(SIGNAL, "SIGHUP")]),
    ]);
    space.change("two");
    space.wait_told("named", "proxy", &["hup two"]);
    space.wait_told("own", "proxy", &["usr1 two"]);
    space.wait_told("app", "app", &["hup two"]);
    space.change("three");
    space.wait_told("named", "proxy", &["hup two", "hup three"]);
    space.wait_told("own", "proxy", &["usr1 two", "usr1 three"]);
    space.wait_told("app", "app", &["hup two", "hup three"]);
    for (pod, container) in [("named", "app"), ("own", "app"), ("app", "proxy")] {
        space.wait_told(pod, container, &[]);
    }
}

#[test]
fn a_container_that_was_restarted_is_told_of_the_next_change() {
    let Some(space) = Space::new("restarted") else { return };
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP")])]);
    space.change("two");
    space.wait_told("app", "app", &["hup two"]);

    end_container(&space, "app");
    space.change("three");
    space.wait_told("app", "app", &["hup three"]);
}

/// Ends the container of a pod, and waits until it runs again.
pub(crate) fn end_container(space: &Space, pod: &str) {
    // It may be gone with the container before it can say that it has done it.
    let kill = ["-n", space.name(), "exec", pod, "--", "kill", "-TERM", "1"];
    let _said = output(kubectl_command(kill));
    wait_until("the container runs again", || {
        let pod = space.get("pod", pod);
        let status = &pod["status"]["containerStatuses"][0];
        status["restartCount"] == 1 && !status["state"]["running"].is_null()
    });
}

#[test]
fn a_process_started_by_kubectl_exec_is_left_alone() {
    let Some(space) = Space::new("exec") else { return };
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP")])]);
    let exec = Exec::start(&space, "app");
    for (content, told) in [("two", vec!["hup two"]), ("three", vec!["hup two", "hup three"])] {
        space.change(content);
        space.wait_told("app", "app", &told);
    }
    exec.end_untold();
}

/// A process started in a container by `kubectl exec`; it would say so if it were told.
pub(crate) struct Exec {
    kubectl: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Exec {
    pub(crate) fn start(space: &Space, pod: &str) -> Self {
        let script = "trap 'echo told' HUP; echo begun; read _; echo ended";
        let mut kubectl = space.start_kubectl(&["exec", "-i", pod, "--", "sh", "-c", script]);
        let mut said = BufReader::new(kubectl.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "begun");
        Self { kubectl, said }
    }

    pub(crate) fn end_untold(mut self) {
        drop(self.kubectl.stdin.take());
        assert_eq!(self.said.map(Result::unwrap).collect::<Vec<_>>(), ["ended"]);
        assert!(self.kubectl.wait().unwrap().success());
    }
}

#[test]
fn a_pod_that_has_ended_isnt_followed_any_more() {
    let Some(space) = Space::new("ended") else { return };
    let mut brief = app("brief", &[(SIGNAL, "SIGHUP")]);
    brief["spec"]["restartPolicy"] = json!("Never");
    brief["spec"]["containers"][0]["command"] =
        json!(["sh", "-c", "until [ -e /tmp/end ]; do sleep 0.2; done"]);
    space.start(&[config_map("one"), app("stays", &[(SIGNAL, "SIGHUP")]), brief]);
    let followed = |pod: &str| {
        let status: Value = serde_json::from_str(&agent::status(&["-o", "json"])).unwrap();
        let pods = status["pods"].as_array().unwrap();
        pods.iter().any(|found| found["namespace"] == space.name() && found["name"] == pod)
    };
    wait_until("both are followed", || followed("brief") && followed("stays"));
    space.kubectl(&["exec", "brief", "--", "touch", "/tmp/end"]);
    wait_until("it has ended", || space.get("pod", "brief")["status"]["phase"] == "Succeeded");
    wait_until("it isn't followed", || !followed("brief"));
    assert!(followed("stays"));
}
