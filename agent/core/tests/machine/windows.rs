//! The agent starts again within the verify window of a delivery that the one before it made.

use reloadlet_core::machine::event::{Survey, VolumeRef};
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::outcome::{Outcome, Verdict};
use reloadlet_core::model::pod::Phase;
use reloadlet_core::policy::problem::ProblemKind;
use reloadlet_core::{Action, Event};

use crate::node::{generation, uid};
use crate::replicas::{held, publish, replica, replicas, told};
use crate::world::{World, app, config, volume_of};

/// A generation of this content stands in the pod's volume by now.
pub(crate) fn content(world: &mut World, pod: u32, n: u32, digest: u8) -> VolumeRef {
    let volume = volume_of(pod, "config");
    world.node.volume(&volume).digests.insert(generation(n), Digest::new([digest; 32]));
    volume
}

/// The container ends and is started again, while there is no agent.
pub(crate) fn ends_unseen(world: &mut World, pid: u32, pod: u32) -> u32 {
    world.node.kill(pid).unwrap();
    world.pass(500);
    world.node.start(&uid(pod), "app", world.now)
}

/// Replicas of which the first one alone has got and been told of the newest content, and the agent is killed just after that.
/// With `proven` one of them has lived through a delivery before.
pub(crate) fn killed_after_the_first(proven: bool) -> World {
    let mut world = replicas(3, &[]);
    if proven {
        publish(&mut world, 2, 2);
        world.pass(60_000);
    }
    world.actions.clear();
    let volume = content(&mut world, 1, 3, 3);
    world.publish(&volume, 3);
    assert_eq!(told(&world), [1001]);
    world.pass(200);
    world.stop_agent();
    world
}

/// The others get the same content.
pub(crate) fn others_get_it(world: &mut World) {
    for pod in [2, 3] {
        let volume = content(world, pod, 3, 3);
        world.publish_unseen(&volume, 3);
    }
}

#[test]
fn a_content_that_ended_a_replica_while_there_was_no_agent_is_kept_from_the_others() {
    for proven in [false, true] {
        let mut world = killed_after_the_first(proven);
        ends_unseen(&mut world, 1001, 1);
        others_get_it(&mut world);
        world.start_agent();
        world.pass(120_000);
        assert_eq!((told(&world), held(&world)), (vec![1001], 2), "proven: {proven}");
        assert_eq!(world.problems(), vec![Some(ProblemKind::BadContent); 2]);
        assert_eq!(world.verdicts(), [Verdict::Restarted]);
        world.actions.clear();
        publish(&mut world, 4, 4);
        world.pass(120_000);
        assert_eq!(world.sends().len(), 3, "a newer one is told");
    }
}

#[test]
fn a_content_that_ends_a_replica_just_after_the_agent_has_started_is_kept_from_the_others() {
    let mut world = killed_after_the_first(false);
    world.start_agent();
    world.pass(3_500);
    world.exit(1001);
    world.start(&uid(1), "app");
    for pod in [2, 3] {
        let volume = content(&mut world, pod, 3, 3);
        world.publish(&volume, 3);
    }
    world.pass(120_000);
    assert_eq!((told(&world), held(&world)), (vec![1001], 2));
}

#[test]
fn a_replica_that_lives_on_after_a_restart_of_the_agent_has_the_others_told_when_its_window_is_over() {
    for proven in [false, true] {
        let mut world = killed_after_the_first(proven);
        others_get_it(&mut world);
        let started = world.now;
        world.start_agent();
        world.pass(120_000);
        assert_eq!((told(&world), held(&world)), (vec![1001, 1002, 1003], 0));
        let waited = world.sends()[1].0.since(started).as_millis();
        assert_eq!(waited > 9_000, !proven, "{waited} ms");
        assert_eq!(world.verdicts(), [Verdict::Alive; 3]);
    }
}

#[test]
fn a_content_stays_bad_over_restarts_for_replicas_that_get_it_later() {
    let mut world = killed_after_the_first(true);
    ends_unseen(&mut world, 1001, 1);
    for _ in 0..3 {
        world.start_agent();
        world.pass(60_000);
    }
    for pod in [2, 3] {
        let volume = content(&mut world, pod, 3, 3);
        world.publish(&volume, 3);
    }
    world.pass(120_000);
    assert_eq!((told(&world), held(&world)), (vec![1001], 2));
}

#[test]
fn an_ending_that_the_agent_saw_just_before_it_was_killed_is_in_the_journal() {
    let mut world = killed_after_the_first(true);
    world.start_agent();
    world.pass(1_000);
    world.exit(1001);
    world.stop_agent();
    world.pass(500);
    world.node.start(&uid(1), "app", world.now);
    others_get_it(&mut world);
    world.start_agent();
    world.pass(120_000);
    assert_eq!((told(&world), held(&world)), (vec![1001], 2));
}

#[test]
fn a_content_isnt_bad_after_a_restart_where_the_volume_of_the_one_that_ended_holds_another_one() {
    let mut world = killed_after_the_first(true);
    ends_unseen(&mut world, 1001, 1);
    let volume = content(&mut world, 1, 4, 4);
    world.publish_unseen(&volume, 4);
    others_get_it(&mut world);
    world.start_agent();
    world.pass(120_000);
    assert_eq!(held(&world), 0);
    assert!(told(&world).contains(&1002) && told(&world).contains(&1003));
}

#[test]
fn nobody_waits_for_long_for_what_isnt_known_of_a_replica_after_a_restart() {
    let mut world = killed_after_the_first(true);
    ends_unseen(&mut world, 1001, 1);
    others_get_it(&mut world);
    world.blind = None;
    let survey = Survey { pod: uid(1), name: None, fresh_mounts: false };
    world.hold_back(&Action::List(volume_of(1, "config")));
    world.hold_back(&Action::Survey(survey));
    world.start_agent();
    world.pass(1_000);
    let is_mine = |action: &Action| {
        let of = if let Action::Survey(survey) = action { Some(&survey.pod) } else { None };
        let listed = if let Action::List(volume) = action { Some(&volume.pod) } else { None };
        of.or(listed) == Some(&uid(1))
    };
    world.unanswered.retain(|action| !is_mine(action));
    world.answer();
    world.pass(5_000);
    assert_eq!(told(&world), [1001]);
    world.pass(10_000);
    assert_eq!(told(&world), [1001, 1002, 1003]);
}

#[test]
fn what_ended_it_long_after_its_window_or_by_sigkill_isnt_its_content() {
    for killed in [false, true] {
        let mut world = killed_after_the_first(true);
        if !killed {
            world.pass(120_000);
        }
        let container = world.node.identity(1001).unwrap().container;
        ends_unseen(&mut world, 1001, 1);
        if killed {
            let phase = Phase { killed: Some(container), ..Phase::default() };
            world.pods[0].phases.insert("app".into(), phase);
        }
        others_get_it(&mut world);
        world.start_agent();
        world.pass(120_000);
        assert_eq!((told(&world), held(&world)), (vec![1001, 1002, 1003], 0), "killed: {killed}");
        assert!(world.journal.endings.is_empty());
    }
}

#[test]
fn a_pod_that_was_deleted_while_there_was_no_agent_says_nothing_of_the_content() {
    let mut world = killed_after_the_first(true);
    world.node.kill(1001);
    world.pods.remove(0);
    others_get_it(&mut world);
    world.start_agent();
    world.pass(120_000);
    assert_eq!((told(&world), held(&world)), (vec![1001, 1002, 1003], 0));
}

#[test]
fn two_endings_in_a_row_suspend_it_whether_the_agent_sees_them_or_starts_after_them() {
    for seen in [[false, false], [true, false], [false, true]] {
        let mut world = World::app(&[]);
        let mut pid = 1001;
        for (n, seen) in (2..).zip(seen) {
            world.publish(&config(), n);
            assert_eq!(world.sends().last().unwrap().1, pid);
            world.pass(200);
            if seen {
                world.exit(pid);
                world.stop_agent();
                world.pass(500);
                pid = world.node.start(&uid(1), "app", world.now);
            } else {
                world.stop_agent();
                pid = ends_unseen(&mut world, pid, 1);
            }
            world.start_agent();
            world.pass(60_000);
        }
        assert_eq!(world.problems(), [Some(ProblemKind::Suspended)], "{seen:?}");
        world.actions.clear();
        world.publish(&config(), 4);
        world.pass(60_000);
        assert_eq!(world.outcomes(), [("config", generation(4), Outcome::Suspended)], "{seen:?}");
    }
}

#[test]
fn a_process_that_lives_on_after_a_restart_of_the_agent_starts_the_count_anew() {
    let mut world = World::app(&[]);
    let mut pid = 1001;
    for n in [2, 3, 4] {
        world.publish(&config(), n);
        world.pass(200);
        if n != 3 {
            world.exit(pid);
            pid = world.start(&uid(1), "app");
        }
        world.start_agent();
        world.pass(60_000);
    }
    assert_eq!(world.problems(), []);
}

#[test]
fn a_process_that_the_first_survey_misses_wasnt_ended_if_the_next_one_finds_it() {
    let mut world = killed_after_the_first(true);
    others_get_it(&mut world);
    let containers = std::mem::take(&mut world.node.pod(&uid(1)).containers);
    world.start_agent();
    world.node.pod(&uid(1)).containers = containers;
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(120_000);
    assert_eq!(told(&world), [1001, 1002, 1003]);
    assert_eq!(world.machine.counts().problems.iter().sum::<usize>(), 0);
    assert!(world.journal.endings.is_empty());
}

#[test]
fn one_that_couldnt_be_found_or_held_for_a_moment_may_still_end_of_what_it_was_told() {
    for is_found in [false, true] {
        let mut world = killed_after_the_first(true);
        others_get_it(&mut world);
        let process = world.node.identity(1001).unwrap();
        let containers =
            if is_found { vec![] } else { std::mem::take(&mut world.node.pod(&uid(1)).containers) };
        world.start_agent();
        if is_found {
            // Its cgroup was being moved.
            world.handle(Event::NotHeld(process));
        } else {
            world.node.pod(&uid(1)).containers = containers;
        }
        world.handle(Event::CgroupChanged(uid(1)));
        world.pass(2_000);
        let key = (uid(1), "app".into());
        assert_eq!(world.journal.endings.get(&key), None, "{is_found}");
        world.exit(1001);
        world.pass(60_000);
        assert_eq!(world.journal.endings.get(&key).map(|endings| endings.in_a_row), Some(1), "{is_found}");
        assert_eq!(told(&world), [1001], "{is_found}");
    }
}

#[test]
fn a_pod_that_isnt_listed_for_a_moment_keeps_its_window() {
    let mut world = replicas(3, &[]);
    publish(&mut world, 2, 2);
    world.pass(60_000);
    world.actions.clear();
    let volume = content(&mut world, 1, 3, 3);
    world.publish(&volume, 3);
    world.pass(200);
    let pods = world.pods.clone();
    world.pods.remove(0);
    world.sync();
    world.exit(1001);
    world.pass(500);
    world.pods = pods;
    world.node.start(&uid(1), "app", world.now);
    world.sync();
    for pod in [2, 3] {
        let volume = content(&mut world, pod, 3, 3);
        world.publish(&volume, 3);
    }
    world.pass(120_000);
    assert_eq!((told(&world), held(&world)), (vec![1001], 2));
}

#[test]
fn what_an_annotation_lifts_isnt_known_after_a_restart_either() {
    let mut world = killed_after_the_first(true);
    ends_unseen(&mut world, 1001, 1);
    others_get_it(&mut world);
    world.start_agent();
    world.pass(60_000);
    assert_eq!(held(&world), 2);
    for pod in 0..3 {
        world.pods[pod] = replica(u32::try_from(pod).unwrap() + 1, &[("reloadlet.io/verify", "11s")]);
    }
    world.start_agent();
    world.pass(60_000);
    assert_eq!(told(&world).len(), 3);
    assert_eq!(app(1, &[]).uid, uid(1));
}

#[test]
fn a_kill_that_the_agent_saw_doesnt_count_after_its_next_start_either() {
    for told_first in [false, true] {
        let mut world = World::app(&[]);
        let mut pid = 1001;
        for n in [2, 3] {
            world.publish(&config(), n);
            assert_eq!(world.sends().last().unwrap().1, pid);
            world.pass(200);
            let process = world.node.identity(pid).unwrap();
            if told_first {
                // The status is faster than the kernel.
                let phase = Phase { killed: Some(process.container.clone()), ..Phase::default() };
                world.pods[0].phases.insert("app".into(), phase);
                world.sync();
                world.exit(pid);
                world.pods[0].phases.clear();
            } else {
                world.exit(pid);
                world.handle(Event::Killed(process));
            }
            world.stop_agent();
            world.pass(500);
            pid = world.node.start(&uid(1), "app", world.now);
            world.start_agent();
            world.pass(60_000);
        }
        assert_eq!((world.problems(), world.journal.endings.len()), (vec![], 0), "{told_first}");
    }
}

#[test]
fn an_ending_counts_however_long_there_was_no_agent_if_what_runs_now_started_in_the_window() {
    for (millis, expected) in [(0, 2), (9_600, 2), (20_000, 0)] {
        let mut world = killed_after_the_first(true);
        world.pass(millis);
        ends_unseen(&mut world, 1001, 1);
        others_get_it(&mut world);
        world.pass(3_600_000);
        world.start_agent();
        world.pass(120_000);
        assert_eq!(held(&world), expected, "{millis} ms");
    }
}
