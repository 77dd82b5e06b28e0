//! What a pod is granted, with what its spec and status say of how its containers end and start.

use std::sync::Arc;
use std::time::Duration;

use reloadlet_core::model::granted::{Given, Granted, Obstacle};
use reloadlet_core::model::pod::Pod;
use reloadlet_core::model::signal::Signal;

use super::*;

const GRANT: &str = "00ff 1800000000 app=aaaaaaaaaaaa";

/// A pod with these lines of annotations, of its spec and of its container, and this status.
fn with(annotations: &str, spec: &str, container: &str, status: &str) -> Arc<Pod> {
    let text = format!(
        "kind: Pod\nmetadata:\n  name: web\n  uid: 3f0c2b1a-7d52-4c63-9d4e-5a6b7c8d9e0f\n  annotations: {{{annotations}}}\n\
         spec:\n  containers: [{{name: app{container}}}]\n{spec}status: {{containerStatuses: [{{name: app{status}}}]}}\n"
    );
    decode(&text).unwrap().remove(0)
}

/// The same, which lets itself be restarted, with this grant.
fn granted(spec: &str, container: &str, status: &str) -> Granted {
    let annotations = format!("reloadlet.io/rollout: in-place, reloadlet.io/restart: '{GRANT}'");
    match with(&annotations, spec, container, status).given.clone().map(|given| *given) {
        Some(Given::Granted(granted)) => granted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_grant_comes_with_how_its_containers_end() {
    let plain = granted("", "", "");
    assert_eq!((plain.grant.to_string().as_str(), plain.grace), (GRANT, Duration::from_secs(30)));
    assert_eq!(plain.containers[0].stop, Ok(Signal::TERM));
    let grace =
        |seconds: &str| granted(&format!("  terminationGracePeriodSeconds: {seconds}\n"), "", "").grace;
    assert_eq!(grace("90"), Duration::from_secs(90));
    assert_eq!(grace("-1"), Duration::from_secs(30));
    assert_eq!(grace("0"), Duration::from_secs(1));
    let id = "a".repeat(64);
    let stop =
        |spec: &str, container: &str, status: &str| granted(spec, container, status).containers[0].stop;
    assert_eq!(stop("", ", lifecycle: {preStop: {exec: {}}}", ""), Err(Obstacle::PreStop));
    assert_eq!(stop("", ", lifecycle: {preStop: null, stopSignal: SIGQUIT}", ""), Ok(Signal::QUIT));
    assert_eq!(stop("", ", lifecycle: {stopSignal: SIGKILL}", ""), Err(Obstacle::StopSignal));
    let status = format!(", containerID: 'x://{id}', stopSignal: SIGUSR1");
    assert_eq!(stop("", ", lifecycle: {stopSignal: SIGQUIT}", &status), Ok(Signal::USR1));
    for policy in ["OnFailure", "Never"] {
        assert_eq!(stop(&format!("  restartPolicy: {policy}\n"), "", ""), Err(Obstacle::Policy));
        assert_eq!(stop("", &format!(", restartPolicy: {policy}"), ""), Err(Obstacle::Policy));
    }
    assert_eq!(stop("", ", restartPolicyRules: [{action: Restart}]", ""), Err(Obstacle::Policy));
    let sidecar = "  initContainers: [{name: other, restartPolicy: Always}]\n  restartPolicy: Always\n";
    assert_eq!(stop(sidecar, ", lifecycle: null, restartPolicyRules: null", ""), Ok(Signal::TERM));
}

#[test]
fn of_a_running_pod_nothing_else_is_kept_of_how_its_containers_end() {
    let annotations = "reloadlet.io/signal: HUP";
    let spec = "  restartPolicy: Never\n  terminationGracePeriodSeconds: 7\n";
    let container =
        ", restartPolicy: Never, restartPolicyRules: [{}], lifecycle: {preStop: {}, stopSignal: INT}";
    let plain = with(annotations, "", "", "");
    assert_eq!(with(annotations, spec, container, "").spec, plain.spec);
    assert_eq!(plain.given, None);
}

#[test]
fn a_text_that_is_no_grant_takes_nothing_from_the_pod() {
    let long = "x".repeat(2_000);
    for text in
        ["''", "1", "[a]", "null", "'00ff 1800000000 app'", "'00ff 1800000000 app=aaaaaaaaaaaa,'", &long]
    {
        let annotations =
            format!("reloadlet.io/signal: HUP, reloadlet.io/rollout: in-place, reloadlet.io/restart: {text}");
        let pod = with(&annotations, "", "", "");
        assert!(matches!(pod.given.as_deref(), Some(Given::Ignored(_))), "{text}");
        assert_eq!(pod.spec.annotations.len(), 2, "{text}");
    }
    // Nobody asks for anything: the spec isn't read.
    assert_eq!(with(&format!("reloadlet.io/restart: '{GRANT}'"), "", "", "").given, None);
}
