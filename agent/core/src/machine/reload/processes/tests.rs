//! Who stands for a container, and what stays known of those who did.

use std::time::Duration;

use super::*;
use crate::machine::reload::testing::{identity as process, reading};

const HUP: u64 = 1;
const USR1: u64 = 1 << 9;

fn at(seconds: u64) -> Time {
    Time::since_boot(Duration::from_secs(seconds))
}

/// A container with this first process, of which these are told.
fn chosen(first: u32, told: &[u32]) -> Chosen {
    Chosen::new(process(first), told.iter().copied().map(process), false, None, at(0))
}

fn found(first: u32, told: &[u32]) -> Processes {
    let mut processes = Processes::default();
    processes.found(chosen(first, told));
    processes
}

#[test]
fn the_first_process_is_held_once_also_where_it_is_told_or_another_one_is() {
    assert_eq!(found(1, &[1]).all(), [process(1)]);
    assert_eq!(found(1, &[2, 3]).all(), [process(2), process(3), process(1)]);
}

#[test]
fn a_container_is_held_once_its_first_process_and_all_that_are_told_are() {
    for (holds, are_held) in [(&[1][..], false), (&[2, 3], false), (&[1, 2], false), (&[1, 2, 3], true)] {
        let mut processes = found(1, &[2, 3]);
        holds.iter().for_each(|pid| processes.held(&process(*pid)));
        assert_eq!(processes.are_held(), are_held, "{holds:?}");
    }
}

#[test]
fn another_first_process_isnt_held_because_the_one_before_was() {
    let mut processes = found(1, &[2]);
    processes.held(&process(1));
    processes.held(&process(2));
    let turnover = processes.found(chosen(3, &[2]));
    assert_eq!((turnover.release, turnover.hold), (vec![process(1)], vec![process(3)]));
    assert!(!processes.are_held());
    processes.found(chosen(3, &[2]));
    assert!(!processes.are_held(), "it is held as little as before");
    processes.held(&process(3));
    assert!(processes.are_held());
}

#[test]
fn a_container_hangs_on_its_first_process_and_on_those_that_are_told_and_on_no_other() {
    for told in [1, 2] {
        let processes = found(1, &[told]);
        assert!(processes.hang_on(&process(1)) && processes.hang_on(&process(told)));
        assert!(!processes.hang_on(&process(3)), "{told}");
    }
}

#[test]
fn nothing_is_remembered_of_whoever_has_ended_or_wasnt_found_for_a_minute() {
    let mut processes = Processes::default();
    processes.restore_told([1, 2].map(process).into_iter());
    processes.ended(&process(1));
    assert!(!processes.was_told(&process(1)) && processes.was_told(&process(2)));
    processes.surveyed(|_| false, at(10));
    assert!(processes.was_told(&process(2)));
    processes.surveyed(|_| false, at(70));
    assert!(!processes.was_told(&process(2)));
}

#[test]
fn with_another_signal_it_is_known_still_who_was_told_but_not_what_they_do_with_it() {
    let mut processes = found(1, &[1]);
    processes.held(&process(1));
    processes.guarded(&process(1), &reading(HUP, 0, at(10)), Signal::HUP, None, at(10));
    processes.were_sent([process(1)].iter(), at(10));
    processes.forget();
    let mut processes = processes.remembered().for_another_signal();
    assert!(processes.was_told(&process(1)));
    processes.found(chosen(1, &[1]));
    processes.held(&process(1));
    processes.guarded(&process(1), &reading(HUP, USR1, at(20)), Signal::USR1, None, at(20));
    let handling = processes.chosen().unwrap().told()[0].last_handling();
    assert_eq!(handling, Some(Handling::Blocked), "it was never seen to catch this one");
}

#[test]
fn what_an_agent_before_may_have_told_was_executed_anew_as_far_as_is_known_also_under_another_plan() {
    let mut processes = Processes::default();
    processes.begin_unseen(at(10));
    let mut processes = processes.remembered();
    processes.found(chosen(1, &[1]));
    assert!(processes.were_renewed_since(at(10)) && !processes.were_renewed_since(at(11)));
    processes.end_unseen();
    assert!(!processes.were_renewed_since(at(0)), "it turns out that it wasn't told");
}
