//! The agent's own reads of generations: they wait for the containers that are told, and what they may hide is never held against
//! one.

use reloadlet_core::machine::event::Report;
use reloadlet_core::model::outcome::{Unread, Verdict};
use reloadlet_core::model::pod::{Pod, Replica};
use reloadlet_core::{Action, Event, Time};

use crate::digests::a_read;
use crate::measuring::{contents, measured, show, version};
use crate::node::{generation, ms, uid};
use crate::world::{World, app, app_with_two_volumes, config, more, volume_of};

/// When which generation of the first pod was asked to be read.
fn reads(world: &World) -> Vec<(Time, u32)> {
    let number = |wanted: &_| (1..20).find(|n| generation(*n) == *wanted).unwrap();
    let read = |(at, action): &(Time, Action)| {
        let Action::Read(volume, generation, _) = action else { return None };
        (volume.pod == uid(1)).then(|| (*at, number(generation)))
    };
    world.actions.iter().filter_map(read).collect()
}

fn unread(world: &World) -> Vec<Unread> {
    let of = |report: &Report| if let Report::Unread { unread, .. } = report { Some(*unread) } else { None };
    world.reports().filter_map(of).collect()
}

/// Two replicas, of which the first one has read generation 2, and lived.
fn replicas() -> World {
    let of = Replica { kind: "ReplicaSet".into(), name: "web".into(), uid: "1".into(), template: None };
    let mut world =
        World::running((1..3).map(|n| Pod { replica: Some(of.clone()), ..app(n, &[]) }).collect());
    read(&mut world, 2);
    world.actions.clear();
    world
}

/// A generation that is read 5 ms after its signal.
fn read(world: &mut World, n: u32) {
    world.publish(&config(), n);
    world.pass(5);
    assert!(world.open(&config(), n));
    world.pass(60_000);
}

#[test]
fn what_other_replicas_are_compared_with_is_read_once_the_container_has_read_it() {
    let mut world = replicas();
    world.publish(&config(), 3);
    let told = world.now;
    assert_eq!(reads(&world), [], "{:?}", world.actions);
    world.pass(5);
    assert!(world.open(&config(), 3));
    assert_eq!(reads(&world), [(told + ms(5), 3)]);
}

#[test]
fn what_has_ended_a_container_is_read_at_once() {
    let mut world = replicas();
    world.publish(&config(), 3);
    world.pass(20);
    world.exit(1001);
    assert_eq!(reads(&world), [(world.now, 3)]);
}

#[test]
fn what_may_be_what_has_ended_another_replica_is_read_before_anybody_is_told() {
    let mut world = replicas();
    let digest = |n: u8| reloadlet_core::model::digest::Digest::new([n; 32]);
    let other = volume_of(2, "config");
    for volume in [&config(), &other] {
        let digests = (1..5).map(|n| (generation(n.into()), digest(n)));
        world.node.volume(volume).digests.extend(digests);
    }
    world.publish(&other, 3);
    world.pass(100);
    world.exit(1002);
    world.pass(100);
    world.publish(&config(), 3);
    assert_eq!(reads(&world).len(), 1);
    assert_eq!(world.sends().len(), 1, "only the other one was told");
}

#[test]
fn what_has_ended_a_container_is_read_at_once_though_another_one_of_the_pod_is_waited_for() {
    let of = Replica { kind: "ReplicaSet".into(), name: "web".into(), uid: "1".into(), template: None };
    let signals = [("signal.reloadlet.io/app", "SIGHUP"), ("signal.reloadlet.io/side", "SIGHUP")];
    let both = |n| {
        let made = crate::node::pod(n, &signals, &[("app", &["config"]), ("side", &["config"])], &["config"]);
        Pod { replica: Some(of.clone()), ..made }
    };
    let mut world = World::running((1..3).map(both).collect());
    read(&mut world, 2);
    world.actions.clear();
    world.publish(&config(), 3);
    let told: Vec<u32> = world.sends().into_iter().map(|(_, pid)| pid).collect();
    world.pass(500);
    assert_eq!((told.len(), reads(&world)), (2, vec![]), "both have read before, and don't this time");
    world.exit(told[0]);
    assert_eq!(reads(&world), [(world.now, 3)]);
}

#[test]
fn a_reload_of_one_volume_doesnt_wait_for_the_window_of_another_where_a_content_has_ended_a_replica() {
    let of = Replica { kind: "ReplicaSet".into(), name: "web".into(), uid: "1".into(), template: None };
    let two =
        |n| Pod { replica: Some(of.clone()), ..app_with_two_volumes(n, &[("reloadlet.io/debounce", "0s")]) };
    let mut world = World::running((1..3).map(two).collect());
    read(&mut world, 2);
    let digest = |n: u8| reloadlet_core::model::digest::Digest::new([n; 32]);
    let other = volume_of(2, "config");
    for volume in [&config(), &more(), &other] {
        let digests = (1..5).map(|n| (generation(n.into()), digest(n)));
        world.node.volume(volume).digests.extend(digests);
    }
    world.publish(&other, 4);
    world.pass(100);
    world.publish(&more(), 3);
    world.pass(100);
    world.exit(1002);
    world.pass(100);
    world.actions.clear();
    world.publish(&config(), 3);
    world.pass(100);
    assert_eq!(world.sends().len(), 1, "{:?}", reads(&world));
}

#[test]
fn what_is_being_published_is_waited_for_where_a_content_has_ended_a_replica() {
    let mut world = crate::replicas::replicas(2, &[("reloadlet.io/debounce", "1s")]);
    crate::replicas::publish(&mut world, 2, 2);
    crate::replicas::whoever_is_told_ends(&mut world, 200, 60_000);
    let told = crate::replicas::told(&world);
    assert_eq!(told.len(), 1);
    let other = volume_of(if told == [1001] { 2 } else { 1 }, "config");
    let digests = &mut world.node.volume(&other).digests;
    digests.insert(generation(3), reloadlet_core::model::digest::Digest::new([3; 32]));
    digests.insert(generation(4), reloadlet_core::model::digest::Digest::new([2; 32]));
    world.publish(&other, 3);
    world.pass(500);
    // By the end of the debounce the bad content stands there again, and the agent doesn't know yet what does.
    world.hold_back(&Action::List(other.clone()));
    world.handle(Event::Overflowed);
    world.swap(&other, 4);
    world.pass(1_000);
    world.settle(&other);
    world.answer();
    world.pass(60_000);
    assert_eq!(crate::replicas::told(&world), told, "whoever is told reads what stands there");
}

/// The API server has shown each version; the container has read generation 2.
fn measured_reader(annotations: &[(&str, &str)]) -> World {
    let mut world = measured(vec![app(1, annotations)]);
    contents(&mut world, "config", &[(4, 4), (5, 5), (6, 6), (7, 7)]);
    read(&mut world, 2);
    world.actions.clear();
    world
}

#[test]
fn who_dropped_a_signal_is_told_once_more_also_where_its_files_are_measured() {
    let mut world = measured_reader(&[]);
    show(&mut world, "config", version(3, 3));
    world.publish(&config(), 3);
    world.pass(9_000);
    assert_eq!(reads(&world), [], "the read would hide the container's");
    world.pass(60_000);
    assert_eq!((world.sends().len(), unread(&world)), (2, vec![Unread::NotRead]));
    assert_eq!(reads(&world).len(), 1);
}

#[test]
fn a_read_that_may_have_hidden_the_containers_leads_to_nothing() {
    // So long no read waits.
    let mut world = measured_reader(&[("reloadlet.io/verify", "5m")]);
    world.publish(&config(), 3);
    world.pass(60_000);
    assert_eq!(reads(&world).len(), 1);
    world.pass(600_000);
    assert_eq!((world.sends().len(), unread(&world)), (1, vec![]));
    assert_eq!(world.verdicts().last(), Some(&Verdict::Alive));
}

#[test]
fn a_signal_that_goes_out_during_a_read_leads_to_nothing_where_nothing_is_seen() {
    let mut world = measured(vec![app(1, &[("reloadlet.io/debounce", "400ms")])]);
    world.publish(&config(), 2);
    world.pass(405);
    assert!(world.open(&config(), 2));
    world.pass(60_000);
    world.actions.clear();
    world.hold_back(&a_read());
    world.publish(&config(), 3);
    world.pass(350);
    assert_eq!((reads(&world).len(), world.sends().len()), (1, 0), "nobody was told yet");
    world.pass(100);
    assert_eq!(world.sends().len(), 1);
    world.answer();
    world.pass(60_000);
    assert_eq!((world.sends().len(), unread(&world)), (1, vec![]));
}

#[test]
fn who_never_reads_is_said_so_after_a_window_in_which_nothing_was_hidden() {
    let mut world = measured(vec![app(1, &[])]);
    contents(&mut world, "config", &[(4, 4), (5, 5), (6, 6), (7, 7)]);
    for n in 2..8 {
        let swapped = world.now;
        world.publish(&config(), n);
        world.pass(60_000);
        let (at, _) = *reads(&world).last().unwrap();
        assert_eq!(at.since(swapped) > ms(5_000), n == 4, "the third one decides: {n}");
        assert_eq!(unread(&world).len(), usize::from(n >= 4));
    }
    // Each of its windows has an own read in it that nothing puts off.
    let mut hidden = measured(vec![app(1, &[("reloadlet.io/verify", "5m")])]);
    contents(&mut hidden, "config", &[(4, 4), (5, 5), (6, 6), (7, 7)]);
    for n in 2..8 {
        hidden.publish(&config(), n);
        hidden.pass(400_000);
    }
    assert_eq!(unread(&hidden), []);
}

#[test]
fn what_isnt_read_yet_is_neither_on_disk_nor_waited_for() {
    let mut world = measured_reader(&[]);
    show(&mut world, "config", version(2, 2));
    world.pass(1_000);
    show(&mut world, "config", version(3, 3));
    world.publish(&config(), 3);
    world.pass(5_000);
    let status = world.machine.status(world.now).remove(0);
    assert_eq!((status.volumes[0].on_disk.len(), status.stale.len()), (0, 0), "{status:?}");
    world.pass(60_000);
    let status = world.machine.status(world.now).remove(0);
    assert_eq!(status.volumes[0].on_disk[0].version.as_deref(), Some("3"));
}

#[test]
fn a_window_in_which_nothing_can_be_seen_any_more_puts_off_no_read() {
    let mut world = measured_reader(&[]);
    world.publish(&config(), 3);
    world.pass(1_000);
    assert_eq!(reads(&world), []);
    world.handle(Event::Overflowed);
    world.pass(1);
    assert_eq!(reads(&world).len(), 1);
}

#[test]
fn a_volume_that_only_another_container_takes_is_not_compared() {
    let of = Replica { kind: "ReplicaSet".into(), name: "web".into(), uid: "1".into(), template: None };
    let annotations = [
        ("signal.reloadlet.io/app", "SIGHUP"),
        ("signal.reloadlet.io/side", "SIGHUP"),
        ("reloadlet.io/debounce", "1s"),
    ];
    let containers: [(&str, &[&str]); 2] = [("app", &["config"]), ("side", &["more"])];
    let both = |n| {
        let made = crate::node::pod(n, &annotations, &containers, &["config", "more"]);
        Pod { replica: Some(of.clone()), ..made }
    };
    let mut world = World::running((1..3).map(both).collect());
    let other = volume_of(2, "config");
    let digest = |n: u8| reloadlet_core::model::digest::Digest::new([n; 32]);
    world.node.volume(&other).digests.extend((1..5).map(|n| (generation(n.into()), digest(n))));
    world.publish(&other, 4);
    world.pass(1_100);
    let told = world.sends();
    assert_eq!(told.len(), 1);
    world.exit(told[0].1);
    world.pass(100);
    world.actions.clear();
    world.publish(&config(), 3);
    world.pass(100);
    world.publish(&more(), 3);
    world.pass(100);
    let of = |(_, action): &(Time, Action)| {
        if let Action::Read(volume, ..) = action { Some(volume.clone()) } else { None }
    };
    assert_eq!(world.actions.iter().filter_map(of).collect::<Vec<_>>(), [config()]);
}
