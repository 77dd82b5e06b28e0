//! The waits that a pod asks for: debounce, min-interval, splay; and those that the machine adds.

use std::collections::BTreeSet;

use reloadlet_core::model::outcome::Outcome;

use crate::node::{generation, ms, uid};
use crate::world::{STARTED, World, app, app_with_two_volumes, config, more, volume_of};

#[test]
fn a_new_generation_while_the_debounce_waits_supersedes_the_older_one() {
    let mut world = World::app(&[("reloadlet.io/debounce", "1s")]);
    world.publish(&config(), 2);
    world.pass(500);
    world.publish(&config(), 3);
    let last = world.now;
    world.pass(60_000);
    assert_eq!(world.sends(), [(last + ms(1_000), 1001)]);
    assert_eq!(
        world.outcomes(),
        [("config", generation(2), Outcome::Superseded), ("config", generation(3), Outcome::Delivered)]
    );
}

#[test]
fn changes_without_end_are_told_after_ten_times_the_debounce() {
    let mut world = World::app(&[("reloadlet.io/debounce", "1s")]);
    world.publish(&config(), 2);
    let first = world.now;
    for n in 3..40 {
        world.pass(499);
        world.publish(&config(), n);
    }
    assert_eq!(world.sends()[0], (first + ms(10_000), 1001));
}

#[test]
fn two_volumes_that_settle_together_are_one_reload() {
    let mut world = World::running(vec![app_with_two_volumes(1, &[])]);
    world.publish(&config(), 2);
    world.pass(50);
    world.publish(&more(), 2);
    let last = world.now;
    world.pass(60_000);
    assert_eq!(world.sends(), [(last + ms(100), 1001)]);
    let reloads = world.reloads();
    assert_eq!(reloads.len(), 1);
    assert_eq!(reloads[0].generations, [("config".into(), generation(2)), ("more".into(), generation(2))]);
}

#[test]
fn one_volume_is_told_at_once_by_default_and_two_after_100_ms() {
    let mut world = World::running(vec![app(1, &[]), app_with_two_volumes(2, &[])]);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, 1001)]);
    world.publish(&volume_of(2, "more"), 2);
    let settled = world.now;
    world.pass(1_000);
    assert_eq!(world.sends()[1..], [(settled + ms(100), 1002)]);
}

#[test]
fn two_reloads_of_a_container_are_min_interval_apart_and_the_newest_generation_is_told() {
    let mut world = World::app(&[("reloadlet.io/min-interval", "30s")]);
    world.publish(&config(), 2);
    let first = world.now;
    for n in 3..6 {
        world.pass(1_000);
        world.publish(&config(), n);
    }
    world.pass(60_000);
    assert_eq!(world.sends(), [(first, 1001), (first + ms(30_000), 1001)]);
    assert_eq!(
        world.outcomes(),
        [
            ("config", generation(2), Outcome::Delivered),
            ("config", generation(3), Outcome::Superseded),
            ("config", generation(4), Outcome::Superseded),
            ("config", generation(5), Outcome::Delivered),
        ]
    );
}

#[test]
fn each_pod_waits_its_own_fixed_share_of_the_splay() {
    let pods = (1..=50).map(|n| app(n, &[("reloadlet.io/splay", "10s")])).collect();
    let mut world = World::running(pods);
    let mut rounds = Vec::new();
    for round in 2..4 {
        let mut shares = Vec::new();
        for n in 1..=50 {
            world.publish(&volume_of(n, "config"), round);
            let settled = world.now;
            world.actions.clear();
            world.pass(10_000);
            let sends = world.sends();
            let [(sent, _)] = sends[..] else { panic!("pod {n}: {sends:?}") };
            shares.push(sent.since(settled));
        }
        rounds.push(shares);
        world.stop_agent();
        world.start_agent();
        world.pass(60_000);
    }
    assert_eq!(rounds[0], rounds[1], "the same after a restart of the agent");
    assert!(rounds[0].iter().all(|share| *share < ms(10_000)));
    let different: BTreeSet<_> = rounds[0].iter().collect();
    assert!(different.len() == 50, "they are spread: {different:?}");
}

#[test]
fn a_process_younger_than_three_seconds_waits_and_is_told_once() {
    let mut world = World::app(&[]);
    world.exit(1001);
    world.pass(1_000);
    let pid = world.start(&uid(1), "app");
    let started = world.now;
    world.pass(500);
    world.publish(&config(), 2);
    world.pass(100);
    world.publish(&config(), 3);
    world.pass(60_000);
    assert_eq!(world.sends(), [(started + ms(3_000), pid)]);
    assert_eq!(
        world.outcomes(),
        [("config", generation(2), Outcome::Superseded), ("config", generation(3), Outcome::Delivered)]
    );
}

#[test]
fn a_process_that_started_more_than_20_ms_after_the_settle_has_read_it() {
    for (after, told) in [(0, true), (20, true), (21, false), (5_000, false)] {
        let mut world = World::app(&[]);
        world.exit(1001);
        world.pass(1_000);
        world.publish(&config(), 2);
        world.pass(after);
        world.start(&uid(1), "app");
        world.pass(60_000);
        let outcome = if told { Outcome::Delivered } else { Outcome::StartedAfter };
        assert_eq!(world.sends().len(), usize::from(told), "{after} ms after the settle");
        assert_eq!(world.outcomes(), [("config", generation(2), outcome)], "{after} ms after the settle");
    }
}

#[test]
fn the_waits_of_one_container_are_not_those_of_another() {
    let mut world = World::running(vec![app(1, &[("reloadlet.io/debounce", "5s")]), app(2, &[])]);
    world.publish(&config(), 2);
    world.publish(&volume_of(2, "config"), 2);
    assert_eq!(world.sends(), [(world.now, 1002)]);
    assert!(world.now > STARTED);
}

#[test]
fn whatever_happens_when_a_wait_is_over_does_not_make_it_forgotten() {
    let mut world = World::app(&[("reloadlet.io/debounce", "1s")]);
    world.publish(&config(), 2);
    world.pass(999);
    // The loop is late: something comes in before the timer is served.
    world.now = world.now + ms(5);
    let listing = world.node.listing(&config(), world.now);
    world.handle(reloadlet_core::Event::Listed(config(), listing));
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
}
