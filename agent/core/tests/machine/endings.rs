//! Caught is not reloaded: deliveries that end the process make further ones held.

use reloadlet_core::model::mark::Mark;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::policy::problem::ProblemKind;

use crate::node::{generation, uid};
use crate::world::{World, app, config};

/// A delivery after which the process ends so many milliseconds later; it is started again. Gives back the PID.
fn ends_after(world: &mut World, n: u32, pid: u32, millis: u64) -> u32 {
    world.publish(&config(), n);
    assert_eq!(world.sends().last().unwrap().1, pid);
    world.pass(millis);
    world.exit(pid);
    world.pass(1_000);
    let pid = world.start(&uid(1), "app");
    world.pass(20_000);
    pid
}

/// Two deliveries that ended the process.
fn held() -> (World, u32) {
    let mut world = World::app(&[]);
    let pid = ends_after(&mut world, 2, 1001, 100);
    assert_eq!(world.problems(), []);
    let pid = ends_after(&mut world, 3, pid, 1_000);
    (world, pid)
}

#[test]
fn two_quick_exits_in_a_row_make_further_deliveries_held() {
    let (mut world, _) = held();
    assert_eq!(world.problems(), [Some(ProblemKind::Suspended)]);
    world.actions.clear();
    world.publish(&config(), 4);
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    assert_eq!(world.outcomes(), [("config", generation(4), Outcome::Suspended)]);
}

#[test]
fn a_change_of_the_annotations_clears_it() {
    let (mut world, pid) = held();
    world.pods = vec![app(1, &[("reloadlet.io/verify", "11s")])];
    world.sync();
    world.pass(60_000);
    assert_eq!(world.problems(), [Some(ProblemKind::Suspended), None]);
    world.actions.clear();
    world.publish(&config(), 4);
    assert_eq!(world.sends(), [(world.now, pid)]);
    assert!(world.journal.endings.is_empty());
}

#[test]
fn it_is_remembered_over_a_restart_of_the_agent() {
    let (mut world, _) = held();
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    assert_eq!(world.machine.counts().problems.iter().sum::<usize>(), 1);
    world.publish(&config(), 4);
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    assert_eq!(world.outcomes(), [("config", generation(4), Outcome::Suspended)]);
}

#[test]
fn it_is_remembered_over_an_upgrade_from_an_agent_that_made_other_marks() {
    // What agents that printed the annotations made of `reloadlet.io/signal: SIGHUP`.
    let mark = Mark::without_version(0x8b35_c95a_4599_f134);
    for (annotation, expected) in [(None, Outcome::Suspended), (Some("11s"), Outcome::Delivered)] {
        let (mut world, _) = held();
        world.stop_agent();
        world.journal.endings.values_mut().for_each(|endings| endings.mark = mark);
        let annotations: Vec<(&str, &str)> =
            annotation.iter().map(|verify| ("reloadlet.io/verify", *verify)).collect();
        world.pods = vec![app(1, &annotations)];
        world.start_agent();
        world.pass(60_000);
        world.actions.clear();
        world.publish(&config(), 4);
        world.pass(60_000);
        assert_eq!(world.outcomes(), [("config", generation(4), expected)]);
        assert_eq!(world.sends().len(), usize::from(expected == Outcome::Delivered));
    }
}

#[test]
fn an_exit_later_than_a_second_is_no_consequence() {
    let mut world = World::app(&[]);
    let pid = ends_after(&mut world, 2, 1001, 1_001);
    let pid = ends_after(&mut world, 3, pid, 1_001);
    let pid = ends_after(&mut world, 4, pid, 1_001);
    world.publish(&config(), 5);
    assert_eq!(world.sends().last().unwrap().1, pid);
}

#[test]
fn only_exits_in_a_row_count() {
    let mut world = World::app(&[]);
    let mut pid = ends_after(&mut world, 2, 1001, 100);
    for n in [3, 5, 7] {
        world.publish(&config(), n);
        world.pass(20_000);
        assert!(world.journal.endings.is_empty(), "a delivery without an exit starts the count anew");
        pid = ends_after(&mut world, n + 1, pid, 100);
    }
    assert_eq!(world.problems(), []);
}

#[test]
fn exits_of_other_processes_do_not_count() {
    let mut world = World::node(vec![app(1, &[])]);
    let workers: Vec<u32> =
        (0..3).map(|_| world.node.fork(&uid(1), 1001, "worker", crate::world::STARTED)).collect();
    world.start_agent();
    world.pass(60_000);
    for (n, worker) in (2..).zip(workers) {
        world.publish(&config(), n);
        world.exit(worker);
        world.pass(20_000);
    }
    world.publish(&config(), 9);
    assert_eq!(world.sends().len(), 4);
}
