//! An agent that has just started: whom the one before may have told is looked at first, and nobody else waits for that.

use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::{Action, Event};

use crate::node::{generation, ms, uid};
use crate::world::{PUBLISHED, World, app, config};

/// A pod that an agent has told, which was killed an hour later.
fn killed() -> World {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    world.pass(3_600_000);
    world.stop_agent();
    world.journal.is_whole = false;
    world.actions.clear();
    world
}

#[test]
fn at_the_very_first_start_a_change_just_after_it_is_told_at_once() {
    let mut world = World::node(vec![app(1, &[])]);
    world.start_agent();
    world.pass(100);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, 1001)]);
}

#[test]
fn ten_seconds_after_it_was_told_a_process_has_done_what_it_does_about_that() {
    for (ago, waits) in [(9_999, 2_499), (10_000, 0)] {
        let mut world = World::app(&[]);
        world.publish(&config(), 2);
        world.pass(ago);
        world.journal.is_whole = true;
        world.actions.clear();
        world.start_agent();
        world.pass(500);
        world.publish(&config(), 3);
        let changed = world.now;
        world.pass(10_000);
        assert_eq!(world.sends(), [(changed + ms(waits), 1001)], "{ago} ms");
    }
}

#[test]
fn whoever_turns_out_not_to_have_been_told_by_the_agent_before_is_told_at_once() {
    let mut world = killed();
    world.hold_back(&Action::List(config()));
    world.start_agent();
    world.pass(200);
    // What stands there is what is recorded.
    world.answer();
    world.publish(&config(), 3);
    assert_eq!(world.sends(), [(world.now, 1001)]);
}

#[test]
fn a_pod_that_the_journal_doesnt_know_was_told_by_nobody_before() {
    let mut world = killed();
    let late = app(2, &[]);
    world.node.add_pod(&late, PUBLISHED);
    let pid = world.node.start(&uid(2), "app", PUBLISHED - ms(500));
    world.pods.push(late);
    let started = world.now;
    world.start_agent();
    world.pass(60_000);
    assert_eq!(world.sends(), [(started, pid)]);
}

#[test]
fn a_pod_that_comes_late_and_that_an_agent_may_have_told_is_looked_at_for_three_seconds() {
    let mut world = World::running(vec![app(1, &[]), app(2, &[])]);
    world.publish(&config(), 2);
    world.pass(3_600_000);
    world.stop_agent();
    // The journal of an agent that didn't record whom it told.
    world.journal.shows_deliveries = false;
    world.actions.clear();
    let late = world.pods.remove(0);
    world.start_agent();
    world.pass(1_000);
    let listed = world.now;
    world.pods.push(late);
    world.sync();
    world.pass(500);
    world.publish(&config(), 3);
    world.pass(60_000);
    assert_eq!(world.sends(), [(listed + ms(3_000), 1001)]);
}

#[test]
fn what_an_agent_before_may_have_told_is_looked_at_for_three_seconds_under_other_annotations_too() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    world.pass(1_000);
    world.actions.clear();
    let started = world.now;
    world.start_agent();
    world.pods = vec![app(1, &[("reloadlet.io/verify", "11s")])];
    world.sync();
    world.pass(100);
    world.publish(&config(), 3);
    world.pass(60_000);
    assert_eq!(world.sends(), [(started + ms(3_000), 1001)]);
}

#[test]
fn one_that_was_told_by_its_name_is_told_by_the_next_agent_when_it_has_another() {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/process", "puma")])]);
    let pid = world.node.fork(&uid(1), 1001, "puma", PUBLISHED);
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 2);
    world.pass(60_000);
    world.node.process_mut(pid).comm = "ruby".into();
    world.actions.clear();
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 3);
    world.pass(60_000);
    assert_eq!(world.sends().iter().map(|(_, pid)| *pid).collect::<Vec<_>>(), [pid]);
}

#[test]
fn what_stands_there_while_the_agent_lacks_something_is_a_change_to_an_older_process() {
    let mut world = World::node(vec![app(1, &[])]);
    world.node.process_mut(1001).started = PUBLISHED - ms(500);
    world.journal.existed = true;
    world.blind = Some(Lack::Refused);
    world.start_agent();
    world.pass(60_000);
    world.blind = None;
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(1), Outcome::Delivered)]);
}

#[test]
fn what_stands_there_is_a_change_to_an_older_container_whose_named_process_starts_late() {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/process", "worker")])]);
    world.node.process_mut(1001).started = PUBLISHED - ms(500);
    world.journal.existed = true;
    world.start_agent();
    world.pass(5_000);
    let pid = world.node.fork(&uid(1), 1001, "worker", world.now);
    world.pass(60_000);
    assert_eq!(world.sends().iter().map(|(_, pid)| *pid).collect::<Vec<_>>(), [pid]);
}

#[test]
fn a_pod_of_last_time_whose_volume_isnt_there_may_be_gone_itself() {
    for is_listed in [false, true] {
        let mut world = World::app(&[]);
        world.pods[0].status = [("app".into(), world.node.pod(&uid(1)).containers[0].id.clone())].into();
        world.sync();
        world.stop_agent();
        let volume = world.node.volume(&config());
        (volume.dir, volume.current) = (None, None);
        world.handle(Event::JournalRead(world.journal.clone()));
        if is_listed {
            world.sync();
        }
        world.pass(60_000);
        assert_eq!(world.machine.counts().stale.iter().sum::<usize>(), usize::from(is_listed));
    }
}
