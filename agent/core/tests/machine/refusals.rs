//! Who is never told, what is said of it, and where a signal can't arrive.

use reloadlet_core::kernel::program::Nature;
use reloadlet_core::machine::event::Report;
use reloadlet_core::model::outcome::{Outcome, Verdict};
use reloadlet_core::model::signal::Signal;
use reloadlet_core::policy::problem::ProblemKind;
use reloadlet_core::{Action, Event};

use crate::node::{HUP, ProcessState, generation, uid};
use crate::world::{STARTED, World, app, config};

fn sentences(world: &World) -> Vec<String> {
    let said = |report: &Report| {
        if let Report::Problem(_, problem) = report { Some(problem.sentence.clone()) } else { None }
    };
    world.reports().filter_map(said).collect()
}

/// What is said of a change that such a process isn't told of.
fn said(annotations: &[(&str, &str)], change: impl Fn(&mut ProcessState)) -> String {
    let mut world = World::node(vec![app(1, annotations)]);
    change(world.node.process_mut(1001));
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    world.publish(&config(), 2);
    world.pass(20_000);
    assert_eq!(world.sends(), []);
    let said = sentences(&world);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].len() < 900, "it fits into an Event: {}", said[0]);
    assert!(said[0].contains("PID 1001") && said[0].contains("container app"), "{}", said[0]);
    said[0].clone()
}

#[test]
fn what_is_said_names_the_process_and_the_advice_fits_the_case() {
    let shell = said(&[], |process| (process.comm, process.caught) = ("sh".into(), 0));
    assert!(shell.contains("\"sh\"") && shell.contains("reloadlet.io/process"), "{shell}");
    assert!(!shell.contains("reloadlet.io/unhandled"), "it would tell the shell: {shell}");

    let ignores = said(&[], |process| (process.ignored, process.caught) = (HUP, 0));
    assert!(ignores.contains("\"app\"") && ignores.contains("ignores SIGHUP"), "{ignores}");
    assert!(!ignores.contains("reloadlet.io/unhandled"), "it would be dropped: {ignores}");

    let first = said(&[], |process| process.caught = 0);
    assert!(
        first.contains("app doesn't handle SIGHUP") && first.contains("the kernel drops SIGHUP"),
        "{first}"
    );
    let shared = said(&[], |process| (process.caught, process.namespace_pids) = (0, vec![1001, 9]));
    assert!(shared.contains("SIGHUP would end it"), "{shared}");

    let blocks = said(&[], |process| (process.caught, process.blocked, process.state) = (0, HUP, 'D'));
    assert!(blocks.contains("sigwait") || blocks.contains("signalfd"), "{blocks}");

    let hostile = said(&[], |process| (process.comm, process.caught) = ("a\n\u{202e}\"".into(), 0));
    assert!(hostile.contains("\"a\\n\\u{202e}\\\"\""), "{hostile}");
}

#[test]
fn of_a_shell_before_the_program_it_is_said_what_there_is_to_name() {
    let mut world = World::node(vec![app(1, &[])]);
    (world.node.process_mut(1001).comm, world.node.process_mut(1001).caught) = ("sh".into(), 0);
    world.node.fork(&uid(1), 1001, "server", STARTED);
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 2);
    world.pass(20_000);
    let said = sentences(&world).join(" ");
    assert!(
        said.contains(
            "name the program in reloadlet.io/process (beside it there are \"server\"), or have it"
        ),
        "{said}"
    );
}

#[test]
fn of_a_child_of_an_init_it_is_said_that_the_container_would_end_with_it() {
    let mut world = World::node(vec![app(1, &[])]);
    (world.node.process_mut(1001).comm, world.node.process_mut(1001).caught) = ("tini".into(), 0);
    let child = world.node.fork(&uid(1), 1001, "app", STARTED);
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 2);
    world.pass(20_000);
    let said = sentences(&world).join(" ");
    assert!(
        said.contains(&format!("PID {child}")) && said.contains("and with it \"tini\" and the container"),
        "{said}"
    );
}

#[test]
fn a_supervisor_is_a_problem_that_names_it_and_nothing_is_sent_to_it() {
    let mut world = World::node(vec![app(1, &[])]);
    world.node.process_mut(1001).comm = "supervisord".into();
    world.node.process_mut(1001).caught = u64::MAX;
    let program = world.node.fork(&uid(1), 1001, "app", STARTED);
    world.start_agent();
    world.pass(60_000);
    assert_eq!(world.problems(), [Some(ProblemKind::Supervisor)], "before there is a change");
    let said = sentences(&world).join(" ");
    assert!(said.contains("\"supervisord\" (PID 1001)") && said.contains("reloadlet.io/process"), "{said}");
    assert!(said.ends_with("beside it there are \"app\""), "{said}");
    let helper = world.node.fork(&uid(1), 1001, "helper", STARTED);
    world.publish(&config(), 2);
    assert_eq!(world.problems().len(), 1, "that other programs come and go is nothing new");
    world.exit(helper);
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::NoProcess)]);
    assert!(world.reloads()[0].reason.as_deref().unwrap().contains("supervisord"));
    assert_eq!(world.machine.poll_timeout(), None, "nothing is looked for without end");

    // Once somebody says who is meant, that one is told.
    let named = app(1, &[("reloadlet.io/process", "app")]);
    world.pods[0].spec.annotations = named.spec.annotations;
    world.sync();
    world.pass(60_000);
    world.publish(&config(), 3);
    let told: Vec<u32> = world.sends().into_iter().map(|(_, pid)| pid).collect();
    assert_eq!(told, [program]);
    assert_eq!(world.problems().last(), Some(&None));
}

#[test]
fn a_script_that_has_such_a_name_for_a_moment_is_no_problem() {
    let mut world = World::app(&[]);
    world.exit(1001);
    let pid = world.node.start(&uid(1), "app", world.now);
    world.node.process_mut(pid).comm = "init".into();
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(1_000);
    world.node.process_mut(pid).comm = "app".into();
    world.pass(60_000);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, pid)]);
    assert_eq!(world.problems(), []);
}

/// A process of this nature that has caught this signal all along.
fn with_nature(annotations: &[(&str, &str)], nature: Nature, signal: &str) -> World {
    let signal = ("reloadlet.io/signal", signal);
    let mut world = World::node(vec![app(1, &[&[signal][..], annotations].concat())]);
    let process = world.node.process_mut(1001);
    process.caught = 1 << (Signal::parse(signal.1).unwrap().number() - 1);
    process.nature = nature;
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    world.publish(&config(), 2);
    world
}

#[test]
fn a_signal_that_what_runs_the_program_takes_for_itself_isnt_sent_unless_that_is_asked_for() {
    for (nature, signal, who, does) in [
        (Nature::Node, "SIGUSR1", "Node.js", "debugger"),
        (Nature::Erlang, "SIGUSR1", "Erlang", "crash dump"),
        (Nature::Erlang, "SIGQUIT", "Erlang", "ends"),
        (Nature::Jvm, "SIGUSR2", "Java", "crashes"),
        (Nature::Jvm, "SIGQUIT", "Java", "prints"),
    ] {
        let mut world = with_nature(&[], nature, signal);
        world.pass(60_000);
        assert_eq!(world.sends(), [], "{who} {signal}");
        let said = sentences(&world).join(" ");
        for part in [who, does, signal, "PID 1001", "reloadlet.io/unhandled"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(said.len() < 900, "it fits into an Event: {said}");
        let world = with_nature(&[("reloadlet.io/unhandled", "send")], nature, signal);
        assert_eq!(world.sends(), [(world.now, 1001)]);
    }
    for (nature, signal) in [(Nature::Jvm, "SIGHUP"), (Nature::Node, "SIGUSR2"), (Nature::Jvm, "SIGUSR1")] {
        let world = with_nature(&[], nature, signal);
        assert_eq!(world.sends(), [(world.now, 1001)], "{nature:?} {signal}");
    }
    // Others are told of it at once, and looked at closely once.
    let mut world = with_nature(&[], Nature::Other, "SIGUSR1");
    assert_eq!(world.sends(), [(world.now, 1001)]);
    world.pass(60_000);
    world.publish(&config(), 3);
    assert_eq!(world.sends().len(), 2);
    let closely =
        world.actions.iter().filter(|(_, action)| matches!(action, Action::ReadClosely(..))).count();
    assert_eq!(closely, 0, "it was known before");
}

#[test]
fn a_script_of_the_same_name_that_becomes_a_program_that_takes_the_signal_for_itself_is_looked_at_anew() {
    let usr2 = ("reloadlet.io/signal", "SIGUSR2");
    let mut world = World::node(vec![app(1, &[usr2])]);
    world.node.process_mut(1001).caught = 1 << 11 | 1 << 5;
    world.start_agent();
    world.pass(60_000);
    world.node.exec(1001, "app", 50_000);
    let process = world.node.process_mut(1001);
    (process.caught, process.nature) = (1 << 11, Nature::Jvm);
    world.publish(&config(), 2);
    world.pass(60_000);
    assert_eq!(world.sends(), []);
}

/// A first process without a handler that is to be sent the signal all the same.
fn sent_all_the_same(change: impl Fn(&mut ProcessState)) -> World {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/unhandled", "send")])]);
    world.node.process_mut(1001).caught = 0;
    change(world.node.process_mut(1001));
    world.start_agent();
    world.pass(60_000);
    world.actions.clear();
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, 1001)]);
    world
}

#[test]
fn what_the_kernel_drops_is_not_delivered() {
    let ignored =
        |process: &mut ProcessState| (process.ignored, process.namespace_pids) = (HUP, vec![1001, 9]);
    for mut world in [sent_all_the_same(|_| ()), sent_all_the_same(ignored)] {
        world.pass(1_999);
        assert_eq!(world.outcomes(), []);
        world.pass(1);
        assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Unhandled)]);
        let reason = world.reloads()[0].reason.as_deref().unwrap();
        assert!(reason.starts_with("\"app\" (PID 1001): the kernel drops it"), "{reason}");
        assert_eq!(world.sends().len(), 1);
        world.pass(60_000);
        assert_eq!(world.machine.poll_timeout(), None);
        assert_eq!(world.verdicts(), [], "it has no verify window");
        assert!(world.journal.rereads.is_empty(), "it isn't one that was left unread");
        let status = &world.machine.status(world.now)[0].containers[0];
        assert_ne!(status.volumes[0].holds.as_deref(), Some(generation(2).as_str()));
    }
}

#[test]
fn one_that_has_no_handler_and_gets_what_the_kernel_drops_without_one_was_told_nothing() {
    let rt = "SIGRTMIN+3";
    let first = |process: &mut ProcessState| process.caught = 0;
    let other = |process: &mut ProcessState| (process.caught, process.namespace_pids) = (0, vec![1001, 9]);
    let case = |signal: &str, change: &dyn Fn(&mut ProcessState)| {
        let terms = [("reloadlet.io/signal", signal), ("reloadlet.io/unhandled", "send")];
        let mut world = World::node(vec![app(1, &terms)]);
        change(world.node.process_mut(1001));
        world.start_agent();
        world.pass(60_000);
        world.publish(&config(), 2);
        assert_eq!(world.sends(), [(world.now, 1001)], "{signal}");
        world.pass(60_000);
        let outcome = world.outcomes()[0].2;
        assert_eq!(world.verdicts().len(), usize::from(outcome == Outcome::Delivered), "{signal}");
        outcome
    };
    for signal in ["SIGWINCH", "SIGCONT", rt, "SIGHUP"] {
        assert_eq!(case(signal, &first), Outcome::Unhandled, "{signal}");
    }
    for signal in ["SIGWINCH", "SIGCONT"] {
        assert_eq!(case(signal, &other), Outcome::Unhandled, "{signal}");
    }
    assert_eq!(case(rt, &other), Outcome::Delivered, "it ends by it");
}

#[test]
fn one_of_several_that_ignores_the_signal_wasnt_told_whatever_the_others_open() {
    let terms = [("reloadlet.io/process", "worker"), ("reloadlet.io/unhandled", "send")];
    let mut world = World::node(vec![app(1, &terms)]);
    world.node.fork(&uid(1), 1001, "worker", STARTED);
    let ignores = |world: &mut World, started| {
        let pid = world.node.fork(&uid(1), 1001, "worker", started);
        (world.node.process_mut(pid).caught, world.node.process_mut(pid).ignored) = (0, HUP);
        pid
    };
    let mut ignoring = ignores(&mut world, STARTED);
    world.start_agent();
    world.pass(60_000);
    for n in 2..5 {
        world.publish(&config(), n);
        assert_eq!(world.outcomes().last(), Some(&("config", generation(n), Outcome::Unhandled)));
        assert!(
            world.reloads().last().unwrap().reason.as_deref().unwrap().contains("those of the processes")
        );
        world.pass(5);
        assert!(world.open(&config(), n));
        // The end of one that wasn't told is no consequence.
        let now = world.now;
        let next = ignores(&mut world, now);
        world.exit(std::mem::replace(&mut ignoring, next));
        world.pass(60_000);
    }
    assert_eq!(world.verdicts(), [Verdict::Reread; 3]);
}

#[test]
fn one_that_waits_in_sigwait_shows_no_handler_and_shows_by_its_reading_that_it_was_told() {
    let mut world = sent_all_the_same(|_| ());
    world.pass(5);
    assert!(world.open(&config(), 2));
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
    world.pass(60_000);
    assert_eq!(world.verdicts(), [Verdict::Reread]);
    assert_eq!(world.rereads().len(), 1);
}

#[test]
fn a_change_that_comes_while_it_isnt_known_whether_one_was_taken_is_told_after_it() {
    let mut world = sent_all_the_same(|_| ());
    world.pass(1_000);
    world.publish(&config(), 3);
    assert_eq!(world.sends().len(), 1);
    world.pass(60_000);
    assert_eq!(world.sends().len(), 2);
    assert_eq!(
        world.outcomes(),
        [("config", generation(2), Outcome::Unhandled), ("config", generation(3), Outcome::Unhandled)]
    );
}

#[test]
fn a_process_that_isnt_the_first_of_its_namespace_and_is_sent_all_the_same_was_told() {
    let world = sent_all_the_same(|process| process.namespace_pids = vec![1001, 9]);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn a_leftover_under_an_init_keeps_no_change_from_its_child() {
    let mut world = World::node(vec![app(1, &[])]);
    world.node.process_mut(1001).comm = "tini".into();
    let child = world.node.fork(&uid(1), 1001, "app", STARTED);
    world.start_agent();
    world.pass(60_000);
    world.node.fork(&uid(1), 1001, "sleep", world.now);
    for n in 2..5 {
        world.publish(&config(), n);
        assert_eq!(world.sends().last(), Some(&(world.now, child)));
        world.pass(60_000);
    }
}
