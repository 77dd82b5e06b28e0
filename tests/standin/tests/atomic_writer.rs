//! The AtomicWriter makes the events that a real kubelet was recorded to make.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "a test says by a panic what failed"
)]

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify;
use standin::{AtomicWriter, Fault, WriteOptions, Written, payload};

const ALL: inotify::WatchFlags = inotify::WatchFlags::from_bits_retain(0xfff);

fn watch(dir: &Path) -> OwnedFd {
    let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&fd, dir, ALL).unwrap();
    fd
}

/// The events so far, with generations by the letter that `names` gives them.
fn events(fd: &OwnedFd, names: &[(&str, &str)]) -> Vec<String> {
    let mut buffer = [MaybeUninit::uninit(); 64 * 1024];
    let mut reader = inotify::Reader::new(fd, &mut buffer);
    let mut lines = Vec::new();
    while let Ok(event) = reader.next() {
        let flags = event.events();
        let known = [
            (inotify::ReadFlags::ACCESS, "ACCESS"),
            (inotify::ReadFlags::MODIFY, "MODIFY"),
            (inotify::ReadFlags::ATTRIB, "ATTRIB"),
            (inotify::ReadFlags::CLOSE_WRITE, "CLOSE_WRITE"),
            (inotify::ReadFlags::CLOSE_NOWRITE, "CLOSE_NOWRITE"),
            (inotify::ReadFlags::OPEN, "OPEN"),
            (inotify::ReadFlags::MOVED_FROM, "MOVED_FROM"),
            (inotify::ReadFlags::MOVED_TO, "MOVED_TO"),
            (inotify::ReadFlags::CREATE, "CREATE"),
            (inotify::ReadFlags::DELETE, "DELETE"),
            (inotify::ReadFlags::ISDIR, "ISDIR"),
        ];
        let mask: Vec<_> =
            known.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name).collect();
        let name = event.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name =
            names.iter().find(|(real, _)| *real == name).map_or(name, |(_, letter)| (*letter).to_owned());
        lines.push(format!("{} {name}", mask.join(",")).trim_end().to_owned());
    }
    lines
}

/// As in the recording of the secret that gained a key.
const WALK: [&str; 3] = ["OPEN,ISDIR OLD", "ACCESS,ISDIR OLD", "CLOSE_NOWRITE,ISDIR OLD"];
const SWAP: [&str; 5] =
    ["CREATE,ISDIR NEW", "ATTRIB,ISDIR NEW", "CREATE ..data_tmp", "MOVED_FROM ..data_tmp", "MOVED_TO ..data"];
const REMOVAL: [&str; 6] = [
    "OPEN,ISDIR",
    "OPEN,ISDIR OLD",
    "ACCESS,ISDIR OLD",
    "CLOSE_NOWRITE,ISDIR OLD",
    "DELETE,ISDIR OLD",
    "CLOSE_NOWRITE,ISDIR",
];

fn expected(parts: &[&[&str]]) -> Vec<String> {
    parts.iter().flat_map(|part| part.iter().map(|line| (*line).to_owned())).collect()
}

fn swapped(written: &Written) -> (String, Option<String>, u64, u64) {
    match written {
        Written::Swapped { generation, previous, renamed_at, settled_at } => {
            (generation.clone(), previous.clone(), *renamed_at, *settled_at)
        }
        other => panic!("not swapped: {other:?}"),
    }
}

#[test]
fn each_write_makes_the_recorded_events() {
    let dir = tempfile::tempdir().unwrap();
    let writer = AtomicWriter::new(dir.path().to_owned());
    let fd = watch(dir.path());
    let options = WriteOptions::default();

    let first = writer.write(&payload([("a", "1"), ("b", "1")]), &options).unwrap();
    let (one, previous, _, _) = swapped(&first);
    assert_eq!(previous, None);
    assert_eq!(events(&fd, &[(&one, "NEW")]), expected(&[&SWAP, &["CREATE a", "CREATE b"]]));

    let update = writer.write(&payload([("a", "2"), ("b", "1")]), &options).unwrap();
    let (two, previous, _, _) = swapped(&update);
    assert_eq!(previous.as_deref(), Some(one.as_str()));
    assert_eq!(events(&fd, &[(&one, "OLD"), (&two, "NEW")]), expected(&[&WALK, &SWAP, &REMOVAL]));

    let added = writer.write(&payload([("a", "2"), ("b", "1"), ("extra", "x")]), &options).unwrap();
    let (three, _, _, _) = swapped(&added);
    assert_eq!(
        events(&fd, &[(&two, "OLD"), (&three, "NEW")]),
        expected(&[&WALK, &SWAP, &["CREATE extra"], &REMOVAL])
    );

    let removed = writer.write(&payload([("a", "2"), ("b", "1")]), &options).unwrap();
    let (four, _, _, _) = swapped(&removed);
    assert_eq!(
        events(&fd, &[(&three, "OLD"), (&four, "NEW")]),
        expected(&[&WALK, &SWAP, &["DELETE extra"], &REMOVAL])
    );

    let same = writer.write(&payload([("a", "2"), ("b", "1")]), &options).unwrap();
    assert_eq!(same, Written::Unchanged);
    assert_eq!(events(&fd, &[(&four, "OLD")]), expected(&[&WALK]));
}

#[test]
fn names_and_modes_are_the_kubelets() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let writer = AtomicWriter::new(dir.path().to_owned());
    let written = writer.write(&payload([("a", "1"), ("sub/b", "2")]), &WriteOptions::default()).unwrap();
    let generation = swapped(&written).0;
    let (time, suffix) = generation.strip_prefix("..").unwrap().split_once('.').unwrap();
    assert_eq!(time.split('_').map(str::len).collect::<Vec<_>>(), [4, 2, 2, 2, 2, 2]);
    assert!((8..=10).contains(&suffix.len()) && suffix.bytes().all(|byte| byte.is_ascii_digit()), "{suffix}");
    let mode = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&generation), mode("..data/a")), (0o755, 0o644));
    let target = |name: &str| std::fs::read_link(dir.path().join(name)).unwrap();
    assert_eq!(target("..data"), Path::new(&generation));
    assert_eq!(target("a"), Path::new("..data/a"));
    assert_eq!(target("sub"), Path::new("..data/sub"));
    assert_eq!(std::fs::read(dir.path().join("sub/b")).unwrap(), b"2");
}

#[test]
fn the_gap_lies_between_rename_and_rmdir() {
    let dir = tempfile::tempdir().unwrap();
    let writer = AtomicWriter::new(dir.path().to_owned());
    writer.write(&payload([("a", "0")]), &WriteOptions::default()).unwrap();
    for (turn, gap) in [100, 100, 2_000, 20_000].into_iter().enumerate() {
        let gap = Duration::from_micros(gap);
        let written =
            writer.write(&payload([("a", &format!("{}", turn + 1))]), &WriteOptions::gap(gap)).unwrap();
        let (_, _, renamed_at, settled_at) = swapped(&written);
        let took = Duration::from_nanos(settled_at - renamed_at);
        assert!(took >= gap && took < gap + Duration::from_millis(50), "{took:?} for {gap:?}");
    }
}

#[test]
fn a_write_that_breaks_off_leaves_what_a_killed_kubelet_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let writer = AtomicWriter::new(dir.path().to_owned());
    let entries = || -> BTreeSet<String> {
        let names = std::fs::read_dir(dir.path()).unwrap();
        names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    };
    let first = writer.write(&payload([("a", "1")]), &WriteOptions::default()).unwrap();
    let one = first.generation().unwrap().to_owned();

    let broken = writer
        .write(&payload([("a", "2"), ("b", "2")]), &WriteOptions::fault(Fault::DieAfterRename))
        .unwrap();
    let two = broken.generation().unwrap().to_owned();
    assert!(broken.renamed_at().is_some() && broken.settled_at().is_none());
    assert_eq!(entries(), BTreeSet::from(["..data", "a", &one, &two].map(str::to_owned)));

    // The next write finds nothing to change: it repairs the link and leaves the old generation for good.
    let again = writer.write(&payload([("a", "2"), ("b", "2")]), &WriteOptions::default()).unwrap();
    assert_eq!(again, Written::Unchanged);
    assert_eq!(entries(), BTreeSet::from(["..data", "a", "b", &one, &two].map(str::to_owned)));

    let kept =
        writer.write(&payload([("a", "3"), ("b", "2")]), &WriteOptions::fault(Fault::KeepOld)).unwrap();
    let three = kept.generation().unwrap().to_owned();
    assert_eq!(entries(), BTreeSet::from(["..data", "a", "b", &one, &two, &three].map(str::to_owned)));

    let died = writer
        .write(&payload([("a", "4"), ("b", "2")]), &WriteOptions::fault(Fault::DieBeforeRename))
        .unwrap();
    assert_eq!(died.renamed_at(), None);
    assert!(entries().contains("..data_tmp"));
    assert_eq!(writer.generation().unwrap(), Some(three));
    let error = writer.write(&payload([("a", "5")]), &WriteOptions::default()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::EXIST.raw_os_error()));
}
