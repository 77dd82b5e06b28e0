use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::journal::{Endings, Handled, JournalKey, JournalSnapshot, JournalUpdate};
use reloadlet_core::model::mark::Mark;
use reloadlet_core::model::names::PodUid;
use reloadlet_core::model::outcome::Outcome;

use super::*;
use crate::logs::Causes;

mod earlier;
mod in_memory;

const LIMIT: Duration = Duration::from_secs(20);
const CHILD_DIRECTORY: &str = "RELOADLET_TEST_JOURNAL";

struct Journal {
    handle: JournalHandle,
    events: Receiver<JournalEvent>,
    _boot_id: tempfile::NamedTempFile,
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.handle.close();
    }
}

impl Journal {
    fn start(directory: &Path) -> Self {
        Self::start_in_boot(directory, "this boot")
    }

    fn start_in_boot(directory: &Path, boot: &str) -> Self {
        let boot_id = tempfile::NamedTempFile::new().unwrap();
        fs::write(&boot_id, boot).unwrap();
        let config = JournalConfig { state_dir: directory.to_owned(), boot_id: boot_id.path().to_owned() };
        let (sender, events) = channel();
        let handle =
            JournalHandle::start(config, move |event| sender.send(event).unwrap_or_default()).unwrap();
        Self { handle, events, _boot_id: boot_id }
    }

    fn event(&self) -> JournalEvent {
        self.events.recv_timeout(LIMIT).unwrap()
    }

    /// What it held, once it is open.
    fn opened(&self) -> JournalSnapshot {
        match self.event() {
            JournalEvent::Opened(snapshot) => snapshot,
            other @ (JournalEvent::Flushed | JournalEvent::InMemory(_)) => panic!("{other:?}"),
        }
    }

    fn wait_until_flushed(&self) {
        if !self.handle.is_flushed() {
            assert_eq!(self.event(), JournalEvent::Flushed);
        }
    }
}

fn uid(number: usize) -> PodUid {
    PodUid::parse(&format!("0a1b2c3d-0000-4000-8000-{number:012}")).unwrap()
}

fn key(pod: usize) -> JournalKey {
    JournalKey { pod: uid(pod), container: "app".into(), volume: "config".into() }
}

fn handled(number: usize, outcome: Option<Outcome>) -> Handled {
    let generation = Generation::parse(&format!("..2026_11_21_05_56_44.{number}")).unwrap();
    Handled { generation, outcome }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_recorded_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let state_dir = directory.path().join("not/there/yet");
    let journal = Journal::start(&state_dir);
    assert_eq!(journal.opened(), JournalSnapshot::default());
    assert_eq!(fs::metadata(&state_dir).unwrap().permissions().mode() & 0o777, 0o700);
    let endings = Endings { in_a_row: 2, mark: Mark::recorded(2, u64::MAX) };
    journal.handle.record(JournalUpdate::Handled(key(1), handled(1, None)));
    journal.handle.record(JournalUpdate::Handled(key(1), handled(2, Some(Outcome::Delivered))));
    journal.handle.record(JournalUpdate::Handled(key(2), handled(3, Some(Outcome::Superseded))));
    journal.handle.record(JournalUpdate::Endings(uid(1), "app".into(), Some(endings)));
    journal.handle.record(JournalUpdate::Endings(uid(2), "app".into(), Some(endings)));
    journal.wait_until_flushed();
    journal.handle.record(JournalUpdate::Endings(uid(2), "app".into(), None));
    assert!(journal.handle.close());

    let snapshot = Journal::start(&state_dir).opened();
    let expected =
        [(key(1), handled(2, Some(Outcome::Delivered))), (key(2), handled(3, Some(Outcome::Superseded)))];
    assert!(snapshot.existed);
    assert_eq!(snapshot.handled, expected.into());
    assert_eq!(snapshot.endings, [((uid(1), "app".into()), endings)].into());
}

#[test]
fn pods_are_there_after_a_restart_and_are_no_sign_that_their_volumes_were_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::start(directory.path());
    journal.opened();
    let pod = |n: usize, name: &str| {
        let text = format!(
            r#"{{"kind": "Pod", "metadata": {{"name": "{name}", "uid": "{}", "annotations":
                 {{"reloadlet.io/signal": "HUP"}}}}, "spec": {{"containers": [{{"name": "app"}}],
                 "volumes": [{{"name": "conf", "configMap": {{"name": "c"}}}}]}}}}"#,
            uid(n)
        );
        reloadlet_manifest::decode(text.as_bytes()).unwrap().remove(0)
    };
    for update in [pod(1, "before"), pod(1, "after"), pod(2, "other"), pod(3, "gone")] {
        journal.handle.record(JournalUpdate::Pod(update));
    }
    assert!(journal.handle.close());
    let journal = Journal::start(directory.path());
    assert!(!journal.opened().existed);
    journal.handle.record(JournalUpdate::Forget(uid(3)));
    assert!(journal.handle.close());
    assert_eq!(Journal::start(directory.path()).opened().pods, [pod(1, "after"), pod(2, "other")]);
}

#[test]
fn forgetting_a_pod_removes_its_records_and_no_others_whatever_came_before_or_after() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::start(directory.path());
    journal.opened();
    let endings = Some(Endings { in_a_row: 1, mark: Mark::recorded(2, 1) });
    for pod in 1..=3 {
        journal.handle.record(JournalUpdate::Handled(key(pod), handled(1, None)));
        journal.handle.record(JournalUpdate::Endings(uid(pod), "app".into(), endings));
    }
    let longer = PodUid::parse(&format!("{}0", uid(2))).unwrap();
    let of_longer = JournalKey { pod: longer, ..key(2) };
    journal.handle.record(JournalUpdate::Handled(of_longer.clone(), handled(7, None)));
    journal.wait_until_flushed();
    // One batch in which the pod's newest record comes before, between and after.
    let mut state = journal.handle.shared.lock();
    for update in [
        JournalUpdate::Handled(key(2), handled(2, None)),
        JournalUpdate::Forget(uid(2)),
        JournalUpdate::Handled(key(3), handled(3, None)),
        JournalUpdate::Forget(uid(3)),
        JournalUpdate::Handled(key(3), handled(4, None)),
    ] {
        state.pending.add(update);
        state.recorded += 1;
    }
    drop(state);
    journal.handle.record(JournalUpdate::Forget(uid(9)));
    assert!(journal.handle.close());

    let snapshot = Journal::start(directory.path()).opened();
    let expected = [(key(1), handled(1, None)), (of_longer, handled(7, None)), (key(3), handled(4, None))];
    assert_eq!(snapshot.handled, expected.into());
    assert_eq!(snapshot.endings.keys().map(|(pod, _)| pod.clone()).collect::<Vec<_>>(), [uid(1)]);
}

#[test]
fn after_a_boot_nothing_is_known_but_that_there_was_a_journal() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::start_in_boot(directory.path(), "one\n");
    journal.opened();
    journal.handle.record(JournalUpdate::Handled(key(1), handled(1, None)));
    assert!(journal.handle.close());
    let journal = Journal::start_in_boot(directory.path(), "two\n");
    let expected = JournalSnapshot { existed: true, ..JournalSnapshot::default() };
    assert_eq!(journal.opened(), expected);
    assert!(journal.handle.close());
    assert_eq!(Journal::start_in_boot(directory.path(), "two\n").opened(), expected, "the new boot is noted");
}

#[test]
fn a_journal_in_which_nothing_was_ever_recorded_did_not_exist() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::start(directory.path());
    journal.opened();
    assert!(journal.handle.close());
    let journal = Journal::start_in_boot(directory.path(), "the next boot");
    assert!(!journal.opened().existed);
    journal.handle.record(JournalUpdate::Handled(key(1), handled(1, None)));
    journal.handle.record(JournalUpdate::Forget(uid(1)));
    assert!(journal.handle.close());
    assert!(Journal::start_in_boot(directory.path(), "the next boot").opened().existed);
}

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
    assert!(first.handle.close());
    assert_eq!(second.opened().handled, [(key(1), handled(1, None))].into());
}

#[test]
fn a_file_that_cant_be_read_is_set_aside_and_nothing_is_taken_as_changed() {
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

        let journal = Journal::start(directory.path());
        assert_eq!(journal.opened(), JournalSnapshot::default(), "{name}");
        journal.handle.record(JournalUpdate::Handled(key(2), handled(2, None)));
        assert!(journal.handle.close(), "{name}");
        let names = names(directory.path());
        assert_eq!(names.len(), 2, "{name}: {names:?}");
        assert!(names[1].starts_with("journal.redb.unreadable-"), "{name}: {names:?}");
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
        let (_, records, existed) =
            Store::open(directory.path(), Some("this boot")).unwrap_or_else(|error| {
                panic!("page {page}: {}", Causes(&error));
            });
        assert_eq!(records.handled.len(), if existed { 100 } else { 0 }, "page {page}");
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
    assert!(!Journal::start(directory.path()).opened().existed);
    assert_eq!(names(directory.path()).len(), 2);
}

#[test]
fn three_thousand_records_are_opened_within_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::start(directory.path());
    journal.opened();
    for pod in 0..3000 {
        journal.handle.record(JournalUpdate::Handled(key(pod), handled(pod, None)));
    }
    assert!(journal.handle.close());
    let start = Instant::now();
    assert_eq!(Journal::start(directory.path()).opened().handled.len(), 3000);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn ten_thousand_rewrites_leave_the_file_small() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, mut records, _) = Store::open(directory.path(), None).unwrap();
    for number in 0..2_000 {
        let mut changes = Changes::default();
        for pod in 0..5 {
            let key = key(number % 20 * 5 + pod);
            changes.add(JournalUpdate::Handled(key, handled(number, Some(Outcome::Delivered))));
        }
        store.commit(&changes, 1).unwrap();
        records.apply(&changes, 1);
    }
    drop(store);
    let length = fs::metadata(directory.path().join("journal.redb")).unwrap().len();
    assert!(length <= 2 << 20, "{length}");
    assert_eq!(Store::open(directory.path(), None).unwrap().1, records);
}

#[test]
fn a_kill_at_any_moment_leaves_all_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..30 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .arg(
                concat!(module_path!(), "::child_that_records_until_it_is_killed")
                    .split_once("::")
                    .unwrap()
                    .1,
            )
            .env(CHILD_DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = 0;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while acknowledged < round * 3 + 1 {
            let line = lines.next().unwrap().unwrap();
            acknowledged += usize::from(line.starts_with("kept "));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            last = line.strip_prefix("kept ").map_or(last, |number| number.parse().unwrap());
        }
        let journal = Journal::start(directory.path());
        let snapshot = journal.opened();
        assert!(snapshot.existed, "round {round}");
        let found =
            snapshot.handled[&key(0)].generation.as_str().rsplit_once('.').unwrap().1.parse::<usize>();
        assert!(found.clone().unwrap() >= last, "round {round}: {found:?} after {last}");
        last = found.unwrap();
        assert!(journal.handle.close());
        assert_eq!(names(directory.path()), ["journal.redb"], "round {round}");
    }
}

/// The other half of the test above.
#[test]
#[ignore = "runs until it is killed"]
fn child_that_records_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else { return };
    let journal = Journal::start(Path::new(&directory));
    let found = journal.opened().handled.get(&key(0)).map(|found| found.generation.clone());
    let first =
        found.map_or(0, |generation| generation.as_str().rsplit_once('.').unwrap().1.parse().unwrap());
    for number in first + 1_usize.. {
        for pod in 0..50 {
            journal.handle.record(JournalUpdate::Handled(key(pod), handled(number, None)));
        }
        journal.wait_until_flushed();
        writeln!(io::stdout(), "kept {number}").unwrap();
    }
}
