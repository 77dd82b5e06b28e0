//! From the API server to the process: what is measured, and where a change is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster_suite::agent;
use cluster_suite::space::{SIGNAL, Space, app, config_map, kubectl, wait_until};
use serde_json::{Value, json};

/// By when a volume that is stale shows, in metrics that are up to a second old.
const SHOWN: Duration = Duration::from_secs(3);

/// The agent's log lines with this message about pods of a namespace.
fn lines(space: &Space, message: &str) -> Vec<Value> {
    let lines = agent::log();
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message && line["namespace"] == space.name()).collect()
}

fn delivered(space: &Space) -> Vec<Value> {
    lines(space, "reload").into_iter().filter(|line| line["outcome"] == "delivered").collect()
}

fn version(space: &Space, name: &str) -> String {
    space.get("configmap", name)["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

/// What the agent's command shows of a namespace: by pod and volume, the other columns.
pub(crate) fn status(space: &Space) -> BTreeMap<(String, String), [String; 4]> {
    let document: Value = serde_json::from_str(&agent::status(&["-o", "json"])).unwrap();
    let table = agent::status(&[]);
    assert!(
        table.starts_with("AGENT  ") && table.lines().any(|line| line.starts_with("NAMESPACE")),
        "{table}"
    );
    assert!(document["pods"].is_array(), "{document}");
    let cells = |line: &str| -> Option<_> {
        let mut cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned);
        (cells.next()? == space.name()).then_some(())?;
        let key = (cells.next()?, cells.next()?);
        Some((key, [cells.next()?, cells.next()?, cells.next()?, cells.collect::<Vec<_>>().join(" ")]))
    };
    table.lines().skip(1).filter_map(cells).collect()
}

#[test]
fn a_delivery_says_which_version_it_was_and_how_long_each_stage_took() {
    let Some(space) = Space::new("stages") else { return };
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP")])]);
    space.change("two");
    let wanted = version(&space, "config");
    space.wait_told("app", "app", &["hup two"]);
    let line = wait_until("the delivery is logged", || delivered(&space).pop());
    assert_eq!(line["versions"], format!("configmap {}/config@{wanted}", space.name()));
    let micros = |field: &str| line[field].as_u64().unwrap_or_else(|| panic!("{field} in {line}"));
    let stages = micros("publish_us") + micros("settle_us") + micros("since_settle_us");
    assert!(stages.abs_diff(micros("propagation_us")) <= 3, "{line}");
    for field in ["observed", "updated"] {
        assert!(line[field].as_str().is_some_and(|time| time.ends_with('Z')), "{field} in {line}");
    }

    let shown = status(&space);
    let [wanted_shown, on_disk, told, state] = &shown[&("app".to_owned(), "config".to_owned())];
    let expected = format!("config@{wanted}");
    assert_eq!([wanted_shown, on_disk], [&expected; 2]);
    assert_eq!((told, state.as_str()), (&format!("app:{expected}"), "up to date"));
}

#[test]
fn the_histograms_agree_with_the_log() {
    let Some(space) = Space::alone("histograms") else { return };
    let set = |level: &str| {
        let patch = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "reloadlet", "env": [{"name": "RELOADLET_LOG_LEVEL", "value": level}]},
        ]}}}});
        kubectl(["-n", "reloadlet", "patch", "daemonset", "reloadlet", "-p", &patch.to_string()]);
        agent::wait_rolled_out();
    };
    set("debug");
    let measured = app("measured", &[(SIGNAL, "none")]);
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP")]), measured]);
    for content in ["two", "three"] {
        space.change(content);
        space.wait_file("app", "/config/key", content);
        space.wait_file("measured", "/config/key", content);
    }
    space.wait_told("app", "app", &["hup two", "hup three"]);
    wait_until("everything is logged", || {
        lines(&space, "published").len() == 4 && delivered(&space).len() == 2
    });
    // Another namespace's lines count as well: the agent is new, and alone.
    let log = agent::log();
    let all: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |message: &str, field: &str| -> Vec<f64> {
        let lines = all.iter().filter(|line| line["message"] == message);
        let lines = lines.filter(|line| message != "reload" || line["outcome"] == "delivered");
        lines.filter_map(|line| line[field].as_f64()).collect()
    };
    for (name, micros) in [
        ("publish", of("published", "publish_us")),
        ("propagation", of("reload", "propagation_us")),
        ("deliver", of("reload", "deliver_us")),
    ] {
        let metric = |part: &str| agent::metric(&format!("reloadlet_{name}_seconds_{part}"), &[]);
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let count = micros.len() as f64;
        assert!((metric("count") - count).abs() < 0.5, "{name}: {} and {micros:?}", metric("count"));
        let sum: f64 = micros.iter().sum();
        // The log's microseconds are whole ones.
        assert!((metric("sum") * 1e6 - sum).abs() <= count + 1.0, "{name}: {} and {micros:?}", metric("sum"));
    }
    set("info");
}

#[test]
fn what_never_changes_in_place_shows_as_stale_until_the_container_is_restarted() {
    let Some(space) = Space::alone("stale") else { return };
    let mut pod = app("app", &[(SIGNAL, "SIGHUP")]);
    pod["spec"]["containers"][0]["env"] = json!([
        {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "levels", "key": "level"}}},
    ]);
    let levels = |level: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "levels"}, "data": {"level": level},
        })
    };
    space.start(&[config_map("one"), levels("low"), pod]);
    let metrics = agent::Metrics::now();
    let stale = || metrics.sum("reloadlet_stale_volumes", &["reason=\"env\"".to_owned()]);
    wait_until("the agent has seen all there is", || {
        status(&space).contains_key(&("app".to_owned(), "config".to_owned()))
    });
    assert!(stale() < 0.5);

    let patch = json!({"data": {"level": "high"}}).to_string();
    space.kubectl(&["patch", "configmap", "levels", "--type=merge", "-p", &patch]);
    let changed = Instant::now();
    wait_until("it shows as stale", || stale() > 0.5);
    let shown = changed.elapsed();
    assert!(shown < SHOWN, "it took {shown:?}");
    let age = metrics.sum("reloadlet_oldest_stale_seconds", &["reason=\"env\"".to_owned()]);
    assert!(age > 0.0 && age <= changed.elapsed().as_secs_f64() + 1.0, "{age} s");
    let shown = status(&space);
    let state = &shown[&("app".to_owned(), "-".to_owned())][3];
    assert!(state.contains("has it in its environment: restart it"), "{state}");

    space.kubectl(&["delete", "pod", "app", "--grace-period=0", "--force"]);
    wait_until("nothing is stale any more", || stale() < 0.5);
}

#[test]
fn a_change_that_becomes_no_file_waits_for_nothing() {
    let Some(space) = Space::new("nothing") else { return };
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP")])]);
    space.kubectl(&["label", "configmap", "config", "a=b"]);
    let labelled = version(&space, "config");
    let key = ("app".to_owned(), "config".to_owned());
    let shown = wait_until("the newest version is known to be on disk", || {
        status(&space).remove(&key).filter(|[wanted, ..]| *wanted == format!("config@{labelled}"))
    });
    assert_eq!(shown[1], format!("config@{labelled}"));
    assert_eq!(shown[3], "up to date");
    space.change("two");
    space.wait_told("app", "app", &["hup two"]);
}

#[test]
fn an_object_that_its_owner_excludes_triggers_nothing() {
    let Some(space) = Space::new("excluded") else { return };
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP")])]);
    space.kubectl(&["annotate", "configmap", "config", "reloadlet.io/ignore=true"]);
    space.change("two");
    space.wait_file("app", "/config/key", "two");
    let labels = [format!("pod_namespace=\"{}\"", space.name()), "outcome=\"excluded\"".to_owned()];
    wait_until("the agent says so", || agent::metric("reloadlet_reloads_total", &labels) > 0.5);
    space.kubectl(&["annotate", "configmap", "config", "reloadlet.io/ignore-"]);
    space.change("three");
    space.wait_told("app", "app", &["hup three"]);
}

#[test]
fn a_volume_that_is_only_measured_is_measured() {
    let Some(space) = Space::new("measured") else { return };
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "none")])]);
    space.change("two");
    let wanted = version(&space, "config");
    let key = ("app".to_owned(), "config".to_owned());
    wait_until("the newest version is on disk", || {
        status(&space).remove(&key).is_some_and(|[_, on_disk, _, state]| {
            on_disk == format!("config@{wanted}") && state == "up to date"
        })
    });
    space.wait_file("app", "/config/key", "two");
    space.wait_told("app", "app", &[]);
}
