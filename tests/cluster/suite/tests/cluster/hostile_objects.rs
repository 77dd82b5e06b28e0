//! Objects that are made, and changed, to use up the agent's memory.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cluster_suite::agent;
use cluster_suite::space::{SIGNAL, Space, app, config_map, kubectl_command};
use serde_json::{Value, json};

/// How many objects of each kind.
const OBJECTS: usize = 100;
/// What a ConfigMap with many keys has: with its keys' names, 620 kB.
const KEYS: usize = 10_000;
/// What a ConfigMap with one large value has. An object has 1 MiB at most.
const LARGE: usize = 1_000_000;
/// How often the large ones are changed, all at once. The store keeps each version for some minutes, and holds 2 GiB.
const ROUNDS: usize = 6;
/// Over which the rounds are spread.
const LASTING: Duration = Duration::from_secs(60);
/// How many commands change them at a time.
const AT_ONCE: usize = 4;
/// After the settle the others are told within that, on a machine that does all this at the same time (100 ms is what is
/// promised of one that has time).
const TOLD: Duration = Duration::from_secs(1);

fn object(name: String, shard: usize, data: Value) -> Value {
    let metadata = json!({"name": name, "labels": {"shard": shard.to_string()}});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
}

fn with_many_keys(number: usize) -> Value {
    let keys: serde_json::Map<String, Value> =
        (0..KEYS).map(|key| (format!("{key:031}"), json!(format!("{number:031}")))).collect();
    object(format!("keys-{number}"), AT_ONCE, Value::Object(keys))
}

fn large(number: usize) -> Value {
    object(format!("large-{number}"), number % AT_ONCE, json!({"small": "1", "large": "x".repeat(LARGE)}))
}

/// A pod that takes a value of each object, and mounts two of those with many keys.
fn hostile() -> Value {
    let mut pod = app("hostile", &[(SIGNAL, "SIGHUP")]);
    let variable = |name: String, key: &str| {
        json!({
            "name": name.replace('-', "_"),
            "valueFrom": {"configMapKeyRef": {"name": name, "key": key, "optional": true}},
        })
    };
    let keys = (0..OBJECTS).map(|number| variable(format!("keys-{number}"), &format!("{:031}", 0)));
    let larges = (0..OBJECTS).map(|number| variable(format!("large-{number}"), "small"));
    pod["spec"]["containers"][0]["env"] = keys.chain(larges).collect();
    for number in 0..2 {
        let name = format!("keys-{number}");
        let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
        volumes.push(json!({"name": name, "configMap": {"name": name}}));
        let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array_mut().unwrap();
        mounts.push(json!({"name": name, "mountPath": format!("/{name}")}));
    }
    pod
}

/// Changes the large ones, all at once.
fn change_all(space: &Space, round: usize) -> Vec<Child> {
    let change = |shard: usize| {
        let (shard, round) = (format!("shard={shard}"), format!("round={round}"));
        let change = ["-n", space.name(), "annotate", "configmap", "-l", &shard, "--overwrite", &round];
        kubectl_command(change).stdout(Stdio::null()).spawn().unwrap()
    };
    (0..AT_ONCE).map(change).collect()
}

/// How often the agent's container was started, and which pod it is of.
fn starts() -> (Value, Value) {
    let pod = agent::pod();
    (pod["metadata"]["uid"].clone(), pod["status"]["containerStatuses"][0]["restartCount"].clone())
}

fn resident() -> String {
    format!("{}, at most {}", agent::process_status("VmRSS"), agent::process_status("VmHWM"))
}

#[test]
fn the_agent_keeps_within_its_memory_whatever_objects_a_tenant_makes_and_others_are_told() {
    let Some(space) = Space::alone("hostile-objects") else { return };
    let victim = space.beside("victim");
    victim.start(&[config_map("0"), app("app", &[(SIGNAL, "SIGHUP")])]);
    for begin in (0..OBJECTS).step_by(10) {
        let some: Vec<Value> = (begin..begin + 10).flat_map(|n| [with_many_keys(n), large(n)]).collect();
        space.create(&some);
    }
    space.start(&[config_map("0"), hostile()]);
    agent::restart();
    let before = starts();
    assert_eq!(before.1, 0);
    eprintln!("resident once the agent is ready: {}", resident());

    let begun = Instant::now();
    let mut told = Vec::new();
    for round in 1..=ROUNDS {
        let changes = change_all(&space, round);
        victim.change(&round.to_string());
        told.push(format!("hup {round}"));
        victim.wait_told("app", "app", &told.iter().map(String::as_str).collect::<Vec<_>>());
        for mut change in changes {
            assert!(change.wait().unwrap().success());
        }
        let pause = LASTING.mul_f64(round as f64 / ROUNDS as f64).saturating_sub(begun.elapsed());
        eprintln!("resident after round {round}: {}", resident());
        std::thread::sleep(pause);
    }
    assert_eq!(starts(), before, "{}", agent::log());

    let lines = agent::log();
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_victim = lines.filter(|line| {
        line["message"] == "reload" && line["namespace"] == victim.name() && line["outcome"] == "delivered"
    });
    let took: Vec<Duration> =
        of_victim.filter_map(|line| line["since_settle_us"].as_u64()).map(Duration::from_micros).collect();
    eprintln!("the other pod was told after the settle within {took:?}");
    assert_eq!(took.len(), ROUNDS);
    assert!(took.iter().all(|took| *took < TOLD), "{took:?}");
}
