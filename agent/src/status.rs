//! `/status`: what is known, as JSON.

use reloadlet_core::Time;
use reloadlet_core::object::ObjectRef;
use reloadlet_core::pod::Name;
use reloadlet_core::status::{ContainerStatus, PodStatus, Stale, VolumeStatus};
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
        "stale": status.stale.iter().map(|stale| stale_value(stale, now)).collect::<Vec<_>>(),
        "containers": status.containers.iter().map(|container| container_value(container, now)).collect::<Vec<_>>(),
    })
}

fn volume_value(volume: &VolumeStatus, now: Time) -> Value {
    json!({
        "name": &*volume.name,
        "kind": volume.kind.as_str(),
        "generation": volume.generation.as_ref().map(|generation| generation.as_str()),
        "settledSecondsAgo": volume.settled.map(|settled| now.since(settled).as_secs_f64()),
        "wanted": versions(&volume.wanted),
        "onDisk": versions(&volume.on_disk),
    })
}

fn versions(versions: &[(ObjectRef, Option<Name>)]) -> Vec<Value> {
    let each = versions.iter().map(|(object, version)| {
        json!({ "kind": object.kind.as_str(), "name": &*object.name, "version": version.as_deref() })
    });
    each.collect()
}

fn stale_value(stale: &Stale, now: Time) -> Value {
    json!({
        "reason": stale.reason.as_str(),
        "seconds": now.since(stale.since).as_secs_f64(),
        "volume": stale.volume.as_deref(),
        "container": stale.container.as_deref(),
        "object": stale.object.as_ref().map(|object| json!({ "kind": object.kind.as_str(), "name": &*object.name })),
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
