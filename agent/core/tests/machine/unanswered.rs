//! What may happen while a request isn't answered, and what follows from an answer that isn't the one that was hoped for.

use reloadlet_core::machine::event::{Answer, Call, Report};
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::pod::{AnnotationValue, Replica};
use reloadlet_core::{Action, Event};

use crate::node::{generation, uid};
use crate::requests::{asked, call, failed, outcomes, phase, running};
use crate::world::{World, app_with_two_volumes, config, more, volume_of};

/// The request that isn't answered yet.
fn unanswered(world: &World) -> Call {
    let Action::Call(call) = world.unanswered[0].clone() else { panic!() };
    call
}

#[test]
fn a_process_that_ends_before_it_answers_is_asked_for_no_more_and_the_next_one_has_read() {
    for answer in [Answer::Closed, Answer::Gone, failed(404, ""), failed(200, "")] {
        let mut world = running();
        world.hold_back(&call());
        world.publish(&config(), 2);
        let call = unanswered(&world);
        world.pass(1_000);
        world.exit(1001);
        world.pass(500);
        world.start(&uid(1), "app");
        world.handle(Event::Answered(call.process, call.begun, answer.clone()));
        world.pass(20_000);
        assert_eq!(outcomes(&world), [(2, Outcome::StartedAfter)], "{answer:?}");
        assert_eq!(world.calls().len(), 1);
    }
}

#[test]
fn a_ready_process_that_ends_of_requests_before_it_answers_gets_no_third_one() {
    for (answer, suspends) in [(Answer::Closed, true), (failed(200, ""), true), (Answer::Refused, false)] {
        let mut world = running();
        world.show_phase(phase(true));
        let kind = call();
        for n in [2, 3, 4] {
            world.hold_back(&kind);
            world.publish(&config(), n);
            if world.unanswered.is_empty() {
                break;
            }
            let call = unanswered(&world);
            world.pass(100);
            world.exit(call.process.pid);
            world.handle(Event::Answered(call.process, call.begun, answer.clone()));
            world.unanswered.clear();
            world.pass(1_000);
            world.start(&uid(1), "app");
            world.pass(30_000);
            world.show_phase(phase(true));
        }
        let last = outcomes(&world).last().copied();
        let expected = if suspends { Outcome::Suspended } else { Outcome::StartedAfter };
        assert_eq!(
            (world.calls().len(), last),
            (if suspends { 2 } else { 3 }, Some((4, expected))),
            "{answer:?}"
        );
    }
}

#[test]
fn what_a_failed_request_or_a_new_child_may_have_read_is_undone_by_a_request() {
    // Where nobody listens a server may be starting again, beside the first process.
    for answer in [failed(500, "no"), Answer::Silent, Answer::Refused] {
        let mut world = World::node(vec![asked(1, &[("reloadlet.io/keys", "a")])]);
        for (n, content) in [(1, 1), (2, 1), (3, 2), (4, 3), (5, 2)] {
            world.node.volume(&config()).digests.insert(generation(n), Digest::new([content; 32]));
        }
        world.start_agent();
        world.pass(60_000);
        world.publish(&config(), 2);
        world.pass(100);
        world.publish(&config(), 3);
        world.pass(30_000);
        world.actions.clear();
        world.answer = answer.clone();
        world.publish(&config(), 4);
        world.pass(500);
        world.answer = failed(200, "");
        world.publish(&config(), 5);
        world.pass(500);
        assert_eq!(outcomes(&world).last(), Some(&(5, Outcome::Delivered)), "{answer:?}");
    }
}

#[test]
fn a_second_telling_that_fails_is_the_last_one_and_is_said() {
    let mut world = running();
    world.publish(&config(), 2);
    world.pass(100);
    assert!(world.open(&config(), 2));
    world.pass(20_000);
    world.publish(&config(), 3);
    world.pass(9_000);
    world.answer = failed(503, "busy");
    world.actions.clear();
    world.pass(60_000);
    assert_eq!(world.calls().len(), 1, "the second telling of 3");
    let retold = |report: &&Report| matches!(report, Report::Retold(of) if of.outcome == Outcome::Failed);
    assert_eq!(world.reports().filter(retold).count(), 1);
    assert!(world.reports().any(|report| matches!(report, Report::Unread { .. })));
}

#[test]
fn a_change_beside_a_second_telling_is_told_however_that_ends() {
    let mut pod = app_with_two_volumes(1, &[]);
    let one = asked(1, &[("reloadlet.io/min-interval", "20s")]);
    (pod.spec.annotations, pod.addresses) = (one.spec.annotations, one.addresses);
    pod.spec.containers[0].ports = one.spec.containers[0].ports.clone();
    let mut world = World::running(vec![pod]);
    world.publish(&config(), 2);
    world.pass(200);
    assert!(world.open(&config(), 2));
    world.pass(40_000);
    world.publish(&config(), 3);
    world.pass(12_000);
    world.answer = failed(503, "busy");
    world.publish(&more(), 2);
    world.pass(60_000);
    let of_more = |world: &World| {
        let of = |(volume, _, outcome): &(&str, _, Outcome)| (*volume == "more").then_some(*outcome);
        world.outcomes().iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(of_more(&world), [Outcome::Failed]);
    world.answer = failed(200, "");
    world.publish(&more(), 3);
    world.pass(60_000);
    assert_eq!(of_more(&world), [Outcome::Failed, Outcome::Delivered]);
}

#[test]
fn that_it_was_ready_is_known_under_another_plan_and_to_the_next_agent() {
    for restarts in [false, true] {
        let mut world = running();
        world.exit(1001);
        world.pass(1_000);
        world.start(&uid(1), "app");
        world.pass(5_000);
        world.show_phase(phase(true));
        world.publish(&config(), 2);
        world.pass(20_000);
        world.show_phase(phase(false));
        if restarts {
            world.start_agent();
        } else {
            let annotations = &mut world.pods[0].spec.annotations;
            let text = AnnotationValue::Text("5s".to_owned());
            annotations.insert("reloadlet.io/verify".to_owned(), text);
            world.sync();
        }
        world.pass(1_000);
        world.answer = failed(500, "no");
        world.publish(&config(), 3);
        world.pass(15_000);
        assert_eq!(outcomes(&world).last(), Some(&(3, Outcome::Failed)), "{restarts}");
    }
}

#[test]
fn another_replica_waits_until_a_late_answers_window_is_over() {
    let mut world = World::running(vec![
        asked(1, &[("reloadlet.io/http-timeout", "60s")]),
        asked(2, &[("reloadlet.io/http-timeout", "60s")]),
    ]);
    for pod in &mut world.pods {
        let of = Replica { kind: "ReplicaSet".into(), name: "web".into(), uid: "1".into(), template: None };
        pod.replica = Some(of);
    }
    world.sync();
    world.pass(1_000);
    world.hold_back(&call());
    for n in [1, 2] {
        world.publish(&volume_of(n, "config"), 2);
    }
    world.pass(40_000);
    assert_eq!(world.calls().len(), 1, "the answer isn't there yet");
    world.answer();
    world.pass(9_000);
    assert_eq!(world.calls().len(), 1, "its window isn't over");
    world.pass(30_000);
    assert_eq!(world.calls().len(), 2);
}
