//! From the kubelet's publication to the signal.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use standin::{
    ContainerSpec, Fault, LogRecord, Pod, PodSpec, VolumeKind, VolumeSpec, WriteOptions, payload, wait_until,
};

use crate::support::{LIMIT, Rig, SIGNAL, Setup, app, bare, change, reader};

#[test]
fn a_tmpfs_that_comes_after_its_directory_is_watched() {
    let late = |name: &str| {
        let container = ContainerSpec::workload("app", &["--read", "/sec/key"]).mount("sec", "/sec");
        PodSpec::new(name)
            .namespace(name)
            .annotation(SIGNAL, "SIGHUP")
            .volume(VolumeSpec::secret("sec").unmade())
            .container(container)
            .unstarted()
    };
    let Some(rig) = Setup::new().start(vec![late("slow"), late("slower"), late("quick")]) else { return };
    for (told, (name, delay)) in [("slow", 12), ("slower", 150), ("quick", 0)].into_iter().enumerate() {
        let pod = rig.pod(name);
        pod.make_volume_late("sec", payload([("key", "one\n")]), Duration::from_millis(delay)).unwrap();
        pod.start_container("app").unwrap();
        rig.wait_known(&pod);
        // The first publication is no change.
        assert_eq!(rig.agent.metrics().unwrap().sum("reloadlet_reloads_total"), told as f64);
        pod.update("sec", payload([("key", "two\n")])).unwrap();
        rig.wait_told(&pod, "app", "two");
        rig.signals(&pod, "app", 1);
        rig.wait_outcomes(name, "delivered", 1);
    }
    rig.end();
}

#[test]
fn a_signal_comes_after_the_new_keys_are_linked_and_the_old_generation_is_gone() {
    let container = ContainerSpec::workload("app", &["--read", "/conf/new.conf"]).mount("conf", "/conf");
    let spec = bare("web").annotation(SIGNAL, "SIGHUP").container(container);
    let Some(rig) = Setup::new().start(vec![spec]) else { return };
    let pod = rig.pod("web");
    for n in 0..20 {
        let (with, without) = (format!("with {n}\n"), format!("without {n}\n"));
        let options = WriteOptions::gap(Duration::from_millis(n % 4 * 10));
        let new = payload([("app.conf", &*with), ("new.conf", &*with)]);
        let settled = pod.update_with("conf", &new, &options).unwrap().settled_at().unwrap();
        assert!(rig.wait_told(&pod, "app", with.trim()) >= settled);
        pod.update("conf", payload([("app.conf", &*without)])).unwrap();
        rig.wait_outcomes("web", "delivered", 2 * (u32::try_from(n).unwrap() + 1));
    }
    rig.signals(&pod, "app", 40);
    rig.end();
}

#[test]
fn a_kubelet_that_dies_before_the_clean_up_is_waited_for_two_seconds() {
    let Some(rig) = Setup::new().start(vec![app("web")]) else { return };
    let pod = rig.pod("web");
    change(&pod, "two");
    rig.wait_told(&pod, "app", "two");
    let options = WriteOptions::fault(Fault::DieAfterRename);
    let three = payload([("app.conf", "three\n")]);
    let renamed = pod.update_with("conf", &three, &options).unwrap().renamed_at().unwrap();
    let told = rig.wait_told(&pod, "app", "three");
    let waited = Duration::from_nanos(told - renamed);
    assert!(waited >= Duration::from_millis(1990) && waited < Duration::from_millis(2500), "{waited:?}");
    rig.wait_metric("reloadlet_settle_timeouts_total", &[], 1.0);
    // The kubelet's next write settles as ever, though the leftover stays for good.
    let written = change(&pod, "four");
    let told = rig.wait_told(&pod, "app", "four");
    assert!(told - written.renamed_at().unwrap() < 1_000_000_000);
    rig.wait_metric("reloadlet_settle_timeouts_total", &[], 1.0);
    rig.signals(&pod, "app", 3);
    rig.end();
}

#[test]
fn volumes_that_change_together_are_one_reload_and_debounce_waits_for_quiet() {
    let several = |name: &str| {
        let volume = |name: &str| VolumeSpec::config_map(name).key("k", "1");
        let container = reader("app", &[]).mount("second", "/second").mount("third", "/third");
        bare(name)
            .annotation(SIGNAL, "SIGHUP")
            .volume(volume("second"))
            .volume(VolumeSpec::secret("third").key("k", "1"))
            .container(container)
    };
    let quiet = several("quiet").annotation("reloadlet.io/debounce", "1s");
    let busy = several("busy").annotation("reloadlet.io/debounce", "200ms");
    let Some(rig) = Setup::new().start(vec![several("several"), quiet, busy]) else { return };
    wait_grown(&rig, &["several", "quiet", "busy"]);

    let pod = rig.pod("several");
    change(&pod, "two");
    pod.update("second", payload([("k", "2")])).unwrap();
    pod.update("third", payload([("k", "2")])).unwrap();
    rig.wait_told(&pod, "app", "two");
    rig.wait_outcomes("several", "delivered", 2);
    rig.wait_line("a reload of all three", |line| {
        let has = |name| line["generations"].as_str().is_some_and(|all| all.contains(name));
        line["pod"] == "several" && ["conf=", "second=", "third="].into_iter().all(has)
    });

    let pod = rig.pod("quiet");
    let mut last = 0;
    for n in 0..5 {
        last = change(&pod, &format!("n{n}")).settled_at().unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(rig.wait_told(&pod, "app", "n4") - last >= 1_000_000_000);
    rig.wait_outcomes("quiet", "delivered", 2);
    rig.wait_outcomes("quiet", "superseded", 4);

    // Ten times the quiet is the most that a change waits.
    let pod = rig.pod("busy");
    let first = change(&pod, "busy").settled_at().unwrap();
    let mut n = 0;
    while pod.signals("app").unwrap().len() < 2 {
        n += 1;
        pod.update("second", payload([("k", &n.to_string())])).unwrap();
        assert!(n < 400, "never told: {}", rig.tail());
        std::thread::sleep(Duration::from_millis(50));
    }
    let waited = rig.wait_told(&pod, "app", "busy") - first;
    assert!((1_900_000_000..3_500_000_000).contains(&waited), "{waited}");
    rig.end();
}

/// One delivery to each: their processes are old enough for the next one to be prompt.
fn wait_grown(rig: &Rig, names: &[&str]) {
    let pods: Vec<Arc<Pod>> = names.iter().map(|name| rig.pod(name)).collect();
    pods.iter().for_each(|pod| drop(change(pod, "grown")));
    for pod in &pods {
        rig.wait_told(pod, "app", "grown");
        rig.wait_outcomes(pod.namespace(), "delivered", 1);
    }
}

#[test]
fn a_volume_made_anew_is_told_only_after_the_container_restarts() {
    let disk = app("disk");
    let tmpfs = PodSpec::new("tmpfs")
        .namespace("tmpfs")
        .annotation(SIGNAL, "SIGHUP")
        .volume(VolumeSpec::secret("conf").key("app.conf", "one\n"))
        .container(reader("app", &[]));
    let Some(rig) = Setup::new().start(vec![disk, tmpfs, app("canary")]) else { return };
    wait_grown(&rig, &["disk", "tmpfs", "canary"]);
    for (round, name) in (0..).zip(["disk", "tmpfs"]) {
        let pod = rig.pod(name);
        pod.unmake_volume("conf").unwrap();
        pod.make_volume("conf", payload([("app.conf", "anew\n")])).unwrap();
        rig.wait_outcomes(name, "no_process", 1);
        rig.wait_reason(name, "no_process", "until it restarts");
        change(&pod, "unseen");
        rig.wait_outcomes(name, "no_process", 2);
        let canary = rig.pod("canary");
        change(&canary, name);
        rig.wait_told(&canary, "app", name);
        rig.wait_outcomes("canary", "delivered", round + 2);
        rig.signals(&pod, "app", 1);

        pod.restart_container("app").unwrap();
        pod.wait_ready("app").unwrap();
        change(&pod, "seen");
        rig.wait_told(&pod, "app", "seen");
        rig.signals(&pod, "app", 2);
    }
    rig.end();
}

#[test]
fn a_secret_made_anew_is_found_while_mounts_change_all_the_time() {
    let pod = PodSpec::new("tmpfs")
        .namespace("tmpfs")
        .annotation(SIGNAL, "SIGHUP")
        .volume(VolumeSpec::secret("conf").key("app.conf", "one\n"))
        .container(reader("app", &[]));
    let Some(rig) = Setup::new().start(vec![pod]) else { return };
    wait_grown(&rig, &["tmpfs"]);
    let mut busy = MountChanges::begin(&rig);
    let pod = rig.pod("tmpfs");
    pod.unmake_volume("conf").unwrap();
    pod.make_volume("conf", payload([("app.conf", "anew\n")])).unwrap();
    rig.wait_outcomes("tmpfs", "no_process", 1);
    rig.wait_reason("tmpfs", "no_process", "until it restarts");
    pod.restart_container("app").unwrap();
    pod.wait_ready("app").unwrap();
    for (told, content) in (2..).zip(["seen", "again"]) {
        change(&pod, content);
        rig.wait_told(&pod, "app", content);
        rig.signals(&pod, "app", told);
    }
    assert!(busy.goes_on(), "mounts didn't change all the time");
    drop(busy);
    rig.end();
}

/// A shell that mounts something and takes it away, ten times a second, until this is dropped.
struct MountChanges(Child);

impl MountChanges {
    fn begin(rig: &Rig) -> Self {
        let place = rig.node.dir().join("busy");
        fs::create_dir(&place).unwrap();
        // It ends with its standard input.
        let script = "while :; do mount -t tmpfs busy \"$1\"; read -r -t 0.05 _; umount \"$1\"; read -r -t 0.05 _; \
                      [ $? -gt 128 ] || exit 0; done";
        let mut shell = Command::new("bash");
        shell.args(["-c", script, "bash"]).arg(&place).stdin(Stdio::piped());
        Self(shell.spawn().unwrap())
    }

    fn goes_on(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for MountChanges {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

#[test]
fn a_container_with_only_a_sub_path_is_a_problem_and_one_with_both_is_told() {
    let only = ContainerSpec::workload("app", &[]).mount_sub_path("conf", "/app.conf", "app.conf");
    let both = reader("app", &[]).mount_sub_path("conf", "/app.conf", "app.conf");
    let specs = vec![
        bare("only").annotation(SIGNAL, "SIGHUP").container(only),
        bare("both").annotation(SIGNAL, "SIGHUP").container(both),
    ];
    let Some(rig) = Setup::new().start(specs) else { return };
    rig.wait_metric("reloadlet_problems", &[("kind", "container")], 1.0);
    rig.wait_warning("only by subPath");
    for content in ["two", "three"] {
        change(&rig.pod("only"), content);
        change(&rig.pod("both"), content);
        rig.wait_told(&rig.pod("both"), "app", content);
    }
    rig.signals(&rig.pod("only"), "app", 0);
    rig.signals(&rig.pod("both"), "app", 2);
    rig.end();
}

#[test]
fn only_files_that_count_are_told() {
    let keys = app("keys").annotation("reloadlet.io/keys", "app.*, tls/*.crt");
    let projected = serde_json::json!({ "projected": { "sources": [
        { "serviceAccountToken": { "path": "token", "expirationSeconds": 3607 } },
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        { "configMap": { "name": "conf" } },
    ] } });
    let files =
        |token: &str, ca: &str, conf: &str| payload([("token", token), ("ca.crt", ca), ("app.conf", conf)]);
    let token = PodSpec::new("token")
        .namespace("token")
        .annotation(SIGNAL, "SIGHUP")
        .volume(VolumeSpec::new("conf", VolumeKind::Projected, projected).payload(files("t1", "c1", "one\n")))
        .volume(VolumeSpec::downward_api("down").key("annotations", "a"))
        .container(reader("app", &[]).mount("down", "/down"));
    let Some(rig) = Setup::new().start(vec![keys, token]) else { return };

    let pod = rig.pod("keys");
    pod.update("conf", payload([("app.conf", "one\n"), ("other", "1")])).unwrap();
    rig.wait_outcomes("keys", "unchanged", 1);
    pod.update("conf", payload([("app.conf", "two\n"), ("other", "1")])).unwrap();
    rig.wait_told(&pod, "app", "two");
    pod.update("conf", payload([("app.conf", "two\n"), ("other", "2")])).unwrap();
    rig.wait_outcomes("keys", "unchanged", 2);
    pod.update("conf", payload([("app.conf", "two\n"), ("other", "2"), ("tls/a.crt", "x")])).unwrap();
    rig.wait_outcomes("keys", "delivered", 2);
    rig.signals(&pod, "app", 2);

    let pod = rig.pod("token");
    pod.update("conf", files("t2", "c1", "one\n")).unwrap();
    rig.wait_outcomes("token", "unchanged", 1);
    pod.update("conf", files("t2", "c2", "one\n")).unwrap();
    rig.wait_outcomes("token", "unchanged", 2);
    pod.update("down", payload([("annotations", "b")])).unwrap();
    pod.update("conf", files("t2", "c2", "two\n")).unwrap();
    rig.wait_told(&pod, "app", "two");
    rig.wait_outcomes("token", "delivered", 1);
    rig.signals(&pod, "app", 1);
    rig.end();
}

#[test]
fn only_the_volumes_that_were_named_count() {
    let named = bare("web")
        .annotation(SIGNAL, "SIGHUP")
        .annotation("reloadlet.io/volumes", "conf")
        .volume(VolumeSpec::secret("sec").key("k", "1"))
        .container(reader("app", &[]).mount("sec", "/sec"));
    let Some(rig) = Setup::new().start(vec![named]) else { return };
    let pod = rig.pod("web");
    for content in ["two", "three"] {
        pod.update("sec", payload([("k", content)])).unwrap();
        change(&pod, content);
        rig.wait_told(&pod, "app", content);
    }
    rig.signals(&pod, "app", 2);
    assert_eq!(rig.metric("reloadlet_swaps_total", &[("kind", "secret")]), 0.0);
    rig.end();
}

#[test]
fn waits_between_reloads_fold_changes_and_lose_none() {
    let spec = app("web").annotation("reloadlet.io/min-interval", "2s");
    let Some(rig) = Setup::new().start(vec![spec]) else { return };
    let pod = rig.pod("web");
    change(&pod, "two");
    let first = rig.wait_told(&pod, "app", "two");
    for n in 0..5 {
        change(&pod, &format!("n{n}"));
    }
    assert!(rig.wait_told(&pod, "app", "n4") - first >= 1_990_000_000);
    rig.wait_outcomes("web", "superseded", 4);
    rig.signals(&pod, "app", 2);
    rig.end();
}

#[test]
fn a_resync_that_changes_nothing_is_told_to_nobody() {
    let Some(rig) = Setup::new().start(vec![app("web")]) else { return };
    let pod = rig.pod("web");
    for content in ["two", "three"] {
        pod.resync("conf").unwrap();
        change(&pod, content);
        rig.wait_told(&pod, "app", content);
    }
    let signals = rig.signals(&pod, "app", 2);
    assert!(signals.iter().all(|one| matches!(one, LogRecord::Signal { name, .. } if name == "SIGHUP")));
    wait_until(LIMIT, "the swaps", || rig.metric("reloadlet_swaps_total", &[("kind", "configmap")]) == 2.0)
        .unwrap();
    rig.end();
}
