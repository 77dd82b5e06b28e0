//! The workloads of a text that somebody wrote.

use reloadlet_core::model::excess::{Excess, Part};
use reloadlet_core::model::pod::{AnnotationValue, ContainerKind, PodSpec, Restarts, VolumeSource};
use reloadlet_core::policy::plan::Planned;
use reloadlet_core::policy::select;

use super::*;

mod details;
mod documents;
mod forms;
mod labels;
mod lists;

fn read(text: &str) -> Vec<Result<Found, Unreadable>> {
    super::super::read(text.as_bytes(), Format::of(text.as_bytes()))
}

/// What a text holds, in one line each.
fn said(text: &str) -> Vec<String> {
    let line = |found| match found {
        Ok(Found::Workload(Workload { kind, namespace, name, .. })) => {
            format!("{kind} {}/{name}", namespace.as_deref().unwrap_or_default())
        }
        Ok(Found::Other(OtherObject { group, kind, namespace, name, .. })) => {
            let [namespace, name] = [namespace, name].map(Option::unwrap_or_default);
            format!("- {group} {kind} {namespace}/{name}")
        }
        Err(error) => format!("! {error}"),
    };
    read(text).into_iter().map(line).collect()
}

fn workload(text: &str) -> Workload {
    match read(text).pop() {
        Some(Ok(Found::Workload(workload))) => workload,
        other => panic!("{other:?}"),
    }
}

/// A template that asks for a reload, in one line.
const TEMPLATE: &str = r#"{"metadata": {"annotations": {"reloadlet.io/signal": "HUP"}}, "spec": {"runtimeClassName": "kata",
    "initContainers": [{"name": "proxy", "restartPolicy": "Always"}],
    "containers": [{"name": "app", "volumeMounts": [{"name": "conf", "mountPath": "/etc/app"}]}],
    "volumes": [{"name": "conf", "configMap": {"name": "app", "items": [{"key": "k", "path": "./a//k"}]}}]}}"#;

/// A workload of each kind, as JSON on a few lines, each of them asking for the same.
fn each_kind() -> Vec<(WorkloadKind, String)> {
    let object = |kind: WorkloadKind, api_version: &str, rest: String| {
        let metadata = r#"{"name": "web", "namespace": "shop", "annotations": {"reloadlet.io/keys": "a"}}"#;
        (
            kind,
            format!(r#"{{"apiVersion": "{api_version}", "kind": "{kind}", "metadata": {metadata}, {rest}}}"#),
        )
    };
    let controlled =
        |kind, api_version| object(kind, api_version, format!(r#""spec": {{"template": {TEMPLATE}}}"#));
    let pod = TEMPLATE.replacen('{', r#"{"apiVersion": "v1", "kind": "Pod", "#, 1).replacen(
        r#""metadata": {"#,
        r#""metadata": {"name": "web", "namespace": "shop", "#,
        1,
    );
    vec![
        (WorkloadKind::Pod, pod),
        object(WorkloadKind::PodTemplate, "v1", format!(r#""template": {TEMPLATE}"#)),
        controlled(WorkloadKind::Deployment, "apps/v1"),
        controlled(WorkloadKind::StatefulSet, "apps/v1"),
        controlled(WorkloadKind::DaemonSet, "apps/v1"),
        controlled(WorkloadKind::ReplicaSet, "apps/v1"),
        controlled(WorkloadKind::ReplicationController, "v1"),
        controlled(WorkloadKind::Job, "batch/v1"),
        object(
            WorkloadKind::CronJob,
            "batch/v1",
            format!(
                r#""spec": {{"schedule": "* * * * *", "jobTemplate": {{"spec": {{"template": {TEMPLATE}}}}}}}"#
            ),
        ),
        controlled(WorkloadKind::Rollout, "argoproj.io/v1alpha1"),
        controlled(WorkloadKind::DeploymentConfig, "apps.openshift.io/v1"),
    ]
}

#[test]
fn a_workload_of_each_kind_comes_with_the_spec_of_its_pods() {
    let kinds = each_kind();
    assert_eq!(kinds.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), WorkloadKind::ALL);
    for (kind, json) in kinds {
        // JSON is YAML too; a block shows that YAML is what is read.
        let yaml = format!("# A comment\n---\n{json}\n");
        for text in [json.clone(), yaml] {
            let found = workload(&text);
            assert_eq!((found.kind, &*found.name, found.namespace.as_deref()), (kind, "web", Some("shop")));
            let own: Vec<&str> = found.annotations.keys().map(String::as_str).collect();
            let expected: &[&str] = if kind == WorkloadKind::Pod { &[] } else { &["reloadlet.io/keys"] };
            assert_eq!(own, expected, "{kind}");
            let PodSpec {
                annotations,
                containers,
                volumes,
                runtime_class,
                restarts,
                is_windows,
                host_network,
                excess,
                grace,
            } = &found.spec;
            assert_eq!((*restarts, *grace), (Restarts::Always, None));
            let asked = [("reloadlet.io/signal".to_owned(), AnnotationValue::Text("HUP".to_owned()))];
            assert_eq!(*annotations, asked.into(), "{kind}");
            let containers: Vec<_> = containers.iter().map(|found| (&*found.name, found.kind)).collect();
            assert_eq!(containers, [("app", ContainerKind::Regular), ("proxy", ContainerKind::Sidecar)]);
            let VolumeSource::ConfigMap(source) = &volumes[0].source else { panic!("{volumes:?}") };
            assert_eq!((&*source.name, source.items[0].path.as_str()), ("app", "a/k"), "{kind}");
            assert_eq!((runtime_class.as_deref(), *excess), (Some("kata"), None), "{kind}");
            assert!(!host_network && !is_windows);
        }
    }
}

#[test]
fn a_plan_is_made_of_a_spec_and_a_namespace_alone() {
    let found = workload(&each_kind().remove(2).1);
    let planned = select::plan(&found.spec, &"shop".into(), Default::default());
    let Planned::Plan(plan) = planned else { panic!("{planned:?}") };
    assert_eq!((plan.targets.len(), plan.volumes.len()), (1, 1));
}

#[test]
fn a_kind_may_stand_last_and_yaml_may_be_written_as_people_do() {
    let yaml = "
spec:
  template:
    metadata:
      annotations:
        reloadlet.io/signal: SIGHUP
    spec:
      containers:
      - name: app
        envFrom:
        - configMapRef: {name: env}
metadata:
  name: web
kind: Deployment
apiVersion: apps/v1
";
    let found = workload(yaml);
    assert_eq!((found.kind, &*found.name, found.namespace), (WorkloadKind::Deployment, "web", None));
    assert_eq!(&*found.spec.containers[0].environment[0].name, "env");
}

#[test]
fn the_spec_of_a_workload_that_asks_for_nothing_is_there_all_the_same() {
    let text = each_kind().remove(3).1.replace("reloadlet.io/", "other/");
    let found = workload(&text);
    assert!(!found.spec.asks() && found.annotations.is_empty());
    assert_eq!((found.spec.containers.len(), found.spec.volumes.len()), (2, 1));
}

#[test]
fn what_has_no_pods_is_known_by_its_name_whatever_is_in_it() {
    let text = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "namespace": "shop"}, "data": {"a": "b"}}
{"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "metadata": {"name": "train"}, "spec": {"template": 7}}
{"apiVersion": "example.org/v1", "kind": "AllowList", "metadata": {"name": "a"}, "spec": []}
{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "system:x", "labels": 3}}
{"apiVersion": "example.org/v1", "kind": "Odd", "metadata": "none", "items": "none", "spec": {"containers": true}}"#;
    let expected = [
        "-  ConfigMap shop/app",
        "- batch.volcano.sh Job /train",
        "- example.org AllowList /a",
        "- rbac.authorization.k8s.io Role /system:x",
        "- example.org Odd /",
    ];
    assert_eq!(said(text), expected);
    assert_eq!(said(&text.replace("\n{", "\n---\n{").replacen('{', "---\n{", 1)), expected);
}

#[test]
fn a_job_may_have_the_beginning_of_a_name() {
    let named = |name: &str| {
        let job = each_kind().remove(7).1;
        said(&job.replacen(r#""name": "web""#, &format!(r#""generateName": "{name}""#), 1)).remove(0)
    };
    assert_eq!(named("migrate-"), "Job shop/migrate-");
    assert_eq!(named("migrate."), "Job shop/migrate.");
    assert!(named("-migrate").contains("metadata.generateName of the object is \"-migrate\""));
}

#[test]
fn what_is_wrong_with_a_workload_says_where() {
    let deployment = each_kind().remove(2).1;
    for (text, what) in [
        (
            deployment.replace(r#""name": "web", "#, ""),
            "metadata.name of the object is missing, and a Kubernetes",
        ),
        (
            deployment.replace(r#""web""#, r#""Web""#),
            "metadata.name of the object is \"Web\", and a Kubernetes",
        ),
        (deployment.replace(r#""shop""#, r#""a/b""#), "metadata.namespace of the object is \"a/b\", and a"),
        (
            deployment.replace(r#""app", "volumeM"#, r#""..", "volumeM"#),
            "spec.containers[].name of the pod template of the object is \"..\", and a Kubernetes name is needed",
        ),
        (deployment.replace("containers", "x"), "the pod template of the object is a pod without containers"),
        (deployment.replace(r#""kind": "Deployment","#, ""), "the object has no kind"),
        ("---\n- a\n".to_owned(), "the object is no object"),
        ("hello".to_owned(), "the object is no object"),
    ] {
        let found = said(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        let begin =
            format!("! document 1, from line {} on: {what}", if text.starts_with('-') { 2 } else { 1 });
        assert!(found[0].starts_with(&begin), "{found:?}");
    }
    let empty = r#""namespace": """#;
    assert_eq!(said(&deployment.replace(r#""namespace": "shop""#, empty)), ["Deployment /web"]);
}

#[test]
fn a_workload_that_is_too_large_says_what_is_too_much_and_takes_no_room() {
    let deployment = each_kind().remove(2).1;
    let many = |times| {
        let volumes = repeated(r#"{"name": "v", "configMap": {"name": "c"}}"#, times);
        workload(&deployment.replace(r#""volumes": ["#, &format!(r#""volumes": [{volumes},"#))).spec
    };
    assert_eq!((many(255).excess, many(255).volumes.len()), (None, 256));
    assert_eq!(many(256), PodSpec::left_out(Excess::Many(Part::Volumes)));
    assert_eq!(many(20_000), PodSpec::left_out(Excess::Many(Part::Volumes)));
    let long =
        |bytes: usize| workload(&deployment.replace(r#""kata""#, &format!("\"{}\"", "k".repeat(bytes)))).spec;
    assert_eq!(long(300_000).excess, None);
    assert_eq!(long(600_000), PodSpec::left_out(Excess::Bytes));
    let own = deployment.replace(
        r#""reloadlet.io/keys": "a""#,
        &format!(r#""reloadlet.io/keys": "{}""#, "a".repeat(600_000)),
    );
    assert_eq!(workload(&own).spec, PodSpec::left_out(Excess::Bytes));
}

#[test]
fn what_a_text_takes_is_bounded_and_what_fits_is_read_all_the_same() {
    let deployment = each_kind().remove(2).1;
    let volumes = repeated(r#"{"name": "v", "configMap": {"name": "c"}}"#, 255);
    let large = deployment.replace(r#""volumes": ["#, &format!(r#""volumes": [{volumes},"#));
    let mut texts = vec![large; 400];
    texts.push(deployment);
    for text in [texts.join("\n"), texts.join("\n---\n")] {
        let text = if text.contains("\n---\n") { format!("---\n{text}") } else { text };
        let found = read(&text);
        let kept = found.iter().filter(|found| found.is_ok()).count();
        assert!((5..400).contains(&kept), "{kept}");
        assert!(found[400].is_ok(), "a small one finds room");
        let sentence =
            "the object isn't read: what was read before it takes all the memory there is for manifests";
        assert!(
            found
                .iter()
                .filter_map(|found| found.as_ref().err())
                .all(|error| error.error.to_string() == sentence)
        );
    }
}
