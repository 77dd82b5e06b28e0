//! From a swap to one delivery.

use std::sync::Arc;

use reloadlet_core::Action;
use reloadlet_core::machine::event::{Delivery, Report};
use reloadlet_core::model::journal::JournalUpdate;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::pod::VolumeKind;

use crate::node::{at, generation, ms, pod, uid};
use crate::world::{World, app, app_with_two_volumes, config, more, volume_of};

#[test]
fn the_first_start_signals_nothing_and_records_every_baseline() {
    let mut world = World::node(vec![app(1, &[]), app_with_two_volumes(2, &[])]);
    world.start_agent();
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    assert_eq!(world.outcomes(), []);
    let baselines: Vec<_> = world.journal.handled.values().collect();
    assert_eq!(baselines.len(), 3);
    assert!(baselines.iter().all(|handled| handled.generation == generation(1) && handled.outcome.is_none()));
}

#[test]
fn a_swap_settles_and_is_delivered_once() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, 1001)], "in the moment of the settle");
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
    let handled = world.journal.handled.values().next().unwrap();
    assert_eq!((&handled.generation, handled.outcome), (&generation(2), Some(Outcome::Delivered)));
}

#[test]
fn nothing_is_sent_before_the_settle() {
    let mut world = World::app(&[]);
    world.swap(&config(), 2);
    world.pass(1_999);
    assert_eq!(world.sends(), []);
    world.settle(&config());
    assert_eq!(world.sends(), [(world.now, 1001)]);
}

#[test]
fn a_settle_times_out_after_two_seconds() {
    let mut world = World::app(&[]);
    let swapped = world.now;
    world.swap(&config(), 2);
    world.pass(60_000);
    assert_eq!(world.sends(), [(swapped + ms(2_000), 1001)]);
    let timed_out =
        |report: &&Report| matches!(report, Report::SettleTimedOut(volume) if *volume == config());
    assert_eq!(world.reports().filter(timed_out).count(), 1);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn the_guard_is_read_between_swap_and_settle_so_that_after_it_only_a_watch_and_the_send_come() {
    let mut world = World::app(&[]);
    world.swap(&config(), 2);
    let process = world.node.identity(1001).unwrap();
    let hup = reloadlet_core::model::signal::Signal::HUP;
    let actions = |world: &World| -> Vec<Action> { world.actions.iter().map(|(_, a)| a.clone()).collect() };
    assert_eq!(
        actions(&world),
        [Action::Report(Report::Swapped(VolumeKind::ConfigMap)), Action::ReadGuard(process.clone(), hup)]
    );
    world.pass(1);
    world.actions.clear();
    world.settle(&config());
    let [settled, watch, send, told, record, reload] = &actions(&world)[..] else {
        panic!("{:?}", world.actions)
    };
    assert_eq!(*settled, Action::Report(Report::Settled(ms(1))));
    assert_eq!(*watch, Action::WatchOpens(config(), generation(2), Arc::default()));
    assert_eq!(*send, Action::Send(process, hup));
    assert!(matches!(told, Action::Record(JournalUpdate::LastDelivery(..))), "{told:?}");
    assert!(matches!(record, Action::Record(JournalUpdate::Handled(..))), "{record:?}");
    assert!(matches!(reload, Action::Report(Report::Reload(_))), "{reload:?}");
}

#[test]
fn what_a_reload_took_is_counted_from_the_swap() {
    let mut world = World::app(&[]);
    world.hold_back(&Action::Send(
        world.node.identity(1001).unwrap(),
        reloadlet_core::model::signal::Signal::HUP,
    ));
    world.publish(&config(), 2);
    world.pass(3);
    world.answer();
    let reload = world.reloads()[0];
    assert_eq!((reload.settle, reload.since_settle, reload.deliver), (ms(1), ms(3), ms(4)));
    assert_eq!(reload.pids, [1001]);
}

#[test]
fn what_a_reload_took_is_counted_from_the_end_of_the_waits_that_the_pod_asked_for() {
    let mut world = World::app(&[("reloadlet.io/debounce", "500ms")]);
    world.hold_back(&Action::Send(
        world.node.identity(1001).unwrap(),
        reloadlet_core::model::signal::Signal::HUP,
    ));
    world.publish(&config(), 2);
    world.pass(507);
    world.answer();
    let reload = world.reloads()[0];
    assert_eq!((reload.since_settle, reload.deliver), (ms(507), ms(7)));
}

#[test]
fn a_generation_that_settles_while_a_send_is_under_way_has_a_reload_of_its_own() {
    let mut world = World::running(vec![app_with_two_volumes(1, &[("reloadlet.io/debounce", "0s")])]);
    world.hold_back(&Action::Send(
        world.node.identity(1001).unwrap(),
        reloadlet_core::model::signal::Signal::HUP,
    ));
    world.publish(&config(), 2);
    world.publish(&more(), 2);
    world.publish(&config(), 3);
    assert_eq!(world.sends().len(), 1);
    world.answer();
    world.pass(60_000);
    assert_eq!(world.sends().len(), 2);
    let mut outcomes = world.outcomes();
    outcomes.sort();
    assert_eq!(
        outcomes,
        [
            ("config", generation(2), Outcome::Delivered),
            ("config", generation(3), Outcome::Delivered),
            ("more", generation(2), Outcome::Delivered),
        ]
    );
}

#[test]
fn a_dry_run_does_everything_but_the_send_and_opens_no_window() {
    let mut world = World::app(&[]);
    world.delivery = Delivery::Spared;
    world.publish(&config(), 2);
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::DryRun)]);
    assert_eq!(world.verdicts(), []);
}

#[test]
fn a_send_that_the_kernel_refuses_is_an_outcome_and_is_not_repeated() {
    for (delivery, outcome) in
        [(Delivery::Denied, Outcome::Denied), (Delivery::Failed("EIO"), Outcome::Failed)]
    {
        let mut world = World::app(&[]);
        world.delivery = delivery;
        world.publish(&config(), 2);
        world.pass(60_000);
        assert_eq!(world.sends().len(), 1);
        assert_eq!(world.outcomes(), [("config", generation(2), outcome)]);
    }
}

#[test]
fn a_container_with_its_own_signal_is_told_beside_the_other() {
    let two = pod(
        1,
        &[("signal.reloadlet.io/a", "USR1"), ("signal.reloadlet.io/b", "HUP")],
        &[("a", &["config"]), ("b", &["config"])],
        &["config"],
    );
    let mut world = World::node(vec![two]);
    world.node.process_mut(1001).caught |= 1 << 9;
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    world.publish(&config(), 2);
    let told: Vec<(u32, i32)> = world
        .actions
        .iter()
        .filter_map(|(_, action)| {
            if let Action::Send(process, signal) = action {
                Some((process.pid, signal.number()))
            } else {
                None
            }
        })
        .collect();
    assert_eq!(told, [(1001, 10), (1002, 1)]);
    assert_eq!(world.outcomes().len(), 2, "one for each container");
}

#[test]
fn a_pod_that_only_measures_is_never_told_and_its_containers_come_and_go_without_harm() {
    let mut world = World::running(vec![pod(
        1,
        &[("reloadlet.io/signal", "none")],
        &[("app", &["config"])],
        &["config"],
    )]);
    world.publish(&config(), 2);
    world.start(&uid(1), "app");
    world.pass(60_000);
    assert_eq!((world.sends(), world.surveys()), (vec![], 0));
    assert!(world.reports().any(|report| matches!(report, Report::Settled(_))));
    assert_eq!(world.machine.poll_timeout(), None);
}

#[test]
fn another_pods_change_is_not_told() {
    let mut world = World::running(vec![app(1, &[]), app(2, &[])]);
    world.publish(&volume_of(2, "config"), 2);
    assert_eq!(world.sends(), [(world.now, 1002)]);
}

#[test]
fn a_quiet_machine_has_no_timer() {
    let mut world = World::app(&[]);
    assert_eq!(world.machine.poll_timeout(), None);
    world.publish(&config(), 2);
    world.pass(20_000);
    assert_eq!(world.machine.poll_timeout(), None);
    assert!(world.now > at(0));
}
