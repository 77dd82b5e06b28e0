//! The controller's manifests.

use std::collections::BTreeSet;

use super::*;
use crate::overlays::check;
use cluster_suite::space::{Space, kubectl};

const NAME: &str = "reloadlet-controller";

fn alone() -> Vec<Value> {
    built(&deploy().join("controller"))
}

/// The base with the agents, and components of both.
fn together(components: &[&str]) -> Vec<Value> {
    let paths: Vec<_> = components.iter().map(|name| format!("PATH/deploy/components/{name}")).collect();
    own(&format!("resources: [PATH/deploy/base]\ncomponents: [{}]\n", paths.join(", ")))
}

/// Its objects, without the agents'.
fn controllers(objects: Vec<Value>) -> Vec<Value> {
    let is_its = |object: &Value| object["metadata"]["name"].as_str().unwrap().contains(NAME);
    objects.into_iter().filter(is_its).collect()
}

fn container(objects: &[Value]) -> &Value {
    &one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
}

/// What rules allow: the API group, the resource, and the verb; of what names, where they say so.
fn rights(rules: &Value) -> BTreeSet<(String, String, String, Option<String>)> {
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in rules.as_array().unwrap() {
        let names = texts(&rule["resourceNames"]);
        let names: Vec<_> = if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    for name in &names {
                        rights.insert((group.clone(), resource.clone(), verb.clone(), name.clone()));
                    }
                }
            }
        }
    }
    rights
}

fn of(all: &[(&str, &str, &str)]) -> BTreeSet<(String, String, String, Option<String>)> {
    let each = |(group, resource, verbs): &(&str, &str, &str)| {
        let right = |verb: &str| ((*group).to_owned(), (*resource).to_owned(), verb.to_owned(), None);
        verbs.split(' ').map(right).collect::<Vec<_>>()
    };
    all.iter().flat_map(each).collect()
}

#[test]
fn the_controller_runs_as_nobody_on_two_nodes_and_is_found_by_its_own_label() {
    if !can_render() {
        return;
    }
    let objects = alone();
    let deployment = one(&objects, "Deployment");
    let spec = &deployment["spec"];
    let pod = &spec["template"]["spec"];
    let selector = json!({"app.kubernetes.io/name": NAME});
    assert_eq!(spec["selector"], json!({"matchLabels": selector}), "it can never be changed");
    assert_eq!(spec["template"]["metadata"]["labels"], selector);
    let agents = take_daemon_set(&mut built(&deploy()));
    assert_ne!(agents["spec"]["selector"]["matchLabels"], selector);
    assert_eq!(spec["replicas"], 2);
    let spread = &pod["topologySpreadConstraints"][0];
    assert_eq!(
        (&spread["topologyKey"], &spread["labelSelector"]["matchLabels"]),
        (&json!("kubernetes.io/hostname"), &selector)
    );
    let budget = &one(&objects, "PodDisruptionBudget")["spec"];
    assert_eq!((&budget["maxUnavailable"], &budget["selector"]["matchLabels"]), (&json!(1), &selector));

    let container = container(&objects);
    assert_eq!(container["args"], json!(["controller", "--log-format=json"]));
    let image = container["image"].as_str().unwrap();
    assert_eq!(image, format!("set-your-image.invalid/reloadlet:{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        })
    );
    assert_eq!(
        pod["securityContext"],
        json!({
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        })
    );
    for unused in ["hostPID", "hostNetwork", "hostIPC", "volumes", "priorityClassName"] {
        assert_eq!(pod[unused], Value::Null, "{unused}");
    }
    assert_eq!(one(&objects, "ServiceAccount")["automountServiceAccountToken"], false);
    assert_eq!(pod["automountServiceAccountToken"], true);
    let level = &one(&objects, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(level, "restricted");

    // Else the fence would take what is tried on it.
    let asks = |key: &String| key.starts_with("reloadlet.io/") || key.contains("reloader.stakater.com/");
    for metadata in [&deployment["metadata"], &spec["template"]["metadata"]] {
        let annotations = metadata["annotations"].as_object();
        assert!(annotations.is_none_or(|annotations| !annotations.keys().any(asks)), "{metadata}");
    }
}

#[test]
fn the_controllers_rights_are_those_that_it_needs() {
    if !can_render() {
        return;
    }
    let mut everywhere = of(&[
        ("apps", "deployments", "get list watch patch"),
        ("apps", "statefulsets", "get list watch patch"),
        ("apps", "daemonsets", "get list watch patch"),
        ("apps", "replicasets", "list"),
        ("apps", "controllerrevisions", "list"),
        ("", "configmaps", "get list watch"),
        ("", "pods", "get list patch"),
        ("policy", "poddisruptionbudgets", "list"),
        ("events.k8s.io", "events", "create list patch"),
    ]);
    let objects = alone();
    assert_eq!(rights(&one(&objects, "ClusterRole")["rules"]), everywhere);

    let mut own_namespace = of(&[("coordination.k8s.io", "leases", "create"), ("", "secrets", "create")]);
    let states = (0..16).map(|state| format!("{NAME}-state-{state}"));
    let named = |group: &str, resource: &str, verbs: &str, name: String| -> Vec<_> {
        let right = |verb| (group.to_owned(), resource.to_owned(), str::to_owned(verb), Some(name.clone()));
        verbs.split(' ').map(right).collect()
    };
    own_namespace.extend(named("coordination.k8s.io", "leases", "get update", NAME.to_owned()));
    own_namespace.extend(named("", "configmaps", "get list watch", "reloadlet-holds".to_owned()));
    for secret in states.chain([format!("{NAME}-key")]) {
        own_namespace.extend(named("", "secrets", "get update", secret));
    }
    let role = one(&objects, "Role");
    assert_eq!(role["metadata"]["namespace"], "reloadlet");
    assert_eq!(rights(&role["rules"]), own_namespace);

    let with_secrets = controllers(together(&CONTROLLERS));
    everywhere.extend(of(&[("", "secrets", "get list watch")]));
    assert_eq!(rights(&one(&with_secrets, "ClusterRole")["rules"]), everywhere);
    assert_eq!(container(&with_secrets)["args"], json!(["controller", "--log-format=json", "--secrets"]));
}

#[test]
fn the_namespaced_controller_has_rights_in_the_namespaces_that_it_is_told_of_and_in_no_other() {
    if !can_render() {
        return;
    }
    let objects = built(&directory("controller-namespaced"));
    let argument = container(&objects)["args"][2].as_str().unwrap().to_owned();
    let told: BTreeSet<_> = argument.strip_prefix("--namespaces=").unwrap().split(',').collect();
    assert!(objects.iter().all(|object| object["kind"] != "ClusterRoleBinding"));
    let account = json!([{"kind": "ServiceAccount", "name": NAME, "namespace": "reloadlet"}]);
    let mut bound = BTreeSet::new();
    for binding in objects.iter().filter(|object| object["kind"] == "RoleBinding") {
        assert_eq!(binding["subjects"], account);
        assert_eq!(binding["roleRef"]["name"], NAME);
        let namespace = binding["metadata"]["namespace"].as_str().unwrap();
        if binding["roleRef"]["kind"] == "ClusterRole" {
            bound.insert(namespace);
        } else {
            assert_eq!(namespace, "reloadlet");
        }
    }
    assert_eq!(bound, told);
    // The fence is tried on its own Deployment and its own pod.
    let trial = &of(&[("apps", "deployments", "patch"), ("", "pods", "patch")]);
    let own = rights(&one(&objects, "Role")["rules"]);
    assert!(own.is_superset(trial) && !rights(&one(&alone(), "Role")["rules"]).is_superset(trial));
}

#[test]
fn the_controller_follows_the_variants_another_namespace_and_a_prefix() {
    if !can_render() {
        return;
    }
    let selects = |objects: &[Value], kind: &str, path: &str| {
        let values = &one(objects, kind).pointer(path).unwrap()["matchExpressions"][0]["values"];
        assert_eq!(*values, json!(["reloadlet", NAME]), "{kind}");
    };
    let both = together(&["controller", "arm64", "networkpolicy", "openshift", "podmonitor"]);
    selects(&both, "NetworkPolicy", "/spec/podSelector");
    selects(&both, "PodMonitor", "/spec/selector");
    let pod = &one(&both, "Deployment")["spec"]["template"];
    assert_eq!(pod["metadata"]["annotations"], json!({}), "who reads both has every series twice");
    // The uid is chosen by OpenShift, from the namespace's range.
    assert_eq!(
        pod["spec"]["securityContext"],
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
    );
    let terms = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let architectures = &terms["nodeSelectorTerms"][0]["matchExpressions"][1]["values"];
    assert_eq!(*architectures, json!(["amd64", "arm64"]));
    let agents = take_daemon_set(&mut both.clone());
    let alone = take_daemon_set(&mut together(&["arm64", "networkpolicy", "openshift", "podmonitor"]));
    assert_eq!(agents, alone, "the agents are as without it");

    let moved = controllers(own(
        "namespace: platform\nnamePrefix: team-\nresources: [PATH/deploy/base]\ncomponents: \
         [PATH/deploy/components/controller, PATH/deploy/components/acceleration]\n",
    ));
    let name = format!("team-{NAME}");
    for kind in ["ServiceAccount", "Role", "RoleBinding", "PodDisruptionBudget", "Deployment"] {
        let metadata = &one(&moved, kind)["metadata"];
        assert_eq!((&metadata["name"], &metadata["namespace"]), (&json!(name), &json!("platform")), "{kind}");
    }
    let account = json!([{"kind": "ServiceAccount", "name": name, "namespace": "platform"}]);
    for binding in ["ClusterRoleBinding", "RoleBinding"] {
        let binding = one(&moved, binding);
        assert_eq!((&binding["subjects"], &binding["roleRef"]["name"]), (&account, &json!(name)));
    }
    assert_eq!(one(&moved, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"], *name);
    // What it makes has names that no prefix reaches, and so have the rights to that.
    assert_eq!(one(&moved, "Role")["rules"], one(&self::alone(), "Role")["rules"]);
}

#[test]
fn the_controllers_manifests_are_accepted() {
    let Some(space) = Space::new("controllers") else { return };
    // Its own Namespace is there already, and not by apply. Others aren't, and one of the two stands for both.
    let fitted = |mut objects: Vec<Value>| {
        objects
            .retain(|object| object["kind"] != "Namespace" && object["metadata"]["namespace"] != "billing");
        for object in &mut objects {
            if object["metadata"]["namespace"] == "shop" {
                object["metadata"]["namespace"] = json!(space.name());
            }
        }
        objects
    };
    check("the controller alone", &fitted(alone()));
    check("with Secrets", &fitted(together(&CONTROLLERS)));
    check("the namespaced controller", &fitted(built(&directory("controller-namespaced"))));

    // Nothing of a Deployment is refused by the namespace's level: its pods are.
    let mut pod = one(&alone(), "Deployment")["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("app");
    pod["metadata"]["namespace"] = json!(space.name());
    pod["spec"]["serviceAccountName"] = json!("default");
    kubectl(["label", "namespace", space.name(), "pod-security.kubernetes.io/enforce=restricted"]);
    check("a pod in a restricted namespace", &[pod]);
}
