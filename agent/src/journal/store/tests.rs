use reloadlet_core::model::journal::JournalUpdate;
use reloadlet_core::model::pod::{Item, ObjectSource, Phase, ProjectedSource, Replica, VolumeSource};
use serde_json::{Value, json};

use super::*;

const UID: &str = "0a1b2c3d-0000-4000-8000-000000000001";
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A pod as journals have had it since they have held pods.
fn record(path: &str) -> Value {
    json!({
        "uid": UID,
        "namespace": "shop",
        "name": "web",
        "annotations": {"reloadlet.io/signal": {"Text": "HUP"}, "reloadlet.io/debounce": {"NotText": "1"}},
        "containers": [{
            "name": "app",
            "kind": "Regular",
            "mounts": [{"volume": "conf", "sub_path": null}, {"volume": "all", "sub_path": path}],
            "environment": [{"kind": "Secret", "name": "s", "key": null}],
        }],
        "volumes": [
            {"name": "conf", "source": {"ConfigMap": {
                "name": "c", "items": [{"key": "k", "path": path}], "optional": false,
            }}},
            {"name": "all", "source": {"Projected": [{"Rotating": {"paths": [path]}}]}},
            {"name": "labels", "source": "DownwardApi"},
            {"name": "scratch", "source": "Other"},
        ],
        "status": {"app": ID},
        "runtime_class": "gvisor",
        "terminating": true,
    })
}

fn journal(pod: &Value) -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let (store, _, _) = Store::open(directory.path(), Some("this boot")).unwrap();
    store
        .write("fill", |transaction| {
            let json = pod.to_string();
            transaction.open_table(PODS)?.insert(UID, json.as_bytes()).map(drop)?;
            Ok(())
        })
        .unwrap();
    (directory, store)
}

#[test]
fn a_pod_of_an_older_journal_is_read_and_its_paths_are_cleaned() {
    let (_directory, store) = journal(&record("./etc//app"));
    let pod = store.records().unwrap().pods.into_values().next().unwrap();
    assert_eq!((pod.uid.as_str(), &*pod.namespace, &*pod.name), (UID, "shop", "web"));
    assert_eq!((pod.terminating, pod.status.len(), pod.spec.annotations.len()), (true, 1, 2));
    assert_eq!((pod.spec.runtime_class.as_deref(), pod.spec.excess), (Some("gvisor"), None));
    let item = Item { key: "k".into(), path: "etc/app".into() };
    let source = ObjectSource { name: "c".into(), items: vec![item], optional: false };
    let rotating = ProjectedSource::Rotating { paths: vec!["etc/app".into()] };
    let sources: Vec<_> = pod.spec.volumes.iter().map(|volume| volume.source.clone()).collect();
    let expected = [
        VolumeSource::ConfigMap(source),
        VolumeSource::Projected(vec![rotating]),
        VolumeSource::DownwardApi,
        VolumeSource::Other,
    ];
    assert_eq!(sources, expected);
    let mounts = &pod.spec.containers[0].mounts;
    assert_eq!(mounts[1].sub_path.as_ref().map(|path| path.as_str()), Some("etc/app"));
}

#[test]
fn a_pod_is_written_as_older_versions_read_it() {
    let (_directory, store) = journal(&record("etc/app"));
    let pod = store.records().unwrap().pods.into_values().next().unwrap();
    assert_eq!(serde_json::to_value(&*pod).unwrap(), record("etc/app"));
    let left_out = serde_json::to_value(pod.left_out(Excess::Node)).unwrap();
    assert_eq!(left_out["excess"], json!("Node"));
    let (_directory, store) = journal(&left_out);
    assert_eq!(store.records().unwrap().pods.into_values().next().unwrap().spec.excess, Some(Excess::Node));
}

#[test]
fn whose_replica_a_pod_is_is_recorded_and_how_far_its_containers_are_isnt() {
    let (_directory, mut store) = journal(&record("etc/app"));
    let pod = store.records().unwrap().pods.into_values().next().unwrap();
    let replica =
        Replica { kind: "Set".into(), name: "web".into(), uid: "1".into(), template: Some("a".into()) };
    let phase = Phase { started: Some(false), ready: Some(false), killed: None };
    let seen =
        Pod { replica: Some(replica.clone()), phases: [("app".into(), phase)].into(), ..(*pod).clone() };
    let mut changes = Changes::default();
    changes.add(JournalUpdate::Pod(Arc::new(seen)));
    store.commit(&changes, "", 1).unwrap();
    let known = store.records().unwrap().pods.into_values().next().unwrap();
    assert_eq!((known.replica.clone(), known.phases.len()), (Some(replica), 0));
}
