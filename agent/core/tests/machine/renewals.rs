//! Processes that execute themselves anew, and entry points that become something else.

use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::signal::Signal;
use reloadlet_core::policy::problem::ProblemKind;
use reloadlet_core::{Action, Event};

use crate::node::{HUP, generation, ms, uid};
use crate::world::{STARTED, World, app, app_with_two_volumes, config, more};

/// The signals that Ruby's VM catches from its first millisecond on.
const VM: u64 = 0b1000_0000_0011;

/// A server in Ruby that has been told once: it executes itself anew, and its VM boots.
fn ruby() -> World {
    let mut world = World::node(vec![app(1, &[])]);
    let process = world.node.process_mut(1001);
    (process.comm, process.caught) = ("ruby3.1".into(), VM);
    (process.memory, process.most_memory) = (400_000, 420_000);
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 2);
    assert_eq!(world.sends().len(), 1);
    world
}

#[test]
fn a_vm_that_boots_anew_catches_the_signal_in_order_to_end_and_waits_as_any_young_process_does() {
    for pause in [60, 200, 500, 1_500] {
        let mut world = ruby();
        world.pass(30);
        world.node.exec(1001, "ruby3.1", 60_000);
        world.node.process_mut(1001).caught = VM;
        world.pass(pause);
        world.publish(&config(), 3);
        world.pass(1_000);
        assert_eq!(world.sends().len(), 1, "{pause} ms: it boots");
        world.pass(3_000);
        assert_eq!(world.sends().len(), 2, "{pause} ms: it has booted");
        assert_eq!(world.outcomes().last(), Some(&("config", generation(3), Outcome::Delivered)));
    }
}

#[test]
fn what_was_seen_to_boot_after_the_last_signal_keeps_no_later_change_waiting() {
    let mut world = ruby();
    world.pass(30);
    world.node.exec(1001, "ruby3.1", 60_000);
    world.node.process_mut(1001).caught = VM;
    world.pass(12_000);
    world.publish(&config(), 3);
    assert_eq!(world.sends().last(), Some(&(world.now, 1001)));
    assert_eq!(world.sends().len(), 2);
}

#[test]
fn memory_that_comes_and_goes_is_no_other_program() {
    let mut world = ruby();
    for n in 3..10 {
        world.node.process_mut(1001).memory = 100_000 * u64::from(n % 3 + 1);
        world.pass(5_000);
        world.publish(&config(), n);
        assert_eq!(world.sends().last(), Some(&(world.now, 1001)));
    }
}

#[test]
fn a_process_that_executes_itself_just_after_the_swap_is_not_told_at_the_end_of_a_wait() {
    for annotations in [&[][..], &[("reloadlet.io/debounce", "5ms")], &[("reloadlet.io/splay", "200ms")]] {
        let mut world = World::running(vec![app_with_two_volumes(1, annotations)]);
        world.swap(&config(), 2);
        world.swap(&more(), 2);
        world.pass(1);
        world.settle(&config());
        world.settle(&more());
        world.pass(1);
        // It blocks nothing, and has its handler 150 ms later.
        world.node.exec(1001, "app", 100_000);
        world.pass(150);
        assert_eq!(world.sends(), [], "{annotations:?}: the masks of before the wait say nothing");
        world.node.process_mut(1001).caught = HUP;
        world.pass(10_000);
        assert_eq!(world.sends().len(), 1, "{annotations:?}");
    }
}

#[test]
fn masks_that_were_asked_for_before_the_end_of_a_wait_and_came_after_it_say_nothing() {
    let mut world = World::app(&[("reloadlet.io/debounce", "100ms")]);
    let process = world.node.identity(1001).unwrap();
    let hup = Signal::HUP;
    let early = world.node.guard(&process, world.now);
    world.hold_back(&Action::ReadGuard(process.clone(), hup));
    world.publish(&config(), 2);
    world.pass(100);
    world.node.exec(1001, "app", 100_000);
    // The answer to what was asked at the swap.
    world.handle(Event::Guarded(process, hup, early));
    assert_eq!(world.sends(), [], "it is asked for anew");
    world.answer();
    assert_eq!(world.sends(), []);
}

#[test]
fn with_no_wait_the_masks_of_the_swap_will_do_for_two_milliseconds() {
    for (settle, is_sent) in [(1, true), (2, true), (3, false)] {
        let mut world = World::app(&[]);
        world.swap(&config(), 2);
        world.pass(settle);
        world.node.exec(1001, "app", 100_000);
        world.settle(&config());
        assert_eq!(world.sends().len(), usize::from(is_sent), "{settle} ms");
    }
}

/// An entry point that waits in a shell, and a change that waits for it.
fn shell(world_app: World) -> World {
    let mut world = world_app;
    world.publish(&config(), 2);
    world.pass(3_500);
    assert_eq!(world.sends(), []);
    world
}

fn in_shell() -> World {
    let mut world = World::node(vec![app(1, &[])]);
    let process = world.node.process_mut(1001);
    (process.comm, process.caught) = ("sh".into(), 0);
    world.start_agent();
    world.pass(60_000);
    world
}

#[test]
fn a_shell_that_becomes_a_forwarding_init_isnt_told_but_its_child_is() {
    for (init, caught) in [("dumb-init", u64::MAX), ("tini", 0)] {
        let mut world = shell(in_shell());
        world.node.exec(1001, init, 10_000);
        world.node.process_mut(1001).caught = caught;
        let child = world.node.fork(&uid(1), 1001, "app", world.now);
        world.node.process_mut(child).caught = 0;
        world.pass(10_000);
        assert_eq!(world.sends(), [], "{init} would hand it on to a child without a handler");
        world.node.process_mut(child).caught = HUP;
        world.pass(10_000);
        let told: Vec<u32> = world.sends().into_iter().map(|(_, pid)| pid).collect();
        assert_eq!(told, [child], "{init}");
    }
}

#[test]
fn a_shell_that_becomes_a_supervisor_is_not_told() {
    let mut world = shell(in_shell());
    world.node.exec(1001, "s6-svscan", 10_000);
    world.node.process_mut(1001).caught = u64::MAX;
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::NoProcess)]);
    assert_eq!(world.problems(), [Some(ProblemKind::Supervisor)]);
}

#[test]
fn a_shell_that_becomes_a_vm_that_catches_the_signal_in_order_to_end_is_told_once_it_has_booted() {
    let mut world = shell(in_shell());
    world.node.exec(1001, "ruby3.1", 60_000);
    world.node.process_mut(1001).caught = VM;
    world.pass(2_900);
    assert_eq!(world.sends(), []);
    world.pass(8_000);
    assert_eq!(world.sends().len(), 1);
}

#[test]
fn a_program_that_renames_itself_all_the_time_is_told_and_makes_nothing_loop() {
    for names in [["app one", "app two"], ["app", "tini"], ["app", "s6-svscan"]] {
        let mut world = World::app(&[]);
        world.publish(&config(), 2);
        for n in 3..40 {
            world.pass(2_000);
            world.publish(&config(), n);
            for turn in 0..40 {
                world.node.process_mut(1001).comm = names[turn % 2].into();
                world.pass(100);
            }
        }
        let told = world.sends().len();
        assert!(told > 5, "{names:?}: {told}");
        assert!(world.surveys() < 2_000, "{names:?}: {}", world.surveys());
    }
}

#[test]
fn one_that_was_told_by_its_name_is_told_when_it_has_another() {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/process", "puma")])]);
    let pid = world.node.fork(&uid(1), 1001, "ruby", STARTED);
    world.node.process_mut(pid).program = Some("puma".into());
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 2);
    world.pass(10_000);
    world.node.exec(pid, "ruby3.1", 60_000);
    world.node.process_mut(pid).caught = VM;
    world.node.process_mut(pid).program = None;
    world.pass(10_000);
    world.publish(&config(), 3);
    world.pass(5_000);
    let told: Vec<u32> = world.sends().into_iter().map(|(_, pid)| pid).collect();
    assert_eq!(told, [pid, pid]);
    assert!(world.sends()[0].0 < world.sends()[1].0 - ms(1));
}
