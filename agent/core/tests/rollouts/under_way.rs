//! What is under way comes to an end and keeps nobody waiting, whatever its workload, its objects and the API server do meanwhile.

use reloadlet_core::model::object::{ObjectKind, ObjectRef};
use reloadlet_core::rollouts::workload::{Kind, WorkloadRef};

use crate::cluster::{BAD, Deployed, Used};
use crate::promises::{MINUTE, data, installed, object, one, uses, who};
use crate::simulation::Simulation;

fn quiet(index: usize) -> WorkloadRef {
    WorkloadRef {
        kind: Kind::Deployment,
        namespace: "quiet".into(),
        name: format!("q-{index}").as_str().into(),
    }
}

fn of_quiet(name: &str) -> ObjectRef {
    ObjectRef { kind: ObjectKind::ConfigMap, namespace: "quiet".into(), name: name.into() }
}

/// One workload in `shop`, one in `quiet`; one roll at a time.
fn two(used: &[Used], shops: usize) -> Simulation {
    let mut world = installed(shops, used, |_| 0);
    world.options.most = 1;
    world.options.most_each = 1;
    world.end_all();
    world.set(&of_quiet("x"), Some(data(&[("a", 10)])));
    let deployed = Deployed::new(1000, vec![uses("x", "a")], 2, 0, world.now);
    world.deploy(quiet(0), deployed);
    world.wait(MINUTE);
    world.start();
    world.wait(MINUTE);
    assert_eq!(world.rolls, 0);
    world
}

#[test]
fn a_roll_whose_workload_begins_to_use_too_many_objects_is_late_all_the_same_and_keeps_nobody_waiting() {
    let mut world = two(&[uses("x", "a")], 1);
    world.set(&object("x"), Some(data(&[("a", 20 + BAD)])));
    while world.rolls == 0 {
        world.wait(100);
    }
    world.wait(5_000);
    assert_eq!((world.started, world.failed), (1, 0));
    // The tenant changes its template: 70 objects.
    world.cluster.touch(&who(0), |workload| {
        workload.uses = (0..70).map(|n| uses(&format!("o-{n}"), "a")).chain([uses("x", "a")]).collect();
    });
    world.schedule(&who(0));
    world.show_workload(&who(0));
    world.wait(5_000);
    world.set(&of_quiet("x"), Some(data(&[("a", 11)])));
    world.wait(120 * MINUTE);
    assert_eq!((world.failed, world.cluster.workloads[&quiet(0)].rolls), (1, 1), "{:?}", world.waiting());
}

#[test]
fn a_plan_that_the_api_server_refuses_keeps_nobody_waiting() {
    let mut world = two(&[uses("x", "a")], 1);
    world.refused.rolls.insert(who(0));
    world.set(&object("x"), Some(data(&[("a", 11)])));
    world.wait(MINUTE);
    world.set(&of_quiet("x"), Some(data(&[("a", 11)])));
    world.wait(120 * MINUTE);
    assert_eq!(world.cluster.workloads[&quiet(0)].rolls, 1, "{:?}", world.waiting());
}

#[test]
fn a_roll_with_another_object_that_cant_be_read_is_late_all_the_same_and_keeps_nobody_waiting() {
    let mut world = two(&[uses("x", "a"), uses("y", "a")], 1);
    world.set(&object("x"), Some(data(&[("a", 20 + BAD)])));
    while world.rolls == 0 {
        world.wait(100);
    }
    world.wait(5_000);
    world.refused.fetches = Some(object("y"));
    world.set(&object("y"), Some(data(&[("a", 10), ("b", 21)])));
    world.wait(1_000);
    world.set(&of_quiet("x"), Some(data(&[("a", 11)])));
    world.wait(120 * MINUTE);
    assert_eq!((world.failed, world.cluster.workloads[&quiet(0)].rolls), (1, 1), "{:?}", world.waiting());
}

#[test]
fn a_first_one_with_another_object_that_cant_be_read_lets_the_others_go_once_it_is_available() {
    let mut world = installed(2, &[uses("x", "a")], |_| 0);
    world.cluster.touch(&who(1), |workload| workload.uses.push(uses("y", "a")));
    let values = world.cluster.values(&who(1));
    world.cluster.workloads.get_mut(&who(1)).unwrap().values = values;
    world.schedule(&who(1));
    world.show_workload(&who(1));
    world.wait(5 * MINUTE);
    assert_eq!(world.rolls, 0);
    world.set(&object("x"), Some(data(&[("a", 11)])));
    while world.rolls == 0 {
        world.wait(100);
    }
    assert_eq!(world.cluster.workloads[&who(1)].rolls, 1);
    world.refused.fetches = Some(object("y"));
    // A key that nobody uses.
    world.set(&object("y"), Some(data(&[("a", 10), ("b", 21)])));
    world.wait(120 * MINUTE);
    assert!(world.cluster.workloads[&who(1)].is_available());
    assert_eq!((world.finished, world.rolls), (2, 2), "{:?}", world.waiting());
}

#[test]
fn a_roll_that_is_seen_only_when_its_pods_are_available_is_over_ten_seconds_after_that() {
    let mut world = one(&[uses("x", "a")]);
    world.is_mute = true;
    world.set(&object("x"), Some(data(&[("a", 11)])));
    for _ in 0..1200 {
        if world.rolls > 0 && world.cluster.workloads[&who(0)].is_available() {
            break;
        }
        world.wait(50);
    }
    assert_eq!(
        (world.rolls, world.cluster.workloads[&who(0)].is_available()),
        (1, true),
        "{:?}",
        world.cluster.workloads[&who(0)]
    );
    let available = world.now;
    world.is_mute = false;
    world.show_workload(&who(0));
    for _ in 0..1200 {
        if world.finished > 0 {
            break;
        }
        world.wait(50);
    }
    assert_eq!(world.finished, 1, "{:?}", world.waiting());
    let took = world.now.since(available);
    assert!(took.as_millis() >= 9_900, "{took:?}");
}

#[test]
fn a_workload_that_is_written_all_the_time_is_rolled_all_the_same() {
    let mut world = one(&[uses("x", "a")]);
    world.set(&object("x"), Some(data(&[("a", 11)])));
    let listings = world.listings;
    for _ in 0..60 * 20 {
        let version = world.cluster.version();
        world.cluster.workloads.get_mut(&who(0)).unwrap().version = version;
        world.show_workload(&who(0));
        world.wait(50);
    }
    assert!(
        world.listings - listings < 30,
        "{} listings in a minute, {} rolls",
        world.listings - listings,
        world.rolls
    );
}

#[test]
fn a_plan_whose_change_is_never_taken_keeps_nobody_waiting() {
    let mut world = two(&[uses("x", "a")], 1);
    world.refused.conflicts.insert(who(0));
    world.set(&object("x"), Some(data(&[("a", 11)])));
    world.wait(MINUTE);
    world.set(&of_quiet("x"), Some(data(&[("a", 11)])));
    world.wait(120 * MINUTE);
    assert_eq!(world.cluster.workloads[&quiet(0)].rolls, 1, "{:?}", world.waiting());
}

#[test]
fn a_roll_whose_answer_is_lost_while_the_watch_is_behind_isnt_undone() {
    let mut world = installed(2, &[uses("x", "a")], |_| 0);
    world.is_mute = true;
    world.set(&object("x"), Some(data(&[("a", 20 + BAD)])));
    while world.rolls == 0 {
        world.wait(50);
    }
    // The watch comes back twenty seconds later.
    world.wait(20_000);
    world.is_mute = false;
    (0..2).for_each(|n| world.show_workload(&who(n)));
    world.wait(60 * MINUTE);
    let marks: Vec<bool> =
        (0..2).map(|n| world.cluster.workloads[&who(n)].template.marker.is_some()).collect();
    assert_eq!(
        (world.rolls, world.failed),
        (1, 1),
        "{marks:?} {:?} {:?}",
        world.waiting(),
        world.cluster.shards
    );
}

#[test]
fn changes_that_nobody_takes_are_tried_less_and_less() {
    let mut world = one(&[uses("x", "a")]);
    world.refused.conflicts.insert(who(0));
    world.set(&object("x"), Some(data(&[("a", 11)])));
    world.wait(5 * MINUTE);
    let listings = world.listings;
    world.wait(10 * MINUTE);
    assert!(world.listings - listings < 20, "{} in ten minutes", world.listings - listings);
}

#[test]
fn a_workload_that_grows_beyond_its_room_keeps_what_is_remembered_and_is_rolled_once_there_is_room() {
    let mut world = installed(2, &[uses("x", "a")], |_| 0);
    let grow = |world: &mut Simulation, index| {
        world.cluster.touch(&who(index), |workload| workload.ballast = 60 << 20);
        world.schedule(&who(index));
        world.show_workload(&who(index));
        world.wait(MINUTE);
    };
    grow(&mut world, 0);
    assert_eq!(world.problems.len(), 0);
    grow(&mut world, 1);
    assert_eq!(world.problems.len(), 1, "each namespace has half of what the others leave");
    world.set(&object("x"), Some(data(&[("a", 11)])));
    world.wait(5 * MINUTE);
    assert_eq!(world.rolls, 1);
    world.cluster.workloads.remove(&who(0));
    world.show_workload(&who(0));
    world.wait(5 * MINUTE);
    assert_eq!(world.cluster.workloads[&who(1)].rolls, 1);
}
