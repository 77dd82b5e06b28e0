//! Restarts in place that come to nothing, and why.

use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::machine::event::{Delivery, Report};
use reloadlet_core::model::pod::{Pod, Restarts};
use reloadlet_core::model::restart::{Finding, Instance};

use crate::node::{HUP, uid};
use crate::restarts_in_place::{TERM, again, findings, give, grant, named, plain, reports, stops};
use crate::world::WALL;

#[test]
fn a_container_of_another_name_isnt_told_whatever_its_id_is() {
    let mut world = plain(&[("app", &["config"]), ("log", &[])]);
    let id = Instance::of(&world.node.identity(1002).unwrap().container);
    give(&mut world, &format!("00ff {} app={id}", WALL + 60));
    world.pass(20_000);
    assert_eq!((stops(&world), findings(&world)), (vec![], vec![Finding::NotFound]));
}

#[test]
fn a_grant_whose_time_is_over_and_a_text_that_is_none_do_nothing() {
    let mut world = plain(&[("app", &["config"])]);
    let app = named(&world, "app", 1001);
    for text in [format!("00ff {} {app}", WALL - 1), format!("00ff {app}"), String::new()] {
        give(&mut world, &text);
        world.pass(30_000);
        world.start_agent();
        world.pass(30_000);
    }
    assert_eq!((stops(&world), findings(&world)), (vec![], vec![]));
    let ignored = world.reports().filter(|report| matches!(report, Report::GrantIgnored(..))).count();
    assert_eq!(ignored, 6, "once for each text and agent");
    assert_eq!(world.problems(), []);
}

#[test]
fn of_several_either_all_are_told_or_none() {
    let mut world = plain(&[("app", &["config"]), ("log", &[])]);
    world.node.process_mut(1002).caught = HUP;
    grant(&mut world, &[("app", 1001), ("log", 1002)]);
    world.pass(20_000);
    assert_eq!((stops(&world), findings(&world)), (vec![], vec![Finding::Unhandled]));
    let mut world = plain(&[("app", &["config"]), ("log", &[])]);
    grant(&mut world, &[("app", 1001), ("log", 1002)]);
    assert_eq!(stops(&world).iter().map(|(_, pid, _)| *pid).collect::<Vec<_>>(), [1001, 1002]);
    again(&mut world, "app", 1001);
    world.pass(20_000);
    assert_eq!(findings(&world), [], "the other one hasn't ended");
    again(&mut world, "log", 1002);
    world.pass(20_000);
    assert_eq!(findings(&world), [Finding::Current]);
}

#[test]
fn a_container_that_isnt_to_be_ended_so_is_refused_whatever_the_other_ones_are() {
    for (refuse, finding) in [
        ((|pod: &mut Pod| pod.spec.containers[1].has_pre_stop = true) as fn(&mut Pod), Finding::PreStop),
        (|pod| pod.spec.containers[1].restarts = Some(Restarts::OnFailure), Finding::NoRestart),
        (|pod| pod.spec.containers[1].has_restart_rules = true, Finding::NoRestart),
        (|pod| pod.spec.restarts = Restarts::Never, Finding::NoRestart),
        (
            |pod| pod.spec.containers[1].kind = reloadlet_core::model::pod::ContainerKind::Init,
            Finding::NoRestart,
        ),
    ] {
        let mut world = plain(&[("app", &["config"]), ("log", &[])]);
        refuse(&mut world.pods[0]);
        grant(&mut world, &[("app", 1001), ("log", 1002)]);
        world.pass(20_000);
        assert_eq!((stops(&world), findings(&world)), (vec![], vec![finding]));
        assert!(reports(&world)[0].reason.is_some());
    }
}

#[test]
fn a_first_process_that_doesnt_handle_the_signal_is_refused() {
    for (mask, handled) in
        [((HUP, 0, 0), false), ((TERM, 0, 0), true), ((0, TERM, 0), false), ((0, 0, TERM), true)]
    {
        let mut world = plain(&[("app", &["config"])]);
        let process = world.node.process_mut(1001);
        (process.caught, process.ignored, process.blocked) = mask;
        grant(&mut world, &[("app", 1001)]);
        world.pass(9_000);
        let expected = if handled { vec![] } else { vec![Finding::Unhandled] };
        assert_eq!((stops(&world).len(), findings(&world)), (usize::from(handled), expected), "{mask:?}");
    }
    // In a PID namespace that it shares it ends by the default action.
    let mut world = plain(&[("app", &["config"])]);
    let process = world.node.process_mut(1001);
    (process.caught, process.namespace_pids) = (0, vec![1001, 7]);
    grant(&mut world, &[("app", 1001)]);
    world.pass(1_000);
    assert_eq!(stops(&world).len(), 1);
}

#[test]
fn a_young_process_is_waited_for_as_it_may_install_its_handler_yet() {
    let mut world = plain(&[("app", &["config"])]);
    let new = again(&mut world, "app", 1001);
    world.node.process_mut(new).caught = 0;
    grant(&mut world, &[("app", new)]);
    world.pass(2_000);
    assert_eq!((stops(&world), findings(&world)), (vec![], vec![]));
    world.node.process_mut(new).caught = TERM;
    world.pass(1_000);
    assert_eq!(stops(&world).len(), 1);
}

#[test]
fn a_process_that_isnt_found_within_ten_seconds_is_said_and_one_that_comes_is_told() {
    let mut world = plain(&[("app", &["config"])]);
    let id = world.node.identity(1001).unwrap().container;
    world.pods[0].status.insert("app".into(), id);
    world.hidden.insert(uid(1));
    grant(&mut world, &[("app", 1001)]);
    world.pass(9_900);
    assert_eq!(findings(&world), []);
    world.pass(200);
    assert_eq!((stops(&world), findings(&world)), (vec![], vec![Finding::NotFound]));
    let text = format!("00ff {} {}", WALL + 61, named(&world, "app", 1001));
    give(&mut world, &text);
    world.pass(5_000);
    world.hidden.clear();
    world.pass(1_000);
    assert_eq!(stops(&world).len(), 1, "it was there in time");
}

#[test]
fn what_the_agent_lacks_is_waited_for_for_a_minute() {
    let mut world = plain(&[("app", &["config"])]);
    world.handless = Some(Lack::Descriptors);
    grant(&mut world, &[("app", 1001)]);
    world.pass(50_000);
    assert_eq!(findings(&world), []);
    world.pass(11_000);
    assert_eq!((stops(&world), findings(&world)), (vec![], vec![Finding::NotFound]));
}

#[test]
fn what_the_kernel_or_a_dry_run_says_is_said() {
    for (delivery, finding) in [
        (Delivery::Denied, Finding::Denied),
        (Delivery::Failed("ENOSYS: Function not implemented"), Finding::Denied),
        (Delivery::Spared, Finding::DryRun),
    ] {
        let mut world = plain(&[("app", &["config"])]);
        world.delivery = delivery;
        grant(&mut world, &[("app", 1001)]);
        world.pass(600_000);
        assert_eq!((stops(&world).len(), findings(&world)), (1, vec![finding]));
    }
}

#[test]
fn once_a_grant_is_over_a_pod_that_cant_be_looked_at_wakes_nobody() {
    let mut world = plain(&[("app", &["config"])]);
    world.blind = Some(Lack::Descriptors);
    grant(&mut world, &[("app", 1001)]);
    world.pass(120_000);
    assert_eq!((stops(&world), findings(&world)), (vec![], vec![Finding::NotFound]));
    let due = world.machine.poll_timeout();
    assert!(due.is_none_or(|due| due > world.now), "{due:?} at {:?}", world.now);
}
