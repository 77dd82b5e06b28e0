//! One namespace that has as much as it can of what the loop has to do, and a victim in another one.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use standin::{ContainerSpec, PodSpec, VolumeSpec, payload, wait_until};

use crate::support::{LIMIT, Rig, SIGNAL, Setup, app, change};

/// How often the victim changes.
const CHANGES: usize = 20;

/// From the swap to the signal, for changes of the victim while the others' volumes change all the time.
fn delays(rig: &mut Rig, changing: usize) -> Vec<Duration> {
    let victim = rig.pod("victim");
    // A young process waits for three seconds.
    change(&victim, "old enough");
    rig.wait_told(&victim, "app", "old enough");
    let others: Vec<_> = rig.node.pods().into_iter().filter(|pod| pod.name() != "victim").collect();
    let stop = AtomicBool::new(false);
    let mut delays = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                for pod in &others {
                    for volume in 0..changing {
                        let content = format!("{round}\n");
                        pod.update(&format!("v{volume}"), payload([("app.conf", &content)])).unwrap();
                    }
                }
            }
        });
        for n in 0..CHANGES {
            let content = format!("n{n}");
            let written = change(&victim, &content);
            let told = rig.wait_told(&victim, "app", &content);
            delays.push(Duration::from_nanos(told.saturating_sub(written.renamed_at().unwrap())));
            assert_eq!(rig.agent.try_wait().unwrap(), None, "{}", rig.tail());
        }
        stop.store(true, Ordering::Relaxed);
    });
    rig.wait_outcomes("victim", "delivered", u32::try_from(CHANGES + 1).unwrap());
    delays.sort();
    delays
}

fn assert_is_told_soon(name: &str, delays: &[Duration]) {
    let (median, worst) = (delays[CHANGES / 2], delays[CHANGES - 1]);
    eprintln!("{name}: median {median:?}, worst {worst:?}");
    // Some milliseconds on a quiet machine. Before namespaces had turns, minutes.
    assert!(median < Duration::from_secs(2), "{delays:?}");
}

#[test]
fn thousands_of_volumes_that_change_all_the_time_dont_keep_others_waiting() {
    let pod = |n: usize| {
        let volume = |v: usize| VolumeSpec::config_map(&format!("v{v}")).key("app.conf", "one\n");
        let read = ContainerSpec::workload("app", &["--read", "/v0/app.conf"]);
        let read = (0..200).fold(read, |read, v| read.mount(&format!("v{v}"), &format!("/v{v}")));
        let pod = PodSpec::new(&format!("loud{n}")).namespace("loud").annotation(SIGNAL, "SIGHUP");
        (0..200).fold(pod, |pod, v| pod.volume(volume(v))).container(read)
    };
    let pods = (0..20).map(pod).chain([app("victim")]).collect();
    let Some(mut rig) = Setup::new().light().alone().start(pods) else { return };
    let delays = delays(&mut rig, 200);
    assert_is_told_soon("volumes", &delays);
    rig.end();
}

#[test]
fn thousands_of_processes_that_are_told_of_each_change_dont_keep_others_waiting() {
    let script = "import ctypes, os, signal\n\
        signal.signal(signal.SIGHUP, lambda *_: None)\n\
        for _ in range(250):\n    \
            if os.fork() == 0:\n        \
                ctypes.CDLL(None).prctl(15, b'many', 0, 0, 0)\n        \
                while True: signal.pause()\n\
        print('ready', flush=True)\n\
        while True: signal.pause()";
    let names = ["c0", "c1", "c2", "c3"];
    let pod = |n: usize| {
        let pod = PodSpec::new(&format!("loud{n}"))
            .namespace("loud")
            .annotation("reloadlet.io/process", "many")
            .annotation("reloadlet.io/debounce", "0s")
            .volume(VolumeSpec::config_map("v0").key("app.conf", "one\n"));
        names.iter().fold(pod, |pod, name| {
            pod.annotation(&format!("signal.reloadlet.io/{name}"), "SIGHUP")
                .container(ContainerSpec::new(name, &["python3", "-c", script]).mount("v0", "/v0"))
        })
    };
    let pods = (0..2).map(pod).chain([app("victim")]).collect();
    // Each is held by a descriptor.
    let wrapper = ["sh", "-c", "ulimit -n $(ulimit -Hn) && exec \"$0\" \"$@\""];
    let setup =
        Setup::new().programs(&["python3"]).alone().agent(move |_, options| options.wrapper(&wrapper));
    let Some(stage) = setup.stage(pods) else { return };
    for (n, name) in (0..2).flat_map(|n| names.map(|name| (n, name))) {
        let output = stage.pod(&format!("loud{n}")).container(name).unwrap().output;
        let text = || fs::read_to_string(&output).unwrap_or_default();
        wait_until(LIMIT, "all processes", || text().contains("ready")).unwrap();
    }
    let mut rig = stage.start();
    rig.agent.wait_ready(LIMIT).unwrap();
    let delays = delays(&mut rig, 1);
    // While changes come faster than so many processes can be looked at, each takes the place of the one before.
    let told = [("pod_namespace", "loud"), ("outcome", "delivered")];
    let told = rig.agent.wait_metrics(5 * LIMIT, "a signal for each container", |metrics| {
        metrics.value("reloadlet_reloads_total", &told) >= 8.0
    });
    told.unwrap_or_else(|error| panic!("{error}\n{}", rig.tail()));
    assert_is_told_soon("processes", &delays);
    rig.end();
}
