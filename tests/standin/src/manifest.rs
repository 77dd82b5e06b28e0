//! Pods as the API server would give them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::container::Exit;
use crate::pod::Pod;
use crate::spec::{ContainerKind, Qos};

pub(crate) fn list(pods: &[Arc<Pod>]) -> Value {
    let items: Vec<_> = pods.iter().map(|pod| object(pod)).collect();
    json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "" }, "items": items })
}

fn object(pod: &Pod) -> Value {
    let spec = &pod.spec;
    let qos = match spec.qos {
        Qos::Guaranteed => "Guaranteed",
        Qos::Burstable => "Burstable",
        Qos::BestEffort => "BestEffort",
    };
    let volumes: Vec<_> = spec
        .volumes
        .iter()
        .map(|volume| {
            let mut source = volume.source.clone();
            merge(&mut source, &json!({ "name": volume.name }));
            source
        })
        .collect();
    let mut pod_spec = json!({
        "nodeName": "standin",
        "restartPolicy": "Always",
        "containers": containers(pod, true),
        "volumes": volumes,
    });
    let inits = containers(pod, false);
    let mut extra = json!({});
    if !inits.is_empty() {
        extra["initContainers"] = Value::Array(inits);
    }
    if spec.share_process_namespace {
        extra["shareProcessNamespace"] = Value::Bool(true);
    }
    if let Some(class) = &spec.runtime_class {
        extra["runtimeClassName"] = Value::String(class.clone());
    }
    merge(&mut pod_spec, &extra);
    let mut status = json!({ "phase": "Running", "qosClass": qos });
    if spec.status {
        status["containerStatuses"] = Value::Array(statuses(pod, true));
        status["initContainerStatuses"] = Value::Array(statuses(pod, false));
    }
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": spec.name,
            "namespace": spec.namespace,
            "uid": pod.uid(),
            "annotations": pod.annotations(),
        },
        "spec": pod_spec,
        "status": status,
    });
    merge(&mut object, &spec.patch);
    object
}

fn containers(pod: &Pod, regular: bool) -> Vec<Value> {
    let wanted = pod.spec.containers.iter().filter(|one| (one.kind == ContainerKind::Regular) == regular);
    wanted
        .map(|one| {
            let mounts: Vec<_> = one
                .mounts
                .iter()
                .map(|mount| {
                    let mut value =
                        json!({ "name": mount.volume, "mountPath": mount.path, "readOnly": true });
                    if let Some(key) = &mount.sub_path {
                        value["subPath"] = Value::String(key.clone());
                    }
                    value
                })
                .collect();
            let env: Vec<_> =
                one.env.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
            let mut value = json!({
                "name": one.name,
                "image": "standin.invalid/workload:1",
                "command": one.command,
                "env": env,
                "volumeMounts": mounts,
            });
            if one.kind == ContainerKind::Sidecar {
                value["restartPolicy"] = Value::String("Always".to_owned());
            }
            value
        })
        .collect()
}

fn statuses(pod: &Pod, regular: bool) -> Vec<Value> {
    let wanted = pod.spec.containers.iter().filter(|one| (one.kind == ContainerKind::Regular) == regular);
    wanted
        .filter_map(|one| {
            let slot = pod.slots.get(&one.name)?;
            let status = slot.status()?;
            let id = format!("{}://{}", pod.node.cgroups().scheme(), status.id);
            let state = match status.exit {
                None => json!({ "running": { "startedAt": status.started_at } }),
                Some(exit) => json!({ "terminated": {
                    "exitCode": match exit { Exit::Code(code) => code, Exit::Signal(signal) => 128 + signal },
                    "startedAt": status.started_at,
                    "containerID": id,
                } }),
            };
            let up = status.exit.is_none();
            let (started, ready) = pod.phase(&one.name);
            Some(json!({
                "name": one.name,
                "image": "standin.invalid/workload:1",
                "imageID": "",
                "containerID": id,
                "ready": up && ready,
                "started": up && started,
                "restartCount": slot.starts().saturating_sub(1),
                "state": state,
            }))
        })
        .collect()
}

/// A JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    match patch {
        Value::Null => {}
        Value::Object(patch) => {
            if !target.is_object() {
                *target = Value::Object(Map::new());
            }
            if let Value::Object(fields) = target {
                for (key, value) in patch {
                    if value.is_null() {
                        fields.remove(key);
                    } else {
                        merge(fields.entry(key.clone()).or_insert(Value::Null), value);
                    }
                }
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => *target = patch.clone(),
    }
}
