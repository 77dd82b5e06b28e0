//! What the status says that a container holds, and what of it isn't known.

use std::collections::BTreeSet;

use reloadlet_core::Event;
use reloadlet_core::machine::event::{Delivery, Report};
use reloadlet_core::machine::status::{StaleReason, ToldStatus};
use reloadlet_core::model::closed::Closed as _;
use reloadlet_core::model::frozen::Way;
use reloadlet_core::model::names::ContainerId;
use reloadlet_core::model::object::{ObjectKind, ObjectVersion, Observed, Updated};
use reloadlet_core::model::pod::{EnvironmentSource, ObjectSource, Pod, Volume, VolumeMount, VolumeSource};

use crate::measuring::{measured, object, show, version};
use crate::node::{at, generation, uid};
use crate::world::{World, app, config};

fn told(world: &World) -> ToldStatus {
    world.machine.status(world.now)[0].containers[0].volumes[0].clone()
}

pub(crate) fn holds(world: &World) -> Option<String> {
    told(world).holds.map(|name| String::from(&*name))
}

pub(crate) fn stale(world: &World) -> Vec<StaleReason> {
    let pods = world.machine.status(world.now);
    let stale = pods.iter().flat_map(|pod| &pod.stale);
    stale.map(|stale| StaleReason::parse(stale.reason.as_str()).unwrap()).collect()
}

pub(crate) fn name_of(n: u32) -> Option<String> {
    Some(generation(n).as_str().to_owned())
}

#[test]
fn what_wasnt_delivered_isnt_what_a_container_holds() {
    for delivery in [Delivery::Failed("EIO"), Delivery::Denied] {
        let mut world = World::app(&[]);
        assert_eq!(holds(&world), name_of(1));
        world.delivery = delivery;
        world.publish(&config(), 2);
        assert_eq!((holds(&world), told(&world).handled.as_deref()), (name_of(1), name_of(2).as_deref()));
        world.start_agent();
        world.pass(1_000);
        assert_eq!(holds(&world), name_of(1), "the same after a restart of the agent");
        world.exit(1001);
        assert_eq!(holds(&world), None, "nothing runs that holds anything");
        world.start(&uid(1), "app");
        world.pass(5_000);
        assert_eq!(holds(&world), name_of(2), "it was there when it started");
    }
}

#[test]
fn what_is_held_back_or_finds_nobody_isnt_what_a_container_holds() {
    let mut held = World::app(&[]);
    for (n, pid) in [(2, 1001), (3, 1002)] {
        held.publish(&config(), n);
        held.pass(400);
        held.exit(pid);
        held.start(&uid(1), "app");
        held.pass(20_000);
    }
    held.publish(&config(), 4);
    held.pass(20_000);
    assert_eq!(holds(&held), name_of(3));

    let mut nobody = World::app(&[("reloadlet.io/process", "other")]);
    nobody.publish(&config(), 2);
    nobody.pass(60_000);
    assert_eq!(holds(&nobody), None, "who doesn't find it doesn't know when it started");
}

/// A pod whose status says that `app` runs in this container.
fn running(n: u32, annotations: &[(&str, &str)], id: &str) -> Pod {
    let mut pod = app(n, annotations);
    pod.status.insert("app".into(), ContainerId::parse(&id.repeat(64)).unwrap());
    pod
}

#[test]
fn a_container_that_runs_and_isnt_found_is_undelivered_and_says_what_was_looked_for() {
    let mut world = World::running(vec![running(1, &[], "e")]);
    world.node.pods.get_mut(&uid(1)).unwrap().containers.clear();
    world.start_agent();
    world.pass(60_000);
    assert_eq!(stale(&world), [StaleReason::Undelivered]);
    let missing = world.machine.status(world.now)[0].containers[0].missing.clone().unwrap();
    for part in [&"e".repeat(64)[..], uid(1).as_str(), "status says that it runs"] {
        assert!(missing.contains(part), "{missing}");
    }
    world.publish(&config(), 2);
    world.pass(60_000);
    assert_eq!(stale(&world), [StaleReason::Undelivered]);
    assert_eq!(holds(&world), None);
}

#[test]
fn a_status_that_is_older_than_the_end_of_its_container_says_nothing() {
    let mut world = World::app(&[]);
    let id = world.held.first().unwrap().container.clone();
    let mut pod = app(1, &[]);
    pod.status.insert("app".into(), id);
    world.pods = vec![pod];
    world.sync();
    world.pass(1_000);
    world.exit(1001);
    world.node.pods.get_mut(&uid(1)).unwrap().containers.clear();
    world.pass(60_000);
    assert_eq!(stale(&world), []);
}

#[test]
fn a_container_that_runs_and_whose_volume_isnt_there_is_undelivered() {
    for (runs, expected) in [(true, vec![StaleReason::Undelivered]), (false, vec![])] {
        let pod = if runs { running(1, &[], "e") } else { app(1, &[]) };
        let mut world = World::node(vec![pod]);
        let volume = world.node.volume(&config());
        (volume.dir, volume.current) = (None, None);
        world.start_agent();
        world.pass(60_000);
        assert_eq!(stale(&world), expected, "{runs}");
    }
}

/// Such a pod that also has a ConfigMap in its environment.
pub(crate) fn with_environment() -> World {
    let mut pod = app(1, &[]);
    let level = |key: &str| EnvironmentSource::new(ObjectKind::ConfigMap, "levels".into(), Some(key.into()));
    pod.spec.containers[0].environment = vec![level("key"), level("key")];
    let mut world = measured(vec![pod]);
    show(&mut world, "levels", version(1, 1));
    world.pass(10_000);
    world
}

fn restarts(world: &World) -> Vec<(String, Way)> {
    let of = |report: &Report| {
        if let Report::NeedsRestart { object, version, way, .. } = report {
            Some((format!("{object}@{version}"), *way))
        } else {
            None
        }
    };
    world.reports().filter_map(of).collect()
}

#[test]
fn that_only_a_restart_brings_a_change_is_said_once_for_each_version() {
    let levels = |n: u32| (format!("configmap shop/levels@{n}"), Way::Environment);
    let mut world = with_environment();
    for n in [2, 2, 3] {
        show(&mut world, "levels", version(n, u8::try_from(n).unwrap()));
        world.pass(1_000);
    }
    assert_eq!(restarts(&world), [levels(2), levels(3)]);
    // Nothing that the container took has changed.
    show(&mut world, "levels", version(4, 3));
    world.exit(1001);
    world.start(&uid(1), "app");
    world.pass(5_000);
    show(&mut world, "levels", version(5, 5));
    assert_eq!(restarts(&world), [levels(2), levels(3), levels(5)]);
}

#[test]
fn that_only_a_restart_brings_a_change_of_a_file_that_is_mounted_alone_is_said() {
    let mut pod = app(1, &[]);
    let mount = VolumeMount { volume: "files".into(), sub_path: Some("key".into()) };
    pod.spec.containers[0].mounts.push(mount);
    let source = ObjectSource { name: "files".into(), ..ObjectSource::default() };
    pod.spec.volumes.push(Volume {
        name: "files".into(),
        source: VolumeSource::ConfigMap(source),
        csi: None,
    });
    let mut world = measured(vec![pod]);
    show(&mut world, "files", version(1, 1));
    world.pass(10_000);
    for (n, content) in [(2, 2), (3, 3)] {
        show(&mut world, "files", version(n, content));
        world.pass(1_000);
    }
    let files = |n: u32| (format!("configmap shop/files@{n}"), Way::SubPath);
    assert_eq!(restarts(&world), [files(2), files(3)]);
}

#[test]
fn an_object_that_is_gone_is_no_reason_to_restart_before_and_after_a_restart_of_the_agent() {
    let mut world = with_environment();
    let absent = |world: &mut World| {
        let now = world.now;
        world.handle(Event::Observed(object("levels"), Observed::Absent, now));
        world.pass(1_000);
        let status = world.machine.status(world.now).remove(0);
        let gone = status.absent.iter().map(|absent| String::from(&*absent.object.name)).collect::<Vec<_>>();
        (stale(world), gone)
    };
    assert_eq!(absent(&mut world), (vec![], vec!["levels".to_owned()]));
    world.start_agent();
    show(&mut world, "config", version(1, 1));
    world.pass(5_000);
    assert_eq!(absent(&mut world), (vec![], vec!["levels".to_owned()]));
    assert_eq!(restarts(&world), []);
}

#[test]
fn what_a_container_took_at_its_start_is_judged_the_same_before_and_after_a_restart_of_the_agent() {
    let changed = |from, to| Updated {
        written: at(from),
        between: Some((at(from), at(to))),
        made: Some((at(0), at(0))),
    };
    let made =
        |time: u64| Updated { made: Some((at(time - 1_000), at(time))), ..changed(time - 1_000, time) };
    let reasons = |world: &World| stale(world).into_iter().collect::<BTreeSet<_>>();
    // The container started at 50.5 s.
    for (what, times, content, expected) in [
        ("changed since", changed(110_000, 113_000), 2, [StaleReason::Environment].into()),
        ("made anew with the same content", made(110_000), 1, BTreeSet::new()),
    ] {
        let mut world = with_environment();
        let now = world.now;
        world.handle(Event::Observed(object("levels"), Observed::Absent, now));
        world.pass(1_000);
        let shown = ObjectVersion { uid: "v".into(), updated: Some(times), ..version(2, content) };
        show(&mut world, "levels", shown.clone());
        world.pass(1_000);
        assert_eq!(reasons(&world), expected, "{what}");
        world.start_agent();
        show(&mut world, "config", version(1, 1));
        show(&mut world, "levels", shown);
        world.pass(5_000);
        assert_eq!(reasons(&world), expected, "{what}, after a restart");
    }
}

#[test]
fn what_another_key_or_a_change_back_leaves_as_it_is_needs_no_restart_after_a_restart_of_the_agent() {
    let changed = |time: u64| {
        let between = Some((at(time), at(time + 1_000)));
        Some(Updated { written: at(time), between, made: Some((at(0), at(0))) })
    };
    let shown = |n: u32, content: u8, time| ObjectVersion { updated: changed(time), ..version(n, content) };
    // The container started at 50.5 s.
    let mut world = with_environment();
    for (n, content) in [(2, 2), (3, 1)] {
        show(&mut world, "levels", shown(n, content, 120_000));
        world.pass(5_000);
    }
    let said = restarts(&world);
    assert_eq!(said.len(), 1);
    world.start_agent();
    show(&mut world, "config", version(1, 1));
    show(&mut world, "levels", shown(3, 1, 120_000));
    world.pass(5_000);
    assert_eq!((stale(&world), restarts(&world)), (vec![], said));
    // While there is no agent it is written once more: it may be another key.
    world.start_agent();
    show(&mut world, "config", version(1, 1));
    show(&mut world, "levels", shown(4, 1, 130_000));
    world.pass(5_000);
    assert_eq!(stale(&world), [StaleReason::Unsure]);
    let certain =
        world.reports().filter(|report| matches!(report, Report::NeedsRestart { is_certain: true, .. }));
    assert_eq!(certain.count(), 1, "none after the restart");
    assert_eq!(restarts(&world).len(), 2);
}
