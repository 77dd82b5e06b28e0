//! What the agent itself lacks: changes wait for it, and it is said.

use std::sync::Arc;

use reloadlet_core::Event;
use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::machine::event::{Action, Report};
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::signal::Signal;
use reloadlet_core::policy::problem::ProblemKind;

use crate::node::{generation, uid};
use crate::world::{World, app, config};

const AGENT: Option<ProblemKind> = Some(ProblemKind::Agent);
const ROOT: Option<ProblemKind> = Some(ProblemKind::KubeletRoot);

#[test]
fn a_change_waits_as_long_as_its_container_cant_be_looked_at_and_says_why() {
    let mut world = World::app(&[]);
    world.exit(1001);
    world.start(&uid(1), "app");
    world.pass(1_000);
    world.exit(1002);
    world.blind = Some(Lack::Refused);
    world.start(&uid(1), "app");
    world.pass(5_000);
    world.publish(&config(), 2);
    world.pass(9_000);
    assert_eq!(world.problems(), []);
    world.pass(120_000);
    assert_eq!((world.outcomes(), world.problems()), (vec![], vec![AGENT]));
    assert!(world.surveys() < 60, "{} surveys in two minutes", world.surveys());
    let status = world.machine.status(world.now);
    assert_eq!(status[0].containers[0].missing.as_deref(), Some(Lack::Refused.sentence()));
    world.blind = None;
    world.pass(6_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
    assert_eq!(world.problems(), [AGENT, None]);
}

#[test]
fn a_change_waits_as_long_as_its_process_cant_be_held() {
    for lack in [Lack::Descriptors, Lack::Share] {
        let mut world = World::node(vec![app(1, &[])]);
        world.handless = Some(lack);
        world.start_agent();
        world.pass(60_000);
        assert_eq!(world.problems(), [], "nothing waits");
        world.publish(&config(), 2);
        world.pass(60_000);
        assert_eq!((world.outcomes(), world.problems()), (vec![], vec![AGENT]));
        world.handless = None;
        world.pass(6_000);
        assert_eq!(world.sends().len(), 1);
        assert_eq!(world.problems(), [AGENT, None]);
    }
}

#[test]
fn masks_that_cant_be_read_are_nobodys_refusal_and_no_exit() {
    let mut world = World::app(&[]);
    let process = world.held.first().unwrap().clone();
    world.hold_back(&Action::ReadGuard(process.clone(), Signal::HUP));
    world.publish(&config(), 2);
    world.handle(Event::Lacked(process, Lack::Descriptors));
    world.answer();
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
    assert_eq!(world.problems(), []);
}

#[test]
fn a_held_process_stays_held_where_a_survey_fails() {
    let mut world = World::app(&[]);
    world.blind = Some(Lack::Descriptors);
    world.handle(Event::CgroupChanged(uid(1)));
    world.publish(&config(), 2);
    world.pass(1_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn one_container_that_cant_be_looked_at_doesnt_keep_the_agent_from_being_ready() {
    let mut world = World::node(vec![app(1, &[])]);
    // Not the very first start: what stands there may be a change to a process that is older.
    world.journal.existed = true;
    world.blind = Some(Lack::Unreadable);
    world.start_agent();
    assert!(!world.machine.is_ready());
    world.pass(15_000);
    assert!(world.machine.is_ready());
}

#[test]
fn a_wrong_kubelet_root_is_a_problem_of_each_pod_also_of_one_that_comes_later() {
    let mut world = World::app(&[]);
    world.handle(Event::KubeletRoot(Some(Arc::from("it is wrong"))));
    let later = app(2, &[]);
    world.node.add_pod(&later, world.now);
    world.pods.push(later);
    world.sync();
    assert_eq!(world.problems(), [ROOT; 2]);
    assert_eq!(world.machine.counts().problems.iter().sum::<usize>(), 2);
    world.handle(Event::KubeletRoot(None));
    assert_eq!(world.problems(), [ROOT, ROOT, None, None]);
    assert!(
        world
            .reports()
            .any(|report| matches!(report, Report::Problem(_, problem) if problem.sentence == "it is wrong"))
    );
}
