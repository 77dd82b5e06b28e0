//! Which container, and which process in it.

use std::fs;

use standin::{ContainerSpec, Exit, LogRecord, PodSpec, wait_until};

use crate::support::{LIMIT, Rig, SIGNAL, Setup, app, bare, change, children, reader};

const PROCESS: &str = "reloadlet.io/process";

/// Once this is told, everything published before it was decided on.
fn tell_canary(rig: &Rig, content: &str) {
    let canary = rig.pod("canary");
    change(&canary, content);
    rig.wait_told(&canary, "app", content);
}

/// The signals' names that a container's workload caught.
fn names(rig: &Rig, pod: &str, container: &str) -> Vec<String> {
    let signals = rig.pod(pod).signals(container).unwrap();
    let name = |record: LogRecord| match record {
        LogRecord::Signal { name, .. } => name,
        LogRecord::Started { .. } | LogRecord::Ready { .. } => panic!("no signal"),
    };
    signals.into_iter().map(name).collect()
}

#[test]
fn nobody_is_told_where_two_containers_could_be_meant_and_nobody_chose() {
    let two = |name: &str| {
        bare(name).annotation(SIGNAL, "SIGHUP").container(reader("web", &[])).container(reader("proxy", &[]))
    };
    let specs = vec![
        two("nobody"),
        two("kubectl").annotation("kubectl.kubernetes.io/default-container", "web"),
        two("named").annotation("reloadlet.io/container", "proxy"),
        app("canary"),
    ];
    let Some(rig) = Setup::new().start(specs) else { return };
    rig.wait_metric("reloadlet_problems", &[("kind", "ambiguous")], 1.0);
    rig.wait_metric("reloadlet_pods", &[("state", "invalid")], 1.0);
    for pod in rig.node.pods() {
        change(&pod, "two");
    }
    rig.wait_told(&rig.pod("kubectl"), "web", "two");
    rig.wait_told(&rig.pod("named"), "proxy", "two");
    tell_canary(&rig, "three");
    for (pod, container) in [("nobody", "web"), ("nobody", "proxy"), ("kubectl", "proxy"), ("named", "web")] {
        assert_eq!(names(&rig, pod, container), [""; 0], "{pod}/{container}");
    }
    let line = rig.wait_line("the problem", |line| line["kind"] == "ambiguous");
    assert_eq!((&line["pod"], &line["level"]), (&"nobody".into(), &"WARN".into()));
    let sentence = line["message"].as_str().unwrap();
    assert!(
        sentence.contains("\"web\" and \"proxy\"") && sentence.contains("reloadlet.io/container"),
        "{sentence}"
    );

    // Once somebody chooses, what the process has missed is told.
    let pod = rig.pod("nobody");
    pod.set_annotation("reloadlet.io/container", "web");
    rig.publish_pods();
    rig.wait_metric("reloadlet_problems", &[("kind", "ambiguous")], 0.0);
    rig.wait_told(&pod, "web", "two");
    change(&pod, "three");
    rig.wait_told(&pod, "web", "three");
    rig.signals(&pod, "web", 2);
    rig.signals(&pod, "proxy", 0);
    rig.end();
}

#[test]
fn of_two_pods_with_the_same_process_only_the_one_that_changed_is_told() {
    let Some(rig) = Setup::new().start(vec![app("left"), app("right")]) else { return };
    let (left, right) = (rig.pod("left"), rig.pod("right"));
    change(&left, "two");
    rig.wait_told(&left, "app", "two");
    rig.signals(&right, "app", 0);
    change(&right, "three");
    rig.wait_told(&right, "app", "three");
    rig.signals(&left, "app", 1);
    rig.assert_only_told("left", &[left.container("app").unwrap().pid]);
    rig.assert_only_told("right", &[right.container("app").unwrap().pid]);
    rig.end();
}

#[test]
fn an_execd_process_of_the_same_name_is_left_alone() {
    let named = app("named").annotation(PROCESS, "workload");
    let Some(rig) = Setup::new().start(vec![app("first"), named]) else { return };
    let exec = |name: &str| {
        let command = ["/workload", "--log", "/pod/exec.log", "--read", "/conf/app.conf"];
        rig.pod(name).exec("app", &command).unwrap()
    };
    let execs = [exec("first"), exec("named")];
    for pod in rig.node.pods() {
        let log = pod.exchange_dir().join("exec.log");
        wait_until(LIMIT, "the exec'd process", || {
            standin::read_log(&log).is_ok_and(|records| records.len() == 2)
        })
        .unwrap();
        for content in ["two", "three"] {
            change(&pod, content);
            rig.wait_told(&pod, "app", content);
        }
        rig.signals(&pod, "app", 2);
        assert_eq!(standin::read_log(&log).unwrap().len(), 2, "the exec'd process was told");
        rig.assert_only_told(pod.name(), &[pod.container("app").unwrap().pid]);
    }
    for exec in execs {
        assert_eq!(exec.kill().unwrap(), Exit::Signal(9));
    }
    rig.end();
}

#[test]
fn each_topmost_process_of_the_name_is_told() {
    let child = |log: &str| format!("--comm server --log /pod/{log}.log --catch HUP --child --none");
    let (one, two) = (child("one"), child("two"));
    let container = reader("app", &["--none", "--comm", "manager", "--child", &one, "--child", &two]);
    let none =
        bare("none").annotation(SIGNAL, "SIGHUP").annotation(PROCESS, "absent").container(reader("app", &[]));
    let argv = bare("argv").annotation(SIGNAL, "SIGHUP").annotation(PROCESS, "workload");
    let specs = vec![
        bare("many").annotation(SIGNAL, "SIGHUP").annotation(PROCESS, "server").container(container),
        // Its comm is another, its argv[0] is /workload.
        argv.container(reader("app", &["--comm", "other"])),
        none,
    ];
    let Some(rig) = Setup::new().start(specs) else { return };
    let many = rig.pod("many");
    let servers = children(many.container("app").unwrap().pid);
    assert_eq!(servers.len(), 2);
    for pod in rig.node.pods() {
        change(&pod, "two");
    }
    rig.wait_outcomes("many", "delivered", 1);
    for name in ["one", "two"] {
        many.wait_signals(name, 1).unwrap();
        rig.signals(&many, name, 1);
    }
    rig.assert_only_told("many", &servers);
    rig.wait_told(&rig.pod("argv"), "app", "two");
    rig.wait_outcomes("none", "no_process", 1);
    rig.wait_reason("none", "no_process", PROCESS);
    rig.signals(&rig.pod("none"), "app", 0);
    assert!(children(many.container("app").unwrap().pid) == servers && many.exit("app").unwrap().is_none());
    rig.end();
}

#[test]
fn each_container_gets_its_own_signal() {
    let container = |name: &str| reader(name, &["--catch", "HUP,USR1,USR2,WINCH"]);
    let spec = bare("own")
        .annotation(SIGNAL, "SIGHUP")
        .annotation("reloadlet.io/container", "web")
        .annotation("signal.reloadlet.io/mesh", "usr1")
        .annotation("signal.reloadlet.io/side", "12")
        .container(container("side").sidecar())
        .container(container("web"))
        .container(container("mesh"))
        .container(container("other"));
    let alone = bare("alone")
        .annotation("signal.reloadlet.io/side", "WINCH")
        .container(container("side").sidecar())
        .container(container("web"));
    let Some(rig) = Setup::new().start(vec![spec, alone, app("canary")]) else { return };
    for name in ["own", "alone"] {
        change(&rig.pod(name), "two");
    }
    rig.wait_outcomes("own", "delivered", 3);
    rig.wait_outcomes("alone", "delivered", 1);
    tell_canary(&rig, "two");
    for (pod, container, signals) in [
        ("own", "web", &["SIGHUP"][..]),
        ("own", "mesh", &["SIGUSR1"]),
        ("own", "side", &["SIGUSR2"]),
        ("own", "other", &[]),
        ("alone", "side", &["SIGWINCH"]),
        ("alone", "web", &[]),
    ] {
        rig.signals(&rig.pod(pod), container, signals.len());
        assert_eq!(names(&rig, pod, container), signals, "{pod}/{container}");
    }
    rig.end();
}

#[test]
fn a_real_time_signal_is_sent_and_none_only_measures() {
    // bash counts RTMIN as glibc does; the bundled workload knows no real-time signals.
    let script =
        "trap 'cat /conf/app.conf >>/pod/rt' RTMIN+3; echo up >>/pod/rt; while :; do sleep 0.1; done";
    let shell = ContainerSpec::new("app", &["/bin/bash", "-c", script]).mount("conf", "/conf");
    let real = bare("real").annotation(SIGNAL, "RTMIN+3").container(shell);
    let none = bare("none").annotation(SIGNAL, "none").container(reader("app", &[]));
    let Some(rig) = Setup::new().programs(&["bash"]).start(vec![real, none]) else { return };
    let (real, none) = (rig.pod("real"), rig.pod("none"));
    let swaps = rig.metric("reloadlet_swaps_total", &[("kind", "configmap")]);
    change(&none, "two");
    change(&real, "two");
    rig.wait_outcomes("real", "delivered", 1);
    let file = real.exchange_dir().join("rt");
    wait_until(LIMIT, "the shell's trap", || fs::read_to_string(&file).is_ok_and(|text| text == "up\ntwo\n"))
        .unwrap();
    rig.wait_line("the signal's name", |line| line["signal"] == "SIGRTMIN+3");
    rig.wait_metric("reloadlet_swaps_total", &[("kind", "configmap")], swaps + 2.0);
    rig.signals(&none, "app", 0);
    rig.end();
}

#[test]
fn in_a_shared_pid_namespace_the_right_containers_process_is_told() {
    let shared = |name: &str| {
        bare(name)
            .annotation(SIGNAL, "SIGHUP")
            .annotation("reloadlet.io/container", "right")
            .share_process_namespace()
            .container(reader("left", &[]))
            .container(reader("right", &[]))
    };
    let by_name = shared("by-name").annotation(PROCESS, "workload");
    let Some(rig) = Setup::new().start(vec![shared("first"), by_name]) else { return };
    for pod in rig.node.pods() {
        for content in ["two", "three"] {
            change(&pod, content);
            rig.wait_told(&pod, "right", content);
        }
        rig.signals(&pod, "right", 2);
        rig.signals(&pod, "left", 0);
        rig.assert_only_told(pod.name(), &[pod.container("right").unwrap().pid]);
    }
    rig.end();
}

#[test]
fn under_a_runtime_class_the_status_must_vouch_for_the_process() {
    let sandboxed = |name: &str| app(name).runtime_class("gvisor");
    let specs = vec![sandboxed("vouched"), sandboxed("unknown").without_status()];
    let Some(rig) = Setup::new().start(specs) else { return };
    for pod in rig.node.pods() {
        change(&pod, "two");
    }
    rig.wait_told(&rig.pod("vouched"), "app", "two");
    rig.wait_outcomes("unknown", "no_process", 1);
    rig.wait_reason("unknown", "no_process", "runtime class");
    rig.signals(&rig.pod("unknown"), "app", 0);
    rig.end();
}

#[test]
fn an_init_with_several_children_needs_a_name() {
    let spec = |name: &str| -> PodSpec {
        let script = "/workload --log /pod/a.log --comm aaa & exec /workload --log /pod/b.log --comm bbb";
        // The shell becomes one child of tini and leaves it the other one.
        let command = ["/usr/bin/tini", "--", "/bin/sh", "-c", script];
        bare(name)
            .annotation(SIGNAL, "SIGHUP")
            .container(ContainerSpec::new("app", &command).mount("conf", "/conf"))
    };
    let Some(rig) = Setup::new()
        .programs(&["tini"])
        .start(vec![spec("named").annotation(PROCESS, "aaa"), spec("only-child")])
    else {
        return;
    };
    for pod in rig.node.pods() {
        change(&pod, "two");
    }
    rig.wait_outcomes("named", "delivered", 1);
    rig.wait_outcomes("only-child", "delivered", 1);
    let named = rig.pod("named");
    named.wait_signals("a", 1).unwrap();
    rig.signals(&named, "b", 0);
    let only = rig.pod("only-child");
    only.wait_signals("b", 1).unwrap();
    rig.signals(&only, "a", 0);
    rig.end();
}

#[test]
fn a_process_whose_first_thread_has_ended_is_told() {
    // Python's handlers run in its first thread alone; the descriptor is written to by whichever thread takes the signal.
    let script = "import ctypes, os, signal, threading\n\
                  out, into = os.pipe(); os.set_blocking(into, False)\n\
                  signal.signal(signal.SIGHUP, lambda *_: None); signal.set_wakeup_fd(into)\n\
                  told = os.open('/pod/told', os.O_CREAT | os.O_APPEND | os.O_WRONLY)\n\
                  def run():\n    \
                      while os.read(out, 1): os.write(told, open('/conf/app.conf', 'rb').read())\n\
                  threading.Thread(target=run).start()\n\
                  exit_thread = 93 if os.uname().machine == 'aarch64' else 60\n\
                  ctypes.CDLL(None).syscall(exit_thread, 0)\n";
    let spec = |name: &str| {
        bare(name)
            .annotation(SIGNAL, "SIGHUP")
            .container(ContainerSpec::new("app", &["python3", "-c", script]).mount("conf", "/conf"))
    };
    let specs =
        vec![spec("status"), spec("mounts").without_status(), spec("named").annotation(PROCESS, "python3")];
    let Some(rig) = Setup::new().programs(&["python3"]).start(specs) else { return };
    let told = |pod: &str| fs::read_to_string(rig.pod(pod).exchange_dir().join("told")).unwrap_or_default();
    for pod in rig.node.pods() {
        let state = || {
            let pid = pod.container("app").ok()?.pid;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit_once(") ")?.1.starts_with('Z').then_some(())
        };
        wait_until(LIMIT, "a first thread that has ended", state).unwrap();
        for content in ["two", "three"] {
            change(&pod, content);
            wait_until(LIMIT, "a signal", || told(pod.name()).contains(content))
                .unwrap_or_else(|error| panic!("{error}\n{}", rig.tail()));
        }
        rig.wait_outcomes(pod.namespace(), "delivered", 2);
        assert_eq!(told(pod.name()), "two\nthree\n");
    }
    rig.end();
}
