//! The agent is away, or on its own, while configuration changes.

use serde_json::json;

use cluster_suite::agent;
use cluster_suite::space::{SIGNAL, Space, app, config_map, kubectl, node, wait_until};

const PODS: [&str; 3] = ["a", "b", "c"];

fn start(space: &Space) {
    let mut objects = vec![config_map("one")];
    objects.extend(PODS.iter().map(|name| app(name, &[(SIGNAL, "SIGHUP")])));
    space.start(&objects);
}

/// Everyone has loaded this content, and was told of it at most `times` times.
fn wait_loaded(space: &Space, content: &str, times: usize) {
    let line = format!("hup {content}");
    for pod in PODS {
        wait_until(&format!("{pod} has loaded {content}"), || space.told(pod, "app").last() == Some(&line));
        let told = space.told(pod, "app");
        assert!(told.iter().filter(|told| **told == line).count() <= times, "{pod}: {told:?}");
    }
}

#[test]
fn a_rollout_of_the_agent_loses_no_change() {
    let Some(space) = Space::alone("rollout") else { return };
    start(&space);
    for round in 0..3 {
        let content = format!("{round}-before");
        space.change(&content);
        agent::restart();
        // What the old agent has just done, the new one may do once more.
        wait_loaded(&space, &content, 2);
        let content = format!("{round}-after");
        space.change(&content);
        wait_loaded(&space, &content, 1);
    }
}

#[test]
fn a_change_while_no_agent_runs_is_told_by_the_next_one() {
    let Some(space) = Space::alone("absent") else { return };
    start(&space);
    let select = |label: Option<&str>| {
        let patch = json!([{
            "op": "replace",
            "path": "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/\
                     nodeSelectorTerms/0/matchExpressions/0/values/0",
            "value": label.unwrap_or("linux"),
        }]);
        let text = patch.to_string();
        kubectl(["-n", "reloadlet", "patch", "daemonset", "reloadlet", "--type=json", "-p", &text]);
    };
    select(Some("none"));
    wait_until("the agent is gone", || kubectl(["-n", "reloadlet", "get", "pods", "-o", "name"]).is_empty());
    space.change("two");
    for pod in PODS {
        space.wait_file(pod, "/config/key", "two");
        space.wait_told(pod, "app", &[]);
    }
    select(None);
    agent::wait_rolled_out();
    wait_loaded(&space, "two", 1);
}

/// A route on the node that takes the agent's packets away.
struct Cut(String);

impl Cut {
    fn new() -> Self {
        let address = agent::pod()["status"]["podIP"].as_str().unwrap().to_owned();
        node(&["ip", "route", "add", "blackhole", &format!("{address}/32")]);
        Self(address)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        node(&["ip", "route", "delete", "blackhole", &format!("{}/32", self.0)]);
    }
}

#[test]
fn without_the_api_server_pods_that_are_known_are_told_and_others_as_soon_as_it_is_back() {
    let Some(space) = Space::alone("cut") else { return };
    space.create(&[app("late", &[])]);
    start(&space);
    let cut = Cut::new();
    space.annotate("late", SIGNAL, Some("SIGHUP"));
    for content in ["two", "three", "four"] {
        space.change(content);
        wait_loaded(&space, content, 1);
        space.wait_file("late", "/config/key", content);
    }
    space.wait_told("late", "app", &[]);
    drop(cut);
    // Its annotation and the change after it are seen together.
    wait_until("the pod that was annotated meanwhile has loaded the newest", || {
        space.told("late", "app").last().is_some_and(|line| line == "hup four")
    });
    space.change("five");
    wait_loaded(&space, "five", 1);
    space.wait_event("a", "ConfigReloaded");
}

/// As when the API server's machine vanishes, or a firewall forgets a connection.
#[test]
fn a_connection_that_died_without_a_word_is_replaced() {
    let Some(space) = Space::alone("silent") else { return };
    space.create(&[app("late", &[])]);
    start(&space);
    let cut = Cut::new();
    // Both families are asked for, and it fails if one of them has none.
    let server_ends = format!("ss -K dst {0}; test -z \"$(ss -Htn dst {0})\"", cut.0);
    node(&["bash", "-c", &server_ends]);
    drop(cut);
    space.annotate("late", SIGNAL, Some("SIGHUP"));
    space.change("two");
    wait_loaded(&space, "two", 1);
    space.wait_told("late", "app", &["hup two"]);
}
