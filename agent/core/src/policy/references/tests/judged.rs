//! What a change does to containers that mount volumes as directories.

use super::*;
use crate::policy::plan::Planned;
use crate::policy::select;

#[test]
fn of_items_of_which_some_count_each_part_has_a_line() {
    let spec = |keys: &str, items: &[&str]| {
        let volumes = vec![config_map("config", "settings", items)];
        pod(&[(SIGNAL, "SIGHUP"), (KEYS, keys)], vec![regular("app", &["config"])], volumes)
    };
    let both = ["app settings directory SIGHUP told", "app settings directory never other-keys"];
    let found = spec("x", &["x", "y"]);
    assert_eq!(lines(&found), both);
    let all = references(&found, &"shop".into(), Allowed::default(), |_, _| Known::default()).all;
    let keys = |index: usize| all[index].part.keys().into_iter().map(Name::to_string).collect::<Vec<_>>();
    assert_eq!((keys(0), keys(1)), (vec!["x".into()], vec!["y".into()]));
    assert_eq!(lines(&spec("x,y", &["x", "y"])), both[..1]);
    assert_eq!(lines(&spec("z", &["x", "y"])), both[1..]);
    // Two lines take no more room than there is.
    let keys: Vec<String> = (0..1_000).map(|n| format!("k{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let many = pod(
        &[(SIGNAL, "SIGHUP"), (KEYS, "k?")],
        vec![regular("app", &["config"; 10])],
        vec![config_map("config", "settings", &keys)],
    );
    let found = references(&many, &"shop".into(), Allowed::default(), |_, _| Known::default());
    assert_eq!((found.all.len(), found.is_cut), (8, true));
}

#[test]
fn keys_that_are_known_decide_whether_any_file_counts() {
    let spec = pod(
        &[(SIGNAL, "SIGHUP"), (KEYS, "*.conf")],
        vec![regular("app", &["config"])],
        vec![config_map("config", "settings", &[])],
    );
    let with = |keys: &[&str]| {
        let (all, binary) = (keys.iter().map(|key| Name::from(*key)).collect(), BTreeSet::new());
        let keys = Keys { all: &all, binary: &binary };
        lines_with(&spec, |_, _| Known { keys: Some(keys), ..Known::default() })
    };
    assert_eq!(with(&["a.txt", "b.txt"]), ["app settings directory never other-keys"]);
    assert_eq!(with(&["a.txt", "b.conf"]), ["app settings directory SIGHUP told"]);
    assert_eq!(with(&[]), ["app settings directory SIGHUP told"]);
}

#[test]
fn the_clusters_own_volume_counts_whether_the_pod_asks_or_not() {
    let token = VolumeSource::Projected(vec![
        ProjectedSource::Rotating { paths: vec!["token".into()] },
        ProjectedSource::ConfigMap(source("kube-root-ca.crt", &["ca.crt"])),
    ]);
    let volume = || Volume { name: "kube-api-access-x".into(), source: token.clone(), csi: None };
    let spec = |annotations| {
        let volumes = vec![volume(), config_map("config", "settings", &[])];
        pod(annotations, vec![regular("app", &["kube-api-access-x"]), regular("b", &["config"])], volumes)
    };
    for annotations in [&[][..], &[(SIGNAL, "SIGHUP")], &[(SIGNAL, "SIGKILL")]] {
        assert_eq!(lines(&spec(annotations))[0], "app kube-root-ca.crt projected never cluster-object");
    }
    let mut secret = spec(&[]);
    secret.volumes[0].source = VolumeSource::Secret(source("kube-root-ca.crt", &[]));
    assert_eq!(
        lines(&secret)[0],
        "app kube-root-ca.crt directory never unasked",
        "a Secret is another object"
    );
}

#[test]
fn a_volume_that_nobody_names_is_another_one_for_all_containers() {
    let volumes = vec![config_map("c", "one", &[]), config_map("d", "two", &[])];
    let containers =
        vec![regular("a", &["c"]), regular("b", &["d"]), container("s", ContainerKind::Sidecar, &["c", "d"])];
    let spec = pod(&[(SIGNAL, "SIGHUP"), (VOLUMES, "d")], containers, volumes);
    let expected = [
        "a one directory never other-volume",
        "b two directory SIGHUP told",
        "s one directory never other-volume",
        "s two directory never sidecar",
    ];
    assert_eq!(lines(&spec), expected);
}

/// The pods of which each remedy that is an annotation of one container is written, and comes to a plan that tells it.
#[test]
fn no_remedy_leads_to_a_problem() {
    let csi = |name: &str, read_only| Volume {
        name: name.into(),
        source: VolumeSource::Other,
        csi: Some(Csi { driver: "csi.example.org".into(), class: None, read_only }),
    };
    let sources = vec![ProjectedSource::ConfigMap(source("kube-root-ca.crt", &["ca.crt"]))];
    let volumes = || {
        vec![
            config_map("c", "one", &["x", "y"]),
            config_map("d", "two", &[]),
            csi("r", true),
            csi("w", false),
            Volume { name: "k".into(), source: VolumeSource::Projected(sources.clone()), csi: None },
        ]
    };
    let mounts: [&[&str]; 8] =
        [&["c"], &["d"], &["c", "d"], &["w"], &["r"], &["k", "d"], &["k"], &["c/", "w", "r"]];
    let annotations: [&[(&str, &str)]; 7] = [
        &[],
        &[(SIGNAL, "SIGHUP")],
        &[(SIGNAL, "SIGHUP"), (VOLUMES, "d")],
        &[(SIGNAL, "SIGHUP"), ("reloadlet.io/container", "a")],
        &[("signal.reloadlet.io/a", "SIGHUP")],
        &[(SIGNAL, "none")],
        &[("signal.reloadlet.io/a", "SIGHUP"), (VOLUMES, "c"), (KEYS, "x")],
    ];
    let mut tried = 0;
    for one in mounts {
        for other in mounts {
            for kind in [ContainerKind::Regular, ContainerKind::Sidecar] {
                for annotations in annotations {
                    let containers = vec![regular("a", one), container("b", kind, other)];
                    let spec = pod(annotations, containers, volumes());
                    let all =
                        references(&spec, &"shop".into(), Allowed::default(), |_, _| Known::default()).all;
                    for reference in all {
                        let Some(remedy) = reference.remedy() else { continue };
                        let Some((key, _)) =
                            remedy.split_once(": ").filter(|(key, _)| key.contains("reloadlet.io/"))
                        else {
                            continue;
                        };
                        let mut mended = spec.clone();
                        mended.annotations.insert(key.to_owned(), AnnotationValue::Text("SIGHUP".to_owned()));
                        let planned = select::plan(&mended, &"shop".into(), Allowed::default());
                        let Planned::Plan(plan) = planned else {
                            panic!("{annotations:?} {one:?} {other:?}: {remedy}: {planned:?}")
                        };
                        assert!(
                            plan.targets
                                .iter()
                                .any(|target| Some(&target.container) == reference.container.as_ref())
                        );
                        tried += 1;
                    }
                }
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn a_path_that_no_item_has_shows_nothing_and_is_listed() {
    let app = |path: &str| Container {
        mounts: vec![VolumeMount { volume: "config".into(), sub_path: Some(path.into()) }],
        ..regular("app", &[])
    };
    let of = |path: &str, source: VolumeSource| {
        pod(&[], vec![app(path)], vec![Volume { name: "config".into(), source, csi: None }])
    };
    let plain = || VolumeSource::ConfigMap(source("settings", &["a", "b"]));
    assert_eq!(one(&of("c", plain())), "app settings subpath never empty-subpath");
    assert_eq!(one(&of("a", plain())), "app settings subpath never frozen-subpath");
    assert!(frozen(&of("c", plain())).is_empty(), "nothing of it is kept");
    let projected = || {
        VolumeSource::Projected(vec![
            ProjectedSource::ConfigMap(source("settings", &["a"])),
            ProjectedSource::Secret(source("login", &["b"])),
            ProjectedSource::Rotating { paths: vec!["token".into()] },
        ])
    };
    assert_eq!(one(&of("b", projected())), "app login subpath never frozen-subpath");
    assert_eq!(lines(&of("token", projected())), [""; 0]);
    assert_eq!(one(&of("c", projected())), "app settings subpath never empty-subpath");
}

#[test]
fn a_command_line_takes_only_what_can_be_a_key() {
    let source =
        |key: &str| EnvironmentSource::new(ObjectKind::ConfigMap, "settings".into(), Some(key.into()));
    let whole = EnvironmentSource::new(ObjectKind::ConfigMap, "settings".into(), None);
    let with = |key: &str, keys: Option<(&[&str], &[&str])>| {
        let app = Container {
            environment: vec![whole.clone()],
            arguments: vec![source(key)],
            ..regular("app", &[])
        };
        let set = |names: &[&str]| names.iter().map(|name| Name::from(*name)).collect::<BTreeSet<_>>();
        let sets = keys.map(|(all, binary)| (set(all), set(binary)));
        let keys = sets.as_ref().map(|(all, binary)| Keys { all, binary });
        let spec = pod(&[], vec![app], Vec::new());
        let known = |_: ObjectKind, _: &Name| Known { keys, ..Known::default() };
        let all = references(&spec, &"shop".into(), Allowed::default(), known).all;
        let arguments = all.into_iter().filter(|reference| reference.way == Way::Arguments);
        arguments.map(|reference| reference.is_certain).collect::<Vec<_>>()
    };
    for key in ["", "date +%s", "cat /x", "(1 + 2", ".", "..", &"a".repeat(254)] {
        assert!(with(key, None).is_empty(), "{key}");
    }
    assert_eq!(with("date", None), [false]);
    assert_eq!(with("date", Some((&["LEVEL"], &[]))), [true; 0]);
    assert_eq!(with("date", Some((&["date"], &["date"]))), [true; 0]);
    assert_eq!(with("LEVEL", Some((&["LEVEL"], &[]))), [true]);
    let own =
        Container { environment: vec![source("x")], arguments: vec![source("x")], ..regular("app", &[]) };
    let all = references(&pod(&[], vec![own], Vec::new()), &"shop".into(), Allowed::default(), |_, _| {
        Known::default()
    });
    assert!(all.all.iter().all(|reference| reference.is_certain));
}

#[test]
fn keys_that_are_known_are_compared_so_often_only() {
    let volumes: Vec<Volume> = (0..20).map(|n| config_map(&format!("v{n}"), "settings", &[])).collect();
    let names: Vec<String> = (0..20).map(|n| format!("v{n}")).collect();
    let mounts: Vec<&str> = names.iter().map(String::as_str).collect();
    let spec = pod(&[(SIGNAL, "SIGHUP"), (KEYS, "*.conf")], vec![regular("app", &mounts)], volumes);
    let (all, binary) = ((0..1024).map(|n| Name::from(format!("{n}.txt"))).collect(), BTreeSet::new());
    let keys = Some(Keys { all: &all, binary: &binary });
    let found = lines_with(&spec, |_, _| Known { keys, ..Known::default() });
    assert_eq!(found.iter().filter(|line| line.ends_with("other-keys")).count(), 8);
    assert_eq!(
        found.iter().filter(|line| line.ends_with("told")).count(),
        12,
        "nothing is known of the rest"
    );
}
