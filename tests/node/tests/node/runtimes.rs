//! What runs a program, and the signals that it takes for itself.

use std::fs;
use std::path::Path;

use standin::{ContainerSpec, wait_until};

use crate::support::{LIMIT, SIGNAL, Setup, bare, change, reader, wait_lines};

const UNHANDLED: &[(&str, &str)] = &[("kind", "unhandled")];

fn comm(pid: i32) -> String {
    fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[test]
fn node_js_gets_sigusr1_only_where_that_is_asked_for_whatever_it_is_called() {
    let command = |name: &str, command: &[&str]| {
        let container = ContainerSpec::new("app", command).mount("conf", "/conf");
        bare(name).annotation(SIGNAL, "SIGUSR1").container(container)
    };
    let node = |name: &str, source: &str| command(name, &["/usr/bin/node", "-e", source]);
    let waits = "require('fs').writeFileSync('/pod/up', ''); setInterval(() => {}, 1000)";
    let titled = format!("process.title = 'shop'; {waits}");
    let listens =
        format!("process.on('SIGUSR1', () => require('fs').appendFileSync('/pod/told', 'x\\n')); {waits}");
    let script = format!(
        "{{ echo '#!/usr/bin/node'; echo \"{waits}\"; }} >/pod/server; chmod +x /pod/server; exec /pod/server"
    );
    let linked = format!("ln -s /usr/bin/node /pod/shop; exec /pod/shop -e \"{waits}\"");
    let specs = vec![
        node("plain", waits),
        node("titled", &titled),
        // The kernel names a process after its script, or after the link to its file.
        command("script", &["/bin/sh", "-c", &script]),
        command("linked", &["/bin/sh", "-c", &linked]),
        node("listens", &listens).annotation("reloadlet.io/unhandled", "send"),
    ];
    let Some(rig) = Setup::new().programs(&["node"]).start(specs) else { return };
    for pod in rig.node.pods() {
        wait_until(LIMIT, "Node.js", || pod.exchange_dir().join("up").exists()).unwrap();
    }
    for (name, called) in [("titled", "shop"), ("script", "server"), ("linked", "shop")] {
        assert_eq!(comm(rig.pod(name).container("app").unwrap().pid), called);
    }
    for pod in rig.node.pods() {
        change(&pod, "two");
    }
    wait_lines(&rig, &rig.pod("listens"), "told", 1);
    rig.wait_metric("reloadlet_problems", UNHANDLED, 4.0);
    for name in ["plain", "titled", "script", "linked"] {
        let pod = rig.pod(name);
        let says = format!(
            "PID {}) in container app is Node.js, which opens its debugger",
            pod.container("app").unwrap().pid
        );
        rig.wait_warning(&says);
        let output = fs::read_to_string(pod.container("app").unwrap().output).unwrap();
        assert!(!output.contains("Debugger"), "{output}");
        assert_eq!(rig.outcomes(name, "delivered"), 0.0);
    }
    rig.end();
}

#[test]
fn virtual_machines_get_no_signal_that_they_take_for_themselves() {
    let named = |name: &str, signal: &str, comm: &str| {
        bare(name).annotation(SIGNAL, signal).container(reader("app", &["--comm", comm, "--catch", signal]))
    };
    let specs = vec![
        named("erlang", "USR1", "beam.smp"),
        named("java", "USR2", "java"),
        named("dump", "QUIT", "java"),
        named("told", "USR1", "java"),
        named("asked", "USR2", "java").annotation("reloadlet.io/unhandled", "send"),
    ];
    let Some(rig) = Setup::new().start(specs) else { return };
    for pod in rig.node.pods() {
        change(&pod, "two");
    }
    for name in ["told", "asked"] {
        rig.wait_told(&rig.pod(name), "app", "two");
    }
    rig.wait_metric("reloadlet_problems", UNHANDLED, 3.0);
    rig.wait_warning("is Erlang's virtual machine, which writes a crash dump and ends at SIGUSR1");
    rig.wait_warning(
        "is a Java virtual machine, which crashes, since it stops its own threads with it, at SIGUSR2",
    );
    for name in ["erlang", "java", "dump"] {
        rig.signals(&rig.pod(name), "app", 0);
    }
    rig.end();
}
