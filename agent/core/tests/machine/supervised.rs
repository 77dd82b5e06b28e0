//! A program that a supervisor starts again and again within one container, or that starts the next one itself.

use reloadlet_core::model::outcome::{Outcome, Verdict};
use reloadlet_core::model::pod::Phase;

use crate::node::{generation, uid};
use crate::world::{STARTED, World, app, config};

const NAMED: (&str, &str) = ("reloadlet.io/process", "server");

fn phase(ready: bool) -> Phase {
    Phase { started: Some(true), ready: Some(ready), killed: None }
}

/// A supervisor whose program has run for a while.
fn supervised() -> (World, u32) {
    let mut world = World::node(vec![app(1, &[NAMED])]);
    world.node.process_mut(1001).comm = "runsvdir".into();
    let server = world.node.fork(&uid(1), 1001, "server", STARTED);
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    (world, server)
}

/// The supervisor starts its program anew.
fn start_anew(world: &mut World, server: u32) -> u32 {
    world.exit(server);
    world.pass(100);
    world.node.fork(&uid(1), 1001, "server", world.now)
}

#[test]
fn a_program_that_ended_young_of_the_signal_is_left_to_grow_twice_as_old_the_next_time() {
    for status in [None, Some(true), Some(false)] {
        let (mut world, server) = supervised();
        if let Some(is_ready) = status {
            world.show_phase(phase(true));
            world.pass(1_000);
            world.show_phase(phase(is_ready));
        }
        let young = start_anew(&mut world, server);
        world.pass(if status == Some(false) { 61_000 } else { 4_000 });
        world.publish(&config(), 2);
        assert_eq!(world.sends().last(), Some(&(world.now, young)), "{status:?}");
        world.pass(1_000);
        let next = start_anew(&mut world, young);
        let started = world.now;
        world.pass(3_500);
        world.publish(&config(), 3);
        world.pass(120_000);
        let (told, pid) = world.sends()[1];
        let age = told.since(started).as_millis();
        assert_eq!(pid, next);
        match status {
            Some(false) => assert_eq!(age, 60_000, "it isn't known to be ready"),
            Some(true) | None => assert!((9_990..10_100).contains(&age), "{status:?}: {age}"),
        }
    }
}

/// The program starts the next one, which then goes on without it.
fn hand_over(world: &mut World, server: u32) -> u32 {
    world.pass(50);
    let next = world.node.fork(&uid(1), 1001, "server", world.now);
    world.node.process_mut(next).parent = server;
    world.pass(500);
    world.node.process_mut(next).parent = 1001;
    world.exit(server);
    next
}

#[test]
fn a_program_that_hands_over_to_the_next_one_and_ends_has_lived_through_the_signal() {
    let (mut world, mut server) = supervised();
    for n in 2..6 {
        world.publish(&config(), n);
        assert_eq!(world.sends().last(), Some(&(world.now, server)));
        server = hand_over(&mut world, server);
        assert!(world.open(&config(), n));
        world.pass(60_000);
    }
    assert!(!world.machine.status(world.now)[0].containers[0].is_suspended);
    assert_eq!((world.journal.endings.len(), world.problems()), (0, vec![]));
    assert_eq!(world.verdicts(), [Verdict::Reread; 4]);
    assert_eq!(world.outcomes().last(), Some(&("config", generation(5), Outcome::Delivered)));
}

#[test]
fn one_that_it_was_handed_over_to_and_that_ends_too_has_ended_of_the_signal() {
    let (mut world, mut server) = supervised();
    for n in [2, 3] {
        world.publish(&config(), n);
        server = hand_over(&mut world, server);
        world.pass(500);
        server = start_anew(&mut world, server);
        world.pass(60_000);
    }
    assert!(world.machine.status(world.now)[0].containers[0].is_suspended);
    assert_eq!(world.verdicts(), [Verdict::Restarted; 2]);
}

#[test]
fn one_that_its_supervisor_has_started_anew_is_no_hand_over() {
    for pause in [0, 5, 100] {
        let (mut world, mut server) = supervised();
        for n in [2, 3] {
            world.publish(&config(), n);
            world.pass(700);
            if let Some(ended) = world.node.kill(server) {
                world.pass(pause);
                // Its start has been rounded down.
                let ended_at = world.now;
                server = world.node.fork(&uid(1), 1001, "server", ended_at - crate::node::ms(9));
                world.handle(reloadlet_core::Event::Exited(ended, ended_at));
            }
            world.pass(60_000);
        }
        assert!(world.machine.status(world.now)[0].containers[0].is_suspended, "{pause}");
    }
}
