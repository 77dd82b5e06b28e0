//! Whether somebody opens files of the new generation after a delivery.

use std::fs;

use serde_json::json;
use standin::{
    ContainerSpec, Pod, PodSpec, VolumeKind, VolumeSpec, Written, boottime_ns, payload, wait_until,
};

use crate::support::{LIMIT, Rig, SIGNAL, Setup, Sysctl, app, bare, change};

/// A pod whose process catches the signal and reads nothing.
fn silent(name: &str) -> PodSpec {
    let container = ContainerSpec::workload("app", &[]).mount("conf", "/conf");
    bare(name).annotation(SIGNAL, "SIGHUP").annotation("reloadlet.io/verify", "3s").container(container)
}

fn verdicts(rig: &Rig, namespace: &str, verdict: &str) -> f64 {
    rig.metric("reloadlet_verdicts_total", &[("pod_namespace", namespace), ("verdict", verdict)])
}

fn wait_verdict(rig: &Rig, namespace: &str, verdict: &str, count: f64) {
    let labels = [("pod_namespace", namespace), ("verdict", verdict)];
    rig.wait_metric("reloadlet_verdicts_total", &labels, count);
}

/// The kubelet syncs the pod three times. Whether each time it opened all files within the 5 ms that make it the
/// kubelet's sync: on a busy machine it can be held up.
fn sync_three_times(pod: &Pod) -> bool {
    (0..3).all(|_| {
        let begun = boottime_ns();
        assert_eq!(pod.resync("conf").unwrap(), Written::Unchanged);
        let took = boottime_ns() - begun;
        let next = boottime_ns() + 50_000_000;
        wait_until(LIMIT, "the next sync", || boottime_ns() > next).unwrap();
        took < 5_000_000
    })
}

#[test]
fn a_process_that_reads_its_files_is_a_reread_and_one_that_does_not_is_alive() {
    let reads = app("reads").annotation("reloadlet.io/verify", "3s");
    let item = json!({ "configMap": { "name": "conf", "items": [{ "key": "a", "path": "./etc//app/a" }] } });
    let below = PodSpec::new("below")
        .namespace("below")
        .annotation(SIGNAL, "SIGHUP")
        .annotation("reloadlet.io/verify", "3s")
        .volume(VolumeSpec::new("conf", VolumeKind::ConfigMap, item).key("etc/app/a", "one\n"))
        .container(ContainerSpec::workload("app", &["--read", "/conf/etc/app/a"]).mount("conf", "/conf"));
    // The agent itself reads the files of this one.
    let keys = silent("keys").annotation("reloadlet.io/keys", "app.*");
    let Some(rig) = Setup::new().start(vec![reads, below, silent("silent"), keys]) else { return };
    let watched = rig.metric("reloadlet_inotify_watches", &[]);
    change(&rig.pod("reads"), "two");
    change(&rig.pod("silent"), "two");
    change(&rig.pod("keys"), "two");
    rig.pod("below").update("conf", payload([("etc/app/a", "two\n")])).unwrap();
    for name in ["reads", "below"] {
        wait_verdict(&rig, name, "reread", 1.0);
    }
    for name in ["silent", "keys"] {
        wait_verdict(&rig, name, "alive", 1.0);
        assert_eq!(verdicts(&rig, name, "reread"), 0.0);
    }
    assert_eq!(rig.metric("reloadlet_reread_seconds_count", &[]), 2.0);
    let line = rig.wait_line("a verdict", |line| line["pod"] == "reads" && line["verdict"] == "reread");
    assert!(line["reread_us"].as_u64().is_some_and(|micros| micros < 2_000_000), "{line}");
    // Nothing is watched that wasn't before.
    rig.wait_metric("reloadlet_inotify_watches", &[], watched);
    rig.end();
}

/// Waits for so many deliveries, by the log: metrics are up to a second old, and a window lasts for two.
fn wait_delivered(rig: &Rig, pod: &str, count: usize) {
    let delivered = || rig.reloads(pod).iter().filter(|line| line["outcome"] == "delivered").count();
    wait_until(LIMIT, "a delivery", || delivered() >= count).unwrap();
}

#[test]
fn syncs_of_the_kubelet_are_nobodys_reread() {
    let Some(rig) = Setup::new().start(vec![silent("web"), app("reads")]) else { return };
    let pod = rig.pod("web");
    let mut judged = 0.0;
    loop {
        change(&pod, &format!("n{judged}"));
        wait_delivered(&rig, "web", judged as usize + 1);
        let was_quick = sync_three_times(&pod);
        judged += 1.0;
        wait_until(LIMIT, "a verdict", || {
            verdicts(&rig, "web", "alive") + verdicts(&rig, "web", "reread") >= judged
        })
        .unwrap();
        if was_quick {
            break;
        }
    }
    let last = rig.log().into_iter().rfind(|line| line["pod"] == "web" && line["verdict"].is_string());
    assert_eq!(last.unwrap()["verdict"], "alive", "{}", rig.tail());

    // A reader after them is seen.
    let before = verdicts(&rig, "web", "reread");
    change(&pod, "last");
    wait_delivered(&rig, "web", judged as usize + 1);
    sync_three_times(&pod);
    fs::read(pod.volume_dir("conf").unwrap().join("app.conf")).unwrap();
    wait_verdict(&rig, "web", "reread", before + 1.0);
    rig.end();
}

#[test]
fn a_busy_reader_does_not_fill_the_queue() {
    // Two files in turn, since the kernel merges the same event in a row.
    let script = "while :; do read a </conf/app.conf; read a </conf/other; done";
    let busy = ContainerSpec::new("busy", &["/bin/sh", "-c", script]).mount("conf", "/conf");
    let mut spec = silent("web").annotation("reloadlet.io/container", "app").container(busy);
    spec.volumes[0].payload.insert("other".to_owned(), b"1\n".to_vec());
    let Some(stage) = Setup::new().alone().stage(vec![spec, app("calm")]) else { return };
    let mut rig = {
        // A queue gets its limit when it is made.
        let _few = Sysctl::set("fs/inotify/max_queued_events", "256");
        let mut rig = stage.start();
        rig.agent.wait_ready(LIMIT).unwrap();
        rig
    };
    let pod = rig.pod("web");
    for n in 0..3_u32 {
        pod.update("conf", payload([("app.conf", &format!("n{n}\n")), ("other", "1\n")])).unwrap();
        rig.wait_outcomes("web", "delivered", n + 1);
        // Nobody reads the queue for a while.
        rig.agent.signal(rustix::process::Signal::STOP).unwrap();
        let end = boottime_ns() + 200_000_000;
        wait_until(LIMIT, "opens", || boottime_ns() > end).unwrap();
        rig.agent.signal(rustix::process::Signal::CONT).unwrap();
        change(&rig.pod("calm"), &format!("n{n}"));
        rig.wait_told(&rig.pod("calm"), "app", &format!("n{n}"));
        rig.wait_metric("reloadlet_reread_seconds_count", &[], f64::from(2 * (n + 1)));
    }
    rig.signals(&pod, "app", 3);
    assert_eq!(rig.metric("reloadlet_overflows_total", &[]), 0.0);
    rig.agent.wait_ready(LIMIT).unwrap();
    rig.end();
}

#[test]
fn a_pod_that_is_taken_away_in_its_window_is_not_held_up() {
    let kinds = [VolumeSpec::secret("conf"), VolumeSpec::projected("conf"), VolumeSpec::config_map("conf")];
    let spec = |(name, volume): (&str, VolumeSpec)| {
        PodSpec::new(name)
            .namespace(name)
            .annotation(SIGNAL, "SIGHUP")
            .volume(volume.key("app.conf", "one\n"))
            .container(ContainerSpec::workload("app", &[]).mount("conf", "/conf"))
    };
    let names = ["secret", "projected", "configmap"];
    let Some(rig) = Setup::new().start(names.into_iter().zip(kinds).map(spec).collect()) else { return };
    let watched = |count: f64| rig.wait_metric("reloadlet_inotify_watches", &[], count);
    let before = rig.metric("reloadlet_inotify_watches", &[]);
    for name in names {
        let pod = rig.pod(name);
        change(&pod, "two");
        rig.wait_outcomes(name, "delivered", 1);
        pod.remove().unwrap();
    }
    rig.publish_pods();
    rig.wait_metric("reloadlet_pods", &[("state", "watched")], 0.0);
    assert!(before > 3.0);
    watched(before - 3.0 * 2.0);
    rig.end();
}

#[test]
fn nginx_rereads_its_configuration() {
    let conf = |number: u32| {
        format!(
            "daemon off; pid /tmp/nginx.pid; error_log stderr;\nevents {{ worker_connections {number}; }}\n"
        )
    };
    let spec = PodSpec::new("web")
        .namespace("web")
        .annotation(SIGNAL, "SIGHUP")
        .annotation("reloadlet.io/verify", "3s")
        .volume(VolumeSpec::config_map("conf").key("nginx.conf", &conf(64)))
        .container(
            ContainerSpec::new("app", &["/usr/sbin/nginx", "-c", "/conf/nginx.conf"]).mount("conf", "/conf"),
        );
    let Some(rig) = Setup::new().programs(&["nginx"]).start(vec![spec]) else { return };
    rig.pod("web").update("conf", payload([("nginx.conf", &conf(65))])).unwrap();
    wait_verdict(&rig, "web", "reread", 1.0);
    assert_eq!(rig.metric("reloadlet_reread_seconds_count", &[]), 1.0);
    rig.end();
}
