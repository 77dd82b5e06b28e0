//! When real processes may be told, and what it means that they end.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use standin::{Exit, LogRecord, PodSpec};

use crate::support::{SIGNAL, Setup, app, bare, change, lines, reader, script, start_agent, wait_lines};

#[test]
fn a_container_that_hasnt_started_is_told_when_its_status_says_that_it_has() {
    let Some(rig) = Setup::new().start(vec![app("starts"), app("well")]) else { return };
    let (starts, well) = (rig.pod("starts"), rig.pod("well"));
    starts.set_phase("app", false, false);
    // The one of before was ready.
    starts.restart_container("app").unwrap();
    starts.wait_ready("app").unwrap();
    rig.publish_pods();
    change(&starts, "two");
    // Another one of the same age has its change meanwhile.
    well.restart_container("app").unwrap();
    well.wait_ready("app").unwrap();
    rig.publish_pods();
    change(&well, "two");
    rig.wait_told(&well, "app", "two");
    rig.signals(&starts, "app", 0);
    starts.set_phase("app", true, true);
    rig.publish_pods();
    rig.wait_told(&starts, "app", "two");
    rig.signals(&starts, "app", 1);
    rig.end();
}

#[test]
fn a_container_that_is_killed_right_after_each_signal_goes_on_being_told() {
    // The window is open still whenever the end is seen.
    let spec = app("killed").annotation("reloadlet.io/verify", "30s");
    let Some(rig) = Setup::new().start(vec![spec]) else { return };
    let pod = rig.pod("killed");
    for (count, content) in (1..).zip(["two", "three", "four"]) {
        change(&pod, content);
        rig.wait_told(&pod, "app", content);
        pod.kill_container("app", Signal::KILL).unwrap();
        assert_eq!(pod.wait_exit("app").unwrap(), Exit::Signal(9));
        // The status says so too, for a kernel that doesn't tell.
        rig.publish_pods();
        rig.wait_outcomes("killed", "delivered", count);
        let verdicts = [("pod_namespace", "killed"), ("verdict", "exited")];
        rig.wait_metric("reloadlet_verdicts_total", &verdicts, f64::from(count));
        pod.start_container("app").unwrap();
        pod.wait_ready("app").unwrap();
        rig.publish_pods();
    }
    change(&pod, "five");
    rig.wait_told(&pod, "app", "five");
    assert!(rig.outcomes("killed", "held") < 0.5, "{}", rig.tail());
    rig.end();
}

/// A server behind a supervisor that at a SIGHUP starts the next one, which reads the file, and ends.
const HANDS_OVER: &str = "
import os, signal, time
def say(file):
    with open('/pod/' + file, 'a') as f: f.write('x\\n')
def serve():
    told = []
    signal.signal(signal.SIGHUP, lambda *_: told.append(1))
    with open('/proc/self/comm', 'w') as f: f.write('server')
    open('/conf/app.conf').read()
    say('up')
    while not told: time.sleep(0.01)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if os.fork():
    while True: time.sleep(1000)
while True:
    serve()
    if os.fork():
        time.sleep(0.3)
        say('over')
        os._exit(0)
";

#[test]
fn a_server_that_hands_over_to_the_next_one_and_ends_has_lived_through_the_signal() {
    let spec = script("hands", HANDS_OVER)
        .annotation("reloadlet.io/process", "server")
        .annotation("reloadlet.io/verify", "2s");
    let Some(rig) = Setup::new().programs(&["python3"]).start(vec![spec]) else { return };
    let pod = rig.pod("hands");
    for count in 1..4_u32 {
        let lines = usize::try_from(count).unwrap();
        wait_lines(&rig, &pod, "up", lines);
        change(&pod, &format!("n{count}"));
        wait_lines(&rig, &pod, "over", lines);
        let reread = [("pod_namespace", "hands"), ("verdict", "reread")];
        rig.wait_metric("reloadlet_verdicts_total", &reread, f64::from(count));
    }
    rig.wait_outcomes("hands", "delivered", 3);
    rig.end();
}

/// A program that ends by itself when it sees a change, when it is no longer young. That takes the kernel a while,
/// since it gives much memory back.
const ENDS_AT_SWAP: &str = "
import mmap, os, signal, time
MAP_POPULATE = 0x8000
kept = mmap.mmap(-1, 400 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_POPULATE)
signal.signal(signal.SIGHUP, lambda *_: None)
time.sleep(3.5)
seen = os.readlink('/conf/..data')
with open('/pod/ready', 'a') as f: f.write('x\\n')
while os.readlink('/conf/..data') == seen: time.sleep(0.0001)
os._exit(0)
";

/// After so long a start isn't doubtfully but clearly after a change.
const CLEARLY_AFTER: Duration = Duration::from_millis(100);

#[test]
fn a_program_that_ends_at_the_change_by_itself_was_neither_told_nor_ended_by_it() {
    // By then it has seen the change.
    let spec = script("ends", ENDS_AT_SWAP).annotation("reloadlet.io/debounce", "60ms");
    let Some(rig) = Setup::new().programs(&["python3"]).start(vec![spec]) else { return };
    let pod = rig.pod("ends");
    for count in 1..4 {
        wait_lines(&rig, &pod, "ready", usize::try_from(count).unwrap());
        change(&pod, &format!("n{count}"));
        let changed = Instant::now();
        assert_eq!(pod.wait_exit("app").unwrap(), Exit::Code(0));
        // Whoever starts within a few clock ticks of a change may have read the old content, and is told.
        std::thread::sleep(CLEARLY_AFTER.saturating_sub(changed.elapsed()));
        pod.start_container("app").unwrap();
        rig.publish_pods();
        rig.wait_outcomes("ends", "started_after", count);
    }
    assert_eq!(rig.outcomes("ends", "delivered"), 0.0);
    rig.end();
}

/// A program that ends at a SIGHUP while it loads, which takes it six seconds, and reads its file at one after that.
const ENDS_WHILE_IT_LOADS: &str = "
import signal, sys, time
def say(file, text):
    with open('/pod/' + file, 'a') as log:
        log.write(text + '\\n')
def read(*_):
    say('read', open('/conf/app.conf').read().strip())
signal.signal(signal.SIGHUP, lambda *_: sys.exit(3))
say('started', '')
loaded = time.monotonic() + 6
while time.monotonic() < loaded:
    time.sleep(0.1)
signal.signal(signal.SIGHUP, read)
say('loaded', '')
while True:
    signal.pause()
";

#[test]
fn a_program_that_ends_at_the_signal_while_it_loads_is_told_when_it_has_loaded() {
    let spec = script("loads", ENDS_WHILE_IT_LOADS);
    let Some(rig) = Setup::new().programs(&["python3"]).start(vec![spec]) else { return };
    let pod = rig.pod("loads");
    wait_lines(&rig, &pod, "started", 1);
    pod.set_phase("app", false, false);
    // The one of before was ready.
    pod.restart_container("app").unwrap();
    rig.publish_pods();
    wait_lines(&rig, &pod, "started", 2);
    change(&pod, "two");
    // Its startup probe passes a little after that.
    wait_lines(&rig, &pod, "loaded", 1);
    assert_eq!(rig.outcomes("loads", "delivered"), 0.0);
    pod.set_phase("app", true, true);
    rig.publish_pods();
    wait_lines(&rig, &pod, "read", 1);
    rig.wait_outcomes("loads", "delivered", 1);
    assert_eq!(pod.exit("app").unwrap(), None, "{}", rig.tail());
    rig.end();
}

/// A program that takes SIGHUP for its end, and two seconds to end, as a JVM with a shutdown hook does.
const SLOW_TO_END: &str = "
import signal, sys, time
def end(*_):
    time.sleep(2)
    sys.exit(0)
signal.signal(signal.SIGHUP, end)
with open('/pod/started', 'a') as log:
    log.write('started\\n')
while True:
    signal.pause()
";

#[test]
fn a_container_that_ends_seconds_after_each_signal_is_told_no_more_and_it_is_said_when_it_ends() {
    let spec = script("slow", SLOW_TO_END);
    let Some(rig) = Setup::new().programs(&["python3"]).start(vec![spec]) else { return };
    let pod = rig.pod("slow");
    for (count, content) in (1..).zip(["two", "three"]) {
        wait_lines(&rig, &pod, "started", count);
        rig.publish_pods();
        change(&pod, content);
        assert_eq!(pod.wait_exit("app").unwrap(), Exit::Code(0), "{}", rig.tail());
        pod.start_container("app").unwrap();
    }
    rig.wait_warning(" s after SIGHUP, 2 times in a row: nothing more is sent to it");
    wait_lines(&rig, &pod, "started", 3);
    rig.publish_pods();
    change(&pod, "four");
    rig.wait_outcomes("slow", "held", 1);
    let status = rig.agent.status().unwrap();
    let problem = status["pods"][0]["problems"][0]["sentence"].as_str().unwrap();
    assert!(problem.starts_with("container app ends ") && problem.contains(" s after SIGHUP"), "{problem}");
    assert_eq!((pod.exit("app").unwrap(), rig.outcomes("slow", "delivered")), (None, 2.0));
    rig.end();
}

/// A replica of a set, whose program ends of the signal.
fn replica(name: &str) -> PodSpec {
    let reference = json!({ "kind": "ReplicaSet", "name": "web", "uid": "1", "controller": true });
    bare(name)
        .namespace("web")
        .annotation(SIGNAL, "SIGHUP")
        .annotation("reloadlet.io/verify", "2s")
        .container(reader("app", &["--exit-on", "HUP"]))
        .patch(json!({ "metadata": { "ownerReferences": [reference] } }))
}

#[test]
fn a_content_that_ends_one_replica_is_kept_from_the_others() {
    let names = ["one", "two", "three", "four"];
    let specs = names.iter().map(|name| replica(name)).chain([app("well")]).collect();
    let Some(rig) = Setup::new().start(specs) else { return };
    let pods: Vec<_> = names.iter().map(|name| rig.pod(name)).collect();
    pods.iter().for_each(|pod| drop(change(pod, "bad")));
    rig.wait_outcomes("web", "held", 3);
    rig.wait_outcomes("web", "delivered", 1);
    rig.wait_metric("reloadlet_problems", &[("kind", "bad_content")], 3.0);
    rig.wait_warning("the process of another replica on this node ended after it was told of them");
    let is_signal = |record: &LogRecord| matches!(record, LogRecord::Signal { .. });
    let told = |count: usize| {
        let log = pods.iter().flat_map(|pod| pod.log("app").unwrap());
        assert_eq!(log.filter(is_signal).count(), count, "{}", rig.tail());
    };
    told(1);
    // A newer one is told, and is as bad for the next.
    let living = pods.iter().filter(|pod| pod.exit("app").unwrap().is_none());
    living.for_each(|pod| drop(change(pod, "worse")));
    rig.wait_outcomes("web", "delivered", 2);
    rig.wait_outcomes("web", "held", 5);
    told(2);
    rig.end();
}

#[test]
fn a_content_that_ends_a_replica_while_there_is_no_agent_is_kept_from_the_others_after_its_start() {
    let names = ["one", "two", "three"];
    let reference = json!({ "kind": "ReplicaSet", "name": "web", "uid": "1", "controller": true });
    let slow = |name: &str| {
        let owned = json!({ "metadata": { "ownerReferences": [reference] } });
        script(name, SLOW_TO_END).namespace("web").patch(owned)
    };
    let specs = names.iter().map(|name| slow(name)).collect();
    let Some(mut rig) = Setup::new().programs(&["python3"]).start(specs) else { return };
    let pods: Vec<_> = names.iter().map(|name| rig.pod(name)).collect();
    pods.iter().for_each(|pod| wait_lines(&rig, pod, "started", 1));
    rig.publish_pods();
    change(&pods[0], "bad");
    rig.wait_outcomes("web", "delivered", 1);
    // The program takes two seconds to end.
    rig.wait_recorded();
    rig.agent.kill9().unwrap();
    assert_eq!(pods[0].wait_exit("app").unwrap(), Exit::Code(0));
    pods[0].start_container("app").unwrap();
    wait_lines(&rig, &pods[0], "started", 2);
    pods[1..].iter().for_each(|pod| drop(change(pod, "bad")));
    rig.publish_pods();
    rig.agent = start_agent(rig.options.clone());
    rig.wait_outcomes("web", "held", 2);
    assert_eq!(rig.outcomes("web", "delivered"), 0.0, "{}", rig.tail());
    for pod in &pods[1..] {
        assert_eq!((lines(pod, "started"), pod.exit("app").unwrap()), (1, None));
    }
    rig.end();
}
