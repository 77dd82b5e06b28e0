//! What containers took at their start: of those that are told, of others, and of init containers.

use reloadlet_core::Event;
use reloadlet_core::machine::event::Report;
use reloadlet_core::machine::status::StaleReason;
use reloadlet_core::model::names::ContainerId;
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::pod::{ContainerKind, EnvironmentSource};

use crate::measuring::{asked, measured, object, show, stale, version};
use crate::node::{pod, uid};
use crate::world::{World, app};

#[test]
fn what_is_in_the_environment_is_stale_until_the_container_starts_anew() {
    let mut with_environment = app(1, &[]);
    with_environment.spec.containers[0].environment =
        vec![EnvironmentSource::new(ObjectKind::ConfigMap, "levels".into(), Some("key".into()))];
    let mut world = measured(vec![with_environment]);
    assert_eq!(asked(&world).0, [object("config"), object("levels")]);
    show(&mut world, "levels", version(1, 1));
    assert_eq!(stale(&world), []);
    world.pass(10_000);
    show(&mut world, "levels", version(2, 2));
    world.pass(4_000);
    assert_eq!(stale(&world), [(StaleReason::Environment, 4_000)]);
    world.exit(1001);
    world.start(&uid(1), "app");
    world.pass(5_000);
    assert_eq!(stale(&world), []);
}

#[test]
fn what_containers_took_that_arent_told_is_stale_too_and_what_an_init_container_took() {
    for signal in ["SIGHUP", "none"] {
        let annotations = [("reloadlet.io/signal", signal)];
        let containers: &[(&str, &[&str])] = &[("app", &["config"]), ("side", &[])];
        let mut beside = pod(1, &annotations, containers, &["config"]);
        let mut setup = beside.spec.containers[1].clone();
        (setup.name, setup.kind) = ("setup".into(), ContainerKind::Init);
        beside.spec.containers.push(setup);
        for container in &mut beside.spec.containers[1..] {
            container.environment =
                vec![EnvironmentSource::new(ObjectKind::ConfigMap, "levels".into(), Some("key".into()))];
        }
        let mut world = measured(vec![beside]);
        show(&mut world, "levels", version(1, 1));
        // The init container has ended.
        world.exit(1003);
        world.pass(10_000);
        show(&mut world, "levels", version(2, 2));
        world.pass(4_000);
        let status = world.machine.status(world.now);
        let all = status[0].stale.iter().map(|stale| {
            (stale.container.as_deref().unwrap(), stale.reason.as_str(), stale.code.as_deref().unwrap())
        });
        assert_eq!(
            all.collect::<Vec<_>>(),
            [("setup", "init", "init-container"), ("side", "env", "frozen-env")],
            "{signal}"
        );
    }
}

/// A pod whose init container takes something of an object, and which has a process that holds its namespaces, or none.
fn with_init(has_sandbox: bool) -> World {
    let containers: &[(&str, &[&str])] = &[("app", &["config"]), ("setup", &[])];
    let mut pod = pod(1, &[("reloadlet.io/signal", "SIGHUP")], containers, &["config"]);
    let setup = &mut pod.spec.containers[1];
    setup.kind = ContainerKind::Init;
    setup.environment =
        vec![EnvironmentSource::new(ObjectKind::ConfigMap, "levels".into(), Some("key".into()))];
    let mut world = measured(vec![pod]);
    show(&mut world, "levels", version(1, 1));
    world.exit(1002);
    renew(&mut world, has_sandbox);
    world.pass(20_000);
    world
}

/// The pod's containers end and are run anew.
fn renew(world: &mut World, has_sandbox: bool) {
    let of_pod = |world: &World| {
        let containers = world.node.pods[&uid(1)].containers.iter();
        containers
            .flat_map(|container| container.processes.iter().map(|process| process.pid))
            .collect::<Vec<_>>()
    };
    of_pod(world).into_iter().for_each(|pid| world.exit(pid));
    if has_sandbox {
        world.start(&uid(1), "POD");
    }
    world.pass(1_000);
    world.start(&uid(1), "app");
    world.pass(5_000);
}

#[test]
fn an_init_container_that_is_run_anew_with_its_pods_sandbox_has_what_there_was_then() {
    for has_sandbox in [true, false] {
        let mut world = with_init(has_sandbox);
        assert_eq!(stale(&world), []);
        show(&mut world, "levels", version(2, 2));
        world.pass(4_000);
        assert_eq!(stale(&world), [(StaleReason::Init, 4_000)]);
        renew(&mut world, has_sandbox);
        assert_eq!(stale(&world), [], "{has_sandbox}");
    }
}

#[test]
fn an_init_container_isnt_run_anew_with_another_container() {
    let mut world = with_init(true);
    show(&mut world, "levels", version(2, 2));
    let app = world.node.pods[&uid(1)].containers.iter().find(|container| *container.name == *"app").unwrap();
    let pid = app.processes[0].pid;
    world.exit(pid);
    world.start(&uid(1), "app");
    world.pass(5_000);
    assert_eq!(stale(&world).iter().map(|(reason, _)| *reason).collect::<Vec<_>>(), [StaleReason::Init]);
}

/// Says which container the pod's init container was.
fn say_init(world: &mut World, digit: &str) {
    world.pods[0].status.insert("setup".into(), ContainerId::parse(&digit.repeat(64)).unwrap());
    world.sync();
    world.pass(1_000);
}

#[test]
fn an_init_container_of_another_id_was_run_anew_and_one_of_the_same_was_not() {
    for has_sandbox in [true, false] {
        let mut world = with_init(has_sandbox);
        say_init(&mut world, "a");
        show(&mut world, "levels", version(2, 2));
        world.pass(4_000);
        // The other containers alone are run anew.
        let pids = world.node.pods[&uid(1)].containers.iter().flat_map(|container| {
            let app = (*container.name == *"app").then_some(&container.processes);
            app.into_iter().flatten().map(|process| process.pid)
        });
        pids.collect::<Vec<_>>().into_iter().for_each(|pid| world.exit(pid));
        world.start(&uid(1), "app");
        world.pass(5_000);
        say_init(&mut world, "a");
        assert_eq!(reasons(&world), [StaleReason::Init], "{has_sandbox}");
        say_init(&mut world, "b");
        assert_eq!(reasons(&world), [], "{has_sandbox}");
        // It may have run before the second version came, and the third may be as the first was.
        show(&mut world, "levels", version(3, 3));
        assert_eq!(reasons(&world), [StaleReason::Unsure], "{has_sandbox}");
    }
}

fn reasons(world: &World) -> Vec<StaleReason> {
    stale(world).into_iter().map(|(reason, _)| reason).collect()
}

#[test]
fn a_container_that_has_ended_needs_no_restart() {
    let containers: &[(&str, &[&str])] = &[("app", &["config"]), ("once", &[])];
    let mut pod = pod(1, &[("reloadlet.io/signal", "SIGHUP")], containers, &["config"]);
    pod.spec.containers[1].environment =
        vec![EnvironmentSource::new(ObjectKind::ConfigMap, "levels".into(), Some("key".into()))];
    let mut world = measured(vec![pod]);
    show(&mut world, "levels", version(1, 1));
    world.pass(1_000);
    world.exit(1002);
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(20_000);
    show(&mut world, "levels", version(2, 2));
    world.pass(4_000);
    assert_eq!(reasons(&world), []);
    let is_said = world.reports().any(|report| matches!(report, Report::NeedsRestart { .. }));
    assert!(!is_said);
}
