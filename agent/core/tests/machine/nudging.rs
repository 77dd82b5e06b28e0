//! Acceleration against a kubelet that has its own view of the API server: a nudge that comes before the kubelet's watch
//! has the new version finds nothing, and the kubelet's minute begins anew.

use std::sync::Arc;
use std::time::Duration;

use reloadlet_core::machine::event::Report;
use reloadlet_core::model::closed::Closed as _;
use reloadlet_core::model::object::Observed;
use reloadlet_core::propagation::measuring::Measuring;
use reloadlet_core::propagation::nudge::{Accelerate, NudgeAnswer, NudgeResult};
use reloadlet_core::propagation::strategy::Strategy;
use reloadlet_core::{Action, Event, Time};

use crate::measuring::{contents, object, show, version};
use crate::node::{ms, uid};
use crate::world::{World, app, config};

/// How closely time is followed.
const STEP: u64 = 5;
/// From the start of a sync to the rename (measured: 0.2 s).
const SYNC: Duration = Duration::from_millis(200);
/// The kubelet's own interval, without its jitter.
const MINUTE: Duration = Duration::from_secs(60);

/// One pod's worker in the kubelet.
struct Kubelet {
    /// When its watch has the new version.
    has_version: Time,
    /// Containers are listed each second, at this many milliseconds of it. Each sync needs a list that is newer than the
    /// sync before (`pod_workers.go`), so there is about one a second.
    listed: u64,
    asked: bool,
    synced: Time,
    /// When the sync that runs ends, and whether it read the new version.
    running: Option<(Time, bool)>,
    published: Option<Time>,
}

impl Kubelet {
    fn step(&mut self, world: &mut World) {
        if let Some((_, new)) = self.running.take_if(|(end, _)| *end <= world.now) {
            self.synced = world.now;
            if new && self.published.is_none() {
                self.published = Some(world.now);
                world.publish(&config(), 2);
            }
        }
        let due = self.asked || world.now >= self.synced + MINUTE;
        if due && self.running.is_none() && self.last_list(world.now) > self.synced {
            self.asked = false;
            self.running = Some((world.now + SYNC, self.has_version <= world.now));
        }
    }

    fn last_list(&self, now: Time) -> Time {
        let millis = u64::try_from(now.elapsed_since_boot().as_millis()).unwrap();
        Time::since_boot(ms((millis - self.listed) / 1000 * 1000 + self.listed))
    }
}

fn nudges(world: &World) -> usize {
    world.actions.iter().filter(|(_, action)| matches!(action, Action::Nudge(_))).count()
}

fn results(world: &World) -> Vec<NudgeResult> {
    let result = |report: &Report| if let Report::Nudged(_, result) = report { Some(*result) } else { None };
    world.reports().filter_map(result).collect()
}

/// How long after the agent saw a version it is on disk, if the kubelet sees it this much later.
fn until_published(lag: u64, listed: u64) -> Duration {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/accelerate", "true")])]);
    let accelerate = Some(Accelerate::new("node-1", Duration::ZERO));
    world.measuring = Some(Measuring { secrets: false, accelerate });
    contents(&mut world, "config", &[(1, 1), (2, 2)]);
    world.start_agent();
    show(&mut world, "config", version(1, 1));
    world.pass(60_000);

    let shown = world.now;
    let mut kubelet = Kubelet {
        has_version: shown + ms(lag),
        listed,
        asked: false,
        synced: shown - ms(5_000),
        running: None,
        published: None,
    };
    show(&mut world, "config", version(2, 2));
    let mut answered = 0;
    while kubelet.published.is_none() {
        while answered < nudges(&world) {
            answered += 1;
            kubelet.asked = true;
            world.handle(Event::Nudged(uid(1), NudgeAnswer::Accepted));
        }
        kubelet.step(&mut world);
        world.pass(STEP);
    }
    let sent = nudges(&world);
    world.pass(120_000);
    assert_eq!(nudges(&world), sent, "nothing lags behind any more");
    assert_eq!(results(&world).last(), Some(&NudgeResult::Published));
    assert_eq!(world.sends().len(), 1, "a nudge alone tells nobody anything");
    kubelet.published.unwrap().since(shown)
}

#[test]
fn a_kubelet_whose_watch_is_late_is_asked_until_the_disk_is_right() {
    for lag in (0..=2_500).step_by(100) {
        let worst = (0..1_000).step_by(100).map(|listed| until_published(lag, listed)).max().unwrap();
        // No kubelet can be faster than this: it has just looked in vain, and looks again a second later at most.
        let possible = ms(lag) + ms(1_000) + SYNC;
        assert!(worst <= possible + ms(100), "{lag} ms late: {worst:?}");
        assert!(lag > 1_900 || worst <= ms(3_000), "{lag} ms late: {worst:?}");
    }
}

/// A node whose kubelet may be nudged, with a pod that asks for it and has version 1.
fn nudgeable() -> World {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/accelerate", "true")])]);
    let accelerate = Some(Accelerate::new("node-1", Duration::ZERO));
    world.measuring = Some(Measuring { secrets: false, accelerate });
    contents(&mut world, "config", &[(1, 1), (2, 2), (3, 3)]);
    world.start_agent();
    show(&mut world, "config", version(1, 1));
    world.pass(60_000);
    world
}

/// The strategy for which each pod isn't nudged, by the end of the sentence.
fn not_nudged(world: &World) -> Vec<Option<Strategy>> {
    let strategy = |why: String| {
        let (what, name) = why.rsplit_once(' ').unwrap();
        assert_eq!(what, "the kubelet's configMapAndSecretChangeDetectionStrategy is");
        Strategy::parse(name).unwrap()
    };
    let pods = world.machine.status(world.now);
    pods.into_iter().map(|pod| pod.not_nudged.map(strategy)).collect()
}

#[test]
fn a_kubelet_that_would_find_its_old_copy_is_not_nudged() {
    let mut world = nudgeable();
    world.handle(Event::Strategy(Some(Strategy::Cache)));
    show(&mut world, "config", version(2, 2));
    world.pass(120_000);
    assert_eq!(nudges(&world), 0);
    assert_eq!(not_nudged(&world), [Some(Strategy::Cache)]);
    world.publish(&config(), 2);
    world.pass(10_000);
    assert_eq!((world.sends().len(), results(&world)), (1, vec![]), "the change is told of all the same");

    // The kubelet was started anew with another configuration.
    show(&mut world, "config", version(3, 3));
    world.pass(10_000);
    assert_eq!(nudges(&world), 0);
    world.handle(Event::Strategy(Some(Strategy::Get)));
    assert_eq!((nudges(&world), not_nudged(&world)), (1, vec![None]), "what lags behind now is asked for");
}

#[test]
fn a_pod_that_comes_later_is_not_nudged_either() {
    let mut world = nudgeable();
    world.handle(Event::Strategy(Some(Strategy::Cache)));
    world.pods = vec![app(1, &[("reloadlet.io/accelerate", "true"), ("reloadlet.io/debounce", "1s")])];
    world.sync();
    world.pass(60_000);
    show(&mut world, "config", version(2, 2));
    world.pass(60_000);
    assert_eq!((nudges(&world), not_nudged(&world)), (0, vec![Some(Strategy::Cache)]));
}

#[test]
fn nudges_end_when_they_turn_out_to_be_vain() {
    let mut world = nudgeable();
    show(&mut world, "config", version(2, 2));
    assert_eq!(nudges(&world), 1, "nothing is known of the kubelet");
    world.handle(Event::Strategy(Some(Strategy::Cache)));
    world.handle(Event::Nudged(uid(1), NudgeAnswer::Accepted));
    world.pass(120_000);
    assert_eq!((nudges(&world), results(&world)), (1, vec![]));
}

#[test]
fn the_strategies_that_find_what_is_new_change_nothing() {
    for strategy in [Some(Strategy::Watch), Some(Strategy::Get), None] {
        let mut world = nudgeable();
        world.handle(Event::Strategy(strategy));
        show(&mut world, "config", version(2, 2));
        assert_eq!((nudges(&world), not_nudged(&world)), (1, vec![None]), "{strategy:?}");
    }
}

fn is_stale(world: &World) -> bool {
    world.machine.status(world.now).iter().any(|pod| !pod.stale.is_empty())
}

/// How often it was asked what the API server has of the pod's ConfigMap.
fn asked(world: &World) -> usize {
    world.actions.iter().filter(|(_, action)| matches!(action, Action::Observe(_))).count()
}

/// The kubelet's watch is faster: version 3 is on disk, and 2 is the newest that was shown.
fn overtaken() -> World {
    let mut world = nudgeable();
    show(&mut world, "config", version(2, 2));
    world.handle(Event::Nudged(uid(1), NudgeAnswer::Accepted));
    assert_eq!((nudges(&world), asked(&world)), (1, 1));
    world.publish(&config(), 3);
    world
}

#[test]
fn what_is_on_disk_before_the_watch_shows_it_neither_waits_nor_is_nudged() {
    let mut world = overtaken();
    world.pass(120_000);
    assert_eq!((nudges(&world), is_stale(&world)), (1, false));
    assert_eq!(asked(&world), 2, "the API server may have something newer");
    show(&mut world, "config", version(3, 3));
    world.pass(120_000);
    assert_eq!((nudges(&world), asked(&world), is_stale(&world)), (1, 2, false));
}

#[test]
fn what_is_on_disk_and_was_never_seen_lags_behind_once_nothing_newer_is_known_to_be() {
    let mut world = overtaken();
    world.pass(1_000);
    show(&mut world, "config", version(2, 2));
    assert_eq!((nudges(&world), asked(&world), is_stale(&world)), (2, 2, true));
}

#[test]
fn an_answer_from_before_the_disk_was_read_doesnt_tell_what_is_newest() {
    let mut world = overtaken();
    let before = world.now - ms(1_000);
    world.pass(1_000);
    world.handle(Event::Observed(object("config"), Observed::Version(Arc::new(version(2, 2))), before));
    assert_eq!((nudges(&world), is_stale(&world)), (1, false));
}
