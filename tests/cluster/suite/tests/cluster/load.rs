//! Many pods, and what they cost.

use cluster_suite::agent;
use cluster_suite::space::{SIGNAL, Space, app, config_map, deployment};

const PODS: usize = 50;
/// What the DaemonSet asks for.
const MEMORY_KB: u64 = 24 * 1024;

#[test]
fn fifty_pods_on_one_config_map_are_all_told_once_and_memory_stays_in_what_was_asked_for() {
    let Some(space) = Space::alone("many") else { return };
    space.create(&[config_map("one"), deployment(&app("many", &[(SIGNAL, "SIGHUP")]), PODS)]);
    space.kubectl(&["rollout", "status", "deployment/many", "--timeout=180s"]);
    let pods: Vec<String> = space
        .list("pods", &[])
        .iter()
        .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(pods.len(), PODS);

    for (content, told) in [("two", vec!["hup two"]), ("three", vec!["hup two", "hup three"])] {
        space.change(content);
        for pod in &pods {
            space.wait_told(pod, "app", &told);
        }
    }
    let labels = [format!("pod_namespace=\"{}\"", space.name()), "outcome=\"delivered\"".to_owned()];
    let delivered = agent::metric("reloadlet_reloads_total", &labels);
    assert!((delivered - 2.0 * PODS as f64).abs() < 0.1, "{delivered}");

    let memory = agent::process_status("VmRSS");
    eprintln!("resident with {PODS} pods: {memory}");
    assert!(memory.trim_end_matches(" kB").parse::<u64>().unwrap() < MEMORY_KB, "{memory}");
}
