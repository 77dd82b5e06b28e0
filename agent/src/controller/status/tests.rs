use std::collections::BTreeSet;
use std::time::Duration;

use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::policy::problem::{Problem, ProblemKind};
use reloadlet_core::policy::reloader::Telling;
use reloadlet_core::rollouts::overview::Current;
use reloadlet_core::rollouts::workload::Kind;
use serde_json::Value;

use super::*;
use crate::contact::Contact;
use crate::status::controller::Fence;

fn at(seconds: u64) -> Time {
    Time::since_boot(Duration::from_secs(1_000_000 + seconds))
}

fn who(name: &str) -> WorkloadRef {
    WorkloadRef { kind: Kind::Deployment, namespace: "shop".into(), name: name.into() }
}

fn overview(workload: &WorkloadRef) -> Overview<'_> {
    Overview {
        workload,
        roll: None,
        wait: None,
        trouble: None,
        stale: None,
        problems: &[],
        objects: BTreeSet::new(),
    }
}

/// The document of a replica that leads, 100 s after the epoch's beginning of these tests.
fn shown(all: Vec<Overview<'_>>, since: impl Fn(&WorkloadRef, Wait) -> Option<Time>) -> Value {
    let contact = Contact::new();
    let replica =
        Replica { name: "a", leads: true, leader: Some("a"), fence: Fence::Holds, contact: &contact };
    let holds = [HoldStatus { namespace: Some("logs".into()), reason: Some("a freeze".to_owned()) }];
    let now = Now { boot: Time::default(), epoch: at(100) };
    let text = document(replica, &holds, all.into_iter(), since, now).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn names(document: &Value) -> Vec<&str> {
    document["workloads"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[test]
fn what_is_rolled_comes_first_and_then_what_waits_by_its_reason() {
    let marker = Name::from("0f");
    let roll = |standing| Some(Current { standing, marker: &marker, since: at(40) });
    let problems = [Problem::new(ProblemKind::BadValue, "its window is bad")];
    let all = ["stale", "problem", "held-b", "held-a", "debounced", "failed", "planned", "rolling"].map(who);
    let [stale, problem, held_b, held_a, debounced, failed, planned, rolling] = &all;
    let document = shown(
        vec![
            Overview { stale: Some(Telling::Paused), ..overview(stale) },
            Overview { problems: &problems, ..overview(problem) },
            Overview { wait: Some(Wait::Held), ..overview(held_b) },
            Overview { wait: Some(Wait::Held), ..overview(held_a) },
            Overview { wait: Some(Wait::Debounce), ..overview(debounced) },
            Overview { roll: roll(Standing::Failed), ..overview(failed) },
            Overview { roll: roll(Standing::Planned), ..overview(planned) },
            Overview { roll: roll(Standing::Rolling), wait: Some(Wait::Interval), ..overview(rolling) },
        ],
        |who, wait| (&*who.name == "held-a" && wait == Wait::Held).then(|| at(95)),
    );
    let expected = ["rolling", "planned", "failed", "debounced", "held-a", "held-b", "problem", "stale"];
    assert_eq!(names(&document), expected);
    let rows = &document["workloads"];
    let states: Vec<&str> =
        rows.as_array().unwrap().iter().map(|row| row["state"].as_str().unwrap()).collect();
    let expected = ["rolling", "planned", "failed", "waiting", "waiting", "waiting", "problem", "stale"];
    assert_eq!(states, expected);
    assert_eq!((&rows[0]["roll"]["marker"], &rows[0]["roll"]["seconds"]), (&"0f".into(), &60.0.into()));
    let sentence =
        format!("{} The next one: {}", words::standing(Standing::Rolling), words::wait(Wait::Interval));
    assert_eq!((&rows[0]["wait"], &rows[0]["sentence"]), (&"interval".into(), &sentence.into()));
    assert_eq!((&rows[4]["wait"], &rows[4]["waitSeconds"]), (&"held".into(), &5.0.into()));
    assert_eq!(rows[5]["waitSeconds"], Value::Null, "nobody knows it");
    assert_eq!(rows[6]["sentence"], "Problem: its window is bad");
    assert_eq!(document["holds"][0]["reason"], "a freeze");
}

#[test]
fn what_cant_be_done_is_in_the_sentence_with_what_came_of_the_last_try() {
    let marker = Name::from("0f");
    let roll = Some(Current { standing: Standing::Rolling, marker: &marker, since: at(40) });
    let all = ["rolling", "state", "pods"].map(who);
    let [rolling, state, pods] = &all;
    let why =
        "the Secret reloadlet-controller-state-3 can't be written (API server: it answers 403 Forbidden: no)";
    let document = shown(
        vec![
            Overview { roll, wait: Some(Wait::State), trouble: Some(why), ..overview(rolling) },
            Overview { wait: Some(Wait::State), trouble: Some(why), ..overview(state) },
            Overview { wait: Some(Wait::Pods), ..overview(pods) },
        ],
        |_, _| None,
    );
    let rows = &document["workloads"];
    let waits = format!("{} The last try: {why}", words::wait(Wait::State));
    let rolls = format!("{} {waits}", words::standing(Standing::Rolling));
    assert_eq!(names(&document), ["rolling", "state", "pods"]);
    assert_eq!([&rows[0]["sentence"], &rows[1]["sentence"]], [&rolls, &waits]);
    assert_eq!((&rows[2]["wait"], &rows[2]["sentence"]), (&"pods".into(), &words::wait(Wait::Pods).into()));
}

#[test]
fn a_document_has_so_many_workloads_and_of_each_so_many_objects_and_counts_the_others() {
    let objects: Vec<(ObjectKind, Name)> =
        (0..64).map(|n| (ObjectKind::ConfigMap, format!("app-{n:02}").as_str().into())).collect();
    let all: Vec<WorkloadRef> = (0..MOST + 3).map(|n| who(&format!("web-{n:05}"))).collect();
    let mut rows: Vec<Overview<'_>> =
        all.iter().map(|who| Overview { wait: Some(Wait::Held), ..overview(who) }).collect();
    rows[0].objects = objects.iter().collect();
    let document = shown(rows, |_, _| None);
    let shown = document["workloads"].as_array().unwrap();
    assert_eq!((shown.len(), &document["more"]), (MOST, &3.into()));
    let row = &shown[0];
    let named = row["objects"].as_array().unwrap();
    assert_eq!((named.len(), &row["moreObjects"]), (words::LISTED, &(64 - words::LISTED).into()));
    assert_eq!(named[0], serde_json::json!({"kind": "configmap", "name": "app-00"}));
}
