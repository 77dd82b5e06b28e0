//! What is kept while the file can't be written.

use super::*;

#[test]
fn a_file_in_place_of_the_directory_means_memory_only_and_does_not_end_the_agent() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("state");
    fs::write(&place, "").unwrap();
    let journal = Journal::start(&place);
    assert_eq!(journal.event(), JournalEvent::InMemory(true));
    assert_eq!(journal.opened(), JournalSnapshot::default());
    journal.handle.record(JournalUpdate::Handled(key(1), handled(1, None)));
    journal.wait_until_flushed();
    assert!(!journal.handle.close());
}

#[test]
fn once_the_directory_can_be_written_the_file_holds_all_that_was_kept_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("state");
    fs::write(&place, "").unwrap();
    let journal = Journal::start(&place);
    assert_eq!(journal.event(), JournalEvent::InMemory(true));
    journal.opened();
    for pod in 1..=3 {
        journal.handle.record(JournalUpdate::Handled(key(pod), handled(1, None)));
    }
    journal.handle.record(JournalUpdate::Forget(uid(2)));
    journal.wait_until_flushed();
    fs::remove_file(&place).unwrap();
    assert_eq!(journal.event(), JournalEvent::InMemory(false));
    assert!(journal.handle.close());
    let expected = [(key(1), handled(1, None)), (key(3), handled(1, None))];
    assert_eq!(Journal::start(&place).opened().handled, expected.into());
}

#[test]
fn a_file_or_a_directory_that_is_taken_away_is_made_anew_with_all_that_was_kept() {
    let whole = tempfile::tempdir().unwrap();
    let directory = whole.path().join("state");
    type Way = fn(&Path);
    let ways: [Way; 3] = [
        |directory| fs::remove_file(directory.join("journal.redb")).unwrap(),
        |directory| fs::remove_dir_all(directory).unwrap(),
        |directory| {
            fs::rename(directory, directory.with_extension("old")).unwrap();
            fs::create_dir(directory).unwrap();
        },
    ];
    for (n, away) in ways.into_iter().enumerate() {
        let journal = Journal::start(&directory);
        journal.opened();
        journal.handle.record(JournalUpdate::Handled(key(n), handled(n, Some(Outcome::Delivered))));
        journal.wait_until_flushed();
        away(&directory);
        drop(journal);
        let journal = Journal::start(&directory);
        let snapshot = journal.opened();
        assert!(snapshot.existed, "{n}");
        assert_eq!(snapshot.handled.get(&key(n)), Some(&handled(n, Some(Outcome::Delivered))), "{n}");
    }
}

#[test]
fn a_write_that_fails_keeps_records_in_memory_until_one_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, events) = channel();
    let mut writer = Writer {
        shared: Arc::new(Shared::default()),
        config: JournalConfig {
            state_dir: directory.path().to_owned(),
            boot_id: "/proc/sys/kernel/random/boot_id".into(),
        },
        on_event: move |event| sender.send(event).unwrap(),
        records: Records::default(),
        lock: None,
        store: None,
        retry: None,
    };
    let mut up_to = 0;
    let mut keep = |writer: &mut Writer<_>, update| {
        let mut changes = Changes::default();
        changes.add(update);
        up_to += 1;
        writer.keep(&changes, up_to);
    };
    writer.open();
    keep(&mut writer, JournalUpdate::Handled(key(1), handled(1, None)));
    keep(&mut writer, JournalUpdate::Handled(key(2), handled(1, None)));
    // The file takes no more bytes, as on a full disk.
    writer.store.as_ref().unwrap().sealed.store(true, std::sync::atomic::Ordering::Release);
    keep(&mut writer, JournalUpdate::Handled(key(1), handled(2, None)));
    keep(&mut writer, JournalUpdate::Forget(uid(2)));
    assert!(writer.shared.lock().in_memory);
    assert_eq!(writer.shared.lock().kept, 4, "the agent goes on");
    assert!(writer.retry.is_some());
    writer.recover();
    assert!(writer.retry.is_none());
    keep(&mut writer, JournalUpdate::Handled(key(3), handled(3, None)));
    drop(writer);
    let events: Vec<JournalEvent> = events.iter().collect();
    let opened = JournalEvent::Opened(JournalSnapshot::default());
    assert_eq!(events, [opened, JournalEvent::InMemory(true), JournalEvent::InMemory(false)]);
    let expected = [(key(1), handled(2, None)), (key(3), handled(3, None))];
    let snapshot = Store::open(directory.path(), None).unwrap().1.snapshot(true);
    assert_eq!(snapshot.handled, expected.into());
}
