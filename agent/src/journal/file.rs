//! The state directory and its file, as far as redb doesn't see to them.

use std::fs::{DirBuilder, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

use super::error::StoreError;

/// The journal's file in its directory, and how the names of those begin that were set aside.
const NAME: &str = "journal.redb";
pub(super) const ASIDE: &str = "journal.redb.unreadable-";

/// Where the journal is.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

/// Whether a journal was set aside: one that is begun in its place isn't that of an installation.
pub(super) fn is_any_aside(directory: &Path) -> bool {
    let mut entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries.any(|entry| entry.file_name().as_encoded_bytes().starts_with(ASIDE.as_bytes()))
}

/// Which file or directory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

/// Held for as long as this agent is the one that writes the directory.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    directory: File,
}

impl DirectoryLock {
    /// Takes the lock, creating the directory where it is missing; `None` while another agent holds it.
    ///
    /// The directory is locked and not the file: a file that is set aside would take its lock along.
    pub(super) fn try_take(directory: &Path) -> Result<Option<Self>, StoreError> {
        let failed = |op| move |source| StoreError::Io { op, path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed("create"))?;
        let file = File::open(directory).map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { directory: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(failed("lock")(source)),
        }
    }

    /// Whether the locked directory is the one at this path.
    pub(super) fn is_of(&self, directory: &Path) -> bool {
        let locked = self.directory.metadata().map(|found| FileId::of(&found));
        let there = std::fs::symlink_metadata(directory).map(|found| FileId::of(&found));
        locked.ok().zip(there.ok()).is_some_and(|(locked, there)| locked == there)
    }
}

/// A file that is never synced: the journal must outlive the agent, not the machine, and the page cache does that.
#[derive(Debug)]
pub(super) struct Unsynced {
    pub(super) file: File,
    /// Once set, nothing is read or written any more.
    pub(super) sealed: Arc<AtomicBool>,
}

impl Unsynced {
    fn check_open(&self) -> io::Result<()> {
        match self.sealed.load(Ordering::Acquire) {
            true => Err(io::Error::other("the journal is closed")),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.check_open()?;
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.check_open()?;
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check_open()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check_open()?;
        self.file.write_all_at(data, offset)
    }
}
