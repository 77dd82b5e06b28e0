//! A container is told of nothing while it starts: it may end of the signal, and that says nothing about the signal.

use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::pod::Phase;

use crate::node::{generation, ms, uid};
use crate::world::{World, config};

impl World {
    /// The pod's status says of its container `app` what there is to say by now.
    pub(crate) fn show_phase(&mut self, phase: Phase) {
        let uid = self.pods[0].uid.clone();
        let id = self.node.pod(&uid).containers.first().map(|container| container.id.clone());
        self.pods[0].status.extend(id.map(|id| ("app".into(), id)));
        self.pods[0].phases.insert("app".into(), phase);
        self.sync();
    }
}

fn phase(started: bool, ready: bool) -> Phase {
    Phase { started: Some(started), ready: Some(ready), killed: None }
}

/// A container that was just started again, with this status, if any, and a change four seconds later. The PID is 1002.
fn starting(status: Option<Phase>) -> World {
    let mut world = World::app(&[]);
    world.exit(1001);
    assert_eq!(world.start(&uid(1), "app"), 1002);
    if let Some(status) = status {
        world.show_phase(status);
    }
    world.pass(4_000);
    world.publish(&config(), 2);
    world
}

#[test]
fn a_container_that_hasnt_started_is_told_when_its_status_says_that_it_has_and_is_ready() {
    let mut world = starting(Some(phase(false, false)));
    world.pass(600_000);
    assert_eq!(world.sends(), [], "a startup probe takes its time");
    world.show_phase(phase(true, true));
    assert_eq!(world.sends(), [(world.now, 1002)]);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn a_status_that_never_says_that_a_container_has_started_is_waited_for_an_hour() {
    let mut world = starting(Some(phase(false, false)));
    let started = world.node.process_mut(1002).started;
    world.pass(3_599_000);
    assert_eq!(world.sends(), [(started + ms(3_600_000), 1002)]);
}

#[test]
fn a_container_that_was_not_ready_yet_is_waited_for_until_a_minute_after_its_start() {
    let mut world = starting(Some(phase(true, false)));
    world.pass(10_000);
    assert_eq!(world.sends(), []);
    world.show_phase(phase(true, true));
    assert_eq!(world.sends(), [(world.now, 1002)]);
    let mut world = starting(Some(phase(true, false)));
    let started = world.node.process_mut(1002).started;
    world.pass(60_000);
    assert_eq!(world.sends(), [(started + ms(60_000), 1002)]);
}

#[test]
fn a_container_that_was_ready_once_is_told_though_it_isnt_any_more() {
    let mut world = starting(Some(phase(true, true)));
    assert_eq!(world.sends(), [(world.now, 1002)]);
    world.pass(1_000);
    for phase in [phase(true, false), phase(false, false)] {
        world.show_phase(phase);
        let sends = world.sends().len();
        world.publish(&config(), 3 + u32::try_from(sends).unwrap());
        assert_eq!(world.sends().len(), sends + 1);
    }
}

#[test]
fn a_container_that_is_ready_at_once_is_left_to_install_its_handlers_all_the_same() {
    let mut world = World::app(&[]);
    world.exit(1001);
    let pid = world.start(&uid(1), "app");
    world.show_phase(phase(true, true));
    let started = world.now;
    world.pass(500);
    world.publish(&config(), 2);
    world.pass(10_000);
    assert_eq!(world.sends(), [(started + ms(3_000), pid)]);
}

#[test]
fn where_the_status_says_nothing_of_the_container_that_runs_its_age_counts() {
    // One without fields, one of the container before, and none at all.
    for status in [Some(Phase::default()), None] {
        let world = starting(status);
        assert_eq!(world.sends(), [(world.now, 1002)]);
    }
    let mut world = World::app(&[]);
    world.show_phase(phase(false, false));
    world.exit(1001);
    let pid = world.start(&uid(1), "app");
    world.pass(4_000);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, pid)]);
}

#[test]
fn an_ending_before_it_was_ready_never_counts() {
    let mut world = World::app(&[]);
    let mut pid = 1001;
    for n in 2..6 {
        world.show_phase(phase(true, false));
        world.pass(61_000);
        world.publish(&config(), n);
        assert_eq!(world.sends().last(), Some(&(world.now, pid)));
        world.exit(pid);
        pid = world.start(&uid(1), "app");
        world.pass(20_000);
    }
    assert_eq!((world.problems(), world.journal.endings.len()), (vec![], 0));
}

#[test]
fn the_ending_of_a_ready_process_counts_however_young_it_is() {
    let mut world = World::app(&[]);
    let mut pid = 1001;
    for n in [2, 3] {
        world.show_phase(phase(true, true));
        world.pass(5_000);
        world.publish(&config(), n);
        assert_eq!(world.sends().last(), Some(&(world.now, pid)));
        world.exit(pid);
        pid = world.start(&uid(1), "app");
    }
    world.pass(20_000);
    assert_eq!(world.problems().len(), 1);
}

/// A program that ends of the signal for so long after its start and reloads by it later, and no status of it. There is a
/// change four seconds after each start; how often it ended comes back.
fn ends_while_it_starts(millis: u64) -> (World, usize) {
    let mut world = World::app(&[]);
    world.exit(1001);
    let mut pid = world.start(&uid(1), "app");
    let mut endings = 0;
    for n in 2..20 {
        let started = world.now;
        world.pass(4_000);
        let sends = world.sends().len();
        world.publish(&config(), n);
        while world.sends().len() == sends && world.now < started + ms(120_000) {
            world.pass(100);
        }
        let (sent, to) = *world.sends().last().unwrap();
        assert_eq!(to, pid);
        if sent < started + ms(millis) {
            endings += 1;
            world.exit(pid);
            pid = world.start(&uid(1), "app");
        } else {
            world.pass(60_000);
            break;
        }
    }
    (world, endings)
}

#[test]
fn a_process_that_ended_while_it_started_leaves_the_next_one_longer_than_it_had_lived() {
    for (starts_for, most) in [(3_500, 0), (8_000, 1), (12_000, 2), (25_000, 3)] {
        let (world, endings) = ends_while_it_starts(starts_for);
        assert!(endings <= most, "{endings} endings with {starts_for} ms");
        assert_eq!((world.problems(), world.journal.endings.len()), (vec![], 0), "{starts_for} ms");
        assert_eq!(world.outcomes().last().unwrap().2, Outcome::Delivered);
    }
}
