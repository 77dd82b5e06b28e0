//! Namespaces that make much to log and to count, and a victim in another one.

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use serde_json::{Value, json};
use standin::wait_until;

use crate::support::{LIMIT, Rig, SIGNAL, Setup, app, change};

/// The list of the node's pods with more of them, as a pods file.
fn put(rig: &Rig, more: impl IntoIterator<Item = Value>) {
    let mut list = rig.node.pods_json();
    list["items"].as_array_mut().unwrap().extend(more);
    let path = &rig.options.pods_file;
    let draft = path.with_extension("draft");
    fs::write(&draft, list.to_string()).unwrap();
    fs::rename(&draft, path).unwrap();
}

/// A pod of which nothing but the manifest exists.
fn paper(number: usize, namespace: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "paper",
            "namespace": namespace,
            "uid": format!("{number:08x}-0000-4000-8000-000000000000"),
            "annotations": annotations,
        },
        "spec": { "containers": [{ "name": "app", "image": "none" }] },
    })
}

const PROBLEMS: usize = 20;

/// As many bad annotations as are told of a pod, other ones each time.
fn bad(round: usize) -> Value {
    let keys = (0..PROBLEMS).map(|n| (format!("reloadlet.io/key-{n}"), json!(format!("round {round}"))));
    Value::Object(keys.collect())
}

/// How many lines the log says were left out of a namespace's.
fn left_out(lines: &[Value], namespace: &str) -> u64 {
    let said = lines.iter().filter(|line| line["namespace"] == namespace && line["pod"].is_null());
    said.filter_map(|line| line["lines"].as_u64()).sum()
}

#[test]
fn a_pod_whose_bad_annotations_flip_writes_few_lines_and_takes_none_of_anothers() {
    const ROUNDS: usize = 300;
    let Some(mut rig) = Setup::new().light().start(vec![app("victim")]) else { return };
    let victim = rig.pod("victim");
    let begin = Instant::now();
    for round in 0..ROUNDS {
        put(&rig, [paper(1, "loud", &bad(round))]);
        wait_until(LIMIT, "the round's problems", || {
            rig.agent.get_admin("/status").unwrap().body.contains(&format!("round {round}\\\""))
        })
        .unwrap();
        change(&victim, &format!("n{round}"));
        rig.wait_told(&victim, "app", &format!("n{round}"));
    }
    rig.wait_outcomes("victim", "delivered", u32::try_from(ROUNDS).unwrap());
    let took = begin.elapsed();
    assert_eq!(rig.agent.terminate().unwrap().status.code(), Some(0), "{}", rig.tail());

    let lines = rig.log();
    let told = lines.iter().filter(|line| line["pod"] == "victim" && line["outcome"] == "delivered").count();
    assert_eq!(told, ROUNDS, "every line about the victim is there");
    let loud: Vec<&Value> = lines.iter().filter(|line| line["pod"] == "paper").collect();
    let written = u64::try_from(loud.len()).unwrap();
    let most = 1100 + 20 * took.as_secs();
    assert!(written <= most, "{written} lines in {took:?}");
    let longest = loud.iter().map(|line| line.to_string().len()).max().unwrap();
    assert!(longest < 2048, "a line has {longest} bytes");
    let all = u64::try_from(PROBLEMS * ROUNDS).unwrap();
    assert_eq!(written + left_out(&lines, "loud"), all, "what is left out is counted");
    assert!(all > most, "too slow to show anything: {took:?}");
    assert_eq!(left_out(&lines, "victim"), 0);
    rig.end_of_node();
}

/// The namespaces that have series.
fn namespaces(rig: &Rig) -> BTreeSet<String> {
    rig.agent.metrics().unwrap();
    let page = rig.agent.get("/metrics").unwrap().body;
    let parts = page.lines().filter_map(|line| line.split_once("pod_namespace=\"")?.1.split('"').next());
    parts.map(str::to_owned).collect()
}

#[test]
fn namespaces_that_come_and_go_take_a_bounded_number_of_series_and_nothing_of_anothers() {
    let Some(rig) = Setup::new().light().start(vec![app("victim")]) else { return };
    let victim = rig.pod("victim");
    for round in 0..8_usize {
        // Not as many as the round before: the gauge tells them apart.
        let numbers = round * 60..round * 60 + 50 + round;
        let count = numbers.len() as f64;
        put(&rig, numbers.map(|n| paper(n, &format!("team-{n}"), &json!({ SIGNAL: "SIGKILL" }))));
        rig.wait_metric("reloadlet_pods", &[("state", "invalid")], count);
        change(&victim, &format!("n{round}"));
        rig.wait_outcomes("victim", "delivered", u32::try_from(round + 1).unwrap());
        let found = namespaces(&rig);
        assert!(found.len() <= 129, "{} namespaces have series", found.len());
        assert!(found.contains("victim"));
    }
    // More live ones than have series of their own: the last that comes is counted with others.
    let many = || (1000..1150).map(|n| paper(n, &format!("zone-{n}"), &json!({ SIGNAL: "SIGKILL" })));
    put(&rig, many());
    rig.wait_metric("reloadlet_pods", &[("state", "invalid")], 150.0);
    let late = rig.node.add_pod(app("late")).unwrap();
    put(&rig, many());
    rig.wait_known(&late);
    change(&late, "two");
    rig.wait_outcomes("_other", "delivered", 1);
    change(&victim, "last");
    rig.wait_outcomes("victim", "delivered", 9);
    let found = namespaces(&rig);
    assert_eq!((found.len(), found.contains("late")), (129, false), "{found:?}");
    rig.end();
}
