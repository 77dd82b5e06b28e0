//! Programs that have a handler for a moment only.

use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::policy::problem::ProblemKind;

use crate::node::{HUP, generation};
use crate::world::{World, app, config};

/// A program that was seen without a handler.
fn without_handler() -> World {
    let mut world = World::node(vec![app(1, &[])]);
    let process = world.node.process_mut(1001);
    (process.caught, process.namespace_pids) = (0, vec![1001, 9]);
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    world
}

/// Has or hasn't a handler from now on.
fn catches(world: &mut World, is: bool) {
    world.node.process_mut(1001).caught = if is { HUP } else { 0 };
}

#[test]
fn a_program_that_has_a_handler_for_a_moment_isnt_told_in_that_moment() {
    let mut world = without_handler();
    for n in 2..60 {
        catches(&mut world, true);
        world.publish(&config(), n);
        world.pass(900);
        catches(&mut world, false);
        world.pass(1_000 + u64::from(n) * 37 % 3_000);
    }
    assert_eq!(world.sends(), []);
    assert!(world.problems().contains(&Some(ProblemKind::Unhandled)));
    // From now on it keeps it.
    catches(&mut world, true);
    world.pass(120_000);
    assert_eq!(world.sends().len(), 1);
    assert_eq!(world.outcomes().last(), Some(&("config", generation(59), Outcome::Delivered)));
}

#[test]
fn a_program_that_comes_to_have_a_handler_is_told_two_to_three_seconds_later() {
    let mut world = without_handler();
    world.publish(&config(), 2);
    world.pass(700);
    catches(&mut world, true);
    let since = world.now;
    world.pass(20_000);
    let told = world.sends()[0].0.since(since).as_millis();
    assert!((2_000..5_000).contains(&told), "{told}");
    // From then on it is told at once.
    world.publish(&config(), 3);
    assert_eq!(world.sends().last(), Some(&(world.now, 1001)));
}

#[test]
fn what_was_seen_without_a_change_that_waits_counts() {
    let mut world = without_handler();
    // The last look at it without a change.
    catches(&mut world, true);
    world.swap(&config(), 2);
    world.pass(3_000);
    world.settle(&config());
    assert_eq!(world.sends().len(), 1);
}

#[test]
fn a_program_that_was_never_seen_without_a_handler_once_it_was_grown_is_told_at_once() {
    let mut world = World::node(vec![app(1, &[])]);
    world.start_agent();
    world.exit(1001);
    let pid = world.start(&crate::node::uid(1), "app");
    world.node.process_mut(pid).caught = 0;
    world.publish(&config(), 2);
    world.pass(2_900);
    world.node.process_mut(pid).caught = HUP;
    world.pass(60_000);
    world.actions.clear();
    world.publish(&config(), 3);
    assert_eq!(world.sends(), [(world.now, pid)]);
}
