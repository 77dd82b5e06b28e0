use super::*;

#[test]
fn a_file_that_cant_be_read_is_set_aside_and_the_one_in_its_place_is_no_installations() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 5] = [
        ("empty", Vec::clear),
        ("cut", |bytes| bytes.truncate(bytes.len() / 2)),
        ("another format", |bytes| *bytes = b"{\"not\": \"a journal\"}".repeat(4096)),
        ("no magic", |bytes| bytes[..16].fill(0)),
        ("lost pages", |bytes| bytes[4096..].fill(0)),
    ];
    for (name, damage) in damages {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("journal.redb");
        let journal = Journal::start(directory.path());
        journal.opened();
        journal.handle.record(JournalUpdate::Handled(key(1), handled(1, None)));
        assert!(journal.handle.close());
        let mut bytes = fs::read(&file).unwrap();
        damage(&mut bytes);
        fs::write(&file, &bytes).unwrap();

        // Killed before anything else is recorded, it is no first start either.
        for is_whole in [false, true] {
            let journal = Journal::start(directory.path());
            // The second of them follows one that has recorded all that it did, which is nothing.
            let nothing = JournalSnapshot {
                existed: true,
                shows_deliveries: is_whole,
                is_whole,
                ..JournalSnapshot::default()
            };
            assert_eq!(journal.opened(), nothing, "{name}");
        }
        let journal = Journal::start(directory.path());
        journal.opened();
        journal.handle.record(JournalUpdate::Handled(key(2), handled(2, None)));
        assert!(journal.handle.close(), "{name}");
        let names = names(directory.path());
        assert_eq!(names.len(), 3, "{name}: {names:?}");
        assert!(names[2].starts_with("journal.redb.unreadable-"), "{name}: {names:?}");
        assert_eq!(Journal::start(directory.path()).opened().handled.len(), 1, "{name}");
    }
}

/// redb panics on lost pages in a file that was closed, and a panic ends the agent at each of its starts.
#[test]
fn any_lost_page_is_survived_after_a_close() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("journal.redb");
    let journal = Journal::start(directory.path());
    journal.opened();
    for round in 0..20 {
        for pod in 0..100 {
            journal.handle.record(JournalUpdate::Handled(key(pod), handled(round, None)));
        }
        journal.wait_until_flushed();
    }
    assert!(journal.handle.close());
    let good = fs::read(&file).unwrap();
    for page in 0..good.len() / 4096 {
        let mut bytes = good.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0);
        fs::write(&file, bytes).unwrap();
        let (_, records, past) = Store::open(directory.path(), Some("this boot")).unwrap_or_else(|error| {
            panic!("page {page}: {}", Causes(&error));
        });
        assert!(past.existed(), "page {page}");
        let was_set_aside = past == Past::Unreadable;
        assert_eq!(records.handled.len(), if was_set_aside { 0 } else { 100 }, "page {page}");
        if was_set_aside {
            let names = names(directory.path()).into_iter().filter(|name| name.starts_with(file::ASIDE));
            names.for_each(|name| fs::remove_file(directory.path().join(name)).unwrap());
        }
    }
}

#[test]
fn another_schema_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let database = redb::Database::create(directory.path().join("journal.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta: redb::TableDefinition<'_, &str, &str> = redb::TableDefinition::new("meta");
    transaction.open_table(meta).unwrap().insert("schema", "0").unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(Journal::start(directory.path()).opened().existed);
    assert_eq!(names(directory.path()).len(), 3);
}

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
fn a_file_that_cant_be_opened_is_set_aside_so_that_everybody_is_told_once_and_not_at_each_start() {
    type Stand = fn(&Path);
    let stands: [Stand; 2] =
        [|place| fs::create_dir(place).unwrap(), |place| std::os::unix::fs::symlink(place, place).unwrap()];
    for stand in stands {
        let directory = tempfile::tempdir().unwrap();
        stand(&directory.path().join("journal.redb"));
        let journal = Journal::start(directory.path());
        assert!(journal.opened().existed);
        journal.handle.record(JournalUpdate::Handled(key(1), handled(1, None)));
        assert!(journal.handle.close());
        assert_eq!(Journal::start(directory.path()).opened().handled, [(key(1), handled(1, None))].into());
        assert!(names(directory.path())[2].starts_with(file::ASIDE));
    }
}

#[test]
fn a_file_that_cant_be_opened_and_stays_is_taken_for_a_first_start_as_each_start_would_tell_everybody() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::start(directory.path());
    journal.opened();
    journal.handle.record(JournalUpdate::Handled(key(1), handled(1, None)));
    assert!(journal.handle.close());
    let place = directory.path().join("journal.redb");
    fs::remove_file(&place).unwrap();
    // A directory that isn't empty stands where the file would be set aside.
    fs::create_dir(&place).unwrap();
    for at in 0..60 {
        let aside = format!("{}{}", file::ASIDE, unix_seconds() + at);
        fs::create_dir_all(directory.path().join(aside).join("full")).unwrap();
    }
    let journal = Journal::start(directory.path());
    assert_eq!(journal.event(), JournalEvent::InMemory(true));
    assert_eq!(journal.opened(), JournalSnapshot::default());
}
