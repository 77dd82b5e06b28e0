//! Whose replicas pods are, and whether somebody rolls them.

use super::*;

/// A pod that asks for something, with more metadata.
fn with_metadata(more: &str) -> String {
    annotated("reloadlet.io/signal: HUP").replace("namespace: web", &format!("namespace: web, {more}"))
}

#[test]
fn only_a_controller_makes_a_pod_a_replica_and_its_words_are_bounded() {
    let owned = |references: &str| {
        decode(&with_metadata(&format!("ownerReferences: {references}"))).unwrap().remove(0).replica.clone()
    };
    for none in
        ["[]", "null", "[{kind: A, name: b, uid: c}]", "[{kind: A, name: b, uid: c, controller: false}]"]
    {
        assert_eq!(owned(none), None, "{none}");
    }
    let one = "{kind: Set, name: b, uid: c, controller: true}";
    let many = format!("[{}]", vec![one; 5_000].join(", "));
    assert_eq!(owned(&many), owned(&format!("[{one}]")));
    let long = owned(&format!("[{{kind: {0}, name: {0}, uid: {0}, controller: true}}]", "x".repeat(100_000)))
        .unwrap();
    assert!([&long.kind, &long.name, &long.uid].into_iter().all(|word| word.len() <= 256));
}

#[test]
fn a_pod_is_rolled_that_kubernetes_own_workloads_have_made() {
    let unrolled = |group: &str, kind: &str, labels: &str| {
        let reference =
            format!("{{apiVersion: {group}/v1, kind: {kind}, name: b, uid: c, controller: true}}");
        decode(&with_metadata(&format!("ownerReferences: [{reference}], labels: {{{labels}}}"))).unwrap()[0]
            .unrolled
    };
    for kind in ["StatefulSet", "DaemonSet"] {
        assert!(!unrolled("apps", kind, "controller-revision-hash: web-5c"), "{kind}");
        assert!(unrolled("apps.kruise.io", kind, "controller-revision-hash: web-5c"), "{kind}");
    }
    assert!(!unrolled("apps", "ReplicaSet", "pod-template-hash: 5c"));
    for (group, kind, labels) in [
        ("apps", "ReplicaSet", "rollouts-pod-template-hash: 5c"),
        ("apps", "ReplicaSet", "controller-revision-hash: 5c"),
        ("apps", "ReplicaSet", "app: web"),
        ("other.example", "ReplicaSet", "pod-template-hash: 5c"),
        ("batch", "Job", "pod-template-hash: 5c"),
    ] {
        assert!(unrolled(group, kind, labels), "{group} {kind} {labels}");
    }
    let with = |references: &str| {
        decode(&with_metadata(&format!("ownerReferences: {references}"))).unwrap()[0].unrolled
    };
    assert!(with("[]"), "one of nobody");
    assert!(with("[{apiVersion: apps/v1, kind: StatefulSet, name: b, uid: c}]"), "no controller");
    assert!(!with("[{kind: StatefulSet, name: b, uid: c, controller: true}]"), "a pods file needn't say it");
}

#[test]
fn labels_that_are_no_strings_say_nothing_and_hurt_nothing() {
    let template = |label: &str| {
        let reference = "ownerReferences: [{kind: A, name: b, uid: c, controller: true}]";
        decode(&with_metadata(&format!("{reference}, labels: {{{label}}}")))
            .unwrap()
            .remove(0)
            .replica
            .clone()
            .and_then(|replica| replica.template.clone())
    };
    assert_eq!(template("controller-revision-hash: web-5c"), Some("web-5c".into()));
    for other in ["pod-template-hash: 123", "pod-template-hash: [a]", "pod-template-hash: {a: b}", "app: web"]
    {
        assert_eq!(template(other), None, "{other}");
    }
}
