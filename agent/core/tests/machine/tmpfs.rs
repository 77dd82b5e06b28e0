//! A Secret's tmpfs that was taken away and made anew while there was no agent: the directory has the same name, on another device.

use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::pod::{ObjectSource, Pod, VolumeSource};
use reloadlet_core::{Action, Event};

use crate::node::{generation, uid};
use crate::replicas::{publish, replicas, told};
use crate::world::{World, app, config, volume_of};

fn with_secret() -> Pod {
    let mut pod = app(1, &[]);
    pod.spec.volumes[0].source =
        VolumeSource::Secret(ObjectSource { name: "sec".into(), ..ObjectSource::default() });
    pod
}

/// The agent is down while the tmpfs is made anew, with other files. What the container sees is of this device.
fn made_anew(seen: u32, surveyed_first: bool) -> World {
    let mut world = World::node(vec![with_secret()]);
    world.node.volume(&config()).tmpfs = Some(5);
    world.node.pod(&uid(1)).containers[0].tmpfs = Some(5);
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    world.stop_agent();
    world.node.volume(&config()).tmpfs = Some(6);
    world.node.pod(&uid(1)).containers[0].tmpfs = Some(seen);
    world.publish_unseen(&config(), 2);
    if surveyed_first {
        world.hold_back(&Action::List(config()));
    }
    world.start_agent();
    world.answer();
    world.pass(120_000);
    world
}

#[test]
fn a_container_that_holds_the_old_one_isnt_told_whatever_is_looked_at_first() {
    for surveyed_first in [false, true] {
        let world = made_anew(5, surveyed_first);
        assert_eq!(world.sends(), [], "surveyed first: {surveyed_first}");
        assert_eq!(world.outcomes(), [("config", generation(2), Outcome::NoProcess)]);
        assert_eq!(world.machine.counts().problems.iter().sum::<usize>(), 0);
    }
}

#[test]
fn a_container_that_sees_the_new_one_is_told() {
    for surveyed_first in [false, true] {
        let world = made_anew(6, surveyed_first);
        assert_eq!(world.sends().len(), 1, "surveyed first: {surveyed_first}");
    }
}

#[test]
fn what_is_left_of_a_pod_that_was_deleted_while_there_was_no_agent_is_nothing() {
    for remembered in [false, true] {
        let mut world = World::node(vec![with_secret()]);
        world.start_agent();
        world.pass(60_000);
        world.publish(&config(), 2);
        world.pass(1_000);
        world.actions.clear();
        world.stop_agent();
        world.node.kill(1001);
        // Its tmpfs is mounted still.
        world.publish_unseen(&config(), 3);
        world.pods.clear();
        if remembered {
            let journal = world.journal.clone();
            world.handle(Event::JournalRead(journal));
            world.pass(30_000);
            world.sync();
        } else {
            world.start_agent();
        }
        assert!(world.machine.is_ready(), "remembered: {remembered}");
        world.pass(120_000);
        assert_eq!((world.sends(), world.problems()), (vec![], vec![]));
        assert!(world.journal.handled.is_empty() && world.journal.deliveries.is_empty());
        assert!(world.journal.pods.is_empty() && world.journal.endings.is_empty(), "{:?}", world.journal);
        assert_eq!((world.machine.poll_timeout(), world.held.len()), (None, 0));
    }
}

#[test]
fn of_a_pod_of_last_time_nothing_is_said_before_somebody_tells_the_nodes_pods() {
    let mut world = replicas(2, &[]);
    publish(&mut world, 2, 2);
    world.pass(60_000);
    for pod in 0..2 {
        let identity = world.node.identity(1001 + u32::try_from(pod).unwrap()).unwrap();
        world.pods[pod].status.insert("app".into(), identity.container);
    }
    world.sync();
    let [first, second] = [1, 2].map(|pod| volume_of(pod, "config"));
    for volume in [&first, &second] {
        world.node.volume(volume).digests.insert(generation(3), Digest::new([3; 32]));
    }
    world.publish(&first, 3);
    world.pass(200);
    world.stop_agent();
    world.actions.clear();
    // The first one is deleted, and its directory is still there.
    world.node.kill(1001);
    world.publish_unseen(&second, 3);
    world.pods.remove(0);
    let journal = world.journal.clone();
    world.handle(Event::JournalRead(journal));
    world.pass(60_000);
    assert_eq!(world.machine.counts().stale.iter().sum::<usize>(), 0, "it may be gone");
    assert_eq!((world.problems(), told(&world)), (vec![], vec![1002]));
    world.sync();
    world.pass(120_000);
    assert_eq!((world.problems(), told(&world)), (vec![], vec![1002]));
    assert!(world.journal.endings.is_empty());
}
