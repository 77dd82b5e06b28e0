//! Restarts in place: what a grant has done to a pod's containers, and what is said of it.

use reloadlet_core::machine::event::{Delivery, Report, RestartReport, StopOrder};
use reloadlet_core::model::granted::Given;
use reloadlet_core::model::outcome::{Outcome, Verdict};
use reloadlet_core::model::pod::Pod;
use reloadlet_core::model::restart::{Finding, Instance};
use reloadlet_core::model::signal::Signal;
use reloadlet_core::{Action, Event, Time};

use crate::node::{HUP, generation, ms, pod, uid};
use crate::world::{WALL, World, app, config};

/// The bit of SIGTERM in a mask.
pub(crate) const TERM: u64 = 1 << 14;
pub(crate) const IN_PLACE: (&str, &str) = ("reloadlet.io/rollout", "in-place");

/// A pod that asks for nothing else, with these containers; its processes handle SIGTERM.
pub(crate) fn plain(containers: &[(&str, &[&str])]) -> World {
    running(pod(1, &[IN_PLACE], containers, &["config"]))
}

/// One that is told SIGHUP too.
pub(crate) fn told() -> World {
    running(app(1, &[IN_PLACE]))
}

pub(crate) fn running(pod: Pod) -> World {
    let mut world = World::node(vec![pod]);
    for pid in 1001..=world.pods[0].spec.containers.len() as u32 + 1000 {
        world.node.process_mut(pid).caught = HUP | TERM;
    }
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    world
}

/// How a grant names a container with this first process.
pub(crate) fn named(world: &World, name: &str, pid: u32) -> String {
    format!("{name}={}", Instance::of(&world.node.identity(pid).unwrap().container))
}

pub(crate) fn give(world: &mut World, text: &str) {
    let pod = &mut world.pods[0];
    pod.given = Some(Box::new(Given::of(text, &pod.spec.annotations, &pod.spec, |_| None)));
    world.sync();
}

/// Grants that these containers are restarted.
pub(crate) fn grant(world: &mut World, containers: &[(&str, u32)]) {
    let named: Vec<String> = containers.iter().map(|(name, pid)| named(world, name, *pid)).collect();
    give(world, &format!("00ff {} {}", WALL + 60, named.join(",")));
}

/// When and to whom stop signals were sent, and which.
pub(crate) fn stops(world: &World) -> Vec<(Time, u32, Signal)> {
    let sent = world.actions.iter().filter_map(|(at, action)| {
        if let Action::Stop(StopOrder { processes, .. }) = action { Some((at, processes)) } else { None }
    });
    sent.flat_map(|(at, processes)| processes.iter().map(|(process, signal)| (*at, process.pid, *signal)))
        .collect()
}

pub(crate) fn reports(world: &World) -> Vec<&RestartReport> {
    world
        .reports()
        .filter_map(|report| if let Report::Restart(report) = report { Some(&**report) } else { None })
        .collect()
}

pub(crate) fn findings(world: &World) -> Vec<Finding> {
    reports(world).into_iter().map(|report| report.finding).collect()
}

/// The container ends and is started again a second later, as the kubelet does. Gives back the new PID.
pub(crate) fn again(world: &mut World, name: &str, pid: u32) -> u32 {
    world.exit(pid);
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(1_000);
    let new = world.start(&uid(1), name);
    world.node.process_mut(new).caught = HUP | TERM;
    new
}

#[test]
fn a_granted_container_is_told_to_end_once_and_that_it_runs_again_is_said_once() {
    let mut world = plain(&[("app", &["config"])]);
    grant(&mut world, &[("app", 1001)]);
    assert_eq!(stops(&world), [(world.now, 1001, Signal::TERM)]);
    world.pass(5_000);
    assert_eq!(findings(&world), []);
    again(&mut world, "app", 1001);
    world.pass(600_000);
    assert_eq!((stops(&world).len(), findings(&world)), (1, vec![Finding::Current]));
    let report = reports(&world)[0];
    assert_eq!((&*report.grant.marker, report.grant.until), ("00ff", WALL + 60));
    assert!(report.took >= ms(6_000) && report.took < ms(12_000), "{:?}", report.took);
    assert!(world.held.iter().all(|held| world.node.process(held).is_none()), "nothing is held any more");
    assert_eq!(world.machine.poll_timeout(), None);
}

#[test]
fn a_pod_that_only_lets_itself_be_restarted_costs_nothing_without_a_grant() {
    let mut world = plain(&[("app", &["config"])]);
    world.pass(600_000);
    assert_eq!((world.actions.len(), world.machine.counts().watched), (0, 0));
    grant(&mut world, &[("app", 1001)]);
    again(&mut world, "app", 1001);
    world.pass(20_000);
    assert_eq!(findings(&world), [Finding::Current]);
    world.pods[0].given = None;
    world.sync();
    world.pass(100_000);
    world.actions.clear();
    world.pass(600_000);
    assert_eq!((world.actions.len(), world.machine.counts().watched), (0, 0));
    assert_eq!(world.journal.carried.len(), 0);
}

#[test]
fn only_the_container_with_the_granted_id_is_told_and_of_another_one_nothing_is_done() {
    let mut world = plain(&[("app", &["config"]), ("log", &[])]);
    let old = named(&world, "app", 1001);
    world.node.kill(1001);
    let new = world.node.start(&uid(1), "app", world.now);
    let text = format!("00ff {} {old},{}", WALL + 60, named(&world, "log", 1002));
    give(&mut world, &text);
    world.pass(5_000);
    assert_eq!(stops(&world).iter().map(|(_, pid, _)| *pid).collect::<Vec<_>>(), [1002]);
    assert_ne!(new, 1002);
    again(&mut world, "log", 1002);
    world.pass(20_000);
    assert_eq!((stops(&world).len(), findings(&world)), (1, vec![Finding::Current]));
}

#[test]
fn what_is_no_container_of_the_spec_is_never_told_whatever_name_a_grant_gives_it() {
    let mut world = plain(&[("app", &["config"])]);
    // What holds the pod's namespaces: with its end all containers would go.
    let sandbox = world.start(&uid(1), "POD");
    world.node.process_mut(sandbox).caught = TERM;
    let id = named(&world, "app", sandbox);
    give(&mut world, &format!("00ff {} {id}", WALL + 60));
    world.pass(120_000);
    assert_eq!((stops(&world), findings(&world)), (vec![], vec![Finding::NotFound]));
}

#[test]
fn one_that_runs_after_its_grace_period_is_said_and_not_told_again() {
    let mut world = plain(&[("app", &["config"])]);
    world.pods[0].spec.grace = Some(ms(45_000));
    grant(&mut world, &[("app", 1001)]);
    world.pass(44_000);
    assert_eq!(findings(&world), []);
    world.pass(1_100);
    assert_eq!(findings(&world), [Finding::StillRuns]);
    world.pass(600_000);
    assert_eq!((stops(&world).len(), findings(&world).len(), world.held.len()), (1, 1, 0));
}

#[test]
fn what_a_sub_path_mount_shows_afterwards_is_said() {
    for (shows, finding) in [(Some(2), Finding::Current), (Some(1), Finding::Old), (None, Finding::Unproved)]
    {
        for is_told in [false, true] {
            let mut made = if is_told {
                app(1, &[IN_PLACE])
            } else {
                pod(1, &[IN_PLACE], &[("app", &["config"])], &["config"])
            };
            let mut mount = made.spec.containers[0].mounts[0].clone();
            mount.sub_path = Some(reloadlet_core::model::names::Name::from("key").into());
            made.spec.containers[0].mounts.push(mount);
            let mut world = running(made);
            world.publish(&config(), 2);
            world.pass(30_000);
            grant(&mut world, &[("app", 1001)]);
            again(&mut world, "app", 1001);
            let container = &mut world.node.pod(&uid(1)).containers[0];
            container.frozen.extend(shows.map(|n| ("config".into(), generation(n))));
            world.pass(2_000);
            assert_eq!(findings(&world), [], "its mounts may not all be there yet");
            world.pass(10_000);
            assert_eq!(findings(&world), [finding], "{shows:?}");
        }
    }
}

#[test]
fn one_that_doesnt_run_again_is_unproved_after_five_minutes() {
    let mut world = plain(&[("app", &["config"])]);
    grant(&mut world, &[("app", 1001)]);
    world.exit(1001);
    world.pass(299_000);
    assert_eq!(findings(&world), []);
    world.pass(2_000);
    assert_eq!(findings(&world), [Finding::Unproved]);
}

#[test]
fn an_agent_that_starts_in_the_midst_tells_nobody_twice_and_says_what_came_of_it() {
    let mut world = plain(&[("app", &["config"])]);
    grant(&mut world, &[("app", 1001)]);
    world.pass(1_000);
    // Its time is over by then.
    world.wall += 3_600;
    world.start_agent();
    world.pass(5_000);
    assert_eq!((stops(&world).len(), findings(&world)), (1, vec![]));
    world.stop_agent();
    world.node.kill(1001);
    world.node.start(&uid(1), "app", world.now);
    world.start_agent();
    world.pass(20_000);
    for _ in 0..2 {
        world.start_agent();
        world.pass(60_000);
    }
    assert_eq!((stops(&world).len(), findings(&world)), (1, vec![Finding::Current]));
}

#[test]
fn a_grant_that_is_taken_back_or_replaced_before_it_is_carried_out_is_dropped() {
    let mut world = plain(&[("app", &["config"])]);
    world.hidden.insert(uid(1));
    let id = world.node.identity(1001).unwrap().container;
    world.pods[0].status.insert("app".into(), id);
    grant(&mut world, &[("app", 1001)]);
    world.pass(3_000);
    world.pods[0].given = None;
    world.sync();
    world.hidden.clear();
    world.pass(60_000);
    assert_eq!((stops(&world), findings(&world), world.held.len()), (vec![], vec![], 0));
    grant(&mut world, &[("app", 1001)]);
    let second = format!("00ff {} {}", WALL + 61, named(&world, "app", 1001));
    give(&mut world, &second);
    world.pass(10_000);
    assert_eq!(stops(&world).len(), 1, "one is under way at a time");
    again(&mut world, "app", 1001);
    world.pass(20_000);
    assert_eq!(findings(&world), [Finding::Unproved, Finding::Current], "each is said once");
    assert_eq!(stops(&world).len(), 1);
}

#[test]
fn the_end_by_a_grant_is_no_end_by_a_reload() {
    // Two deliveries in a row, each followed by a granted end within the verify window.
    let mut world = told();
    let mut pid = 1001;
    for n in 2..5 {
        world.publish(&config(), n);
        world.pass(2_000);
        let text = format!("00ff {} {}", WALL + u64::from(n), named(&world, "app", pid));
        give(&mut world, &text);
        world.pass(1_000);
        pid = again(&mut world, "app", pid);
        world.pass(60_000);
    }
    let outcomes: Vec<Outcome> = world.outcomes().into_iter().map(|(.., outcome)| outcome).collect();
    assert_eq!(outcomes, [Outcome::Delivered; 3]);
    assert!(world.verdicts().iter().all(|verdict| *verdict == Verdict::Alive), "{:?}", world.verdicts());
    assert!(!world.machine.status(world.now)[0].containers[0].is_suspended);
    assert_eq!((findings(&world), world.problems()), (vec![Finding::Current; 3], vec![]));
}

#[test]
fn an_end_by_a_grant_while_no_agent_runs_is_no_end_by_a_reload() {
    let mut world = told();
    let mut pid = 1001;
    for n in 2..5 {
        world.publish(&config(), n);
        world.pass(2_000);
        let text = format!("00ff {} {}", WALL + u64::from(n), named(&world, "app", pid));
        give(&mut world, &text);
        world.pass(1_000);
        world.stop_agent();
        world.node.kill(pid);
        pid = world.node.start(&uid(1), "app", world.now);
        world.node.process_mut(pid).caught = HUP | TERM;
        world.start_agent();
        world.pass(60_000);
    }
    assert!(!world.machine.status(world.now)[0].containers[0].is_suspended);
    assert_eq!((world.sends().len(), world.problems()), (3, vec![]));
}

#[test]
fn a_restarted_container_isnt_told_what_it_read_at_its_start() {
    let mut world = told();
    grant(&mut world, &[("app", 1001)]);
    world.exit(1001);
    world.publish(&config(), 2);
    world.pass(5_000);
    let new = world.start(&uid(1), "app");
    world.node.process_mut(new).caught = HUP | TERM;
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::StartedAfter)]);
}

#[test]
fn a_process_that_a_reload_needs_stays_held_and_so_does_one_that_a_restart_needs() {
    let mut world = told();
    world.delivery = Delivery::Spared;
    grant(&mut world, &[("app", 1001)]);
    world.pass(5_000);
    assert_eq!((findings(&world), world.held.len()), (vec![Finding::DryRun], 1), "the reload's");
    world.publish(&config(), 2);
    world.pass(1_000);
    assert_eq!(world.sends().len(), 1);
    // A plan that tells nobody lets go of all processes.
    let mut world = told();
    grant(&mut world, &[("app", 1001)]);
    world.pods[0].spec.annotations =
        pod(1, &[IN_PLACE, ("reloadlet.io/signal", "none")], &[], &[]).spec.annotations;
    world.sync();
    world.pass(6_000);
    assert_eq!(world.held.len(), 1);
    again(&mut world, "app", 1001);
    world.pass(20_000);
    assert_eq!((findings(&world), stops(&world).len()), (vec![Finding::Current], 1));
}

#[test]
fn a_grant_changes_nothing_of_what_waits_for_the_pod() {
    let mut world = World::app(&[IN_PLACE, ("reloadlet.io/debounce", "10s")]);
    world.publish(&config(), 2);
    world.pass(5_000);
    grant(&mut world, &[("app", 1001)]);
    world.pass(5_100);

    assert_eq!(world.sends().len(), 1, "the wait went on");
    let watched = world.actions.iter().filter(|(_, action)| matches!(action, Action::Watch(..))).count();
    assert_eq!(watched, 0, "the plan stands");
    assert_eq!(findings(&world), [Finding::Unhandled]);
}

#[test]
fn what_is_under_way_is_in_the_status_and_how_it_ended() {
    let mut world = plain(&[("app", &["config"])]);
    grant(&mut world, &[("app", 1001)]);
    world.pass(2_000);
    let restart = |world: &World| world.machine.status(world.now)[0].restart.clone().unwrap();
    let shown = restart(&world);
    assert_eq!((shown.containers, shown.waits_for.as_deref()), (vec!["app".into()], Some("its end")));
    assert_eq!(shown.seconds_ago.0, ms(2_000));
    again(&mut world, "app", 1001);
    world.pass(20_000);
    let shown = restart(&world);
    assert_eq!((shown.waits_for, shown.finding), (None, Some(Finding::Current.into())));
}

#[test]
fn a_signal_to_a_container_that_was_told_to_end_isnt_what_has_ended_it() {
    let mut world = told();
    let mut pid = 1001;
    for n in 2..5 {
        let text = format!("00ff {} {}", WALL + u64::from(n), named(&world, "app", pid));
        give(&mut world, &text);
        world.pass(1_000);
        world.publish(&config(), n);
        world.pass(1_000);
        pid = again(&mut world, "app", pid);
        world.pass(60_000);
    }
    assert_eq!(world.sends().len(), 3);
    assert!(!world.machine.status(world.now)[0].containers[0].is_suspended);
    assert_eq!(world.problems(), []);
}

#[test]
fn what_ends_so_while_no_agent_runs_isnt_ended_by_a_later_signal() {
    let mut world = told();
    let mut pid = 1001;
    for n in 2..5 {
        let text = format!("00ff {} {}", WALL + u64::from(n), named(&world, "app", pid));
        give(&mut world, &text);
        world.pass(1_000);
        world.publish(&config(), n);
        world.pass(1_000);
        world.stop_agent();
        world.node.kill(pid);
        pid = world.node.start(&uid(1), "app", world.now);
        world.node.process_mut(pid).caught = HUP | TERM;
        world.start_agent();
        world.pass(60_000);
    }
    assert_eq!((world.sends().len(), world.problems()), (3, vec![]));
    assert!(!world.machine.status(world.now)[0].containers[0].is_suspended);
}

#[test]
fn a_process_that_a_reload_lets_go_of_stays_held_until_its_end_is_seen() {
    let named_process = ("reloadlet.io/process", "worker");
    let mut world = World::node(vec![app(1, &[IN_PLACE, named_process])]);
    world.node.process_mut(1001).caught = HUP | TERM;
    let worker = world.node.fork(&uid(1), 1001, "worker", world.now);
    world.start_agent();
    world.pass(60_000);
    grant(&mut world, &[("app", 1001)]);
    world.pass(1_000);
    assert_eq!(stops(&world).iter().map(|(_, pid, _)| *pid).collect::<Vec<_>>(), [1001]);
    world.exit(worker);
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(1_000);
    let first = world.node.identity(1001).unwrap();
    assert!(world.held.contains(&first), "the reload has nobody to tell any more");
    again(&mut world, "app", 1001);
    world.pass(20_000);
    assert_eq!(findings(&world), [Finding::Current]);
}

#[test]
fn an_agent_that_comes_after_the_grace_period_looks_before_it_says_anything() {
    for ends in [true, false] {
        let mut world = plain(&[("app", &["config"])]);
        grant(&mut world, &[("app", 1001)]);
        world.pass(1_000);
        assert_eq!(stops(&world).len(), 1);
        world.stop_agent();
        if ends {
            world.node.kill(1001);
            world.node.start(&uid(1), "app", world.now);
        }
        world.pass(3_600_000);
        world.start_agent();
        world.pass(60_000);
        let expected = if ends { Finding::Current } else { Finding::StillRuns };
        assert_eq!((stops(&world).len(), findings(&world)), (1, vec![expected]));
    }
}
