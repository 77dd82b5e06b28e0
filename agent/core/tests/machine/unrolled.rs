//! Pods that are to get every change and that nobody rolls: what they don't get is said.

use reloadlet_core::Event;
use reloadlet_core::machine::event::Report;
use reloadlet_core::machine::status::StaleReason;
use reloadlet_core::model::frozen::Way;
use reloadlet_core::model::granted::Given;
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::pod::{EnvironmentSource, Pod};

use crate::measuring::{asked, measured, object, show, stale, version};
use crate::node::{pod, uid};
use crate::world::World;

/// A pod with these annotations. Its containers `app` and `side` mount `config`, and `app` has a variable out of `levels`.
fn left(annotations: &[(&str, &str)]) -> Pod {
    let containers: &[(&str, &[&str])] = &[("app", &["config"]), ("side", &["config"])];
    let mut pod = pod(1, annotations, containers, &["config"]);
    pod.spec.containers[0].environment =
        vec![EnvironmentSource::new(ObjectKind::ConfigMap, "levels".into(), Some("key".into()))];
    pod.unrolled = true;
    pod
}

/// One of which both objects have changed, ten seconds after the first look at them.
fn changed(pod: Pod) -> World {
    let mut world = measured(vec![pod]);
    show(&mut world, "levels", version(1, 1));
    world.pass(10_000);
    show(&mut world, "levels", version(2, 2));
    show(&mut world, "config", version(3, 2));
    world.pass(4_000);
    world
}

/// What is stale: the container, the object and why.
fn parts(world: &World) -> Vec<(String, String, String)> {
    let status = world.machine.status(world.now);
    let all = status.iter().flat_map(|pod| &pod.stale).map(|stale| {
        let object = stale.object.as_ref().map_or_else(String::new, |object| object.name.to_string());
        (stale.container.as_deref().unwrap().to_owned(), object, stale.reason.as_str().to_owned())
    });
    all.collect()
}

fn part(container: &str, object: &str, reason: &str) -> (String, String, String) {
    (container.to_owned(), object.to_owned(), reason.to_owned())
}

fn said(world: &World) -> Vec<(String, Way)> {
    let said = world.reports().filter_map(|report| {
        let Report::NeedsRestart { container, way, .. } = report else { return None };
        Some((container.to_string(), *way))
    });
    said.collect()
}

#[test]
fn all_that_a_pod_took_at_its_start_is_said_once_it_has_changed() {
    for rollout in ["true", "in-place", "in-place,rollout"] {
        let mut world = changed(left(&[("reloadlet.io/rollout", rollout)]));
        let all =
            [part("app", "levels", "env"), part("app", "config", "files"), part("side", "config", "files")];
        assert_eq!(parts(&world), all, "{rollout}");
        let ways = [Way::Environment, Way::Files, Way::Files];
        let containers = ["app", "app", "side"].map(str::to_owned);
        assert_eq!(said(&world), containers.into_iter().zip(ways).collect::<Vec<_>>());
        // The kubelet publishes it, and nobody is told.
        world.publish(&crate::world::config(), 2);
        world.pass(5_000);
        assert_eq!(world.sends(), []);
        for (pid, container) in [(1001, "app"), (1002, "side")] {
            world.exit(pid);
            world.start(&uid(1), container);
        }
        world.pass(5_000);
        assert_eq!(parts(&world), []);
    }
}

#[test]
fn of_a_pod_that_somebody_rolls_or_that_doesnt_ask_nothing_is_looked_at() {
    let rolled = Pod { unrolled: false, ..left(&[("reloadlet.io/rollout", "true")]) };
    for pod in [rolled, left(&[("reloadlet.io/rollout", "false")]), left(&[("reloadlet.io/wave", "1")])] {
        let world = changed(pod);
        assert_eq!((parts(&world), asked(&world).0), (vec![], vec![]));
        assert_eq!(said(&world), []);
    }
}

#[test]
fn what_a_container_is_told_of_isnt_said_and_what_another_one_has_of_it_is() {
    let annotations = [("reloadlet.io/signal", "SIGHUP"), ("reloadlet.io/container", "app")];
    let asking = [annotations[0], annotations[1], ("reloadlet.io/rollout", "true")];
    let mut world = changed(left(&asking));
    world.publish(&crate::world::config(), 2);
    world.pass(5_000);
    assert_eq!(world.sends().len(), 1);
    assert_eq!(parts(&world), [part("app", "levels", "env"), part("side", "config", "files")]);
    // Where it isn't asked for, an environment alone is followed: whoever has the pod told learns what can't be told.
    let mut world = changed(left(&annotations));
    world.publish(&crate::world::config(), 2);
    world.pass(5_000);
    assert_eq!(
        stale(&world).into_iter().map(|(reason, _)| reason).collect::<Vec<_>>(),
        [StaleReason::Environment]
    );
}

#[test]
fn a_pod_that_is_watched_for_its_grant_alone_needs_no_restart_that_it_is_given_already() {
    let annotations = [("reloadlet.io/rollout", "in-place")];
    let mut granted = Pod { unrolled: false, ..left(&annotations) };
    let text = "00ff 1800000000 app=aaaaaaaaaaaa";
    granted.given = Some(Box::new(Given::of(text, &granted.spec.annotations, &granted.spec, |_| None)));
    let world = changed(granted);
    assert_eq!((parts(&world), asked(&world).0, said(&world)), (vec![], vec![], vec![]));
}

#[test]
fn the_clusters_own_certificates_arent_followed() {
    let mut pod = left(&[("reloadlet.io/rollout", "true")]);
    for volume in &mut pod.spec.volumes {
        let source = reloadlet_core::model::pod::ObjectSource {
            name: "kube-root-ca.crt".into(),
            ..Default::default()
        };
        volume.source = reloadlet_core::model::pod::VolumeSource::ConfigMap(source);
    }
    let world = changed(pod);
    assert_eq!(asked(&world).0, [object("levels")]);
}

#[test]
fn of_a_pod_of_last_time_it_is_said_once_it_is_known_that_nobody_rolls_it() {
    let annotations = [
        ("reloadlet.io/signal", "SIGHUP"),
        ("reloadlet.io/container", "app"),
        ("reloadlet.io/rollout", "true"),
    ];
    let mut world = measured(vec![left(&annotations)]);
    show(&mut world, "levels", version(1, 1));
    world.pass(10_000);
    world.stop_agent();
    // The journal doesn't hold it.
    for pod in world.journal.pods.iter_mut() {
        *pod = Pod { unrolled: false, ..(**pod).clone() }.into();
    }
    let journal = world.journal.clone();
    world.handle(Event::JournalRead(journal));
    world.pass(30_000);
    world.sync();
    show(&mut world, "levels", version(1, 1));
    show(&mut world, "config", version(1, 1));
    world.pass(10_000);
    show(&mut world, "levels", version(2, 2));
    show(&mut world, "config", version(3, 2));
    world.publish(&crate::world::config(), 2);
    world.pass(5_000);
    assert_eq!(parts(&world), [part("app", "levels", "env"), part("side", "config", "files")]);
}
