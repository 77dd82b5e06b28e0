use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use reloadlet_core::Time;
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::journal::{
    Again, Endings, Handled, Held, JournalKey, JournalSnapshot, JournalUpdate, Rereads,
};
use reloadlet_core::model::mark::Mark;
use reloadlet_core::model::names::PodUid;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::pod::Pod;

use super::*;
use crate::logs::Causes;

/// What becomes of a journal that is damaged, or that can't be written.
mod carried;
mod damage;
mod deliveries;
mod earlier;
mod frozen;
mod gone;
mod holders;

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
        let wall = WallClock::default();
        let config = JournalConfig {
            state_dir: directory.to_owned(),
            boot_id: boot_id.path().to_owned(),
            locks: "/proc/locks".into(),
            wall,
        };
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
            other @ (JournalEvent::Flushed | JournalEvent::InMemory(_) | JournalEvent::Held(_)) => {
                panic!("{other:?}")
            }
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
    Handled::new(generation, outcome)
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
    let rereads = Rereads {
        has_reread: true,
        unread: 2,
        again: Again::Due,
        started: Time::from_nanos(77),
        mark: Mark::recorded(2, u64::MAX),
    };
    let unread = Rereads { has_reread: false, again: Again::Made, ..rereads };
    journal.handle.record(JournalUpdate::Rereads(uid(1), "app".into(), Some(rereads)));
    journal.handle.record(JournalUpdate::Rereads(uid(1), "other".into(), Some(unread)));
    for pod in [2, 3] {
        journal.handle.record(JournalUpdate::Rereads(uid(pod), "app".into(), Some(rereads)));
    }
    journal.wait_until_flushed();
    journal.handle.record(JournalUpdate::Endings(uid(2), "app".into(), None));
    journal.handle.record(JournalUpdate::Rereads(uid(2), "app".into(), None));
    journal.handle.record(JournalUpdate::Forget(uid(3)));
    assert!(journal.handle.close());

    let snapshot = Journal::start(&state_dir).opened();
    let expected =
        [(key(1), handled(2, Some(Outcome::Delivered))), (key(2), handled(3, Some(Outcome::Superseded)))];
    assert!(snapshot.existed);
    assert_eq!(snapshot.handled, expected.into());
    assert_eq!(snapshot.endings, [((uid(1), "app".into()), endings)].into());
    let expected = [((uid(1), "app".into()), rereads), ((uid(1), "other".into()), unread)];
    assert_eq!(snapshot.rereads, expected.into());
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
        reloadlet_manifest::decode(text.as_bytes()).unwrap().pods.remove(0)
    };
    for update in [pod(1, "before"), pod(1, "after"), pod(2, "other"), pod(3, "gone")] {
        journal.handle.record(JournalUpdate::Pod(update));
    }
    assert!(journal.handle.close());
    let journal = Journal::start(directory.path());
    assert!(!journal.opened().existed);
    journal.handle.record(JournalUpdate::Forget(uid(3)));
    assert!(journal.handle.close());
    // Whether somebody rolls a pod isn't recorded: the next listing says it.
    let recorded =
        [pod(1, "after"), pod(2, "other")].map(|pod| Arc::new(Pod { unrolled: false, ..(*pod).clone() }));
    assert_eq!(Journal::start(directory.path()).opened().pods, recorded);
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
    let expected = JournalSnapshot { shows_deliveries: true, is_whole: true, ..expected };
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
fn a_write_that_fails_keeps_records_in_memory_until_one_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, events) = channel();
    let mut writer = Writer {
        shared: Arc::new(Shared::default()),
        config: JournalConfig {
            state_dir: directory.path().to_owned(),
            boot_id: "/proc/sys/kernel/random/boot_id".into(),
            locks: "/proc/locks".into(),
            wall: WallClock::default(),
        },
        on_event: move |event| sender.send(event).unwrap(),
        records: Records::default(),
        lock: None,
        store: None,
        has_opened: true,
        is_held: false,
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
        store.commit(&changes, "", 1).unwrap();
        records.apply(&changes, 1);
    }
    drop(store);
    let length = fs::metadata(directory.path().join("journal.redb")).unwrap().len();
    assert!(length <= 2 << 20, "{length}");
    records.shows_deliveries = true;
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
        assert_eq!(names(directory.path()), ["journal.begun", "journal.redb"], "round {round}");
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

#[test]
fn how_the_clocks_stood_outlives_the_agent_and_not_the_boot() {
    let directory = tempfile::tempdir().unwrap();
    let clock_in = |boot: &str| {
        let (_, records, _) = Store::open(directory.path(), Some(boot)).unwrap();
        records.clock
    };
    let journal = Journal::start(directory.path());
    journal.opened();
    journal.handle.record(JournalUpdate::Handled(key(1), handled(1, None)));
    assert!(journal.handle.close());
    let recorded = clock_in("this boot");
    assert_eq!(recorded.matches(';').count(), 1, "one distance: {recorded}");

    // It is kept as soon as the clock is set, whether or not anything else is to be kept.
    let journal = Journal::start(directory.path());
    assert_eq!(journal.opened().handled.len(), 1);
    journal.handle.clock_was_set();
    assert!(journal.handle.close());
    assert_ne!(clock_in("this boot"), recorded);
    assert_eq!(clock_in("the next boot"), "");
}

#[test]
fn how_the_clocks_stood_in_another_boot_is_nothing_where_an_agent_that_knew_nothing_of_it_ran_in_between() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::start(directory.path());
    journal.opened();
    journal.handle.record(JournalUpdate::Handled(key(1), handled(1, None)));
    assert!(journal.handle.close());
    let path = directory.path().join("journal.redb");
    let database = redb::Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, &str>::new("meta");
    write.open_table(meta).unwrap().insert("boot_id", "the next boot").unwrap();
    write.commit().unwrap();
    drop(database);
    let (_, records, _) = Store::open(directory.path(), Some("the next boot")).unwrap();
    assert_eq!((records.clock.as_str(), records.handled.len()), ("", 1));
}
