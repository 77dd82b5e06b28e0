//! When a process can't or mustn't take the signal now.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use standin::{Exit, LogRecord, wait_until};

use crate::support::{LIMIT, SIGNAL, Setup, app, bare, change, end_doubt, parent, reader};

const UNHANDLED: &[(&str, &str)] = &[("kind", "unhandled")];

/// When the workload in `app` had its handlers.
fn ready_at(log: &[LogRecord]) -> u64 {
    let ready = |record: &LogRecord| match record {
        LogRecord::Ready { at } => Some(*at),
        LogRecord::Started { .. } | LogRecord::Signal { .. } => None,
    };
    log.iter().find_map(ready).unwrap()
}

#[test]
fn a_process_without_a_handler_survives_and_a_late_handler_is_told_once() {
    // In a shared PID namespace, since the first process of its own one wouldn't die of the signal.
    let never = |name: &str, flags: &[&str]| {
        bare(name).annotation(SIGNAL, "SIGHUP").share_process_namespace().container(reader("app", flags))
    };
    let specs = vec![
        never("none", &["--none"]),
        never("ignores", &["--ignore", "HUP"]),
        never("late", &["--catch-after", "15s"]),
        never("sent", &["--none"]).annotation("reloadlet.io/unhandled", "send"),
        app("well"),
    ];
    let Some(rig) = Setup::new().start(specs) else { return };
    for pod in rig.node.pods() {
        change(&pod, "two");
    }
    rig.wait_told(&rig.pod("well"), "app", "two");
    // It asked for it.
    assert_eq!(rig.pod("sent").wait_exit("app").unwrap(), Exit::Signal(1));
    rig.wait_outcomes("sent", "delivered", 1);

    rig.wait_metric("reloadlet_problems", UNHANDLED, 3.0);
    rig.wait_warning("app doesn't handle SIGHUP");
    let late = rig.pod("late");
    assert_eq!(late.log("app").unwrap().len(), 1, "it has its handler already: {}", rig.tail());
    let told = rig.wait_told(&late, "app", "two");
    assert!(told > ready_at(&late.log("app").unwrap()));
    rig.wait_metric("reloadlet_problems", UNHANDLED, 2.0);
    rig.wait_outcomes("late", "delivered", 1);

    // The newest generation replaces the one that waits.
    for name in ["none", "ignores"] {
        let pod = rig.pod(name);
        change(&pod, "three");
        rig.wait_outcomes(name, "superseded", 1);
        assert_eq!((pod.exit("app").unwrap(), rig.outcomes(name, "delivered")), (None, 0.0));
        // Its end is the end of the reload.
        pod.kill_container("app", Signal::KILL).unwrap();
        rig.wait_outcomes(name, "unhandled", 1);
    }
    rig.wait_metric("reloadlet_problems", UNHANDLED, 0.0);
    rig.signals(&late, "app", 1);
    rig.signals(&rig.pod("well"), "app", 1);
    rig.end();
}

#[test]
fn two_deliveries_that_end_the_process_make_further_ones_held_until_an_annotation_changes() {
    let spec = bare("ends")
        .annotation(SIGNAL, "SIGHUP")
        .annotation("reloadlet.io/verify", "2s")
        .container(reader("app", &["--exit-on", "HUP"]));
    let Some(mut rig) = Setup::new().start(vec![spec]) else { return };
    let pod = rig.pod("ends");
    for (count, content) in ["two", "three"].into_iter().enumerate() {
        change(&pod, content);
        rig.wait_told(&pod, "app", content);
        assert_eq!(pod.wait_exit("app").unwrap(), Exit::Code(0));
        rig.wait_outcomes("ends", "delivered", u32::try_from(count).unwrap() + 1);
        pod.start_container("app").unwrap();
        pod.wait_ready("app").unwrap();
        // Its status says that it is ready.
        rig.publish_pods();
    }
    rig.wait_metric("reloadlet_problems", &[("kind", "held")], 1.0);
    rig.wait_warning("nothing more is sent to it");
    // That outlives the agent.
    for (restarts, content) in [(false, "four"), (true, "five")] {
        if restarts {
            rig.kill_and_restart();
            rig.agent.wait_ready(LIMIT).unwrap();
        }
        change(&pod, content);
        // Once more where the record of the one before was still to be written.
        wait_until(LIMIT, "held", || rig.outcomes("ends", "held") >= 1.0).unwrap();
        rig.signals(&pod, "app", 2);
    }

    pod.set_annotation("reloadlet.io/verify", "5s");
    rig.publish_pods();
    rig.wait_metric("reloadlet_problems", &[("kind", "held")], 0.0);
    // Nothing changes but that.
    rig.wait_told(&pod, "app", "five");
    rig.signals(&pod, "app", 3);
    rig.end();
}

#[test]
fn a_blocked_signal_is_sent_and_judged_by_who_takes_it() {
    let blocks = |name: &str, flag: &str| {
        let container = reader("app", &[flag, "HUP"]);
        bare(name).annotation(SIGNAL, "SIGHUP").annotation("reloadlet.io/verify", "1s").container(container)
    };
    let specs = vec![blocks("leader", "--block-leader"), blocks("all", "--block-all-threads")];
    let Some(rig) = Setup::new().start(specs) else { return };
    for (name, verdict) in [("leader", "reread"), ("all", "pending")] {
        change(&rig.pod(name), "two");
        rig.wait_outcomes(name, "delivered", 1);
        rig.wait_metric("reloadlet_verdicts_total", &[("pod_namespace", name), ("verdict", verdict)], 1.0);
    }
    rig.signals(&rig.pod("leader"), "app", 1);
    rig.signals(&rig.pod("all"), "app", 0);
    rig.end();
}

#[test]
fn the_runtimes_process_is_never_signalled_in_the_containers_place() {
    // Longer than a young process is left alone anyway.
    let starting = |name: &str| {
        let container = reader("app", &[]).init_delay(Duration::from_secs(5)).unstarted();
        bare(name).annotation(SIGNAL, "SIGHUP").container(container)
    };
    let specs = vec![starting("known"), starting("unknown").without_status()];
    let Some(rig) = Setup::new().start(specs) else { return };
    for pod in rig.node.pods() {
        pod.start_container("app").unwrap();
    }
    rig.publish_pods();
    for pod in rig.node.pods() {
        change(&pod, "two");
    }
    for pod in rig.node.pods() {
        pod.wait_started("app").unwrap();
        let told = rig.wait_told(&pod, "app", "two");
        assert!(told > ready_at(&pod.log("app").unwrap()));
        assert_eq!(pod.exit("app").unwrap(), None);
        rig.signals(&pod, "app", 1);
    }
    rig.end();
}

#[test]
fn a_young_process_waits_and_one_that_started_after_the_change_is_left_alone() {
    let fresh =
        |name: &str| bare(name).annotation(SIGNAL, "SIGHUP").container(reader("app", &[]).unstarted());
    let Some(rig) = Setup::new().start(vec![fresh("young"), fresh("after")]) else { return };
    let (young, after) = (rig.pod("young"), rig.pod("after"));
    for pod in [&young, &after] {
        pod.start_container("app").unwrap();
        pod.wait_ready("app").unwrap();
        change(pod, "two");
    }
    after.kill_container("app", Signal::KILL).unwrap();
    after.wait_exit("app").unwrap();
    end_doubt();
    after.start_container("app").unwrap();
    rig.wait_outcomes("after", "started_after", 1);
    let told = rig.wait_told(&young, "app", "two");
    let LogRecord::Started { at } = young.log("app").unwrap()[0] else { panic!("not started") };
    assert!(told - at > 2_800_000_000, "{} ms old", (told - at) / 1_000_000);
    rig.signals(&after, "app", 0);
    change(&after, "three");
    rig.wait_told(&after, "app", "three");
    rig.end();
}

#[test]
fn a_zombie_is_told_nothing() {
    let Some(rig) = Setup::new().start(vec![app("web")]) else { return };
    let pod = rig.pod("web");
    let first = pod.container("app").unwrap().pid;
    let shim = Pid::from_raw(parent(first)).unwrap();
    kill_process(shim, Signal::STOP).unwrap();
    kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{first}/stat")).unwrap();
    wait_until(LIMIT, "a zombie", || state().contains(") Z ")).unwrap();
    change(&pod, "two");
    rig.wait_outcomes("web", "no_process", 1);
    assert!(state().contains(") Z ") && rig.outcomes("web", "delivered") == 0.0);
    kill_process(shim, Signal::CONT).unwrap();
    pod.wait_exit("app").unwrap();
    rig.end();
}

#[test]
fn a_container_that_restarts_all_the_time_gets_each_signal_that_was_counted() {
    let Some(rig) = Setup::new().start(vec![app("web")]) else { return };
    let pod = rig.pod("web");
    let counted = |outcomes: &[&str]| -> f64 { outcomes.iter().map(|one| rig.outcomes("web", one)).sum() };
    for n in 0..8_u32 {
        change(&pod, &format!("n{n}"));
        pod.restart_container("app").unwrap();
        if n % 3 == 2 {
            rig.publish_pods();
        }
    }
    // Each generation ended in one way or another, the last one at the latest when its container was 3 s old.
    let all = ["delivered", "started_after", "superseded", "gone", "no_process"];
    wait_until(LIMIT, "an outcome for each change", || counted(&all) >= 8.0).unwrap();
    pod.wait_ready("app").unwrap();
    change(&pod, "last");
    rig.wait_told(&pod, "app", "last");
    rig.agent.wait_metrics(LIMIT, "the last outcome", |_| counted(&all) >= 9.0).unwrap();
    assert_eq!(counted(&["delivered"]), pod.signals("app").unwrap().len() as f64, "{}", rig.tail());
    assert_eq!(counted(&all), 9.0, "{}", rig.tail());
    rig.end();
}
