//! What can't be right about the programs that are told.

use super::{deployment, found};

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
