//! A signal that is blocked without a handler: by a program that takes it in another way, or for a moment.

use reloadlet_core::Action;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::policy::problem::ProblemKind;

use crate::node::{HUP, generation, ms};
use crate::world::{AGENT_STARTED, World, app, config};

const HOUR: u64 = 3_600_000;

/// A process that handles nothing and starts others all the time; the agent has known it for `known` ms.
fn spawner(spawns: u64, known: u64) -> World {
    let mut world = World::node(vec![app(1, &[])]);
    let process = world.node.process_mut(1001);
    (process.caught, process.spawns) = (0, spawns);
    world.start_agent();
    world.pass(known);
    world.actions.clear();
    world
}

#[test]
fn a_program_that_starts_others_all_the_time_is_not_told_however_long_a_change_waits() {
    for spawns in [1, 5, 20] {
        let mut world = spawner(spawns, 60_000);
        world.publish(&config(), 2);
        (0..24).for_each(|_| world.pass(HOUR));
        assert_eq!(world.sends(), [], "seen so in {spawns} of 100 readings");
        assert_eq!(world.problems(), [Some(ProblemKind::Unhandled)]);
        let readings =
            world.actions.iter().filter(|(_, action)| matches!(action, Action::ReadGuard(..))).count();
        assert!(readings > 10_000, "{readings}: nothing is proved by silence");
    }
}

#[test]
fn nor_is_one_that_changes_again_and_again_or_that_the_agent_has_just_met() {
    for known in [0, 100, 60_000] {
        for n in 0..20 {
            let mut world = spawner(5, known + n);
            for change in 2..50 {
                world.publish(&config(), change);
                world.pass(10_000);
            }
            assert_eq!(world.sends(), [], "known for {known} ms");
        }
    }
}

#[test]
fn a_process_that_waits_for_its_child_is_never_taken_for_one_that_takes_the_signal() {
    let mut world = spawner(0, 0);
    let process = world.node.process_mut(1001);
    (process.blocked, process.state) = (u64::MAX, 'D');
    world.publish(&config(), 2);
    world.pass(HOUR);
    assert_eq!(world.sends(), []);
}

/// A process that takes the signal by signalfd.
fn taker(known: u64) -> World {
    let mut world = World::node(vec![app(1, &[])]);
    let process = world.node.process_mut(1001);
    (process.caught, process.blocked) = (0, HUP);
    world.start_agent();
    world.pass(known);
    world.actions.clear();
    world
}

#[test]
fn one_that_has_blocked_the_signal_for_as_long_as_it_is_known_is_told_at_once() {
    let mut world = taker(10_000);
    for n in 2..10 {
        world.publish(&config(), n);
        assert_eq!(world.sends().last(), Some(&(world.now, 1001)), "no slower than one that catches it");
        world.pass(60_000);
    }
    assert_eq!(world.machine.poll_timeout(), None, "nothing is left to find out");
}

#[test]
fn one_that_the_agent_has_just_met_is_told_after_some_seconds() {
    let mut world = taker(0);
    world.publish(&config(), 2);
    world.pass(1_000);
    assert_eq!(world.sends(), []);
    world.pass(6_000);
    assert_eq!(world.sends().len(), 1);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
    assert_eq!(world.problems(), [], "that is no problem yet");
}

#[test]
fn one_that_was_seen_without_it_has_to_block_it_for_minutes() {
    let mut world = World::app(&[]);
    world.node.process_mut(1001).caught = 0;
    world.publish(&config(), 2);
    world.pass(20_000);
    world.node.process_mut(1001).blocked = HUP;
    world.pass(60_000);
    assert_eq!(world.sends(), [], "World::app caught it before: it is between two sets of handlers");

    let mut world = taker(0);
    world.node.process_mut(1001).blocked = 0;
    world.pass(60_000);
    world.publish(&config(), 2);
    world.pass(20_000);
    world.node.process_mut(1001).blocked = HUP;
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    world.pass(240_000);
    assert_eq!(world.sends().len(), 1);
}

#[test]
fn what_is_known_of_one_ends_with_a_reading_that_says_otherwise() {
    let mut world = taker(60_000);
    world.publish(&config(), 2);
    assert_eq!(world.sends().len(), 1);
    world.pass(60_000);
    world.node.process_mut(1001).blocked = 0;
    world.publish(&config(), 3);
    world.pass(60_000);
    world.node.process_mut(1001).blocked = HUP;
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
}

#[test]
fn it_is_found_out_without_a_change_and_not_for_ever() {
    let world = taker(20_000);
    let forgets = AGENT_STARTED + ms(60_000);
    assert_eq!(
        world.machine.poll_timeout(),
        Some(forgets),
        "pods of last time that nobody lists are forgotten then"
    );
    assert!(world.now == AGENT_STARTED + ms(20_000));
}

#[test]
fn what_the_program_before_caught_says_nothing_of_one_that_blocks_the_signal() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    assert_eq!(world.sends().len(), 1, "it was seen to catch the signal");
    world.pass(60_000);
    world.node.exec(1001, "named", 400_000);
    let process = world.node.process_mut(1001);
    (process.caught, process.blocked) = (0, HUP);
    world.publish(&config(), 3);
    world.pass(60_000);
    assert_eq!(world.sends().len(), 2);
}
