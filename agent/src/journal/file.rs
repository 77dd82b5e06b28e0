//! The state directory and its file, as far as redb doesn't see to them.

use std::fs::{DirBuilder, File, Metadata, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

use super::error::StoreError;

/// The journal's file in its directory, and how the names of those begin that were set aside.
const NAME: &str = "journal.redb";
pub(super) const ASIDE: &str = "journal.redb.unreadable-";
/// An empty file beside it: something was recorded here once.
const BEGUN: &str = "journal.begun";

/// The most bytes that are read of the kernel's list of locks.
const MOST_LOCKS: u64 = 1 << 20;

/// Where the journal is.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

/// Whether there ever was a journal in this directory, whatever became of it.
pub(super) fn was_begun(directory: &Path) -> bool {
    std::fs::symlink_metadata(directory.join(BEGUN)).is_ok()
}

/// Leaves the sign by which a journal that is gone isn't taken for one that never was. The journal is as good without it.
pub(super) fn mark_begun(journal: &Path) {
    let sign = journal.with_file_name(BEGUN);
    let made = File::options().append(true).create(true).mode(0o600).open(&sign);
    if let Err(error) = made {
        tracing::debug!(path = %sign.display(), %error, "the sign that there is a journal can't be left");
    }
}

/// The process that holds the lock of a directory, as far as the kernel's list of locks tells.
pub(super) fn holder(directory: &Path, locks: &Path) -> Option<u32> {
    let found = std::fs::metadata(directory).ok()?;
    let (major, minor) = (nix::sys::stat::major(found.dev()), nix::sys::stat::minor(found.dev()));
    let wanted = format!("{major:02x}:{minor:02x}:{}", found.ino());
    let mut text = String::new();
    File::open(locks).ok()?.take(MOST_LOCKS).read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, pid, of) = (words.next()?, words.nth(2)?, words.next()?);
        (kind == "FLOCK" && of == wanted).then(|| pid.parse().ok())?
    })
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
        match DirBuilder::new().recursive(true).mode(0o700).create(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(failed("use")(io::ErrorKind::NotADirectory.into()));
            }
            made => made.map_err(failed("create"))?,
        }
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
