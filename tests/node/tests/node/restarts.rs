//! The agent dies and starts again.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rustix::mount::MountFlags;
use standin::{LogRecord, Pod, PodSpec, VolumeSpec, boottime_ns, payload, wait_until};

use crate::support::{LIMIT, SIGNAL, Setup, app, change, end_doubt, reader, start_agent};

fn stamps(pod: &Pod) -> Vec<u64> {
    let at = |record: LogRecord| match record {
        LogRecord::Signal { at, .. } => Some(at),
        LogRecord::Started { .. } | LogRecord::Ready { .. } => None,
    };
    pod.signals("app").unwrap().into_iter().filter_map(at).collect()
}

/// As many as an environment variable says, as for `make kills`.
fn asked(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|count| count.parse().ok()).unwrap_or(otherwise)
}

/// How many signals are certainly repeats: nothing was published since the one before, nor right before that one, which may not
/// have told of it yet.
fn repeats(swaps: &[u64], signals: &[u64]) -> usize {
    const DOUBT: u64 = 50_000_000;
    let is_repeat = |pair: &&[u64]| {
        let (before, at) = (pair[0], pair[1]);
        !swaps.iter().any(|swap| *swap + DOUBT > before && *swap < at)
    };
    signals.windows(2).filter(is_repeat).count()
}

#[test]
fn kill_9_loses_no_change_and_repeats_at_most_one() {
    const PODS: usize = 10;
    let rounds = asked("NODE_SUITE_KILLS", 20);
    let changes = asked("NODE_SUITE_CHANGES_PER_KILL", 15);
    let specs = (0..PODS).map(|n| app(&format!("p{n}"))).collect();
    let Some(mut rig) = Setup::new().light().start(specs) else { return };
    let pods = rig.node.pods();
    let mut kills = Vec::new();
    let mut swaps: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for round in 0..rounds {
        // In each round the kill comes after another change and at another distance: between swap, delivery and record,
        // or while an agent that was killed before is starting.
        let kill_after = (7 * round) % changes;
        let mut newest = BTreeMap::new();
        for n in 0..changes {
            let (pod, content) = (&pods[n % PODS], format!("r{round}n{n}"));
            let swapped = change(pod, &content).renamed_at().unwrap();
            swaps.entry(pod.uid()).or_default().push(swapped);
            newest.insert(n % PODS, content);
            if n == kill_after {
                std::thread::sleep(Duration::from_micros([0, 300, 1_000, 3_000, 12_000][round % 5]));
                kills.push(boottime_ns());
                rig.kill_and_restart();
            }
        }
        for (pod, content) in newest {
            rig.wait_told(&pods[pod], "app", &content);
        }
    }
    rig.agent.wait_ready(LIMIT).unwrap();
    let (mut swapped, mut told_in_all, mut repeated) = (0, 0, 0);
    for pod in &pods {
        let (swaps, signals) = (&swaps[pod.uid()], stamps(pod));
        // A change is told at most once more for each kill, at any time so far.
        for (told, at) in signals.iter().enumerate() {
            let so_far = |times: &[u64]| times.iter().filter(|time| *time < at).count();
            assert!(told < so_far(swaps) + so_far(&kills), "{} at {at}: {signals:?}", pod.name());
        }
        swapped += swaps.len();
        told_in_all += signals.len();
        repeated += repeats(swaps, &signals);
    }
    eprintln!(
        "{swapped} changes, {} kills, {told_in_all} signals, {repeated} repeats, no newest content untold",
        kills.len()
    );
    assert!(repeated <= kills.len(), "{repeated} repeats for {} kills", kills.len());
    rig.end();
}

#[test]
fn a_change_while_the_agent_is_down_is_told_after_its_start_and_nothing_else_is() {
    let Some(mut rig) = Setup::new().start(vec![app("down"), app("same"), app("both")]) else { return };
    let (down, same, both) = (rig.pod("down"), rig.pod("same"), rig.pod("both"));
    change(&both, "two");
    rig.wait_told(&both, "app", "two");
    rig.wait_outcomes("both", "delivered", 1);
    rig.wait_recorded();
    rig.agent.kill9().unwrap();
    change(&down, "two");
    change(&down, "three");
    change(&both, "three");
    rig.agent = start_agent(rig.options.clone());
    rig.agent.wait_ready(LIMIT).unwrap();
    rig.wait_told(&down, "app", "three");
    rig.wait_told(&both, "app", "three");
    rig.wait_outcomes("down", "delivered", 1);
    rig.signals(&down, "app", 1);
    rig.signals(&both, "app", 2);
    // A pod that the journal knows and whose volume stayed as it was.
    rig.signals(&same, "app", 0);
    // A new pod is taken as it is; what changed before it was known was read at its start.
    let new = rig.add_pod(app("new"));
    change(&new, "two");
    rig.wait_told(&new, "app", "two");
    rig.signals(&new, "app", 1);
    rig.end();
}

#[test]
fn a_damaged_journal_is_not_a_first_start() {
    let Some(mut rig) = Setup::new().start(vec![app("older"), app("same")]) else { return };
    let (older, same) = (rig.pod("older"), rig.pod("same"));
    change(&older, "two");
    rig.wait_told(&older, "app", "two");
    rig.wait_outcomes("older", "delivered", 1);
    rig.wait_recorded();
    rig.agent.kill9().unwrap();
    let journal = rig.options.state_dir.join("journal.redb");
    let length = fs::metadata(&journal).unwrap().len();
    fs::write(&journal, vec![0x5a_u8; usize::try_from(length).unwrap()]).unwrap();
    change(&older, "three");
    change(&older, "four");
    rig.agent = start_agent(rig.options.clone());
    rig.agent.wait_ready(LIMIT).unwrap();
    rig.wait_warning("the journal can't be read and was set aside");
    rig.wait_told(&older, "app", "four");
    rig.wait_outcomes("older", "delivered", 1);
    rig.signals(&older, "app", 2);
    // Nothing has changed since this one started. A change shows that the start has told it nothing.
    change(&same, "two");
    rig.wait_told(&same, "app", "two");
    rig.signals(&same, "app", 1);
    rig.end();
}

#[test]
fn a_journal_that_is_gone_is_not_a_first_start() {
    let Some(mut rig) = Setup::new().start(vec![app("older"), app("same")]) else { return };
    let (older, same) = (rig.pod("older"), rig.pod("same"));
    rig.agent.kill9().unwrap();
    fs::remove_file(rig.options.state_dir.join("journal.redb")).unwrap();
    change(&older, "two");
    rig.agent = start_agent(rig.options.clone());
    rig.agent.wait_ready(LIMIT).unwrap();
    rig.wait_warning("the journal is gone");
    rig.wait_told(&older, "app", "two");
    rig.wait_outcomes("older", "delivered", 1);
    // It is begun anew, and the next agent goes by it.
    rig.wait_recorded();
    rig.kill_and_restart();
    rig.agent.wait_ready(LIMIT).unwrap();
    change(&same, "two");
    rig.wait_told(&same, "app", "two");
    rig.signals(&same, "app", 1);
    rig.signals(&older, "app", 1);
    rig.end();
}

#[test]
fn a_journal_that_cant_be_written_any_more_is_read_all_the_same() {
    let Some(stage) = Setup::new().stage(vec![app("told"), app("down")]) else { return };
    let state = stage.options.state_dir.clone();
    fs::create_dir(&state).unwrap();
    let remount = |flags| {
        rustix::mount::mount_remount(&state, flags, "").unwrap();
    };
    rustix::mount::mount("tmpfs", &state, "tmpfs", MountFlags::empty(), None).unwrap();
    let mut rig = stage.start();
    rig.agent.wait_ready(LIMIT).unwrap();
    let (told, down) = (rig.pod("told"), rig.pod("down"));
    change(&told, "two");
    rig.wait_told(&told, "app", "two");
    rig.wait_outcomes("told", "delivered", 1);
    rig.wait_recorded();
    rig.agent.kill9().unwrap();
    remount(MountFlags::RDONLY);
    change(&down, "two");
    rig.agent = start_agent(rig.options.clone());
    rig.agent.wait_ready(LIMIT).unwrap();
    rig.wait_metric("reloadlet_journal_in_memory", &[], 1.0);
    rig.wait_told(&down, "app", "two");
    change(&told, "three");
    rig.wait_told(&told, "app", "three");
    rig.signals(&told, "app", 2);
    rig.signals(&down, "app", 1);
    // What was kept in memory is in the file once it can be written.
    remount(MountFlags::empty());
    rig.wait_metric("reloadlet_journal_in_memory", &[], 0.0);
    rig.kill_and_restart();
    rig.agent.wait_ready(LIMIT).unwrap();
    change(&down, "three");
    rig.wait_told(&down, "app", "three");
    rig.signals(&down, "app", 2);
    rig.signals(&told, "app", 2);
    rustix::mount::unmount(&state, rustix::mount::UnmountFlags::DETACH).unwrap();
    rig.end();
}

#[test]
fn nothing_is_signalled_at_the_very_first_start() {
    let Some(stage) = Setup::new().stage(vec![app("old"), app("canary")]) else { return };
    let old = stage.pod("old");
    old.wait_ready("app").unwrap();
    end_doubt();
    change(&old, "two");
    let mut rig = stage.start();
    rig.agent.wait_ready(LIMIT).unwrap();
    let canary = rig.pod("canary");
    change(&canary, "two");
    rig.wait_told(&canary, "app", "two");
    rig.signals(&old, "app", 0);
    change(&old, "three");
    rig.wait_told(&old, "app", "three");
    rig.end();
}

#[test]
fn sigterm_ends_within_a_second_and_nothing_is_told_twice() {
    let specs = (0..5).map(|n| app(&format!("p{n}"))).collect();
    let Some(mut rig) = Setup::new().light().start(specs) else { return };
    let pods = rig.node.pods();
    for pod in &pods {
        pod.wait_ready("app").unwrap();
    }
    for pod in &pods {
        change(pod, "grown");
        rig.wait_told(pod, "app", "grown");
    }
    for round in 0..10 {
        let content = format!("r{round}");
        for pod in &pods {
            change(pod, &content);
        }
        // Some are told before the end, some records are still to be written, some changes come too late for it.
        std::thread::sleep(Duration::from_micros(400 * round));
        let stopped = rig.agent.terminate().unwrap();
        assert_eq!(stopped.status.code(), Some(0));
        assert!(stopped.took < Duration::from_secs(1), "{:?}", stopped.took);
        rig.agent = start_agent(rig.options.clone());
        rig.agent.wait_ready(LIMIT).unwrap();
        for pod in &pods {
            rig.wait_told(pod, "app", &content);
        }
    }
    // A change after the start shows that the start has told nobody before it.
    for pod in &pods {
        change(pod, "end");
    }
    for pod in &pods {
        rig.wait_told(pod, "app", "end");
        rig.signals(pod, "app", 12);
    }
    rig.end();
}

#[test]
fn a_second_agent_waits_for_the_first_ones_journal() {
    let Some(mut rig) = Setup::new().start(vec![app("web")]) else { return };
    let pod = rig.pod("web");
    let mut second = start_agent(rig.options.clone());
    wait_until(LIMIT, "the second agent's answer", || second.get("/livez").is_ok_and(|a| a.status == 200))
        .unwrap();
    change(&pod, "two");
    rig.wait_told(&pod, "app", "two");
    rig.wait_outcomes("web", "delivered", 1);
    assert!(!second.is_ready() && second.try_wait().unwrap().is_none());
    let is_held = |metrics: &standin::Metrics| metrics.value("reloadlet_journal_held", &[]) == 1.0;
    second.wait_metrics(LIMIT, "a journal that is held", is_held).unwrap();
    let lacks = second.status().unwrap()["agent"]["lacks"].clone();
    assert!(lacks.as_array().unwrap().iter().any(|lack| lack["what"] == "journal_held"), "{lacks}");
    rig.wait_warning(&format!("process {} holds the journal", rig.agent.pid()));
    assert_eq!(second.metrics().unwrap().sum("reloadlet_reloads_total"), 0.0);
    rig.agent.kill9().unwrap();
    second.wait_ready(LIMIT).unwrap();
    rig.agent = second;
    rig.wait_metric("reloadlet_journal_held", &[], 0.0);
    change(&pod, "three");
    rig.wait_told(&pod, "app", "three");
    rig.signals(&pod, "app", 2);
    rig.end();
}

#[test]
fn a_tmpfs_that_was_made_anew_while_there_was_no_agent_is_told_only_to_whoever_sees_it() {
    let secret = |name: &str| {
        PodSpec::new(name)
            .namespace(name)
            .annotation(SIGNAL, "SIGHUP")
            .volume(VolumeSpec::secret("conf").key("app.conf", "one\n"))
            .container(reader("app", &[]))
    };
    let Some(mut rig) = Setup::new().start(vec![secret("old"), secret("new")]) else { return };
    let (old, new) = (rig.pod("old"), rig.pod("new"));
    rig.agent.kill9().unwrap();
    for pod in [&old, &new] {
        pod.unmake_volume("conf").unwrap();
        pod.make_volume("conf", payload([("app.conf", "anew\n")])).unwrap();
    }
    new.restart_container("app").unwrap();
    new.wait_ready("app").unwrap();
    end_doubt();
    change(&new, "two");
    change(&old, "two");
    rig.publish_pods();
    rig.agent = start_agent(rig.options.clone());
    rig.wait_told(&new, "app", "two");
    rig.wait_outcomes("old", "no_process", 1);
    rig.wait_reason("old", "no_process", "until it restarts");
    rig.signals(&old, "app", 0);
    rig.end();
}
