//! Whether somebody opens files of the new generation after a delivery.

use std::fs;

use serde_json::{Value, json};
use standin::{
    ContainerSpec, Pod, PodSpec, VolumeKind, VolumeSpec, Written, boottime_ns, payload, wait_until,
};

use crate::support::{LIMIT, Rig, SIGNAL, Setup, Sysctl, app, bare, change, lines, script, wait_lines};

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

/// What `/status` says of a pod's container.
fn status(rig: &Rig, pod: &Pod) -> Value {
    let status = rig.agent.status().unwrap();
    let found = status["pods"].as_array().unwrap().iter().find(|found| found["uid"] == pod.uid());
    found.unwrap()["containers"][0].clone()
}

/// Reads its file at the signal, and drops what comes within the next two seconds.
const DROPS: &str = "
import signal, time
def append(file, text):
    with open('/pod/' + file, 'a') as f: f.write(text)
busy = 0
def reload(*_):
    global busy
    if time.monotonic() < busy:
        append('dropped', 'x\\n')
        return
    content = open('/conf/app.conf').read()
    busy = time.monotonic() + 2
    append('read', content)
signal.signal(signal.SIGHUP, reload)
append('ready', 'x\\n')
while True: signal.pause()
";

#[test]
fn a_signal_that_was_dropped_while_a_reload_ran_is_repeated_once_and_the_change_is_read() {
    let spec = script("web", DROPS).annotation("reloadlet.io/verify", "3s");
    let Some(rig) = Setup::new().programs(&["python3"]).start(vec![spec]) else { return };
    let pod = rig.pod("web");
    wait_lines(&rig, &pod, "ready", 1);
    change(&pod, "a");
    wait_lines(&rig, &pod, "read", 1);
    let end = boottime_ns() + 300_000_000;
    wait_until(LIMIT, "the midst of the reload", || boottime_ns() > end).unwrap();
    change(&pod, "b");
    wait_lines(&rig, &pod, "dropped", 1);
    wait_lines(&rig, &pod, "read", 2);
    // The window of the repeat is over.
    wait_verdict(&rig, "web", "reread", 2.0);
    assert_eq!(verdicts(&rig, "web", "alive"), 1.0);
    rig.wait_metric("reloadlet_retold_total", &[], 1.0);
    let is_repeat = |line: &Value| {
        line["pod"] == "web"
            && line["message"].as_str().is_some_and(|text| text.starts_with("told a second time"))
    };
    let line = rig.wait_line("the repeat", is_repeat);
    assert_eq!(line["outcome"], "delivered");
    let generation = format!("conf={}", pod.generation("conf").unwrap().unwrap());
    assert_eq!(line["generations"], generation, "{line}");
    let container = status(&rig, &pod);
    assert_eq!((&container["toldAgain"], &container["unread"]), (&json!(true), &Value::Null));

    // The next signal is that of the next change.
    change(&pod, "c");
    wait_lines(&rig, &pod, "read", 3);
    rig.wait_outcomes("web", "delivered", 3);
    let read = fs::read_to_string(pod.exchange_dir().join("read")).unwrap();
    assert_eq!((read.as_str(), lines(&pod, "dropped")), ("a\nb\nc\n", 1), "{}", rig.tail());
    assert_eq!(rig.metric("reloadlet_retold_total", &[]), 1.0);
    assert_eq!(rig.log().iter().filter(|line| is_repeat(line)).count(), 1);
    assert_eq!(status(&rig, &pod)["toldAgain"], false);
    rig.end();
}

/// Reads its file when it starts, and never again.
const KEEPS: &str = "
import signal
def append(file, text):
    with open('/pod/' + file, 'a') as f: f.write(text)
kept = open('/conf/app.conf').read()
signal.signal(signal.SIGHUP, lambda *_: append('told', kept))
append('ready', kept)
while True: signal.pause()
";

#[test]
fn a_program_that_never_reads_again_is_said_after_three_deliveries_and_not_told_twice() {
    let spec = script("web", KEEPS).annotation("reloadlet.io/verify", "1s");
    let Some(rig) = Setup::new().programs(&["python3"]).start(vec![spec]) else { return };
    let pod = rig.pod("web");
    wait_lines(&rig, &pod, "ready", 1);
    for (count, content) in (1_u32..).zip(["two", "three", "four"]) {
        assert_eq!(status(&rig, &pod)["unread"], Value::Null, "before delivery {count}");
        change(&pod, content);
        wait_verdict(&rig, "web", "alive", f64::from(count));
    }
    let says = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("never read"));
    let line = rig.wait_line("that it never reads", says);
    assert_eq!([&line["level"], &line["pod"], &line["container"]], ["WARN", "web", "app"]);
    assert_eq!((&line["unread"], &line["deliveries"]), (&json!("never_read"), &json!(3)), "{line}");
    rig.wait_metric("reloadlet_unread_containers", &[("state", "never_read")], 1.0);
    let unread = status(&rig, &pod)["unread"].clone();
    assert_eq!(unread, json!({ "state": "never_read", "deliveries": 3 }));
    assert_eq!(rig.metric("reloadlet_unread_containers", &[("state", "not_read")]), 0.0);

    // It is said once, and each change is told once.
    change(&pod, "five");
    wait_verdict(&rig, "web", "alive", 4.0);
    rig.wait_outcomes("web", "delivered", 4);
    assert_eq!(rig.log().iter().filter(|line| says(line)).count(), 1, "{}", rig.tail());
    assert_eq!((lines(&pod, "told"), rig.metric("reloadlet_retold_total", &[])), (4, 0.0));
    rig.end();
}

/// Opens its file three seconds after the signal.
const READS_LATE: &str = "
import signal, time
def append(file, text):
    with open('/pod/' + file, 'a') as f: f.write(text)
def reload(*_):
    time.sleep(3)
    append('read', open('/conf/app.conf').read())
signal.signal(signal.SIGHUP, reload)
append('ready', 'x\\n')
while True: signal.pause()
";

#[test]
fn a_file_that_is_opened_seconds_after_the_signal_is_a_reread_as_long_as_the_window_is_open() {
    let spec = script("web", READS_LATE).annotation("reloadlet.io/verify", "30s");
    let Some(rig) = Setup::new().programs(&["python3"]).start(vec![spec]) else { return };
    let pod = rig.pod("web");
    wait_lines(&rig, &pod, "ready", 1);
    change(&pod, "two");
    wait_lines(&rig, &pod, "read", 1);
    rig.wait_metric("reloadlet_reread_seconds_count", &[], 1.0);
    let seconds = rig.metric("reloadlet_reread_seconds_sum", &[]);
    assert!((2.5..30.0).contains(&seconds), "{seconds}");
    wait_verdict(&rig, "web", "reread", 1.0);
    assert_eq!((verdicts(&rig, "web", "alive"), lines(&pod, "read")), (0.0, 1));
    let line = rig.wait_line("a verdict", |line| line["pod"] == "web" && line["verdict"].is_string());
    assert_eq!(line["verdict"], "reread", "{line}");
    assert!(line["reread_us"].as_u64().is_some_and(|micros| micros > 2_500_000), "{line}");
    rig.end();
}

#[test]
fn replicas_that_read_at_once_are_seen_to_though_the_agent_reads_the_same_files() {
    let reference = json!({ "kind": "ReplicaSet", "name": "set", "uid": "set-1", "controller": true });
    let replica = |n: usize| {
        app(&format!("r{n}"))
            .namespace("set")
            .annotation("reloadlet.io/verify", "1s")
            .patch(json!({ "metadata": { "ownerReferences": [reference.clone()] } }))
    };
    let Some(rig) = Setup::new().light().start((0..8).map(replica).collect()) else { return };
    let pods: Vec<_> = (0..8).map(|n| rig.pod(&format!("r{n}"))).collect();
    for (round, content) in ["two", "three", "four"].into_iter().enumerate() {
        pods.iter().for_each(|pod| drop(change(pod, content)));
        for pod in &pods {
            rig.wait_told(pod, "app", content);
        }
        wait_verdict(&rig, "set", "reread", 8.0 * f64::from(u32::try_from(round + 1).unwrap()));
    }
    assert_eq!(verdicts(&rig, "set", "alive"), 0.0, "{}", rig.tail());
    assert_eq!(rig.metric("reloadlet_retold_total", &[]), 0.0);
    rig.end();
}
