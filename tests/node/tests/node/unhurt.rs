//! Programs that a signal would hurt at that moment, or at any: real ones, or small ones that do as they do.

use std::fs;

use standin::{ContainerSpec, PodSpec, VolumeSpec, payload, wait_until};

use crate::support::{self, LIMIT, SIGNAL, Setup, app, bare, change, children, lines, reader, wait_lines};

const PYTHON: &str = "/usr/bin/python3";
const PROCESS: &str = "reloadlet.io/process";
const UNHANDLED: &[(&str, &str)] = &[("kind", "unhandled")];

/// A script in a shared PID namespace, where a signal without a handler ends it.
fn script(name: &str, source: &str) -> PodSpec {
    support::script(name, source).share_process_namespace()
}

#[test]
fn programs_that_start_others_all_the_time_are_never_told_whatever_changes_while_they_do() {
    let source = "import subprocess\nwhile True: subprocess.run(['/usr/bin/true'])";
    let behind = |name: &str| {
        let command = ["/usr/bin/tini", "--", PYTHON, "-c", source];
        bare(name)
            .annotation(SIGNAL, "SIGHUP")
            .container(ContainerSpec::new("app", &command).mount("conf", "/conf"))
    };
    let specs = vec![behind("behind-tini"), script("alone", source), app("canary")];
    let Some(rig) = Setup::new().programs(&["tini", "python3"]).start(specs) else { return };
    // Each swap has the masks read at once.
    for n in 0..400 {
        for name in ["behind-tini", "alone", "canary"] {
            change(&rig.pod(name), &format!("n{n}"));
        }
        if n % 20 == 0 {
            rig.wait_told(&rig.pod("canary"), "app", &format!("n{n}"));
        }
    }
    rig.wait_told(&rig.pod("canary"), "app", "n399");
    rig.wait_metric("reloadlet_problems", UNHANDLED, 2.0);
    for name in ["behind-tini", "alone"] {
        assert_eq!(
            (rig.pod(name).exit("app").unwrap(), rig.outcomes(name, "delivered")),
            (None, 0.0),
            "{name}"
        );
    }
    rig.wait_warning("set reloadlet.io/unhandled to send");
    rig.end();
}

/// Waits for a swap, executes itself anew 2 ms after it has seen it, and has its handler 150 ms after that.
const EXECUTES_AT_SWAP: &str = "
import os, signal, sys, time
def append(file):
    with open('/pod/' + file, 'a') as f: f.write('x\\n')
seen = os.readlink('/conf/..data')
time.sleep(0.15)
signal.signal(signal.SIGHUP, lambda *_: append('told'))
append('ready')
while os.readlink('/conf/..data') == seen: time.sleep(0.0003)
time.sleep(0.002)
os.execv('/usr/bin/python3', ['python3', '-c', os.environ['SOURCE']])
";

#[test]
fn masks_that_were_read_before_a_wait_dont_end_a_program_that_executes_itself_at_the_swap() {
    let mut spec =
        script("eager", EXECUTES_AT_SWAP).volume(VolumeSpec::config_map("more").key("more.conf", "one\n"));
    let container = spec.containers.remove(0).env("SOURCE", EXECUTES_AT_SWAP).mount("more", "/more");
    let Some(rig) = Setup::new().programs(&["python3"]).start(vec![spec.container(container)]) else {
        return;
    };
    let pod = rig.pod("eager");
    for round in 1..=4 {
        wait_lines(&rig, &pod, "ready", round);
        // Two volumes: there is a debounce.
        change(&pod, &format!("n{round}"));
        pod.update("more", payload([("more.conf", &format!("n{round}\n"))])).unwrap();
        wait_lines(&rig, &pod, "told", round);
        assert_eq!(pod.exit("app").unwrap(), None);
    }
    rig.end();
}

/// At the signal it finishes its work for 200 ms, executes itself anew and has its handler 150 ms after that.
const EXECUTES_AT_SIGNAL: &str = "
import os, signal, time
def append(file):
    with open('/pod/' + file, 'a') as f: f.write('x\\n')
def reload(*_):
    time.sleep(0.14)
    append('soon')
    time.sleep(0.06)
    os.execv('/usr/bin/python3', ['python3', '-c', os.environ['SOURCE']])
time.sleep(0.15)
read = open('/more/more.conf').read().strip()
signal.signal(signal.SIGHUP, reload)
with open('/pod/ready', 'a') as f: f.write(read + '\\n')
while True: signal.pause()
";

#[test]
fn a_second_change_just_before_a_program_executes_itself_anew_doesnt_end_it_and_is_told() {
    let mut spec =
        script("drains", EXECUTES_AT_SIGNAL).volume(VolumeSpec::config_map("more").key("more.conf", "one\n"));
    let container = spec.containers.remove(0).env("SOURCE", EXECUTES_AT_SIGNAL).mount("more", "/more");
    let Some(rig) = Setup::new().programs(&["python3"]).start(vec![spec.container(container)]) else {
        return;
    };
    let pod = rig.pod("drains");
    let read = || fs::read_to_string(pod.exchange_dir().join("ready")).unwrap_or_default();
    wait_lines(&rig, &pod, "ready", 1);
    for round in 1..=3 {
        let reloads = lines(&pod, "soon");
        change(&pod, &format!("n{round}"));
        wait_lines(&rig, &pod, "soon", reloads + 1);
        pod.update("more", payload([("more.conf", &format!("n{round}\n"))])).unwrap();
        wait_until(LIMIT, "the second change was read", || read().ends_with(&format!("n{round}\n")))
            .unwrap_or_else(|error| panic!("{error} ({:?})\n{}", pod.exit("app"), rig.tail()));
        // It is told of that one too, though it has read it by itself where it was late with its first reload.
        wait_lines(&rig, &pod, "ready", lines(&pod, "soon") + 1);
        assert_eq!(pod.exit("app").unwrap(), None);
    }
    rig.end();
}

/// Catches the signal from its start in order to end, as Ruby's VM does, and when it has booted in order to execute itself anew.
const BOOTS: &str = "
import os, signal, time
def append(file):
    with open('/pod/' + file, 'a') as f: f.write('x\\n')
signal.signal(signal.SIGHUP, lambda *_: os._exit(3))
append('boots')
time.sleep(0.8)
ballast = bytearray(64 << 20)
signal.signal(signal.SIGHUP, lambda *_: os.execv('/usr/bin/python3', ['python3', '-c', os.environ['SOURCE']]))
append('booted')
while True: signal.pause()
";

#[test]
fn a_vm_that_boots_anew_isnt_ended_by_the_change_that_comes_meanwhile_and_is_told_of_it() {
    let mut spec = script("vm", BOOTS);
    let container = spec.containers.remove(0).env("SOURCE", BOOTS);
    let Some(rig) = Setup::new().programs(&["python3"]).start(vec![spec.container(container)]) else {
        return;
    };
    let pod = rig.pod("vm");
    let mut boots = 1;
    wait_lines(&rig, &pod, "booted", 1);
    for round in 0..3 {
        change(&pod, &format!("one{round}"));
        wait_lines(&rig, &pod, "boots", boots + 1);
        change(&pod, &format!("two{round}"));
        wait_lines(&rig, &pod, "booted", boots + 2);
        boots += 2;
        assert_eq!((pod.exit("app").unwrap(), lines(&pod, "boots")), (None, boots), "{}", rig.tail());
    }
    rig.end();
}

#[test]
fn an_entry_point_that_becomes_an_init_isnt_told_in_the_place_of_its_program() {
    let become_init = |name: &str, init: &str, flags: &str| {
        // Until the test lets it.
        let wait = "until [ -e /pod/go ]; do sleep 0.05; done";
        let line =
            format!("{wait}; exec {init} -- /workload --log /pod/app.log --read /conf/app.conf {flags}");
        let command = ["/bin/sh", "-c", line.as_str()];
        bare(name)
            .annotation(SIGNAL, "SIGHUP")
            .container(ContainerSpec::new("app", &command).mount("conf", "/conf"))
    };
    let specs = vec![
        become_init("dumb-none", "/usr/bin/dumb-init", "--none"),
        become_init("dumb", "/usr/bin/dumb-init", "--catch HUP"),
        become_init("tini", "/usr/bin/tini", "--catch HUP"),
    ];
    let Some(rig) = Setup::new().programs(&["tini", "dumb-init"]).start(specs) else { return };
    for pod in rig.node.pods() {
        change(&pod, "two");
    }
    rig.wait_metric("reloadlet_problems", UNHANDLED, 3.0);
    rig.wait_warning("only starts the program");
    for pod in rig.node.pods() {
        fs::write(pod.exchange_dir().join("go"), "").unwrap();
    }
    for name in ["dumb", "tini"] {
        let pod = rig.pod(name);
        rig.wait_told(&pod, "app", "two");
        rig.signals(&pod, "app", 1);
        rig.assert_only_told(name, &children(pod.container("app").unwrap().pid));
    }
    let none = rig.pod("dumb-none");
    none.wait_ready("app").unwrap();
    change(&none, "three");
    rig.wait_outcomes("dumb-none", "superseded", 1);
    assert_eq!((none.exit("app").unwrap(), rig.outcomes("dumb-none", "delivered")), (None, 0.0));
    rig.end();
}

#[test]
fn a_supervisor_is_a_problem_that_names_it_and_its_program_is_told_by_name() {
    let child = "--comm server --log /pod/server.log --read /conf/app.conf";
    let spec = |name: &str, comm: &str| {
        bare(name).annotation(SIGNAL, "SIGHUP").container(reader("app", &["--comm", comm, "--child", child]))
    };
    let supervisors = ["s6-svscan", "supervisord", "runsvdir"];
    let mut specs: Vec<PodSpec> = supervisors.iter().map(|name| spec(name, name)).collect();
    specs.push(spec("named", "s6-svscan").annotation(PROCESS, "server"));
    let Some(rig) = Setup::new().start(specs) else { return };
    rig.wait_metric("reloadlet_problems", &[("kind", "supervisor")], 3.0);
    for pod in rig.node.pods() {
        change(&pod, "two");
    }
    for name in supervisors {
        let pid = rig.pod(name).container("app").unwrap().pid;
        rig.wait_outcomes(name, "no_process", 1);
        rig.wait_reason(name, "no_process", &format!("\"{name}\" (PID {pid})"));
        rig.signals(&rig.pod(name), "app", 0);
        rig.signals(&rig.pod(name), "server", 0);
    }
    rig.wait_told(&rig.pod("named"), "server", "two");
    rig.signals(&rig.pod("named"), "app", 0);
    rig.end();
}

/// A supervisor as far as signals go: at HUP it would end its program.
const SUPERVISORD: &str = "
import os, signal, subprocess
program = subprocess.Popen(['/usr/bin/sleep', 'infinity'])
def hup(*_):
    with open('/pod/hups', 'a') as f: f.write('x\\n')
    program.kill()
signal.signal(signal.SIGHUP, hup)
while True: signal.pause()
";

#[test]
fn a_supervisor_that_an_interpreter_runs_is_known_by_its_arguments() {
    let run = "printf %s \"$1\" > /pod/supervisord; exec /usr/bin/python3 -u /pod/supervisord -n";
    let command = ["/bin/sh", "-c", run, "sh", SUPERVISORD];
    let spec = bare("runs-by-python").annotation(SIGNAL, "SIGHUP");
    let spec = spec.container(ContainerSpec::new("app", &command).mount("conf", "/conf"));
    let Some(rig) = Setup::new().programs(&["python3"]).start(vec![spec]) else { return };
    rig.wait_metric("reloadlet_problems", &[("kind", "supervisor")], 1.0);
    let pod = rig.pod("runs-by-python");
    change(&pod, "two");
    rig.wait_outcomes("runs-by-python", "no_process", 1);
    let pid = pod.container("app").unwrap().pid;
    rig.wait_reason("runs-by-python", "no_process", &format!("\"supervisord\" (PID {pid})"));
    rig.wait_reason("runs-by-python", "no_process", "beside it there are \"sleep\"");
    assert_eq!(lines(&pod, "hups"), 0);
    rig.end();
}

/// Has no handler, and for a moment after each change one that ends it; from the third change on it keeps another one.
const CATCHES_FOR_A_MOMENT: &str = "
import os, signal, time
def append(file):
    with open('/pod/' + file, 'a') as f: f.write('x\\n')
time.sleep(4)
append('ready')
for n in range(3):
    seen = os.readlink('/conf/..data')
    append('waits')
    while os.readlink('/conf/..data') == seen: time.sleep(0.001)
    if n == 2: break
    signal.signal(signal.SIGHUP, lambda *_: os._exit(1))
    time.sleep(1.2)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    append('over')
    # The agent looks twice a second.
    time.sleep(3)
signal.signal(signal.SIGHUP, lambda *_: append('told'))
append('over')
while True: time.sleep(1)
";

#[test]
fn a_program_that_catches_the_signal_for_a_moment_in_order_to_end_isnt_told_in_that_moment() {
    let Some(rig) = Setup::new().programs(&["python3"]).start(vec![script("eager", CATCHES_FOR_A_MOMENT)])
    else {
        return;
    };
    let pod = rig.pod("eager");
    wait_lines(&rig, &pod, "ready", 1);
    for n in 1..4 {
        wait_lines(&rig, &pod, "waits", n);
        // The agent has seen it without a handler by now.
        change(&pod, &format!("n{n}"));
        wait_lines(&rig, &pod, "over", n);
        assert_eq!(pod.exit("app").unwrap(), None);
    }
    wait_lines(&rig, &pod, "told", 1);
    rig.end();
}

#[test]
fn what_the_kernel_drops_for_a_first_process_is_unhandled_and_what_sigwait_takes_is_delivered() {
    let send = |spec: PodSpec| spec.annotation("reloadlet.io/unhandled", "send");
    let waits = "
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
while True:
    signal.sigwait([signal.SIGHUP])
    content = open('/conf/app.conf').read()
    with open('/pod/told', 'a') as f: f.write(content)
";
    let container = ContainerSpec::new("app", &[PYTHON, "-c", waits]).mount("conf", "/conf");
    let specs = vec![
        send(bare("none").annotation(SIGNAL, "SIGHUP").container(reader("app", &["--none"]))),
        send(bare("ignores").annotation(SIGNAL, "SIGHUP").container(reader("app", &["--ignore", "HUP"]))),
        send(bare("sigwait").annotation(SIGNAL, "SIGHUP").container(container)),
        // Without a handler nothing comes of it, whoever gets it.
        send(script("winch", "import time\nwhile True: time.sleep(1)").annotation(SIGNAL, "SIGWINCH")),
        send(bare("realtime").annotation(SIGNAL, "SIGRTMIN+3").container(reader("app", &["--none"]))),
    ];
    let Some(rig) = Setup::new().programs(&["python3"]).start(specs) else { return };
    for pod in rig.node.pods() {
        change(&pod, "two");
    }
    for name in ["none", "ignores", "winch", "realtime"] {
        rig.wait_outcomes(name, "unhandled", 1);
        rig.wait_reason(name, "unhandled", "the kernel drops it");
        let alive = [("pod_namespace", name), ("verdict", "alive")];
        assert_eq!(rig.metric("reloadlet_verdicts_total", &alive), 0.0);
        assert_eq!(rig.outcomes(name, "delivered"), 0.0);
    }
    wait_lines(&rig, &rig.pod("sigwait"), "told", 1);
    rig.wait_outcomes("sigwait", "delivered", 1);
    rig.end();
}

#[test]
fn a_leftover_of_an_exec_under_an_init_keeps_no_change_from_its_program() {
    let workload = ["/usr/bin/tini", "--", "/workload", "--log", "/pod/app.log", "--read", "/conf/app.conf"];
    let spec = bare("web")
        .annotation(SIGNAL, "SIGHUP")
        .container(ContainerSpec::new("app", &workload).mount("conf", "/conf"));
    let Some(rig) = Setup::new().programs(&["tini"]).start(vec![spec]) else { return };
    let pod = rig.pod("web");
    pod.wait_ready("app").unwrap();
    let init = pod.container("app").unwrap().pid;
    let own = children(init);
    let mut exec = pod.exec("app", &["/bin/sh", "-c", "sleep 1000 & exit"]).unwrap();
    exec.wait(LIMIT).unwrap();
    wait_until(LIMIT, "an adopted child", || children(init).len() == 2).unwrap();
    for content in ["two", "three"] {
        change(&pod, content);
        rig.wait_told(&pod, "app", content);
    }
    rig.signals(&pod, "app", 2);
    rig.assert_only_told("web", &own);
    rig.end();
}

#[test]
fn behind_a_command_that_stays_and_an_init_under_a_longer_name_the_program_is_told_itself() {
    let spec = |name: &str, command: &str| {
        let source = format!("ln -s /usr/bin/tini /pod/tini-static-amd64; exec {command}");
        let container = ContainerSpec::new("app", &["/bin/sh", "-c", &source]).mount("conf", "/conf");
        bare(name).annotation(SIGNAL, "SIGHUP").container(container)
    };
    let told = "/workload --log /pod/app.log --read /conf/app.conf";
    let none = "/workload --none --log /pod/app.log";
    let specs = vec![
        spec("timeout", &format!("timeout 1000 {told}")),
        spec("timeout-none", &format!("timeout 1000 {none}")),
        spec("flock", &format!("flock /pod/lock {told}")),
        spec("unshare", &format!("unshare --fork timeout 1000 {told}")),
        spec("init", &format!("/pod/tini-static-amd64 -- {told}")),
    ];
    let Some(rig) = Setup::new().programs(&["tini", "flock"]).start(specs) else { return };
    for pod in rig.node.pods() {
        pod.wait_ready("app").unwrap();
        change(&pod, "two");
    }
    for name in ["timeout", "flock", "unshare", "init"] {
        let pod = rig.pod(name);
        rig.wait_told(&pod, "app", "two");
        rig.wait_outcomes(name, "delivered", 1);
        let mut own = pod.container("app").unwrap().pid;
        while let Some(child) = children(own).first() {
            own = *child;
        }
        rig.assert_only_told(name, &[own]);
        rig.signals(&pod, "app", 1);
    }
    rig.wait_metric("reloadlet_problems", UNHANDLED, 1.0);
    rig.wait_warning("and with it \"timeout\" and the container");
    let none = rig.pod("timeout-none");
    assert_eq!((none.exit("app").unwrap(), rig.outcomes("timeout-none", "delivered")), (None, 0.0));
    rig.end();
}

#[test]
fn a_title_names_its_program_and_the_names_that_are_there_are_said() {
    // The comm is the program's, the first argument a title.
    let title =
        "exec -a 'puma 5.6.5 (tcp://0.0.0.0:9292) [app]' /workload --log /pod/app.log --read /conf/app.conf";
    let puma = ContainerSpec::new("app", &["/bin/bash", "-c", title]).mount("conf", "/conf");
    let child = "--comm gunicorn:worker --log /pod/worker.log";
    let gunicorn = reader("app", &["--comm", "gunicorn: maste", "--child", child]);
    let named = |name: &str, process: &str, container: ContainerSpec| {
        bare(name).annotation(SIGNAL, "SIGHUP").annotation(PROCESS, process).container(container)
    };
    let specs = vec![
        named("puma", "puma", puma),
        named("gunicorn", "gunicorn", gunicorn.clone()),
        named("absent", "master", gunicorn),
    ];
    let Some(rig) = Setup::new().programs(&["bash"]).start(specs) else { return };
    for pod in rig.node.pods() {
        pod.wait_ready("app").unwrap();
        change(&pod, "two");
    }
    for name in ["puma", "gunicorn"] {
        rig.wait_told(&rig.pod(name), "app", "two");
        rig.assert_only_told(name, &[rig.pod(name).container("app").unwrap().pid]);
    }
    rig.signals(&rig.pod("gunicorn"), "worker", 0);
    rig.wait_outcomes("absent", "no_process", 1);
    rig.wait_reason("absent", "no_process", "\"gunicorn: maste\" and \"gunicorn:worker\"");
    rig.end();
}
