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
