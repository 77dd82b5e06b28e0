//! Two agents of one directory.

use super::*;

#[test]
fn a_second_agent_waits_until_the_first_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let first = Journal::start(directory.path());
    first.opened();
    first.handle.record(JournalUpdate::Handled(key(1), handled(1, None)));
    let second = Journal::start(directory.path());
    assert!(second.events.recv_timeout(LOCK_INTERVAL * 2).is_err(), "it opened a locked journal");
    let third = Journal::start(directory.path());
    let asked = Instant::now();
    assert!(third.handle.close(), "nothing is left unwritten");
    assert!(asked.elapsed() < LOCK_INTERVAL * 5, "waiting for the lock doesn't hold up the end");
    assert!(
        third.events.recv_timeout(LIMIT).is_err(),
        "an agent that ends while it waits has seen no journal"
    );
    assert_eq!(second.event(), JournalEvent::Held(true));
    assert!(first.handle.close());
    assert_eq!(second.event(), JournalEvent::Held(false));
    assert_eq!(second.opened().handled, [(key(1), handled(1, None))].into());
}

#[test]
fn another_agent_that_took_the_place_of_the_directory_is_said() {
    let whole = tempfile::tempdir().unwrap();
    let directory = whole.path().join("state");
    let first = Journal::start(&directory);
    first.opened();
    fs::rename(&directory, whole.path().join("old")).unwrap();
    let second = Journal::start(&directory);
    second.opened();
    // It looks for its file at its end.
    first.handle.close();
    assert_eq!(first.event(), JournalEvent::InMemory(true));
    assert_eq!(first.event(), JournalEvent::Held(true));
}
