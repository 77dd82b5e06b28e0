//! An agent starts after one that told a replica: what it finds out of that delivery, and how long the other replicas wait for it.

use std::mem::take;

use reloadlet_core::Action;
use reloadlet_core::machine::event::Survey;
use reloadlet_core::model::outcome::Outcome;

use crate::digests::a_read;
use crate::node::{generation, uid};
use crate::replicas::{held, replica, told};
use crate::windows::{content, ends_unseen, killed_after_the_first, others_get_it};
use crate::world::{STARTED, World, app, config};

#[test]
fn the_end_of_a_told_process_that_isnt_the_first_one_of_its_container_counts_after_a_restart_too() {
    let pods = (1..=3).map(|n| replica(n, &[("reloadlet.io/process", "puma")])).collect();
    let mut world = World::node(pods);
    let workers: Vec<u32> = (1..=3).map(|n| world.node.fork(&uid(n), 1000 + n, "puma", STARTED)).collect();
    world.start_agent();
    world.pass(60_000);
    let volume = content(&mut world, 1, 3, 3);
    world.publish(&volume, 3);
    assert_eq!(told(&world), workers[..1]);
    world.pass(200);
    world.stop_agent();
    world.node.kill(workers[0]);
    world.pass(500);
    world.node.fork(&uid(1), 1001, "puma", world.now);
    others_get_it(&mut world);
    world.start_agent();
    world.pass(120_000);
    assert_eq!((told(&world), held(&world)), (workers[..1].to_vec(), 2));
}

#[test]
fn what_stands_there_by_now_isnt_what_ended_a_process_and_nobody_waits_for_what_cant_be_known() {
    let mut world = killed_after_the_first(true);
    for pod in 1..=3 {
        let volume = content(&mut world, pod, 4, 4);
        world.publish_unseen(&volume, 4);
    }
    ends_unseen(&mut world, 1001, 1);
    world.start_agent();
    world.pass(5_000);
    assert_eq!((told(&world), held(&world)), (vec![1001, 1002, 1003], 0));
}

#[test]
fn nobody_is_told_while_the_content_is_read_whose_process_ended_meanwhile() {
    let mut world = killed_after_the_first(true);
    ends_unseen(&mut world, 1001, 1);
    others_get_it(&mut world);
    world.hold_back(&a_read());
    world.start_agent();
    world.pass(5_000);
    assert_eq!(told(&world), [1001]);
    world.answer();
    world.pass(120_000);
    assert_eq!((told(&world), held(&world)), (vec![1001], 2));
}

#[test]
fn nobody_is_told_before_the_process_was_looked_for_that_the_agent_before_told() {
    let mut world = killed_after_the_first(true);
    ends_unseen(&mut world, 1001, 1);
    others_get_it(&mut world);
    world.hold_back(&Action::Survey(Survey { pod: uid(1), name: None, fresh_mounts: false }));
    world.start_agent();
    world.pass(1_000);
    let is_mine = |action: &Action| matches!(action, Action::Survey(survey) if survey.pod == uid(1));
    let (mine, others) = take(&mut world.unanswered).into_iter().partition(is_mine);
    world.unanswered = others;
    world.answer();
    world.pass(5_000);
    assert_eq!(told(&world), [1001]);
    world.unanswered = mine;
    world.answer();
    world.pass(120_000);
    assert_eq!((told(&world), held(&world)), (vec![1001], 2));
}

#[test]
fn an_end_within_a_minute_of_the_window_counts_though_the_container_isnt_started_again() {
    for (millis, expected) in [(40_000, (vec![1001], 2)), (80_000, (vec![1001, 1002, 1003], 0))] {
        let mut world = killed_after_the_first(true);
        world.node.kill(1001);
        world.pass(millis);
        others_get_it(&mut world);
        world.start_agent();
        world.pass(120_000);
        assert_eq!((told(&world), held(&world)), expected, "{millis} ms");
    }
}

#[test]
fn what_ended_a_process_meanwhile_is_known_where_a_newer_generation_holds_the_same() {
    let mut world = World::node((1..=3).map(|n| replica(n, &[("reloadlet.io/keys", "*.conf")])).collect());
    (1..=3).for_each(|pod| drop(content(&mut world, pod, 1, 1)));
    world.start_agent();
    world.pass(60_000);
    for (n, outcome) in [(3, Outcome::Delivered), (4, Outcome::Unchanged)] {
        let volume = content(&mut world, 1, n, 3);
        world.publish(&volume, n);
        world.pass(200);
        assert_eq!(world.outcomes().last(), Some(&("config", generation(n), outcome)));
    }
    world.stop_agent();
    ends_unseen(&mut world, 1001, 1);
    others_get_it(&mut world);
    world.start_agent();
    world.pass(120_000);
    assert_eq!((told(&world), held(&world)), (vec![1001], 2));
}

#[test]
fn an_annotation_that_changes_within_the_window_has_the_delivery_forgotten_for_good() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    world.pass(200);
    for annotations in [&[("reloadlet.io/verify", "11s")][..], &[]] {
        world.pods = vec![app(1, annotations)];
        world.sync();
    }
    world.stop_agent();
    ends_unseen(&mut world, 1001, 1);
    world.start_agent();
    world.pass(60_000);
    assert!(world.journal.endings.is_empty(), "{:?}", world.journal.endings);
}
