//! What becomes of a process after a delivery.

use reloadlet_core::model::outcome::Verdict;

use crate::node::{HUP, uid};
use crate::world::{World, config};

fn delivered() -> World {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    world
}

#[test]
fn a_process_that_lives_is_alive_at_the_end_of_the_window() {
    let mut world = delivered();
    world.pass(9_999);
    assert_eq!(world.verdicts(), []);
    world.pass(1);
    assert_eq!(world.verdicts(), [Verdict::Alive]);
    world.pass(60_000);
    assert_eq!(world.verdicts().len(), 1);
}

#[test]
fn a_signal_that_is_blocked_and_still_waits_is_pending() {
    let mut world = delivered();
    (world.node.process_mut(1001).blocked, world.node.process_mut(1001).pending) = (HUP, HUP);
    world.pass(10_000);
    assert_eq!(world.verdicts(), [Verdict::Pending]);
}

#[test]
fn a_process_that_ended_is_exited_or_restarted() {
    for restarts in [false, true] {
        let mut world = delivered();
        world.pass(5_000);
        world.exit(1001);
        world.pass(1_000);
        if restarts {
            world.start(&uid(1), "app");
        }
        world.pass(20_000);
        assert_eq!(world.verdicts(), [if restarts { Verdict::Restarted } else { Verdict::Exited }]);
    }
}

#[test]
fn a_process_that_ends_while_its_masks_are_read_is_exited() {
    let mut world = delivered();
    world.node.kill(1001);
    world.pass(20_000);
    assert_eq!(world.verdicts(), [Verdict::Exited]);
}

#[test]
fn a_new_delivery_closes_the_open_window_with_what_it_knows() {
    let mut world = delivered();
    world.pass(3_000);
    world.publish(&config(), 3);
    assert_eq!(world.verdicts(), [Verdict::Alive]);
    world.pass(60_000);
    assert_eq!(world.verdicts(), [Verdict::Alive, Verdict::Alive]);
}

#[test]
fn the_end_of_a_pod_closes_the_open_window() {
    let mut world = delivered();
    world.pods.clear();
    world.exit(1001);
    world.sync();
    assert_eq!(world.verdicts(), [Verdict::Exited]);
}
