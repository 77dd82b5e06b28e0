//! Reads of a volume's directory: what it is, what it holds, and the digest of the files that count. Everything is
//! opened, read and closed: nothing stays open inside a volume.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{major, minor};
use reloadlet_core::Time;
use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::kernel::mounts::{Device, DirId};
use reloadlet_core::machine::event::Reading;
use reloadlet_core::machine::volume::Listing;
use reloadlet_core::model::digest::{Contents, Digest};
use reloadlet_core::model::generation::{DATA_LINK, Generation};
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::MOST_KEYS;
use zeroize::Zeroizing;

use crate::clock;
use crate::digest::Hasher;
use crate::lack;

/// The most bytes of a generation that are read; ConfigMaps and Secrets hold at most 1 MiB each.
const MOST_BYTES: u64 = 64 << 20;
/// The most files of a generation that are read, and the most bytes of all their paths.
const MOST_FILES: usize = 16 << 10;
const MOST_PATHS: usize = 2 << 20;
/// The deepest path in a generation; the kubelet makes one level for each part of an `items` path.
const DEEPEST: usize = 64;

/// Which directory stands at a path.
pub(crate) fn dir_id(path: &Path) -> Option<DirId> {
    look(path).ok().flatten()
}

/// Which directory stands at a path, if any does; an error where that can't be told.
pub(crate) fn look(path: &Path) -> io::Result<Option<DirId>> {
    let Some(found) = there(fs::symlink_metadata(path))?.filter(fs::Metadata::is_dir) else {
        return Ok(None);
    };
    let device = Device { major: major(found.dev()) as u32, minor: minor(found.dev()) as u32 };
    Ok(Some(DirId { device, inode: found.ino() }))
}

/// What is there; `None` where nothing is.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A volume that can't be listed although it may be there.
#[derive(Debug, thiserror::Error)]
#[error("can't list {}", .path.display())]
pub(crate) struct ListError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl ListError {
    /// What the agent lacks.
    pub(crate) fn lack(&self) -> Lack {
        lack::of(&self.source)
    }
}

/// Lists a volume's directory.
pub(crate) fn list(path: &Path) -> Result<Listing, ListError> {
    let failed = |source| ListError { path: path.to_owned(), source };
    let begun = clock::now();
    let nothing = || Listing { begun, dir: None, current: None, others: Vec::new() };
    let Some(dir) = look(path).map_err(failed)? else { return Ok(nothing()) };
    let current = current(path).map_err(failed)?;
    let Some(entries) = there(fs::read_dir(path)).map_err(failed)? else { return Ok(nothing()) };
    let mut others = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let generation = name.to_str().and_then(Generation::parse);
        others.extend(generation.filter(|found| current.as_ref().is_none_or(|(named, _)| named != found)));
    }
    Ok(Listing { begun, dir: Some(dir), current, others })
}

/// What `..data` names, and when that was made so (the link's change time).
fn current(path: &Path) -> io::Result<Option<(Generation, Time)>> {
    let link = path.join(DATA_LINK);
    let target = match there(fs::read_link(&link)) {
        Ok(Some(target)) => target,
        Ok(None) => return Ok(None),
        // Something else stands there, which isn't the kubelet's.
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(found) = there(fs::symlink_metadata(&link))? else { return Ok(None) };
    let generation = target.to_str().and_then(Generation::parse);
    Ok(generation.map(|generation| (generation, clock::from_wall(found.ctime(), found.ctime_nsec()))))
}

/// What a generation holds, file by file, so that others can come in between: the digest of the files that count, with their
/// paths, and where it is wanted of each file. It is read as a whole or not at all: there is nothing when it can't be read,
/// as when the next generation has replaced it, or when it holds what the kubelet doesn't write there: a link would lead
/// out of the volume, and a pipe or a device would block. A file may be readable for the pod's own user only. An error says
/// that the agent has no file descriptors left, which says nothing about the files. Nothing is open between two files.
pub(crate) struct Files {
    directory: PathBuf,
    reading: Reading,
    /// Which directory it is.
    dir: DirId,
    /// The files that weren't read yet, in order.
    paths: std::vec::IntoIter<Box<str>>,
    counting: Hasher,
    files: BTreeMap<Name, Digest>,
    /// How many more bytes are read.
    left: u64,
    /// It can't be read.
    failed: bool,
}

impl fmt::Debug for Files {
    /// Nothing of what was read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "files of {}", self.directory.display())
    }
}

impl Files {
    /// Looks for the files; `None` where there is nothing to read.
    pub(crate) fn begin(directory: PathBuf, reading: Reading) -> Result<Option<Self>, ListError> {
        let found = find(&directory, &reading);
        let Some((dir, paths)) = own_or_nothing(&directory, found)? else { return Ok(None) };
        let paths = paths.into_iter();
        Ok(Hasher::begin().map(|counting| Self {
            directory,
            reading,
            dir,
            paths,
            counting,
            files: BTreeMap::new(),
            left: MOST_BYTES,
            failed: false,
        }))
    }

    /// What is read.
    pub(crate) const fn reading(&self) -> &Reading {
        &self.reading
    }

    /// What it was begun with.
    pub(crate) fn request(self) -> (PathBuf, Reading) {
        (self.directory, self.reading)
    }

    /// Reads files until the time is over; whether there are more.
    pub(crate) fn go_on(&mut self, is_over: &dyn Fn() -> bool) -> Result<bool, ListError> {
        while let Some(path) = self.paths.next() {
            let read = read_file(&self.directory.join(&*path), self.left);
            let read = own_or_nothing(&self.directory, read)?;
            if !self.take(path, read) {
                self.failed = true;
                return Ok(false);
            }
            if is_over() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A file was read. Whether the read can go on.
    fn take(&mut self, path: Box<str>, read: Option<(Digest, u64)>) -> bool {
        let counts = self.reading.filter.counts(&path);
        // A token may be readable for the pod's own user only.
        let Some((digest, length)) = read else { return !counts };
        self.left -= length;
        if counts {
            self.counting.update(&(path.len() as u64).to_le_bytes());
            self.counting.update(path.as_bytes());
            self.counting.update(digest.as_bytes());
        }
        // More than that isn't measured: one more says so.
        if self.reading.each && self.files.len() <= MOST_KEYS {
            self.files.insert(path.into(), digest);
        }
        true
    }

    /// What was to be read, and what was.
    pub(crate) fn end(self) -> (Reading, Option<Contents>) {
        // What went away meanwhile wasn't read as a whole.
        let is_whole = !self.failed && dir_id(&self.directory) == Some(self.dir);
        let counting = self.counting.end().filter(|_| is_whole);
        let files = Arc::new(self.files);
        (self.reading, counting.map(|counting| Contents { counting, files }))
    }
}

/// What was found; an error only where it is about the agent and not about what it reads.
fn own_or_nothing<T>(directory: &Path, found: io::Result<Option<T>>) -> Result<Option<T>, ListError> {
    match found {
        Ok(found) => Ok(found),
        Err(source) if lack::of(&source) == Lack::Descriptors => {
            Err(ListError { path: directory.to_owned(), source })
        }
        Err(_) => Ok(None),
    }
}

/// The directory of a generation, and the paths of its files that are to be read.
fn find(directory: &Path, reading: &Reading) -> io::Result<Option<(DirId, Vec<Box<str>>)>> {
    let Some(dir) = look(directory)? else { return Ok(None) };
    let mut found = Found::default();
    found.collect(directory, "", DEEPEST, reading)?;
    found.files.sort();
    Ok(Some((dir, found.files)))
}

/// A file's digest and length, if it is a regular file of at most so many bytes.
fn read_file(path: &Path, most: u64) -> io::Result<Option<(Digest, u64)>> {
    let Some(file) = open_regular(path)? else { return Ok(None) };
    let length = file.metadata()?.len();
    if length > most {
        return Ok(None);
    }
    Ok(digest_of(file, length).map(|digest| (digest, length)))
}

/// The digest of what is read, if it is this long: a file that grows or shrinks meanwhile is none of the kubelet's.
fn digest_of(file: fs::File, length: u64) -> Option<Digest> {
    let mut from = file.take(length + 1);
    let mut hash = Hasher::begin()?;
    // Wiped at the end: nothing of a Secret stays on the stack.
    let mut buffer = Zeroizing::new([0; 16 * 1024]);
    let mut sum = 0;
    loop {
        let read = match from.read(buffer.as_mut_slice()) {
            Ok(0) if sum == length => return hash.end(),
            Ok(0) => return None,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        };
        hash.update(buffer.get(..read)?);
        sum += read as u64;
    }
}

/// A regular file; anything else is neither followed nor waited for.
fn open_regular(path: &Path) -> io::Result<Option<fs::File>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let file = fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

/// The files that are to be read, by their paths in the volume.
#[derive(Default)]
struct Found {
    files: Vec<Box<str>>,
    /// What was looked at, directories too.
    entries: usize,
    bytes: usize,
}

impl Found {
    /// Every such file below a directory.
    fn collect(&mut self, directory: &Path, below: &str, depth: usize, reading: &Reading) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            self.entries += 1;
            if self.entries > MOST_FILES || self.bytes + path.len() > MOST_PATHS {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            if entry.file_type()?.is_dir() {
                if depth > 0 {
                    self.collect(&entry.path(), &path, depth - 1, reading)?;
                }
            } else if reading.each || reading.filter.counts(&path) {
                self.bytes += path.len();
                self.files.push(path.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        FileFilter::new(
            Some(Globs::new([glob]).unwrap()),
            Vec::<String>::new().iter().map(|s| s.as_str().into()),
        )
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
        let listing = list(dir.path()).unwrap();
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
        assert_eq!(list(&dir.path().join("gone")).unwrap().dir, None);
        assert_eq!(list(&file).unwrap().dir, None);
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
}
