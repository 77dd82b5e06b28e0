//! Pods and volumes: cgroup paths, teardown, late and rebuilt volumes, many pods.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use standin::{
    CgroupDriver, ContainerSpec, Exit, Hierarchy, NodeOptions, PodSpec, Qos, Runtime, VolumeSpec, Written,
    payload, wait_until,
};

use crate::{LIMIT, finish, last_ns_pid, mounts, mounts_of, node, proc, two_volumes};

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
fn kinds_prefix_comes_before_every_slice() {
    let options = NodeOptions { driver: CgroupDriver::Systemd, kind_prefix: true, ..NodeOptions::default() };
    let Some(node) = node(options) else { return };
    let pod =
        node.add_pod(PodSpec::new("web").uid("a-b").container(ContainerSpec::workload("app", &[]))).unwrap();
    let wanted = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/\
                  kubelet-kubepods-besteffort-poda_b.slice";
    assert!(pod.cgroup_dir().to_string_lossy().ends_with(wanted), "{:?}", pod.cgroup_dir());
    node.shutdown().unwrap();
}

#[test]
#[ignore = "started by the test below"]
fn holds_a_pod_until_it_is_killed() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let pod = node.add_pod(two_volumes().share_process_namespace()).unwrap();
    let app = pod.container("app").unwrap();
    println!(
        "held {} {} {} {}",
        app.pid,
        pod.sandbox().unwrap().pid,
        app.leaf.display(),
        node.dir().display()
    );
    std::thread::sleep(LIMIT);
}

#[test]
#[ignore = "started by the test below"]
fn starts_and_ends() {
    let Some(node) = node(NodeOptions::default()) else { return };
    node.shutdown().unwrap();
}

#[test]
fn a_killed_test_process_leaves_no_process_and_the_next_one_takes_the_rest_away() {
    use std::io::{BufRead, BufReader};
    let Some(node) = node(NodeOptions::default()) else { return };
    let run = |test: &str| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", test])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut child = run("pods::holds_a_pod_until_it_is_killed");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find_map(|line| line.split_once("held ").map(|(_, rest)| rest.to_owned())).unwrap();
    let words: Vec<_> = line.split(' ').collect();
    let [app, pause, leaf, dir] = words[..] else { panic!("{line}") };
    assert!(Path::new("/proc").join(app).exists() && Path::new(leaf).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    for path in [Path::new("/proc").join(app), Path::new("/proc").join(pause), leaf.into()] {
        wait_until(LIMIT, "its end", || !path.exists()).unwrap();
    }
    assert!(Path::new(dir).exists());
    assert!(run("pods::starts_and_ends").wait().unwrap().success());
    assert!(!Path::new(dir).exists());
    node.shutdown().unwrap();
}

#[test]
fn a_resync_and_a_kubelet_restart_write_nothing() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let pod = node.add_pod(two_volumes()).unwrap();
    let before = pod.generation("sec").unwrap();
    assert_eq!(pod.resync("sec").unwrap(), Written::Unchanged);
    assert_eq!(pod.make_volume("sec", payload([("tls.crt", "c1")])).unwrap(), Written::Unchanged);
    assert_eq!(pod.generation("sec").unwrap(), before);
    node.shutdown().unwrap();
}

#[test]
fn a_write_that_fails_tears_the_volume_down() {
    use standin::{Fault, WriteOptions};
    let Some(node) = node(NodeOptions::default()) else { return };
    let pod = node.add_pod(two_volumes()).unwrap();
    for volume in ["conf", "sec"] {
        let next = payload([("k", "next")]);
        pod.update_with(volume, &next, &WriteOptions::fault(Fault::DieBeforeRename)).unwrap();
        pod.resync(volume).unwrap_err();
        assert!(!pod.volume_dir(volume).unwrap().exists());
        pod.make_volume(volume, next).unwrap();
    }
    node.shutdown().unwrap();
}

#[test]
fn the_pods_file_is_a_list_as_kubectl_gives_it() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let spec = two_volumes()
        .annotation("reloadlet.io/signal", "SIGHUP")
        .runtime_class("gvisor")
        .patch(serde_json::json!({ "metadata": { "labels": { "a": "b" } } }));
    let pod = node.add_pod(spec).unwrap();
    node.add_pod(PodSpec::new("bare").without_status().unstarted()).unwrap();
    pod.set_annotation("reloadlet.io/container", "app");
    let path = node.dir().join("pods.json");
    node.write_pods_file(&path).unwrap();
    let list: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!((list["kind"].as_str(), list["items"].as_array().unwrap().len()), (Some("List"), 2));
    let find = |name: &str| {
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|item| item["metadata"]["name"] == name)
            .unwrap()
            .clone()
    };
    let web = find("web");
    assert_eq!(web["metadata"]["uid"], pod.uid());
    assert_eq!(web["metadata"]["annotations"]["reloadlet.io/container"], "app");
    assert_eq!(web["metadata"]["labels"]["a"], "b");
    assert_eq!(web["spec"]["runtimeClassName"], "gvisor");
    assert_eq!(web["spec"]["volumes"][1]["secret"]["secretName"], "sec");
    assert_eq!(web["spec"]["volumes"][1]["name"], "sec");
    assert_eq!(web["spec"]["containers"][0]["volumeMounts"][2]["subPath"], "app.conf");
    let id = pod.container("app").unwrap().id;
    assert_eq!(web["status"]["containerStatuses"][0]["containerID"], format!("containerd://{id}"));
    assert_eq!(find("bare")["status"]["containerStatuses"], serde_json::Value::Null);
    node.shutdown().unwrap();
}
