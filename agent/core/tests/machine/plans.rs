//! Pods whose annotations change while they run: what their containers took is known of the pieces that were followed then.

use std::sync::Arc;

use reloadlet_core::machine::event::Report;
use reloadlet_core::machine::status::StaleReason;
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::frozen::Way;
use reloadlet_core::model::object::{ObjectVersion, Updated};
use reloadlet_core::model::pod::{AnnotationValue, Item, ObjectSource, Pod, VolumeSource};

use crate::measuring::{asked, measured, object, show, stale, version};
use crate::node::{at, pod};
use crate::world::World;

/// A pod that is to get everything and that nobody rolls. Of one ConfigMap it has the key `a` in a volume of that name, and `b` in another
/// one; it is told of the volumes that are `told`.
fn parted(told: &str) -> Pod {
    let annotations =
        [("reloadlet.io/rollout", "true"), ("reloadlet.io/signal", "SIGHUP"), ("reloadlet.io/volumes", told)];
    let mut pod = pod(1, &annotations, &[("app", &["config", "a", "b"])], &["config", "a", "b"]);
    for volume in &mut pod.spec.volumes[1..] {
        let key = volume.name.clone();
        let items = vec![Item { path: (&*key).into(), key }];
        volume.source =
            VolumeSource::ConfigMap(ObjectSource { name: "levels".into(), items, optional: false });
    }
    pod.unrolled = true;
    pod
}

/// Version n of that ConfigMap, with these contents, written at that time. It was made long before the container started.
fn levels(n: u32, [a, b]: [u8; 2], time: u64) -> ObjectVersion {
    let keys = [("a", a), ("b", b)].map(|(key, content)| (key.into(), Digest::new([content; 32])));
    let updated = Updated {
        written: at(time),
        between: Some((at(time), at(time + 1_000))),
        made: Some((at(0), at(0))),
    };
    ObjectVersion { keys: Arc::new(keys.into()), updated: Some(updated), ..version(n, 0) }
}

/// The pod's annotation is changed, and the API server shows the object as it is.
fn tell(world: &mut World, told: &str, levels: &ObjectVersion) {
    let value = AnnotationValue::Text(told.to_owned());
    world.pods[0].spec.annotations.insert("reloadlet.io/volumes".to_owned(), value);
    world.sync();
    show(world, "config", version(1, 1));
    show(world, "levels", levels.clone());
    world.pass(5_000);
}

fn reasons(world: &World) -> Vec<StaleReason> {
    stale(world).into_iter().map(|(reason, _)| reason).collect()
}

/// Of what it was said for certain that only a restart brings it.
fn certain(world: &World) -> Vec<String> {
    let of = |report: &Report| {
        if let Report::NeedsRestart { version, way: Way::Files, is_certain: true, .. } = report {
            Some(version.to_string())
        } else {
            None
        }
    };
    world.reports().filter_map(of).collect()
}

#[test]
fn what_has_changed_of_volumes_that_a_pod_isnt_told_of_is_said_of_no_others_when_it_asks_for_others() {
    let mut world = measured(vec![parted("config")]);
    assert!(asked(&world).0.contains(&object("levels")));
    show(&mut world, "levels", levels(1, [1, 1], 1_000));
    world.pass(10_000);
    let newer = levels(2, [2, 1], 115_000);
    show(&mut world, "levels", newer.clone());
    world.pass(5_000);
    assert_eq!((reasons(&world), certain(&world)), (vec![StaleReason::Files], vec!["2".to_owned()]));
    // Of what is left nothing has changed; but an agent that has followed both doesn't know.
    tell(&mut world, "config,a", &newer);
    assert_eq!(reasons(&world), [StaleReason::Unsure]);
    world.start_agent();
    tell(&mut world, "config,a", &newer);
    assert_eq!((reasons(&world), certain(&world).len()), (vec![StaleReason::Unsure], 1));
    // What was known of both is known of both.
    tell(&mut world, "config", &newer);
    assert_eq!(reasons(&world), [StaleReason::Files]);
    assert!(certain(&world).iter().all(|version| version == "2"));
}

#[test]
fn what_has_changed_of_a_volume_that_wasnt_followed_isnt_taken_for_the_same() {
    let mut world = measured(vec![parted("config,a")]);
    show(&mut world, "levels", levels(1, [1, 1], 1_000));
    world.pass(10_000);
    let newer = levels(2, [2, 1], 115_000);
    show(&mut world, "levels", newer.clone());
    world.pass(5_000);
    assert_eq!((reasons(&world).contains(&StaleReason::Files), certain(&world)), (false, vec![]));
    tell(&mut world, "config", &newer);
    assert_eq!(reasons(&world), [StaleReason::Unsure]);
}
