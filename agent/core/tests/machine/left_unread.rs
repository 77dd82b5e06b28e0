//! What follows from a delivery that was left unread for what comes later: what counts as the same, what is told beside it, and of which
//! volumes it is said.

use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::journal::Again;
use reloadlet_core::model::outcome::{Outcome, Unread};

use crate::node::generation;
use crate::retelling::{read, reader, unread};
use crate::world::{World, app, app_with_two_volumes, config, more};

/// A container, of whose volume generations 3 and 4 are the same where it counts.
fn same_in_3_and_4(annotations: &[(&str, &str)]) -> World {
    let keys = [("reloadlet.io/keys", "*.conf")];
    let annotations: Vec<_> = keys.iter().chain(annotations).copied().collect();
    let mut world = World::node(vec![app(1, &annotations)]);
    for (n, content) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
        world.node.volume(&config()).digests.insert(generation(n), Digest::new([content; 32]));
    }
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    world
}

/// A container with two volumes that is told every 30 s at most.
fn two_volumes() -> World {
    let annotations = [("reloadlet.io/min-interval", "30s"), ("reloadlet.io/debounce", "0s")];
    World::running(vec![app_with_two_volumes(1, &annotations)])
}

/// The volumes of which the status says that nothing was read.
fn said(world: &World) -> Vec<String> {
    let told = world.machine.status(world.now)[0].containers[0].volumes.clone();
    told.into_iter().filter(|told| told.unread).map(|told| String::from(&*told.name)).collect()
}

fn again(world: &World) -> Again {
    world.journal.rereads.values().next().unwrap().again
}

#[test]
fn a_content_that_was_dropped_is_told_when_it_comes_again_and_one_that_may_have_been_taken_isnt() {
    let mut dropped = same_in_3_and_4(&[("reloadlet.io/retell", "false")]);
    read(&mut dropped, 2);
    unread(&mut dropped, 3);
    assert_eq!((dropped.sends().len(), dropped.unread()), (2, vec![Unread::NotRead]));
    dropped.publish(&config(), 4);
    dropped.pass(5_000);
    assert_eq!(dropped.sends().len(), 3);

    // It was never seen to read: it may take what it is told of in another way.
    let mut taken = same_in_3_and_4(&[]);
    unread(&mut taken, 2);
    unread(&mut taken, 3);
    taken.publish(&config(), 4);
    taken.pass(5_000);
    assert_eq!(taken.sends().len(), 2);
    assert_eq!(taken.outcomes().last(), Some(&("config", generation(4), Outcome::Unchanged)));
}

#[test]
fn a_content_that_comes_again_while_its_second_telling_waits_is_told() {
    let mut world = same_in_3_and_4(&[("reloadlet.io/min-interval", "30s")]);
    read(&mut world, 2);
    unread(&mut world, 3);
    world.publish(&config(), 4);
    world.pass(60_000);
    let told = world.outcomes();
    assert_eq!(told.last(), Some(&("config", generation(4), Outcome::Delivered)), "{told:?}");
}

#[test]
fn nothing_is_told_a_second_time_where_something_newer_waits() {
    let mut world = reader(&[("reloadlet.io/min-interval", "30s")]);
    world.publish(&config(), 3);
    world.pass(5_000);
    world.publish(&config(), 4);
    world.pass(6_000);
    assert_eq!((world.sends().len(), again(&world)), (1, Again::No), "the window is over");
    world.pass(19_100);
    assert_eq!(world.sends().len(), 2);

    let mut other = two_volumes();
    read(&mut other, 2);
    other.publish(&config(), 3);
    other.pass(5_000);
    other.publish(&more(), 2);
    other.pass(6_000);
    assert_eq!((other.sends().len(), again(&other)), (2, Again::No), "of another volume");
    other.pass(19_100);
    assert_eq!((other.sends().len(), other.retold()), (3, vec![]));
}

#[test]
fn what_another_volume_tells_takes_the_place_of_a_second_telling_that_waits() {
    let mut world = two_volumes();
    read(&mut world, 2);
    world.actions.clear();
    unread(&mut world, 3);
    assert_eq!(again(&world), Again::Due);
    world.publish(&more(), 2);
    world.pass(20_100);
    assert!(world.open(&more(), 2));
    world.pass(60_000);
    let told = [("config", generation(3), Outcome::Delivered), ("more", generation(2), Outcome::Delivered)];
    assert_eq!((world.outcomes(), world.retold()), (told.to_vec(), vec![]));
}

#[test]
fn nothing_is_told_a_second_time_that_a_swap_has_displaced_already() {
    let mut world = reader(&[]);
    world.publish(&config(), 3);
    world.pass(9_500);
    world.swap(&config(), 4);
    world.pass(600);
    assert_eq!((world.sends().len(), again(&world)), (1, Again::No));
    world.settle(&config());
    world.pass(5);
    assert!(world.open(&config(), 4));
    world.pass(60_000);
    assert_eq!((world.sends().len(), world.retold(), world.unread()), (2, vec![], vec![]));
}

#[test]
fn what_is_said_of_a_volume_stands_until_the_second_telling_of_another_one_is_left_unread() {
    let mut world = World::running(vec![app_with_two_volumes(1, &[("reloadlet.io/debounce", "0s")])]);
    read(&mut world, 2);
    world.publish(&more(), 2);
    world.pass(60_000);
    assert_eq!(said(&world), ["more"]);
    unread(&mut world, 3);
    assert_eq!((said(&world), again(&world)), (vec!["more".to_owned()], Again::Made), "it isn't known yet");
    world.pass(10_000);
    assert_eq!(said(&world), ["config"]);
}
