//! From the API server to the process: what is published when, and what is stale and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use reloadlet_core::machine::event::{Report, Stages};
use reloadlet_core::machine::status::StaleReason;
use reloadlet_core::model::closed::{Closed as _, Word};
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::object::{ObjectKind, ObjectRef, ObjectVersion, Observed};
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::pod::{EnvironmentSource, ObjectSource, Pod, ProjectedSource, VolumeSource};
use reloadlet_core::propagation::measuring::Measuring;
use reloadlet_core::propagation::nudge::Accelerate;
use reloadlet_core::{Action, Event};

use crate::digests::a_read;
use crate::node::{at, generation, ms, pod, uid};
use crate::world::{AGENT_STARTED, World, app, app_with_two_volumes, config, more};

/// The ConfigMap of the volume with this name.
pub(crate) fn object(name: &str) -> ObjectRef {
    ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: name.into() }
}

pub(crate) fn version(n: u32, content: u8) -> ObjectVersion {
    ObjectVersion {
        uid: "u".into(),
        version: n.to_string().into(),
        immutable: false,
        ignored: false,
        updated: None,
        keys: Arc::new([("key".into(), Digest::new([content; 32]))].into()),
    }
}

/// The API server shows a version.
pub(crate) fn show(world: &mut World, name: &str, version: ObjectVersion) {
    let now = world.now;
    world.handle(Event::Observed(object(name), Observed::Version(Arc::new(version)), now));
}

/// What the generations of a volume hold.
pub(crate) fn contents(world: &mut World, volume: &str, generations: &[(u32, u8)]) {
    let volume = reloadlet_core::machine::event::VolumeRef { pod: uid(1), volume: volume.into() };
    let files = generations
        .iter()
        .map(|(n, content)| (generation(*n), BTreeMap::from([("key".into(), Digest::new([*content; 32]))])));
    world.node.volume(&volume).files.extend(files);
}

/// One pod whose ConfigMap has the content 1 in version 1, which is generation 1; generation n has the content n.
pub(crate) fn measured(pods: Vec<Pod>) -> World {
    let mut world = World::node(pods);
    world.measuring = Some(Measuring { secrets: false, accelerate: None });
    contents(&mut world, "config", &[(1, 1), (2, 2), (3, 3)]);
    world.start_agent();
    show(&mut world, "config", version(1, 1));
    world.pass(60_000);
    world
}

/// The same of a pod of which nothing is on disk.
fn measured_without_contents(pod: Pod) -> World {
    let mut world = World::node(vec![pod]);
    world.measuring = Some(Measuring { secrets: false, accelerate: None });
    world.start_agent();
    world
}

fn stages(world: &World) -> Vec<Option<Stages>> {
    world.reloads().iter().map(|reload| reload.stages.clone()).collect()
}

fn publish_delays(world: &World) -> Vec<u128> {
    let delay = |report: &Report| {
        if let Report::Published { delay, .. } = report { Some(delay.as_millis()) } else { None }
    };
    world.reports().filter_map(delay).collect()
}

pub(crate) fn stale(world: &World) -> Vec<(StaleReason, u128)> {
    let pods = world.machine.status(world.now);
    let stale = pods.iter().flat_map(|pod| &pod.stale);
    let known = |word: &Word<StaleReason>| StaleReason::parse(word.as_str()).unwrap();
    stale.map(|stale| (known(&stale.reason), stale.seconds.0.as_millis())).collect()
}

pub(crate) fn asked(world: &World) -> (Vec<ObjectRef>, Vec<ObjectRef>) {
    let mut both = (Vec::new(), Vec::new());
    for (_, action) in &world.actions {
        if let Action::Observe(object) = action {
            both.0.push(object.clone());
        } else if let Action::Unobserve(object) = action {
            both.1.push(object.clone());
        }
    }
    both
}

#[test]
fn a_delivery_says_how_long_each_stage_took() {
    let mut world = measured(vec![app(1, &[])]);
    show(&mut world, "config", version(2, 2));
    world.pass(40_000);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, 1001)]);
    world.pass(298);
    assert!(world.reloads().is_empty(), "what it brought is read when the container had its time to read it");
    world.pass(1);
    let stages = stages(&world).remove(0).unwrap();
    assert_eq!(stages.observed, AGENT_STARTED + ms(60_000));
    assert_eq!((stages.publish, stages.propagation), (ms(40_000), ms(40_001)));
    assert_eq!(
        stages.versions.iter().map(|(_, v)| v.as_ref().unwrap().version.clone()).collect::<Vec<_>>(),
        ["2".into()]
    );
    assert_eq!(publish_delays(&world), [40_000]);
}

#[test]
fn nothing_that_is_measured_holds_up_a_signal() {
    let mut world = measured(vec![app(1, &[])]);
    world.hold_back(&a_read());
    show(&mut world, "config", version(2, 2));
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, 1001)]);
    assert!(world.reloads().is_empty(), "what it brought isn't known yet");
    world.pass(500);
    world.answer();
    assert_eq!(stages(&world)[0].as_ref().unwrap().propagation, ms(1));
}

#[test]
fn a_report_waits_a_second_for_what_a_generation_brought_and_no_longer() {
    let mut world = measured(vec![app(1, &[])]);
    world.hold_back(&a_read());
    show(&mut world, "config", version(2, 2));
    world.publish(&config(), 2);
    world.pass(999);
    assert!(world.reloads().is_empty());
    world.pass(1);
    assert_eq!(stages(&world), [None]);
}

#[test]
fn a_kubelet_that_was_faster_than_the_agents_watch_took_no_time() {
    let mut world = measured(vec![app(1, &[])]);
    world.publish(&config(), 2);
    world.pass(20);
    show(&mut world, "config", version(2, 2));
    world.pass(300);
    let stages = stages(&world).remove(0).unwrap();
    assert_eq!((stages.publish, stages.propagation), (ms(0), ms(1)));
    assert_eq!(publish_delays(&world), [0]);
}

#[test]
fn without_an_api_server_deliveries_are_reported_at_once() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    assert_eq!(stages(&world), [None]);
    assert_eq!(asked(&world), (vec![], vec![]));
}

#[test]
fn signal_none_measures_and_sends_nothing() {
    let none = pod(1, &[("reloadlet.io/signal", "none")], &[("app", &["config"])], &["config"]);
    let mut world = measured(vec![none]);
    show(&mut world, "config", version(2, 2));
    assert_eq!(stale(&world), [(StaleReason::Waiting, 0)]);
    world.pass(30_000);
    assert_eq!(stale(&world), [(StaleReason::Waiting, 30_000)]);
    world.publish(&config(), 2);
    assert_eq!(publish_delays(&world), [30_000]);
    assert_eq!((world.sends(), stale(&world)), (vec![], vec![]));
}

#[test]
fn an_object_is_watched_as_long_as_a_pod_needs_it() {
    let mut world = measured(vec![app(1, &[]), app(2, &[])]);
    assert_eq!(asked(&world), (vec![object("config")], vec![]));
    world.pods.remove(0);
    world.sync();
    assert_eq!(asked(&world).1, []);
    world.pods.clear();
    world.sync();
    assert_eq!(asked(&world).1, [object("config")]);
}

#[test]
fn what_is_on_disk_and_not_told_is_undelivered() {
    let mut world = measured(vec![app(1, &[("reloadlet.io/debounce", "5s")])]);
    show(&mut world, "config", version(2, 2));
    world.publish(&config(), 2);
    world.pass(3_000);
    assert_eq!(stale(&world), [(StaleReason::Undelivered, 3_000)]);
    world.pass(3_000);
    assert_eq!(stale(&world), []);
}

#[test]
fn what_wasnt_told_for_good_is_undelivered_until_the_process_starts_anew() {
    let mut world = measured(vec![app(1, &[])]);
    world.delivery = reloadlet_core::machine::event::Delivery::Denied;
    show(&mut world, "config", version(2, 2));
    world.publish(&config(), 2);
    world.pass(7_000);
    assert_eq!(stale(&world), [(StaleReason::Undelivered, 7_000)]);
    world.exit(1001);
    assert_eq!(stale(&world).len(), 0, "nobody runs that could be told");
    world.start(&uid(1), "app");
    world.pass(5_000);
    assert_eq!(stale(&world), []);
}

#[test]
fn what_is_held_says_so() {
    let mut world = measured(vec![app(1, &[])]);
    contents(&mut world, "config", &[(4, 4)]);
    for (n, pid) in [(2, 1001), (3, 1002)] {
        show(&mut world, "config", version(n, u8::try_from(n).unwrap()));
        world.publish(&config(), n);
        world.exit(pid);
        world.start(&uid(1), "app");
        world.pass(20_000);
    }
    assert_eq!(stale(&world), []);
    show(&mut world, "config", version(4, 4));
    world.publish(&config(), 4);
    world.pass(2_000);
    assert_eq!(stale(&world), [(StaleReason::Suspended, 2_000)]);
}

#[test]
fn each_reason_has_the_age_of_its_own_oldest() {
    let mut with_environment = app(1, &[]);
    with_environment.spec.containers[0].environment =
        vec![EnvironmentSource::new(ObjectKind::ConfigMap, "levels".into(), Some("key".into()))];
    let mut world = measured(vec![with_environment]);
    show(&mut world, "levels", version(1, 1));
    world.pass(10_000);
    show(&mut world, "levels", version(2, 2));
    let environment = world.now;
    world.pass(600_000);
    show(&mut world, "config", version(2, 2));
    let config = world.now;
    world.pass(5_000);
    let counts = world.machine.counts();
    let ages = StaleReason::ALL.into_iter().zip(counts.stale.into_iter().zip(counts.oldest_stale));
    for (reason, found) in ages {
        let expected = match reason {
            StaleReason::Environment => (1, Some(environment)),
            StaleReason::Waiting => (1, Some(config)),
            StaleReason::Undelivered
            | StaleReason::Suspended
            | StaleReason::SubPath
            | StaleReason::Init
            | StaleReason::Immutable
            | StaleReason::Files
            | StaleReason::Unsure
            | StaleReason::Orphaned => (0, None),
        };
        assert_eq!(found, expected, "{reason:?}");
    }
}

#[test]
fn a_change_of_an_object_that_its_owner_excludes_is_not_told() {
    let mut world = measured(vec![app(1, &[])]);
    show(&mut world, "config", ObjectVersion { ignored: true, ..version(2, 2) });
    world.publish(&config(), 2);
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Excluded)]);
    assert_eq!(stale(&world), []);
    show(&mut world, "config", version(3, 3));
    world.publish(&config(), 3);
    assert_eq!(world.sends(), [(world.now, 1001)]);
}

#[test]
fn a_change_is_not_taken_for_an_ignored_one_because_the_watch_is_behind() {
    let mut world = measured(vec![app(1, &[])]);
    show(&mut world, "config", ObjectVersion { ignored: true, ..version(2, 1) });
    // Its owner takes the annotation away and changes the data; the kubelet is first.
    world.publish(&config(), 3);
    world.pass(300);
    assert_eq!(world.outcomes(), []);
    show(&mut world, "config", version(3, 3));
    assert_eq!(world.sends(), [(world.now, 1001)]);
    assert_eq!(world.outcomes(), [("config", generation(3), Outcome::Delivered)]);
}

#[test]
fn what_nobody_shows_is_told_after_a_second() {
    let mut world = measured(vec![app(1, &[])]);
    show(&mut world, "config", ObjectVersion { ignored: true, ..version(2, 1) });
    world.publish(&config(), 3);
    world.pass(998);
    assert_eq!(world.sends(), []);
    world.pass(2);
    assert_eq!(world.sends().len(), 1);
}

#[test]
fn an_object_whose_name_cant_exist_or_that_is_huge_is_not_measured() {
    let strange = pod(1, &[("reloadlet.io/signal", "SIGHUP")], &[("app", &["a,b"])], &["a,b"]);
    assert_eq!(asked(&measured_without_contents(strange)), (vec![], vec![]));

    let mut world = measured(vec![app(1, &[])]);
    let keys = (0..5000).map(|n| (n.to_string().into(), Digest::new([2; 32]))).collect();
    show(&mut world, "config", ObjectVersion { keys: Arc::new(keys), ..version(2, 2) });
    assert_eq!(stale(&world), []);
}

#[test]
fn reports_that_wait_are_said_when_the_agent_ends() {
    let mut world = measured(vec![app(1, &[])]);
    world.publish(&config(), 2);
    assert!(world.reloads().is_empty());
    world.machine.say_all(world.now);
    let said = std::iter::from_fn(|| world.machine.poll_action());
    assert!(said.into_iter().any(|action| matches!(action, Action::Report(Report::Reload(_)))));
}

#[test]
fn a_pod_whose_files_the_kubelet_rewrites_for_a_nudge_is_not_nudged() {
    let nudged = |annotations: &[(&str, &str)]| {
        let mut pod = app(1, annotations);
        let object = ObjectSource { name: "config".into(), ..ObjectSource::default() };
        pod.spec.volumes[0].source = VolumeSource::Projected(vec![
            ProjectedSource::ConfigMap(object),
            ProjectedSource::Rotating { paths: vec!["annotations".into()] },
        ]);
        let mut world = World::node(vec![pod]);
        let accelerate = Some(Accelerate::new("node", ms(0)));
        world.measuring = Some(Measuring { secrets: false, accelerate });
        contents(&mut world, "config", &[(1, 1)]);
        world.start_agent();
        show(&mut world, "config", version(1, 1));
        show(&mut world, "config", version(2, 2));
        world.actions.iter().any(|(_, action)| matches!(action, Action::Nudge(_)))
    };
    let accelerate = ("reloadlet.io/accelerate", "true");
    assert!(nudged(&[accelerate]), "they don't count");
    assert!(!nudged(&[accelerate, ("reloadlet.io/volumes", "config")]), "they count");
}

#[test]
fn a_reload_of_two_volumes_counts_from_the_older_version() {
    let mut world = World::node(vec![app_with_two_volumes(1, &[("reloadlet.io/debounce", "1s")])]);
    world.measuring = Some(Measuring { secrets: false, accelerate: None });
    contents(&mut world, "config", &[(1, 1), (2, 2)]);
    contents(&mut world, "more", &[(1, 1), (2, 2)]);
    world.start_agent();
    show(&mut world, "config", version(1, 1));
    show(&mut world, "more", version(1, 1));
    world.pass(60_000);
    show(&mut world, "config", version(2, 2));
    world.pass(10_000);
    show(&mut world, "more", version(3, 2));
    world.publish(&config(), 2);
    world.publish(&more(), 2);
    world.pass(1_000);
    let stages = stages(&world).remove(0).unwrap();
    assert_eq!(stages.observed, at(160_000));
    assert_eq!(stages.versions.len(), 2);
}

#[test]
fn a_right_that_is_taken_away_leaves_reloads_as_they_are() {
    let mut world = measured(vec![app(1, &[])]);
    show(&mut world, "config", version(2, 2));
    let now = world.now;
    world.handle(Event::Observed(object("config"), Observed::Unmeasured, now));
    assert_eq!(stale(&world), []);
    world.publish(&config(), 2);
    assert_eq!(world.sends().len(), 1);
    world.pass(300);
    assert_eq!(stages(&world), [None]);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn reports_that_wait_are_not_lost_when_the_pod_goes() {
    let mut world = measured(vec![app(1, &[])]);
    world.hold_back(&a_read());
    show(&mut world, "config", version(2, 2));
    world.publish(&config(), 2);
    world.pods.clear();
    world.sync();
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}
