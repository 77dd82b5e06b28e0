//! When requests are made again, and what is said while they can't be made.

use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::machine::event::{Answer, Report};
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::pod::Phase;
use reloadlet_core::policy::problem::ProblemKind;

use reloadlet_core::{Action, Event};

use crate::node::{generation, ms, uid};
use crate::requests::{asked, failed, outcomes, phase, running};
use crate::world::{World, config, more};

const AGENT: Option<ProblemKind> = Some(ProblemKind::Agent);

/// A running pod that is asked about two volumes, the second of which always has the same content.
fn with_a_quiet_volume() -> World {
    let mut pod = asked(1, &[("reloadlet.io/keys", "a"), ("reloadlet.io/debounce", "0s")]);
    let two = crate::world::app_with_two_volumes(1, &[]).spec;
    (pod.spec.volumes, pod.spec.containers[0].mounts) = (two.volumes, two.containers[0].mounts.clone());
    let mut world = World::node(vec![pod]);
    for n in 1..100 {
        let content = u8::try_from(n).unwrap();
        world.node.volume(&config()).digests.insert(generation(n), Digest::new([content; 32]));
        world.node.volume(&more()).digests.insert(generation(n), Digest::new([200; 32]));
    }
    world.start_agent();
    world.pass(60_000);
    world.show_phase(phase(true));
    // What the container holds is read.
    for n in [2, 3] {
        world.publish(&more(), n);
        world.pass(20_000);
    }
    world.actions.clear();
    world
}

#[test]
fn what_nobody_has_to_be_told_of_renews_no_tries() {
    let mut world = with_a_quiet_volume();
    world.answer = failed(500, "no");
    world.publish(&config(), 2);
    let begun = world.now;
    for n in 4..40 {
        world.pass(500);
        world.publish(&more(), n);
    }
    let calls: Vec<_> = world.calls().into_iter().map(|(at, _)| at.since(begun)).collect();
    assert_eq!(calls, [ms(0), ms(3_000), ms(10_000)]);
    assert!(world.outcomes().contains(&("config", generation(2), Outcome::Failed)));
}

#[test]
fn an_answer_that_comes_while_such_a_thing_waits_makes_no_request_at_once() {
    let mut world = with_a_quiet_volume();
    let kind = crate::requests::call();
    let reading = |world: &World| {
        let read = |(_, action): &&(_, Action)| matches!(action, Action::Read(..));
        world.actions.iter().find(read).unwrap().1.clone()
    };
    world.hold_back(&kind);
    world.publish(&config(), 2);
    let read = reading(&world);
    world.hold_back(&read);
    world.publish(&more(), 4);
    let call = world.unanswered.remove(0);
    let Action::Call(call) = call else { panic!("{call:?}") };
    world.handle(Event::Answered(call.process, call.begun, Answer::Refused));
    world.answer = Answer::Refused;
    world.answer();
    assert_eq!(world.calls().len(), 1);
    world.pass(2_998);
    assert_eq!(world.calls().len(), 1);
    world.pass(10);
    assert_eq!(world.calls().len(), 2);
}

#[test]
fn what_the_agent_lacks_for_a_request_is_said_after_ten_seconds_and_its_end_too() {
    for lack in [Lack::Descriptors, Lack::Memory] {
        let mut world = running();
        world.answer = Answer::Lacked(lack);
        world.publish(&config(), 2);
        world.pass(9_999);
        assert_eq!(world.problems(), []);
        world.pass(1);
        assert_eq!(world.problems(), [AGENT]);
        let says = |report: &Report| matches!(report, Report::Problem(_, problem) if problem.sentence.contains(lack.sentence()));
        assert!(world.reports().any(says));
        // Something newer has tries of its own, and the agent lacks the same.
        world.publish(&config(), 3);
        world.pass(60_000);
        assert_eq!(world.problems(), [AGENT], "once");
        let pauses: Vec<_> = world.calls().windows(2).map(|pair| pair[1].0.since(pair[0].0)).collect();
        assert!(pauses.len() < 30, "{pauses:?}");
        // Whoever answers doesn't lack it, whatever the answer is.
        world.answer = Answer::Refused;
        world.pass(10_001);
        assert_eq!(world.problems(), [AGENT, None]);
        world.answer = failed(200, "");
        world.pass(10_001);
        assert_eq!(outcomes(&world), [(2, Outcome::Superseded), (3, Outcome::Delivered)]);
    }
}

#[test]
fn a_lack_that_is_over_within_ten_seconds_isnt_said_nor_added_to_the_next_one() {
    let mut world = running();
    world.answer = Answer::Lacked(Lack::Descriptors);
    world.publish(&config(), 2);
    world.pass(4_000);
    world.answer = Answer::Refused;
    world.pass(4_000);
    world.answer = Answer::Lacked(Lack::Descriptors);
    world.pass(9_000);
    assert_eq!(world.problems(), []);
    world.pass(20_000);
    assert_eq!(world.problems(), [AGENT]);
}

#[test]
fn a_second_telling_waits_for_what_the_agent_lacks() {
    let mut world = running();
    world.publish(&config(), 2);
    world.pass(100);
    assert!(world.open(&config(), 2));
    world.pass(20_000);
    world.actions.clear();
    // The first telling is answered, and nothing is read in its window.
    world.publish(&config(), 3);
    world.pass(1_000);
    world.answer = Answer::Lacked(Lack::Descriptors);
    world.pass(30_000);
    let retold = |world: &World| {
        let of =
            |report: &Report| if let Report::Retold(reload) = report { Some(reload.outcome) } else { None };
        world.reports().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!((retold(&world), world.problems()), (vec![], vec![AGENT]));
    assert!(!world.reports().any(|report| matches!(report, Report::Unread { .. })));
    world.answer = failed(200, "");
    world.pass(11_000);
    assert_eq!((retold(&world), world.problems()), (vec![Outcome::Delivered], vec![AGENT, None]));
}

#[test]
fn a_process_that_is_killed_while_it_is_asked_says_nothing_of_requests() {
    for (by_status, first) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut world = running();
        world.show_phase(phase(true));
        let kind = crate::requests::call();
        for n in [2, 3, 4] {
            world.hold_back(&kind);
            world.publish(&config(), n);
            let Some(Action::Call(call)) = world.unanswered.pop() else { break };
            world.pass(100);
            let killed = |world: &mut World| {
                if by_status {
                    world.show_phase(Phase { killed: Some(call.process.container.clone()), ..phase(true) });
                } else {
                    world.handle(Event::Killed(call.process.clone()));
                }
            };
            if by_status && first {
                killed(&mut world);
            }
            world.exit(call.process.pid);
            if first && !by_status {
                killed(&mut world);
            }
            world.handle(Event::Answered(call.process.clone(), call.begun, Answer::Closed));
            if !first {
                killed(&mut world);
            }
            world.pass(1_000);
            world.start(&uid(1), "app");
            world.pass(30_000);
            world.show_phase(phase(true));
        }
        assert_eq!(world.calls().len(), 3, "by a status: {by_status}, before the answer: {first}");
        assert!(world.journal.endings.is_empty());
        assert_eq!(outcomes(&world).last(), Some(&(4, Outcome::StartedAfter)));
    }
}
