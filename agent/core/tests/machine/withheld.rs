//! What is withheld from a replica, for how long, and of whom.

use reloadlet_core::kernel::process::ProcessIdentity;
use reloadlet_core::machine::event::VolumeRef;
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::pod::{Pod, Replica};
use reloadlet_core::model::signal::Signal;
use reloadlet_core::policy::problem::ProblemKind;
use reloadlet_core::{Action, Event};

use crate::endings::held as suspended;
use crate::node::{generation, uid};
use crate::replicas::{held, join, publish, replica, replicas, told};
use crate::windows::content;
use crate::world::{World, config};

/// A content has ended the process of the first one of several replicas, which haven't got it yet.
fn ended_the_first(world: &mut World) {
    let volume = content(world, 1, 2, 2);
    world.publish(&volume, 2);
    assert_eq!(told(world), [1001]);
    world.pass(200);
    world.exit(1001);
    world.start(&uid(1), "app");
    world.pass(60_000);
}

#[test]
fn a_content_that_is_withheld_stays_so_however_long_the_process_lives_and_nothing_wakes_for_it() {
    let mut world = replicas(2, &[]);
    ended_the_first(&mut world);
    let volume = content(&mut world, 2, 2, 2);
    world.publish(&volume, 2);
    for millis in [60_000, 1_200_000] {
        world.pass(millis);
        assert_eq!((told(&world), held(&world)), (vec![1001], 1));
        assert_eq!(world.machine.poll_timeout(), None);
    }
}

#[test]
fn a_swap_that_is_under_way_when_the_process_has_lived_for_ten_minutes_is_told_when_it_is_complete() {
    let (mut world, pid) = suspended();
    let started = world.node.process_mut(pid).started;
    world.publish(&config(), 4);
    world.pass(1_000);
    world.actions.clear();
    world.pass(599_000 - world.now.since(started).as_millis() as u64);
    world.swap(&config(), 5);
    world.pass(10_000);
    assert_eq!(world.sends().len(), 1);
    assert_eq!(world.outcomes().last(), Some(&("config", generation(5), Outcome::Delivered)));
}

#[test]
fn a_container_that_was_started_clearly_after_a_content_came_has_read_it_and_nothing_is_withheld() {
    for (millis, withheld) in [(20, 1), (21, 0)] {
        let mut world = replicas(2, &[]);
        ended_the_first(&mut world);
        world.exit(1002);
        world.pass(500);
        let volume = content(&mut world, 2, 2, 2);
        world.publish(&volume, 2);
        world.pass(millis);
        world.start(&uid(2), "app");
        world.pass(60_000);
        assert_eq!((told(&world), held(&world)), (vec![1001], withheld), "{millis} ms");
        assert_eq!(world.machine.counts().problems_of(ProblemKind::BadContent), withheld, "{millis} ms");
    }
}

#[test]
fn what_ended_a_replica_is_told_to_a_pod_that_has_become_another_workloads() {
    let mut world = replicas(3, &[]);
    let other = Replica { kind: "ReplicaSet".into(), name: "other".into(), uid: "2".into(), template: None };
    world.pods[1] = Pod { replica: Some(other), ..replica(2, &[]) };
    world.sync();
    ended_the_first(&mut world);
    for pod in [2, 3] {
        let volume = content(&mut world, pod, 2, 2);
        world.publish(&volume, 2);
    }
    world.pass(60_000);
    assert_eq!((told(&world), held(&world)), (vec![1001, 1002], 1));
}

#[test]
fn nobody_waits_for_a_pod_that_isnt_listed_any_more_or_has_other_annotations() {
    for is_listed in [false, true] {
        let mut world = replicas(3, &[]);
        publish(&mut world, 2, 2);
        world.pass(1_000);
        assert_eq!(told(&world), [1001]);
        if is_listed {
            world.pods[0] = replica(1, &[("reloadlet.io/verify", "11s")]);
        } else {
            world.pods.remove(0);
        }
        world.sync();
        world.pass(1_000);
        assert_eq!(told(&world), [1001, 1002], "listed: {is_listed}");
    }
}

#[test]
fn nothing_wakes_for_what_isnt_sent_to_a_container_any_more_before_there_is_something_to_send() {
    let (mut world, _) = suspended();
    world.pass(60_000);
    assert_eq!(world.machine.poll_timeout(), None);
}

#[test]
fn what_was_withheld_for_an_ending_that_turns_out_to_be_a_kill_is_told_after_a_restart_of_the_agent_too() {
    let (mut world, _) = suspended();
    let ((last, started), _) = world.journal.deliveries.values().next().unwrap().ended.unwrap();
    world.pass(30_000);
    world.publish(&config(), 4);
    world.pass(1_000);
    world.actions.clear();
    let container = world.journal.deliveries.values().next().unwrap().container.clone();
    let killed = ProcessIdentity { pid: last, started, pod: uid(1), container };
    // What follows from it waits for its turn while the process is told.
    let Some(process) = world.held.first().cloned() else { panic!() };
    world.hold_back(&Action::Send(process, Signal::HUP));
    world.handle(Event::Killed(killed));
    world.unanswered.clear();
    world.answer();
    world.actions.clear();
    world.start_agent();
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
    assert_eq!(world.outcomes(), [("config", generation(4), Outcome::Delivered)]);
}

#[test]
fn what_waited_before_another_replica_came_is_compared_with_what_has_ended_that_one() {
    let annotations = [("reloadlet.io/min-interval", "300s")];
    let mut world = World::running(vec![replica(1, &annotations)]);
    publish(&mut world, 2, 2);
    world.pass(20_000);
    publish(&mut world, 3, 3);
    let pid = join(&mut world, replica(2, &annotations));
    let volume = VolumeRef { pod: uid(2), volume: "config".into() };
    world.node.volume(&volume).digests.insert(generation(3), Digest::new([3; 32]));
    world.publish(&volume, 3);
    world.pass(400);
    assert_eq!(told(&world), [1001, pid]);
    world.exit(pid);
    world.start(&uid(2), "app");
    world.pass(300_000);
    assert_eq!((told(&world), held(&world)), (vec![1001, pid], 1), "nothing was to be compared when it came");
}
