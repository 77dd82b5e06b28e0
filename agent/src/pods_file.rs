//! The pods file: read at the start and after each change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use reloadlet_core::pod::Pod;
use rustix::fd::OwnedFd;

/// What the file says now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PodsFileEvent {
    /// All pods of the node. Comes at the start, after each change of the content, and when a broken file is whole again.
    Pods(Vec<Pod>),
    /// The file can't be used: one sentence that names it. Comes once for each broken content; what was read before
    /// stays true.
    Broken(String),
}

/// Why the file can't be followed.
#[derive(Debug, thiserror::Error)]
#[error("can't follow the pods file {}: {op}", .path.display())]
pub(crate) struct PodsFileError {
    op: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The thread that follows the file. Dropping it stops it too.
#[derive(Debug)]
pub(crate) struct PodsFile {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl PodsFile {
    /// Follows the file, also one that doesn't exist yet. The callback runs on the thread that this starts.
    pub(crate) fn follow(
        _path: &Path,
        _on_event: impl FnMut(PodsFileEvent) + Send + 'static,
    ) -> Result<Self, PodsFileError> {
        Err(PodsFileError { op: "x", path: PathBuf::new(), source: io::ErrorKind::Unsupported.into() })
    }

    /// Stops and waits for the thread: nothing is called back afterwards.
    pub(crate) fn stop(self) {}
}
