//! Volumes of CSI drivers.

use reloadlet_core::machine::status::StaleReason;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::pod::{Csi, Pod, VolumeSource};
use reloadlet_core::policy::problem::ProblemKind;

use crate::said::stale;
use crate::world::{AGENT_STARTED, World, app, config};

/// A pod whose volume is a driver's.
fn driven(annotations: &[(&str, &str)]) -> Pod {
    let mut pod = app(1, annotations);
    let volume = &mut pod.spec.volumes[0];
    volume.source = VolumeSource::Other;
    volume.csi = Some(Csi { read_only: true, ..Csi::default() });
    pod
}

/// One in which nothing is published as the kubelet does.
fn without_layout(annotations: &[(&str, &str)]) -> World {
    let mut world = World::node(vec![driven(annotations)]);
    let volume = world.node.volume(&config());
    (volume.current, volume.others) = (None, Default::default());
    world.start_agent();
    world.pass(60_000);
    world
}

fn state(world: &World) -> (bool, Vec<StaleReason>) {
    let status = world.machine.status(world.now);
    (status[0].volumes[0].no_layout, stale(world))
}

#[test]
fn a_drivers_volume_in_the_kubelets_layout_is_told_of() {
    let mut world = World::running(vec![driven(&[])]);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, 1001)]);
    assert_eq!(world.reloads()[0].outcome, Outcome::Delivered);
    assert_eq!(state(&world), (false, vec![]));
}

#[test]
fn without_that_layout_it_is_no_change_and_said_where_it_is_named() {
    let mut world = without_layout(&[]);
    assert!(world.machine.is_ready());
    assert_eq!((world.problems(), state(&world)), (vec![], (true, vec![])));
    world.show_phase(reloadlet_core::model::pod::Phase::default());
    assert_eq!(state(&world), (true, vec![]), "nothing is undelivered");
    let mut named = without_layout(&[("reloadlet.io/volumes", "config")]);
    assert_eq!(named.problems(), [Some(ProblemKind::Layout)], "once");
    assert!(named.now > AGENT_STARTED);
    named.publish(&config(), 2);
    named.pass(1_000);
    assert_eq!(named.problems(), [Some(ProblemKind::Layout), None]);
    assert_eq!(state(&named), (false, vec![]));
    named.publish(&config(), 3);
    assert_eq!(named.sends().len(), 1, "it is there now");
}

#[test]
fn a_container_that_doesnt_run_says_nothing_of_the_layout() {
    let mut world = World::node(vec![driven(&[("reloadlet.io/volumes", "config")])]);
    world.node.volume(&config()).current = None;
    world.node.kill(1001);
    world.start_agent();
    world.pass(60_000);
    assert_eq!((world.problems(), state(&world)), (vec![], (false, vec![])));
}
