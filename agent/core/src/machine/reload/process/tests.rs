//! What a process's masks come to.

use super::*;
use crate::kernel::procfs::{SignalSet, Status};
use crate::model::names::{ContainerId, PodUid};

fn at(millis: u64) -> Time {
    Time::since_boot(Duration::from_millis(millis))
}

fn process() -> Process {
    let pod = PodUid::parse("00000001").unwrap();
    let container = ContainerId::parse(&"a".repeat(64)).unwrap();
    let mut process =
        Process::new(ProcessIdentity { pid: 7, started: at(0), pod, container }, Face::default());
    process.hold();
    process
}

fn reading(caught: u64, blocked: u64, now: Time) -> GuardReading {
    let status = Status { comm: "app".to_owned(), caught: SignalSet::from_bits(caught), ..Status::default() };
    let reading = GuardReading::new(status, SignalSet::from_bits(blocked), now);
    GuardReading { made: now, complete: true, ..reading }
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
