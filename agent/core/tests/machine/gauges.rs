//! The machine says when the numbers for gauges have changed, and only then. That what was given last is never behind is
//! checked after each event of every test here (`World`).

use std::sync::Arc;

use reloadlet_core::machine::event::{Delivery, Event, Survey, VolumeRef};
use reloadlet_core::machine::status::{Counts, StaleReason};
use reloadlet_core::model::signal::Signal;
use reloadlet_core::{Action, Machine, Time};

use crate::digests::{a_read, rebuild};
use crate::measuring::{measured, show, version};
use crate::node::{HUP, generation, uid};
use crate::world::{World, app, app_with_two_volumes, config};

/// The numbers as gauges show them, and whether they were given anew since that was last asked.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    shown: Counts,
    changed: bool,
}

impl Gauges {
    /// Whatever has happened: what they show is never behind.
    pub(crate) fn follow(&mut self, machine: &mut Machine) {
        if let Some(counts) = machine.take_counts() {
            self.shown = counts;
            self.changed = true;
        }
        assert_eq!(self.shown, machine.counts());
    }

    const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }
}

/// How much is stale for a reason.
fn stale(world: &World, wanted: StaleReason) -> usize {
    let counts = StaleReason::ALL.into_iter().zip(world.machine.counts().stale);
    counts.filter(|(reason, _)| *reason == wanted).map(|(_, count)| count).sum()
}

/// Whether what is done changes the numbers.
fn changes(world: &mut World, what: impl FnOnce(&mut World)) -> bool {
    world.gauges.take_changed();
    what(world);
    world.gauges.take_changed()
}

#[test]
fn the_numbers_are_given_at_first_and_then_only_when_they_are_others() {
    let mut machine = Machine::new();
    assert_eq!(machine.take_counts(), Some(machine.counts()));
    assert_eq!(machine.take_counts(), None);
    machine.handle(Time::default(), Event::Overflowed);
    assert_eq!(machine.take_counts(), None, "nothing is watched");
}

#[test]
fn pods_that_come_go_or_ask_for_other_things_change_the_numbers() {
    let mut world = World::app(&[]);
    let second = app(2, &[]);
    world.node.add_pod(&second, world.now);
    world.pods.push(second);
    assert!(changes(&mut world, World::sync));
    assert!(!changes(&mut world, World::sync), "they are known");
    world.pods[1] = app(2, &[("reloadlet.io/debounce", "soon")]);
    assert!(changes(&mut world, World::sync));
    assert_eq!((world.machine.counts().watched, world.machine.counts().invalid), (1, 1));
    world.pods[1] = app(2, &[("reloadlet.io/debounce", "soon"), ("reloadlet.io/nothing", "")]);
    assert!(changes(&mut world, World::sync), "it has another problem as well");
    world.pods.pop();
    assert!(changes(&mut world, World::sync));
    assert!(!changes(&mut world, |world| {
        world.pods[0] = app(1, &[("reloadlet.io/debounce", "1s")]);
        world.sync();
    }));
    assert!(changes(&mut world, |world| {
        world.pods[0] = app_with_two_volumes(1, &[]);
        world.sync();
    }));
}

#[test]
fn a_change_that_waits_and_its_end_change_the_numbers() {
    let mut world = World::app(&[("reloadlet.io/debounce", "1s")]);
    assert!(!changes(&mut world, |world| world.swap(&config(), 2)));
    assert!(changes(&mut world, |world| world.settle(&config())));
    assert_eq!(stale(&world, StaleReason::Undelivered), 1);
    assert!(changes(&mut world, |world| world.pass(1_000)), "it is delivered");
    assert_eq!((world.sends().len(), stale(&world, StaleReason::Undelivered)), (1, 0));
}

#[test]
fn what_the_api_server_shows_and_what_is_read_of_the_disk_change_the_numbers() {
    let mut world = measured(vec![app(1, &[])]);
    assert!(changes(&mut world, |world| show(world, "config", version(2, 2))));
    assert_eq!(stale(&world, StaleReason::Waiting), 1);
    show(&mut world, "config", version(3, 3));
    world.hold_back(&a_read());
    assert!(changes(&mut world, |world| world.publish(&config(), 2)), "what came isn't known yet");
    assert_eq!((world.sends().len(), stale(&world, StaleReason::Waiting)), (1, 0));
    // The agent reads when the container had its time.
    world.pass(300);
    assert!(changes(&mut world, World::answer));
    assert_eq!(stale(&world, StaleReason::Waiting), 1);
    assert!(!changes(&mut world, |world| show(world, "config", version(3, 3))));
}

#[test]
fn the_end_of_a_process_and_a_survey_change_the_numbers() {
    let mut world = World::app(&[]);
    // What the container holds isn't known, since nobody could be told.
    world.delivery = Delivery::Denied;
    assert!(changes(&mut world, |world| world.publish(&config(), 2)));
    assert_eq!(stale(&world, StaleReason::Undelivered), 1);
    world.hold_back(&survey());
    assert!(!changes(&mut world, |world| world.exit(1001)), "another one may have read the same");
    assert!(changes(&mut world, World::answer), "none runs");
    assert_eq!(stale(&world, StaleReason::Undelivered), 0);
}

#[test]
fn a_process_that_is_gone_before_it_is_held_changes_the_numbers() {
    let mut world = World::app(&[]);
    world.delivery = Delivery::Denied;
    world.publish(&config(), 2);
    assert_eq!(stale(&world, StaleReason::Undelivered), 1);
    let process = world.node.kill(1001).unwrap();
    assert!(changes(&mut world, |world| world.handle(Event::NotHeld(process))));
    assert_eq!(stale(&world, StaleReason::Undelivered), 0);
}

fn survey() -> Action {
    Action::Survey(Survey { pod: uid(1), name: None, fresh_mounts: false })
}

#[test]
fn endings_after_which_a_container_is_told_nothing_change_the_numbers() {
    let mut world = World::app(&[]);
    let mut pid = 1001;
    for n in [2, 3] {
        world.publish(&config(), n);
        world.pass(100);
        assert!(!changes(&mut world, |world| world.exit(pid)), "something else may have ended it");
        pid = world.start(&uid(1), "app");
        let said = changes(&mut world, |world| world.pass(60_000));
        assert_eq!(said, n == 3, "the second one in a row is a problem");
    }
    assert!(changes(&mut world, |world| world.publish(&config(), 4)));
    assert_eq!(stale(&world, StaleReason::Suspended), 1);
}

#[test]
fn a_problem_that_time_brings_and_its_end_change_the_numbers() {
    let mut world = World::app(&[]);
    world.node.process_mut(1001).caught = 0;
    world.publish(&config(), 2);
    assert!(!changes(&mut world, |world| world.pass(9_999)));
    assert!(changes(&mut world, |world| world.pass(1)));
    assert_eq!(world.machine.counts().problems.iter().sum::<usize>(), 1);
    world.node.process_mut(1001).caught = HUP;
    assert!(changes(&mut world, |world| world.pass(10_000)));
    assert_eq!(world.machine.counts().problems.iter().sum::<usize>(), 0);
    let wrong = Event::KubeletRoot(Some(Arc::from("it is wrong")));
    assert!(changes(&mut world, |world| world.handle(wrong)));
    assert!(changes(&mut world, |world| world.handle(Event::KubeletRoot(None))));
}

#[test]
fn a_volume_that_is_made_anew_changes_the_numbers() {
    let mut world = World::app(&[]);
    world.node.pod(&uid(1)).containers[0].dead.insert("config".into());
    assert!(changes(&mut world, |world| rebuild(world, &config(), 2, false)));
    assert_eq!(stale(&world, StaleReason::Orphaned), 1);
}

#[test]
fn what_leaves_the_numbers_as_they_are_says_nothing() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    let process = world.node.identity(1001).unwrap();
    let guard = world.node.guard(&process, world.now);
    let other = VolumeRef { pod: uid(9), volume: "config".into() };
    let (at, settled) = (world.now, generation(1));
    for event in [
        Event::Held(process.clone()),
        Event::Guarded(process, Signal::HUP, guard),
        Event::Opened(config(), generation(2), at),
        Event::Removed(config(), settled, at),
        Event::Swapped(other, Some(generation(7)), at),
        Event::CgroupChanged(uid(1)),
        Event::Dropped(uid(1)),
        Event::Overflowed,
        Event::Strategy(None),
    ] {
        let name = format!("{event:?}");
        assert!(!changes(&mut world, |world| world.handle(event)), "{name}");
    }
}
