//! What keeps a roll from beginning, and that it begins once that is over.

use serde_json::{Value, json};

use cluster_suite::rolls::{
    Away, config_map, hold, holder, rolled_together, sentinel, status_command, variable, with, workload,
};
use cluster_suite::space::{Space, kubectl, kubectl_command, output, wait_until};

/// What `reloadlet status --controller` prints for people.
fn table() -> Option<String> {
    output(kubectl_command(status_command(&holder()?, &[]))).ok()
}

#[track_caller]
fn wait_table(space: &Space, name: &str, sentence: &str) {
    let shown = wait_until(&format!("the status of {name} says: {sentence}"), || {
        let table = table()?;
        let is_it = |line: &&str| line.contains(space.name()) && line.contains(name);
        table.lines().find(is_it).filter(|_| table.contains(sentence)).map(str::to_owned)
    });
    eprintln!("{shown}");
}

#[test]
fn what_a_person_holds_is_rolled_once_that_is_lifted() {
    let Some(space) = Space::alone("rolls-held") else { return };
    let other = space.beside("rolls-other");
    // A controller has so many Events, and other tests' rolls may have taken those of the one that runs.
    Away::begin().end();
    for space in [&space, &other] {
        space.start_rolled(&[config_map("web", "one"), workload("Deployment", "web", &variable("web"))]);
    }
    hold("_all", true);
    for space in [&space, &other] {
        space.change_object("web", "two");
        let said = space.wait_event("web", "RollHeld");
        assert!(said.starts_with("A person holds its roll"), "{said}");
        space.wait_status("web", "wait", "held");
    }
    // One namespace is held on, and what is rolled in the other one is rolled after the first one would have been.
    space.hold(true);
    hold("_all", false);
    other.wait_revisions(&["web"], 2);
    other.wait_holds("web", "two");
    other.wait_event("web", "RollFinished");
    wait_table(&space, "web", "a test looks");
    space.assert_revisions(&[]);

    space.hold(false);
    space.wait_revisions(&["web"], 2);
    space.wait_holds("web", "two");
    for space in [&space, &other] {
        space.wait_event("web", "RollStarted");
        space.wait_event("web", "RollFinished");
        space.assert_revisions(&[("web", 2)]);
    }
    kubectl(["-n", "reloadlet", "delete", "configmap", "reloadlet-holds"]);
}

#[test]
fn an_earlier_wave_is_available_before_a_later_one_is_rolled() {
    let Some(space) = Space::new("rolls-waves") else { return };
    let in_wave = |name: &str, wave: &str| {
        with(workload("Deployment", name, &variable("config")), "reloadlet.io/wave", wave)
    };
    // By name and by age they would go in another order.
    space.start_rolled(&[
        config_map("config", "one"),
        in_wave("a", "2"),
        in_wave("b", "1"),
        workload("Deployment", "c", &variable("config")),
        in_wave("d", "-1"),
    ]);
    let recorder = space.record();
    space.change_object("config", "two");
    let all = ["a", "b", "c", "d"];
    space.wait_revisions(&all, 2);
    let moments = rolled_together(&recorder.end());
    assert_eq!(moments, [["d"], ["c"], ["b"], ["a"]], "each alone, when the one before was available");
    for name in all {
        space.wait_holds(name, "two");
    }
    space.assert_revisions(&all.map(|name| (name, 2)));
    eprintln!("rolled in the order of their waves: {moments:?}");
}

/// A budget that allows no pod of a workload to be taken away.
fn budget(name: &str) -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": name}}},
    })
}

#[test]
fn what_cant_be_rolled_now_waits_and_says_so() {
    let Some(space) = Space::new("rolls-waiting") else { return };
    let mut on_delete = workload("StatefulSet", "on-delete", &variable("on-delete"));
    on_delete["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let names = ["paused", "on-delete", "protected"];
    let maps = names.map(|name| config_map(name, "one"));
    let others = [
        workload("Deployment", "paused", &variable("paused")),
        on_delete,
        workload("Deployment", "protected", &variable("protected")),
        budget("protected"),
    ];
    space.start_rolled(&[maps.as_slice(), &others, &sentinel("sentinel"), &sentinel("second")].concat());
    space.kubectl(&["rollout", "pause", "deployment/paused"]);
    wait_until("the budget is counted", || {
        let budget = space.get("poddisruptionbudget", "protected");
        budget["status"]["observedGeneration"] == 1 && budget["status"]["currentHealthy"] == 1
    });

    for name in names {
        space.change_object(name, "two");
    }
    space.wait_status("paused", "state", "stale");
    space.wait_status("on-delete", "state", "stale");
    space.wait_status("protected", "wait", "disruption");
    wait_table(&space, "paused", "as it is paused: they are once it is resumed.");
    wait_table(&space, "on-delete", "delete them, and they are made anew with it.");
    wait_table(&space, "protected", "Its PodDisruptionBudget allows no disruption");
    space.wait_sentinel("sentinel");
    space.assert_revisions(&[("sentinel", 2)]);
    for name in names {
        space.wait_holds(name, "one");
    }

    space.kubectl(&["rollout", "resume", "deployment/paused"]);
    space.kubectl(&["delete", "poddisruptionbudget", "protected"]);
    space.kubectl(&["delete", "pod", "--selector=app=on-delete"]);
    space.wait_revisions(&["paused", "protected"], 2);
    for name in names {
        space.wait_holds(name, "two");
    }
    space.wait_sentinel("second");
    space.assert_revisions(&[("paused", 2), ("protected", 2), ("sentinel", 2), ("second", 2)]);
    eprintln!("waited, then rolled once; OnDelete never: {:?}", space.revisions());
}
