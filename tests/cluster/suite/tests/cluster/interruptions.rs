//! The agent is away, or on its own, while configuration changes.

use std::time::{Duration, Instant};

use cluster_suite::agent;
use cluster_suite::space::{SIGNAL, Space, app, config_map, kubectl, node, wait_until};

const PODS: [&str; 3] = ["a", "b", "c"];
const CUT: Duration = Duration::from_secs(60);

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
    agent::stop_while(|| {
        space.change("two");
        for pod in PODS {
            space.wait_file(pod, "/config/key", "two");
            space.wait_told(pod, "app", &[]);
        }
    });
    wait_loaded(&space, "two", 1);
}

/// Rules on the node by which the API server's answers don't reach the agent. Probes of the kubelet, which come from
/// other addresses, do.
struct Cut {
    agent: String,
    rules: Vec<String>,
}

impl Cut {
    fn new() -> Self {
        let agent = agent::pod()["status"]["podIP"].as_str().unwrap().to_owned();
        // Where it listens, and the address that stands for that.
        let listens =
            kubectl(["get", "endpoints", "kubernetes", "-o", "jsonpath={.subsets[*].addresses[*].ip}"]);
        let stands = kubectl(["get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"]);
        let mut cut = Self { agent, rules: Vec::new() };
        for server in listens.split_whitespace().chain([&*stands]) {
            let rule = format!("blackhole from {server} to {}", cut.agent);
            node(&[&["ip", "rule", "add"], &*rule.split(' ').collect::<Vec<_>>()].concat());
            cut.rules.push(rule);
        }
        cut
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        for rule in &self.rules {
            node(&[&["ip", "rule", "delete"], &*rule.split(' ').collect::<Vec<_>>()].concat());
        }
    }
}

/// Whether the agent says that the API server tells it of pods, by its metrics as the node reads them.
fn sees_pods(agent: &str) -> bool {
    let get = format!(
        "exec 3<>/dev/tcp/{agent}/9847; printf 'GET /metrics HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3; cat <&3"
    );
    let page = node(&["bash", "-c", &get]);
    let series = "reloadlet_watch_up{resource=\"pods\"} ";
    page.lines().find_map(|line| line.strip_prefix(series)).expect(&page) == "1"
}

/// Longer than the kubelet would let a liveness probe fail, if that were cut as well, and than a watch may be silent.
#[test]
fn minutes_without_the_api_server_are_said_and_lose_no_change() {
    let Some(space) = Space::alone("cut") else { return };
    space.create(&[app("late", &[])]);
    start(&space);
    let before = the_agent();
    let cut = Cut::new();
    let begun = Instant::now();
    space.annotate("late", SIGNAL, Some("SIGHUP"));
    let mut lines = Vec::new();
    while lines.len() < 4 || begun.elapsed() < CUT {
        let content = format!("{}-meanwhile", lines.len());
        space.change(&content);
        wait_loaded(&space, &content, 1);
        space.wait_file("late", "/config/key", &content);
        lines.push(format!("hup {content}"));
    }
    space.wait_told("late", "app", &[]);
    wait_until("the agent says that it is blind", || !sees_pods(&cut.agent));
    let status = agent::status(&[]);
    let first = status.lines().next().unwrap_or_default();
    assert!(first.starts_with("AGENT  The API server hasn't told of this node's pods for"), "{status}");
    eprintln!("cut for {:.1?}, with {} changes", begun.elapsed(), lines.len());
    let agent = cut.agent.clone();
    drop(cut);
    wait_until("the agent says that it sees again", || sees_pods(&agent));
    // Its annotation and the change after it are seen together.
    let newest = lines.last().unwrap();
    wait_until("the pod that was annotated meanwhile has loaded the newest", || {
        space.told("late", "app").last() == Some(newest)
    });
    space.wait_event("late", "SignalSent");
    space.change("after");
    wait_loaded(&space, "after", 1);
    lines.push("hup after".to_owned());
    for pod in PODS {
        assert_eq!(space.told(pod, "app"), lines, "{pod}");
    }
    space.wait_event("a", "SignalSent");
    assert_eq!(the_agent(), before, "it was restarted meanwhile");
}

/// Its pod, process, and the starts of its container.
fn the_agent() -> (String, String, u64) {
    let pod = agent::pod();
    let starts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap();
    (pod["metadata"]["uid"].as_str().unwrap().to_owned(), agent::node_pid(), starts)
}

/// As when the API server's machine vanishes, or a firewall forgets a connection.
#[test]
fn a_connection_that_died_without_a_word_is_replaced() {
    let Some(space) = Space::alone("silent") else { return };
    space.create(&[app("late", &[])]);
    start(&space);
    let cut = Cut::new();
    // Both families are asked for, and it fails if one of them has none.
    let server_ends = format!("ss -K dst {0}; test -z \"$(ss -Htn dst {0})\"", cut.agent);
    node(&["bash", "-c", &server_ends]);
    drop(cut);
    space.annotate("late", SIGNAL, Some("SIGHUP"));
    space.change("two");
    wait_loaded(&space, "two", 1);
    space.wait_told("late", "app", &["hup two"]);
}
