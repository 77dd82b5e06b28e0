//! Two controllers that both take themselves for the one that leads.

use std::time::{Duration, Instant};

use serde_json::json;

use cluster_suite::rolls::{NAMESPACE, config_map, pods, sentinel, variable, wait_leading, workload};
use cluster_suite::space::{Space, kubectl, kubectl_command, output, wait_until};

const COUNT: usize = 12;
const LENGTH: Duration = Duration::from_secs(30);

/// Both replicas under one name, so that each takes the Lease for its own.
struct SameName;

impl SameName {
    fn begin() -> Self {
        let same = Self;
        set("RELOADLET_IDENTITY=both");
        wait_until("both have one name", || pods().len() == 2);
        same
    }
}

impl Drop for SameName {
    fn drop(&mut self) {
        set("RELOADLET_IDENTITY-");
    }
}

fn set(variable: &str) {
    kubectl(["-n", NAMESPACE, "set", "env", "deployment/reloadlet-controller", variable]);
    let status = ["-n", NAMESPACE, "rollout", "status", "deployment/reloadlet-controller", "--timeout=240s"];
    kubectl(status);
}

/// How many of these replicas lead at this moment, by what they say themselves.
fn leading(pods: &[String]) -> usize {
    let leads = |pod: &&String| {
        let page = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:9847/proxy/metrics");
        let page = output(kubectl_command(["get", "--raw", &page]));
        page.is_ok_and(|page| page.lines().any(|line| line == "reloadlet_controller_leader 1"))
    };
    pods.iter().filter(leads).count()
}

#[test]
fn two_controllers_that_both_lead_roll_once_for_each_change() {
    let Some(space) = Space::alone("rolls-leaders") else { return };
    let names: Vec<String> = (0..COUNT).map(|n| format!("web-{n}")).collect();
    let maps = names.iter().map(|name| config_map(name, "one"));
    let workloads = names.iter().map(|name| workload("Deployment", name, &variable(name)));
    space.start_rolled(&maps.chain(workloads).chain(sentinel("sentinel")).collect::<Vec<_>>());

    let same = SameName::begin();
    let replicas = pods();
    wait_until("both lead", || leading(&replicas) == 2);
    let begun = Instant::now();
    let (mut both, mut looks, mut changed) = (0, 0, 0);
    while begun.elapsed() < LENGTH || changed < COUNT {
        if changed < COUNT {
            space.change_object(&names[changed], "two");
            changed += 1;
        }
        looks += 1;
        both += usize::from(leading(&replicas) == 2);
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    space.wait_revisions(&all, 2);
    all.iter().for_each(|name| space.wait_holds(name, "two"));
    space.wait_sentinel("sentinel");
    let expected: Vec<_> = all.iter().map(|name| (*name, 2)).chain([("sentinel", 2)]).collect();
    space.assert_revisions(&expected);
    assert!(both * 2 > looks, "both led at {both} of {looks} looks");
    eprintln!("{COUNT} changes, both replicas led at {both} of {looks} looks: {:?}", space.revisions());
    drop(same);
    wait_leading();
    let marks = space
        .workloads()
        .iter()
        .filter(|one| {
            one["spec"]["template"]["metadata"]["annotations"]["reloadlet.io/rolled"] != json!(null)
        })
        .count();
    assert_eq!(marks, COUNT + 1);
}
