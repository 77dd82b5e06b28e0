//! What the status says that a container holds, and what of it isn't known.

use std::collections::BTreeSet;
use std::time::Duration;

use reloadlet_core::Event;
use reloadlet_core::machine::event::{Delivery, Report};
use reloadlet_core::machine::status::{Age, StaleReason, ToldStatus};
use reloadlet_core::model::closed::Closed as _;
use reloadlet_core::model::names::ContainerId;
use reloadlet_core::model::object::{ObjectKind, ObjectVersion, Observed, Updated};
use reloadlet_core::model::pod::{EnvironmentSource, ObjectSource, Pod, Volume, VolumeMount, VolumeSource};
use reloadlet_core::propagation::frozen::Way;

use crate::measuring::{measured, object, show, version};
use crate::node::{at, generation, uid};
use crate::world::{World, app, app_with_two_volumes, config, more};

fn told(world: &World) -> ToldStatus {
    world.machine.status(world.now)[0].containers[0].volumes[0].clone()
}

fn holds(world: &World) -> Option<String> {
    told(world).holds.map(|name| String::from(&*name))
}

fn stale(world: &World) -> Vec<StaleReason> {
    let pods = world.machine.status(world.now);
    let stale = pods.iter().flat_map(|pod| &pod.stale);
    stale.map(|stale| StaleReason::parse(stale.reason.as_str()).unwrap()).collect()
}

fn name_of(n: u32) -> Option<String> {
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
fn with_environment() -> World {
    let mut pod = app(1, &[]);
    let level = |key: &str| EnvironmentSource {
        kind: ObjectKind::ConfigMap,
        name: "levels".into(),
        key: Some(key.into()),
    };
    pod.spec.containers[0].environment = vec![level("key"), level("key")];
    let mut world = measured(vec![pod]);
    show(&mut world, "levels", version(1, 1));
    world.pass(10_000);
    world
}

fn restarts(world: &World) -> Vec<(String, Way)> {
    let of = |report: &Report| {
        if let Report::NeedsRestart { object, way, .. } = report {
            Some((object.to_string(), *way))
        } else {
            None
        }
    };
    world.reports().filter_map(of).collect()
}

#[test]
fn that_only_a_restart_brings_a_change_is_said_once_for_each_object_and_process() {
    let mut world = with_environment();
    show(&mut world, "levels", version(2, 2));
    world.pass(1_000);
    show(&mut world, "levels", version(3, 3));
    assert_eq!(restarts(&world), [("configmap shop/levels".to_owned(), Way::Environment)]);
    world.exit(1001);
    world.start(&uid(1), "app");
    world.pass(5_000);
    show(&mut world, "levels", version(4, 4));
    assert_eq!(restarts(&world).len(), 2);
}

#[test]
fn that_only_a_restart_brings_a_change_of_a_file_that_is_mounted_alone_is_said_once() {
    let mut pod = app(1, &[]);
    let mount = VolumeMount { volume: "files".into(), sub_path: Some("key".into()) };
    pod.spec.containers[0].mounts.push(mount);
    let source = ObjectSource { name: "files".into(), ..ObjectSource::default() };
    pod.spec.volumes.push(Volume { name: "files".into(), source: VolumeSource::ConfigMap(source) });
    let mut world = measured(vec![pod]);
    show(&mut world, "files", version(1, 1));
    world.pass(10_000);
    for (n, content) in [(2, 2), (3, 3)] {
        show(&mut world, "files", version(n, content));
        world.pass(1_000);
    }
    assert_eq!(restarts(&world), [("configmap shop/files".to_owned(), Way::SubPath)]);
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
    let changed =
        |from, to| Updated { written: at(from), between: Some((at(from), at(to))), made: Some(at(0)) };
    let made = |time: u64| Updated { made: Some(at(time)), ..changed(time - 1_000, time) };
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

/// What the status says, but for how long ago things were and what is known only since the agent's start.
fn said(world: &World) -> Vec<reloadlet_core::machine::status::PodStatus> {
    let mut pods = world.machine.status(world.now);
    for pod in &mut pods {
        pod.volumes.iter_mut().for_each(|volume| volume.settled_seconds_ago = None);
        pod.stale.iter_mut().for_each(|stale| stale.seconds = Age(Duration::ZERO));
        for container in &mut pod.containers {
            (container.last_outcome, container.last_seconds_ago) = (None, None);
        }
        for problem in &mut pod.problems {
            // How long after the signals it ended isn't kept.
            let (who, what) = problem.sentence.split_once(": ").unwrap();
            problem.sentence = format!("{}: {what}", &who[.."container app".len()]);
        }
    }
    pods
}

/// The volume is older than the process in one of two ways, or younger.
#[test]
fn the_status_says_the_same_before_and_after_a_restart_of_the_agent() {
    type Scenario = (&'static str, fn() -> World);
    let scenarios: &[Scenario] = &[
        ("baseline", || World::app(&[])),
        ("baseline of older processes", || with_older_process()),
        ("delivered", || {
            let mut world = World::app(&[]);
            world.publish(&config(), 2);
            world
        }),
        ("delivered to an older process", || {
            let mut world = with_older_process();
            world.publish(&config(), 2);
            world
        }),
        ("failed", || after(Delivery::Failed("EIO"))),
        ("denied", || after(Delivery::Denied)),
        ("dry run", || after(Delivery::Spared)),
        ("failed twice", || {
            let mut world = after(Delivery::Denied);
            world.pass(60_000);
            world.publish(&config(), 3);
            world
        }),
        ("failed, and another one started", || {
            let mut world = after(Delivery::Denied);
            world.exit(1001);
            world.start(&uid(1), "app");
            world.pass(60_000);
            world.publish(&config(), 3);
            world
        }),
        ("started after", || {
            let mut world = World::app(&[]);
            world.swap(&config(), 2);
            world.exit(1001);
            world.pass(1);
            world.settle(&config());
            world.pass(1_000);
            world.start(&uid(1), "app");
            world
        }),
        ("superseded", || {
            let mut world = World::app(&[("reloadlet.io/debounce", "1s")]);
            world.publish(&config(), 2);
            world.pass(100);
            world.publish(&config(), 3);
            world
        }),
        ("no process", || {
            let mut world = World::app(&[("reloadlet.io/process", "other")]);
            world.publish(&config(), 2);
            world
        }),
        ("unhandled", || {
            let mut world = World::app(&[]);
            world.node.process_mut(1001).caught = 0;
            world.publish(&config(), 2);
            world.pass(120_000);
            world
        }),
        ("held", || {
            let mut world = World::app(&[]);
            for (n, pid) in [(2, 1001), (3, 1002)] {
                world.publish(&config(), n);
                world.pass(400);
                world.exit(pid);
                world.start(&uid(1), "app");
                world.pass(60_000);
            }
            world.publish(&config(), 4);
            world
        }),
        ("told, not read", || {
            let mut world = World::running(vec![app_with_two_volumes(1, &[("reloadlet.io/debounce", "0s")])]);
            world.publish(&config(), 2);
            world.pass(5);
            assert!(world.open(&config(), 2));
            world.pass(60_000);
            world.publish(&more(), 2);
            world
        }),
        ("never read", || {
            let mut world = World::app(&[]);
            for n in 2..6 {
                world.publish(&config(), n);
                world.pass(60_000);
            }
            world
        }),
        ("told twice", || {
            let mut world = World::app(&[]);
            world.publish(&config(), 2);
            world.pass(5);
            assert!(world.open(&config(), 2));
            world.pass(60_000);
            world.publish(&config(), 3);
            world.pass(10_005);
            assert!(world.open(&config(), 3));
            world
        }),
    ];
    for (what, scenario) in scenarios {
        let mut world = scenario();
        world.pass(120_000);
        let before = said(&world);
        world.start_agent();
        world.pass(120_000);
        assert_eq!(said(&world), before, "{what}");
        world.start_agent();
        world.pass(120_000);
        assert_eq!(said(&world), before, "{what}, once more");
    }
}

fn after(delivery: Delivery) -> World {
    let mut world = World::app(&[]);
    world.delivery = delivery;
    world.publish(&config(), 2);
    world
}

/// The agent's very first start, where the process is older than what its volume holds.
fn with_older_process() -> World {
    let mut world = World::node(vec![app(1, &[])]);
    world.now = at(60_000);
    world.publish_unseen(&config(), 5);
    world.now = crate::world::AGENT_STARTED;
    world.start_agent();
    world.pass(60_000);
    world
}

#[test]
fn what_stood_there_at_the_first_start_is_what_a_container_holds_only_if_it_has_read_it() {
    let mut older = with_older_process();
    assert_eq!((holds(&older), stale(&older)), (None, vec![]), "nothing is known");
    older.start_agent();
    older.pass(60_000);
    assert_eq!((holds(&older), stale(&older)), (None, vec![]));
    older.publish(&config(), 2);
    assert_eq!(holds(&older), name_of(2));
    assert_eq!(holds(&World::app(&[])), name_of(1));
}

#[test]
fn a_second_telling_that_was_only_due_isnt_one_after_a_restart_of_the_agent() {
    let mut world = World::app(&[("reloadlet.io/min-interval", "30s")]);
    world.publish(&config(), 2);
    world.pass(5);
    assert!(world.open(&config(), 2));
    world.pass(60_000);
    world.publish(&config(), 3);
    world.pass(15_000);
    assert_eq!(world.sends().len(), 2, "it waits");
    world.start_agent();
    world.pass(120_000);
    let container = world.machine.status(world.now)[0].containers[0].clone();
    assert_eq!(world.sends().len(), 2);
    assert!(!container.told_again);
    assert_eq!(container.unread.unwrap().state.as_str(), "not_read", "it has left it unread");
}
