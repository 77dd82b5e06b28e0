//! The stand-in node looks to its processes, and to the host, like the recorded one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test says by a panic what failed"
)]

mod agent;
mod containers;
mod pods;

use std::fs;
use std::time::Duration;

use standin::{ContainerSpec, Exit, Node, NodeOptions, PodSpec, VolumeSpec, require_root};

const LIMIT: Duration = Duration::from_secs(20);

/// Starts a node, or tells why not.
fn node(options: NodeOptions) -> Option<Node> {
    if let Err(skip) = require_root(options.hierarchy, &["sleep"]) {
        eprintln!("{skip}");
        return None;
    }
    Some(Node::start(options).unwrap())
}

fn proc(pid: i32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap()
}

/// (root, mount point, options) of each mount of a process.
fn mounts(pid: i32) -> Vec<(String, String, String)> {
    let text = proc(pid, "mountinfo");
    let line = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        (words[3].to_owned(), words[4].to_owned(), words[5].to_owned())
    };
    text.lines().map(line).collect()
}

fn last_ns_pid(pid: i32) -> String {
    let status = proc(pid, "status");
    let line = status.lines().find(|line| line.starts_with("NSpid:")).unwrap();
    line.split_whitespace().last().unwrap().to_owned()
}

fn two_volumes() -> PodSpec {
    PodSpec::new("web")
        .volume(VolumeSpec::config_map("conf").key("app.conf", "one\n"))
        .volume(VolumeSpec::secret("sec").key("tls.crt", "c1"))
        .container(
            ContainerSpec::workload("app", &["--read", "/etc/app/conf.d/app.conf"])
                .mount("conf", "/etc/app/conf.d")
                .mount("sec", "/sec")
                .mount_sub_path("conf", "/one.conf", "app.conf"),
        )
}

fn mounts_of(container: &standin::Container, point: &str) -> String {
    mounts(container.pid).into_iter().find(|(_, at, _)| at == point).unwrap().0
}

fn finish(mut exec: standin::Exec) -> (Exit, String) {
    let exit = exec.wait(LIMIT).unwrap();
    (exit, fs::read_to_string(exec.output()).unwrap())
}
