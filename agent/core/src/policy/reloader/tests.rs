//! The rows of `table.tsv`, as far as annotations and references decide: what Reloader v1.4.21 does, by its public sources.

use super::*;
use crate::model::names::Name;
use crate::model::object::ObjectKind;
use crate::model::pod::{
    Container, ContainerKind, EnvironmentSource, ObjectSource, PodSpec, ProjectedSource, Volume, VolumeMount,
    VolumeSource,
};

/// One row.
struct Row<'a> {
    id: &'a str,
    area: &'a str,
    workload: Annotations,
    template: Annotations,
    object: &'a str,
    marks: Annotations,
    consumer: &'a str,
    flags: &'a str,
    reloader: &'a str,
    ours: &'a str,
}

/// Rows about something else than annotations and references: kinds of workloads, changes, states, other flags, drivers.
const OTHER: [&str; 9] =
    ["kind", "csi", "change", "lifecycle", "state", "flags", "naming", "mixed", "pause-period"];

fn rows() -> Vec<Row<'static>> {
    let lines = include_str!("table.tsv").lines().skip(1);
    let all = lines.map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, area, _kind, workload, template, object, marks, consumer, _change, flags, reloader, ours] =
            columns[..]
        else {
            panic!("{line}")
        };
        let (workload, template, marks) = (annotations(workload), annotations(template), annotations(marks));
        Row { id, area, workload, template, object, marks, consumer, flags, reloader, ours }
    });
    all.filter(|row| !OTHER.contains(&row.area)).collect()
}

fn annotations(text: &str) -> Annotations {
    let each = text.split("; ").filter_map(|one| one.split_once('='));
    each.map(|(key, value)| {
        let value = value.replace("(empty)", "").replace("(space)", " ");
        (key.trim().to_owned(), AnnotationValue::Text(value))
    })
    .collect()
}

fn environment(kind: ObjectKind, name: &str) -> EnvironmentSource {
    EnvironmentSource::new(kind, name.into(), None)
}

fn container(
    name: &str,
    kind: ContainerKind,
    volumes: &[&str],
    sources: Vec<EnvironmentSource>,
) -> Container {
    let mount = |volume: &&str| VolumeMount { volume: (*volume).into(), sub_path: None };
    Container {
        name: name.into(),
        kind,
        mounts: volumes.iter().map(mount).collect(),
        environment: sources,
        ..Container::default()
    }
}

fn source(name: &str) -> ObjectSource {
    ObjectSource { name: name.into(), ..ObjectSource::default() }
}

/// What a row says of the use of an object of this kind and name.
fn spec(consumer: &str, kind: ObjectKind, name: &str) -> PodSpec {
    let regular = ContainerKind::Regular;
    let app = |volumes: &[&str], sources| container("app", regular, volumes, sources);
    let of = |source: ObjectSource| match kind {
        ObjectKind::ConfigMap => VolumeSource::ConfigMap(source),
        ObjectKind::Secret => VolumeSource::Secret(source),
    };
    let projected = |source: ObjectSource| match kind {
        ObjectKind::ConfigMap => ProjectedSource::ConfigMap(source),
        ObjectKind::Secret => ProjectedSource::Secret(source),
    };
    let volume = |name: &str, source| Volume { name: name.into(), source, csi: None };
    let own = || environment(kind, name);
    let (containers, volumes) = match consumer {
        "env.valueFrom key=a"
        | "envFrom.configMapRef"
        | "envFrom.configMapRef optional=true"
        | "envFrom.secretRef" => (vec![app(&[], vec![own()])], vec![]),
        "none" | "no CSI volume" | "serviceAccount secrets" | "ephemeral container: envFrom" => {
            (vec![app(&[], vec![])], vec![])
        }
        "volume secret, directory mount"
        | "volume configMap, directory mount"
        | "volume configMap, directory mount; template reloadlet.io/signal=HUP"
        | "volume configMap items=[a], directory mount"
        | "volume configMap, subPath mount of key a" => {
            (vec![app(&["v"], vec![])], vec![volume("v", of(source(name)))])
        }
        "volume projected [secret]"
        | "volume projected [configMap app]"
        | "volume projected [configMap app, secret cred]" => (
            vec![app(&["v"], vec![])],
            vec![volume("v", VolumeSource::Projected(vec![projected(source(name))]))],
        ),
        "volume configMap declared but mounted by no container" => {
            (vec![app(&[], vec![])], vec![volume("v", of(source(name)))])
        }
        "two volumes of app: vol1 mounted by nobody, vol2 mounted" => (
            vec![app(&["vol2"], vec![])],
            vec![volume("vol1", of(source(name))), volume("vol2", of(source(name)))],
        ),
        "init container: envFrom" => {
            (vec![container("init", ContainerKind::Init, &[], vec![own()]), app(&[], vec![])], vec![])
        }
        "native sidecar (initContainer restartPolicy=Always): envFrom" => {
            (vec![container("side", ContainerKind::Sidecar, &[], vec![own()]), app(&[], vec![])], vec![])
        }
        "two containers use app (env)" => {
            (vec![app(&[], vec![own()]), container("second", regular, &[], vec![own()])], vec![])
        }
        "used by container 1 (app) and container 2 (other CM)" => {
            let other = environment(ObjectKind::ConfigMap, "other");
            (
                vec![container("first", regular, &[], vec![environment(kind, "app")]), app(&[], vec![other])],
                vec![],
            )
        }
        other => panic!("a consumer that no test knows: {other}"),
    };
    PodSpec { containers, volumes, ..PodSpec::default() }
}

/// The type and the name of the object that changes.
fn object(row: &Row<'_>) -> (ObjectKind, &'static str) {
    match row.object {
        "ConfigMap/app" if row.consumer.contains("other CM") => (ObjectKind::ConfigMap, "other"),
        "ConfigMap/app" => (ObjectKind::ConfigMap, "app"),
        "ConfigMap/other" => (ObjectKind::ConfigMap, "other"),
        "ConfigMap/foo-settings" => (ObjectKind::ConfigMap, "foo-settings"),
        "ConfigMap/toolbar" => (ObjectKind::ConfigMap, "toolbar"),
        "ConfigMap/bar" => (ObjectKind::ConfigMap, "bar"),
        "ConfigMap/foo" => (ObjectKind::ConfigMap, "foo"),
        "ConfigMap/aa" => (ObjectKind::ConfigMap, "aa"),
        "Secret/cred" => (ObjectKind::Secret, "cred"),
        "Secret/other" => (ObjectKind::Secret, "other"),
        other => panic!("an object that no test knows: {other}"),
    }
}

fn rolls(row: &Row<'_>, rules: Rules) -> bool {
    let (kind, name) = object(row);
    let asking = Asking::new(&row.workload, &row.template);
    let spec = spec(row.consumer, kind, name);
    let decision = asking.decide(kind.into(), name, Marks::of(&row.marks), rules);
    decision.rolls(consumer(&spec, kind, name).is_some())
}

#[test]
fn reloader_does_what_the_table_says() {
    let mut count = 0;
    // An object of another namespace is another object: nobody asks about it.
    for row in rows().iter().filter(|row| !row.object.contains("another namespace")) {
        let auto_reload_all = row.flags == "--auto-reload-all=true";
        let expected = match row.reloader {
            text if text.starts_with("roll") => true,
            text if text.starts_with("none") => false,
            other => panic!("{}: {other}", row.id),
        };
        assert_eq!(rolls(row, Rules::Reloader { auto_reload_all }), expected, "{}", row.id);
        count += 1;
    }
    assert!(count > 70, "{count}");
}

#[test]
fn our_rules_differ_where_the_table_says_so() {
    // What is told in place, what only keys decide, volumes that are counted anew, and flags that reloadlet doesn't have.
    let elsewhere = ["R025", "R026", "R027", "R029", "R030", "R036", "R129"];
    for row in
        rows().iter().filter(|row| !row.object.contains("another namespace") && !elsewhere.contains(&row.id))
    {
        let expected = match row.ours {
            text if text.starts_with("roll") => true,
            text if text.starts_with("none") => false,
            other => panic!("{}: {other}", row.id),
        };
        assert_eq!(rolls(row, Rules::Ours), expected, "{}", row.id);
    }
}

#[test]
fn what_the_table_remarks_is_remarked_and_nothing_else() {
    // Of what these have the table says nothing where it doesn't decide.
    let besides = ["R080", "R084", "R112", "R113", "R132"];
    for row in rows() {
        let mut all = remarks(&Asking::new(&row.workload, &row.template));
        all.extend(remarks_of_object(&row.marks));
        let is_expected = row.ours.contains("warning") || row.ours.contains("problem");
        assert_eq!(!all.is_empty(), is_expected || besides.contains(&row.id), "{}: {all:?}", row.id);
    }
}

#[test]
fn the_container_is_the_one_that_reloader_changes() {
    let name_of = |text: &str| {
        consumer(&spec(text, ObjectKind::ConfigMap, "app"), ObjectKind::ConfigMap, "app").cloned()
    };
    assert_eq!(name_of("two containers use app (env)"), Some(Name::from("app")));
    assert_eq!(
        name_of("init container: envFrom"),
        Some(Name::from("app")),
        "the first regular one stands for it"
    );
    assert_eq!(name_of("two volumes of app: vol1 mounted by nobody, vol2 mounted"), None);
    assert_eq!(name_of("none"), None);
    let secret = spec("envFrom.secretRef", ObjectKind::Secret, "app");
    assert_eq!(
        consumer(&secret, ObjectKind::ConfigMap, "app"),
        None,
        "a Secret of that name is another object"
    );
}

#[test]
fn keys_of_reloader_are_told_from_others() {
    for key in
        [AUTO, PAUSE_PERIOD, ObjectType::Secret.exclude_key(), "reloader.stakater.com/last-reloaded-from"]
    {
        assert!(is_relevant(key), "{key}");
    }
    for key in [
        "reloadlet.io/signal",
        "xreloader.stakater.com/auto",
        "stakater.com/auto",
        "reloader.stakater.com.evil/auto",
    ] {
        assert!(!is_relevant(key), "{key}");
    }
}

#[test]
fn of_a_very_long_list_only_so_many_items_are_looked_at_and_that_is_said() {
    let names: Vec<String> = (0..=MOST_ITEMS).map(|n| format!("app-{n}")).collect();
    let workload = annotations(&format!("configmap.reloader.stakater.com/reload={}", names.join(",")));
    let template = Annotations::new();
    let asking = Asking::new(&workload, &template);
    let decide = |name: &str| asking.decide(ObjectType::ConfigMap, name, Marks::default(), Rules::Ours);
    assert_eq!(
        (decide(&names[MOST_ITEMS - 1]), decide(&names[MOST_ITEMS])),
        (Decision::Named, Decision::Unasked)
    );
    let [remark] = remarks(&asking).try_into().unwrap();
    assert!(
        remark.sentence.ends_with("has 257 items: the first 256 are looked at here, and by Reloader all"),
        "{remark:?}"
    );
}
