//! What a container is taken to hold of a volume: it decides what is the same to it, and it is what the status says.

use reloadlet_core::Action;
use reloadlet_core::machine::event::VolumeRef;
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::signal::Signal;
use reloadlet_core::policy::problem::ProblemKind;

use crate::node::{HUP, generation, uid};
use crate::replicas::{held, replica, told};
use crate::world::{World, app, config, volume_of};

/// What is in these generations of a volume.
fn hold(world: &mut World, volume: &VolumeRef, contents: &[(u32, u8)]) {
    let digests = contents.iter().map(|(n, content)| (generation(*n), Digest::new([*content; 32])));
    world.node.volume(volume).digests.extend(digests);
}

/// A container whose files are compared, and what is in each generation.
fn compared(annotations: &[(&str, &str)], contents: &[(u32, u8)]) -> World {
    let keys = [("reloadlet.io/keys", "*.conf")];
    let annotations: Vec<_> = keys.iter().chain(annotations).copied().collect();
    let mut world = World::node(vec![app(1, &annotations)]);
    hold(&mut world, &config(), contents);
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    world
}

#[test]
fn whoever_may_have_read_what_was_never_told_is_told_of_what_it_was_told_of_before() {
    for (later, sends) in [(9_000, 2), (10_100, 1)] {
        let mut world = compared(&[("reloadlet.io/min-interval", "60s")], &[(1, 1), (2, 2), (3, 3), (4, 2)]);
        world.publish(&config(), 2);
        world.pass(later);
        world.publish(&config(), 3);
        world.pass(100);
        world.publish(&config(), 4);
        world.pass(120_000);
        assert_eq!(world.sends().len(), sends, "{later} ms after a signal");
    }
}

#[test]
fn what_stood_there_for_a_moment_may_have_been_read_though_it_never_was_complete() {
    let mut world = compared(&[], &[(1, 1), (2, 2), (3, 3), (4, 2)]);
    world.publish(&config(), 2);
    world.pass(1_000);
    world.swap(&config(), 3);
    world.pass(100);
    world.swap(&config(), 4);
    world.settle(&config());
    world.pass(60_000);
    assert_eq!(world.sends().len(), 2);
}

#[test]
fn whoever_is_due_while_something_newer_stands_there_is_told_of_that_once_it_is_complete() {
    let mut world =
        compared(&[("reloadlet.io/debounce", "1s")], &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 3), (6, 3)]);
    world.publish(&config(), 3);
    world.pass(990);
    world.swap(&config(), 4);
    world.pass(100);
    assert_eq!(world.sends(), [], "it would read what isn't complete, and be told once more");
    // It never was complete.
    world.swap(&config(), 5);
    world.settle(&config());
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
    world.publish(&config(), 6);
    world.pass(60_000);
    let last = world.outcomes().last().cloned();
    assert_eq!((world.sends().len(), last), (1, Some(("config", generation(6), Outcome::Unchanged))));
}

#[test]
fn a_newer_one_that_isnt_complete_in_time_holds_nobody_up_for_longer() {
    let mut world = compared(&[("reloadlet.io/debounce", "1s")], &[(1, 1), (2, 2), (3, 3)]);
    world.publish(&config(), 2);
    world.pass(990);
    world.swap(&config(), 3);
    world.pass(1_990);
    assert_eq!(world.sends(), []);
    world.pass(1_100);
    assert_eq!(
        world.sends().len(),
        1,
        "2 s after the swap it counts as complete, and a second later nothing has come"
    );
}

#[test]
fn a_container_holds_for_certain_what_was_there_clearly_before_it_started() {
    for (later, holds) in [(10, false), (20, false), (21, true)] {
        let mut world = World::app(&[]);
        world.exit(1001);
        world.publish(&config(), 2);
        world.pass(later);
        world.start(&uid(1), "app");
        world.pass(500);
        assert_eq!(world.sends(), [], "who may have read something else is told later");
        let told = world.machine.status(world.now)[0].containers[0].volumes[0].clone();
        let expected = holds.then(|| generation(2).as_str().to_owned());
        assert_eq!(told.holds.as_deref(), expected.as_deref(), "{later} ms");
    }
}

#[test]
fn a_content_that_ends_a_replica_after_a_newer_generation_of_the_same_is_kept_from_the_others() {
    let keys = [("reloadlet.io/keys", "*.conf")];
    let mut world = World::node((1..4).map(|n| replica(n, &keys)).collect());
    for pod in 1..4 {
        hold(&mut world, &volume_of(pod, "config"), &[(1, 1), (2, 2), (3, 2)]);
    }
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    let first = volume_of(1, "config");
    world.publish(&first, 2);
    world.pass(500);
    assert_eq!(told(&world), [1001]);
    // Another file of the volume changes.
    world.publish(&first, 3);
    world.pass(500);
    world.stop_agent();
    world.node.kill(1001).unwrap();
    world.pass(500);
    world.node.start(&uid(1), "app", world.now);
    for pod in [2, 3] {
        world.publish_unseen(&volume_of(pod, "config"), 3);
    }
    world.start_agent();
    world.pass(120_000);
    assert_eq!((told(&world), held(&world)), (vec![1001], 2));
}

#[test]
fn of_a_signal_that_does_nothing_without_a_handler_it_is_said_so() {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/signal", "SIGWINCH")])]);
    world.node.process_mut(1001).caught = 0;
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 2);
    world.pass(20_000);
    let sentence = world.machine.status(world.now)[0].problems[0].sentence.clone();
    assert!(sentence.contains("nothing comes of SIGWINCH without a handler"), "{sentence}");
}

#[test]
fn a_refusal_is_said_again_after_a_delivery_between() {
    let mut world = World::app(&[]);
    world.node.process_mut(1001).caught = 0;
    world.publish(&config(), 2);
    world.pass(20_000);
    let refused = [Some(ProblemKind::Unhandled)];
    assert_eq!(world.problems(), refused);
    let process = world.held.first().unwrap().clone();
    world.hold_back(&Action::Send(process, Signal::HUP));
    world.node.process_mut(1001).caught = HUP;
    world.pass(10_000);
    assert_eq!(world.unanswered.len(), 1, "the signal is on its way");
    world.publish(&config(), 3);
    world.node.process_mut(1001).caught = 0;
    world.answer();
    world.pass(60_000);
    assert_eq!(world.problems(), [refused[0], None, refused[0]]);
}
