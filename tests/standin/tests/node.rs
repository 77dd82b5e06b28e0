//! The stand-in node looks to its processes, and to the host, like the recorded one.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use standin::{
    CgroupDriver, ContainerSpec, Exit, Hierarchy, LogRecord, Node, NodeOptions, PodSpec, Qos, Runtime,
    Signal, VolumeSpec, Written, payload, require_root, wait_until,
};

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

fn mounts_of(container: &standin::Container, point: &str) -> String {
    mounts(container.pid).into_iter().find(|(_, at, _)| at == point).unwrap().0
}

#[test]
fn each_driver_and_runtime_has_its_cgroup_path() {
    let uid = "0f1d2c3b-aaaa-4bbb-a111-0123456789ab";
    let escaped = "0f1d2c3b_aaaa_4bbb_a111_0123456789ab";
    let slices = format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{escaped}.slice");
    let plain = format!("kubepods/burstable/pod{uid}");
    for (hierarchy, driver, runtime, wanted) in [
        (Hierarchy::Unified, CgroupDriver::Cgroupfs, Runtime::Containerd, format!("{plain}/ID")),
        (Hierarchy::V1, CgroupDriver::Cgroupfs, Runtime::Containerd, format!("{plain}/ID")),
        (Hierarchy::V1, CgroupDriver::Systemd, Runtime::CriDockerd, format!("{slices}/docker-ID.scope")),
        (
            Hierarchy::Unified,
            CgroupDriver::Systemd,
            Runtime::Containerd,
            format!("{slices}/cri-containerd-ID.scope"),
        ),
        (Hierarchy::Unified, CgroupDriver::Cgroupfs, Runtime::Crio, format!("{plain}/crio-ID")),
        (
            Hierarchy::Unified,
            CgroupDriver::Systemd,
            Runtime::CrioCrun,
            format!("{slices}/crio-ID.scope/container"),
        ),
    ] {
        let Some(node) = node(NodeOptions { hierarchy, driver, runtime, ..NodeOptions::default() }) else {
            continue;
        };
        let spec =
            PodSpec::new("web").uid(uid).qos(Qos::Burstable).container(ContainerSpec::workload("app", &[]));
        let pod = node.add_pod(spec).unwrap();
        let app = pod.container("app").unwrap();
        assert_eq!(app.id.len(), 64);
        let wanted = wanted.replace("ID", &app.id);
        assert!(app.cgroup.ends_with(&wanted), "{} is not {wanted}", app.cgroup);
        assert!(app.cgroup.starts_with(&format!("/reloadlet-{}-", std::process::id())));
        let text = proc(app.pid, "cgroup");
        let prefixes: &[&str] = match hierarchy {
            Hierarchy::Unified => &["0::"],
            Hierarchy::V1 => &["name=systemd:", "pids:"],
        };
        for prefix in prefixes {
            assert!(text.contains(&format!("{prefix}{}\n", app.cgroup)), "{text}");
        }
        let procs = fs::read_to_string(app.leaf.join("cgroup.procs")).unwrap();
        assert_eq!(procs.trim(), app.pid.to_string());
        assert!(app.leaf.starts_with(node.cgroup_root()));
        let id = node.pods_json()["items"][0]["status"]["containerStatuses"][0]["containerID"].clone();
        assert!(id.as_str().unwrap().ends_with(&format!("://{}", app.id)), "{id}");
        node.shutdown().unwrap();
    }
}

#[test]
fn removal_leaves_no_mount_no_cgroup_and_no_file() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let pod = node.add_pod(two_volumes()).unwrap();
    let (app, dir, cgroup) = (pod.container("app").unwrap(), pod.dir().to_owned(), pod.cgroup_dir());
    let root = node.dir().to_owned();
    let mounted =
        |path: &Path| proc(std::process::id().cast_signed(), "mountinfo").contains(path.to_str().unwrap());
    assert!(mounted(&dir));

    // Something that pins the tmpfs makes the plain umount fail, and it can be tried again.
    let pin = fs::File::open(pod.volume_dir("sec").unwrap()).unwrap();
    let error = pod.remove().unwrap_err();
    assert!(error.is_busy(), "{error:?}");
    drop(pin);
    pod.remove().unwrap();
    assert!(!Path::new(&format!("/proc/{}", app.pid)).exists());
    assert!(!mounted(&dir) && !dir.exists() && !cgroup.exists() && !app.leaf.exists());
    assert!(pod.is_removed() && node.pods().is_empty());
    let level =
        cgroup.ancestors().find(|path| path.ends_with("kubepods")).unwrap().parent().unwrap().to_owned();
    assert!(level.exists());
    node.shutdown().unwrap();
    assert!(!mounted(&root) && !root.exists() && !level.exists());
}

#[test]
fn a_dropped_node_takes_everything_away() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let pod = node.add_pod(two_volumes()).unwrap();
    let (root, app, cgroup) = (node.dir().to_owned(), pod.container("app").unwrap(), pod.cgroup_dir());
    let pin = fs::File::open(pod.volume_dir("sec").unwrap()).unwrap();
    drop(node);
    assert!(!root.exists() && !cgroup.exists() && !Path::new(&format!("/proc/{}", app.pid)).exists());
    drop(pin);
}

#[test]
fn a_tmpfs_that_comes_late_covers_the_directory() {
    use std::os::unix::fs::MetadataExt;
    let Some(node) = node(NodeOptions::default()) else { return };
    let pod = node.add_pod(PodSpec::new("late").volume(VolumeSpec::secret("sec").unmade())).unwrap();
    let dir = pod.volume_dir("sec").unwrap();
    let device = |path: &Path| fs::metadata(path).ok().map(|data| data.dev());
    let written = std::thread::scope(|scope| {
        let writer = scope
            .spawn(|| pod.make_volume_late("sec", payload([("k", "v")]), Duration::from_millis(12)).unwrap());
        let (begin, first) =
            wait_until(LIMIT, "the directory", || device(&dir).map(|dev| (Instant::now(), dev))).unwrap();
        assert_eq!(Some(first), device(&dir.join("..")));
        wait_until(LIMIT, "the tmpfs", || device(&dir).is_some_and(|dev| dev != first)).unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(5), "{:?}", begin.elapsed());
        writer.join().unwrap()
    });
    assert!(matches!(written, Written::Swapped { previous: None, .. }), "{written:?}");
    assert_eq!(fs::read(dir.join("k")).unwrap(), b"v");
    node.shutdown().unwrap();
}

#[test]
fn a_rebuilt_volume_leaves_running_containers_on_the_old_one() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let pod = node.add_pod(two_volumes()).unwrap();
    let app = pod.container("app").unwrap();
    for (volume, key) in [("conf", "app.conf"), ("sec", "tls.crt")] {
        pod.unmake_volume(volume).unwrap();
        pod.make_volume(volume, payload([(key, "new")])).unwrap();
    }
    assert!(mounts_of(&app, "/etc/app/conf.d").ends_with("/conf//deleted"));
    assert_eq!(fs::read(pod.volume_dir("sec").unwrap().join("tls.crt")).unwrap(), b"new");
    let out = pod.exec("app", &["cat", "/sec/tls.crt"]).unwrap();
    assert_eq!(finish(out), (Exit::Code(0), "c1".to_owned()));
    node.shutdown().unwrap();
}

fn finish(mut exec: standin::Exec) -> (Exit, String) {
    let exit = exec.wait(LIMIT).unwrap();
    (exit, fs::read_to_string(exec.output()).unwrap())
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
fn many_light_pods_start_within_seconds() {
    let Some(node) = node(NodeOptions { light: true, ..NodeOptions::default() }) else { return };
    let spec = |index: usize| {
        PodSpec::new(&format!("pod-{index}"))
            .volume(VolumeSpec::config_map("conf").key("k", "v"))
            .volume(VolumeSpec::secret("sec").key("k", "v"))
            .container(ContainerSpec::workload("app", &[]).mount("conf", "/conf").mount("sec", "/sec"))
    };
    let begin = Instant::now();
    let pods = node.add_pods((0..100).map(spec).collect()).unwrap();
    eprintln!("100 light pods started in {:?}", begin.elapsed());
    for (index, pod) in pods.iter().enumerate() {
        assert_eq!(pod.name(), format!("pod-{index}"));
        pod.wait_ready("app").unwrap();
        assert_eq!(last_ns_pid(pod.container("app").unwrap().pid), "1");
    }
    let points: Vec<_> =
        mounts(pods[0].container("app").unwrap().pid).into_iter().map(|(_, at, _)| at).collect();
    assert!(points.len() <= 10 && points.contains(&"/sec".to_owned()), "{points:?}");
    let begin = Instant::now();
    node.shutdown().unwrap();
    eprintln!("and were removed in {:?}", begin.elapsed());
}

#[test]
fn a_command_that_is_missing_is_told() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let pod = PodSpec::new("bad").container(ContainerSpec::new("app", &["/no/such/program"]));
    let error = node.add_pod(pod).unwrap_err();
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    node.shutdown().unwrap();
}
