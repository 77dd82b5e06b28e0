//! Processes: mounts, namespaces, signals.

use std::fs;
use std::path::Path;
use std::time::Duration;

use standin::{ContainerSpec, Exit, LogRecord, NodeOptions, PodSpec, Signal, payload, wait_until};

use crate::{LIMIT, last_ns_pid, mounts, mounts_of, node, proc, two_volumes};

#[test]
fn a_process_sees_its_mounts_as_recorded_and_an_update_through_them() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let pod = node.add_pod(two_volumes()).unwrap();
    pod.wait_ready("app").unwrap();
    let app = pod.container("app").unwrap();

    let mounts = mounts(app.pid);
    let find =
        |point: &str| mounts.iter().find(|(_, at, _)| at == point).unwrap_or_else(|| panic!("{mounts:#?}"));
    let (root, _, options) = find("/etc/app/conf.d");
    assert!(root.ends_with(&format!("/pods/{}/volumes/kubernetes.io~configmap/conf", pod.uid())), "{root}");
    assert_eq!(options, "ro,relatime");
    assert_eq!(find("/sec").0, "/");
    assert_eq!(find("/sec").2, "ro,relatime");
    let log = &find("/dev/termination-log").0;
    let (dir, name) = log.rsplit_once('/').unwrap();
    assert!(dir.ends_with(&format!("/pods/{}/containers/app", pod.uid())), "{dir}");
    assert!(name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    assert!(find("/one.conf").0.ends_with("/app.conf"));
    // Nothing of the host's other mounts is left, and nothing is shared with it.
    assert!(!mounts.iter().any(|(root, at, _)| root == "/" && at.starts_with("/sys")), "{mounts:#?}");
    assert!(!proc(app.pid, "mountinfo").contains("shared:"));

    assert_eq!(last_ns_pid(app.pid), "1");
    assert_eq!(proc(app.pid, "comm").trim(), "workload");
    assert_eq!(proc(pod.sandbox().unwrap().pid, "comm").trim(), "pause");
    assert_eq!(proc(pod.sandbox().unwrap().pid, "cmdline"), "/pause\0--pause\0");

    let written = pod.update("conf", payload([("app.conf", "two\n")])).unwrap();
    pod.kill_container("app", Signal::HUP).unwrap();
    let signals = pod.wait_signals("app", 1).unwrap();
    let LogRecord::Signal { at, name, read } = &signals[0] else { panic!("{signals:?}") };
    assert_eq!((name.as_str(), read.as_deref()), ("SIGHUP", Some("two")));
    assert!(*at > written.settled_at().unwrap());
    let frozen = mounts_of(&app, "/one.conf");
    assert!(frozen.ends_with("/app.conf//deleted"), "{frozen}");
    node.shutdown().unwrap();
}

#[test]
fn an_exec_is_in_the_leaf_with_its_parent_outside() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let pod = node.add_pod(two_volumes()).unwrap();
    let app = pod.container("app").unwrap();
    let exec = pod.exec("app", &["sleep", "100"]).unwrap();
    assert_eq!(proc(exec.pid(), "comm").trim(), "sleep");
    let procs = fs::read_to_string(app.leaf.join("cgroup.procs")).unwrap();
    assert!(procs.lines().any(|line| line == exec.pid().to_string()), "{procs}");
    assert_ne!(last_ns_pid(exec.pid()), "1");
    let stat = proc(exec.pid(), "stat");
    let parent = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
    assert!(!procs.lines().any(|line| line == parent));
    assert_eq!(exec.kill().unwrap(), Exit::Signal(9));
    node.shutdown().unwrap();
}

#[test]
fn a_restart_gives_a_new_id_and_takes_the_old_leaf_away() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let pod = node.add_pod(two_volumes()).unwrap();
    pod.wait_ready("app").unwrap();
    let old = pod.container("app").unwrap();
    pod.update("conf", payload([("app.conf", "two\n")])).unwrap();
    let new = pod.restart_container("app").unwrap();
    pod.wait_ready("app").unwrap();
    assert_ne!((&old.id, old.pid, &old.leaf), (&new.id, new.pid, &new.leaf));
    assert!(!old.leaf.exists() && new.leaf.exists());
    // subPath is bound anew.
    assert!(!mounts_of(&new, "/one.conf").ends_with("//deleted"));
    assert_ne!(mounts_of(&new, "/dev/termination-log"), "");
    pod.kill_container("app", Signal::KILL).unwrap();
    assert_eq!(pod.wait_exit("app").unwrap(), Exit::Signal(9));
    wait_until(LIMIT, "the end of the leaf", || !new.leaf.exists()).unwrap();
    node.shutdown().unwrap();
}

#[test]
fn a_starting_container_is_runc_init_and_dies_of_a_signal() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let slow = ContainerSpec::workload("slow", &[]).init_delay(Duration::from_millis(300));
    let pod = node.add_pod(PodSpec::new("slow").container(slow)).unwrap();
    let slow = pod.container("slow").unwrap();
    wait_until(LIMIT, "runc init", || proc(slow.pid, "comm").trim() == "runc:[2:INIT]").unwrap();
    let procs = || fs::read_to_string(slow.leaf.join("cgroup.procs")).unwrap();
    wait_until(LIMIT, "its leaf", || procs().trim() == slow.pid.to_string()).unwrap();
    assert!(!proc(slow.pid, "mountinfo").contains("/containers/slow/"));
    pod.wait_started("slow").unwrap();
    wait_until(LIMIT, "the program", || proc(slow.pid, "comm").trim() == "workload").unwrap();
    pod.wait_ready("slow").unwrap();

    let again = pod.restart_container("slow").unwrap();
    wait_until(LIMIT, "its leaf", || {
        fs::read_to_string(again.leaf.join("cgroup.procs")).is_ok_and(|text| !text.trim().is_empty())
    })
    .unwrap();
    pod.kill_container("slow", Signal::HUP).unwrap();
    assert_eq!(pod.wait_exit("slow").unwrap(), Exit::Code(129));
    node.shutdown().unwrap();
}

#[test]
fn a_shared_pid_namespace_has_pause_as_its_first_process() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let spec = two_volumes()
        .share_process_namespace()
        .container(ContainerSpec::workload("side", &["--children", "2"]).sidecar());
    let pod = node.add_pod(spec).unwrap();
    pod.wait_ready("side").unwrap();
    let (pause, app, side) =
        (pod.sandbox().unwrap(), pod.container("app").unwrap(), pod.container("side").unwrap());
    assert_eq!(last_ns_pid(pause.pid), "1");
    assert_ne!(last_ns_pid(app.pid), "1");
    let ns = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    assert_eq!((ns(app.pid), ns(side.pid)), (ns(pause.pid), ns(pause.pid)));
    // The children are not init's; they end with the container all the same.
    let count = || fs::read_to_string(side.leaf.join("cgroup.procs")).unwrap().lines().count();
    wait_until(LIMIT, "the children", || count() == 3).unwrap();
    pod.kill_container("side", Signal::KILL).unwrap();
    pod.wait_exit("side").unwrap();
    assert!(!side.leaf.exists());
    let json = node.pods_json();
    assert_eq!(json["items"][0]["spec"]["initContainers"][0]["restartPolicy"], "Always");
    assert_eq!(json["items"][0]["spec"]["shareProcessNamespace"], true);
    pod.remove().unwrap();
    node.shutdown().unwrap();
}

#[test]
fn a_workload_does_with_signals_what_its_flags_say() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let mut spec = PodSpec::new("flags");
    for (name, args) in [
        ("catch", &["--catch", "USR1,TERM", "--stamps", "/pod/stamps"] as &[&str]),
        ("ignore", &["--ignore", "HUP"]),
        ("none", &["--none"]),
        ("exit", &["--exit-on", "HUP"]),
        ("all", &["--block-all-threads", "HUP"]),
        ("leader", &["--block-leader", "HUP"]),
        ("late", &["--catch-after", "1m", "--comm", "app"]),
        ("tini", &["--none", "--comm", "tini", "--child", "--comm nginx --log /pod/nginx.log"]),
    ] {
        spec = spec.container(ContainerSpec::workload(name, args));
    }
    let pod = node.add_pod(spec).unwrap();
    let mask = |name: &str, field: &str| -> bool {
        let status = proc(pod.container(name).unwrap().pid, "status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap() & 1 == 1
    };
    for name in ["catch", "ignore", "none", "exit", "all", "leader", "tini"] {
        pod.wait_ready(name).unwrap();
    }
    wait_until(LIMIT, "the log", || !pod.log("late").unwrap().is_empty()).unwrap();
    let masks: Vec<_> = ["catch", "ignore", "none", "exit", "all", "leader", "late"]
        .iter()
        .map(|name| (*name, mask(name, "SigBlk:"), mask(name, "SigIgn:"), mask(name, "SigCgt:")))
        .collect();
    assert_eq!(
        masks,
        [
            ("catch", false, false, false),
            ("ignore", false, true, false),
            ("none", false, false, false),
            ("exit", false, false, true),
            ("all", true, false, true),
            ("leader", true, false, true),
            ("late", false, false, false),
        ]
    );
    pod.kill_container("exit", Signal::HUP).unwrap();
    assert_eq!(pod.wait_exit("exit").unwrap(), Exit::Code(0));
    pod.kill_container("leader", Signal::HUP).unwrap();
    pod.wait_signals("leader", 1).unwrap();
    pod.kill_container("all", Signal::HUP).unwrap();
    let before = standin::boottime_ns();
    pod.kill_container("catch", Signal::USR1).unwrap();
    pod.wait_signals("catch", 1).unwrap();
    let stamps = pod.exchange_dir().join("stamps");
    let stamps = wait_until(LIMIT, "a stamp", || {
        Some(standin::read_stamps(&stamps).unwrap()).filter(|s| !s.is_empty())
    });
    let (at, number) = stamps.unwrap()[0];
    assert!(at > before && number == 10);
    assert_eq!(proc(pod.container("late").unwrap().pid, "comm").trim(), "app");
    wait_until(LIMIT, "the child", || {
        standin::read_log(&pod.exchange_dir().join("nginx.log")).unwrap().len() == 2
    })
    .unwrap();
    assert!(pod.signals("all").unwrap().is_empty());
    pod.terminate(Duration::from_millis(200)).unwrap();
    assert_eq!(pod.exit("none").unwrap(), Some(Exit::Signal(9)));
    assert_eq!(pod.signals("catch").unwrap().len(), 2);
    node.shutdown().unwrap();
}

#[test]
fn a_command_that_is_missing_is_told() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let pod = PodSpec::new("bad").container(ContainerSpec::new("app", &["/no/such/program"]));
    let error = node.add_pod(pod).unwrap_err();
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    node.shutdown().unwrap();
}

#[test]
fn a_container_can_run_as_another_user() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let spec = PodSpec::new("user").container(ContainerSpec::workload("app", &[]).user(65534));
    let pod = node.add_pod(spec).unwrap();
    pod.wait_ready("app").unwrap();
    let status = proc(pod.container("app").unwrap().pid, "status");
    assert!(
        status.contains("Uid:\t65534\t65534\t65534\t65534") && status.contains("Gid:\t65534"),
        "{status}"
    );
    node.shutdown().unwrap();
}

#[test]
fn a_volume_below_etc_hides_nothing_of_the_hosts_etc() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let script = "trap 'cat /etc/ssl/app/conf/app.conf; exit 7' HUP; echo up; while :; do sleep 0.05; done";
    let spec = PodSpec::new("etc")
        .volume(standin::VolumeSpec::projected("conf").key("app.conf", "one\n"))
        .container(ContainerSpec::new("app", &["sh", "-c", script]).mount("conf", "/etc/ssl/app/conf"));
    let pod = node.add_pod(spec).unwrap();
    let output = pod.container("app").unwrap().output;
    wait_until(LIMIT, "the shell", || fs::read_to_string(&output).unwrap().contains("up")).unwrap();
    let seen = pod.exec("app", &["ls", "/etc/ssl"]).unwrap();
    let (_, seen) = crate::finish(seen);
    for entry in fs::read_dir("/etc/ssl").unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(seen.lines().any(|line| line == name), "{name} is not in {seen}");
    }
    assert!(!Path::new("/etc/ssl/app").exists());
    pod.kill_container("app", Signal::HUP).unwrap();
    assert_eq!(pod.wait_exit("app").unwrap(), Exit::Code(7));
    assert!(fs::read_to_string(&output).unwrap().ends_with("one\n"));
    node.shutdown().unwrap();
}

#[test]
fn an_init_container_is_run_to_its_end_first() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let spec = PodSpec::new("init")
        .container(ContainerSpec::new("first", &["sh", "-c", "echo done > /pod/first"]).init())
        .container(ContainerSpec::new("app", &["sh", "-c", "cat /pod/first; exec sleep 100"]).env("A", "b"));
    let pod = node.add_pod(spec).unwrap();
    assert_eq!(pod.exit("first").unwrap(), Some(Exit::Code(0)));
    let output = pod.container("app").unwrap().output;
    wait_until(LIMIT, "the output", || fs::read_to_string(&output).unwrap() == "done\n").unwrap();
    let status = node.pods_json()["items"][0]["status"].clone();
    assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 0);
    assert_eq!(status["containerStatuses"][0]["ready"], true);
    node.shutdown().unwrap();
}
