//! The agent starts again and finds its journal.

use std::sync::Arc;

use reloadlet_core::model::journal::{Handled, JournalKey, JournalSnapshot};
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::{Action, Event};

use crate::node::{generation, ms, uid};
use crate::world::{PUBLISHED, STARTED, World, app, config};

/// An agent that starts with a journal, on a node whose process started so long after (or before) the publication.
pub(crate) fn with_journal(handled: Option<u32>, started_late: i64) -> World {
    let mut world = World::node(vec![app(1, &[])]);
    let late = ms(started_late.unsigned_abs());
    let started = if started_late < 0 { PUBLISHED - late } else { PUBLISHED + late };
    world.node.process_mut(1001).started = started;
    world.journal.existed = true;
    if let Some(n) = handled {
        let key = JournalKey { pod: uid(1), container: "app".into(), volume: "config".into() };
        world.journal.handled.insert(key, Handled::new(generation(n), None));
    }
    world.start_agent();
    world.pass(60_000);
    world
}

fn recorded(world: &World) -> Vec<(u32, Option<Outcome>)> {
    let number = |handled: &Handled| handled.generation.as_str().rsplit('.').next().unwrap().parse().unwrap();
    world.journal.handled.values().map(|handled| (number(handled), handled.outcome)).collect()
}

#[test]
fn a_generation_that_the_journal_names_is_not_told_again() {
    let world = with_journal(Some(1), -500);
    assert_eq!((world.sends(), world.outcomes()), (vec![], vec![]));
}

#[test]
fn a_generation_that_has_moved_on_is_told() {
    let world = with_journal(Some(9), -500);
    assert_eq!(world.sends().len(), 1);
    assert_eq!(world.outcomes(), [("config", generation(1), Outcome::Delivered)]);
    assert_eq!(recorded(&world), [(1, Some(Outcome::Delivered))]);
}

#[test]
fn a_generation_that_has_moved_on_is_not_told_to_a_process_that_started_after_it() {
    let world = with_journal(Some(9), 500);
    assert_eq!(world.outcomes(), [("config", generation(1), Outcome::StartedAfter)]);
}

#[test]
fn a_volume_new_to_the_journal_is_told_to_an_older_process_only() {
    let world = with_journal(None, -500);
    assert_eq!(world.outcomes(), [("config", generation(1), Outcome::Delivered)]);
    let world = with_journal(None, 500);
    assert_eq!((world.sends(), world.outcomes()), (vec![], vec![]));
    assert_eq!(recorded(&world), [(1, None)]);
}

#[test]
fn a_volume_new_to_the_journal_whose_container_does_not_run_is_a_baseline() {
    let mut world = World::node(vec![app(1, &[])]);
    world.node.kill(1001);
    world.journal.existed = true;
    world.start_agent();
    assert_eq!(recorded(&world), [(1, None)]);
    assert!(world.machine.is_ready());
}

#[test]
fn a_pod_that_comes_later_is_a_baseline_at_its_first_publication() {
    let mut world = World::app(&[]);
    let late = app(2, &[]);
    world.node.add_pod(&late, world.now);
    world.node.volume(&crate::world::volume_of(2, "config")).current = None;
    world.pods.push(late);
    world.sync();
    world.pass(100);
    world.swap(&crate::world::volume_of(2, "config"), 1);
    world.pass(100);
    world.start(&uid(2), "app");
    world.pass(60_000);
    assert_eq!((world.sends(), world.outcomes()), (vec![], vec![]));
    assert_eq!(recorded(&world), [(1, None), (1, None)]);
}

#[test]
fn a_swap_between_two_agents_is_told_once_by_the_second() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    world.stop_agent();
    world.publish_unseen(&config(), 3);
    world.pass(1_000);
    for _ in 0..2 {
        world.start_agent();
        world.pass(60_000);
    }
    assert_eq!(world.sends().len(), 2);
    assert_eq!(recorded(&world), [(3, Some(Outcome::Delivered))]);
}

#[test]
fn a_swap_that_never_settled_is_told_two_seconds_after_it_and_once_its_process_was_seen_for_three() {
    let is_settled =
        |world: &World| world.machine.status(world.now)[0].volumes[0].settled_seconds_ago.is_some();
    let mut world = World::app(&[]);
    world.stop_agent();
    world.swap_unseen(&config(), 2);
    let swapped = world.now;
    world.pass(500);
    world.start_agent();
    world.pass(1_499);
    assert!(!is_settled(&world), "it isn't complete yet");
    world.pass(1);
    assert!(is_settled(&world));
    world.pass(60_000);
    assert_eq!(world.sends(), [(swapped + ms(3_500), 1001)]);
}

#[test]
fn what_a_dead_kubelet_left_behind_long_ago_does_not_make_a_generation_younger() {
    let mut world = World::node(vec![app(1, &[])]);
    world.node.volume(&config()).others.insert(generation(8));
    world.node.process_mut(1001).started = PUBLISHED + ms(10_000);
    world.journal.existed = true;
    world.start_agent();
    world.pass(60_000);
    assert_eq!(world.sends(), [], "the process has read it at its start");
    assert_eq!(recorded(&world), [(1, None)]);
}

#[test]
fn a_journal_that_is_read_after_the_pods_is_waited_for() {
    let mut world = World::node(vec![app(1, &[])]);
    world.sync();
    world.pass(1_000);
    assert!(world.actions.is_empty() && !world.machine.is_ready());
    world.handle(Event::JournalRead(JournalSnapshot::default()));
    assert_eq!(recorded(&world), [(1, None)]);
    assert!(world.machine.is_ready());
}

#[test]
fn records_of_unknown_pods_are_forgotten() {
    let mut world = World::node(vec![app(1, &[]), app(2, &[])]);
    world.start_agent();
    world.pods.pop();
    world.start_agent();
    world.pass(59_000);
    assert_eq!(world.journal.handled.len(), 2, "it may be listed again");
    world.pass(1_000);
    assert!(world.journal.handled.keys().all(|key| key.pod == uid(1)), "{:?}", world.journal);
}

#[test]
fn the_agent_is_ready_when_every_volume_was_listed_and_every_baseline_recorded() {
    let mut world = World::node(vec![app(1, &[])]);
    assert!(!world.machine.is_ready());
    world.hold_back(&Action::List(config()));
    world.handle(Event::JournalRead(JournalSnapshot::default()));
    assert!(!world.machine.is_ready());
    world.handle(Event::PodsSynced(vec![Arc::new(app(1, &[]))]));
    assert!(!world.machine.is_ready());
    world.answer();
    assert!(world.machine.is_ready());
    assert_eq!(recorded(&world), [(1, None)]);
    assert!(world.now > STARTED);
}

#[test]
fn a_pod_that_waits_or_refuses_does_not_keep_the_agent_from_being_ready() {
    for annotations in [&[("reloadlet.io/splay", "24h")][..], &[]] {
        let mut world = World::node(vec![app(1, annotations)]);
        world.node.process_mut(1001).started = PUBLISHED - ms(500);
        world.node.process_mut(1001).caught = 0;
        world.journal.existed = true;
        world.start_agent();
        world.pass(1_000);
        assert!(world.machine.is_ready());
    }
}

/// An agent that starts after a change and isn't told any pods.
fn untold() -> World {
    let mut world = World::app(&[]);
    world.stop_agent();
    world.publish_unseen(&config(), 2);
    world.stop_agent();
    world.handle(Event::JournalRead(world.journal.clone()));
    world.pass(60_000);
    world
}

#[test]
fn pods_of_last_time_are_served_until_somebody_tells_the_nodes_pods() {
    let mut world = untold();
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
    assert!(!world.machine.is_ready(), "nobody has told the pods");
    world.sync();
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
    assert!(world.machine.is_ready());
}

#[test]
fn a_pod_of_last_time_that_is_not_told_any_more_is_forgotten() {
    let mut world = untold();
    world.handle(Event::PodsSynced(Vec::new()));
    world.pass(60_000);
    assert_eq!((world.journal.pods.len(), world.journal.handled.len()), (0, 0));
    assert!(world.machine.status(world.now).is_empty());
}

#[test]
fn a_pod_that_became_invalid_is_not_told_by_what_was_known_of_it_before() {
    let mut world = World::app(&[]);
    let broken = app(1, &[("reloadlet.io/container", "nobody")]);
    world.handle(Event::PodsSynced(vec![Arc::new(broken)]));
    world.publish_unseen(&config(), 2);
    world.stop_agent();
    world.handle(Event::JournalRead(world.journal.clone()));
    world.pass(60_000);
    assert_eq!(world.outcomes(), vec![]);
    assert_eq!(world.machine.counts().invalid, 1);
}

#[test]
fn what_was_asked_for_last_time_doesnt_count_when_the_pods_are_told_in_time() {
    let mut world = World::app(&[]);
    world.stop_agent();
    world.publish_unseen(&config(), 2);
    world.handle(Event::JournalRead(world.journal.clone()));
    world.pass(4_000);
    world.handle(Event::PodsSynced(vec![Arc::new(app(1, &[("reloadlet.io/signal", "none")]))]));
    world.pass(60_000);
    assert_eq!((world.sends(), world.outcomes()), (vec![], vec![]));
}

#[test]
fn an_empty_first_listing_repeats_nothing_and_loses_nothing() {
    for published in [false, true] {
        let mut world = World::app(&[]);
        world.publish(&config(), 2);
        world.pass(60_000);
        world.stop_agent();
        if published {
            world.publish_unseen(&config(), 3);
        }
        world.actions.clear();
        world.handle(Event::JournalRead(world.journal.clone()));
        world.handle(Event::PodsSynced(Vec::new()));
        world.pass(30_000);
        world.sync();
        world.pass(60_000);
        assert_eq!(world.sends().len(), usize::from(published), "published meanwhile: {published}");
    }
}

#[test]
fn an_empty_listing_at_the_very_first_start_makes_no_storm() {
    let mut world = World::node(vec![app(1, &[]), app(2, &[])]);
    for pid in [1001, 1002] {
        world.node.process_mut(pid).started = PUBLISHED - ms(500);
    }
    world.handle(Event::JournalRead(JournalSnapshot::default()));
    world.handle(Event::PodsSynced(Vec::new()));
    world.pass(1_000);
    world.sync();
    world.pass(120_000);
    assert_eq!((world.sends(), world.outcomes()), (vec![], vec![]));
    // What comes later is no installation any more.
    let late = app(3, &[]);
    world.node.add_pod(&late, world.now);
    world.node.start(&uid(3), "app", world.now - ms(500));
    world.pods.push(late);
    world.sync();
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
}

/// A pod that was told of a change so long before the agent ended, which had recorded everything if it ended in order. Another change
/// came while there was none, or comes half a second after the start. How long after the start, or the change, it is told.
fn told_after(ago: u64, in_order: bool, published_before: bool, earlier: bool) -> u128 {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    world.pass(ago);
    world.stop_agent();
    if published_before {
        world.publish_unseen(&config(), 3);
    }
    world.actions.clear();
    world.journal.is_whole = in_order;
    world.journal.shows_deliveries = !earlier;
    let mut since = world.now;
    world.start_agent();
    if !published_before {
        world.pass(500);
        world.publish(&config(), 3);
        since = world.now;
    }
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
    world.sends()[0].0.since(since).as_millis()
}

#[test]
fn whoever_was_not_told_shortly_before_the_agent_ended_is_told_at_once_after_its_start() {
    for in_order in [false, true] {
        assert_eq!(told_after(3_600_000, in_order, false, false), 0, "in order: {in_order}");
    }
    assert_eq!(told_after(3_600_000, true, true, false), 0);
    assert_eq!(told_after(11_000, true, true, false), 0);
}

#[test]
fn whoever_may_have_been_told_shortly_before_the_agent_ended_is_looked_at_for_three_seconds() {
    // It may have been told of what stands there: the record of that may be lost.
    assert_eq!(told_after(3_600_000, false, true, false), 3_000);
    for (ago, in_order, earlier) in
        [(5_000, false, false), (5_000, true, false), (3_600_000, false, true), (3_600_000, true, true)]
    {
        assert_eq!(told_after(ago, in_order, false, earlier), 2_499, "{ago} {in_order} {earlier}");
        assert_eq!(told_after(ago, in_order, true, earlier), 3_000, "{ago} {in_order} {earlier}");
    }
}

#[test]
fn where_nothing_is_known_of_the_agent_before_everybody_is_looked_at_for_three_seconds() {
    let mut world = World::node(vec![app(1, &[])]);
    world.node.process_mut(1001).started = PUBLISHED - ms(500);
    world.journal.existed = true;
    let started = world.now;
    world.start_agent();
    world.pass(60_000);
    assert_eq!(world.sends(), [(started + ms(3_000), 1001)]);
}
