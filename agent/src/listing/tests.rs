use super::files::{MOST_BYTES, MOST_FILES};
use super::*;
use reloadlet_core::machine::event::Reading;
use reloadlet_core::model::digest::{Contents, Digest};
use reloadlet_core::model::object::MOST_KEYS;
use reloadlet_core::policy::files::{FileFilter, Globs};
use std::os::unix::fs::symlink;

const ONE: &str = "..2026_11_21_05_56_44.1";
const TWO: &str = "..2026_11_21_05_56_45.2";

fn volume(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(ONE).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    symlink(ONE, dir.path().join(DATA_LINK)).unwrap();
    dir
}

fn only(glob: &str) -> FileFilter {
    FileFilter::new(Some(Globs::new([glob]).unwrap()), Vec::<String>::new().iter().map(|s| s.as_str().into()))
}

fn contents(directory: &Path, reading: &Reading) -> Option<Contents> {
    let mut files = Files::begin(directory.to_owned(), reading.clone()).unwrap()?;
    assert!(!files.go_on(&|| false).unwrap());
    files.end().1
}

fn digest(directory: &Path, filter: &FileFilter) -> Option<Digest> {
    let reading = Reading { filter: filter.clone(), each: false, decides: true };
    contents(directory, &reading).map(|contents| contents.counting)
}

#[test]
fn a_listing_names_the_current_generation_and_the_others() {
    let dir = volume(&[("a", "1")]);
    fs::create_dir(dir.path().join(TWO)).unwrap();
    fs::create_dir(dir.path().join("not-a-generation")).unwrap();
    let before = clock::now();
    let listing = list(dir.path(), &WallClock::default()).unwrap();
    let (generation, changed) = listing.current.unwrap();
    assert_eq!(generation.as_str(), ONE);
    assert_eq!(listing.others, [Generation::parse(TWO).unwrap()]);
    assert!(listing.begun >= before && changed <= clock::now());
    assert_eq!(listing.dir, dir_id(dir.path()));
}

#[test]
fn a_missing_directory_and_a_file_in_its_place_are_no_directory() {
    let dir = volume(&[]);
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    assert_eq!(list(&dir.path().join("gone"), &WallClock::default()).unwrap().dir, None);
    assert_eq!(list(&file, &WallClock::default()).unwrap().dir, None);
}

#[test]
fn the_digest_is_of_paths_and_contents_that_count() {
    let everything = FileFilter::default();
    let of = |files: &[(&str, &str)], filter: &FileFilter| {
        digest(&volume(files).path().join(ONE), filter).unwrap()
    };
    let first = of(&[("a", "1"), ("d/b", "2")], &everything);
    assert_eq!(first, of(&[("d/b", "2"), ("a", "1")], &everything));
    for other in [&[("a", "2"), ("d/b", "2")], &[("a", "1"), ("d/c", "2")], &[("a", "12"), ("d/b", "")]] {
        assert_ne!(first, of(other, &everything), "{other:?}");
    }
    assert_eq!(of(&[("a", "1"), ("b", "2")], &only("a")), of(&[("a", "1"), ("b", "3")], &only("a")));
}

#[test]
fn each_file_has_its_digest_where_it_is_wanted_whether_it_counts_or_not() {
    let dir = volume(&[("a", "1"), ("d/b", ""), ("c", "1")]);
    let directory = dir.path().join(ONE);
    let read = contents(&directory, &Reading { filter: only("a"), each: true, decides: false }).unwrap();
    let files: Vec<_> = read.files.iter().map(|(path, digest)| (&**path, Some(*digest))).collect();
    let (one, empty) = (crate::digest::of(b"1"), crate::digest::of(b""));
    assert_eq!(files, [("a", one), ("c", one), ("d/b", empty)]);
    assert_eq!(Some(read.counting), digest(&directory, &only("a")));
}

#[test]
fn a_generation_with_many_files_is_read_in_slices_and_as_a_whole_or_not_at_all() {
    let names: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let dir = volume(&files);
    let directory = dir.path().join(ONE);
    let reading = Reading { filter: FileFilter::default(), each: true, decides: true };
    let begin = || Files::begin(directory.clone(), reading.clone()).unwrap().unwrap();

    let mut read = begin();
    let slices = std::iter::repeat_with(|| read.go_on(&|| true).unwrap()).take_while(|more| *more);
    assert_eq!(slices.count(), 100, "one file in each");
    assert_eq!(read.end().1, contents(&directory, &reading));

    // Those that count are read by then.
    let some = Reading { filter: only("k0"), ..reading.clone() };
    let mut read = Files::begin(directory.clone(), some).unwrap().unwrap();
    let mut other = begin();
    assert!(read.go_on(&|| true).unwrap() && other.go_on(&|| true).unwrap());
    fs::remove_dir_all(&directory).unwrap();
    assert!(!read.go_on(&|| false).unwrap() && !other.go_on(&|| false).unwrap());
    assert_eq!((read.end().1, other.end().1), (None, None));
}

#[test]
fn a_generation_that_is_gone_has_no_digest() {
    let dir = volume(&[]);
    assert_eq!(digest(&dir.path().join(TWO), &FileFilter::default()), None);
}

#[test]
fn what_the_kubelet_doesnt_write_is_neither_followed_nor_waited_for() {
    let everything = FileFilter::default();
    let outside = volume(&[("a", "1")]);

    let dir = volume(&[("a", "1")]);
    nix::unistd::mkfifo(&dir.path().join(ONE).join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(digest(&dir.path().join(ONE), &everything), None, "a pipe");
    assert!(digest(&dir.path().join(ONE), &only("a")).is_some(), "nobody asked for the pipe");
    let each = Reading { filter: only("a"), each: true, decides: true };
    let read = contents(&dir.path().join(ONE), &each).unwrap();
    assert_eq!(read.files.keys().map(|path| &**path).collect::<Vec<_>>(), ["a"], "it doesn't count");

    let dir = volume(&[("b", "1")]);
    symlink(outside.path().join(ONE).join("a"), dir.path().join(ONE).join("a")).unwrap();
    assert_eq!(digest(&dir.path().join(ONE), &everything), None, "a link to a file");

    let dir = tempfile::tempdir().unwrap();
    symlink(outside.path().join(ONE), dir.path().join(ONE)).unwrap();
    assert_eq!(digest(&dir.path().join(ONE), &everything), None, "a link to a directory");

    let dir = volume(&[("a", "1")]);
    for number in 0..=MOST_KEYS {
        fs::write(dir.path().join(ONE).join(number.to_string()), "").unwrap();
    }
    let read = contents(&dir.path().join(ONE), &each).unwrap();
    assert_eq!(read.files.len(), MOST_KEYS + 1, "so many aren't measured");
    assert_eq!(Some(read.counting), digest(&dir.path().join(ONE), &only("a")), "what counts is read");
    for number in MOST_KEYS..=MOST_FILES {
        fs::write(dir.path().join(ONE).join(number.to_string()), "").unwrap();
    }
    assert_eq!(digest(&dir.path().join(ONE), &everything), None, "more files than are read");

    let dir = volume(&[("a", "1")]);
    let large = fs::File::create(dir.path().join(ONE).join("large")).unwrap();
    large.set_len(MOST_BYTES + 1).unwrap();
    assert_eq!(digest(&dir.path().join(ONE), &everything), None, "more than is read");
}
