//! The agent on nodes of every make, with little privilege, and what it says of itself.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use standin::{CgroupDriver, Hierarchy, NodeOptions, PodSpec, Qos, Runtime, VolumeSpec, payload};

use crate::support::{LIMIT, SIGNAL, Setup, app, bare, change, reader};

const V1: Hierarchy = Hierarchy::V1;
const V2: Hierarchy = Hierarchy::Unified;
const PLAIN: CgroupDriver = CgroupDriver::Cgroupfs;
const SYSTEMD: CgroupDriver = CgroupDriver::Systemd;

fn delivers(hierarchy: Hierarchy, driver: CgroupDriver, runtime: Runtime, kind_prefix: bool) {
    let options = NodeOptions { hierarchy, driver, runtime, kind_prefix, ..NodeOptions::default() };
    let specs = vec![
        app("guaranteed").qos(Qos::Guaranteed),
        app("burstable").qos(Qos::Burstable).without_status(),
        app("besteffort").share_process_namespace(),
    ];
    let Some(rig) = Setup::new().node(options).start(specs) else { return };
    for pod in rig.node.pods() {
        change(&pod, "two");
    }
    for pod in rig.node.pods() {
        rig.wait_told(&pod, "app", "two");
        rig.assert_only_told(pod.name(), &[pod.container("app").unwrap().pid]);
        // A restarted container is found again.
        pod.restart_container("app").unwrap();
        pod.wait_ready("app").unwrap();
        change(&pod, "three");
    }
    for pod in rig.node.pods() {
        rig.wait_told(&pod, "app", "three");
        rig.signals(&pod, "app", 2);
    }
    rig.end();
}

macro_rules! nodes {
    ($($name:ident: $hierarchy:expr, $driver:expr, $runtime:ident, $kind:expr;)*) => {$(
        #[test]
        fn $name() {
            delivers($hierarchy, $driver, Runtime::$runtime, $kind);
        }
    )*};
}

nodes! {
    containerd_on_v2_delivers: V2, PLAIN, Containerd, false;
    containerd_with_systemd_on_v2_delivers: V2, SYSTEMD, Containerd, false;
    containerd_on_v1_delivers: V1, PLAIN, Containerd, false;
    containerd_with_systemd_on_v1_delivers: V1, SYSTEMD, Containerd, false;
    crio_on_v2_delivers: V2, PLAIN, Crio, false;
    crio_with_crun_on_v2_delivers: V2, SYSTEMD, CrioCrun, false;
    docker_on_v2_delivers: V2, PLAIN, CriDockerd, false;
    docker_with_systemd_on_v1_delivers: V1, SYSTEMD, CriDockerd, false;
    kind_delivers: V2, SYSTEMD, Containerd, true;
    kind_with_cgroupfs_delivers: V2, PLAIN, Containerd, true;
}

#[test]
fn on_a_hybrid_host_v2_pods_are_found_below_the_v1_root() {
    let hybrid = |node: &standin::Node, options: standin::AgentOptions| {
        let above = node.cgroup_root().parent().unwrap().to_owned();
        let is_hybrid = node.cgroup_root().ends_with("unified");
        standin::AgentOptions { cgroup_root: if is_hybrid { above } else { options.cgroup_root }, ..options }
    };
    let Some(rig) = Setup::new().agent(hybrid).start(vec![app("web")]) else { return };
    let pod = rig.pod("web");
    change(&pod, "two");
    rig.wait_told(&pod, "app", "two");
    rig.end();
}

#[test]
fn a_dry_run_sends_nothing_and_counts_what_it_would_have_sent() {
    let Some(rig) = Setup::new().agent(|_, options| options.arg("--dry-run")).start(vec![app("web")]) else {
        return;
    };
    let pod = rig.pod("web");
    for (count, content) in ["two", "three"].into_iter().enumerate() {
        change(&pod, content);
        rig.wait_outcomes("web", "dry_run", u32::try_from(count).unwrap() + 1);
    }
    rig.signals(&pod, "app", 0);
    assert_eq!(rig.outcomes("web", "delivered"), 0.0);
    rig.end();
}

/// Ends a thread that looks at this, also when the test fails.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn no_file_is_open_in_a_volume_and_nothing_is_pinned() {
    let secret = |n: usize| {
        PodSpec::new(&format!("s{n}"))
            .namespace("s")
            .annotation(SIGNAL, "SIGHUP")
            .annotation("reloadlet.io/keys", "app.conf")
            .volume(VolumeSpec::secret("conf").key("app.conf", "one\n"))
            .container(reader("app", &[]))
    };
    let Some(rig) = Setup::new().light().start((0..6).map(secret).collect()) else { return };
    let root = fs::canonicalize(rig.node.kubelet_root()).unwrap();
    let done = AtomicBool::new(false);
    let fds = format!("/proc/{}/fd", rig.agent.pid());
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let (mut looks, mut inside) = (0, 0);
            while !done.load(Ordering::SeqCst) {
                looks += 1;
                for fd in fs::read_dir(&fds).unwrap().flatten() {
                    // A read of a digest or a listing opens what it reads for a moment, and that is all.
                    let target = fs::read_link(fd.path()).unwrap_or_default();
                    inside += usize::from(target.starts_with(&root));
                }
            }
            (looks, inside)
        });
        let _end = SetAtEnd(&done);
        for n in 0..10 {
            for pod in rig.node.pods() {
                change(&pod, &format!("n{n}"));
            }
        }
        for pod in rig.node.pods() {
            rig.wait_told(&pod, "app", "n9");
        }
        // Removal while the agent looks at a change: the plain umount of each tmpfs must succeed.
        for pod in rig.node.pods() {
            change(&pod, "last");
            pod.remove().unwrap();
        }
        done.store(true, Ordering::SeqCst);
        let (looks, inside) = looking.join().unwrap();
        assert!(looks > 50 && inside * 10 < looks, "{inside} of {looks} looks saw an open file");
    });
    let open = fs::read_dir(&fds).unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    assert_eq!(open.filter(|target| target.starts_with(&root)).count(), 0);
    rig.publish_pods();
    rig.wait_metric("reloadlet_pods", &[("state", "watched")], 0.0);
    rig.wait_metric("reloadlet_volumes", &[], 0.0);
    rig.end();
}

#[test]
fn kill_is_the_only_capability_that_is_needed() {
    let caps = ["setpriv", "--bounding-set", "-all,+kill", "--inh-caps", "-all", "--no-new-privs"];
    let wrapper = move |_: &_, options: standin::AgentOptions| options.wrapper(&caps);
    let user = bare("user").annotation(SIGNAL, "SIGHUP").container(reader("app", &[]).user(1234));
    let name = app("name").annotation("reloadlet.io/process", "workload");
    let Some(mut rig) =
        Setup::new().programs(&["setpriv"]).agent(wrapper).start(vec![app("root"), user, name])
    else {
        return;
    };
    let status = fs::read_to_string(format!("/proc/{}/status", rig.agent.pid())).unwrap();
    for line in ["CapEff:\t0000000000000020", "CapPrm:\t0000000000000020", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{status}");
    }
    for pod in rig.node.pods() {
        change(&pod, "two");
        rig.wait_told(&pod, "app", "two");
    }
    rig.wait_recorded();
    rig.agent.kill9().unwrap();
    for pod in rig.node.pods() {
        change(&pod, "three");
    }
    rig.agent = crate::support::start_agent(rig.options.clone());
    for pod in rig.node.pods() {
        rig.wait_told(&pod, "app", "three");
        rig.signals(&pod, "app", 2);
    }
    rig.end();
}

#[test]
fn without_kill_another_users_process_is_denied() {
    let caps = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs"];
    let wrapper = move |_: &_, options: standin::AgentOptions| options.wrapper(&caps);
    let user = bare("user").annotation(SIGNAL, "SIGHUP").container(reader("app", &[]).user(1234));
    let Some(rig) = Setup::new().programs(&["setpriv"]).agent(wrapper).start(vec![user]) else { return };
    change(&rig.pod("user"), "two");
    rig.wait_outcomes("user", "denied", 1);
    rig.wait_reason("user", "denied", "EPERM: Operation not permitted");
    rig.signals(&rig.pod("user"), "app", 0);
    rig.end();
}

#[test]
fn health_metrics_and_status_say_what_is() {
    let secret = VolumeSpec::secret("sec").key("k", "1");
    let spec = bare("web").annotation(SIGNAL, "SIGHUP").volume(secret);
    let spec = spec.container(reader("app", &[]).mount("sec", "/sec"));
    // Its pods file comes later: it can't be ready before.
    let Some(stage) = Setup::new().stage(vec![spec, bare("silent").container(reader("app", &[]))]) else {
        return;
    };
    let pods_file = stage.options.pods_file.clone();
    fs::remove_file(&pods_file).unwrap();
    let mut rig = stage.start();
    standin::wait_until(LIMIT, "/livez", || rig.agent.get("/livez").is_ok_and(|answer| answer.status == 200))
        .unwrap();
    assert_eq!(rig.agent.get("/readyz").unwrap().status, 503);
    rig.publish_pods();
    rig.agent.wait_ready(LIMIT).unwrap();

    let pod = rig.pod("web");
    change(&pod, "two");
    pod.update("sec", payload([("k", "2")])).unwrap();
    rig.wait_told(&pod, "app", "two");
    rig.wait_outcomes("web", "delivered", 1);
    let metrics = rig.agent.metrics().unwrap();
    for (name, labels, value) in [
        ("reloadlet_pods", &[("state", "watched")][..], 1.0),
        ("reloadlet_pods", &[("state", "invalid")], 0.0),
        ("reloadlet_volumes", &[("kind", "configmap")], 1.0),
        ("reloadlet_volumes", &[("kind", "secret")], 1.0),
        ("reloadlet_swaps_total", &[("kind", "configmap")], 1.0),
        ("reloadlet_swaps_total", &[("kind", "secret")], 1.0),
        ("reloadlet_reloads_total", &[("action", "signal")], 1.0),
        ("reloadlet_settle_seconds_count", &[], 2.0),
        ("reloadlet_deliver_seconds_count", &[], 1.0),
        ("reloadlet_settle_timeouts_total", &[], 0.0),
        ("reloadlet_overflows_total", &[], 0.0),
        ("reloadlet_polled_volumes", &[], 0.0),
        ("reloadlet_journal_in_memory", &[], 0.0),
        ("reloadlet_build_info", &[], 1.0),
    ] {
        assert_eq!(metrics.value(name, labels), value, "{name} {labels:?}");
    }
    assert!(metrics.sum("reloadlet_inotify_watches") >= 2.0);
    assert!(metrics.sum("process_resident_memory_bytes") > 1e6);

    let status = rig.agent.status().unwrap();
    assert_eq!(status["apiVersion"], "status.reloadlet.io/v1");
    let time = status["time"].as_str().unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    let pods = status["pods"].as_array().unwrap();
    assert_eq!((pods.len(), &pods[0]["name"], &pods[0]["uid"]), (1, &"web".into(), &pod.uid().into()));
    let container = &pods[0]["containers"][0];
    assert_eq!(container["pids"][0], pod.container("app").unwrap().pid);
    assert_eq!(container["lastOutcome"], "delivered");
    let generation = pod.generation("conf").unwrap().unwrap();
    assert!(status.to_string().contains(&generation), "{status}");
    // Metrics and health are for everybody, the status isn't.
    assert_eq!(rig.agent.get("/status").unwrap().status, 404);
    rig.end();
}
