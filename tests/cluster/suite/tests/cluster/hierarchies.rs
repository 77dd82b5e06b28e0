//! Control groups of version 1 alone and of version 2 alone. A node that has both has a container's in each of them.

use serde_json::{Value, json};

use crate::containers::{Exec, end_container};
use cluster_suite::agent;
use cluster_suite::space::{SIGNAL, Space, app, config_map, kubectl, node};

const BOTH: &str = "/sys/fs/cgroup";
const FIRST_ALONE: &str = "/run/cgroup-v1";

/// The node's hierarchies of one version: the last part of the path, and the path.
fn hierarchies(kind: &str) -> Vec<(String, String)> {
    node(&["findmnt", "-rno", "TARGET,FSTYPE"])
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(path, found)| *found == kind && (*path == BOTH || path.starts_with(&format!("{BOTH}/"))))
        .map(|(path, _)| (path.rsplit('/').next().unwrap().to_owned(), path.to_owned()))
        .collect()
}

/// The agent with another directory of the node as its `/sys/fs/cgroup`; dropped, it has its own again.
struct Seeing;

impl Seeing {
    fn only(path: &str) -> Self {
        let seeing = Self;
        see(path);
        seeing
    }
}

impl Drop for Seeing {
    fn drop(&mut self) {
        see(BOTH);
        // No container has it any more.
        let script = format!(
            "if [ -d {FIRST_ALONE} ]; then umount {FIRST_ALONE}/* && rmdir {FIRST_ALONE}/* {FIRST_ALONE}; fi"
        );
        node(&["sh", "-c", &script]);
    }
}

fn see(path: &str) {
    let patch = json!({"spec": {"template": {"spec": {"volumes": [
        {"name": "cgroup", "hostPath": {"path": path, "type": "Directory"}},
    ]}}}});
    let text = patch.to_string();
    kubectl(["-n", "reloadlet", "patch", "daemonset", "reloadlet", "--type=strategic", "-p", &text]);
    agent::wait_rolled_out();
}

/// What the agent's container has mounted there: paths below it and their kinds.
fn seen() -> Vec<(String, String)> {
    node(&["cat", &format!("/proc/{}/mountinfo", agent::node_pid())])
        .lines()
        .filter_map(|line| {
            let path = line.split(' ').nth(4)?.strip_prefix(BOTH)?;
            let kind = line.split_once(" - ")?.1.split(' ').next()?;
            kind.starts_with("cgroup").then(|| (path.to_owned(), kind.to_owned()))
        })
        .collect()
}

fn signal_app(name: &str) -> Value {
    app(name, &[(SIGNAL, "SIGHUP")])
}

fn changes_are_told(space: &Space) {
    space.wait_ready();
    let exec = Exec::start(space, "before");
    space.create(&[signal_app("after")]);
    space.wait_ready();
    space.change("two");
    for pod in ["before", "after"] {
        space.wait_told(pod, "app", &["hup two"]);
    }
    exec.end_untold();

    end_container(space, "before");
    space.change("three");
    space.wait_told("before", "app", &["hup three"]);
    space.wait_told("after", "app", &["hup two", "hup three"]);
}

#[test]
fn version_1_alone_is_enough() {
    let Some(space) = Space::alone("first") else { return };
    let parts = hierarchies("cgroup");
    if parts.is_empty() {
        eprintln!("skipped: the node has no control groups of version 1");
        return;
    }
    space.create(&[config_map("one"), signal_app("before")]);
    let mut script = "set -e".to_owned();
    for (name, path) in &parts {
        script += &format!("; mkdir -p {FIRST_ALONE}/{name}; mount --bind {path} {FIRST_ALONE}/{name}");
    }
    node(&["sh", "-c", &script]);
    let _seeing = Seeing::only(FIRST_ALONE);
    let mut wanted: Vec<_> =
        parts.iter().map(|(name, _)| (format!("/{name}"), "cgroup".to_owned())).collect();
    let mut seen = seen();
    wanted.sort();
    seen.sort();
    assert_eq!(seen, wanted);
    changes_are_told(&space);
}

#[test]
fn version_2_alone_is_enough() {
    let Some(space) = Space::alone("second") else { return };
    let parts = hierarchies("cgroup2");
    let [(_, path)] = &*parts else { panic!("one hierarchy of version 2: {parts:?}") };
    space.create(&[config_map("one"), signal_app("before")]);
    let _seeing = Seeing::only(path);
    assert_eq!(seen(), [(String::new(), "cgroup2".to_owned())]);
    changes_are_told(&space);
}
