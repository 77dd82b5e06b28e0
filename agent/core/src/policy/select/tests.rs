mod containers;
mod volumes;

use proptest::prelude::*;

use super::*;
use crate::model::names::PodUid;
use crate::model::pod::{AnnotationValue, Item, ObjectSource, VolumeKind, VolumeMount};
use crate::model::signal::Signal;

/// A container that mounts these volumes: with `/` at the end by subPath, else as a directory.
fn container(name: &str, kind: ContainerKind, mounts: &[&str]) -> Container {
    let mount = |text: &&str| VolumeMount {
        volume: text.trim_end_matches('/').into(),
        sub_path: text.ends_with('/').then(|| "key".into()),
    };
    Container {
        name: name.into(),
        kind,
        mounts: mounts.iter().map(mount).collect(),
        environment: Vec::new(),
        ..Container::default()
    }
}

fn regular(name: &str, mounts: &[&str]) -> Container {
    container(name, ContainerKind::Regular, mounts)
}

fn volume(name: &str, source: VolumeSource) -> Volume {
    Volume { name: name.into(), source, csi: None }
}

fn config_map(name: &str) -> Volume {
    volume(name, VolumeSource::ConfigMap(named_object("settings")))
}

fn secret(name: &str) -> Volume {
    volume(name, VolumeSource::Secret(named_object("secret")))
}

fn named_object(name: &str) -> ObjectSource {
    ObjectSource { name: name.into(), ..ObjectSource::default() }
}

fn projected_secret() -> ProjectedSource {
    ProjectedSource::Secret(named_object("secret"))
}

fn projected_config_map(name: &str, paths: &[&str]) -> ProjectedSource {
    let items = paths.iter().map(|path| Item { key: "key".into(), path: (*path).into() }).collect();
    ProjectedSource::ConfigMap(ObjectSource { items, ..named_object(name) })
}

fn rotating(paths: &[&str]) -> ProjectedSource {
    ProjectedSource::Rotating { paths: paths.iter().copied().map(FilePath::from).collect() }
}

fn kube_api_access() -> Volume {
    let sources = vec![
        rotating(&["token"]),
        projected_config_map("kube-root-ca.crt", &["ca.crt"]),
        rotating(&["namespace"]),
    ];
    volume("kube-api-access-x", VolumeSource::Projected(sources))
}

fn pod(annotations: &[(&str, &str)], containers: Vec<Container>, volumes: Vec<Volume>) -> PodSpec {
    let text = |(key, text): &(&str, &str)| (String::from(*key), AnnotationValue::Text(String::from(*text)));
    PodSpec { annotations: annotations.iter().map(text).collect(), containers, volumes, ..PodSpec::default() }
}

fn plan(spec: &PodSpec) -> Planned {
    super::plan(spec, &"shop".into(), Allowed::default())
}

/// A pod with one container `app` that mounts the one ConfigMap volume `config`.
fn simple(annotations: &[(&str, &str)]) -> PodSpec {
    pod(annotations, vec![regular("app", &["config"])], vec![config_map("config")])
}

fn planned(pod: &PodSpec) -> Plan {
    let outcome = plan(pod);
    let Planned::Plan(plan) = outcome else { panic!("{outcome:?}") };
    plan
}

fn problem(pod: &PodSpec) -> (ProblemKind, String) {
    let outcome = plan(pod);
    let Planned::Invalid(problems) = &outcome else { panic!("{outcome:?}") };
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    (problem.kind, problem.sentence.clone())
}

/// `app SIGHUP config,tls` for each target.
fn targets(pod: &PodSpec) -> Vec<String> {
    let line =
        |target: TargetPlan| format!("{} {} {}", target.container, target.means, target.volumes.join(","));
    planned(pod).targets.into_iter().map(line).collect()
}

fn watched(pod: &PodSpec) -> Vec<String> {
    planned(pod).volumes.iter().map(|volume| String::from(&*volume.name)).collect()
}

/// Which of these paths count in the pod's one watched volume.
fn counting<'a>(pod: &PodSpec, paths: &[&'a str]) -> Vec<&'a str> {
    let plan = planned(pod);
    assert_eq!(plan.volumes.len(), 1, "{plan:?}");
    paths.iter().copied().filter(|path| plan.volumes[0].files.counts(path)).collect()
}

fn is(kind: ProblemKind, sentence: &str) -> (ProblemKind, String) {
    (kind, String::from(sentence))
}

#[test]
fn a_pod_that_asks_for_nothing_is_left_alone() {
    assert_eq!(plan(&simple(&[])), Planned::LeftAlone);
    assert_eq!(plan(&simple(&[("reloadlet.io/observed", "nonce")])), Planned::LeftAlone);
    assert_eq!(plan(&simple(&[(DEFAULT_CONTAINER, "app")])), Planned::LeftAlone);
}

#[test]
fn a_pod_that_ends_is_left_alone_whatever_it_asks_for() {
    for annotations in [&[(SIGNAL, "hup")], &[(SIGNAL, "nonsense")]] {
        let mut pod = Pod {
            uid: PodUid::parse("0f3c7e52-1111-2222-3333-444455556666").unwrap(),
            namespace: "shop".into(),
            name: "web-0".into(),
            spec: simple(annotations),
            status: BTreeMap::new(),
            phases: BTreeMap::new(),
            addresses: Vec::new(),
            replica: None,
            given: None,
            unrolled: false,
            terminating: false,
        };
        assert_ne!(plan_of(&pod, Allowed::default()), Planned::LeftAlone);
        pod.terminating = true;
        assert_eq!(plan_of(&pod, Allowed::default()), Planned::LeftAlone);
    }
}

#[test]
fn one_annotation_is_enough() {
    let expected = Plan {
        volumes: vec![VolumePlan {
            name: "config".into(),
            kind: VolumeKind::ConfigMap,
            files: FileFilter::default(),
            sources: sources::of_volume(&config_map("config").source, &"shop".into()),
        }],
        targets: vec![TargetPlan {
            container: "app".into(),
            means: Signal::HUP.into(),
            volumes: vec!["config".into()],
        }],
        measured: Vec::new(),
        process: None,
        debounce: Duration::ZERO,
        min_interval: Duration::ZERO,
        splay: Duration::ZERO,
        verify: Duration::from_secs(10),
        send_unhandled: false,
        accelerate: false,
        retell: true,
    };
    assert_eq!(plan(&simple(&[(SIGNAL, "SIGHUP")])), Planned::Plan(expected));
}

#[test]
fn what_was_asked_for_is_in_the_plan() {
    let plan = planned(&simple(&[
        (SIGNAL, "hup"),
        ("reloadlet.io/process", "nginx"),
        ("reloadlet.io/debounce", "1s"),
        ("reloadlet.io/min-interval", "2s"),
        ("reloadlet.io/splay", "3s"),
        ("reloadlet.io/verify", "4s"),
        ("reloadlet.io/unhandled", "send"),
    ]));
    assert_eq!(plan.process.as_deref(), Some("nginx"));
    assert_eq!(
        [plan.debounce, plan.min_interval, plan.splay, plan.verify].map(|d| d.as_secs()),
        [1, 2, 3, 4]
    );
    assert!(plan.send_unhandled);
}

#[test]
fn problems_of_annotations_volumes_and_containers_are_found_together() {
    let wrong = simple(&[
        (SIGNAL, "hup"),
        ("reloadlet.io/debounce", "soon"),
        (VOLUMES, "confg"),
        (CONTAINER, "ap"),
        ("signal.reloadlet.io/side", "hup"),
    ]);
    let Planned::Invalid(problems) = plan(&wrong) else { panic!("not invalid") };
    let kinds: Vec<ProblemKind> = problems.iter().map(|problem| problem.kind).collect();
    use ProblemKind::{BadValue, Container, Volume};
    assert_eq!(kinds, [BadValue, Volume, Container, Container]);
}

#[test]
fn a_pod_has_a_bounded_number_of_problems() {
    let keys: Vec<String> = (0..100).map(|n| format!("reloadlet.io/x{n}")).collect();
    let annotations: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "")).collect();
    let Planned::Invalid(problems) = plan(&simple(&annotations)) else { panic!("not invalid") };
    assert_eq!(problems.len(), MOST_PROBLEMS + 1);
    assert_eq!(problems[MOST_PROBLEMS].sentence, "there are 80 more problems");
}

fn any_pod() -> impl Strategy<Value = PodSpec> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let mount = (name(), any::<bool>()).prop_map(|(volume, sub_path)| VolumeMount {
        volume: volume.into(),
        sub_path: sub_path.then(|| "key".into()),
    });
    let kind =
        prop::sample::select(vec![ContainerKind::Regular, ContainerKind::Sidecar, ContainerKind::Init]);
    let containers = prop::collection::btree_map(name(), (kind, prop::collection::vec(mount, 0..4)), 0..3);
    let source = prop::sample::select(vec![
        config_map("").source,
        VolumeSource::Secret(named_object("secret")),
        VolumeSource::DownwardApi,
        VolumeSource::Other,
        kube_api_access().source,
    ]);
    let volumes = prop::collection::btree_map(name(), source, 0..4);
    let key = prop::sample::select(vec![
        SIGNAL,
        CONTAINER,
        VOLUMES,
        DEFAULT_CONTAINER,
        "signal.reloadlet.io/a",
        "signal.reloadlet.io/b",
        "reloadlet.io/keys",
    ]);
    let text = prop::sample::select(vec!["hup", "usr1", "none", "a", "b", "a,b", "a,b,c"]);
    (containers, volumes, prop::collection::vec((key, text), 0..5)).prop_map(
        |(containers, volumes, annotations)| {
            let containers = containers.into_iter();
            let containers = containers.map(|(name, (kind, mounts))| Container {
                name: name.into(),
                kind,
                mounts,
                environment: Vec::new(),
                ..Container::default()
            });
            let volumes = volumes.into_iter().map(|(name, source)| volume(name, source));
            pod(&annotations, containers.collect(), volumes.collect())
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_plan_holds_nothing_but_what_the_pod_has(pod in any_pod()) {
        match plan(&pod) {
            Planned::LeftAlone => prop_assert!(!pod.annotations.keys().any(|key| key != DEFAULT_CONTAINER)),
            Planned::Invalid(problems) => prop_assert!(!problems.is_empty()),
            Planned::Plan(plan) => {
                prop_assert!(!plan.volumes.is_empty());
                for target in &plan.targets {
                    let container = pod.containers.iter().find(|container| container.name == target.container);
                    let container = container.expect("the pod has it");
                    prop_assert_ne!(container.kind, ContainerKind::Init);
                    prop_assert!(!target.volumes.is_empty());
                    for name in &target.volumes {
                        prop_assert!(plan.volumes.iter().any(|volume| volume.name == *name));
                        prop_assert!(container.mounts.iter().any(|mount| mount.volume == *name && mount.sub_path.is_none()));
                    }
                }
            }
        }
    }

    #[test]
    fn an_unrelated_annotation_changes_no_plan(mut pod in any_pod(), key in "[a-z]{1,9}.example/[a-z]{1,9}") {
        let without = plan(&pod);
        pod.annotations.insert(key, AnnotationValue::NotText(String::from("1")));
        prop_assert_eq!(plan(&pod), without);
    }
}
