//! What needs one of the kernel's limits lowered; no other test runs meanwhile.

use std::os::unix::fs::MetadataExt as _;

use rustix::process::Signal;
use standin::{PodSpec, VolumeSpec, payload};

use crate::support::{LIMIT, SIGNAL, Setup, Sysctl, app, change, reader};

fn apps(count: usize) -> Vec<PodSpec> {
    (0..count).map(|n| app(&format!("a{n}"))).collect()
}

#[test]
fn an_overflow_loses_no_change() {
    let Some(stage) = Setup::new().light().alone().stage(apps(12)) else { return };
    let mut rig = {
        // A queue gets its limit when it is made.
        let _few = Sysctl::set("fs/inotify/max_queued_events", "16");
        let mut rig = stage.start();
        rig.agent.wait_ready(LIMIT).unwrap();
        rig
    };
    let pods = rig.node.pods();
    rig.agent.signal(Signal::STOP).unwrap();
    for content in ["two", "three"] {
        pods.iter().for_each(|pod| drop(change(pod, content)));
    }
    rig.agent.signal(Signal::CONT).unwrap();
    for pod in &pods {
        rig.wait_told(pod, "app", "three");
        rig.signals(pod, "app", 1);
        rig.wait_outcomes(pod.namespace(), "delivered", 1);
    }
    assert!(rig.metric("reloadlet_overflows_total", &[]) >= 1.0);
    assert!(rig.metric("reloadlet_rescans_total", &[("reason", "overflow")]) >= 1.0);
    // And notifications go on.
    for pod in &pods {
        change(pod, "four");
    }
    for pod in &pods {
        rig.wait_told(pod, "app", "four");
    }
    rig.agent.wait_ready(LIMIT).unwrap();
    rig.end();
}

#[test]
fn a_secret_that_was_made_anew_during_an_overflow_is_followed_on() {
    let secret = PodSpec::new("secret")
        .namespace("secret")
        .annotation(SIGNAL, "SIGHUP")
        .volume(VolumeSpec::secret("conf").key("app.conf", "one\n"))
        .container(reader("app", &[]));
    let specs = apps(4).into_iter().chain([secret]).collect();
    let Some(stage) = Setup::new().alone().stage(specs) else { return };
    let rig = {
        let _few = Sysctl::set("fs/inotify/max_queued_events", "16");
        let mut rig = stage.start();
        rig.agent.wait_ready(LIMIT).unwrap();
        rig
    };
    let pod = rig.pod("secret");
    let others = (0..4).map(|n| rig.pod(&format!("a{n}")));
    rig.agent.signal(Signal::STOP).unwrap();
    // The queue is full before the kubelet makes the volume anew for a container that restarts. Nobody holds the old
    // tmpfs then, and the new one has its device and its inode.
    for other in others {
        change(&other, "two");
        change(&other, "three");
    }
    pod.kill_container("app", Signal::KILL).unwrap();
    pod.wait_exit("app").unwrap();
    let place = |pod: &standin::Pod| {
        let found = std::fs::metadata(pod.volume_dir("conf").unwrap()).unwrap();
        (found.dev(), found.ino())
    };
    let before = place(&pod);
    // Another tmpfs of this machine may take or give back the number meanwhile.
    let is_alike = (0..20).any(|_| {
        pod.unmake_volume("conf").unwrap();
        pod.make_volume("conf", payload([("app.conf", "anew\n")])).unwrap();
        place(&pod) == before
    });
    assert!(is_alike, "it looks the same");
    pod.start_container("app").unwrap();
    pod.wait_ready("app").unwrap();
    rig.agent.signal(Signal::CONT).unwrap();
    rig.agent
        .wait_metrics(LIMIT, "an overflow", |metrics| metrics.value("reloadlet_overflows_total", &[]) >= 1.0)
        .unwrap();
    for n in 0..4 {
        let other = rig.pod(&format!("a{n}"));
        rig.wait_told(&other, "app", "three");
    }
    for content in ["two", "three"] {
        pod.update("conf", payload([("app.conf", &*format!("{content}\n"))])).unwrap();
        rig.wait_told(&pod, "app", content);
    }
    rig.end();
}

#[test]
fn without_watches_volumes_are_polled_until_the_limit_is_raised() {
    let Some(stage) = Setup::new().light().alone().stage(apps(3)) else { return };
    let pods = stage.node.pods();
    let (rig, few) = {
        let few = Sysctl::set("fs/inotify/max_user_watches", "0");
        let mut rig = stage.start();
        rig.agent.wait_ready(LIMIT).unwrap();
        (rig, few)
    };
    rig.wait_metric("reloadlet_polled_volumes", &[], 3.0);
    rig.wait_warning("max_user_watches");
    assert_eq!(rig.messages("WARN").iter().filter(|text| text.contains("max_user_watches")).count(), 1);
    for content in ["two", "three"] {
        pods.iter().for_each(|pod| drop(change(pod, content)));
        for pod in &pods {
            rig.wait_told(pod, "app", content);
        }
    }
    // A pod that comes now is polled as well.
    let late = rig.add_pod(app("late"));
    rig.wait_metric("reloadlet_polled_volumes", &[], 4.0);
    change(&late, "two");
    rig.wait_told(&late, "app", "two");
    drop(few);
    rig.wait_metric("reloadlet_polled_volumes", &[], 0.0);
    for pod in &pods {
        change(pod, "four");
        rig.wait_told(pod, "app", "four");
        rig.signals(pod, "app", 3);
    }
    rig.end();
}
