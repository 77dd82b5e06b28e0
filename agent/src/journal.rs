//! The journal: what must outlive the agent's death. Its own thread writes it, so that nothing here waits for a disk.

use std::io;
use std::path::PathBuf;

use reloadlet_core::journal::{JournalSnapshot, JournalUpdate};

/// Where the journal is, and how a boot is known.
#[derive(Clone, Debug)]
pub(crate) struct JournalConfig {
    /// The directory of `journal.redb`; created if it is missing.
    pub(crate) state_dir: PathBuf,
    /// The file that names the boot: `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot_id: PathBuf,
}

/// What the journal's thread says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JournalEvent {
    /// What it held. Comes exactly once, after the lock was had; until then the agent isn't ready.
    Opened(JournalSnapshot),
    /// All that was recorded is kept. Comes once after a [`JournalHandle::is_flushed`] that said no.
    Flushed,
    /// Whether records are kept in memory only; comes when that changes, `false` is assumed at the start.
    InMemory(bool),
}

/// Why the journal's thread can't be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// No thread.
    #[error("can't start the journal's thread")]
    Thread(#[source] io::Error),
}

/// Hands records to the journal's thread.
#[derive(Clone, Debug)]
pub(crate) struct JournalHandle {}

impl JournalHandle {
    /// Starts the thread, which locks and opens the journal. The callback runs on that thread.
    pub(crate) fn start(
        _config: JournalConfig,
        _on_event: impl FnMut(JournalEvent) + Send + 'static,
    ) -> Result<Self, JournalError> {
        Ok(Self {})
    }

    /// Takes a record; never waits for the disk. It is in the file within 10 ms.
    pub(crate) fn record(&self, _update: JournalUpdate) {}

    /// Whether all that was recorded so far is kept: in the file, or in memory while the file can't be written. After
    /// a `false` there comes one [`JournalEvent::Flushed`] when it is.
    pub(crate) fn is_flushed(&self) -> bool {
        true
    }

    /// Writes what is left and ends the thread, for at most a second. Says whether all that was recorded is in the file.
    pub(crate) fn close(&self) -> bool {
        true
    }
}
