//! Lost, late and stale notifications.

use reloadlet_core::machine::event::{Action, Report};
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::{Event, Time};

use crate::node::{generation, ms, uid};
use crate::world::{World, app, app_with_two_volumes, config, more, volume_of};

#[test]
fn an_overflow_lists_every_volume_and_surveys_every_pod() {
    let mut world = World::running(vec![app(1, &[]), app_with_two_volumes(2, &[])]);
    world.handle(Event::Overflowed);
    let mut volumes = Vec::new();
    let mut surveys = Vec::new();
    for (_, action) in &world.actions {
        if let Action::List(volume) = action {
            volumes.push(volume.clone());
        } else if let Action::Survey(survey) = action {
            surveys.push(survey.pod.clone());
        }
    }
    assert_eq!(volumes, [config(), volume_of(2, "config"), volume_of(2, "more")]);
    assert_eq!(surveys, [uid(1), uid(2)]);
    assert!(world.reports().any(|report| *report == Report::Rescan));
}

#[test]
fn changes_whose_notifications_were_lost_are_told_after_an_overflow() {
    let mut world = World::running(vec![app_with_two_volumes(1, &[]), app(2, &[]), app(3, &[])]);
    world.publish_unseen(&config(), 2);
    world.publish_unseen(&more(), 2);
    world.swap(&volume_of(2, "config"), 2);
    world.settle_unseen(&volume_of(2, "config"));
    world.pass(5);
    world.handle(Event::Overflowed);
    world.pass(60_000);
    let told: Vec<u32> = world.sends().into_iter().map(|(_, pid)| pid).collect();
    assert_eq!(told, [1002, 1001], "one with a debounce of 100 ms");
    assert_eq!(world.outcomes().len(), 3);
}

#[test]
fn changes_of_a_pod_whose_notifications_were_dropped_are_told_and_no_other_pod_is_looked_at() {
    let mut world = World::running(vec![app_with_two_volumes(1, &[]), app(2, &[])]);
    world.publish_unseen(&config(), 2);
    world.publish_unseen(&more(), 2);
    world.publish_unseen(&volume_of(2, "config"), 2);
    world.pass(5);
    world.handle(Event::Dropped(uid(1)));
    world.pass(60_000);
    assert_eq!(world.sends().iter().map(|(_, pid)| *pid).collect::<Vec<_>>(), [1001]);
    assert_eq!(world.outcomes().len(), 2);
}

#[test]
fn a_container_that_was_restarted_during_an_overflow_is_found() {
    let mut world = World::app(&[]);
    let process = world.node.kill(1001).unwrap();
    let pid = world.node.start(&uid(1), "app", world.now);
    world.handle(Event::Overflowed);
    world.handle(Event::Exited(process, world.now));
    world.pass(60_000);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, pid)]);
}

fn lists(world: &World) -> usize {
    world.actions.iter().filter(|(_, action)| matches!(action, Action::List(_))).count()
}

#[test]
fn a_listing_older_than_a_notification_is_made_again() {
    let mut world = World::app(&[]);
    let stale = world.node.listing(&config(), world.now);
    world.pass(1);
    world.swap(&config(), 2);
    world.handle(Event::Listed(config(), stale));
    assert_eq!(lists(&world), 1);
    world.pass(1);
    world.settle(&config());
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn a_listing_that_comes_after_a_younger_one_is_passed_over() {
    let mut world = World::app(&[]);
    world.pass(1);
    let older = world.node.listing(&config(), world.now);
    world.publish_unseen(&config(), 2);
    world.pass(1);
    let younger = world.node.listing(&config(), world.now);
    world.handle(Event::Listed(config(), younger));
    world.handle(Event::Listed(config(), older));
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
    world.publish(&config(), 3);
    assert_eq!(world.sends().len(), 2, "the settle of the next swap is seen");
}

#[test]
fn a_swap_whose_name_was_not_told_is_listed() {
    let mut world = World::app(&[]);
    world.publish_unseen(&config(), 2);
    world.handle(Event::Swapped(config(), None, world.now));
    assert_eq!(lists(&world), 1);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn every_swap_is_counted_however_it_was_found() {
    let swaps = |world: &World| world.reports().filter(|report| matches!(report, Report::Swapped(_))).count();
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    assert_eq!(swaps(&world), 1);
    world.publish_unseen(&config(), 3);
    world.handle(Event::Overflowed);
    assert_eq!(swaps(&world), 2);
    world.swap_unseen(&config(), 4);
    world.handle(Event::Overflowed);
    world.settle(&config());
    assert_eq!(swaps(&world), 3);
    world.start_agent();
    assert_eq!(swaps(&world), 3, "what stands there is no swap");
}

#[test]
fn a_notification_twice_is_one_change() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    world.handle(Event::Swapped(config(), Some(generation(2)), world.now));
    world.handle(Event::Removed(config(), generation(1), world.now));
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
}

#[test]
fn events_of_pods_and_volumes_that_are_not_watched_are_passed_over() {
    let mut world = World::app(&[]);
    world.handle(Event::Swapped(volume_of(9, "config"), Some(generation(2)), world.now));
    world.handle(Event::Swapped(volume_of(1, "other"), Some(generation(2)), world.now));
    world.handle(Event::CgroupChanged(uid(9)));
    world.handle(Event::Surveyed(uid(9), Vec::new()));
    assert!(world.actions.is_empty(), "{:?}", world.actions);
}

#[test]
fn a_timer_that_goes_off_late_is_made_up_for() {
    let mut world = World::app(&[("reloadlet.io/debounce", "1s")]);
    world.swap(&config(), 2);
    let long_after: Time = world.now + ms(3_600_000);
    world.now = long_after;
    world.machine.handle_timeout(world.now);
    world.pass(1_000);
    assert_eq!(world.sends().len(), 1);
}
