use super::*;
use crate::model::pod::{AnnotationValue, Csi, Item, ObjectSource, ProjectedSource, VolumeMount};
use crate::policy::annotations::{KEYS, SIGNAL, VOLUMES};

mod judged;

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

fn source(name: &str, keys: &[&str]) -> ObjectSource {
    let items = keys.iter().map(|key| Item { key: (*key).into(), path: (*key).into() }).collect();
    ObjectSource { name: name.into(), items, optional: false }
}

fn config_map(volume: &str, name: &str, keys: &[&str]) -> Volume {
    Volume { name: volume.into(), source: VolumeSource::ConfigMap(source(name, keys)), csi: None }
}

fn pod(annotations: &[(&str, &str)], containers: Vec<Container>, volumes: Vec<Volume>) -> PodSpec {
    let text = |(key, text): &(&str, &str)| (String::from(*key), AnnotationValue::Text(String::from(*text)));
    let annotations = annotations.iter().map(text).collect();
    PodSpec { annotations, containers, volumes, ..PodSpec::default() }
}

/// `app settings directory signal told` for each reference.
fn lines_if(spec: &PodSpec, rolls: impl Fn(ObjectKind, &Name) -> bool) -> Vec<String> {
    lines_with(spec, |kind, name| Known { rolls: rolls(kind, name), ..Known::default() })
}

/// The same, with what is known of objects.
fn lines_with<'k>(spec: &PodSpec, known: impl Fn(ObjectKind, &Name) -> Known<'k>) -> Vec<String> {
    let line = |reference: Reference| {
        let effect = match reference.effect {
            Effect::Signal(signal) => signal.to_string(),
            Effect::Http(request) => request.to_string(),
            Effect::Itself => "itself".into(),
            Effect::Roll => "roll".into(),
            Effect::Restart => "restart".into(),
            Effect::Never => "never".into(),
        };
        let whose = reference.container.as_deref().unwrap_or("-");
        let (way, why) = (reference.way.as_str(), reference.why.as_str());
        format!("{whose} {} {way} {effect} {why}", reference.subject.name())
    };
    references(spec, &"shop".into(), Allowed::default(), known).all.into_iter().map(line).collect()
}

fn lines(spec: &PodSpec) -> Vec<String> {
    lines_with(spec, |_, _| Known::default())
}

fn one(spec: &PodSpec) -> String {
    let [line] = lines(spec).try_into().unwrap();
    line
}

#[test]
fn a_directory_is_told_of_as_the_pod_says() {
    let simple = |annotations| {
        pod(annotations, vec![regular("app", &["config"])], vec![config_map("config", "settings", &[])])
    };
    assert_eq!(one(&simple(&[])), "app settings directory never unasked");
    assert_eq!(one(&simple(&[(SIGNAL, "SIGHUP")])), "app settings directory SIGHUP told");
    assert_eq!(one(&simple(&[(SIGNAL, "none")])), "app settings directory itself watches");
    assert_eq!(one(&simple(&[(SIGNAL, "SIGKILL")])), "app settings directory never problem");
}

#[test]
fn what_is_taken_at_the_start_never_changes() {
    let environment =
        |kind, name: &str, key: Option<&str>| EnvironmentSource::new(kind, name.into(), key.map(Name::from));
    let sources = vec![
        environment(ObjectKind::ConfigMap, "settings", Some("LEVEL")),
        environment(ObjectKind::Secret, "login", None),
    ];
    let app = Container { environment: sources.clone(), ..regular("app", &["config/", "config"]) };
    let init =
        Container { environment: sources, ..container("init", ContainerKind::Init, &["config", "config/"]) };
    let spec = pod(&[(SIGNAL, "SIGHUP")], vec![app, init], vec![config_map("config", "settings", &[])]);
    let expected = [
        "app settings env never frozen-env",
        "app login envfrom never frozen-env",
        "app settings subpath never frozen-subpath",
        "app settings directory SIGHUP told",
        "init settings env never init-container",
        "init login envfrom never init-container",
        "init settings directory never init-container",
        "init settings subpath never init-container",
    ];
    assert_eq!(lines(&spec), expected);
    let rolled = lines_if(&spec, |kind, name| kind == ObjectKind::Secret && **name == *"login");
    assert_eq!(rolled[1], "app login envfrom roll frozen-env");
    assert_eq!(rolled[5], "init login envfrom roll init-container");
    let kept =
        |lines: &[String]| lines.iter().filter(|line| !line.contains("login")).cloned().collect::<Vec<_>>();
    assert_eq!(kept(&rolled), kept(&lines(&spec)), "others aren't");
}

#[test]
fn what_is_told_isnt_rolled_and_what_nobody_mounts_neither() {
    let volumes = vec![config_map("config", "settings", &[]), config_map("spare", "settings", &[])];
    let spec = pod(&[(SIGNAL, "SIGHUP")], vec![regular("app", &["config"])], volumes);
    let expected = ["app settings directory SIGHUP told", "- settings unmounted never unmounted"];
    assert_eq!(lines_if(&spec, |_, _| true), expected);
    let watches = pod(
        &[(SIGNAL, "none")],
        vec![regular("app", &["config"])],
        vec![config_map("config", "settings", &[])],
    );
    assert_eq!(lines_if(&watches, |_, _| true), ["app settings directory itself watches"]);
}

#[test]
fn containers_that_arent_told_say_why() {
    let containers = vec![
        regular("app", &["config"]),
        regular("other", &["config"]),
        container("mesh", ContainerKind::Sidecar, &["config"]),
    ];
    let annotations = [(SIGNAL, "SIGHUP"), ("reloadlet.io/container", "app")];
    let spec = pod(&annotations, containers, vec![config_map("config", "settings", &[])]);
    let expected = [
        "app settings directory SIGHUP told",
        "other settings directory never other-container",
        "mesh settings directory never sidecar",
    ];
    assert_eq!(lines(&spec), expected);
}

#[test]
fn volumes_and_files_that_dont_count_say_why() {
    let volumes =
        || vec![config_map("config", "settings", &["a.conf"]), config_map("more", "more", &["b.txt"])];
    let app = || vec![regular("app", &["config", "more"])];
    let named = pod(&[(SIGNAL, "SIGHUP"), (VOLUMES, "config")], app(), volumes());
    assert_eq!(
        lines(&named),
        ["app settings directory SIGHUP told", "app more directory never other-volume"]
    );
    let keys = pod(&[(SIGNAL, "SIGHUP"), (KEYS, "*.conf")], app(), volumes());
    assert_eq!(lines(&keys), ["app settings directory SIGHUP told", "app more directory never other-keys"]);
    let all = vec![config_map("config", "settings", &[])];
    let unknown = pod(&[(SIGNAL, "SIGHUP"), (KEYS, "*.conf")], vec![regular("app", &["config"])], all);
    assert_eq!(one(&unknown), "app settings directory SIGHUP told", "which keys it has isn't in the spec");
}

#[test]
fn the_clusters_certificates_count_only_where_they_are_named() {
    let projected = |name: &str, keys: &[&str]| ProjectedSource::ConfigMap(source(name, keys));
    let volumes = || {
        let sources = vec![projected("kube-root-ca.crt", &["ca.crt"]), projected("settings", &[])];
        vec![
            Volume { name: "mixed".into(), source: VolumeSource::Projected(sources), csi: None },
            config_map("ca", "kube-root-ca.crt", &[]),
        ]
    };
    let app = || vec![regular("app", &["mixed", "ca"])];
    let expected = [
        "app kube-root-ca.crt projected never cluster-object",
        "app settings projected SIGHUP told",
        "app kube-root-ca.crt directory never cluster-object",
    ];
    assert_eq!(lines(&pod(&[(SIGNAL, "SIGHUP")], app(), volumes())), expected);
    let named = pod(&[(SIGNAL, "SIGHUP"), (VOLUMES, "mixed,ca")], app(), volumes());
    assert!(lines(&named).iter().all(|line| line.ends_with("SIGHUP told")), "{:?}", lines(&named));
}

#[test]
fn each_reference_reads_as_a_sentence_with_what_would_change_it() {
    let app = Container {
        environment: vec![EnvironmentSource::new(ObjectKind::Secret, "login".into(), Some("TOKEN".into()))],
        ..regular("app", &["config"])
    };
    let volumes = vec![config_map("config", "settings", &["a", "b"]), config_map("spare", "old", &[])];
    let all = references(&pod(&[], vec![app], volumes), &"shop".into(), Allowed::default(), |_, _| {
        Known::default()
    })
    .all;
    let said: Vec<(String, String)> =
        all.iter().map(|one| (one.to_string(), one.remedy().unwrap_or_default())).collect();
    let expected = [
        (
            "container \"app\" takes into its environment Secret \"login\" (key \"TOKEN\"): an environment stays as it was when the \
             container started",
            "mount it as a directory and let the program read the files, or roll the workload",
        ),
        (
            "container \"app\" mounts ConfigMap \"settings\" (keys \"a\" and \"b\"): its files change, and nobody says how the program \
             comes to load them",
            "reloadlet.io/signal: the signal at which the program loads its files, or none if it watches them itself; or \
             reloadlet.io/http: the request at which it does",
        ),
        (
            "volume \"spare\" has ConfigMap \"old\": no container mounts it",
            "mount the volume, or take it away",
        ),
    ];
    assert_eq!(said, expected.map(|(sentence, remedy)| (sentence.to_owned(), remedy.to_owned())));
    let told = pod(
        &[(SIGNAL, "SIGHUP")],
        vec![regular("app", &["config"])],
        vec![config_map("config", "settings", &[])],
    );
    let [one] = references(&told, &"shop".into(), Allowed::default(), |_, _| Known::default())
        .all
        .try_into()
        .unwrap();
    assert_eq!(
        one.to_string(),
        "container \"app\" mounts ConfigMap \"settings\": a change is told by SIGHUP"
    );
    assert_eq!(one.remedy(), None);
}

#[test]
fn a_pod_with_very_many_references_has_a_bound() {
    let volumes: Vec<Volume> = (0..300).map(|n| config_map(&format!("v{n}"), "settings", &[])).collect();
    let names: Vec<String> = (0..300).map(|n| format!("v{n}")).collect();
    let mounts: Vec<&str> = names.iter().map(String::as_str).collect();
    let containers = (0..100).map(|n| regular(&format!("c{n}"), &mounts)).collect();
    assert_eq!(lines(&pod(&[], containers, volumes)).len(), MOST);
}

#[test]
fn few_mounts_of_few_sources_make_no_more_references_than_that() {
    let sources = (0..3_000).map(|n| ProjectedSource::Secret(source(&format!("s{n}"), &[]))).collect();
    let volume = Volume { name: "v".into(), source: VolumeSource::Projected(sources), csi: None };
    // Nine million of them would take more than a gigabyte.
    let spec = pod(&[], vec![regular("app", &vec!["v"; 3_000])], vec![volume]);
    assert_eq!(lines(&spec).len(), MOST);
}

#[test]
fn a_drivers_volume_is_told_of_like_a_secret_unless_the_pod_may_write_into_it() {
    let csi = |volume: &str, class: Option<&str>, read_only| Volume {
        name: volume.into(),
        source: VolumeSource::Other,
        csi: Some(Csi { driver: "csi.example.org".into(), class: class.map(Name::from), read_only }),
    };
    let volumes =
        || vec![csi("vault", Some("login"), true), csi("spiffe", None, true), csi("open", None, false)];
    let app = || vec![regular("app", &["vault", "spiffe/", "open"])];
    let spec = pod(&[(SIGNAL, "SIGHUP")], app(), volumes());
    let expected = [
        "app login csi SIGHUP told",
        "app csi.example.org subpath never frozen-subpath",
        "app csi.example.org csi never csi-writable",
    ];
    assert_eq!(lines(&spec), expected);
    let all = references(&spec, &"shop".into(), Allowed::default(), |_, _| Known {
        rolls: true,
        ..Known::default()
    })
    .all;
    assert_eq!(all[0].subject, Subject::Class("login".into()));
    assert_eq!(all[1].effect, Effect::Never, "a driver's contents are no object that could roll it");
    let named = pod(&[(SIGNAL, "SIGHUP"), (VOLUMES, "vault")], app(), volumes());
    assert_eq!(lines(&named)[0], expected[0]);
    assert_eq!(
        all[0].to_string(),
        "container \"app\" mounts SecretProviderClass \"login\": a change is told by SIGHUP"
    );
}

#[test]
fn a_command_line_is_as_old_as_the_environment_that_it_takes() {
    let level = EnvironmentSource::new(ObjectKind::ConfigMap, "settings".into(), Some("LEVEL".into()));
    let app = Container { environment: vec![level.clone()], arguments: vec![level], ..regular("app", &[]) };
    let spec = pod(&[], vec![app], Vec::new());
    assert_eq!(lines(&spec), ["app settings env never frozen-env", "app settings args never frozen-args"]);
    assert_eq!(frozen(&spec).len(), 1, "it is the same key");
}

#[test]
fn an_ephemeral_container_is_never_told() {
    let debug = Container {
        environment: vec![EnvironmentSource::new(ObjectKind::Secret, "login".into(), None)],
        ..container("debug", ContainerKind::Ephemeral, &["config"])
    };
    let spec = |annotations| {
        pod(
            annotations,
            vec![regular("app", &["config"]), debug.clone()],
            vec![config_map("config", "a", &[])],
        )
    };
    for annotations in [&[(SIGNAL, "SIGHUP")][..], &[], &[(SIGNAL, "SIGKILL")]] {
        let all = lines(&spec(annotations));
        assert_eq!(
            all[1..],
            ["debug login envfrom never frozen-env", "debug a directory never ephemeral-container"]
        );
    }
    let named = spec(&[(SIGNAL, "SIGHUP"), ("reloadlet.io/container", "debug")]);
    assert_eq!(lines(&named)[0], "app a directory never problem");
}

#[test]
fn a_mount_of_a_path_uses_the_keys_that_it_shows() {
    let mount = |path: &str| VolumeMount { volume: "config".into(), sub_path: Some(path.into()) };
    let app = |path: &str| Container { mounts: vec![mount(path)], ..regular("app", &[]) };
    let keys = |path: &str, items: &[&str]| {
        let spec = pod(&[], vec![app(path)], vec![config_map("config", "settings", items)]);
        let all = references(&spec, &"shop".into(), Allowed::default(), |_, _| Known::default()).all;
        all.iter()
            .map(|one| one.part.keys().into_iter().map(Name::to_string).collect())
            .collect::<Vec<Vec<_>>>()
    };
    assert_eq!(keys("a", &["a", "b"]), [["a"]]);
    assert_eq!(keys("c", &["a", "b"]), [[""; 0]], "it shows nothing");
    assert_eq!(keys(".", &[]), [[""; 0]], "it shows everything");
    assert_eq!(keys("./", &["a", "b"]), [["a", "b"]]);
    assert_eq!(keys("a", &[]), [["a"]]);
    assert_eq!(keys("$(NAME)", &["a", "b"]), [["a", "b"]]);
}

#[test]
fn the_items_of_its_volumes_count_at_each_mount() {
    let keys: Vec<String> = (0..1_000).map(|n| format!("k{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let spec = pod(&[], vec![regular("app", &["config"; 10])], vec![config_map("config", "settings", &keys)]);
    let found = references(&spec, &"shop".into(), Allowed::default(), |_, _| Known::default());
    assert_eq!((found.all.len(), found.is_cut), (4, true));
    let few = pod(&[], vec![regular("app", &["config"; 4])], vec![config_map("config", "settings", &keys)]);
    assert!(!references(&few, &"shop".into(), Allowed::default(), |_, _| Known::default()).is_cut);
}

#[test]
fn what_objects_say_of_themselves_counts() {
    let environment = vec![EnvironmentSource::new(ObjectKind::ConfigMap, "settings".into(), None)];
    let app = Container { environment, ..regular("app", &["config", "config/"]) };
    let spec =
        |signal| pod(&[(SIGNAL, signal)], vec![app.clone()], vec![config_map("config", "settings", &[])]);
    let immutable = |_: ObjectKind, _: &Name| Known { rolls: true, immutable: true, ..Known::default() };
    let never = ["envfrom", "directory", "subpath"].map(|way| format!("app settings {way} never immutable"));
    for signal in ["SIGHUP", "none", "SIGKILL"] {
        assert_eq!(lines_with(&spec(signal), immutable), never, "{signal}");
    }
    let ignored = |_: ObjectKind, _: &Name| Known { rolls: true, ignored: true, ..Known::default() };
    assert_eq!(lines_with(&spec("SIGHUP"), ignored)[1], "app settings directory never ignored");
    assert_eq!(lines_with(&spec("none"), ignored)[1], "app settings directory itself watches");
    assert_eq!(lines_with(&spec("none"), ignored)[0], "app settings envfrom never frozen-env");
}
