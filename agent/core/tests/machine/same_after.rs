//! What the status says is the same before and after a restart of the agent.

use std::time::Duration;

use reloadlet_core::Event;
use reloadlet_core::machine::event::Delivery;
use reloadlet_core::machine::status::{Age, PodStatus, StaleReason};
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::object::{ObjectKind, ObjectVersion, Observed, Updated};
use reloadlet_core::model::pod::{EnvironmentSource, Pod, Replica};

use crate::measuring::{measured, object, show, version};
use crate::node::{at, generation, uid};
use crate::said::{holds, name_of, stale, with_environment};
use crate::world::{AGENT_STARTED, World, app, app_with_two_volumes, config, more, volume_of};

/// A container that takes an object at its start and has a volume of another one; both are shown again after a restart of the
/// agent. What is stale by then, and what is gone.
fn judged(changes: &dyn Fn(&mut World)) -> (Vec<StaleReason>, Vec<String>) {
    let mut world = with_environment();
    let mut found = Vec::new();
    for restarts in [false, true] {
        if restarts {
            world.start_agent();
        }
        changes(&mut world);
        world.pass(5_000);
        let absent = world.machine.status(world.now).remove(0).absent;
        let absent: Vec<String> = absent.iter().map(|absent| String::from(&*absent.object.name)).collect();
        found.push((stale(&world), absent));
    }
    let after = found.pop().unwrap();
    assert_eq!(after, found.pop().unwrap(), "after the restart, and before");
    after
}

fn gone(world: &mut World, name: &str) {
    let now = world.now;
    world.handle(Event::Observed(object(name), Observed::Absent, now));
}

#[test]
fn objects_that_are_gone_or_were_made_anew_are_the_same_after_a_restart_of_the_agent() {
    let anew = |content: u8, made: u64| ObjectVersion {
        uid: "v".into(),
        updated: Some(Updated {
            written: at(made),
            between: Some((at(made - 2_000), at(made + 2_000))),
            made: Some((at(made - 2_000), at(made + 2_000))),
        }),
        ..version(9, content)
    };
    let nothing = (vec![], vec![]);
    let deleted = judged(&|world| {
        gone(world, "levels");
        gone(world, "config");
    });
    assert_eq!(deleted, (vec![], vec!["levels".to_owned()]), "no restart brings it");
    // The container started at 50.5 s.
    let same = judged(&|world| {
        show(world, "levels", anew(1, 110_000));
        show(world, "config", anew(1, 110_000));
    });
    assert_eq!(same, nothing, "it heals");
    let other = judged(&|world| {
        show(world, "levels", ObjectVersion { updated: Some(changed(110_000)), ..anew(2, 110_000) });
        show(world, "config", anew(2, 110_000));
    });
    assert_eq!(other.0, [StaleReason::Waiting, StaleReason::Environment]);
}

/// Changed at about that time, and made long before.
fn changed(millis: u64) -> Updated {
    let between = Some((at(millis - 2_000), at(millis + 2_000)));
    Updated { written: at(millis), between, made: Some((at(0), at(0))) }
}

#[test]
fn a_clock_of_the_api_server_that_is_5_s_off_makes_nothing_stale_and_hides_nothing() {
    // What the API server writes is 5 s off; what comes of it by the node's clock is known to two seconds.
    for ahead in [5_000, -5_000] {
        let off = |millis: u64| Updated {
            written: at(millis.checked_add_signed(ahead).unwrap()),
            ..changed(millis)
        };
        let shown = |millis| {
            let version = ObjectVersion { updated: Some(off(millis)), ..version(9, 2) };
            judged(&move |world: &mut World| {
                show(world, "config", self::version(1, 1));
                show(world, "levels", version.clone());
            })
        };
        assert_eq!(shown(120_000).0, [StaleReason::Environment], "changed since: {ahead}");
        // The container started at 50.5 s: whoever looks first can't tell which was first.
        let mut pod = app(1, &[]);
        pod.spec.containers[0].environment =
            vec![EnvironmentSource::new(ObjectKind::ConfigMap, "levels".into(), None)];
        let mut new = measured(vec![pod]);
        show(&mut new, "levels", ObjectVersion { updated: Some(off(49_500)), ..version(9, 2) });
        new.pass(5_000);
        assert_eq!(stale(&new), [], "{ahead}");
    }
}

/// What the status says, but for how long ago things were and what is known only since the agent's start.
fn said(world: &World) -> Vec<PodStatus> {
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
        ("withheld", || {
            let of =
                Replica { kind: "ReplicaSet".into(), name: "web".into(), uid: "1".into(), template: None };
            let replica = |n| Pod { replica: Some(of.clone()), ..app(n, &[]) };
            let mut world = World::running(vec![replica(1), replica(2)]);
            for volume in [config(), volume_of(2, "config")] {
                world.node.volume(&volume).digests.insert(generation(2), Digest::new([2; 32]));
                world.publish(&volume, 2);
            }
            world.pass(400);
            world.exit(1001);
            world.start(&uid(1), "app");
            world
        }),
        ("waits for hours", || {
            let mut world = World::app(&[("reloadlet.io/debounce", "24h")]);
            world.publish(&config(), 2);
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
    world.now = AGENT_STARTED;
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

#[test]
fn pods_are_in_the_order_of_their_names() {
    let mut other = app(1, &[]);
    other.namespace = "zoo".into();
    let world = World::running(vec![other, app(3, &[("reloadlet.io/debounce", "soon")]), app(2, &[])]);
    let names: Vec<String> =
        world.machine.status(world.now).iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
    assert_eq!(names, ["shop/web-2", "shop/web-3", "zoo/web-1"]);
}
