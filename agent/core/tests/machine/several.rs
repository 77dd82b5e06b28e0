//! Several processes that are told together, and a choice that changes: what becomes of one of them doesn't take the change
//! from the others.

use reloadlet_core::model::outcome::{Outcome, Verdict};
use reloadlet_core::model::signal::Signal;
use reloadlet_core::{Action, Event};

use crate::node::{generation, ms, uid};
use crate::world::{STARTED, World, app, config};

/// A container with two processes of this name, of which the first one handles the signal.
fn workers(second: impl Fn(&mut crate::node::ProcessState)) -> (World, u32, u32) {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/process", "worker")])]);
    let pids = [(); 2].map(|()| world.node.fork(&uid(1), 1001, "worker", STARTED));
    second(world.node.process_mut(pids[1]));
    world.start_agent();
    world.pass(60_000);
    (world, pids[0], pids[1])
}

#[test]
fn under_another_name_another_process_is_told_although_one_was_told_before() {
    for named in ["app", "1"] {
        let mut world = World::node(vec![app(1, &[])]);
        world.node.process_mut(1001).comm = "entry".into();
        let child = world.node.fork(&uid(1), 1001, "app", STARTED);
        world.start_agent();
        world.pass(60_000);
        world.publish(&config(), 2);
        assert_eq!(world.sends(), [(world.now, 1001)]);
        world.pass(60_000);
        let named = if named == "1" { "entry" } else { named };
        world.pods[0] = app(1, &[("reloadlet.io/process", named)]);
        world.sync();
        world.pass(60_000);
        world.publish(&config(), 3);
        let told = if named == "app" { child } else { 1001 };
        assert_eq!(world.sends()[1..], [(world.now, told)], "{named}");
    }
}

#[test]
fn a_process_that_ends_without_having_handled_the_signal_takes_the_change_from_no_other_one() {
    let (mut world, handles, other) = workers(|process| process.caught = 0);
    world.publish(&config(), 2);
    world.pass(4_000);
    assert_eq!(world.sends(), []);
    world.exit(other);
    world.pass(60_000);
    assert_eq!(world.sends().iter().map(|(_, pid)| *pid).collect::<Vec<_>>(), [handles]);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
    // The last one that is told does.
    let (mut world, handles, other) = workers(|process| process.caught = 0);
    world.node.process_mut(handles).caught = 0;
    world.publish(&config(), 2);
    world.pass(4_000);
    world.exit(other);
    world.pass(4_000);
    assert_eq!(world.outcomes(), []);
    world.exit(handles);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Unhandled)]);
}

#[test]
fn one_that_had_ended_by_itself_before_it_was_sent_the_signal_didnt_end_of_it() {
    let (mut world, _, mut other) = workers(|_| {});
    for n in 2..6 {
        // It ends at the change by itself, and that is taken in after the send.
        let ended = world.node.identity(other).unwrap();
        world.hold_back(&Action::Send(ended.clone(), Signal::HUP));
        world.publish(&config(), n);
        world.node.kill(other);
        world.answer();
        world.pass(1);
        world.handle(Event::Exited(ended, world.now));
        other = world.node.fork(&uid(1), 1001, "worker", world.now);
        world.pass(60_000);
    }
    assert!(!world.machine.status(world.now)[0].containers[0].is_suspended);
    assert_eq!(world.verdicts(), [Verdict::Alive; 4]);
}

#[test]
fn a_process_that_is_started_again_and_again_keeps_a_change_from_the_others_for_a_minute_at_most() {
    let (mut world, lives, mut other) = workers(|_| {});
    let swapped = world.now;
    let mut start_anew = |world: &mut World| {
        let next = world.node.fork(&uid(1), 1001, "worker", world.now);
        world.exit(std::mem::replace(&mut other, next));
    };
    world.swap(&config(), 2);
    start_anew(&mut world);
    world.settle(&config());
    for _ in 0..60 {
        world.pass(2_000);
        start_anew(&mut world);
    }
    let sends = world.sends();
    assert_eq!(sends.iter().map(|(_, pid)| *pid).collect::<Vec<_>>(), [lives]);
    assert!(sends[0].0 >= swapped + ms(60_000) && sends[0].0 < swapped + ms(65_000), "{sends:?}");
}

#[test]
fn a_process_that_has_become_another_program_is_not_the_one_that_was_chosen_by_name() {
    let mut world =
        World::node(vec![app(1, &[("reloadlet.io/process", "worker"), ("reloadlet.io/debounce", "5s")])]);
    let pid = world.node.fork(&uid(1), 1001, "worker", STARTED);
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 2);
    world.pass(1_000);
    world.node.process_mut(pid).comm = "helper".into();
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::NoProcess)]);
}
