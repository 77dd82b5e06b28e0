//! Replicas of a workload on one node: a content that ends one of them is kept from the others, and a workload that was never
//! told before is told one pod at a time.

use reloadlet_core::machine::event::{Report, VolumeRef};
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::pod::{Pod, Replica};
use reloadlet_core::model::signal::Signal;
use reloadlet_core::policy::problem::ProblemKind;
use reloadlet_core::{Action, Event};

use crate::node::uid;
use crate::world::{World, app, app_with_two_volumes, volume_of};

/// A replica of the set `web`.
pub(crate) fn replica(n: u32, annotations: &[(&str, &str)]) -> Pod {
    let of = Replica { kind: "ReplicaSet".into(), name: "web".into(), uid: "1".into(), template: None };
    Pod { replica: Some(of), ..app(n, annotations) }
}

/// So many of them. The process of the first one is 1001, and so on.
pub(crate) fn replicas(count: u32, annotations: &[(&str, &str)]) -> World {
    World::running((1..=count).map(|n| replica(n, annotations)).collect())
}

/// A content is published in each pod, with a digest.
pub(crate) fn publish(world: &mut World, n: u32, digest: u8) {
    for pod in world.pods.clone() {
        let volume = VolumeRef { pod: pod.uid.clone(), volume: "config".into() };
        let digests = &mut world.node.volume(&volume).digests;
        digests.insert(crate::node::generation(n), Digest::new([digest; 32]));
        world.publish(&volume, n);
    }
}

/// Whoever is told ends so many milliseconds later and is started again.
pub(crate) fn whoever_is_told_ends(world: &mut World, after: u64, millis: u64) {
    let mut seen = 0;
    for _ in 0..millis / 100 {
        world.pass(100);
        let sends = world.sends();
        for (_, pid) in &sends[seen..] {
            world.pass(after);
            // It may have ended already.
            let Some(pod) = world.node.identity(*pid).map(|process| process.pod) else { continue };
            world.exit(*pid);
            world.start(&pod, "app");
        }
        seen = sends.len();
    }
}

/// A pod comes later than the others; the process of its container.
pub(crate) fn join(world: &mut World, pod: Pod) -> u32 {
    let uid = pod.uid.clone();
    world.node.add_pod(&pod, world.now);
    world.pods.push(pod);
    world.sync();
    let pid = world.start(&uid, "app");
    world.pass(60_000);
    pid
}

pub(crate) fn told(world: &World) -> Vec<u32> {
    world.sends().into_iter().map(|(_, pid)| pid).collect()
}

pub(crate) fn held(world: &World) -> usize {
    world.outcomes().iter().filter(|(_, _, outcome)| *outcome == Outcome::Suspended).count()
}

#[test]
fn a_content_that_ends_one_replica_is_kept_from_the_others_and_a_newer_one_is_told() {
    for annotations in [&[][..], &[("reloadlet.io/splay", "30s")]] {
        let mut world = replicas(10, annotations);
        publish(&mut world, 2, 2);
        whoever_is_told_ends(&mut world, 200, 120_000);
        assert_eq!(world.sends().len(), 1, "{annotations:?}");
        assert_eq!(held(&world), 9);
        assert_eq!(world.problems(), vec![Some(ProblemKind::BadContent); 9]);
        assert_eq!(world.machine.counts().problems_of(ProblemKind::BadContent), 9);
        world.actions.clear();
        publish(&mut world, 3, 3);
        world.pass(120_000);
        assert_eq!(world.sends().len(), 10);
        assert_eq!(world.machine.counts().problems_of(ProblemKind::BadContent), 0);
        world.actions.clear();
        publish(&mut world, 4, 2);
        world.pass(120_000);
        assert_eq!(
            (world.sends().len(), held(&world)),
            (1, 9),
            "it is bad for all but the one that it ended"
        );
    }
}

#[test]
fn a_workload_that_was_never_told_is_told_one_pod_at_a_time_until_one_has_lived() {
    let mut world = replicas(4, &[]);
    publish(&mut world, 2, 2);
    world.pass(9_000);
    assert_eq!(told(&world), [1001]);
    world.pass(2_000);
    assert_eq!(told(&world), [1001, 1002, 1003, 1004]);
    world.actions.clear();
    publish(&mut world, 3, 3);
    assert_eq!(world.sends().len(), 4, "at once from then on");
}

#[test]
fn replicas_whose_changes_come_faster_than_windows_end_are_all_told() {
    let mut world = replicas(3, &[]);
    for n in 2..10 {
        publish(&mut world, n, u8::try_from(n).unwrap());
        world.pass(4_000);
    }
    world.actions.clear();
    publish(&mut world, 10, 10);
    assert_eq!(world.sends().len(), 3, "one has lived for long enough");
}

#[test]
fn a_pod_whose_window_doesnt_end_doesnt_starve_the_others() {
    let mut world = replicas(3, &[]);
    let process = world.node.identity(1001).unwrap();
    world.hold_back(&Action::Send(process, Signal::parse("HUP").unwrap()));
    publish(&mut world, 2, 2);
    for (millis, sent) in [(14_000, 1), (2_000, 2), (14_000, 3)] {
        world.pass(millis);
        assert_eq!(told(&world).len(), sent);
    }
    let mut world = replicas(2, &[]);
    world.delivery = reloadlet_core::machine::event::Delivery::Denied;
    publish(&mut world, 2, 2);
    assert_eq!(told(&world), [1001, 1002], "nobody waits for what comes of nothing");
}

#[test]
fn pods_without_a_controller_and_those_of_other_namespaces_have_nothing_to_do_with_it() {
    let bare: Vec<Pod> = (1..4).map(|n| app(n, &[])).collect();
    let namespaces = (1..4).map(|n| Pod { namespace: format!("n{n}").into(), ..replica(n, &[]) }).collect();
    let template = |n: u32| {
        let mut pod = replica(n, &[]);
        pod.replica.as_mut().unwrap().template = Some(format!("{n}").into());
        pod
    };
    for pods in [bare, namespaces, (1..4).map(template).collect()] {
        let mut world = World::running(pods);
        publish(&mut world, 2, 2);
        assert_eq!(told(&world), [1001, 1002, 1003]);
        whoever_is_told_ends(&mut world, 200, 30_000);
        assert_eq!(held(&world), 0);
    }
}

#[test]
fn a_content_isnt_bad_where_it_ended_a_process_that_wasnt_ready() {
    let mut world = replicas(3, &[]);
    world.exit(1001);
    world.start(&uid(1), "app");
    // Without a status a process has to be 15 s old for its end to say something.
    world.pass(10_000);
    publish(&mut world, 2, 2);
    whoever_is_told_ends(&mut world, 200, 1_000);
    assert_eq!(told(&world)[0], 1004);
    assert_eq!(world.machine.counts().problems_of(ProblemKind::BadContent), 0);
}

#[test]
fn a_content_that_ends_a_container_is_kept_from_the_same_one_of_other_replicas_only() {
    let annotations = [("signal.reloadlet.io/app", "SIGHUP"), ("signal.reloadlet.io/other", "SIGHUP")];
    let containers: [(&str, &[&str]); 2] = [("app", &["config"]), ("other", &["config"])];
    let with_other = |n: u32| {
        let pod = crate::node::pod(n, &annotations, &containers, &["config"]);
        Pod { replica: replica(n, &[]).replica, ..pod }
    };
    let mut world = World::running(vec![with_other(1), with_other(2)]);
    // 1001 and 1002 are those of the first pod, 1003 and 1004 those of the second one.
    publish(&mut world, 2, 2);
    world.pass(200);
    assert!(told(&world).contains(&1001), "{:?}", told(&world));
    world.exit(1001);
    world.start(&uid(1), "app");
    world.pass(120_000);
    let mut told = told(&world);
    told.sort_unstable();
    assert_eq!(told, [1001, 1002, 1004]);
}

#[test]
fn nothing_is_read_for_a_pod_that_is_alone() {
    let reads = |world: &World| world.actions.iter().any(|(_, action)| matches!(action, Action::Read(..)));
    let mut alone = replicas(1, &[]);
    publish(&mut alone, 2, 2);
    alone.pass(60_000);
    assert!(!reads(&alone));
    let mut two = replicas(2, &[]);
    publish(&mut two, 2, 2);
    two.pass(300);
    assert!(reads(&two));
}

#[test]
fn a_signal_doesnt_wait_for_a_digest_where_nothing_has_ended() {
    let mut world = replicas(3, &[]);
    publish(&mut world, 2, 2);
    world.pass(60_000);
    let example = world.actions.iter().find(|(_, action)| matches!(action, Action::Read(..)));
    let example = example.unwrap().1.clone();
    world.actions.clear();
    world.hold_back(&example);
    publish(&mut world, 3, 3);
    assert_eq!(world.sends().len(), 3);
}

#[test]
fn a_replica_waits_for_its_digest_where_a_content_has_ended_another_one() {
    let mut world = replicas(2, &[]);
    publish(&mut world, 2, 2);
    whoever_is_told_ends(&mut world, 200, 30_000);
    let example = world.actions.iter().find(|(_, action)| matches!(action, Action::Read(..)));
    let example = example.unwrap().1.clone();
    assert_eq!((told(&world).len(), held(&world)), (1, 1));
    world.hold_back(&example);
    publish(&mut world, 3, 3);
    world.pass(5_000);
    assert_eq!(
        (told(&world).len(), told(&world)[1] > 1002),
        (2, true),
        "for the other one it could be the bad one"
    );
    world.answer();
    world.pass(60_000);
    assert_eq!(told(&world).len(), 3);
}

#[test]
fn a_content_isnt_bad_where_sigkill_ended_the_process() {
    let mut world = replicas(3, &[]);
    publish(&mut world, 2, 2);
    let process = world.node.identity(1001).unwrap();
    world.pass(400);
    world.exit(1001);
    world.start(&uid(1), "app");
    world.handle(Event::Killed(process));
    world.pass(60_000);
    assert_eq!((told(&world).len(), held(&world)), (3, 0));
    // And where that is known only after it was kept from others.
    let mut world = replicas(3, &[]);
    publish(&mut world, 2, 2);
    let process = world.node.identity(1001).unwrap();
    world.exit(1001);
    world.start(&uid(1), "app");
    world.pass(60_000);
    assert_eq!((told(&world).len(), held(&world)), (1, 2));
    world.handle(Event::Killed(process));
    world.pass(60_000);
    assert_eq!(told(&world).len(), 3);
    assert_eq!(world.machine.counts().problems.iter().sum::<usize>(), 0);
}

#[test]
fn a_content_isnt_bad_where_the_pod_was_being_deleted() {
    for is_told in [false, true] {
        let mut world = replicas(3, &[]);
        publish(&mut world, 2, 2);
        world.pass(3_000);
        world.exit(1001);
        world.pass(2_000);
        world.pods[0].terminating = is_told;
        world.sync();
        world.pods.remove(0);
        world.sync();
        world.pass(50_000);
        // That it isn't listed for a moment isn't a deletion.
        let expected = if is_told { (vec![1001, 1002, 1003], 0) } else { (vec![1001], 2) };
        assert_eq!((told(&world), held(&world)), expected);
        world.pass(60_000);
        assert_eq!((told(&world), held(&world)), (vec![1001, 1002, 1003], expected.1));
    }
}

#[test]
fn a_content_stays_bad_while_the_pod_that_it_ended_isnt_listed_has_other_labels_or_the_agent_starts_again() {
    for how in ["unlisted", "all unlisted", "relabelled", "agent"] {
        let mut world = replicas(3, &[]);
        publish(&mut world, 2, 2);
        world.pass(1_000);
        world.exit(1001);
        world.start(&uid(1), "app");
        world.pass(60_000);
        assert_eq!((told(&world), held(&world)), (vec![1001], 2), "{how}");
        let pods = world.pods.clone();
        match how {
            "unlisted" => drop(world.pods.remove(0)),
            "all unlisted" => world.pods.clear(),
            "relabelled" => world.pods[0].replica = None,
            _ => world.start_agent(),
        }
        world.sync();
        world.pass(5_000);
        world.pods = pods;
        world.sync();
        world.pass(120_000);
        assert_eq!((told(&world), held(&world)), (vec![1001], 2), "{how}");
    }
}

#[test]
fn a_content_stays_withheld_after_a_restart_from_a_replica_that_another_one_ended_once() {
    let mut world = replicas(2, &[]);
    // The first content ends the second pod's process, and newer ones are told.
    publish(&mut world, 2, 2);
    let first = told(&world);
    world.exit(first[0]);
    let ended = if first[0] == 1001 { 1 } else { 2 };
    world.start(&uid(ended), "app");
    world.pass(60_000);
    publish(&mut world, 3, 3);
    let next = told(&world).last().copied().unwrap();
    world.exit(next);
    let other =
        world.pods.iter().find(|pod| world.node.pods[&pod.uid].containers.is_empty()).unwrap().uid.clone();
    world.start(&other, "app");
    world.pass(60_000);
    let before = (told(&world), held(&world));
    assert!(before.1 >= 1, "{before:?}");
    world.start_agent();
    world.pass(120_000);
    assert_eq!((told(&world), held(&world)), before);
}

#[test]
fn an_annotation_has_one_pod_told_of_what_is_kept_from_it() {
    let mut world = replicas(3, &[]);
    publish(&mut world, 2, 2);
    whoever_is_told_ends(&mut world, 200, 30_000);
    assert_eq!((told(&world), held(&world)), (vec![1001], 2));
    world.pods[1] = replica(2, &[("reloadlet.io/verify", "11s")]);
    world.sync();
    assert_eq!(told(&world), [1001, 1002]);
    world.pass(60_000);
    assert_eq!(told(&world), [1001, 1002]);
}

#[test]
fn what_is_kept_from_a_pod_stays_so_over_a_restart_of_the_agent() {
    let mut world = replicas(3, &[]);
    publish(&mut world, 2, 2);
    whoever_is_told_ends(&mut world, 200, 30_000);
    world.start_agent();
    world.pass(60_000);
    assert_eq!(told(&world), [1001]);
    assert_eq!(world.machine.counts().problems_of(ProblemKind::BadContent), 2);
    world.actions.clear();
    publish(&mut world, 3, 3);
    world.pass(60_000);
    assert_eq!(world.sends().len(), 3);
    assert!(world.journal.endings.is_empty(), "{:?}", world.journal.endings);
}

#[test]
fn a_container_that_is_started_again_has_read_what_was_kept_from_it() {
    let mut world = replicas(2, &[]);
    publish(&mut world, 2, 2);
    whoever_is_told_ends(&mut world, 200, 30_000);
    assert_eq!(world.machine.counts().problems_of(ProblemKind::BadContent), 1);
    world.exit(1002);
    world.start(&uid(2), "app");
    world.pass(60_000);
    assert_eq!(world.machine.counts().problems.iter().sum::<usize>(), 0);
}

#[test]
fn a_workload_that_was_told_before_is_told_at_once_after_a_restart_of_the_agent() {
    let mut world = replicas(3, &[]);
    publish(&mut world, 2, 2);
    world.pass(60_000);
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    publish(&mut world, 3, 3);
    assert_eq!(world.sends().len(), 3);
}

#[test]
fn each_content_ends_one_process_at_most_where_the_signal_ends_them_all() {
    let mut world = replicas(3, &[]);
    for n in 2..6 {
        publish(&mut world, n, u8::try_from(n).unwrap());
        whoever_is_told_ends(&mut world, 200, 60_000);
        assert_eq!(world.sends().len(), usize::try_from(n).unwrap() - 1);
    }
}

#[test]
fn a_content_stays_withheld_when_a_reload_of_another_volume_ends_without_a_signal() {
    let keys = [("reloadlet.io/keys", "*.conf")];
    let pod = |n| Pod { replica: replica(n, &[]).replica, ..app_with_two_volumes(n, &keys) };
    let mut world = World::node(vec![pod(1), pod(2)]);
    for pod in [1, 2] {
        for (volume, n, content) in [("config", 1, 1), ("config", 2, 2), ("more", 1, 1), ("more", 2, 1)] {
            let digests = &mut world.node.volume(&volume_of(pod, volume)).digests;
            digests.insert(crate::node::generation(n), Digest::new([content; 32]));
        }
    }
    world.start_agent();
    world.pass(60_000);
    (1..=2).for_each(|pod| world.publish(&volume_of(pod, "config"), 2));
    whoever_is_told_ends(&mut world, 200, 30_000);
    assert_eq!(told(&world), [1001]);
    for restarts in [false, true] {
        if restarts {
            world.start_agent();
            world.pass(60_000);
        }
        let solved = world.reports().filter(|report| matches!(report, Report::Solved(_))).count();
        world.publish(&volume_of(2, "more"), if restarts { 1 } else { 2 });
        world.pass(60_000);
        assert_eq!(world.outcomes().last().map(|(_, _, outcome)| *outcome), Some(Outcome::Unchanged));
        assert_eq!(told(&world), [1001]);
        let after = world.reports().filter(|report| matches!(report, Report::Solved(_))).count();
        assert_eq!((after, world.machine.counts().problems_of(ProblemKind::BadContent)), (solved, 1));
    }
}

#[test]
fn a_content_that_ended_a_replica_which_was_alone_is_kept_from_those_that_come_later() {
    let mut world = replicas(1, &[]);
    publish(&mut world, 2, 2);
    world.pass(400);
    world.exit(1001);
    world.start(&uid(1), "app");
    world.pass(60_000);
    let pid = join(&mut world, replica(2, &[]));
    let volume = VolumeRef { pod: uid(2), volume: "config".into() };
    world.node.volume(&volume).digests.insert(crate::node::generation(2), Digest::new([2; 32]));
    world.publish(&volume, 2);
    world.pass(60_000);
    assert!(!told(&world).contains(&pid), "{:?}", told(&world));
    assert_eq!(held(&world), 1);
}
