//! Each namespace has its share of what is scarce on a node: Events and nudges.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster_suite::agent;
use cluster_suite::audit;
use cluster_suite::kubelet::Reset;
use cluster_suite::overlay::Overlay;
use cluster_suite::space::{SIGNAL, Space, app, config_map, kubectl_command, wait_until};
use serde_json::{Value, json};

use crate::fence::OWN;

/// Pods with a bad annotation.
const BAD: usize = 60;
/// How many Events one namespace sends at once, and how many more in a minute.
const AT_ONCE: usize = 25;
const A_MINUTE: usize = 10;

/// Pods that are nudged for one ConfigMap: each once or twice a second would take more than a node sends.
const NUDGED: usize = 15;
/// How long that changes before it is looked how often they are nudged, and for how long.
const BEFORE: Duration = Duration::from_secs(75);
const WINDOW: Duration = Duration::from_secs(30);
/// How much later than without all this another namespace's change may be on disk. The kubelet's own minute is longer.
const LATER: Duration = Duration::from_secs(10);

/// Does something again and again, while something else is done.
fn meanwhile<T>(again: impl Fn(usize) + Sync, once: impl FnOnce() -> T) -> T {
    /// Also if the test fails.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = End(&ended);
        scope.spawn(|| (0..).take_while(|_| !ended.load(Ordering::Relaxed)).for_each(&again));
        let done = once();
        drop(end);
        done
    })
}

/// kubectl in a namespace; what becomes of it doesn't matter.
fn try_kubectl(space: &Space, args: &[&str]) {
    let mut command = kubectl_command(["-n", space.name()].iter().chain(args));
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
}

/// A pod on the node that never starts: its ConfigMap isn't there. What the agent says of it doesn't depend on that.
fn bad(n: usize, node: &str) -> Value {
    let mut pod = app(&format!("bad-{n}"), &[(SIGNAL, "SIGKILL")]);
    pod["spec"]["nodeName"] = json!(node);
    pod
}

/// The pods of which a problem was said.
fn said(space: &Space) -> BTreeSet<String> {
    let events = space.list("events.events.k8s.io", &[]);
    let problems = events.iter().filter(|event| event["reason"] == "ReloadProblem");
    problems.map(|event| event["regarding"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn many_bad_pods_of_one_tenant_keep_nobody_elses_problem_from_being_said() {
    let Some(space) = Space::alone("said") else { return };
    let loud = space.beside("many-bad");
    let node = agent::pod()["spec"]["nodeName"].as_str().unwrap().to_owned();
    // With a full budget.
    agent::restart();
    loud.create(&(0..BAD).map(|n| bad(n, &node)).collect::<Vec<_>>());
    wait_until("the loud one's first problems are said", || said(&loud).len() >= AT_ONCE - 5);

    // Each of its pods has another problem every now and then.
    let annotate = |n: usize| {
        let value = format!("{SIGNAL}=BAD{n}");
        try_kubectl(&loud, &["annotate", "pods", "--all", "--overwrite", &value]);
    };
    let took = meanwhile(annotate, || {
        let begun = Instant::now();
        space.create(&[config_map("one"), app("bad", &[(SIGNAL, "SIGKILL")])]);
        let note = space.wait_event("bad", "ReloadProblem");
        assert!(note.contains("SIGKILL"), "{note}");
        begun.elapsed()
    });
    eprintln!("the other's problem was said after {took:?}, beside {} of {BAD}", said(&loud).len());
    // All of them would take minutes: one more each six seconds.
    wait_until("what didn't fit into the budget is said later", || said(&loud).len() >= AT_ONCE + A_MINUTE);
    // Others wait for their Events: they need a budget that isn't used up.
    agent::restart();
}

/// How long it takes until another content is on disk.
fn until_on_disk(space: &Space, content: &str) -> Duration {
    let begun = Instant::now();
    space.change(content);
    space.wait_file("app", "/config/key", content);
    begun.elapsed()
}

#[test]
fn a_config_map_that_changes_all_the_time_is_nudged_for_less_and_less_and_keeps_no_others_waiting() {
    let Some(space) = Space::alone("shares") else { return };
    // Nothing is on disk soon without a nudge.
    let Some(_slow) = Reset::with("syncFrequency", "1m0s") else { return };
    let loud = space.beside("loud");
    let _overlay = Overlay::apply("acceleration", OWN);
    let accelerate = ("reloadlet.io/accelerate", "true");
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP"), accelerate])]);
    let pods = (0..NUDGED).map(|n| app(&format!("app-{n}"), &[(SIGNAL, "none"), accelerate]));
    loud.start(&[config_map("one")].into_iter().chain(pods).collect::<Vec<_>>());
    let undisturbed = until_on_disk(&space, "two");

    let change = |n: usize| {
        let patch = json!({"data": {"key": n.to_string()}}).to_string();
        try_kubectl(&loud, &["patch", "configmap", "config", "--type=merge", "-p", &patch]);
    };
    let first = audit::mark();
    let (disturbed, before, nudges) = meanwhile(change, || {
        let begun = Instant::now();
        wait_until("it has changed for a while", || begun.elapsed() >= BEFORE);
        let before = audit::nudges_since(first);
        let (mark, begun) = (audit::mark(), Instant::now());
        let disturbed = until_on_disk(&space, "three");
        wait_until("it was looked at for a while", || begun.elapsed() >= WINDOW);
        (disturbed, before, audit::nudges_since(mark))
    });
    eprintln!(
        "on disk after {undisturbed:?}, beside the loud one after {disturbed:?}; {nudges} nudges in {WINDOW:?}"
    );
    assert!(disturbed < undisturbed + LATER, "{undisturbed:?}, {disturbed:?}");
    assert!(before >= 2 * NUDGED && nudges <= 3 * NUDGED, "{before} nudges, then {nudges}");
}
