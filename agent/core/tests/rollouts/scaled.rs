//! Workloads without pods, pods that are deleted, and workloads for which more counts than before: what that says of the content, and
//! what is said of it.

use crate::cluster::{BAD, Deployed};
use crate::promises::{MINUTE, data, installed, object, uses, who};
use crate::simulation::Simulation;

#[test]
fn a_deployment_that_is_scaled_down_and_up_before_anybody_acts_on_it_is_rolled_all_the_same() {
    let mut world = installed(1, &[uses("x", "a")], |_| 0);
    world.set(&object("x"), Some(data(&[("a", 11)])));
    world.wait(200);
    // Kubernetes' controllers are behind.
    world.cluster.touch(&who(0), |workload| workload.replicas = 0);
    world.show_workload(&who(0));
    world.wait(500);
    world.cluster.touch(&who(0), |workload| workload.replicas = 2);
    world.show_workload(&who(0));
    world.wait(500);
    world.schedule(&who(0));
    world.wait(10 * MINUTE);
    assert!(!world.cluster.is_stale(&who(0)), "{} rolls, {:?}", world.rolls, world.waiting());
}

#[test]
fn it_isnt_said_of_no_pods_that_all_of_them_are_available_with_the_new_content() {
    let mut world = installed(1, &[uses("x", "a")], |_| 0);
    world.set(&object("x"), Some(data(&[("a", 10 + BAD)])));
    while world.rolls == 0 {
        world.wait(100);
    }
    world.wait(5_000);
    world.cluster.touch(&who(0), |workload| workload.replicas = 0);
    world.schedule(&who(0));
    world.show_workload(&who(0));
    world.wait(MINUTE / 2);
    assert_eq!(world.finished, 0, "{:?}", world.cluster.workloads[&who(0)].pods);
    assert_eq!(world.emptied, 1);
}

#[test]
fn pods_in_place_are_available_for_ten_seconds_before_that_is_said() {
    let mut world = Simulation::calm();
    world.set(&object("x"), Some(data(&[("a", 10)])));
    let mut deployed = Deployed::new(1, vec![uses("x", "a")], 1, 0, world.now);
    deployed.manner = "in-place";
    world.deploy(who(0), deployed);
    world.wait(MINUTE);
    world.start();
    world.wait(MINUTE);
    world.set(&object("x"), Some(data(&[("a", 11)])));
    while world.grants == 0 {
        world.wait(50);
    }
    // Somebody deletes it.
    world.cluster.delete_pods(&who(0), |_| true);
    world.schedule(&who(0));
    world.show_workload(&who(0));
    while world.finished == 0 {
        world.wait(50);
    }
    let since = world.cluster.workloads[&who(0)].pods[0].available.unwrap();
    let stayed = world.now.since(since);
    assert!(stayed >= std::time::Duration::from_millis(9_900), "{stayed:?}");
}

/// One that uses a key of an object, of which another key was changed an hour ago.
fn with_an_old_change() -> Simulation {
    let mut world = Simulation::calm();
    world.options.looks.annotations = true;
    world.set(&object("x"), Some(data(&[("a", 10), ("b", 20)])));
    world.deploy(who(0), Deployed::new(1, vec![uses("x", "a")], 2, 0, world.now));
    world.wait(MINUTE);
    world.start();
    world.wait(MINUTE);
    // A key that nobody uses.
    world.set(&object("x"), Some(data(&[("a", 10), ("b", 21)])));
    world.wait(60 * MINUTE);
    assert_eq!(world.rolls, 0);
    world
}

/// Its metadata says that all of the object counts: neither a template nor an object is changed.
fn names_it(world: &mut Simulation) {
    let version = world.cluster.version();
    let workload = world.cluster.workloads.get_mut(&who(0)).unwrap();
    (workload.version, workload.asks) = (version, vec![("configmap.reloader.stakater.com/reload", "x")]);
    world.show_workload(&who(0));
}

#[test]
fn who_begins_to_name_an_object_isnt_rolled_for_what_changed_long_before() {
    let mut world = with_an_old_change();
    names_it(&mut world);
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 0);
}

#[test]
fn who_begins_to_name_an_object_while_nobody_looks_is_rolled_for_what_it_uses_of_it() {
    let mut world = with_an_old_change();
    world.end_all();
    names_it(&mut world);
    world.set(&object("x"), Some(data(&[("a", 11), ("b", 21)])));
    world.wait(MINUTE);
    world.start();
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 1);
}
