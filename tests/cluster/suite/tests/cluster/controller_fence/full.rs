//! Workloads that have all that there is. The fence compares everything, and what the API server stores must never look like a
//! change that nobody has made.

use std::collections::BTreeSet;

use super::workloads::rolled;
use super::*;

const TEMPLATE: &str = include_str!("template.yaml");
/// Fields that a template can't have, or not beside the others, or that are behind a gate.
const NOT_IN_A_TEMPLATE: [&str; 5] =
    ["activeDeadlineSeconds", "ephemeralContainers", "hostnameOverride", "nodeName", "schedulingGroup"];

fn full(kind: &str, spec: Value) -> Value {
    let template: Value = serde_saphyr::from_str(TEMPLATE).unwrap();
    let mut workload = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": "full",
            "labels": {"a": "b"},
            "annotations": {"example.com/owner": "me", "example.com/empty": ""},
        },
        "spec": {
            "selector": {
                "matchLabels": template["metadata"]["labels"],
                "matchExpressions": [{"key": "app", "operator": "Exists"}],
            },
            "template": template,
            "revisionHistoryLimit": 0,
            "minReadySeconds": 1,
        },
    });
    workload["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    workload
}

fn workloads() -> [Value; 3] {
    let rolling = |update: Value| json!({"type": "RollingUpdate", "rollingUpdate": update});
    let surge = json!({"maxSurge": "50%", "maxUnavailable": 0});
    let claim = json!({
        "metadata": {"name": "data", "labels": {"a": "b"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
    });
    [
        full(
            "Deployment",
            json!({"replicas": 0, "paused": true, "progressDeadlineSeconds": 9, "strategy": rolling(surge.clone())}),
        ),
        full(
            "StatefulSet",
            json!({
                "replicas": 0,
                "ordinals": {"start": 1},
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
                "podManagementPolicy": "Parallel",
                "serviceName": "full",
                "updateStrategy": rolling(json!({"partition": 1})),
                "volumeClaimTemplates": [claim],
            }),
        ),
        full("DaemonSet", json!({"updateStrategy": rolling(surge)})),
    ]
}

/// The fields that the API server knows of a type.
fn fields(schemas: &Value, of: &str) -> BTreeSet<String> {
    let properties = schemas["components"]["schemas"][of]["properties"].as_object().unwrap();
    properties.keys().cloned().collect()
}

fn keys<'a>(objects: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    objects.into_iter().flat_map(|object| object.as_object().unwrap().keys().cloned()).collect()
}

#[test]
fn a_mark_is_taken_whatever_fields_a_workload_has() {
    let Some(space) = Space::new("controller-full") else { return };
    give_all_rights(&space);
    let schemas: Value =
        serde_json::from_str(&kubectl(["get", "--raw", "/openapi/v3/apis/apps/v1"])).unwrap();
    for workload in workloads() {
        let kind = workload["kind"].as_str().unwrap().to_owned();
        space.create(&[workload]);
        let stored = space.get(&kind, "full");
        let spec = &stored["spec"];
        assert_eq!(keys([spec]), fields(&schemas, &format!("io.k8s.api.apps.v1.{kind}Spec")), "{kind}");
        let mut pod = keys([&spec["template"]["spec"]]);
        pod.extend(NOT_IN_A_TEMPLATE.map(str::to_owned));
        assert_eq!(pod, fields(&schemas, "io.k8s.api.core.v1.PodSpec"), "{kind}");
        let containers = spec["template"]["spec"]["containers"].as_array().unwrap();
        assert_eq!(keys(containers), fields(&schemas, "io.k8s.api.core.v1.Container"), "{kind}");

        for value in ["a", "b"] {
            taken(patch(&space, &kind, "full", &rolled(value)));
        }
        let marked = space.get(&kind, "full");
        assert_eq!(marked["spec"]["template"]["metadata"]["annotations"]["reloadlet.io/rolled"], "b");
    }
}
