//! Which reading of a process decides, and what a process that changes all the time keeps waiting.

use std::mem::take;

use reloadlet_core::model::outcome::{Outcome, Verdict};
use reloadlet_core::model::signal::Signal;
use reloadlet_core::{Action, Event};

use crate::node::{HUP, generation, ms, uid};
use crate::world::{PUBLISHED, STARTED, World, app, config};

#[test]
fn masks_that_were_read_before_the_end_of_a_wait_say_nothing_however_short_it_is() {
    let mut world = World::app(&[("reloadlet.io/debounce", "1ms")]);
    world.swap(&config(), 2);
    world.pass(1);
    world.settle(&config());
    world.node.exec(1001, "app", 100_000);
    world.pass(1);
    assert_eq!(world.sends(), []);
}

#[test]
fn masks_that_take_long_to_be_read_decide_when_they_come() {
    let mut world = World::app(&[]);
    let process = world.node.identity(1001).unwrap();
    world.swap(&config(), 2);
    world.pass(10);
    world.hold_back(&Action::ReadGuard(process.clone(), Signal::HUP));
    world.settle(&config());
    let asked = take(&mut world.unanswered);
    assert_eq!(asked.len(), 1, "those of the swap are too old");
    let masks = world.node.guard(&process, world.now);
    world.pass(50);
    world.handle(Event::Guarded(process, Signal::HUP, masks));
    assert_eq!(world.sends(), [(world.now, 1001)]);
}

#[test]
fn one_that_has_another_name_at_each_reading_is_looked_for_three_times_and_then_taken_as_it_is() {
    let mut world = World::app(&[]);
    let process = world.node.identity(1001).unwrap();
    world.pass(1_000);
    let before = world.surveys();
    world.hold_back(&Action::ReadGuard(process.clone(), Signal::HUP));
    world.publish(&config(), 2);
    for n in 0..20 {
        // Another name is one of a program that may have just begun.
        world.pass(if n == 1 { 3_000 } else { 10 });
        world.unanswered.clear();
        world.node.process_mut(1001).comm = format!("app {n}");
        let masks = world.node.guard(&process, world.now);
        world.node.process_mut(1001).comm = "app".into();
        world.handle(Event::Guarded(process.clone(), Signal::HUP, masks));
    }
    assert_eq!((world.sends().len(), world.surveys() - before), (1, 3));
}

#[test]
fn one_that_has_executed_itself_again_since_the_change_is_left_to_grow_though_it_had_done_so_before() {
    let mut world = World::app(&[]);
    let process = world.node.identity(1001).unwrap();
    let exec = |world: &mut World, memory: u64| {
        world.node.exec(1001, "app", memory);
        world.node.process_mut(1001).caught = HUP;
    };
    exec(&mut world, 90_000);
    let masks = world.node.guard_closely(&process, world.now);
    world.handle(Event::Guarded(process, Signal::HUP, masks));
    world.pass(8_000);
    exec(&mut world, 80_000);
    world.publish(&config(), 2);
    world.pass(2_900);
    exec(&mut world, 70_000);
    let executed = world.now;
    world.pass(60_000);
    let sends = world.sends();
    assert!(sends.len() == 1 && sends[0].0 >= executed + ms(3_000), "{sends:?} {executed:?}");
}

#[test]
fn one_that_executes_itself_again_and_again_keeps_a_change_waiting_for_some_ten_seconds() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    world.pass(60_000);
    world.actions.clear();
    let changed = world.now;
    for n in 0..60 {
        world.node.exec(1001, "app", 90_000 - n * 100);
        world.node.process_mut(1001).caught = HUP;
        if n == 0 {
            world.publish(&config(), 3);
        }
        world.pass(1_000);
    }
    let sends = world.sends();
    assert!(sends.len() == 1 && sends[0].0 <= changed + ms(20_000), "{sends:?} {changed:?}");
}

#[test]
fn a_worker_that_is_started_again_and_again_is_looked_for_each_time_for_as_long() {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/process", "worker")])]);
    let mut worker = world.node.fork(&uid(1), 1001, "worker", STARTED);
    world.start_agent();
    world.pass(60_000);
    world.exit(worker);
    world.publish(&config(), 2);
    for _ in 0..6 {
        world.pass(1_500);
        worker = world.node.fork(&uid(1), 1001, "worker", world.now);
        world.handle(Event::CgroupChanged(uid(1)));
        world.pass(1_500);
        assert!(world.held.iter().any(|process| process.pid == worker));
        world.exit(worker);
    }
    world.pass(1_500);
    assert_eq!(world.outcomes(), []);
    worker = world.node.fork(&uid(1), 1001, "worker", world.now);
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(10_000);
    assert_eq!(world.sends().iter().map(|(_, pid)| *pid).collect::<Vec<_>>(), [worker]);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn an_older_process_that_a_survey_misses_while_a_change_waits_is_told_of_what_is_new_to_the_journal() {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/debounce", "5s")])]);
    world.node.process_mut(1001).started = PUBLISHED - ms(500);
    world.node.volume(&config()).current = Some((generation(1), world.now));
    world.journal.existed = true;
    world.hidden.insert(uid(1));
    world.start_agent();
    world.pass(1_000);
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(1_000);
    world.hidden.clear();
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(1), Outcome::Delivered)]);
}

#[test]
fn a_process_that_the_first_survey_missed_and_the_next_one_finds_has_lived_through_its_window() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    world.pass(200);
    world.hidden.insert(uid(1));
    world.start_agent();
    world.hidden.clear();
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(60_000);
    assert_eq!(world.verdicts(), [Verdict::Alive]);
}
