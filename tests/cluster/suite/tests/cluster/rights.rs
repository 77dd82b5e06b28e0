//! What the agent may do, and that it needs what it may.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::inject::Injector;
use cluster_suite::agent;
use cluster_suite::space::{SIGNAL, Space, app, config_map, kubectl, node, secret, wait_until};

const KILL: &str = "0000000000000020";
const NONE: &str = "0000000000000000";

/// Longer than the agent leaves between two Events of a pod and a reason.
const EVENT_PAUSE: Duration = Duration::from_secs(31);

#[test]
fn the_agent_runs_with_no_more_rights_than_to_send_signals() {
    let Some(_space) = Space::new("process") else { return };
    let pod = agent::pod();
    let context = &pod["spec"]["containers"][0]["securityContext"];
    assert_eq!(
        *context,
        json!({
            "runAsUser": 0,
            "runAsGroup": 0,
            "allowPrivilegeEscalation": false,
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"], "add": ["KILL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        })
    );
    assert_eq!(pod["spec"]["hostPID"], true);
    for (other, wanted) in [("hostNetwork", Value::Null), ("hostIPC", Value::Null)] {
        assert_eq!(pod["spec"][other], wanted, "{other}");
    }
    for (field, value) in [
        ("CapEff", KILL),
        ("CapPrm", KILL),
        ("CapBnd", KILL),
        ("CapInh", NONE),
        ("CapAmb", NONE),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(agent::process_status(field), value, "{field}");
    }
}

/// `readOnly` doesn't reach a tmpfs that is mounted later, nor what is mounted below `/sys/fs/cgroup`. What the process
/// may is asked of the process itself: its thread is stopped and made to call the kernel.
#[test]
fn the_agents_own_process_cant_write_outside_its_state_directory() {
    let Some(space) = Space::alone("write") else { return };
    let mut pod = app("app", &[(SIGNAL, "SIGHUP")]);
    pod["spec"]["volumes"] = json!([{"name": "config", "secret": {"secretName": "config"}}]);
    space.start(&[secret("one"), pod]);
    let uid = space.get("pod", "app")["metadata"]["uid"].as_str().unwrap().to_owned();
    let secret = format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~secret/config/..data/key");
    let etc_hosts = format!("/var/lib/kubelet/pods/{uid}/etc-hosts");
    let freezer = node(&["find", "/sys/fs/cgroup", "-path", &format!("*{uid}*"), "-name", "freezer.state"]);

    let Some(mut agent) = Injector::attach(agent::machine_pid()) else { return };
    agent.open_to_read(&secret).expect("a Secret can be read: it's there, and no file's mode is in the way");
    let denied = Err("EACCES".to_owned());
    assert_eq!(agent.open_to_write(&secret), denied, "a Secret");
    assert_eq!(agent.open_to_write(&etc_hosts), Err("EROFS".to_owned()), "a pod's file on the node's disk");
    for file in freezer.lines() {
        agent.open_to_read(file).expect("the cgroup can be read");
        assert_eq!(agent.open_to_write(file), denied, "{file}");
    }
    agent.open_to_write("/var/lib/reloadlet/journal.redb").expect("its own journal can be written");
    drop(agent);

    let patch = json!({"stringData": {"key": "two"}}).to_string();
    space.kubectl(&["patch", "secret", "config", "--type=merge", "-p", &patch]);
    space.wait_told("app", "app", &["hup two"]);
}

#[test]
fn the_shipped_rights_are_enough() {
    let Some(space) = Space::alone("enough") else { return };
    agent::restart();
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP")]), app("bad", &[(SIGNAL, "SIGKILL")])]);
    space.change("two");
    space.wait_told("app", "app", &["hup two"]);
    space.wait_event("app", "SignalSent");
    space.wait_event("bad", "ReloadProblem");
    let log = agent::log();
    assert!(!log.to_lowercase().contains("forbidden"), "{log}");
}

/// Takes one right away from the agent for as long as it lives.
struct Without(String);

impl Without {
    fn right(resource: &str, verb: &str) -> Self {
        let before = kubectl(["get", "clusterrole", "reloadlet", "-o", "json"]);
        let mut role: Value = serde_json::from_str(&before).unwrap();
        let rule = role["rules"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .find(|rule| rule["resources"] == json!([resource]))
            .unwrap();
        let verbs = rule["verbs"].as_array_mut().unwrap();
        let count = verbs.len();
        verbs.retain(|other| other != verb);
        assert_eq!(verbs.len(), count - 1, "{resource} {verb}");
        set_rules(&role);
        // The agent has kept what it knows, and its watch.
        kubectl(["-n", "reloadlet", "delete", "pod", agent::PODS, "--wait=true"]);
        Self(before)
    }
}

impl Drop for Without {
    fn drop(&mut self) {
        set_rules(&serde_json::from_str(&self.0).unwrap());
        agent::restart();
    }
}

fn set_rules(role: &Value) {
    let patch = json!([{"op": "replace", "path": "/rules", "value": role["rules"]}]).to_string();
    kubectl(["patch", "clusterrole", "reloadlet", "--type=json", "-p", &patch]);
}

#[test]
fn each_right_is_needed() {
    let Some(space) = Space::alone("needed") else { return };
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP")])]);
    let annotate = |value: &str| {
        let debounce = format!("reloadlet.io/debounce={value}");
        space.kubectl(&["annotate", "--overwrite", "pod", "app", &debounce]);
    };
    for (resource, verb) in [
        ("pods", "list"),
        ("pods", "watch"),
        ("configmaps", "list"),
        ("configmaps", "watch"),
        ("events", "create"),
        ("events", "patch"),
    ] {
        let _without = Without::right(resource, verb);
        let mut next_change = Instant::now();
        wait_until(&format!("the agent says that it can't {verb} {resource}"), || {
            if resource == "events" && Instant::now() >= next_change {
                // After the pause between two Events of a kind, one that says the same is counted in the same object. Those
                // of deliveries say something else each time.
                next_change = Instant::now() + EVENT_PAUSE;
                annotate("1s");
                annotate("never");
            }
            agent::log().lines().any(|line| {
                line.contains("forbidden")
                    && line.contains(&format!("cannot {verb} resource \\\"{resource}\\\""))
            })
        });
    }
    let rules = kubectl(["get", "clusterrole", "reloadlet", "-o", "json"]);
    let rules: Value = serde_json::from_str(&rules).unwrap();
    let rights: usize =
        rules["rules"].as_array().unwrap().iter().map(|rule| rule["verbs"].as_array().unwrap().len()).sum();
    assert_eq!(rights, 6, "a right that no line above takes away");
}
