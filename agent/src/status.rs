//! `/status`: what is known, as JSON.

use reloadlet_core::Time;
use reloadlet_core::status::{ContainerStatus, PodStatus, VolumeStatus};
use serde_json::{Value, json};

/// The whole document.
pub(crate) fn document(pods: &[PodStatus], now: Time) -> String {
    json!({ "pods": pods.iter().map(|pod| pod_value(pod, now)).collect::<Vec<_>>() }).to_string()
}

fn pod_value(status: &PodStatus, now: Time) -> Value {
    json!({
        "namespace": &*status.pod.namespace,
        "name": &*status.pod.name,
        "uid": status.pod.uid.as_str(),
        "problems": status.problems.iter().map(|problem| json!({
            "kind": problem.kind.as_str(),
            "sentence": problem.sentence,
        })).collect::<Vec<_>>(),
        "volumes": status.volumes.iter().map(|volume| volume_value(volume, now)).collect::<Vec<_>>(),
        "containers": status.containers.iter().map(|container| container_value(container, now)).collect::<Vec<_>>(),
    })
}

fn volume_value(volume: &VolumeStatus, now: Time) -> Value {
    json!({
        "name": &*volume.name,
        "kind": volume.kind.as_str(),
        "generation": volume.generation.as_ref().map(|generation| generation.as_str()),
        "settledSecondsAgo": volume.settled.map(|settled| now.since(settled).as_secs_f64()),
    })
}

fn container_value(container: &ContainerStatus, now: Time) -> Value {
    json!({
        "name": &*container.name,
        "signal": container.signal.to_string(),
        "pids": container.pids,
        "missing": container.missing,
        "held": container.held,
        "lastOutcome": container.last.map(|(outcome, _)| outcome.as_str()),
        "lastSecondsAgo": container.last.map(|(_, at)| now.since(at).as_secs_f64()),
        "volumes": container.generations.iter().map(|(name, handled, waiting)| json!({
            "name": &**name,
            "handled": handled.as_ref().map(|generation| generation.as_str()),
            "waiting": waiting.as_ref().map(|generation| generation.as_str()),
        })).collect::<Vec<_>>(),
    })
}
