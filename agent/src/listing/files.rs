//! What a generation holds: its files are opened, read and closed, one by one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;
use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::kernel::mounts::DirId;
use reloadlet_core::machine::event::Reading;
use reloadlet_core::model::digest::{Contents, Digest};
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::MOST_KEYS;
use zeroize::Zeroizing;

use super::{ListError, dir_id, look};
use crate::digest::Hasher;
use crate::lack;
/// The most bytes of a generation that are read; ConfigMaps and Secrets hold at most 1 MiB each.
pub(super) const MOST_BYTES: u64 = 64 << 20;
/// The most files of a generation that are read, and the most bytes of all their paths.
pub(super) const MOST_FILES: usize = 16 << 10;
const MOST_PATHS: usize = 2 << 20;
/// The deepest path in a generation; the kubelet makes one level for each part of an `items` path.
const DEEPEST: usize = 64;

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
