//! The pods file, followed while the agent runs.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use standin::wait_until;

use crate::support::{LIMIT, Rig, SIGNAL, Setup, app, bare, change, reader};

/// Replaces the pods file in one step.
fn put(rig: &Rig, text: &str) {
    let path: &Path = &rig.options.pods_file;
    let draft = path.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(&draft, path).unwrap();
}

/// Warnings that name the pods file.
fn complaints(rig: &Rig) -> Vec<String> {
    let file = rig.options.pods_file.display().to_string();
    rig.messages("WARN").into_iter().filter(|text| text.contains(&file)).collect()
}

#[test]
fn pods_and_annotations_come_change_and_go() {
    let Some(rig) = Setup::new().start(vec![app("stays"), bare("asks").container(reader("app", &[]))]) else {
        return;
    };
    let (stays, asks) = (rig.pod("stays"), rig.pod("asks"));
    let comes = rig.add_pod(app("comes"));
    // Without an annotation it is left alone.
    for pod in [&asks, &comes, &stays] {
        change(pod, "two");
    }
    rig.wait_told(&comes, "app", "two");
    rig.wait_told(&stays, "app", "two");
    rig.signals(&asks, "app", 0);

    asks.set_annotation(SIGNAL, "SIGHUP");
    rig.publish_pods();
    rig.wait_metric("reloadlet_pods", &[("state", "watched")], 3.0);
    // Its process is older than what is published, and was never told.
    rig.wait_told(&asks, "app", "two");
    change(&asks, "three");
    rig.wait_told(&asks, "app", "three");

    // Changed: another key, then a value that is a problem, then a good one.
    asks.set_annotation("reloadlet.io/keys", "other.conf");
    rig.publish_pods();
    rig.wait_known(&asks);
    for (value, watched) in [("SIGKILL", 2.0), ("SIGHUP", 3.0)] {
        asks.set_annotation(SIGNAL, value);
        rig.publish_pods();
        rig.wait_metric("reloadlet_pods", &[("state", "watched")], watched);
        rig.wait_metric("reloadlet_problems", &[("kind", "bad_value")], 3.0 - watched);
    }
    rig.wait_known(&asks);
    // What the new globs leave of the first generation may not be read yet; it is told then.
    let ended = || rig.outcomes("asks", "unchanged") + rig.outcomes("asks", "delivered");
    change(&asks, "four");
    wait_until(LIMIT, "an outcome", || ended() >= 3.0).unwrap();
    let (unchanged, told) = (rig.outcomes("asks", "unchanged"), asks.signals("app").unwrap().len());
    change(&asks, "still four");
    change(&stays, "four");
    rig.wait_told(&stays, "app", "four");
    wait_until(LIMIT, "unchanged", || rig.outcomes("asks", "unchanged") > unchanged).unwrap();
    rig.signals(&asks, "app", told);

    // Removed.
    let mut none = asks.annotations();
    none.clear();
    asks.set_annotations(none);
    comes.remove().unwrap();
    rig.publish_pods();
    rig.wait_metric("reloadlet_pods", &[("state", "watched")], 1.0);
    change(&asks, "five");
    change(&stays, "five");
    rig.wait_told(&stays, "app", "five");
    rig.signals(&asks, "app", told);
    rig.end();
}

#[test]
fn a_change_of_annotations_loses_no_change_of_the_volume() {
    let Some(rig) = Setup::new().start(vec![app("web")]) else { return };
    let pod = rig.pod("web");
    for n in 0..10 {
        let content = format!("n{n}");
        change(&pod, &content);
        pod.set_annotation("reloadlet.io/verify", &format!("{}s", n + 1));
        rig.publish_pods();
        rig.wait_told(&pod, "app", &content);
    }
    rig.signals(&pod, "app", 10);
    rig.end();
}

#[test]
fn a_broken_file_is_named_once_and_the_last_good_content_stays() {
    let Some(rig) = Setup::new().start(vec![app("web")]) else { return };
    let pod = rig.pod("web");
    let good = fs::read_to_string(&rig.options.pods_file).unwrap();
    let broken = [
        good[..good.len() / 2].to_owned(),
        String::new(),
        "{\"a: [}".to_owned(),
        "just words".to_owned(),
        "kind: Service\napiVersion: v1\nmetadata: {name: a, namespace: b, uid: c}\n".to_owned(),
        "\u{0}\u{1}\u{2}".to_owned(),
    ];
    for (count, text) in broken.iter().enumerate() {
        put(&rig, text);
        wait_until(LIMIT, "a complaint", || complaints(&rig).len() > count)
            .unwrap_or_else(|error| panic!("{error}: {text:?}\n{}", rig.tail()));
        let content = format!("n{count}");
        change(&pod, &content);
        rig.wait_told(&pod, "app", &content);
        assert_eq!(complaints(&rig).len(), count + 1, "{:?}", complaints(&rig));
        // The same brokenness again is not said again.
        put(&rig, text);
    }
    fs::remove_file(&rig.options.pods_file).unwrap();
    wait_until(LIMIT, "a complaint", || complaints(&rig).len() > broken.len()).unwrap();
    put(&rig, &good);
    let new = rig.add_pod(app("new"));
    for pod in [&new, &pod] {
        change(pod, "end");
        rig.wait_told(pod, "app", "end");
    }
    assert_eq!(complaints(&rig).len(), broken.len() + 1, "{:?}", complaints(&rig));
    rig.signals(&pod, "app", broken.len() + 1);
    rig.end();
}

#[test]
fn yaml_documents_name_pods_too() {
    let Some(stage) = Setup::new().stage(vec![app("left"), app("right")]) else { return };
    let json: Value = serde_json::from_str(&fs::read_to_string(&stage.options.pods_file).unwrap()).unwrap();
    let document = |pod: &Value| {
        let spec = &pod["spec"];
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {}\n  namespace: {}\n  uid: {}\n  annotations:\n    \
             reloadlet.io/signal: SIGHUP # quoted or not\nspec:\n  containers: {}\n  volumes: {}\n",
            pod["metadata"]["name"],
            pod["metadata"]["namespace"],
            pod["metadata"]["uid"],
            spec["containers"],
            spec["volumes"],
        )
    };
    let documents: Vec<String> = json["items"].as_array().unwrap().iter().map(document).collect();
    let path: PathBuf = stage.node.dir().join("pods.yaml");
    fs::write(&path, documents.join("---\n")).unwrap();
    let mut stage = stage;
    stage.options.pods_file = path;
    let mut rig = stage.start();
    rig.agent.wait_ready(LIMIT).unwrap();
    for pod in rig.node.pods() {
        change(&pod, "two");
        rig.wait_told(&pod, "app", "two");
        rig.signals(&pod, "app", 1);
    }
    rig.end();
}

#[test]
fn a_pod_that_cant_be_used_is_said_in_the_status_too_and_the_others_are_told() {
    let Some(rig) = Setup::new().start(vec![app("web"), app("other")]) else { return };
    let good = fs::read_to_string(&rig.options.pods_file).unwrap();
    let lacks = || {
        let status = rig.agent.status().unwrap();
        let lacks = status["agent"]["lacks"].as_array().unwrap().iter();
        lacks.map(|lack| lack["what"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    put(
        &rig,
        &good
            .replace("\"name\": \"other\"", "\"name\": \"No_Name\"")
            .replace("\"name\":\"other\"", "\"name\":\"No_Name\""),
    );
    rig.wait_warning("a pod is left alone: metadata.name of item");
    wait_until(LIMIT, "the status", || lacks() == ["pods_left_alone"]).unwrap();
    for content in ["two", "three"] {
        change(&rig.pod("web"), content);
        change(&rig.pod("other"), content);
        rig.wait_told(&rig.pod("web"), "app", content);
    }
    rig.signals(&rig.pod("other"), "app", 0);
    // What it has missed is told, once, when it can be used again.
    put(&rig, &good);
    rig.wait_told(&rig.pod("other"), "app", "three");
    wait_until(LIMIT, "the status", || lacks().is_empty()).unwrap();
    rig.signals(&rig.pod("web"), "app", 2);
    rig.end();
}

#[test]
fn an_empty_list_for_a_moment_repeats_no_signal_and_loses_none() {
    let Some(mut rig) = Setup::new().start(vec![app("web"), app("other")]) else { return };
    let good = fs::read_to_string(&rig.options.pods_file).unwrap();
    for pod in rig.node.pods() {
        change(&pod, "two");
        rig.wait_told(&pod, "app", "two");
    }
    for round in 1..4 {
        put(&rig, "kind: List\nitems: []\n");
        rig.wait_metric("reloadlet_pods", &[("state", "watched")], 0.0);
        if round == 2 {
            rig.kill_and_restart();
            rig.agent.wait_ready(LIMIT).unwrap();
        }
        if round == 3 {
            change(&rig.pod("web"), "three");
        }
        put(&rig, &good);
        rig.wait_metric("reloadlet_pods", &[("state", "watched")], 2.0);
        for pod in rig.node.pods() {
            rig.wait_known(&pod);
        }
    }
    rig.wait_told(&rig.pod("web"), "app", "three");
    change(&rig.pod("other"), "three");
    rig.wait_told(&rig.pod("other"), "app", "three");
    for pod in rig.node.pods() {
        rig.signals(&pod, "app", 2);
    }
    rig.end();
}
