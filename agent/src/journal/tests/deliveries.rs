//! Last deliveries, in files of agents that record them and of those that don't.

use std::sync::Arc;

use redb::{Database, TableDefinition};
use reloadlet_core::model::journal::LastDelivery;
use reloadlet_core::model::mark::Mark;
use reloadlet_core::model::names::ContainerId;

use super::*;
use crate::journal::shared::PATIENCE;

const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");

fn delivery(at: u64, ended: bool) -> Arc<LastDelivery> {
    let nanos = Time::from_nanos;
    Arc::new(LastDelivery {
        at: nanos(at),
        until: nanos(at + 10),
        is_open: !ended,
        container: ContainerId::parse(&"a".repeat(64)).unwrap(),
        first: (7, nanos(1)),
        told: vec![(8, nanos(2)), (9, nanos(u64::MAX))],
        generations: [("config".into(), handled(2, None).generation)].into(),
        was_ready: ended,
        counts: true,
        ended: ended.then_some(((8, nanos(2)), nanos(at + 5))),
        mark: Mark::recorded(2, u64::MAX),
    })
}

fn record(journal: &Journal, pod: usize, delivery: Option<Arc<LastDelivery>>) {
    journal.handle.record(JournalUpdate::LastDelivery(uid(pod), "app".into(), delivery));
}

/// A file with a delivery of the first of these pods.
fn written() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::start(directory.path());
    assert!(!journal.opened().shows_deliveries);
    for (pod, at) in [(1, 100), (2, 200), (3, 300)] {
        record(&journal, pod, Some(delivery(at, false)));
    }
    journal.wait_until_flushed();
    record(&journal, 1, Some(delivery(100, true)));
    record(&journal, 2, None);
    journal.handle.record(JournalUpdate::Forget(uid(3)));
    assert!(journal.handle.close());
    directory
}

#[test]
fn the_last_delivery_is_there_after_a_restart_of_the_agent_and_not_after_a_boot() {
    let directory = written();
    let snapshot = Journal::start(directory.path()).opened();
    assert!(snapshot.existed && snapshot.shows_deliveries);
    assert_eq!(snapshot.deliveries, [((uid(1), "app".into()), delivery(100, true))].into());
    let snapshot = Journal::start_in_boot(directory.path(), "the next one").opened();
    assert!(snapshot.deliveries.is_empty());
}

#[test]
fn that_a_window_is_over_waits_for_other_records_but_not_for_long() {
    let over = Arc::new(LastDelivery { is_open: false, ..LastDelivery::clone(&delivery(100, false)) });
    // Without its thread nothing is written unless it is asked for.
    let handle = JournalHandle { shared: Arc::default() };
    let record = |delivery: &Arc<LastDelivery>| {
        handle.record(JournalUpdate::LastDelivery(uid(1), "app".into(), Some(delivery.clone())));
    };
    let due = || handle.shared.lock().due;
    let written = || {
        let work = handle.shared.next(Instant::now() + LIMIT);
        assert!(matches!(&work, Work::Keep { changes, .. } if changes.deliveries.len() == 1));
        assert_eq!(due(), None);
    };

    let begun = Instant::now();
    record(&over);
    let first = due().unwrap();
    assert!(first >= begun + PATIENCE && first <= Instant::now() + PATIENCE);
    record(&over);
    assert_eq!(due(), Some(first), "those that come later don't put it off");
    written();
    assert!(begun.elapsed() >= PATIENCE);

    record(&over);
    record(&delivery(200, false));
    assert!(due().unwrap() <= Instant::now(), "a delivery waits for nobody");
    written();
    record(&over);
    record(&delivery(200, true));
    assert!(due().unwrap() <= Instant::now(), "nor does an ending");
    written();
    record(&over);
    assert!(!handle.is_flushed());
    assert!(due().unwrap() <= Instant::now(), "nor does who asks");
    written();
    record(&over);
    handle.shared.lock().closing = true;
    written();
    assert!(matches!(handle.shared.next(Instant::now() + LIMIT), Work::End));
}

#[test]
fn deliveries_of_another_boot_that_an_earlier_agent_has_left_there_are_nothing() {
    for marked in [false, true] {
        let directory = written();
        let database = Database::create(directory.path().join("journal.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            // What such an agent does after a boot.
            let mut meta = transaction.open_table(META).unwrap();
            meta.insert("boot_id", "the next one").unwrap();
            if !marked {
                meta.remove("deliveries_boot_id").unwrap();
            }
        }
        transaction.commit().unwrap();
        drop(database);
        for is_next in [false, true] {
            let snapshot = Journal::start_in_boot(directory.path(), "the next one").opened();
            assert!(snapshot.existed && snapshot.deliveries.is_empty());
            assert_eq!(snapshot.shows_deliveries, is_next, "one that records them has run meanwhile");
        }
    }
}

#[test]
fn a_delivery_that_only_a_later_version_can_read_is_left_out() {
    const DELIVERIES: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("last_deliveries");
    let directory = written();
    let database = Database::create(directory.path().join("journal.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(DELIVERIES).unwrap();
        table.insert((uid(5).as_str(), "app"), &br#"{"at": "later"}"#[..]).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let snapshot = Journal::start(directory.path()).opened();
    assert_eq!(snapshot.deliveries.keys().map(|(pod, _)| pod.clone()).collect::<Vec<_>>(), [uid(1)]);
}

#[test]
fn an_agent_that_ended_in_order_has_recorded_everything_and_one_that_was_killed_may_not_have() {
    let directory = written();
    let killed = tempfile::tempdir().unwrap();
    let journal = Journal::start(directory.path());
    assert!(journal.opened().is_whole);
    record(&journal, 1, None);
    journal.wait_until_flushed();
    fs::copy(directory.path().join("journal.redb"), killed.path().join("journal.redb")).unwrap();
    assert!(journal.handle.close());
    drop(journal);
    assert!(!Journal::start(killed.path()).opened().is_whole);
    assert!(Journal::start(directory.path()).opened().is_whole);
    assert!(Journal::start(directory.path()).opened().is_whole, "it has ended as well");
}

#[test]
fn an_earlier_agent_that_was_killed_may_not_have_recorded_everything() {
    let directory = written();
    let database = Database::create(directory.path().join("journal.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    // What such an agent writes with each record.
    transaction.open_table(META).unwrap().insert("clock", "later").unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(!Journal::start(directory.path()).opened().is_whole);
}
