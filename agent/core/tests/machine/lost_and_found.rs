//! Processes that are lost while a change waits or is on its way, and others that take their place.

use std::mem::take;

use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::machine::event::{Delivery, Report, Survey};
use reloadlet_core::model::outcome::{Outcome, Verdict};
use reloadlet_core::model::pod::Phase;
use reloadlet_core::model::signal::Signal;
use reloadlet_core::policy::problem::ProblemKind;
use reloadlet_core::{Action, Event, Time};

use crate::digests::rebuild;
use crate::node::{HUP, generation, ms, uid};
use crate::world::{STARTED, World, app, config};

/// A container whose first process isn't told, but this one, by its name.
fn worker() -> (World, u32) {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/process", "worker")])]);
    let pid = world.node.fork(&uid(1), 1001, "worker", STARTED);
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    (world, pid)
}

fn start_worker(world: &mut World) -> u32 {
    let pid = world.node.fork(&uid(1), 1001, "worker", world.now);
    world.handle(Event::CgroupChanged(uid(1)));
    pid
}

fn survey() -> Action {
    Action::Survey(Survey { pod: uid(1), name: None, fresh_mounts: false })
}

impl World {
    /// How often the masks of a process were asked for.
    fn asked(&self) -> usize {
        let is_asked = |action: &Action| matches!(action, Action::ReadGuard(..) | Action::ReadClosely(..));
        self.actions.iter().filter(|(_, action)| is_asked(action)).count()
    }

    fn read_guard(&self, pid: u32) -> Action {
        Action::ReadGuard(self.node.identity(pid).unwrap(), Signal::HUP)
    }
}

#[test]
fn a_process_that_surveys_dont_show_any_more_is_let_go_of() {
    let mut world = World::app(&[]);
    assert_eq!(world.held.len(), 1);
    world.hidden.insert(uid(1));
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(60_000);
    assert_eq!(world.held.len(), 0);
}

#[test]
fn masks_that_are_on_their_way_arent_asked_for_again() {
    let mut world = World::app(&[]);
    world.hold_back(&world.read_guard(1001));
    world.publish(&config(), 2);
    for _ in 0..10 {
        world.handle(Event::LookedThrough(config(), generation(2)));
        world.pass(10);
    }
    // Once at the swap, and once more since that was too long ago.
    assert_eq!(world.asked(), 2);
    world.answer();
    world.pass(1_000);
    assert_eq!(world.sends().len(), 1);
}

#[test]
fn the_masks_of_before_a_wait_say_nothing_also_where_it_was_the_shortest() {
    let mut world = World::app(&[("reloadlet.io/debounce", "1ms")]);
    world.swap(&config(), 2);
    world.settle(&config());
    world.node.exec(1001, "app", 100_000);
    world.pass(1);
    assert_eq!(world.sends(), [], "it has no handler yet");
    world.node.process_mut(1001).caught = HUP;
    world.pass(20_000);
    assert_eq!(world.sends().len(), 1);
}

#[test]
fn a_young_process_that_has_no_handler_yet_is_told_as_soon_as_it_is_three_seconds_old() {
    let mut world = World::app(&[]);
    world.exit(1001);
    world.pass(60_000);
    let pid = world.start(&uid(1), "app");
    let started = world.now;
    world.node.process_mut(pid).caught = 0;
    world.pass(500);
    world.publish(&config(), 2);
    world.pass(1_000);
    assert!(world.asked() > 0, "it was looked at");
    world.node.process_mut(pid).caught = HUP;
    world.pass(60_000);
    assert_eq!(world.sends(), [(started + ms(3_000), pid)]);
}

#[test]
fn a_change_whose_process_is_gone_when_the_signal_is_sent_ends_with_what_runs_next() {
    let mut world = World::app(&[]);
    let process = world.node.identity(1001).unwrap();
    world.hold_back(&Action::Send(process.clone(), Signal::HUP));
    world.publish(&config(), 2);
    world.node.kill(1001);
    world.answer();
    world.handle(Event::Exited(process, world.now));
    assert_eq!(world.outcomes(), []);
    world.pass(1_000);
    world.start(&uid(1), "app");
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::StartedAfter)]);
}

#[test]
fn of_a_signal_that_was_sent_no_reason_is_given_and_of_one_that_the_kernel_refused_its_own() {
    let refusal = "ENOSYS: Function not implemented";
    for (delivery, reason) in [(Delivery::Sent, None), (Delivery::Failed(refusal), Some(refusal))] {
        let mut world = World::app(&[]);
        world.delivery = delivery;
        world.publish(&config(), 2);
        assert_eq!(world.reloads()[0].reason.as_deref(), reason);
    }
}

#[test]
fn after_a_signal_that_was_taken_a_refusal_is_said_ten_seconds_after_it_begins() {
    let mut world = World::app(&[]);
    let unhandled = Some(ProblemKind::Unhandled);
    world.node.process_mut(1001).caught = 0;
    world.publish(&config(), 2);
    world.pass(12_000);
    assert_eq!(world.problems(), [unhandled]);
    world.hold_back(&Action::Send(world.node.identity(1001).unwrap(), Signal::HUP));
    world.node.process_mut(1001).caught = HUP;
    world.pass(10_000);
    assert_eq!(world.unanswered.len(), 1, "it is on its way");
    // Another change comes meanwhile, and the handler goes.
    world.publish(&config(), 3);
    world.node.process_mut(1001).caught = 0;
    world.answer();
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
    world.pass(9_000);
    assert_eq!(world.problems(), [unhandled, None]);
    world.pass(6_000);
    assert_eq!(world.problems(), [unhandled, None, unhandled]);
}

#[test]
fn a_window_ends_although_the_masks_cant_be_read_that_would_tell_whether_the_signal_waits() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    let process = world.node.identity(1001).unwrap();
    world.pass(9_000);
    world.hold_back(&world.read_guard(1001));
    world.pass(1_000);
    assert_eq!(world.verdicts(), [], "it is being looked at");
    world.handle(Event::Lacked(process, Lack::Descriptors));
    assert_eq!(world.verdicts(), [Verdict::Alive]);
}

#[test]
fn the_quick_end_of_a_container_that_was_ready_doesnt_keep_the_next_one_waiting() {
    let mut world = World::app(&[]);
    world.exit(1001);
    world.pass(60_000);
    let ready = world.start(&uid(1), "app");
    world.show_phase(Phase { started: Some(true), ready: Some(true), killed: None });
    world.pass(4_000);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, ready)]);
    world.pass(1_000);
    world.exit(ready);
    world.pass(1_000);
    let next = world.start(&uid(1), "app");
    let started = world.now;
    world.pass(500);
    world.publish(&config(), 3);
    world.pass(60_000);
    assert_eq!(world.sends()[1..], [(started + ms(3_000), next)]);
}

#[test]
fn each_time_that_a_process_is_lost_it_is_waited_for_ten_seconds() {
    let (mut world, first) = worker();
    let begun = world.now;
    world.swap(&config(), 2);
    world.exit(first);
    world.settle(&config());
    world.pass(8_000);
    let second = start_worker(&mut world);
    world.pass(2_500);
    world.exit(second);
    world.pass(1_500);
    let third = start_worker(&mut world);
    world.pass(60_000);
    assert_eq!(world.sends(), [(begun + ms(15_000), third)]);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn a_survey_that_took_so_long_that_it_saw_what_was_there_before_is_made_again() {
    let (mut world, first) = worker();
    world.exit(first);
    world.pass(60_000);
    let before = world.node.survey(&uid(1));
    world.hold_back(&survey());
    world.publish(&config(), 2);
    assert_eq!(world.unanswered.len(), 1);
    world.pass(6_000);
    let pid = world.node.fork(&uid(1), 1001, "worker", world.now);
    world.pass(5_000);
    world.unanswered.clear();
    world.handle(Event::Surveyed(uid(1), before));
    assert_eq!(world.outcomes(), [], "it is looked for again");
    world.answer();
    world.pass(60_000);
    assert_eq!(world.sends().iter().map(|(_, pid)| *pid).collect::<Vec<_>>(), [pid]);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn whoever_may_not_see_a_volume_that_was_made_anew_is_looked_at_before_it_is_told() {
    let mut world = World::app(&[]);
    world.hold_back(&survey());
    rebuild(&mut world, &config(), 2, false);
    assert_eq!(world.sends(), []);
    world.answer();
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
}

#[test]
fn one_that_is_another_program_at_each_look_is_refused_and_that_is_said() {
    let mut world = World::app(&[]);
    world.hold_back(&world.read_guard(1001));
    world.publish(&config(), 2);
    for _ in 0..200 {
        for asked in take(&mut world.unanswered) {
            let Action::ReadGuard(process, signal) = asked else { continue };
            // It was the program when it was chosen.
            let mut reading = world.node.guard(&process, world.now).unwrap();
            reading.comm = "tini".into();
            world.handle(Event::Guarded(process, signal, Some(reading)));
        }
        world.pass(100);
    }
    assert_eq!((world.sends(), world.problems()), (vec![], vec![Some(ProblemKind::Unhandled)]));
}

/// A container whose only process is this supervisor, which starts now.
fn supervisor(world: &mut World, name: &str) -> (u32, Time) {
    let pid = world.node.start(&uid(1), "app", world.now);
    world.node.process_mut(pid).comm = name.into();
    world.handle(Event::CgroupChanged(uid(1)));
    (pid, world.now)
}

#[test]
fn of_another_supervisor_it_is_said_anew_and_of_each_once_it_is_three_seconds_old() {
    let mut world = World::app(&[]);
    world.exit(1001);
    world.pass(60_000);
    world.actions.clear();
    let mut said = Vec::new();
    for name in ["s6-svscan", "runsvdir"] {
        let (pid, started) = supervisor(&mut world, name);
        world.pass(3_000);
        world.handle(Event::CgroupChanged(uid(1)));
        world.pass(60_000);
        let of = |(at, action): &(Time, Action)| {
            let Action::Report(Report::Problem(_, problem)) = action else { return None };
            Some((*at, problem.sentence.contains(name)))
        };
        said.extend(
            world.actions.iter().rev().find_map(of).map(|(at, is_named)| (at.since(started), is_named)),
        );
        world.exit(pid);
        world.pass(60_000);
    }
    assert_eq!(said, [(ms(3_000), true); 2]);
}

#[test]
fn one_that_was_told_by_its_name_is_remembered_also_after_many_that_went_without_being_seen_to_end() {
    let (mut world, first) = worker();
    let mut many = vec![first];
    many.extend((1..256).map(|_| world.node.fork(&uid(1), 1001, "worker", STARTED)));
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(10_000);
    world.publish(&config(), 2);
    world.pass(10_000);
    assert_eq!(world.sends().len(), 256);
    for pid in many {
        world.node.kill(pid);
    }
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(61_000);
    let last = start_worker(&mut world);
    world.pass(10_000);
    for (n, comm) in [(3, "worker"), (4, "renamed")] {
        world.node.process_mut(last).comm = comm.into();
        world.handle(Event::CgroupChanged(uid(1)));
        world.pass(10_000);
        world.publish(&config(), n);
        world.pass(10_000);
    }
    assert_eq!(world.sends()[256..].iter().map(|(_, pid)| *pid).collect::<Vec<_>>(), [last, last]);
}

#[test]
fn whoever_started_so_shortly_after_a_change_that_it_may_not_have_read_it_is_told_with_those_that_are_older()
{
    let (mut world, older) = worker();
    let mut anew = start_worker(&mut world);
    world.pass(60_000);
    let mut start_anew = |world: &mut World| {
        let next = start_worker(world);
        world.exit(std::mem::replace(&mut anew, next));
    };
    // One of them is started again and again.
    world.swap(&config(), 2);
    start_anew(&mut world);
    world.settle(&config());
    world.pass(10);
    let in_doubt = start_worker(&mut world);
    for _ in 0..60 {
        world.pass(2_000);
        start_anew(&mut world);
    }
    let told: Vec<u32> = world.sends().into_iter().map(|(_, pid)| pid).collect();
    assert_eq!(told, [older, in_doubt]);
}
