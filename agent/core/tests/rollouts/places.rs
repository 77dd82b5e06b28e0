//! Places and room: who takes them, for how long, and who looks for them.

use reloadlet_core::model::object::{ObjectKind, ObjectRef};
use reloadlet_core::rollouts::ledger::Shard;
use reloadlet_core::rollouts::workload::{Kind, WorkloadRef};

use crate::cluster::{BAD, Deployed, Used, ms};
use crate::promises::{MINUTE, data, installed, object, uses, who};
use crate::simulation::Simulation;

fn other(namespace: &str) -> WorkloadRef {
    WorkloadRef { kind: Kind::Deployment, namespace: namespace.into(), name: "q".into() }
}

fn x_of(namespace: &str) -> ObjectRef {
    ObjectRef { kind: ObjectKind::ConfigMap, namespace: namespace.into(), name: "x".into() }
}

/// Some in one namespace, and one in another, where only one is rolled at a time.
fn beside(shops: usize, limit: u64) -> Simulation {
    let mut world = installed(shops, &[uses("x", "a")], |_| 0);
    (world.options.most, world.options.most_each) = (1, 1);
    world.options.limit = ms(limit);
    world.end_all();
    world.set(&x_of("quiet"), Some(data(&[("a", 10)])));
    let deployed = Deployed::new(1000, vec![uses("x", "a")], 2, 0, world.now);
    world.deploy(other("quiet"), deployed);
    world.wait(MINUTE);
    world.start();
    world.wait(MINUTE);
    assert_eq!(world.rolls, 0);
    world
}

fn grows(world: &mut Simulation, index: usize, megabytes: usize) {
    world.cluster.touch(&who(index), |workload| workload.ballast = megabytes << 20);
    world.schedule(&who(index));
    world.show_workload(&who(index));
}

#[test]
fn a_roll_whose_workload_grows_beyond_its_room_keeps_nobody_waiting() {
    let mut world = beside(2, 120_000);
    grows(&mut world, 0, 60);
    // Only the second one is rolled.
    world.cluster.touch(&who(1), |workload| workload.uses = vec![uses("y", "a")]);
    world.schedule(&who(1));
    world.show_workload(&who(1));
    world.set(&object("y"), Some(data(&[("a", 10)])));
    world.wait(5 * MINUTE);
    let before = world.rolls;
    world.set(&object("y"), Some(data(&[("a", 20 + BAD)])));
    while world.rolls == before {
        world.wait(100);
    }
    world.wait(5_000);
    grows(&mut world, 1, 60);
    world.wait(5_000);
    assert_eq!(world.problems.len(), 1);
    world.set(&x_of("quiet"), Some(data(&[("a", 11)])));
    world.wait(MINUTE / 2);
    assert_eq!(world.cluster.workloads[&other("quiet")].rolls, 0, "its place is taken until its deadline");
    world.wait(5 * MINUTE);
    assert_eq!(world.cluster.workloads[&other("quiet")].rolls, 1, "{:?}", world.waiting());
}

#[test]
fn a_plan_whose_workload_grows_beyond_its_room_keeps_nobody_waiting() {
    let mut world = beside(2, 120_000);
    grows(&mut world, 0, 60);
    world.wait(MINUTE);
    // Nobody answers to the change of its template.
    world.refused.rolls.insert(who(1));
    world.set(&object("x"), Some(data(&[("a", 20)])));
    world.wait(7_000);
    grows(&mut world, 1, 60);
    world.refused.rolls.clear();
    world.set(&x_of("quiet"), Some(data(&[("a", 11)])));
    world.wait(5 * MINUTE);
    assert_eq!(world.cluster.workloads[&other("quiet")].rolls, 1, "{:?}", world.waiting());
}

#[test]
fn a_roll_under_way_whose_next_plan_is_withdrawn_takes_its_place_all_the_same() {
    let mut world = beside(1, 900_000);
    world.set(&object("x"), Some(data(&[("a", 20 + BAD)])));
    while world.rolls == 0 {
        world.wait(100);
    }
    world.wait(4_000);
    world.set(&x_of("quiet"), Some(data(&[("a", 11)])));
    // Another content, whose roll the API server refuses for now, and then another one.
    world.refused.rolls.insert(who(0));
    world.set(&object("x"), Some(data(&[("a", 30 + BAD)])));
    world.wait(22_000);
    world.set(&object("x"), Some(data(&[("a", 40 + BAD)])));
    for _ in 0..2500 {
        let is_rolled = world.cluster.workloads[&other("quiet")].rolls > 0;
        assert!(
            !is_rolled || world.failed > 0,
            "two at once: {:?}, {} failed",
            world.cluster.workloads[&who(0)].status,
            world.failed
        );
        world.wait(10);
    }
}

#[test]
fn a_place_that_is_free_has_few_of_those_that_wait_listed() {
    let mut world = installed(0, &[uses("x", "a")], |_| 0);
    (world.options.most, world.options.most_each) = (2, 2);
    world.end_all();
    let count = 60_u32;
    for index in 0..count {
        let namespace = format!("ns-{index}");
        world.set(&x_of(&namespace), Some(data(&[("a", 10)])));
        let deployed = Deployed::new(1000 + u64::from(index), vec![uses("x", "a")], 2, 0, world.now);
        world.deploy(other(&namespace), deployed);
    }
    world.wait(MINUTE);
    world.start();
    world.wait(MINUTE);
    assert_eq!(world.rolls, 0);
    let listings = world.listings;
    for index in 0..count {
        world.set(&x_of(&format!("ns-{index}")), Some(data(&[("a", 11)])));
    }
    world.wait(60 * MINUTE);
    assert_eq!(world.rolls, count);
    assert!(world.listings - listings < count * 8, "{} lists for {count} rolls", world.listings - listings);
}

#[test]
fn all_that_have_room_are_looked_at_once_there_is_some() {
    let mut world = installed(3, &[uses("x", "a")], |_| 0);
    for (index, megabytes) in [(0, 60), (1, 40), (2, 40)] {
        grows(&mut world, index, megabytes);
        world.wait(MINUTE);
    }
    assert_eq!(world.problems.len(), 2);
    world.set(&object("x"), Some(data(&[("a", 11)])));
    world.wait(5 * MINUTE);
    world.cluster.workloads.remove(&who(0));
    world.show_workload(&who(0));
    world.wait(60 * MINUTE);
    let rolls: Vec<u32> = (1..3).map(|n| world.cluster.workloads[&who(n)].rolls).collect();
    assert_eq!(rolls, [1, 1], "80 MiB of 96");
}

#[test]
fn a_plan_for_which_there_was_no_room_is_made_once_there_is_some() {
    let mut world = Simulation::calm();
    let names: Vec<String> = (0..64).map(|n| format!("{}-{n}", "n".repeat(200))).collect();
    for name in &names {
        world.set(&object(name), Some(data(&[("a", 10)])));
    }
    let used: Vec<Used> = names.iter().map(|name| uses(name, "a")).collect();
    let all: Vec<usize> =
        (0..10_000).filter(|index| Shard::of(&who(*index)).number() == 0).take(26).collect();
    for index in &all {
        world.deploy(who(*index), Deployed::new(*index as u64, used.clone(), 2, 0, world.now));
    }
    world.wait(MINUTE);
    world.start();
    world.wait(MINUTE);
    assert_eq!(world.problems.len(), 0);
    world.set(&object(&names[0]), Some(data(&[("a", 11)])));
    world.wait(MINUTE);
    assert_eq!(world.rolls, 0, "there is no room for a plan");
    assert!(world.problems.len() >= 20, "{}", world.problems.len());
    // What is left has room for the records of their rolls, too.
    for index in &all[..20] {
        world.cluster.workloads.remove(&who(*index));
        world.show_workload(&who(*index));
    }
    world.wait(15 * MINUTE);
    assert_eq!(world.rolls, 6, "{:?}", world.waiting());
}
