//! What can't be right about the programs that are told.

use super::{deployment, found, said};

fn text(annotations: &str, pod: &str, container: &str) -> String {
    let spec = format!(
        "{{{pod}containers: [{{name: app, {container}ports: [{{containerPort: 80}}], volumeMounts: [{{name: v, mountPath: /v}}]}}], \
         volumes: [{{name: v, configMap: {{name: a}}}}]}}"
    );
    deployment("web", &format!("{{annotations: {{{annotations}}}}}"), &spec)
}

#[test]
fn a_process_that_nothing_is_called_is_found() {
    let named = |process: &str, container: &str| {
        found(&text(&format!("reloadlet.io/signal: HUP, reloadlet.io/process: {process}"), "", container))
    };
    let expected = "hint process-name: reloadlet.io/process names \"promtheus\", and nothing in the command of container \"app\" is \
                    called so: it runs \"/bin/prometheus\"; name the process as the kernel does (comm), or as the last element of its \
                    argv[0]";
    assert_eq!(named("promtheus", "command: [/bin/prometheus], "), [expected]);
    for (process, container) in [
        ("prometheus", "command: [/bin/prometheus], "),
        ("nginx", "command: [sh, -c, exec nginx -g daemon], "),
        ("nginx", "command: [tini, --], args: [/usr/sbin/nginx], "),
        ("nginx", ""),
        ("nginx", "args: [--quiet], "),
        ("nginx", "command: [\"$(PROGRAM)\"], "),
    ] {
        assert_eq!(named(process, container), [""; 0], "{process} {container}");
    }
    let by_request = "reloadlet.io/http: \":80/\", reloadlet.io/process: promtheus";
    assert!(
        !found(&text(by_request, "", "command: [/bin/prometheus], "))
            .iter()
            .any(|line| line.contains("process-name"))
    );
}

#[test]
fn a_signal_that_ends_programs_is_found_where_nobody_starts_them_again() {
    let told = |signal: &str, policy: &str| {
        let all = found(&text(
            &format!("reloadlet.io/signal: {signal}"),
            &format!("restartPolicy: {policy}, "),
            "",
        ));
        all.into_iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told("SIGTERM", "Never"), ["warning restart-policy"]);
    assert_eq!(told("INT", "OnFailure"), ["warning restart-policy"]);
    assert_eq!(told("SIGQUIT", "Always"), ["hint ending-signal"]);
    assert_eq!(told("SIGHUP", "Never"), [""; 0]);
    assert_eq!(told("none", "Never"), [""; 0]);
}

/// How each finding begins.
fn codes(annotations: &str, pod: &str, container: &str) -> Vec<String> {
    let all = found(&text(annotations, pod, container));
    all.into_iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect()
}

#[test]
fn a_signal_that_ends_programs_is_judged_by_the_containers_own_policy_and_by_what_spreads_it() {
    let term = "reloadlet.io/signal: TERM";
    assert_eq!(codes(term, "restartPolicy: Never, ", "restartPolicy: Always, "), ["hint ending-signal"]);
    assert_eq!(codes(term, "", "restartPolicy: Never, "), ["warning restart-policy"]);
    let sentence = |more: &str| found(&text(&format!("{term}{more}"), "", "")).remove(0);
    let together = ", and all replicas may end together";
    assert!(sentence("").ends_with(together) && sentence(", reloadlet.io/splay: 0s").ends_with(together));
    assert!(sentence(", reloadlet.io/splay: 30s").ends_with("the container is started again"));
}

#[test]
fn a_supervisor_is_found_where_no_process_is_named() {
    let hup = "reloadlet.io/signal: HUP";
    let runs = "command: [/usr/bin/supervisord, -n], ";
    let expected = "error supervisor: container \"app\" isn't told of changes: \"supervisord\" supervises other programs and takes signals \
                    as orders to itself; name the program that is to be told in reloadlet.io/process";
    assert_eq!(found(&text(hup, "", runs)), [expected]);
    assert!(said(&[("web.yaml", &text(hup, "", runs))]).contains("directory  never        supervisor\n"));
    assert_eq!(
        codes(hup, "", "command: [tini, --], args: [python3, /usr/bin/supervisord], "),
        ["error supervisor"]
    );
    for (annotations, container) in [
        ("reloadlet.io/signal: HUP, reloadlet.io/process: nginx", "command: [supervisord, nginx], "),
        ("reloadlet.io/signal: none", runs),
        ("reloadlet.io/http: \":80/\"", runs),
        (hup, "command: [nginx, supervisord], "),
        (hup, "args: [supervisord], "),
    ] {
        assert_eq!(codes(annotations, "", container), [""; 0], "{annotations} {container}");
    }
}

#[test]
fn on_windows_nobody_is_told() {
    let windows = "os: {name: windows}, ";
    assert_eq!(codes("reloadlet.io/signal: HUP", windows, ""), ["error os"]);
    assert!(
        said(&[("web.yaml", &text("reloadlet.io/signal: HUP", windows, ""))]).contains("never        os\n")
    );
    assert_eq!(codes("", windows, ""), [""; 0]);
    assert_eq!(codes("reloadlet.io/signal: HUP", "os: {name: linux}, ", ""), [""; 0]);
    let selected = "nodeSelector: {kubernetes.io/os: windows}, ";
    assert_eq!(codes("reloadlet.io/signal: HUP", selected, ""), ["error os"]);
    assert_eq!(codes("reloadlet.io/signal: HUP", "nodeSelector: {kubernetes.io/os: linux}, ", ""), [""; 0]);
}

#[test]
fn a_runtime_that_may_hide_processes_is_named_where_somebody_is_told() {
    let class = "runtimeClassName: gvisor, ";
    assert_eq!(codes("reloadlet.io/signal: HUP", class, ""), ["hint runtime-class"]);
    assert_eq!(codes("reloadlet.io/signal: none", class, ""), [""; 0]);
}

#[test]
fn a_signal_that_the_runtime_of_a_program_takes_for_itself_is_found() {
    let usr1 = "reloadlet.io/signal: USR1";
    let node = "command: [/usr/local/bin/node, server.js], ";
    let expected = "warning harmful-signal: container \"app\" runs \"node\", and at SIGUSR1 Node.js opens its debugger unless the program \
                    has taken the signal for itself: it isn't sent; choose another signal, or have it sent all the same by \
                    reloadlet.io/unhandled";
    assert_eq!(found(&text(usr1, "", node)), [expected]);
    assert_eq!(
        codes("reloadlet.io/signal: USR2", "", "command: [tini, --, java], "),
        ["warning harmful-signal"]
    );
    for (annotations, container) in [
        ("reloadlet.io/signal: USR1, reloadlet.io/unhandled: send", node),
        ("reloadlet.io/signal: USR1, reloadlet.io/process: server.js", node),
        ("reloadlet.io/signal: HUP", node),
        (usr1, "command: [nginx], "),
        (usr1, "args: [node], "),
    ] {
        assert_eq!(codes(annotations, "", container), [""; 0], "{annotations} {container}");
    }
}

#[test]
fn rules_of_its_own_decide_whether_a_container_is_started_again() {
    let rules = "restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: NotIn, values: [42]}}], ";
    assert_eq!(codes("reloadlet.io/signal: TERM", "", rules), ["hint ending-signal"]);
}
