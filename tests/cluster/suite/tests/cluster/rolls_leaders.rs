//! Two controllers: one that follows the other, and two that both take themselves for the one that leads.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use cluster_suite::rolls::{NAMESPACE, config_map, holder, pods, sentinel, variable, wait_leading, workload};
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

/// The Lease as a watch shows it.
#[derive(Debug)]
struct Seen {
    holder: String,
    transitions: u64,
    seconds: u64,
    acquired: String,
    renewed: String,
}

impl Seen {
    /// One state of it, by [`COLUMNS`].
    fn read(line: &str) -> Self {
        let parts: Vec<&str> = line.split('|').collect();
        let [holder, transitions, seconds, acquired, renewed] = parts[..] else { panic!("{line}") };
        Self {
            holder: holder.to_owned(),
            transitions: transitions.parse().unwrap(),
            seconds: seconds.parse().unwrap(),
            acquired: acquired.to_owned(),
            renewed: renewed.to_owned(),
        }
    }
}

const COLUMNS: &str = concat!(
    r#"jsonpath={.spec.holderIdentity}|{.spec.leaseTransitions}|{.spec.leaseDurationSeconds}|"#,
    r#"{.spec.acquireTime}|{.spec.renewTime}{"\n"}"#
);

/// When a moment is that is written as the API server does it, since the epoch.
fn moment(written: &str) -> Duration {
    let mut date = Command::new("date");
    date.args(["--date", written, "+%s%N"]);
    Duration::from_nanos(output(date).unwrap().trim().parse().unwrap())
}

#[test]
fn who_is_asked_to_end_gives_the_lease_back_at_once() {
    let Some(_space) = Space::alone("rolls-lease") else { return };
    wait_leading();
    let before = holder().unwrap();
    let lease = ["-n", NAMESPACE, "get", "lease", "reloadlet-controller", "--watch", "-o", COLUMNS];
    let mut watch = kubectl_command(lease).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut states = lines.map(|line| Seen::read(&line));
    let mut last = states.next().unwrap();
    kubectl(["-n", NAMESPACE, "delete", "pod", &before, "--wait=false"]);
    let given = loop {
        let state = states.next().unwrap();
        if state.holder != before {
            break state;
        }
        last = state;
    };
    let next = states.find(|state| !state.holder.is_empty());
    watch.kill().unwrap();
    watch.wait().unwrap();
    let next = next.unwrap();
    eprintln!("{last:?}\n{given:?}\n{next:?}");
    assert_eq!((&*last.holder, &*given.holder, given.seconds), (&*before, "", 1));
    assert_eq!((given.transitions, &given.acquired), (last.transitions, &last.acquired));
    assert!(next.holder != before && next.transitions == last.transitions + 1, "{next:?}");
    // It would have run out so long after its holder has renewed it last.
    let out = moment(&last.renewed) + Duration::from_secs(last.seconds);
    assert!(moment(&next.acquired) < out, "taken over at {}, and it runs out at {out:?}", next.acquired);
    wait_until("both are there again", || pods().len() == 2);
    wait_leading();
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
