//! What containers took at their start, in files of agents that record it and of those that don't.

use std::sync::Arc;

use redb::{Database, ReadableTable as _, TableDefinition};
use reloadlet_core::model::frozen::{Holds, PiecesMark, Remembered, Way};
use reloadlet_core::model::object::{ObjectKind, ObjectRef};

use super::*;

fn known(holds: Holds) -> Arc<Vec<Remembered>> {
    let of = |way, kind| Remembered {
        container: "app".into(),
        way,
        object: ObjectRef { kind, namespace: "shop".into(), name: "levels".into() },
        pieces: PiecesMark::recorded(1, u64::MAX - way as u64),
        started: Time::from_nanos(u64::MAX),
        version: (holds != Holds::Nothing).then(|| "12".into()),
        holds,
        brought: (holds != Holds::Nothing).then(|| "11".into()),
        is_news: holds == Holds::Unknown,
    };
    Arc::new(vec![of(Way::Environment, ObjectKind::ConfigMap), of(Way::Init, ObjectKind::Secret)])
}

fn record(journal: &Journal, pod: usize, known: Arc<Vec<Remembered>>) {
    journal.handle.record(JournalUpdate::Frozen(uid(pod), known));
}

#[test]
fn what_was_taken_is_known_after_a_restart_of_the_agent_and_not_after_a_boot() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::start(directory.path());
    assert!(journal.opened().frozen.is_empty());
    (1..6).for_each(|pod| record(&journal, pod, known(Holds::Same)));
    journal.wait_until_flushed();
    record(&journal, 2, known(Holds::Other(Time::from_nanos(7))));
    record(&journal, 3, known(Holds::Unknown));
    record(&journal, 4, known(Holds::Nothing));
    record(&journal, 5, Arc::default());
    record(&journal, 6, known(Holds::Same));
    journal.handle.record(JournalUpdate::Forget(uid(6)));
    assert!(journal.handle.close());
    let snapshot = Journal::start(directory.path()).opened();
    let expected = [Holds::Same, Holds::Other(Time::from_nanos(7)), Holds::Unknown, Holds::Nothing];
    let expected = expected.into_iter().zip(1..).map(|(holds, pod)| (uid(pod), known(holds)));
    assert_eq!(snapshot.frozen, expected.collect());
    let snapshot = Journal::start_in_boot(directory.path(), "the next one").opened();
    assert!(snapshot.frozen.is_empty());
}

#[test]
fn that_only_this_is_known_is_no_sign_that_volumes_were() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::start(directory.path());
    assert!(!journal.opened().existed);
    record(&journal, 1, known(Holds::Same));
    assert!(journal.handle.close());
    assert!(!Journal::start(directory.path()).opened().existed);
}

#[test]
fn what_is_recorded_without_its_pieces_is_known_of_none() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::start(directory.path());
    record(&journal, 1, known(Holds::Same));
    record(&journal, 2, known(Holds::Same));
    assert!(journal.handle.close());
    rewrite(directory.path(), uid(1).as_str(), |record| drop(record.remove("pieces").unwrap()));
    rewrite(directory.path(), uid(2).as_str(), |record| {
        record.insert("pieces".to_owned(), serde_json::json!([9, 1]));
    });
    let snapshot = Journal::start(directory.path()).opened();
    assert_eq!(snapshot.frozen.get(&uid(1)), Some(&Arc::default()));
    let marks = snapshot.frozen[&uid(2)].iter().map(|known| known.pieces);
    assert_eq!(marks.collect::<Vec<_>>(), [PiecesMark::recorded(9, 1); 2], "whoever knows the way takes it");
}

/// Changes each record of a pod in the file.
fn rewrite(directory: &Path, pod: &str, change: fn(&mut serde_json::Map<String, serde_json::Value>)) {
    let table: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("frozen");
    let database = Database::create(directory.join("journal.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(table).unwrap();
        let json = table.get(pod).unwrap().unwrap().value().to_vec();
        let mut records: Vec<serde_json::Map<_, _>> = serde_json::from_slice(&json).unwrap();
        records.iter_mut().for_each(change);
        table.insert(pod, &*serde_json::to_vec(&records).unwrap()).unwrap();
    }
    transaction.commit().unwrap();
}
