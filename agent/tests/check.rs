//! `reloadlet check` as people and pipelines call it.
#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails; the lint's exception for tests covers test functions only"
)]

use std::io::{self, Write as _};
use std::process::{Command, Output, Stdio};

/// What it says of this text on its standard input.
fn check(text: &str, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reloadlet"));
    command.args(["check", "-f", "-"]).args(flags);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    match child.stdin.take().unwrap().write_all(text.as_bytes()) {
        // After wrong usage it ends without reading.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.unwrap(),
    }
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A template whose container is told of a ConfigMap, and takes a Secret into its environment.
const TEMPLATE: &str = "{metadata: {annotations: {reloadlet.io/signal: SIGHUP}}, spec: {\
                        containers: [{name: app, envFrom: [{secretRef: {name: login}}], \
                        volumeMounts: [{name: config, mountPath: /etc/app}]}], \
                        volumes: [{name: config, configMap: {name: settings}}]}}";

/// A workload of each kind.
fn each_kind() -> Vec<(&'static str, String)> {
    let object = |api, kind, rest: String| {
        (kind, format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: web, namespace: shop}}\n{rest}\n"))
    };
    let controlled = |api, kind| object(api, kind, format!("spec: {{template: {TEMPLATE}}}"));
    let pod = TEMPLATE.replacen(
        "{metadata: {",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, ",
        1,
    );
    let pod = pod.replacen("}}, spec: ", "}}\nspec: ", 1);
    let pod = pod.strip_suffix('}').unwrap().to_owned() + "\n";
    vec![
        ("Pod", pod),
        object("v1", "PodTemplate", format!("template: {TEMPLATE}")),
        controlled("apps/v1", "Deployment"),
        controlled("apps/v1", "StatefulSet"),
        controlled("apps/v1", "DaemonSet"),
        controlled("apps/v1", "ReplicaSet"),
        controlled("v1", "ReplicationController"),
        controlled("batch/v1", "Job"),
        object("batch/v1", "CronJob", format!("spec: {{jobTemplate: {{spec: {{template: {TEMPLATE}}}}}}}")),
        controlled("argoproj.io/v1alpha1", "Rollout"),
        controlled("apps.openshift.io/v1", "DeploymentConfig"),
    ]
}

#[test]
fn every_kind_of_workload_is_checked() {
    for (kind, text) in each_kind() {
        let output = check(&text, &[]);
        let expected = format!(
            "\
{kind} shop/web  (standard input:1)
  CONTAINER  OBJECT              BY         ON A CHANGE  WHY
  app        Secret login        envfrom    never        frozen-env
  app        ConfigMap settings  directory  SIGHUP
"
        );
        assert!(said(&output).starts_with(&expected), "{kind}: {}", said(&output));
        assert_eq!(output.status.code(), Some(0), "{kind}");
    }
    let all: Vec<String> = each_kind().into_iter().map(|(_, text)| text).collect();
    assert!(
        said(&check(&all.join("---\n"), &[]))
            .ends_with("11 workloads, 11 warnings: docs/check.md explains each code\n")
    );
}

#[test]
fn the_exit_status_says_whether_something_is_wrong() {
    let (_, deployment) = each_kind().swap_remove(2);
    for (text, flags, expected) in [
        (&*deployment, &[][..], 0),
        (&deployment, &["--strict"], 1),
        (&deployment, &["--strict", "--ignore", "frozen-env"], 0),
        (&deployment, &["--strict", "--ignore=unasked,frozen-env"], 0),
        (&deployment, &["--strict", "--output=json"], 1),
        ("kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n", &["--strict"], 0),
        ("{half: [", &[], 1),
        (&deployment, &["--ignore", "frozen"], 2),
        (&deployment, &["--output", "xml"], 2),
    ] {
        let output = check(text, flags);
        assert_eq!(output.status.code(), Some(expected), "{flags:?}: {output:?}");
    }
    let without = Command::new(env!("CARGO_BIN_EXE_reloadlet")).arg("check").output().unwrap();
    assert_eq!(without.status.code(), Some(2));
}

#[test]
fn pull_requests_get_annotations_and_nothing_else() {
    let (_, deployment) = each_kind().swap_remove(2);
    let output = check(&deployment, &["--output", "github"]);
    let text = said(&output);
    assert!(
        text.lines().count() == 1
            && text.starts_with("::warning file=standard input,line=1,title=frozen-env::"),
        "{text}"
    );
}

#[test]
fn who_has_read_enough_is_no_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reloadlet"));
    command.args(["check", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let all: Vec<String> = each_kind().into_iter().map(|(_, text)| text).collect();
    child.stdin.take().unwrap().write_all(all.join("---\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn reloaders_flags_change_the_report_and_wrong_ones_are_wrong_usage() {
    let text = &each_kind()[2].1;
    assert!(!said(&check(text, &[])).contains("reloader-rolls"));
    let output = check(text, &["--reloader-flags", "--auto-reload-all=true --is-Argo-Rollouts=true"]);
    let expected = "hint reloader-rolls: when ConfigMap \"settings\" changes, Reloader 1.4 rolls it; reloadlet tells container \"app\" by \
                    SIGHUP, and does nothing else, as nothing asks for it\n";
    assert!(said(&output).contains(expected), "{}", said(&output));
    for flags in [&["--reloader-flags", "--auto-reload=true"][..], &["--reloader-flags=--auto-reload=true"]] {
        let output = check(text, flags);
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("Reloader 1.4 has no flag --auto-reload\n"), "{error}");
    }
}
