//! Pods that are as large as can be, or as many, and a victim in another namespace, under the memory limit of the DaemonSet.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use standin::{ContainerSpec, PodSpec, VolumeSpec};

use crate::memory::{MemoryLimit, SECONDS};
use crate::support::{LIMIT, Rig, SIGNAL, Setup, app, change};

/// The agent's largest resident memory so far, in KiB.
fn peak(rig: &Rig) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", rig.agent.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A pod that only the pods file knows.
fn pod(n: usize, annotations: &Map<String, Value>, spec: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("large-{n}"),
            "namespace": "hostile",
            "uid": format!("00000000-0000-4000-8000-{n:012}"),
            "annotations": annotations,
        },
        "spec": spec,
    })
}

/// A spec with so many volumes, all of them mounted.
fn volumes(count: usize) -> Value {
    let name = |n: usize| format!("volume-{n}");
    let volume = |n: usize| json!({ "name": name(n), "configMap": { "name": format!("map-{n}") } });
    let mount = |n: usize| json!({ "name": name(n), "mountPath": format!("/{n}") });
    json!({
        "containers": [{ "name": "app", "volumeMounts": (0..count).map(mount).collect::<Vec<_>>() }],
        "volumes": (0..count).map(volume).collect::<Vec<_>>(),
    })
}

fn asking(more: &[(String, &str)]) -> Map<String, Value> {
    let more = more.iter().map(|(key, value)| (key.clone(), json!(value)));
    std::iter::once((SIGNAL.to_owned(), json!("SIGHUP"))).chain(more).collect()
}

/// Writes the pods of the node and these to the pods file.
fn publish(rig: &Rig, hostile: &[Value]) {
    let path: &Path = &rig.options.pods_file;
    let draft = path.with_extension("draft");
    rig.node.write_pods_file(&draft).unwrap();
    let mut list: Value = serde_json::from_str(&fs::read_to_string(&draft).unwrap()).unwrap();
    list["items"].as_array_mut().unwrap().extend(hostile.iter().cloned());
    fs::write(&draft, list.to_string()).unwrap();
    fs::rename(&draft, path).unwrap();
}

/// Lets the victim be told of changes while the pods file names other pods, which may be others in each round, until that many
/// of them have a problem of this kind, and then some.
fn a_victim_is_told(
    name: &str,
    real: Vec<PodSpec>,
    hostile: impl Fn(usize) -> Option<Vec<Value>>,
    (problem, count): (&str, u32),
) -> Option<Vec<Value>> {
    let Some(limit) = MemoryLimit::new(name) else {
        eprintln!("skipped: needs a memory cgroup");
        return None;
    };
    let wrapper = limit.wrapper();
    let setup = Setup::new()
        .light()
        .alone()
        .agent(move |_, options| options.wrapper(&wrapper.iter().map(String::as_str).collect::<Vec<_>>()));
    let stage = setup.stage(std::iter::once(app("victim")).chain(real).collect())?;
    let mut rig = stage.start();
    rig.agent.wait_ready(LIMIT).unwrap();
    let victim = rig.pod("victim");

    // A young process waits for three seconds.
    change(&victim, "old enough");
    rig.wait_told(&victim, "app", "old enough");
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut delays = Vec::new();
    let mut last = 20;
    while delays.len() < last || Instant::now() < end {
        if let Some(hostile) = hostile(delays.len()) {
            publish(&rig, &hostile);
        }
        let content = format!("n{}", delays.len());
        for pod in rig.node.pods().iter().filter(|pod| pod.name() != "victim") {
            let files = long_keys(&content).into_iter();
            pod.update("conf", files.map(|(key, value)| (key, value.into_bytes())).collect()).unwrap();
        }
        let written = change(&victim, &content);
        let told = rig.wait_told(&victim, "app", &content);
        delays.push(Duration::from_nanos(told.saturating_sub(written.renamed_at().unwrap())));
        if rig.metric("reloadlet_problems", &[("kind", problem)]) < f64::from(count) {
            last = delays.len() + 20;
        }
        assert_eq!(rig.agent.get("/livez").unwrap().status, 200);
        assert_eq!(rig.agent.try_wait().unwrap(), None, "{}", rig.tail());
        assert!(delays.len() < 10_000, "{count} {problem}: {}", rig.tail());
    }
    rig.wait_outcomes("victim", "delivered", u32::try_from(delays.len() + 1).unwrap());
    assert_eq!(limit.kills(), 0);
    let count = delays.len();
    delays.sort();
    let (median, worst) = (delays[count / 2], delays[count - 1]);
    let peak = peak(&rig) >> 10;
    eprintln!("{name}: {count} changes, median {median:?}, worst {worst:?}, peak {peak} MiB");
    assert!(median < Duration::from_millis(100), "{delays:?}");
    // A new agent meets all of them in its first listing.
    let log = rig.log();
    rig.kill_and_restart();
    rig.agent.wait_ready(LIMIT).unwrap();
    change(&victim, "after");
    rig.wait_told(&victim, "app", "after");
    assert_eq!(limit.kills(), 0);
    rig.end();
    Some(log)
}

/// Waits for nothing: what each of the pods was said about.
fn assert_each_was_said(log: &[Value], pods: usize, kind: &str) {
    for n in 0..pods {
        let lines = log.iter().filter(|line| line["pod"] == format!("large-{n}") && line["kind"] == kind);
        assert_eq!(lines.count(), 1, "large-{n}");
    }
}

#[test]
fn pods_with_10000_volumes_are_left_alone_with_a_problem_and_keep_nobody_waiting() {
    let hostile = |round| {
        let flip =
            asking(&[("reloadlet.io/min-interval".to_owned(), if round % 2 == 0 { "1s" } else { "2s" })]);
        Some((0..3).map(|n| pod(n, &flip, &volumes(10_000))).collect())
    };
    let Some(log) = a_victim_is_told("volumes", Vec::new(), hostile, ("too_large", 3)) else { return };
    assert_each_was_said(&log, 3, "too_large");
}

#[test]
fn pods_with_8000_annotations_are_left_alone_with_a_problem_and_keep_nobody_waiting() {
    let annotations: Vec<_> = (0..8000).map(|n| (format!("reloadlet.io/a{n}"), "")).collect();
    let annotations = asking(&annotations);
    let hostile = |round| (round == 0).then(|| (0..100).map(|n| pod(n, &annotations, &volumes(1))).collect());
    let Some(log) = a_victim_is_told("annotations", Vec::new(), hostile, ("too_large", 100)) else { return };
    assert_each_was_said(&log, 100, "too_large");
}

#[test]
fn pods_with_a_spec_of_1400000_bytes_that_ask_for_nothing_take_no_memory() {
    let variables: Vec<_> = (0..7000)
        .map(|n| json!({ "name": format!("V{n}"), "valueFrom": { "configMapKeyRef": { "name": format!("m{n}"), "key": "x".repeat(110) } } }))
        .collect();
    let spec = json!({ "containers": [{ "name": "app", "env": variables }] });
    let mut pods: Vec<_> = (0..40).map(|n| pod(n, &Map::new(), &spec)).collect();
    // It says that the others were read.
    pods.push(pod(40, &asking(&[]), &spec));
    a_victim_is_told("specs", Vec::new(), |round| (round == 0).then(|| pods.clone()), ("too_large", 1));
}

#[test]
fn as_many_volumes_as_there_may_be_dont_keep_others_waiting_when_all_change_at_once() {
    let hostile = |round| {
        let flip =
            asking(&[("reloadlet.io/min-interval".to_owned(), if round % 2 == 0 { "1s" } else { "2s" })]);
        Some((0..110).map(|n| pod(n, &flip, &volumes(256))).collect())
    };
    let Some(log) = a_victim_is_told("many", Vec::new(), hostile, ("no_room", 50)) else { return };
    assert!(log.iter().any(|line| line["kind"] == "no_room"));
}

/// Letters in no order, the same for the same number.
fn letters(number: u64) -> impl Iterator<Item = char> {
    let mix = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    let states = std::iter::successors(Some(number), mix).skip(2);
    states.map(|state| char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap()))
}

/// 400 keys that are as long as can be, and one that is read.
fn long_keys(content: &str) -> Vec<(String, String)> {
    let long = (0..400).map(|key| (letters(key).take(250).collect(), content.to_owned()));
    std::iter::once(("app.conf".to_owned(), format!("{content}\n"))).chain(long).collect()
}

#[test]
fn globs_beside_many_long_keys_take_next_to_no_memory() {
    let glob =
        |n| letters(n).take(11).flat_map(|letter| ['*', letter]).chain("*!".chars()).collect::<String>();
    let keys = (1000..1063).map(glob).chain(["*.conf".to_owned()]).collect::<Vec<_>>().join(",");
    let pods = (0..12).map(|n| {
        let name = format!("globs{n}");
        let conf = long_keys("one").into_iter();
        let conf = conf.fold(VolumeSpec::config_map("conf"), |conf, (key, value)| conf.key(&key, &value));
        PodSpec::new(&name)
            .namespace("globs")
            .annotation(SIGNAL, "SIGHUP")
            .annotation("reloadlet.io/keys", &keys)
            .volume(conf)
            .container(ContainerSpec::workload("app", &["--read", "/conf/app.conf"]).mount("conf", "/conf"))
    });
    a_victim_is_told("globs", pods.collect(), |_| None, ("too_large", 0));
}
