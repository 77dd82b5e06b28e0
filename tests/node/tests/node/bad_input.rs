//! What people get wrong: each is said in a sentence, and nobody else suffers.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

use serde_json::json;
use standin::{PodSpec, VolumeSpec, sibling_binary, wait_until};

use crate::support::{LIMIT, Rig, SIGNAL, Setup, app, bare, change, reader, start_agent};

/// Annotations, the problem's kind, and what its sentence must name.
type Row = (&'static [(&'static str, &'static str)], &'static str, &'static [&'static str]);

const HUP: (&str, &str) = (SIGNAL, "SIGHUP");

const ROWS: &[Row] = &[
    (&[(SIGNAL, "SIGKILL")], "bad_value", &[SIGNAL, "\"SIGKILL\"", "HUP, INT"]),
    (&[(SIGNAL, "STOP")], "bad_value", &[SIGNAL, "\"STOP\""]),
    (&[(SIGNAL, "9")], "bad_value", &[SIGNAL, "\"9\""]),
    (&[(SIGNAL, "")], "bad_value", &[SIGNAL, "\"\""]),
    (&[(SIGNAL, "RTMIN+31")], "bad_value", &[SIGNAL, "RTMIN+31"]),
    (&[(SIGNAL, "SIGHUP ")], "bad_value", &[SIGNAL, "\"SIGHUP \""]),
    (
        &[("reloadlet.io/singal", "SIGHUP")],
        "unknown_key",
        &["reloadlet.io/singal", "\"SIGHUP\"", "signal is the nearest"],
    ),
    (
        &[HUP, ("reloadlet.io/volume", "conf")],
        "unknown_key",
        &["reloadlet.io/volume", "volumes is the nearest"],
    ),
    (
        &[HUP, ("reloadlet.io/container", "absent")],
        "container",
        &["reloadlet.io/container", "\"absent\"", "\"app\""],
    ),
    (&[HUP, ("reloadlet.io/container", "")], "bad_value", &["reloadlet.io/container", "\"\""]),
    (&[("signal.reloadlet.io/absent", "SIGHUP")], "container", &["signal.reloadlet.io/absent", "\"app\""]),
    (&[("signal.reloadlet.io/app", "KILL")], "bad_value", &["signal.reloadlet.io/app", "\"KILL\""]),
    (&[HUP, ("reloadlet.io/process", "bin/app")], "bad_value", &["reloadlet.io/process", "\"bin/app\""]),
    (
        &[HUP, ("reloadlet.io/volumes", "absent")],
        "volume",
        &["reloadlet.io/volumes", "\"absent\"", "\"conf\""],
    ),
    (&[HUP, ("reloadlet.io/volumes", "scratch")], "volume", &["reloadlet.io/volumes", "\"scratch\""]),
    (&[HUP, ("reloadlet.io/volumes", "down")], "volume", &["reloadlet.io/volumes", "downwardAPI"]),
    (&[HUP, ("reloadlet.io/volumes", "conf,,sec")], "bad_value", &["reloadlet.io/volumes", "conf,,sec"]),
    (&[HUP, ("reloadlet.io/keys", "a,")], "bad_value", &["reloadlet.io/keys", "\"a,\""]),
    (&[HUP, ("reloadlet.io/keys", "[")], "bad_value", &["reloadlet.io/keys", "\"[\""]),
    (&[HUP, ("reloadlet.io/debounce", "5")], "bad_value", &["reloadlet.io/debounce", "\"5\"", "250ms"]),
    (&[HUP, ("reloadlet.io/debounce", "-1s")], "bad_value", &["reloadlet.io/debounce", "\"-1s\""]),
    (&[HUP, ("reloadlet.io/min-interval", "soon")], "bad_value", &["reloadlet.io/min-interval", "\"soon\""]),
    (&[HUP, ("reloadlet.io/splay", "1e9s")], "bad_value", &["reloadlet.io/splay", "\"1e9s\""]),
    (&[HUP, ("reloadlet.io/verify", "0s")], "bad_value", &["reloadlet.io/verify", "\"0s\""]),
    (
        &[HUP, ("reloadlet.io/unhandled", "kill")],
        "bad_value",
        &["reloadlet.io/unhandled", "\"kill\"", "send"],
    ),
    (&[HUP, ("reloadlet.io/accelerate", "yes")], "bad_value", &["reloadlet.io/accelerate", "\"yes\""]),
    (&[HUP, ("reloadlet.io/rollout", "inplace")], "bad_value", &["reloadlet.io/rollout", "\"in-place\""]),
    (&[("reloadlet.io/http", "8080/reload")], "bad_value", &["reloadlet.io/http", "\"8080/reload\"", "POST"]),
    (&[("reloadlet.io/http", ":8080/reload")], "port", &["reloadlet.io/http", "8080", "\"app\""]),
    (&[HUP, ("reloadlet.io/http", ":8080/reload")], "no_signal", &["reloadlet.io/http", SIGNAL]),
    (&[("reloadlet.io/debounce", "1s")], "no_signal", &["reloadlet.io/debounce", SIGNAL]),
    (&[(SIGNAL, "S\u{1b}[2J\u{202e}\n")], "bad_value", &[SIGNAL, "\\u{1b}"]),
];

fn row_pod(name: &str) -> PodSpec {
    let scratch = json!({ "spec": { "volumes": [
        { "name": "conf", "configMap": { "name": "conf" } },
        { "name": "sec", "secret": { "secretName": "sec" } },
        { "name": "down", "downwardAPI": {} },
        { "name": "scratch", "emptyDir": {} },
    ] } });
    bare(name)
        .volume(VolumeSpec::secret("sec").key("k", "1"))
        .volume(VolumeSpec::downward_api("down").key("annotations", "a"))
        .container(reader("app", &[]).mount("sec", "/sec").mount("down", "/down"))
        .patch(scratch)
}

#[test]
fn each_bad_annotation_is_a_problem_that_names_it_and_is_told_to_nobody_else() {
    let mut specs: Vec<PodSpec> = ROWS
        .iter()
        .enumerate()
        .map(|(n, (annotations, ..))| {
            annotations
                .iter()
                .fold(row_pod(&format!("r{n}")), |spec, (key, value)| spec.annotation(key, value))
        })
        .collect();
    // The API server allows no such thing; a file does.
    for (name, value) in [("number", json!(1)), ("truth", json!(true)), ("list", json!(["SIGHUP"]))] {
        specs.push(
            bare(name)
                .container(reader("app", &[]))
                .patch(json!({ "metadata": { "annotations": { SIGNAL: value } } })),
        );
    }
    specs.push(app("good"));
    let Some(rig) = Setup::new().light().start(specs) else { return };
    rig.wait_line("the last pod's problem", |line| line["pod"] == "list" && line["kind"].is_string());
    // Readiness comes after every problem, and so does its line.
    rig.wait_line("readiness", |line| line["message"] == "ready");
    let lines = rig.log();
    let problem =
        |pod: &str| lines.iter().find(|line| line["pod"] == pod && line["kind"].is_string()).cloned();
    for (n, (annotations, kind, parts)) in ROWS.iter().enumerate() {
        let line = problem(&format!("r{n}")).unwrap_or_else(|| panic!("no problem: {annotations:?}"));
        let sentence = line["message"].as_str().unwrap();
        assert_eq!(
            (line["kind"].as_str(), line["level"].as_str()),
            (Some(*kind), Some("WARN")),
            "{sentence}"
        );
        assert!(parts.iter().all(|part| sentence.contains(part)), "{annotations:?}: {sentence}");
        assert!(!sentence.contains(['\n', '\u{1b}']), "{sentence:?}");
    }
    for (name, shown) in [("number", "1"), ("truth", "true"), ("list", "[…]")] {
        let line = problem(name).unwrap();
        let sentence = line["message"].as_str().unwrap();
        assert_eq!(line["kind"], "not_text", "{sentence}");
        assert!(sentence.contains(SIGNAL) && sentence.contains(shown), "{sentence}");
    }
    let metrics = rig.agent.metrics().unwrap();
    for kind in ["bad_value", "unknown_key", "unsupported", "no_signal", "container", "volume", "not_text"] {
        let rows = ROWS.iter().filter(|(_, other, _)| *other == kind).count();
        let wanted = if kind == "not_text" { 3 } else { rows };
        assert_eq!(metrics.value("reloadlet_problems", &[("kind", kind)]), wanted as f64, "{kind}");
    }
    assert_eq!(metrics.value("reloadlet_pods", &[("state", "invalid")]), ROWS.len() as f64 + 3.0);

    let good = rig.pod("good");
    for pod in rig.node.pods().iter().filter(|pod| pod.name() != "good") {
        change(pod, "two");
    }
    change(&good, "two");
    rig.wait_told(&good, "app", "two");
    rig.wait_outcomes("good", "delivered", 1);
    for pod in rig.node.pods().iter().filter(|pod| pod.name() != "good") {
        rig.signals(pod, "app", 0);
    }
    assert_eq!(rig.agent.metrics().unwrap().sum("reloadlet_reloads_total"), 1.0);
    rig.end();
}

#[test]
fn a_missing_kubelet_root_is_waited_for() {
    let Some(stage) = Setup::new().stage(vec![app("web")]) else { return };
    let real = stage.node.kubelet_root().to_owned();
    let link = stage.node.dir().join("later");
    let mut stage = stage;
    stage.options.kubelet_root = link.clone();
    let mut rig = stage.start();
    let told = || rig.messages("WARN").iter().any(|text| text.contains("isn't there: waiting for it"));
    wait_until(LIMIT, "a warning", told).unwrap();
    assert!(!rig.agent.is_ready());
    std::os::unix::fs::symlink(real, &link).unwrap();
    rig.agent.wait_ready(LIMIT).unwrap();
    assert_eq!(rig.messages("WARN").len(), 1, "{:?}", rig.messages("WARN"));
    let pod = rig.pod("web");
    change(&pod, "two");
    rig.wait_told(&pod, "app", "two");
    rig.end();
}

fn goes_on_in_memory(rig: &mut Rig) {
    rig.agent.wait_ready(LIMIT).unwrap();
    rig.wait_metric("reloadlet_journal_in_memory", &[], 1.0);
    rig.wait_warning("journal");
    let pod = rig.pod("web");
    for content in ["two", "three"] {
        change(&pod, content);
        rig.wait_told(&pod, "app", content);
    }
    rig.signals(&pod, "app", 2);
}

#[test]
fn a_file_in_the_state_directorys_place_leaves_the_journal_in_memory() {
    let script = "rmdir \"$STATE\" && touch \"$STATE\" && exec \"$@\"";
    let wrapper = move |node: &standin::Node, options: standin::AgentOptions| {
        let state = node.dir().join("state").display().to_string();
        options.wrapper(&["sh", "-c", script, "sh"]).env("STATE", &state)
    };
    let Some(stage) = Setup::new().agent(wrapper).stage(vec![app("web")]) else { return };
    let mut rig = stage.start();
    goes_on_in_memory(&mut rig);
    rig.end();
}

#[test]
fn a_read_only_state_directory_leaves_the_journal_in_memory() {
    let Some(stage) = Setup::new().stage(vec![app("web")]) else { return };
    let state = stage.options.state_dir.clone();
    fs::create_dir(&state).unwrap();
    let flags = rustix::mount::MountFlags::RDONLY;
    rustix::mount::mount("tmpfs", &state, "tmpfs", flags, None).unwrap();
    let mut rig = stage.start();
    goes_on_in_memory(&mut rig);
    // The agent holds its lock there.
    rustix::mount::unmount(&state, rustix::mount::UnmountFlags::DETACH).unwrap();
    rig.end();
}

#[test]
fn a_port_in_use_ends_the_agent_with_one_sentence() {
    for admin in [false, true] {
        let Some(stage) = Setup::new().stage(vec![app("web")]) else { return };
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let mut options = stage.options.clone();
        *(if admin { &mut options.admin_listen } else { &mut options.listen }) = Some(address);
        let mut agent = start_agent(options);
        let status = wait_until(LIMIT, "the agent's end", || agent.try_wait()).unwrap();
        assert_eq!(status.code(), Some(1));
        let lines = agent.log_lines().unwrap();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(&address.to_string()) && lines[0].contains("in use"), "{lines:?}");
        drop(agent);
        stage.node.shutdown().unwrap();
    }
}

#[test]
fn wrong_flags_end_with_2_and_one_sentence() {
    let binary = sibling_binary("reloadlet").unwrap();
    for (args, part) in [
        (&["agent"][..], "--pods-file"),
        (&["agent", "--pods-file", "f", "--listen", "here"], "--listen"),
        (&["agent", "--pods-file", "f", "--log-format", "xml"], "--log-format"),
        (&["agent", "--pods-file", "f", "--no-such-flag"], "--no-such-flag"),
        (&["agnet"], "agnet"),
    ] {
        let output = Command::new(&binary).args(args).env_clear().output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert_eq!(errors.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{errors}");
        assert!(errors.contains(part) && output.stdout.is_empty(), "{errors}");
    }
}

#[test]
fn a_wrong_value_in_the_environment_is_said_with_the_variables_name() {
    let binary = sibling_binary("reloadlet").unwrap();
    for (variable, value, part) in [
        ("RELOADLET_DRY_RUN", &b""[..], "true or false is needed"),
        ("RELOADLET_LISTEN", b"9847", "an IP address and a port are needed"),
        ("RELOADLET_STATE_DIR", b"", "a value is required"),
        ("RELOADLET_LOG_LEVEL", b"loud", "possible values"),
        ("RELOADLET_NODE_NAME", b"$(NODE_NAME)", "the name of a node is needed"),
        ("NODE_NAME", b"Node 1", "the name of a node is needed"),
        ("RELOADLET_LISTEN", b"\xff", "UTF-8"),
    ] {
        let mut command = Command::new(&binary);
        command.args(["agent", "--pods-file", "f"]).env_clear().env(variable, OsStr::from_bytes(value));
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{variable}: {errors}");
        assert!(errors.contains(part) && errors.contains(variable), "{variable}: {errors}");
    }
}

#[test]
fn a_proc_root_that_is_none_ends_the_agent_with_one_sentence() {
    let options = |_: &standin::Node, options: standin::AgentOptions| standin::AgentOptions {
        proc_root: "/nosuch".into(),
        ..options
    };
    let Some(stage) = Setup::new().light().agent(options).stage(vec![app("web")]) else { return };
    let mut rig = stage.start();
    let status = wait_until(LIMIT, "the agent's end", || rig.agent.try_wait()).unwrap();
    assert_eq!(status.code(), Some(1));
    let errors = rig.messages("ERROR");
    assert!(errors.len() == 1 && errors[0].contains("--proc-root"), "{errors:?}");
    rig.end_of_node();
}
