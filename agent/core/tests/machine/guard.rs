//! A signal is sent only to a process that handles it.

use reloadlet_core::machine::event::VolumeRef;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::signal::Signal;
use reloadlet_core::policy::problem::ProblemKind;
use reloadlet_core::{Action, Event};

use crate::node::{HUP, generation, ms, uid};
use crate::world::{World, app, config};

/// A process that lets SIGHUP take its default action, and a change that waits.
fn unhandled(annotations: &[(&str, &str)]) -> (World, VolumeRef) {
    let mut world = World::app(annotations);
    world.node.process_mut(1001).caught = 0;
    world.publish(&config(), 2);
    (world, config())
}

#[test]
fn a_process_that_does_not_handle_the_signal_is_not_sent_it() {
    let (mut world, _) = unhandled(&[]);
    world.pass(9_999);
    assert_eq!(world.problems(), []);
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    assert_eq!(world.outcomes(), [], "it may handle it yet");
    assert_eq!(world.problems(), [Some(ProblemKind::Unhandled)]);
}

#[test]
fn after_ten_seconds_people_are_told_that_the_signal_is_not_handled() {
    let (mut world, _) = unhandled(&[]);
    world.pass(10_000);
    assert_eq!(world.problems(), [Some(ProblemKind::Unhandled)]);
}

#[test]
fn the_guard_is_tried_again_with_growing_pauses_of_at_most_five_seconds() {
    let (mut world, _) = unhandled(&[]);
    world.pass(60_000);
    let read = |world: &World| {
        let guards = world.actions.iter().filter(|(_, action)| matches!(action, Action::ReadGuard(..)));
        guards.count()
    };
    let in_the_first_minute = read(&world);
    assert!((12..=25).contains(&in_the_first_minute), "{in_the_first_minute}");
    world.pass(60_000);
    assert_eq!(read(&world) - in_the_first_minute, 12);
}

#[test]
fn once_the_signal_is_handled_it_is_delivered_and_the_problem_is_solved() {
    let (mut world, _) = unhandled(&[]);
    world.pass(30_000);
    world.node.process_mut(1001).caught = HUP;
    world.pass(10_000);
    assert_eq!(world.sends().len(), 1);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
    assert_eq!(world.problems(), [Some(ProblemKind::Unhandled), None]);
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
}

#[test]
fn a_newer_generation_takes_the_place_of_one_that_is_not_handled() {
    let (mut world, volume) = unhandled(&[]);
    world.pass(30_000);
    world.publish(&volume, 3);
    world.node.process_mut(1001).caught = HUP;
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
    assert_eq!(
        world.outcomes(),
        [("config", generation(2), Outcome::Superseded), ("config", generation(3), Outcome::Delivered)]
    );
    assert_eq!(world.problems(), [Some(ProblemKind::Unhandled), None]);
}

#[test]
fn a_process_that_ends_without_having_handled_the_signal_ends_the_reload_as_unhandled() {
    let (mut world, _) = unhandled(&[]);
    world.pass(30_000);
    world.exit(1001);
    world.pass(1_000);
    world.start(&uid(1), "app");
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Unhandled)]);
    let reason = world.reloads()[0].reason.as_deref().unwrap();
    assert_eq!(reason, "\"app\" (PID 1001) ended without having handled the signal");
    assert_eq!(world.problems(), [Some(ProblemKind::Unhandled), None]);
}

#[test]
fn with_unhandled_send_the_signal_is_sent_all_the_same() {
    let (world, _) = unhandled(&[("reloadlet.io/unhandled", "send")]);
    assert_eq!(world.sends(), [(world.now, 1001)]);
}

#[test]
fn an_ignored_signal_is_not_sent_and_a_blocked_one_is() {
    let mut world = World::app(&[]);
    (world.node.process_mut(1001).caught, world.node.process_mut(1001).ignored) = (0, HUP);
    world.publish(&config(), 2);
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    let process = world.node.process_mut(1001);
    (process.ignored, process.blocked) = (0, HUP);
    world.pass(5_000);
    assert_eq!(world.sends(), [], "it was seen with a handler: it may be between two sets of them");
    world.node.process_mut(1001).caught = HUP;
    world.pass(5_000);
    assert_eq!(world.sends().len(), 1);
}

#[test]
fn a_process_between_two_sets_of_handlers_is_told_when_it_has_them_again() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    world.pass(60_000);
    let process = world.node.process_mut(1001);
    (process.caught, process.blocked) = (0, HUP);
    world.publish(&config(), 3);
    world.pass(5_000);
    assert_eq!(world.sends().len(), 1, "HAProxy executes itself anew: the mask stays, what waits is dropped");
    let process = world.node.process_mut(1001);
    (process.caught, process.blocked) = (HUP, 0);
    world.pass(5_000);
    assert_eq!(world.sends().len(), 2);
}

#[test]
fn a_runtimes_own_process_is_never_sent_anything() {
    for annotations in [&[][..], &[("reloadlet.io/unhandled", "send")]] {
        let mut world = World::app(annotations);
        world.node.process_mut(1001).comm = "runc:[2:INIT]".into();
        world.node.process_mut(1001).caught = u64::MAX;
        world.publish(&config(), 2);
        world.pass(5_000);
        assert_eq!(world.sends(), [], "the guard sees the name of the moment");
        world.node.process_mut(1001).comm = "app".into();
        world.pass(5_000);
        assert_eq!(world.sends().len(), 1);
    }
}

#[test]
fn a_guard_reading_older_than_the_waits_is_made_anew() {
    let mut world = World::app(&[("reloadlet.io/debounce", "2s")]);
    world.publish(&config(), 2);
    world.pass(1_000);
    world.node.process_mut(1001).caught = 0;
    world.pass(60_000);
    assert_eq!(world.sends(), []);
}

#[test]
fn where_only_some_of_the_processes_handle_the_signal_these_are_told_in_the_end() {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/process", "worker")])]);
    let handles = world.node.fork(&uid(1), 1001, "worker", crate::world::STARTED);
    let other = world.node.fork(&uid(1), 1001, "worker", crate::world::STARTED + ms(10));
    world.node.process_mut(other).caught = 0;
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 2);
    let settled = world.now;
    world.pass(60_000);
    assert_eq!(world.sends(), [(settled + ms(10_000), handles)]);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Unhandled)], "the worst of theirs");
    let reason = world.reloads()[0].reason.as_deref().unwrap();
    assert_eq!(reason, "\"worker\" (PID 1003) didn't handle it within 10 s, and the others did");
}

#[test]
fn many_processes_of_a_container_are_read_once_each() {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/process", "worker")])]);
    for _ in 0..50 {
        world.node.fork(&uid(1), 1001, "worker", crate::world::STARTED);
    }
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    world.publish(&config(), 2);
    assert_eq!(world.sends().len(), 50);
    let reads = world.actions.iter().filter(|(_, a)| matches!(a, Action::ReadGuard(..))).count();
    assert!(reads <= 150, "{reads} readings for 50 processes");
}

#[test]
fn masks_that_were_read_for_another_signal_say_nothing() {
    let mut world = World::app(&[]);
    world.hold_back(&Action::ReadGuard(world.node.identity(1001).unwrap(), Signal::HUP));
    world.publish(&config(), 2);
    let process = world.node.identity(1001).unwrap();
    let reading = world.node.guard(&process, world.now);
    let other = Signal::parse("USR1").unwrap();
    world.handle(Event::Guarded(process.clone(), other, reading.clone()));
    assert_eq!(world.sends(), []);
    world.handle(Event::Guarded(process, Signal::HUP, reading));
    assert_eq!(world.sends(), [(world.now, 1001)]);
}
