//! Whether files of a new generation are opened after a delivery.

use reloadlet_core::Action;
use reloadlet_core::machine::event::{Delivery, Event};
use reloadlet_core::model::outcome::Verdict;
use reloadlet_core::model::pod::{Item, ObjectSource, VolumeSource};

use crate::node::{HUP, generation, ms, pod, uid};
use crate::world::{PUBLISHED, STARTED, World, app, app_with_two_volumes, config, more, volume_of};

fn delivered() -> World {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    world
}

#[test]
fn an_open_counts_for_as_long_as_the_pod_says_and_is_told_once() {
    for (verify, millis) in [("10s", 9_999), ("30s", 29_999), ("1s", 999)] {
        let mut world = World::app(&[("reloadlet.io/verify", verify)]);
        world.publish(&config(), 2);
        world.pass(millis);
        assert!(world.open(&config(), 2), "{verify}");
        assert_eq!(world.rereads(), [ms(millis)]);
        assert!(!world.open(&config(), 2), "one is enough");
        world.handle(Event::Opened(config(), generation(2), world.now));
        world.pass(60_000);
        assert_eq!((world.verdicts(), world.rereads().len()), (vec![Verdict::Reread], 1));
    }
}

#[test]
fn what_is_opened_later_does_not_count() {
    let mut world = delivered();
    world.pass(9_999);
    let late = world.now + ms(2);
    world.handle(Event::Opened(config(), generation(2), late));
    assert!(world.opens.len() == 1 && world.rereads().is_empty());
    let watches = world.actions.iter().filter(|(_, action)| matches!(action, Action::WatchOpens(..)));
    assert_eq!(watches.count(), 2, "a watch shows one open, and the window isn't over");
    world.pass(1);
    assert!(!world.open(&config(), 2), "nobody looks any more");
    world.handle(Event::Opened(config(), generation(2), world.now));
    world.pass(10_000);
    assert_eq!((world.verdicts(), world.rereads()), (vec![Verdict::Alive], vec![]));
}

#[test]
fn the_watch_is_there_before_the_send_and_ends_with_a_shorter_window() {
    let mut world = World::app(&[("reloadlet.io/verify", "1s")]);
    world.publish(&config(), 2);
    let place = |wanted: fn(&Action) -> bool| world.actions.iter().position(|(_, action)| wanted(action));
    let watched = place(|action| matches!(action, Action::WatchOpens(..))).unwrap();
    assert!(watched < place(|action| matches!(action, Action::Send(..))).unwrap());
    world.pass(1_000);
    assert_eq!((world.verdicts(), world.opens.len()), (vec![Verdict::Alive], 0));
}

#[test]
fn a_generation_that_was_not_told_does_not_count() {
    let mut world = delivered();
    for n in [1, 3] {
        world.handle(Event::Opened(config(), generation(n), world.now));
    }
    world.pass(10_000);
    assert_eq!((world.verdicts(), world.rereads()), (vec![Verdict::Alive], vec![]));
}

#[test]
fn a_newer_generation_ends_the_watch_of_the_one_before() {
    let mut world = delivered();
    world.pass(500);
    world.swap(&config(), 3);
    assert!(!world.open(&config(), 2));
    world.handle(Event::Opened(config(), generation(2), world.now));
    world.settle(&config());
    assert_eq!(world.verdicts(), [Verdict::Alive]);
    assert!(world.open(&config(), 3));
    world.pass(10_000);
    assert_eq!((world.verdicts(), world.rereads()), (vec![Verdict::Alive, Verdict::Reread], vec![ms(0)]));
}

#[test]
fn of_several_volumes_each_is_watched_and_one_open_is_enough() {
    let mut world = World::running(vec![app_with_two_volumes(1, &[])]);
    world.publish(&config(), 2);
    world.publish(&more(), 2);
    world.pass(100);
    assert_eq!(world.opens.len(), 2);
    assert!(world.open(&more(), 2) && world.opens.is_empty());
    world.pass(10_000);
    assert_eq!((world.verdicts(), world.rereads().len()), (vec![Verdict::Reread], 1));
}

#[test]
fn an_open_counts_for_every_container_that_was_told_by_then() {
    let told = [("signal.reloadlet.io/a", "HUP"), ("signal.reloadlet.io/b", "HUP")];
    let both: &[(&str, &[&str])] = &[("a", &["config"]), ("b", &["config"])];
    let mut world = World::running(vec![pod(1, &told, both, &["config"])]);
    world.node.process_mut(1002).caught = 0;
    world.publish(&config(), 2);
    world.pass(50);
    assert_eq!(world.sends().len(), 1);
    assert!(world.open(&config(), 2));
    world.node.process_mut(1002).caught = HUP;
    world.pass(5_000);
    assert_eq!((world.sends().len(), world.rereads().len()), (2, 1));
    // The other one has only now been told.
    assert!(world.open(&config(), 2));
    assert_eq!(world.rereads().len(), 2);

    world.publish(&config(), 3);
    assert!(world.open(&config(), 3));
    assert_eq!(world.rereads().len(), 4);
    world.pass(10_000);
    assert_eq!(world.verdicts(), [Verdict::Reread; 4]);
}

#[test]
fn an_end_and_a_pending_signal_say_more_than_a_reread() {
    let mut world = delivered();
    world.open(&config(), 2);
    (world.node.process_mut(1001).blocked, world.node.process_mut(1001).pending) = (HUP, HUP);
    world.pass(10_000);
    assert_eq!(world.verdicts(), [Verdict::Pending]);

    for restarts in [false, true] {
        let mut world = delivered();
        world.open(&config(), 2);
        world.exit(1001);
        if restarts {
            world.start(&uid(1), "app");
        }
        world.pass(10_000);
        assert_eq!(world.verdicts(), [if restarts { Verdict::Restarted } else { Verdict::Exited }]);
    }
}

#[test]
fn a_send_that_comes_to_nothing_leaves_no_watch() {
    for delivery in [Delivery::Denied, Delivery::Failed("EIO: Input/output error"), Delivery::Spared] {
        let mut world = World::app(&[]);
        world.delivery = delivery;
        world.publish(&config(), 2);
        assert_eq!((world.sends().len(), world.opens.len()), (1, 0), "{delivery:?}");
    }
    let mut world = World::app(&[]);
    world.swap(&config(), 2);
    world.node.kill(1001);
    world.settle(&config());
    assert_eq!((world.sends().len(), world.opens.len()), (1, 0));
}

#[test]
fn the_end_of_a_pod_or_its_plan_ends_the_watch() {
    for changes in [false, true] {
        let mut world = World::running(vec![app(1, &[]), app(2, &[])]);
        world.publish(&config(), 2);
        world.publish(&volume_of(2, "config"), 2);
        assert_eq!(world.opens.len(), 2);
        world.pods.remove(0);
        if changes {
            world.pods.insert(0, app(1, &[("reloadlet.io/verify", "5s")]));
        }
        world.sync();
        assert_eq!(world.opens.len(), 1);
        assert!(world.open(&volume_of(2, "config"), 2));
    }
}

#[test]
fn the_directories_below_a_generation_are_watched_as_well() {
    let mut pod = app(1, &[]);
    let items = vec![Item { key: "key".into(), path: "tls/key".into() }];
    pod.spec.volumes[0].source = VolumeSource::ConfigMap(ObjectSource { items, ..ObjectSource::default() });
    let mut world = World::running(vec![pod]);
    world.publish(&config(), 2);
    let watch = Action::WatchOpens(config(), generation(2), ["tls".into()].into());
    assert!(world.actions.iter().any(|(_, action)| *action == watch), "{:?}", world.actions);
}

#[test]
fn what_was_opened_before_the_send_says_nothing() {
    let mut world = delivered();
    let before = world.now - ms(1);
    world.handle(Event::Opened(config(), generation(2), before));
    assert_eq!(world.rereads(), []);
    assert!(world.open(&config(), 2), "the watch is begun anew");
    assert_eq!(world.rereads().len(), 1);
}

#[test]
fn a_watch_that_may_have_gone_off_unseen_is_begun_anew() {
    let mut world = delivered();
    world.handle(Event::Overflowed);
    world.pass(100);
    let watches = world.actions.iter().filter(|(_, action)| matches!(action, Action::WatchOpens(..)));
    assert_eq!((watches.count(), world.opens.len()), (2, 1));
}

#[test]
fn a_watch_that_is_begun_anew_after_lost_notifications_is_begun_once() {
    // So many that the last of them is looked at again only after something else.
    let mut world = World::running((1..=30).map(|n| app(n, &[])).collect());
    for n in 31..=60 {
        let late = app(n, &[]);
        world.node.add_pod(&late, PUBLISHED);
        world.node.start(&late.uid, "app", STARTED);
        world.pods.push(late);
    }
    world.sync();
    world.pass(60_000);
    let last = volume_of(60, "config");
    world.publish(&last, 2);
    world.actions.clear();
    world.machine.handle(world.now, Event::Overflowed);
    world.handle(Event::LookedThrough(last.clone(), generation(1)));
    while world.machine.is_busy() {
        world.machine.handle_timeout(world.now);
        world.handle(Event::LookedThrough(last.clone(), generation(1)));
    }
    let begun = |action: &Action| matches!(action, Action::WatchOpens(volume, ..) if *volume == last);
    assert_eq!(world.actions.iter().filter(|(_, action)| begun(action)).count(), 1);
    assert_eq!(world.opens.len(), 1);
}
