//! Caught is not reloaded: deliveries that end the process make further ones held.

use reloadlet_core::Event;
use reloadlet_core::machine::event::Report;
use reloadlet_core::model::mark::Mark;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::pod::Phase;
use reloadlet_core::policy::problem::ProblemKind;

use crate::node::{generation, ms, uid};
use crate::world::{World, app, config};

impl World {
    /// The sentences of problems as they came.
    pub(crate) fn sentences(&self) -> Vec<&str> {
        fn problem(report: &Report) -> Option<&str> {
            if let Report::Problem(_, problem) = report { Some(&problem.sentence) } else { None }
        }
        self.reports().filter_map(problem).collect()
    }
}

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
pub(crate) fn held() -> (World, u32) {
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
fn an_annotation_of_somebody_elses_lifts_nothing_though_it_helps_to_choose_the_container() {
    let (mut world, _) = held();
    for default in ["app", "other"] {
        world.pods = vec![app(1, &[("kubectl.kubernetes.io/default-container", default)])];
        world.sync();
        world.pass(60_000);
        assert_eq!(world.problems(), [Some(ProblemKind::Suspended)], "{default}");
    }
    world.actions.clear();
    world.publish(&config(), 4);
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(4), Outcome::Suspended)]);
    assert_eq!(world.sends(), []);
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
fn an_exit_within_the_verify_window_counts_however_slow_the_program_is_in_ending() {
    let mut world = World::app(&[]);
    let pid = ends_after(&mut world, 2, 1001, 2_000);
    ends_after(&mut world, 3, pid, 2_140);
    assert_eq!(world.problems(), [Some(ProblemKind::Suspended)]);
    let said = world.sentences()[0];
    assert!(said.starts_with("container app ends 2.1 s after SIGHUP, 2 times in a row: "), "{said}");
}

#[test]
fn an_exit_after_the_verify_window_is_no_consequence() {
    let mut world = World::app(&[]);
    let pid = ends_after(&mut world, 2, 1001, 10_001);
    let pid = ends_after(&mut world, 3, pid, 10_001);
    let pid = ends_after(&mut world, 4, pid, 10_001);
    world.publish(&config(), 5);
    assert_eq!(world.sends().last().unwrap().1, pid);
}

/// Two deliveries, after each of which the process ends 0.4 s later, and the kernel or the status says so long after that
/// that SIGKILL did it.
fn killed_twice(told_after: u64, by_status: bool) -> World {
    let mut world = World::app(&[]);
    let mut pid = 1001;
    for n in [2, 3] {
        let process = world.node.identity(pid).unwrap();
        world.publish(&config(), n);
        assert_eq!(world.sends().last().unwrap().1, pid);
        world.pass(400);
        world.exit(pid);
        pid = world.start(&uid(1), "app");
        world.pass(told_after);
        if by_status {
            world.show_phase(Phase { killed: Some(process.container), ..Phase::default() });
        } else {
            world.handle(Event::Killed(process));
        }
        world.pass(60_000);
    }
    world
}

#[test]
fn a_process_that_sigkill_ended_is_never_suspended_for_it() {
    for (told_after, by_status) in [(0, false), (100, false), (100, true), (5_000, true), (40_000, true)] {
        let mut world = killed_twice(told_after, by_status);
        assert_eq!(world.problems(), [], "{told_after} ms {by_status}");
        assert!(world.journal.endings.is_empty());
        let sends = world.sends().len();
        world.publish(&config(), 4);
        world.pass(60_000);
        assert_eq!(world.sends().len(), sends + 1);
    }
}

#[test]
fn a_kill_that_the_status_shows_before_the_kernel_does_counts_neither() {
    let mut world = World::app(&[]);
    let mut pid = 1001;
    for n in [2, 3] {
        world.publish(&config(), n);
        let killed = Some(world.node.identity(pid).unwrap().container);
        world.show_phase(Phase { killed, ..Phase::default() });
        world.exit(pid);
        pid = world.start(&uid(1), "app");
        world.pass(60_000);
    }
    assert_eq!((world.problems(), world.journal.endings.len()), (vec![], 0));
}

#[test]
fn what_was_held_is_told_at_once_when_a_kill_turns_out_to_be_the_reason() {
    let mut world = World::app(&[]);
    let pid = ends_after(&mut world, 2, 1001, 400);
    let process = world.node.identity(pid).unwrap();
    let pid = ends_after(&mut world, 3, pid, 400);
    world.pass(60_000);
    world.publish(&config(), 4);
    world.pass(1_000);
    assert_eq!(world.outcomes().last().unwrap(), &("config", generation(4), Outcome::Suspended));
    world.actions.clear();
    world.handle(Event::Killed(process));
    assert_eq!(world.sends(), [(world.now, pid)]);
    assert_eq!(world.outcomes(), [("config", generation(4), Outcome::Delivered)]);
    assert_eq!(world.problems(), [None]);
}

#[test]
fn an_annotation_that_lifts_it_has_the_newest_files_told_at_once_if_the_process_is_older() {
    for restarts in [false, true] {
        let (mut world, mut pid) = held();
        world.publish(&config(), 4);
        world.pass(1_000);
        if restarts {
            world.exit(pid);
            pid = world.start(&uid(1), "app");
        }
        world.pass(60_000);
        world.actions.clear();
        world.pods = vec![app(1, &[("reloadlet.io/verify", "11s")])];
        world.sync();
        assert_eq!(world.sends(), if restarts { vec![] } else { vec![(world.now, pid)] });
        world.pass(60_000);
        let delivered = ("config", generation(4), Outcome::Delivered);
        assert_eq!(world.outcomes(), if restarts { vec![] } else { vec![delivered] });
    }
}

#[test]
fn ten_minutes_of_life_have_it_told_of_what_was_held() {
    let (mut world, pid) = held();
    let started = world.node.process_mut(pid).started;
    world.publish(&config(), 4);
    world.pass(1_000);
    world.actions.clear();
    world.pass(600_000);
    assert_eq!(world.sends(), [(started + ms(600_000), pid)]);
    assert_eq!(world.outcomes(), [("config", generation(4), Outcome::Delivered)]);
    assert_eq!(world.problems(), [None], "it has lived through that");
    world.publish(&config(), 5);
    assert_eq!(world.sends().last(), Some(&(world.now, pid)));
}

#[test]
fn ten_minutes_of_a_life_that_isnt_ready_bring_nothing() {
    let (mut world, pid) = held();
    world.publish(&config(), 4);
    world.show_phase(Phase { started: Some(true), ready: Some(false), killed: None });
    let sent = world.sends().len();
    world.pass(1_200_000);
    assert_eq!(world.sends().len(), sent);
    world.show_phase(Phase { started: Some(true), ready: Some(true), killed: None });
    world.pass(1_000);
    assert_eq!(world.sends()[sent..].iter().map(|(_, told)| *told).collect::<Vec<_>>(), [pid]);
}

#[test]
fn what_lifts_it_is_in_the_sentence() {
    let (mut world, _) = held();
    world.publish(&config(), 4);
    let sentence = world.sentences()[0];
    let reason = world.reloads().last().unwrap().reason.clone().unwrap();
    for lifts in ["until an annotation of reloadlet.io changes on the pod", "has run for ten minutes"] {
        assert!(sentence.contains(lifts), "{sentence}");
    }
    for lifts in ["when an annotation of reloadlet.io changes on the pod", "has run for ten minutes"] {
        assert!(reason.contains(lifts), "{reason}");
    }
}

#[test]
fn each_ten_minutes_of_life_have_it_told_once_where_it_ends_again() {
    let (mut world, pid) = held();
    world.pass(600_000);
    world.actions.clear();
    world.publish(&config(), 4);
    assert_eq!(world.sends(), [(world.now, pid)], "it had lived for ten minutes");
    world.publish(&config(), 5);
    assert_eq!(world.sends().len(), 1, "what comes of that decides");
    world.exit(pid);
    let pid = world.start(&uid(1), "app");
    world.pass(599_000);
    world.publish(&config(), 6);
    world.pass(500);
    assert_eq!(world.sends().len(), 1);
    world.pass(60_000);
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
fn a_process_that_lives_through_changes_that_come_fast_starts_the_count_anew() {
    let mut world = World::app(&[]);
    let pid = ends_after(&mut world, 2, 1001, 100);
    for n in 3..7 {
        world.publish(&config(), n);
        world.pass(4_000);
    }
    world.exit(pid);
    world.start(&uid(1), "app");
    world.pass(60_000);
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
