//! Files of earlier agents: of those whose marks of annotations had no version, and of those that knew nothing of what is held.

use redb::{Database, TableDefinition};
use reloadlet_core::model::mark::Mark;

use super::*;

const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
const HANDLED: TableDefinition<'_, (&str, &str, &str), (&str, &str, u64)> = TableDefinition::new("handled");
const ENDINGS: TableDefinition<'_, (&str, &str), (u8, u64, u64)> = TableDefinition::new("endings");
const PODS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("pods");

/// A file as such an agent leaves it, with these pods' endings.
fn write_earlier(directory: &Path, endings: &[(usize, u64, u64)]) {
    let database = Database::create(directory.join("journal.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut meta = transaction.open_table(META).unwrap();
        for (key, value) in [("schema", "2"), ("boot_id", "this boot"), ("begun", "")] {
            meta.insert(key, value).unwrap();
        }
        transaction.open_table(HANDLED).unwrap();
        transaction.open_table(PODS).unwrap();
        let mut table = transaction.open_table(ENDINGS).unwrap();
        for (pod, mark, at) in endings {
            table.insert((uid(*pod).as_str(), "app"), (2, *mark, *at)).unwrap();
        }
    }
    transaction.commit().unwrap();
}

fn endings(mark: Mark) -> Endings {
    Endings { in_a_row: 2, mark }
}

fn found(snapshot: &JournalSnapshot) -> Vec<(PodUid, Mark)> {
    snapshot.endings.iter().map(|((pod, _), endings)| (pod.clone(), endings.mark)).collect()
}

#[test]
fn what_an_earlier_agent_recorded_of_endings_is_read_and_replaced_and_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    write_earlier(directory.path(), &[(1, 7, 100), (2, 8, 100), (3, 9, 100), (4, 10, 100)]);
    let journal = Journal::start(directory.path());
    let earlier =
        [(1, 7), (2, 8), (3, 9), (4, 10)].map(|(pod, mark)| (uid(pod), Mark::without_version(mark)));
    assert_eq!(found(&journal.opened()), earlier);
    let newer = Mark::recorded(2, 7);
    journal.handle.record(JournalUpdate::Endings(uid(2), "app".into(), Some(endings(newer))));
    journal.handle.record(JournalUpdate::Endings(uid(3), "app".into(), None));
    journal.handle.record(JournalUpdate::Forget(uid(4)));
    assert!(journal.handle.close());
    drop(journal);

    let snapshot = Journal::start(directory.path()).opened();
    assert_eq!(found(&snapshot), [earlier[0].clone(), (uid(2), newer)]);
}

#[test]
fn of_what_two_agents_recorded_the_later_counts() {
    let directory = tempfile::tempdir().unwrap();
    write_earlier(directory.path(), &[]);
    let journal = Journal::start(directory.path());
    journal.opened();
    let newer = Mark::recorded(2, 5);
    for pod in [1, 2] {
        journal.handle.record(JournalUpdate::Endings(uid(pod), "app".into(), Some(endings(newer))));
    }
    assert!(journal.handle.close());
    drop(journal);
    // The earlier agent ran once more: it left one from before, and one from after.
    write_earlier(directory.path(), &[(1, 7, 100), (2, 8, u64::MAX)]);

    let snapshot = Journal::start(directory.path()).opened();
    assert_eq!(found(&snapshot), [(uid(1), newer), (uid(2), Mark::without_version(8))]);
}

#[test]
fn what_is_held_for_certain_is_there_after_a_restart_and_only_with_what_was_done_with_then() {
    let directory = tempfile::tempdir().unwrap();
    let held =
        |number| Some(Held { generation: handled(number, None).generation, started: Time::from_nanos(77) });
    let failed = Handled { held: held(1), unread: true, ..handled(2, Some(Outcome::Failed)) };
    let unread = Handled { unread: true, ..handled(2, Some(Outcome::Delivered)) };
    let journal = Journal::start(directory.path());
    journal.opened();
    for (pod, value) in [(1, &failed), (2, &unread), (3, &failed), (4, &failed)] {
        journal.handle.record(JournalUpdate::Handled(key(pod), value.clone()));
    }
    journal.wait_until_flushed();
    journal.handle.record(JournalUpdate::Handled(key(3), handled(3, Some(Outcome::Delivered))));
    journal.handle.record(JournalUpdate::Forget(uid(4)));
    assert!(journal.handle.close());
    drop(journal);
    let expected = [(key(1), failed), (key(2), unread), (key(3), handled(3, Some(Outcome::Delivered)))];
    let journal = Journal::start(directory.path());
    assert_eq!(journal.opened().handled, expected.clone().into());
    assert!(journal.handle.close());
    drop(journal);
    // An agent that doesn't know of it has ended another generation of the first one.
    {
        let database = Database::open(directory.path().join("journal.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut table = transaction.open_table(HANDLED).unwrap();
        let generation = handled(5, None).generation;
        table.insert((uid(1).as_str(), "app", "config"), (generation.as_str(), "delivered", 7)).unwrap();
        drop(table);
        transaction.commit().unwrap();
    }
    let found = Journal::start(directory.path()).opened().handled;
    assert_eq!(found[&key(1)], handled(5, Some(Outcome::Delivered)));
    assert_eq!(found[&key(2)], expected[1].1);
}
