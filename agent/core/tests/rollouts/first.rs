//! Of those that share an object one goes first, and those that wait for it do so until it is proved what they wait for.

use crate::cluster::BAD;
use crate::promises::{MINUTE, data, installed, object, uses, who};

#[test]
fn a_key_that_nobody_uses_doesnt_let_others_begin_before_the_first_is_available() {
    let mut world = installed(5, &[uses("x", "a")], |_| 0);
    world.set(&object("x"), Some(data(&[("a", 20 + BAD), ("heartbeat", 0)])));
    while world.rolls == 0 {
        world.wait(100);
    }
    world.wait(5_000);
    world.set(&object("x"), Some(data(&[("a", 20 + BAD), ("heartbeat", 10)])));
    world.wait(20_000);
    assert_eq!((world.rolls, world.failed), (1, 0), "{:?}", world.waiting());
}

#[test]
fn a_key_that_nobody_uses_doesnt_let_those_go_that_a_failed_one_holds() {
    let mut world = installed(5, &[uses("x", "a")], |_| 0);
    world.set(&object("x"), Some(data(&[("a", 20 + BAD), ("heartbeat", 0)])));
    world.wait(5 * MINUTE);
    assert_eq!((world.rolls, world.failed), (1, 1));
    for n in 1..40 {
        world.set(&object("x"), Some(data(&[("a", 20 + BAD), ("heartbeat", 10 * n)])));
        world.wait(MINUTE);
    }
    assert_eq!((world.rolls, world.failed), (1, 1), "{:?}", world.waiting());
    world.set(&object("x"), Some(data(&[("a", 40), ("heartbeat", 0)])));
    world.wait(20 * MINUTE);
    assert!(
        (0..5).all(|n| !world.cluster.is_stale(&who(n))),
        "a good one lets all of them go: {:?}",
        world.waiting()
    );
}

#[test]
fn a_key_that_nobody_uses_keeps_nobody_from_a_good_content() {
    let mut world = installed(12, &[uses("x", "a")], |_| 0);
    world.set(&object("x"), Some(data(&[("a", 20), ("heartbeat", 0)])));
    for n in 1..60 {
        world.wait(10_000);
        world.set(&object("x"), Some(data(&[("a", 20), ("heartbeat", 10 * n)])));
    }
    world.wait(MINUTE);
    assert_eq!(world.rolls, 12, "{:?}", world.waiting());
}

#[test]
fn a_first_statefulset_that_is_scaled_to_no_pods_proves_nothing() {
    let mut world = installed(6, &[uses("x", "a")], |_| 0);
    for n in 0..6 {
        world.cluster.touch(&who(n), |workload| workload.is_stateful = true);
        world.schedule(&who(n));
        world.show_workload(&who(n));
    }
    world.wait(MINUTE);
    world.set(&object("x"), Some(data(&[("a", 10 + BAD)])));
    while world.rolls == 0 {
        world.wait(100);
    }
    let first = (0..6).find(|n| world.cluster.workloads[&who(*n)].rolls == 1).unwrap();
    world.wait(5_000);
    world.cluster.touch(&who(first), |workload| workload.replicas = 0);
    world.schedule(&who(first));
    world.show_workload(&who(first));
    world.wait(MINUTE / 2);
    assert_eq!(world.rolls, 2, "the next one goes alone: {} finished, {:?}", world.finished, world.waiting());
}
