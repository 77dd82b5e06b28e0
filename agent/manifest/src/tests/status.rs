//! What is taken of a pod's status.

use std::sync::Arc;

use reloadlet_core::model::names::ContainerId;
use reloadlet_core::model::pod::Pod;

use super::*;

/// A pod with this status of its container.
fn with_status(status: &str) -> Arc<Pod> {
    let text = annotated("reloadlet.io/signal: HUP");
    decode(&format!("{text}status: {{containerStatuses: [{{name: app, {status}}}]}}\n")).unwrap().remove(0)
}

#[test]
fn a_container_was_killed_where_its_status_says_so_in_any_of_its_ways() {
    let id = |digit: char| ContainerId::parse(&digit.to_string().repeat(64)).unwrap();
    let ended = |digit: char, how: &str| {
        format!("{{terminated: {{containerID: 'docker://{}', {how}}}}}", digit.to_string().repeat(64))
    };
    let killed = |status: &str| with_status(status).phases.get("app").and_then(|phase| phase.killed.clone());
    for how in ["exitCode: 137", "exitCode: 0, signal: 9", "exitCode: 1, reason: OOMKilled"] {
        assert_eq!(killed(&format!("lastState: {}", ended('a', how))), Some(id('a')), "{how}");
        assert_eq!(killed(&format!("state: {}", ended('a', how))), Some(id('a')), "{how}");
    }
    for how in ["exitCode: 0", "exitCode: 129", "exitCode: 143, reason: Error", "reason: Completed"] {
        assert_eq!(killed(&format!("lastState: {}", ended('a', how))), None, "{how}");
    }
    let both = format!("state: {}, lastState: {}", ended('b', "exitCode: 1"), ended('a', "exitCode: 137"));
    assert_eq!(killed(&both), Some(id('a')), "the one before the last");
    assert_eq!(killed("lastState: {}, state: null"), None);
    assert_eq!(killed("lastState: {terminated: {exitCode: 137}}"), None, "it isn't said which");
}

#[test]
fn a_pod_of_the_hosts_network_has_its_nodes_address_and_no_other_pod_has() {
    let addresses = |host_network: bool| {
        let pod = asking(&format!(r#", "hostNetwork": {host_network}"#));
        let pod = pod.strip_suffix('}').unwrap();
        let text =
            format!(r#"{pod}, "status": {{"podIP": "192.0.2.7", "hostIPs": [{{"ip": "192.0.2.7"}}]}}}}"#);
        let pod = decode(&text).unwrap().remove(0);
        (pod.spec.host_network, pod.addresses.clone())
    };
    assert_eq!(addresses(true), (true, vec!["192.0.2.7".parse().unwrap()]));
    assert_eq!(addresses(false), (false, vec![]));
}

#[test]
fn what_a_status_doesnt_say_of_a_container_isnt_kept() {
    assert!(with_status("restartCount: 1").phases.is_empty());
    let phase = &with_status("ready: true").phases["app"];
    assert_eq!((phase.started, phase.ready), (None, Some(true)));
}
