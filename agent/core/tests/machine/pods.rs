//! Pods come, change and go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reloadlet_core::machine::status::Age;
use reloadlet_core::machine::volume::Listing;
use reloadlet_core::model::journal::JournalSnapshot;
use reloadlet_core::model::names::PodUid;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::policy::problem::ProblemKind;
use reloadlet_core::{Action, Event, Machine, Time};

use crate::node::{generation, ms, pod, uid};
use crate::world::{World, app, config};

#[test]
fn a_pod_that_becomes_invalid_is_not_told_and_once_mended_not_told_twice() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    world.pass(60_000);
    world.pods = vec![app(1, &[("reloadlet.io/debounce", "soon")])];
    world.sync();
    assert_eq!(world.problems(), [Some(ProblemKind::BadValue)]);
    assert_eq!(world.machine.counts().invalid, 1);
    world.sync();
    assert_eq!(world.problems().len(), 1, "said once");
    world.pass(60_000);
    world.pods = vec![app(1, &[])];
    world.sync();
    world.pass(60_000);
    assert_eq!(world.problems(), [Some(ProblemKind::BadValue), None]);
    assert_eq!(world.sends().len(), 1);
    world.publish(&config(), 3);
    assert_eq!(world.sends().len(), 2);
}

#[test]
fn a_change_while_a_pod_was_invalid_is_told_when_it_is_mended() {
    let mut world = World::app(&[]);
    world.pods = vec![app(1, &[("reloadlet.io/debounce", "soon")])];
    world.sync();
    world.publish(&config(), 2);
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    world.pods = vec![app(1, &[])];
    world.sync();
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn a_change_of_the_annotations_loses_no_waiting_reload_and_doubles_none() {
    let mut world = World::app(&[("reloadlet.io/debounce", "1m")]);
    world.publish(&config(), 2);
    world.pods = vec![app(1, &[("reloadlet.io/debounce", "1s")])];
    world.sync();
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn a_change_of_the_annotations_before_the_first_listing_makes_no_storm() {
    let mut world = World::node(vec![app(1, &[])]);
    world.node.process_mut(1001).started = crate::world::PUBLISHED - ms(500);
    world.hold_back(&Action::List(config()));
    world.start_agent();
    world.pods = vec![app(1, &[("reloadlet.io/debounce", "1s")])];
    world.sync();
    world.answer();
    world.pass(60_000);
    assert_eq!((world.sends(), world.outcomes()), (vec![], vec![]));
}

#[test]
fn a_pod_that_goes_while_its_reload_waits_ends_it_as_gone_and_is_forgotten() {
    let mut world = World::app(&[("reloadlet.io/debounce", "1m")]);
    world.publish(&config(), 2);
    world.pods.clear();
    world.sync();
    assert!(world.held.is_empty());
    assert!(world.actions.iter().any(|(_, action)| *action == Action::Unwatch(uid(1))));
    assert_eq!(world.outcomes(), [], "it may be listed again");
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Gone)]);
    assert!(world.journal.handled.is_empty() && world.journal.pods.is_empty());
    assert_eq!(world.sends(), []);
    assert_eq!(world.machine.poll_timeout(), None);
}

#[test]
fn a_pod_whose_annotation_is_removed_is_left_alone() {
    let mut world = World::app(&[]);
    let mut without = app(1, &[]);
    without.spec.annotations.clear();
    world.pods = vec![without];
    world.sync();
    assert!(world.held.is_empty());
    world.publish(&config(), 2);
    world.exit(1001);
    world.start(&uid(1), "app");
    world.pass(60_000);
    assert_eq!((world.sends(), world.outcomes()), (vec![], vec![]));
}

#[test]
fn a_pod_that_is_listed_again_as_it_was_asks_for_nothing() {
    let mut world = World::app(&[]);
    world.sync();
    assert!(world.actions.is_empty(), "{:?}", world.actions);
}

#[test]
fn an_invalid_pod_that_goes_is_forgotten() {
    let mut world = World::app(&[]);
    world.pods = vec![app(1, &[("reloadlet.io/debounce", "soon")])];
    world.sync();
    world.pods.clear();
    world.sync();
    assert_eq!(world.machine.status(world.now), []);
    world.pass(60_000);
    assert!(world.journal.handled.is_empty());
}

#[test]
fn a_pod_is_shown_with_its_volumes_and_processes() {
    let mut world = World::app(&[("reloadlet.io/debounce", "1m")]);
    world.publish(&config(), 2);
    let status = world.machine.status(world.now + Duration::from_secs(3));
    let [pod] = &status[..] else { panic!("{status:?}") };
    let (volume, container) = (&pod.volumes[0], &pod.containers[0]);
    assert_eq!(
        (volume.generation.as_deref(), volume.settled_seconds_ago),
        (Some(generation(2).as_str()), Some(Age(Duration::from_secs(3))))
    );
    assert_eq!((&container.pids[..], container.missing.as_deref()), (&[1001][..], None));
    let told = &container.volumes[0];
    assert_eq!(
        (&*told.name, told.handled.as_deref(), told.waiting.as_deref()),
        ("config", Some(generation(1).as_str()), Some(generation(2).as_str()))
    );
    world.exit(1001);
    let status = world.machine.status(world.now);
    assert_eq!(status[0].containers[0].missing.as_deref(), Some("the container has no running process"));
}

#[test]
fn a_listing_that_was_begun_under_other_annotations_is_passed_over() {
    let mut world = World::app(&[]);
    let stale = world.node.listing(&config(), world.now);
    world.publish(&config(), 2);
    world.pass(60_000);
    world.hold_back(&Action::List(config()));
    world.pods = vec![app(1, &[("reloadlet.io/debounce", "1s")])];
    world.sync();
    world.handle(Event::Listed(config(), stale));
    world.answer();
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn a_pod_that_went_while_there_was_no_agent_leaves_nothing_in_the_journal_whoever_is_read_first() {
    for pods_first in [false, true] {
        let mut world = World::running(vec![app(1, &[("reloadlet.io/debounce", "soon")])]);
        assert_eq!(world.journal.pods.len(), 1);
        world.stop_agent();
        world.pods.clear();
        let journal = world.journal.clone();
        if pods_first {
            world.sync();
            world.handle(Event::JournalRead(journal));
        } else {
            world.handle(Event::JournalRead(journal));
            world.sync();
        }
        world.pass(60_000);
        assert!(world.journal.pods.is_empty(), "pods first: {pods_first}");
    }
}

/// Whose volumes are watched, and, negative, whose aren't any more, since the last call.
fn turned(machine: &mut Machine) -> Vec<i32> {
    let number = |pod: &PodUid| i32::from_str_radix(&pod.as_str()[..8], 16).unwrap();
    let mut turned = Vec::new();
    while let Some(action) = machine.poll_action() {
        if let Action::Watch(pod, ..) = &action {
            turned.push(number(pod));
        } else if let Action::Unwatch(pod) = &action {
            turned.push(-number(pod));
        }
    }
    turned
}

#[test]
fn a_listing_with_many_volumes_is_taken_in_piece_by_piece_and_small_pods_first() {
    let now = Time::since_boot(ms(1000));
    let names: Vec<String> = (0..256).map(|n| format!("v{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let large = |n| Arc::new(pod(n, &[("reloadlet.io/signal", "SIGHUP")], &[("app", &names)], &names));
    let small = Arc::new(app(3, &[]));
    let mut machine = Machine::new();
    machine.handle(now, Event::JournalRead(JournalSnapshot::default()));

    machine.handle(now, Event::PodsSynced(vec![large(1), large(2), small.clone()]));
    assert_eq!(turned(&mut machine), [3, 1]);
    assert!(machine.is_busy() && machine.poll_timeout().is_some_and(|due| due <= now));
    machine.handle_timeout(now);
    assert_eq!(turned(&mut machine), [2]);
    machine.handle_timeout(now);
    assert!(!machine.is_busy());

    // What is left of a listing is of no interest when a newer one comes.
    machine.handle(now, Event::PodsSynced(vec![small.clone()]));
    assert_eq!(turned(&mut machine), [-1]);
    machine.handle(now, Event::PodsSynced(vec![large(2), small.clone()]));
    machine.handle_timeout(now);
    assert_eq!(turned(&mut machine), [0; 0], "nothing has changed");
    machine.handle(now, Event::PodsSynced(vec![large(2)]));
    assert_eq!(turned(&mut machine), [-3]);
}

#[test]
fn a_node_is_ready_once_the_last_piece_of_a_listing_is_taken_in_and_looked_at() {
    let now = Time::since_boot(ms(1000));
    let names: Vec<String> = (0..256).map(|n| format!("v{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for count in 1..4 {
        let pods = (0..count)
            .map(|n| Arc::new(pod(n, &[("reloadlet.io/signal", "SIGHUP")], &[("app", &names)], &names)));
        let mut machine = Machine::new();
        machine.handle(now, Event::JournalRead(JournalSnapshot::default()));
        machine.handle(now, Event::PodsSynced(pods.collect()));
        while machine.is_busy() || !machine.is_ready() {
            let action = machine.poll_action();
            if let Some(Action::List(volume)) = action {
                let listing = Listing { begun: now, dir: None, current: None, others: Vec::new() };
                machine.handle(now, Event::Listed(volume, listing));
            } else if action.is_none() {
                assert!(machine.poll_timeout().is_some_and(|due| due <= now), "it waits for nothing");
                machine.handle_timeout(now);
            }
        }
    }
}

#[test]
fn pods_that_are_missing_for_a_moment_are_told_nothing_twice_and_miss_nothing() {
    for (published, while_there) in [(false, false), (true, false), (true, true)] {
        let mut world = World::running(vec![app(1, &[("reloadlet.io/debounce", "5s")]), app(2, &[])]);
        world.publish(&config(), 2);
        world.pass(60_000);
        if published && while_there {
            world.publish(&config(), 3);
        }
        let sent = world.sends().len();
        // One of them, and then both.
        for listed in [vec![Arc::new(app(2, &[]))], Vec::new()] {
            world.handle(Event::PodsSynced(listed));
            world.pass(20_000);
        }
        if published && !while_there {
            world.publish(&config(), 3);
            world.pass(1_000);
        }
        assert_eq!(world.sends().len(), sent, "nothing is sent to a pod that isn't listed");
        world.sync();
        world.pass(60_000);
        assert_eq!(world.sends().len(), sent + usize::from(published), "{published} {while_there}");
        let of_three = |(_, n, _): &(&str, _, _)| *n == generation(3);
        assert_eq!(
            world.outcomes().iter().filter(|outcome| of_three(outcome)).count(),
            usize::from(published)
        );
        world.publish(&config(), 4);
        world.pass(60_000);
        assert_eq!(world.sends().len(), sent + usize::from(published) + 1);
    }
}

#[test]
fn a_pod_with_problems_that_is_missing_for_a_moment_is_said_once() {
    let mut world = World::running(vec![app(1, &[("reloadlet.io/debounce", "soon")])]);
    world.start_agent();
    let said = world.problems().len();
    world.handle(Event::PodsSynced(Vec::new()));
    world.pass(30_000);
    world.sync();
    assert_eq!(world.problems().len(), said);
    assert_eq!(world.machine.counts().invalid, 1);
    world.pods = vec![app(1, &[])];
    world.sync();
    world.publish(&config(), 2);
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
}

#[test]
fn pods_that_come_and_go_without_end_take_bounded_room_and_none_of_another_namespaces() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    world.pass(60_000);
    let sent = world.sends().len();
    world.handle(Event::PodsSynced(Vec::new()));
    let names: Vec<String> = (0..50).map(|n| format!("v{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for n in 100..250 {
        let mut loud = pod(n, &[("reloadlet.io/signal", "SIGHUP")], &[("app", &names)], &names);
        loud.namespace = "loud".into();
        world.handle(Event::PodsSynced(vec![Arc::new(loud)]));
        world.handle(Event::PodsSynced(Vec::new()));
    }
    let kept: BTreeSet<PodUid> = world.journal.pods.iter().map(|pod| pod.uid.clone()).collect();
    assert!(kept.len() <= 4096 / 51 + 1 && kept.contains(&uid(1)), "{}", kept.len());
    world.sync();
    world.pass(30_000);
    assert_eq!(world.sends().len(), sent, "it was told already");
}

#[test]
fn a_signal_that_is_turned_off_and_on_again_repeats_nothing_and_loses_nothing() {
    for (published, restarted) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut world = World::app(&[]);
        world.publish(&config(), 2);
        world.pass(60_000);
        let sent = world.sends().len();
        world.pods = vec![app(1, &[("reloadlet.io/signal", "none")])];
        world.sync();
        if restarted {
            world.start_agent();
        }
        world.pass(120_000);
        if published {
            world.publish(&config(), 3);
        }
        world.pass(60_000);
        assert_eq!(world.sends().len(), sent);
        world.pods = vec![app(1, &[])];
        world.sync();
        world.pass(60_000);
        assert_eq!(world.sends().len(), sent + usize::from(published), "{published} {restarted}");
    }
}

#[test]
fn a_suspended_pod_that_is_missing_for_a_moment_stays_suspended() {
    let mut world = World::app(&[]);
    let mut pid = 1001;
    for n in [2, 3] {
        world.publish(&config(), n);
        world.pass(100);
        world.exit(pid);
        pid = world.start(&uid(1), "app");
        world.pass(30_000);
    }
    let sent = world.sends().len();
    assert_eq!(sent, 2);
    world.handle(Event::PodsSynced(Vec::new()));
    world.pass(1_000);
    for restarted in [false, true] {
        if restarted {
            world.start_agent();
        } else {
            world.sync();
        }
        world.pass(60_000);
        world.publish(&config(), if restarted { 5 } else { 4 });
        world.pass(60_000);
        assert_eq!(world.sends().len(), sent, "restarted: {restarted}");
    }
}
