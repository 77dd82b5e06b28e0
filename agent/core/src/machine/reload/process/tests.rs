//! What a process's masks come to.

use super::*;
use crate::machine::reload::testing::{identity, reading};

fn at(millis: u64) -> Time {
    Time::since_boot(Duration::from_millis(millis))
}

fn process() -> Process {
    let mut process = Process::new(identity(7), Face::default());
    process.hold();
    process
}

#[test]
fn no_look_stays_due_whatever_is_read_after_a_reading_that_shows_the_signal_blocked() {
    let hup = 1;
    for (caught, blocked, state, complete) in [
        (hup, 0, 'S', true),
        (hup, hup, 'S', true),
        (0, hup, 'D', true),
        (0, 0, 'S', false),
        (0, 0, 'S', true),
    ] {
        let mut process = process();
        assert!(process.take_look(at(3_000)));
        process.guarded(&reading(0, hup, at(3_000)), Signal::HUP, None, at(3_000));
        let mut now = at(3_000);
        for looks in 0.. {
            let Some(due) = process.look_due() else { break };
            assert!(due > now, "due at {due:?}, at {now:?}: {caught} {blocked} {state}");
            now = due;
            if looks > 100 || now > at(100_000) {
                break;
            }
            assert!(process.take_look(now));
            let next = GuardReading { state, complete, ..reading(caught, blocked, now) };
            process.guarded(&next, Signal::HUP, None, now);
        }
    }
}

#[test]
fn no_look_stays_due_where_it_turns_out_that_what_runs_the_program_takes_the_signal() {
    let (usr2, signal) = (1 << 11, Signal::USR2);
    let mut process = process();
    assert!(process.take_look(at(3_000)));
    process.guarded(&reading(0, 0, at(3_000)), signal, None, at(3_000));
    let close = |nature, now| GuardReading { nature: Some(nature), ..reading(usr2, 0, now) };
    process.guarded(&close(Nature::Other, at(3_100)), signal, None, at(3_100));
    let due = process.look_due().unwrap();
    assert!(process.take_look(due));
    process.guarded(&close(Nature::Jvm, due), signal, None, due);
    assert!(process.look_due().is_none_or(|next| next > due), "{:?}", process.look_due());
}

#[test]
fn of_masks_that_arent_known_it_isnt_said_that_the_kernel_drops_a_signal() {
    let mut process = process();
    process.face.is_first = true;
    for (complete, drops) in [(true, true), (false, false)] {
        let seen = GuardReading { complete, ..reading(0, 0, at(5_000)) };
        process.guarded(&seen, Signal::HUP, None, at(5_000));
        assert_eq!(process.may_drop(Signal::HUP), drops, "{complete}");
    }
}

#[test]
fn masks_from_before_a_delivery_and_old_ones_decide_nothing() {
    let mut process = process();
    process.guarded(&reading(1, 0, at(5_000)), Signal::HUP, None, at(5_000));
    assert_eq!(process.guard(at(5_000), 1, at(5_054)), Some(Handling::Handled));
    assert_eq!(process.guard(at(5_000), 1, at(5_055)), None);
    assert_eq!(process.guard(at(5_000), 250, at(6_050)), Some(Handling::Handled), "many take their time");
    assert_eq!(process.guard(at(5_001), 1, at(5_002)), None);
    process.told(at(5_002));
    assert_eq!(process.guard(at(0), 1, at(5_002)), None);
}

#[test]
fn what_is_known_of_one_signal_says_nothing_of_another() {
    let mut process = process();
    let close = GuardReading {
        nature: Some(Nature::Other),
        most_memory: Some(1),
        ..reading(1 << 9 | 1, 0, at(5_000))
    };
    process.guarded(&close, Signal::HUP, None, at(5_000));
    let mut other = process.released().for_another_signal();
    assert!(!other.catches);
    let usr1 = reading(1 << 9 | 1, 0, at(6_000));
    assert_eq!(
        other.guarded(&usr1, Signal::USR1, None, at(6_000)),
        Taken::InDoubt,
        "what runs it may take it for itself"
    );
}

#[test]
fn nothing_that_was_read_of_a_process_counts_once_it_was_let_go_of() {
    let mut process = process();
    process.guarded(&reading(1, 0, at(5_000)), Signal::HUP, None, at(5_000));
    process.ask(at(5_001));
    assert!(process.is_held() && process.is_asked(at(5_001)) && !process.is_asked(at(5_002)));
    let released = process.released();
    assert!(!released.is_held() && !released.is_asked(at(0)));
    assert_eq!(released.guard(at(0), 1, at(5_001)), None);
}

#[test]
fn a_process_that_is_chosen_anew_looks_as_it_does_then() {
    let face = Face { comm: "app".to_owned(), is_first: true, ..Face::default() };
    assert_eq!(*process().chosen_anew(face.clone()).face(), face);
}

#[test]
fn only_of_a_process_that_is_older_than_the_agent_something_went_unseen() {
    assert_eq!(process().unseen(Some(at(0))).renewed(), None);
    let mut unseen = process().unseen(Some(at(1)));
    assert_eq!(unseen.renewed(), Some(at(1)));
    unseen.end_unseen();
    assert_eq!(unseen.renewed(), None);
}

#[test]
fn the_kind_of_program_that_runs_is_said_only_where_it_isnt_the_one_that_was_chosen() {
    for (chosen, runs, kind) in [
        ("app", "app", None),
        ("app", "worker", None),
        ("app", "tini", Some(Kind::Wrapper)),
        ("app", "s6-svscan", Some(Kind::Supervisor)),
        ("tini", "app", Some(Kind::Other)),
        ("", "tini", None),
    ] {
        let mut process = process().chosen_anew(Face { comm: chosen.to_owned(), ..Face::default() });
        assert_eq!(process.other_kind(), None);
        let read = GuardReading { comm: runs.to_owned(), ..reading(1, 0, at(5_000)) };
        process.guarded(&read, Signal::HUP, None, at(5_000));
        assert_eq!(process.other_kind(), kind, "{chosen} {runs}");
    }
}

#[test]
fn after_a_delivery_a_process_is_looked_at_with_growing_pauses_and_not_for_ever() {
    let mut process = process();
    process.told(at(10_000));
    let mut looks = Vec::new();
    while let Some(due) = process.look_due().filter(|_| looks.len() < 10) {
        assert!(!process.take_look(due - Duration::from_millis(1)) && process.take_look(due));
        looks.push(due);
        process.guarded(&reading(1, 0, due), Signal::HUP, None, due);
    }
    assert_eq!(looks, [10_250, 10_750, 11_750, 13_750, 17_750, 25_750].map(at));
}

#[test]
fn a_program_that_catches_the_signal_is_looked_at_once_and_an_entry_point_again_until_it_is_one() {
    let seen = |comm: &str, caught: u64, now| GuardReading { comm: comm.into(), ..reading(caught, 0, now) };
    let after = |comm: &str, caught: u64, now: Time| {
        let mut process = process();
        assert!(process.take_look(now));
        process.guarded(&seen(comm, caught, now), Signal::HUP, None, now);
        process
    };
    assert_eq!(after("nginx", 1, at(3_000)).look_due(), None);
    let mut entry = after("sh", 1, at(3_000));
    assert_eq!(entry.look_due(), Some(at(5_000)));
    assert!(entry.take_look(at(5_000)));
    entry.guarded(&seen("nginx", 1, at(5_000)), Signal::HUP, None, at(5_000));
    assert_eq!(entry.look_due(), None);
    assert_eq!(after("nginx", 0, at(3_000)).look_due(), Some(at(5_000)));
    let mut told = after("nginx", 1, at(3_000));
    told.told(at(4_000));
    assert!(told.take_look(at(4_250)));
    told.guarded(&seen("nginx", 1, at(4_250)), Signal::HUP, None, at(4_250));
    assert_eq!(told.look_due(), Some(at(4_750)), "whoever was told may execute itself anew");
}

#[test]
fn what_runs_a_young_process_is_looked_at_again_when_it_is_grown() {
    let close = |now| GuardReading { nature: Some(Nature::Other), ..reading(1 << 11, 0, now) };
    for (seen, taken) in [(2_999, Taken::InDoubt), (3_000, Taken::Known)] {
        let mut process = process();
        process.guarded(&close(at(seen)), Signal::USR2, None, at(seen));
        let later = reading(1 << 11, 0, at(4_000));
        assert_eq!(process.guarded(&later, Signal::USR2, None, at(4_000)), taken, "{seen}");
    }
}

#[test]
fn one_that_has_executed_itself_anew_is_looked_at_closely_only_where_the_signal_may_do_harm() {
    let (usr1, usr2) = (1 << 9, 1 << 11);
    for (signal, taken) in [(Signal::USR2, Taken::InDoubt), (Signal::HUP, Taken::Known)] {
        let mut process = process();
        let close = GuardReading { nature: Some(Nature::Other), ..reading(usr1 | usr2 | 1, 0, at(5_000)) };
        assert_eq!(process.guarded(&close, signal, None, at(5_000)), Taken::Known);
        // It has lost a handler.
        let later = reading(usr2 | 1, 0, at(6_000));
        assert_eq!(process.guarded(&later, signal, None, at(6_000)), taken, "{signal:?}");
    }
}

/// Reads the same whenever that is due, and says what it came to each time that it was proven that the signal is taken.
fn proofs(process: &mut Process, caught: u64, blocked: u64, from: Time) -> Vec<Option<Handling>> {
    let mut now = from;
    let mut proofs = Vec::new();
    for _ in 1..40 {
        process.take_look(now);
        let taken = process.guarded(&reading(caught, blocked, now), Signal::HUP, None, now);
        if taken == Taken::Proven {
            proofs.push(process.last_handling());
        }
        now = process.look_due().unwrap_or(now + Duration::from_secs(10));
    }
    proofs
}

#[test]
fn it_is_proven_once_that_a_signal_which_is_blocked_or_was_unhandled_before_is_taken() {
    let handled = Some(Handling::Handled);
    let mut blocks = process();
    assert_eq!(proofs(&mut blocks, 0, 1, at(5_000)), [handled]);
    let mut catches = process();
    assert_eq!(proofs(&mut catches, 1, 0, at(5_000)), [], "it was never seen otherwise");
    catches.guarded(&reading(0, 0, at(500_000)), Signal::HUP, None, at(500_000));
    assert_eq!(proofs(&mut catches, 1, 0, at(501_000)), [handled]);
}

#[test]
fn what_was_proven_of_one_signal_is_to_be_proven_anew_of_another() {
    let usr1 = 1 << 9;
    let mut blocks = process();
    proofs(&mut blocks, 0, 1 | usr1, at(5_000));
    assert_eq!(blocks.last_handling(), Some(Handling::Handled));
    let mut other = blocks.for_another_signal();
    other.guarded(&reading(0, 1 | usr1, at(900_000)), Signal::USR1, None, at(900_000));
    assert_eq!(other.last_handling(), Some(Handling::Blocked));

    let mut catches = process();
    catches.guarded(&reading(usr1, 0, at(5_000)), Signal::HUP, None, at(5_000));
    let hup = reading(1 | usr1, 0, at(6_000));
    catches.guarded(&hup, Signal::HUP, None, at(6_000));
    assert_eq!(catches.last_handling(), Some(Handling::Fleeting));
    let mut other = catches.for_another_signal();
    let usr1 = GuardReading { nature: Some(Nature::Other), ..reading(1 | usr1, 0, at(7_000)) };
    other.guarded(&usr1, Signal::USR1, None, at(7_000));
    assert_eq!(other.last_handling(), Some(Handling::Handled), "this one has always been caught");
}
