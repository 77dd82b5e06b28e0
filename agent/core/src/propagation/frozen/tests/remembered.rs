//! What is known where the agent hasn't seen all: after its restart, of an object that comes later, and where an owner wants quiet.

use super::*;

/// What the API server shows: a version of that number, written then.
fn numbered(number: u64, written: u64, content: u8, other: u8) -> Observed {
    let keys = [("level", content), ("other", other)];
    let Observed::Version(shown) = version(Some(written), &keys) else { panic!() };
    let number = number.to_string();
    Observed::Version(Arc::new(ObjectVersion { version: number.as_str().into(), ..(*shown).clone() }))
}

fn level() -> Frozen {
    frozen(Part::Key("level".into()))
}

/// The next agent's, which knows what the one before has recorded, and looks at the object for the first time.
fn restarted(before: &Frozen, shown: &Observed) -> Frozen {
    let mut next = level();
    let known = before.remembered().unwrap();
    assert!(next.is_of(&known));
    next.restore(known.clone());
    assert_eq!(next.remembered(), Some(known), "nothing is lost until the object was seen");
    next.observed(shown, at(1_000));
    next.started(at(50));
    next
}

#[test]
fn a_change_of_another_key_makes_nothing_stale_after_a_restart_of_the_agent() {
    let mut before = level();
    before.observed(&numbered(1, 10, 1, 1), at(20));
    before.started(at(50));
    before.observed(&numbered(2, 100, 1, 2), at(100));
    assert_eq!(before.difference(), None);
    let shown = numbered(2, 100, 1, 2);
    assert_eq!(restarted(&before, &shown).difference(), None);
    // Without what the one before knew it can't be told.
    let mut alone = level();
    alone.observed(&shown, at(1_000));
    alone.started(at(50));
    assert_eq!((certain(&alone), unsure(&alone), alone.take_unsaid()), (None, Some(at(100)), None));
}

#[test]
fn a_change_back_makes_nothing_stale_after_a_restart_of_the_agent_and_the_next_one_does() {
    let mut before = level();
    before.observed(&numbered(1, 10, 1, 1), at(20));
    before.started(at(50));
    before.observed(&numbered(2, 100, 2, 1), at(100));
    before.observed(&numbered(3, 110, 1, 1), at(110));
    let mut next = restarted(&before, &numbered(3, 110, 1, 1));
    assert_eq!(next.difference(), None);
    next.observed(&numbered(4, 1_100, 3, 1), at(1_100));
    assert_eq!(certain(&next), Some(at(1_100)));
}

#[test]
fn what_is_stale_is_so_since_then_after_a_restart_of_the_agent_and_is_said_of_the_same_version() {
    let mut before = level();
    before.observed(&numbered(1, 10, 1, 1), at(20));
    before.started(at(50));
    before.observed(&numbered(2, 100, 2, 1), at(100));
    let said = before.take_unsaid();
    assert_eq!(said, Some(Unsaid { version: "2".into(), is_certain: true }));
    before.observed(&numbered(3, 110, 2, 2), at(110));
    let mut next = restarted(&before, &numbered(3, 110, 2, 2));
    assert_eq!((certain(&next), next.take_unsaid()), (Some(at(100)), said), "it may not have been heard");
    // Of another process nothing was known: this one may have had it from its start, or not.
    let mut other = level();
    other.restore(before.remembered().unwrap());
    other.observed(&numbered(3, 110, 2, 2), at(1_000));
    other.started(at(500));
    assert_eq!(other.difference(), None);
    // Once more restarted.
    let mut last = restarted(&next, &numbered(3, 110, 2, 2));
    assert_eq!(certain(&last), Some(at(100)));
    last.observed(&numbered(4, 1_100, 1, 2), at(1_100));
    assert_eq!((certain(&last), unsure(&last)), (None, Some(at(1_100))), "it may be what it was");
    next.observed(&numbered(4, 1_100, 3, 2), at(1_100));
    assert_eq!(next.take_unsaid().map(|unsaid| unsaid.is_certain), Some(false));
}

#[test]
fn a_change_while_no_agent_ran_is_said_for_what_it_is() {
    let mut before = level();
    before.observed(&numbered(1, 10, 1, 1), at(20));
    before.started(at(50));
    let mut next = restarted(&before, &numbered(2, 100, 2, 1));
    assert_eq!((certain(&next), unsure(&next)), (None, Some(at(100))));
    let said = Unsaid { version: "2".into(), is_certain: false };
    assert_eq!((next.take_unsaid(), next.take_unsaid()), (Some(said.clone()), None));
    let mut last = restarted(&next, &numbered(2, 100, 2, 1));
    assert_eq!((unsure(&last), last.take_unsaid()), (Some(at(100)), Some(said)));
}

#[test]
fn what_comes_after_a_start_without_it_is_stale_after_a_restart_of_the_agent_too() {
    let mut before = level();
    before.observed(&Observed::Absent, at(10));
    before.started(at(50));
    assert_eq!(restarted(&before, &Observed::Absent).difference(), None);
    let mut late = restarted(&before, &numbered(1, 100, 1, 1));
    assert_eq!(certain(&late), Some(at(100)), "it came while no agent ran");
    assert!(late.take_unsaid().unwrap().is_certain);
    before.observed(&numbered(1, 100, 1, 1), at(100));
    assert_eq!(certain(&restarted(&before, &numbered(1, 100, 1, 1))), Some(at(100)));
}

#[test]
fn what_comes_after_a_start_just_at_the_first_look_may_be_missing() {
    let mut level = level();
    level.observed(&Observed::Absent, at(50));
    level.started(at(50));
    assert_eq!(level.difference(), None);
    level.observed(&numbered(1, 100, 1, 1), at(101));
    assert_eq!((certain(&level), unsure(&level)), (None, Some(at(101))));
    assert_eq!(level.take_unsaid(), Some(Unsaid { version: "1".into(), is_certain: false }));
}

#[test]
fn an_object_that_comes_back_as_it_was_is_missing_where_the_container_started_without_it() {
    let mut level = level();
    level.observed(&numbered(1, 10, 1, 1), at(20));
    level.observed(&Observed::Absent, at(30));
    level.started(at(50));
    level.observed(&numbered(2, 100, 1, 1), at(100));
    assert_eq!(certain(&level), Some(at(100)));
}

#[test]
fn an_object_that_is_to_trigger_nothing_makes_nothing_stale_as_long_as_that_stands() {
    let ignored = |shown: &Observed, ignored| {
        let Observed::Version(shown) = shown else { panic!() };
        Observed::Version(Arc::new(ObjectVersion { ignored, ..(**shown).clone() }))
    };
    let mut level = level();
    level.observed(&ignored(&numbered(1, 10, 1, 1), true), at(20));
    level.started(at(50));
    level.observed(&ignored(&numbered(2, 100, 2, 1), true), at(100));
    assert_eq!((level.difference(), level.take_unsaid()), (None, None));
    level.observed(&ignored(&numbered(3, 110, 2, 1), false), at(110));
    assert_eq!(certain(&level), Some(at(100)));
    assert!(level.take_unsaid().is_some());
    level.observed(&ignored(&numbered(4, 120, 2, 1), true), at(120));
    assert_eq!(level.difference(), None);
}
