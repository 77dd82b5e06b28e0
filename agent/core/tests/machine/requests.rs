//! Containers that are told by a request instead of a signal.

use std::sync::Arc;

use reloadlet_core::machine::event::{Answer, Call, Report};
use reloadlet_core::machine::status::StaleReason;
use reloadlet_core::model::outcome::{Outcome, Verdict};
use reloadlet_core::model::pod::{Phase, Pod, Port};
use reloadlet_core::policy::plan::Allowed;
use reloadlet_core::policy::problem::ProblemKind;
use reloadlet_core::{Action, Event, Machine};

use crate::node::{HUP, at, generation, ms, pod, uid};
use crate::said::stale;
use crate::world::{AGENT_STARTED, World, config};

const REQUEST: (&str, &str) = ("reloadlet.io/http", ":9090/-/reload");

/// A pod whose container is told by a request.
pub(crate) fn asked(n: u32, annotations: &[(&str, &str)]) -> Pod {
    let annotations: Vec<_> = [REQUEST].iter().chain(annotations).copied().collect();
    let mut pod = pod(n, &annotations, &[("app", &["config"])], &["config"]);
    pod.spec.containers[0].ports = vec![Port { name: Some("web".into()), number: 9090 }];
    pod.addresses = vec!["10.1.2.3".parse().unwrap(), "fd00::3".parse().unwrap()];
    pod
}

pub(crate) fn running() -> World {
    World::running(vec![asked(1, &[])])
}

pub(crate) fn failed(status: u16, body: &str) -> Answer {
    Answer::Status(status, body.into())
}

pub(crate) fn phase(ready: bool) -> Phase {
    Phase { started: Some(true), ready: Some(ready), killed: None }
}

/// The reasons of the reloads that have ended.
fn reasons(world: &World) -> Vec<String> {
    world.reloads().iter().filter_map(|reload| reload.reason.as_deref().map(String::from)).collect()
}

pub(crate) fn outcomes(world: &World) -> Vec<(u32, Outcome)> {
    let number =
        |of: &reloadlet_core::model::generation::Generation| (1..20).find(|n| generation(*n) == *of).unwrap();
    world.outcomes().iter().map(|(_, of, outcome)| (number(of), *outcome)).collect()
}

#[test]
fn a_change_is_told_by_a_request_to_the_pods_own_address() {
    let mut world = running();
    world.publish(&config(), 2);
    let calls: Vec<&Call> = world
        .actions
        .iter()
        .filter_map(|(_, action)| if let Action::Call(call) = action { Some(call) } else { None })
        .collect();
    let [call] = *calls else { panic!("{calls:?}") };
    assert_eq!((call.process.pid, call.addresses.clone()), (1001, world.pods[0].addresses.clone()));
    assert_eq!(
        (call.request.to_string(), call.request.timeout),
        (String::from("POST :9090/-/reload"), ms(5_000))
    );
    assert_eq!((outcomes(&world), world.sends()), (vec![(2, Outcome::Delivered)], vec![]));
    world.pass(10_000);
    assert_eq!(world.verdicts(), [Verdict::Alive]);
    let is_mask =
        |(_, action): &(_, Action)| matches!(action, Action::ReadGuard(..) | Action::ReadClosely(..));
    assert!(!world.actions.iter().any(is_mask), "masks say nothing of requests");
}

#[test]
fn whatever_the_first_process_is_and_does_with_signals_a_request_is_made() {
    for comm in ["tini", "runsvdir", "sh"] {
        let mut world = World::node(vec![asked(1, &[])]);
        world.node.process_mut(1001).comm = comm.into();
        (world.node.process_mut(1001).caught, world.node.process_mut(1001).ignored) = (0, HUP);
        world.start_agent();
        world.pass(60_000);
        world.actions.clear();
        world.publish(&config(), 2);
        assert_eq!((world.calls(), world.problems()), (vec![(world.now, 1001)], vec![]), "{comm}");
        assert_eq!(outcomes(&world), [(2, Outcome::Delivered)]);
    }
}

#[test]
fn what_is_read_before_the_answer_is_there_counts() {
    let mut world = running();
    world.hold_back(&call());
    world.publish(&config(), 2);
    world.pass(100);
    assert!(world.open(&config(), 2), "a program reads before it answers");
    world.pass(100);
    world.answer();
    world.pass(10_000);
    assert_eq!((world.verdicts(), world.rereads()), (vec![Verdict::Reread], vec![ms(0)]));
}

/// An action of this kind.
pub(crate) fn call() -> Action {
    let mut world = running();
    world.publish(&config(), 2);
    let mut actions = world.actions.into_iter().map(|(_, action)| action);
    actions.find(|action| matches!(action, Action::Call(_))).unwrap()
}

#[test]
fn one_that_was_ready_once_is_asked_three_times_over_ten_seconds() {
    for (answer, words) in [
        (
            failed(500, "failed to reload config: bad\n"),
            "was answered with 500: \"failed to reload config: bad\"",
        ),
        (failed(503, " "), "was answered with 503"),
        (Answer::Refused, "listens on localhost only"),
        (Answer::Reset, "strict mTLS"),
        (Answer::Closed, "the server closed the connection"),
        (Answer::Unreachable("no route to host".into()), "\"no route to host\""),
        (Answer::NotConnected, "network policy"),
        (Answer::Silent, "wasn't answered within 5s; reloadlet.io/http-timeout can be up to 60s"),
        (Answer::NoTls("bad record".into()), "found no TLS: \"bad record\""),
        (Answer::Garbage("invalid HTTP".into()), "set reloadlet.io/http-scheme to https"),
    ] {
        let mut world = running();
        world.show_phase(phase(true));
        world.answer = answer.clone();
        world.publish(&config(), 2);
        let begun = world.now;
        world.pass(9_999);
        assert_eq!(outcomes(&world), [], "{answer:?}");
        world.pass(60_000);
        let calls: Vec<_> = world.calls().into_iter().map(|(at, _)| at.since(begun)).collect();
        assert_eq!(calls, [ms(0), ms(3_000), ms(10_000)], "{answer:?}");
        assert_eq!(outcomes(&world), [(2, Outcome::Failed)], "{answer:?}");
        let [reason] = <[String; 1]>::try_from(reasons(&world)).unwrap();
        assert!(reason.starts_with("POST :9090/-/reload ") && reason.contains(words), "{reason}");
        assert_eq!(world.verdicts(), [], "nothing was delivered");
    }
}

#[test]
fn what_the_server_will_never_take_fails_at_once() {
    for (status, words) in [
        (404, "404: \"no such page\""),
        (302, "302, a redirect, and none is followed"),
        (101, "101"),
        (600, "600"),
    ] {
        let mut world = running();
        world.answer = failed(status, "no such page");
        world.publish(&config(), 2);
        world.pass(60_000);
        assert_eq!((world.calls().len(), outcomes(&world)), (1, vec![(2, Outcome::Failed)]));
        assert!(reasons(&world)[0].contains(words), "{:?}", reasons(&world));
    }
    for status in [200, 204, 299] {
        let mut world = running();
        world.answer = failed(status, "");
        world.publish(&config(), 2);
        assert_eq!(outcomes(&world), [(2, Outcome::Delivered)], "{status}");
    }
}

#[test]
fn after_a_content_that_failed_the_next_one_is_told() {
    let mut world = running();
    world.answer = failed(500, "bad");
    world.publish(&config(), 2);
    world.pass(20_000);
    world.answer = failed(200, "");
    world.publish(&config(), 3);
    assert_eq!(outcomes(&world), [(2, Outcome::Failed), (3, Outcome::Delivered)]);
}

#[test]
fn one_that_starts_still_is_asked_until_it_answers() {
    for answer in [failed(503, "starting"), Answer::Refused, Answer::Silent] {
        let mut world = running();
        world.exit(1001);
        world.pass(1_000);
        world.start(&uid(1), "app");
        world.show_phase(phase(false));
        world.pass(5_000);
        world.answer = answer;
        world.publish(&config(), 2);
        world.pass(120_000);
        let calls = world.calls();
        let pauses: Vec<_> = calls.windows(2).map(|pair| pair[1].0.since(pair[0].0)).collect();
        assert!(
            pauses.len() > 10 && pauses.iter().all(|pause| *pause >= ms(250) && *pause <= ms(10_000)),
            "{pauses:?}"
        );
        assert!(pauses.is_sorted(), "they grow: {pauses:?}");
        assert_eq!(outcomes(&world), []);
        let status = world.machine.status(world.now);
        let said = status[0].containers[0].last_answer.clone().unwrap();
        assert!(said.starts_with("starting: POST :9090/-/reload "), "{said}");
        world.answer = failed(200, "");
        world.pass(10_000);
        assert_eq!(outcomes(&world), [(2, Outcome::Delivered)]);
        assert_eq!(world.machine.status(world.now)[0].containers[0].last_answer, None);
    }
}

#[test]
fn once_it_was_ready_the_tries_are_counted_and_an_old_one_isnt_taken_to_start() {
    let mut world = running();
    world.exit(1001);
    world.pass(1_000);
    world.start(&uid(1), "app");
    world.show_phase(phase(false));
    world.pass(5_000);
    world.answer = failed(500, "no");
    world.publish(&config(), 2);
    world.pass(30_000);
    world.show_phase(phase(true));
    world.show_phase(phase(false));
    world.pass(30_000);
    assert_eq!(outcomes(&world), [(2, Outcome::Failed)], "it was ready once");
    let mut old = running();
    old.show_phase(phase(false));
    old.pass(3_600_000);
    old.answer = failed(500, "no");
    old.publish(&config(), 2);
    old.pass(30_000);
    assert_eq!(outcomes(&old), [(2, Outcome::Failed)], "an hour is no start");
}

#[test]
fn a_newer_content_ends_the_tries_of_the_older_one_and_has_its_own() {
    let mut world = running();
    world.answer = failed(500, "no");
    world.publish(&config(), 2);
    world.pass(4_000);
    assert_eq!(world.calls().len(), 2);
    world.publish(&config(), 3);
    let begun = world.now;
    world.pass(60_000);
    assert_eq!(outcomes(&world), [(2, Outcome::Superseded), (3, Outcome::Failed)]);
    let later: Vec<_> = world.calls().into_iter().skip(2).map(|(at, _)| at.since(begun)).collect();
    assert_eq!(later, [ms(0), ms(3_000), ms(10_000)]);
}

#[test]
fn what_comes_while_a_request_is_on_its_way_waits_for_its_answer_and_is_told_at_once_then() {
    let mut world = running();
    world.hold_back(&call());
    world.publish(&config(), 2);
    world.pass(2_000);
    world.publish(&config(), 3);
    world.pass(1_000);
    assert_eq!(world.calls().len(), 1, "one at a time");
    world.answer = Answer::Silent;
    world.answer();
    assert_eq!(world.calls().len(), 2, "the failure was the older one's");
    world.pass(20_000);
    assert_eq!(outcomes(&world), [(2, Outcome::Superseded), (3, Outcome::Failed)]);
    assert_eq!(world.calls().len(), 4);
}

#[test]
fn what_isnt_answered_yet_isnt_up_to_date() {
    let mut world = running();
    world.hold_back(&call());
    world.publish(&config(), 2);
    world.pass(1_000);
    let waiting = |world: &World| {
        let status = world.machine.status(world.now);
        status[0].containers[0].volumes[0].waiting.as_ref().map(|name| String::from(&**name))
    };
    assert_eq!(stale(&world), [StaleReason::Undelivered]);
    assert_eq!(waiting(&world).as_deref(), Some(generation(2).as_str()));
    world.answer();
    assert_eq!((stale(&world), waiting(&world)), (vec![], None));
}

#[test]
fn an_answer_to_another_request_changes_nothing() {
    let mut world = running();
    world.hold_back(&call());
    world.publish(&config(), 2);
    let Action::Call(call) = world.unanswered[0].clone() else { panic!() };
    world.handle(Event::Answered(call.process.clone(), call.begun - ms(1), failed(404, "")));
    let mut other = call.process.clone();
    other.pid += 1;
    world.handle(Event::Answered(other, call.begun, failed(404, "")));
    assert_eq!(outcomes(&world), []);
    world.handle(Event::Answered(call.process.clone(), call.begun, failed(200, "")));
    world.handle(Event::Answered(call.process, call.begun, failed(404, "")));
    assert_eq!(outcomes(&world), [(2, Outcome::Delivered)]);
}

#[test]
fn two_requests_that_ended_a_ready_process_suspend_further_ones() {
    let mut world = running();
    world.show_phase(phase(true));
    for n in [2, 3] {
        world.publish(&config(), n);
        world.pass(500);
        let pid = *world.held.iter().map(|process| &process.pid).next().unwrap();
        world.exit(pid);
        world.pass(1_000);
        world.start(&uid(1), "app");
        world.pass(30_000);
        world.show_phase(phase(true));
    }
    world.actions.clear();
    world.publish(&config(), 4);
    world.pass(1_000);
    assert_eq!((outcomes(&world), world.calls()), (vec![(4, Outcome::Suspended)], vec![]));
    assert!(reasons(&world)[0].contains("after each of the last two requests"), "{:?}", reasons(&world));
}

#[test]
fn without_an_address_of_its_own_the_change_waits_and_that_is_said_once() {
    let none: [&[&str]; 3] = [
        &[],
        &["127.0.0.1", "::1", "0.0.0.0", "169.254.169.254"],
        &["::ffff:127.0.0.1", "fe80::1", "224.0.0.1"],
    ];
    for addresses in none {
        let mut pod = asked(1, &[]);
        let own = std::mem::take(&mut pod.addresses);
        pod.addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let mut world = World::running(vec![pod]);
        world.publish(&config(), 2);
        world.pass(9_999);
        assert_eq!(world.problems(), []);
        world.pass(60_000);
        assert_eq!((world.problems(), world.calls()), (vec![Some(ProblemKind::NoAddress)], vec![]));
        world.pods[0].addresses = own;
        world.sync();
        assert_eq!(outcomes(&world), [(2, Outcome::Delivered)]);
        assert_eq!(world.problems(), [Some(ProblemKind::NoAddress), None]);
    }
}

#[test]
fn that_there_is_no_address_isnt_said_again_at_the_next_change() {
    let mut pod = asked(1, &[]);
    pod.addresses.clear();
    let mut world = World::running(vec![pod]);
    for n in [2, 3] {
        world.publish(&config(), n);
        world.pass(30_000);
    }
    assert_eq!(world.problems(), [Some(ProblemKind::NoAddress)]);
}

#[test]
fn what_the_agent_lacks_ends_no_change() {
    let mut world = running();
    world.answer = Answer::Lacked(reloadlet_core::kernel::lack::Lack::Descriptors);
    world.publish(&config(), 2);
    world.pass(120_000);
    assert_eq!(outcomes(&world), []);
    world.answer = failed(200, "");
    world.pass(20_000);
    assert_eq!(outcomes(&world), [(2, Outcome::Delivered)]);
}

#[test]
fn the_pods_own_waits_are_kept() {
    let mut world = World::running(vec![asked(
        1,
        &[("reloadlet.io/min-interval", "30s"), ("reloadlet.io/debounce", "1s")],
    )]);
    let begun = world.now;
    world.publish(&config(), 2);
    world.pass(5_000);
    world.publish(&config(), 3);
    world.pass(60_000);
    let calls: Vec<_> = world.calls().into_iter().map(|(at, _)| at.since(begun)).collect();
    assert_eq!(calls, [ms(1_001), ms(31_001)]);
}

#[test]
fn a_pod_of_the_hosts_network_is_asked_only_where_that_is_allowed() {
    let mut pod = asked(1, &[]);
    pod.spec.host_network = true;
    let kinds = |machine: Machine| {
        let mut machine = machine;
        machine.handle(AGENT_STARTED, Event::JournalRead(Default::default()));
        machine.handle(AGENT_STARTED, Event::PodsSynced(vec![Arc::new(pod.clone())]));
        let mut kinds = Vec::new();
        while let Some(action) = machine.poll_action() {
            if let Action::Report(Report::Problem(_, problem)) = action {
                kinds.push(problem.kind);
            }
        }
        kinds
    };
    assert_eq!(kinds(Machine::new()), [ProblemKind::HostNetwork]);
    assert_eq!(kinds(Machine::new().allowing(Allowed { host_network_http: true })), []);
}

#[test]
fn another_means_under_a_new_plan_asks_for_masks_again() {
    let mut world = running();
    let mut pod = world.pods[0].clone();
    pod.spec.annotations = crate::world::app(1, &[]).spec.annotations;
    world.pods = vec![pod];
    world.sync();
    world.pass(10_000);
    world.publish(&config(), 2);
    world.pass(1_000);
    assert_eq!((world.sends().len(), world.calls().len()), (1, 0));
    world.pods = vec![asked(1, &[])];
    world.sync();
    world.pass(1_000);
    world.publish(&config(), 3);
    world.pass(1_000);
    assert_eq!((world.sends().len(), world.calls().len()), (1, 1));
    assert_eq!(outcomes(&world), [(2, Outcome::Delivered), (3, Outcome::Delivered)]);
    assert!(world.now > at(0));
}
