//! What becomes of a journal that isn't there any more, or that can only be read.

use super::*;

fn used(directory: &Path) {
    let journal = Journal::start(directory);
    assert!(!journal.opened().existed);
    journal.handle.record(JournalUpdate::Handled(key(1), handled(1, None)));
    assert!(journal.handle.close());
}

#[test]
fn a_journal_that_is_gone_is_no_first_start_and_one_whose_directory_was_emptied_is() {
    let directory = tempfile::tempdir().unwrap();
    used(directory.path());
    fs::remove_file(directory.path().join("journal.redb")).unwrap();
    // Nothing else is recorded, and it is no first start either.
    for is_whole in [false, true] {
        let nothing = JournalSnapshot {
            existed: true,
            shows_deliveries: is_whole,
            is_whole,
            ..JournalSnapshot::default()
        };
        assert_eq!(Journal::start(directory.path()).opened(), nothing);
    }
    for name in names(directory.path()) {
        fs::remove_file(directory.path().join(name)).unwrap();
    }
    used(directory.path());
}

#[test]
fn the_journal_of_an_agent_that_left_no_sign_gets_one() {
    let directory = tempfile::tempdir().unwrap();
    used(directory.path());
    fs::remove_file(directory.path().join("journal.begun")).unwrap();
    assert!(Journal::start(directory.path()).opened().existed);
    fs::remove_file(directory.path().join("journal.redb")).unwrap();
    assert!(Journal::start(directory.path()).opened().existed);
}

#[test]
fn a_journal_in_which_nothing_was_recorded_leaves_no_sign() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        assert!(!Journal::start(directory.path()).opened().existed);
    }
    assert_eq!(names(directory.path()), ["journal.redb"]);
}

#[test]
fn a_file_is_read_without_being_written() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Store::only_read(directory.path(), None).unwrap().is_none());
    used(directory.path());
    let before = fs::read(directory.path().join("journal.redb")).unwrap();
    let (records, begun) = Store::only_read(directory.path(), Some("this boot")).unwrap().unwrap();
    assert!(begun && !records.is_whole, "others may have been told since by agents that could only read it");
    assert_eq!(records.handled.len(), 1);
    assert_eq!(fs::read(directory.path().join("journal.redb")).unwrap(), before);
}

#[test]
fn an_error_that_passes_is_told_from_one_that_somebody_has_to_mend() {
    let error = |errno| {
        let source = io::Error::from_raw_os_error(errno as i32);
        StoreError::Io { op: "open", path: "journal.redb".into(), source }
    };
    use nix::errno::Errno;
    for (errno, passes) in [
        (Errno::ENFILE, true),
        (Errno::EMFILE, true),
        (Errno::ENOMEM, true),
        (Errno::ESTALE, true),
        (Errno::EACCES, false),
        (Errno::EROFS, false),
        (Errno::EIO, false),
        (Errno::EISDIR, false),
    ] {
        assert_eq!(error(errno).is_passing(), passes, "{errno}");
        assert!(!error(errno).is_passing() || !error(errno).is_of_file(), "{errno}");
    }
}

#[test]
fn the_process_that_holds_the_directory_is_found_in_the_kernels_list() {
    let directory = tempfile::tempdir().unwrap();
    let locks = Path::new("/proc/locks");
    assert_eq!(file::holder(directory.path(), locks), None);
    let lock = DirectoryLock::try_take(directory.path()).unwrap();
    assert_eq!(file::holder(directory.path(), locks), Some(std::process::id()));
    drop(lock);
    assert_eq!(file::holder(directory.path(), locks), None);
}
