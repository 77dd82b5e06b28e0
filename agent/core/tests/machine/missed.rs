//! Surveys that miss a process for a moment: its cgroup is being moved, or its command line couldn't be read.

use reloadlet_core::Event;
use reloadlet_core::model::outcome::Verdict;
use reloadlet_core::policy::problem::ProblemKind;

use crate::node::{HUP, ms, uid};
use crate::world::{STARTED, World, app, config};

/// The signals that Ruby's VM catches from its first millisecond on.
const VM: u64 = 0b1000_0000_0011;

/// Surveys find nothing of the pod for so long, at the beginning of which something happens.
fn missed(world: &mut World, millis: u64, happens: impl FnOnce(&mut World)) {
    let containers = std::mem::take(&mut world.node.pod(&uid(1)).containers);
    happens(world);
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(millis);
    world.node.pod(&uid(1)).containers = containers;
}

fn found_again(world: &mut World) {
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(100);
}

fn another_plan(world: &mut World) {
    world.pods[0] = app(1, &[("reloadlet.io/process", "puma"), ("reloadlet.io/verify", "11s")]);
    world.sync();
}

#[test]
fn one_that_was_told_by_its_name_and_has_another_is_still_the_one_after_a_survey_that_missed_it() {
    for (happens, millis) in [((|_| {}) as fn(&mut World), 100), (another_plan, 100), (|_| {}, 30_000)] {
        let mut world = World::node(vec![app(1, &[("reloadlet.io/process", "puma")])]);
        let pid = world.node.fork(&uid(1), 1001, "puma", STARTED);
        world.start_agent();
        world.pass(60_000);
        world.publish(&config(), 2);
        world.pass(20_000);
        world.node.process_mut(pid).comm = "cluster".into();
        missed(&mut world, millis, happens);
        found_again(&mut world);
        world.publish(&config(), 3);
        world.pass(5_000);
        let told: Vec<u32> = world.sends().into_iter().map(|(_, pid)| pid).collect();
        assert_eq!(told, [pid, pid], "{millis} ms");
    }
}

#[test]
fn what_a_process_looked_like_before_a_survey_missed_it_shows_that_it_boots_anew() {
    let mut world = World::node(vec![app(1, &[])]);
    let process = world.node.process_mut(1001);
    (process.comm, process.caught) = ("ruby3.1".into(), VM);
    (process.memory, process.most_memory) = (400_000, 420_000);
    world.start_agent();
    world.pass(60_000);
    for _ in 0..2 {
        missed(&mut world, 100, |_| {});
    }
    world.node.exec(1001, "ruby3.1", 60_000);
    world.node.process_mut(1001).caught = VM;
    found_again(&mut world);
    world.publish(&config(), 2);
    world.pass(1_000);
    assert_eq!(world.sends(), [], "it boots");
    world.pass(5_000);
    assert_eq!(world.sends().len(), 1);
}

#[test]
fn the_end_of_a_process_that_surveys_missed_in_its_window_counts() {
    let mut world = World::app(&[]);
    let mut pid = 1001;
    for n in [2, 3] {
        world.publish(&config(), n);
        world.pass(100);
        missed(&mut world, 500, |_| {});
        world.exit(pid);
        pid = world.start(&uid(1), "app");
        world.pass(60_000);
    }
    assert_eq!(world.problems(), [Some(ProblemKind::Suspended)]);
    assert_eq!(world.verdicts(), [Verdict::Restarted; 2]);
}

#[test]
fn a_process_that_surveys_dont_find_until_its_window_is_over_hasnt_ended() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    world.pass(100);
    // It is there, and surveys don't show it.
    let identity = world.node.identity(1001).unwrap();
    world.hidden.insert(uid(1));
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(60_000);
    assert_eq!((world.verdicts(), world.journal.endings.len()), (vec![Verdict::Alive], 0));
    assert!(!world.held.contains(&identity), "it is let go of then");
    world.hidden.clear();
    found_again(&mut world);
    world.publish(&config(), 3);
    world.pass(100);
    assert_eq!(world.sends().len(), 2);
    assert_eq!(world.node.process_mut(1001).caught, HUP);
    assert!(world.now > STARTED + ms(1));
}

#[test]
fn what_is_known_of_processes_that_are_gone_is_forgotten() {
    let mut world = World::app(&[]);
    for n in 2..6 {
        world.publish(&config(), n);
        world.pass(20_000);
        missed(&mut world, 100, |_| {});
        found_again(&mut world);
        assert_eq!(world.sends().len(), usize::try_from(n).unwrap() - 1);
        assert_eq!(world.held.len(), 1);
    }
}
