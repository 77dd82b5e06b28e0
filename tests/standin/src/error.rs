//! The one error of this crate.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What went wrong, where, and why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call or file operation failed.
    #[error("{op} {}", path.display())]
    Io {
        /// The operation, e.g. `umount`.
        op: &'static str,
        /// The file, directory or mount point.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A binary of the workspace is missing.
    #[error("{0} is not built: run make build first")]
    NotBuilt(String),
    /// The awaited thing did not happen in time.
    #[error("waited {waited:?} in vain for {what}")]
    Timeout {
        /// What was awaited.
        what: String,
        /// For how long.
        waited: Duration,
    },
    /// There is no such pod, volume, container or metric.
    #[error("there is no {kind} named {name}")]
    Unknown {
        /// What kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A container could not be started.
    #[error("container {container} did not start: {message}")]
    Start {
        /// The container's name.
        container: String,
        /// What its shim said.
        message: String,
    },
    /// JSON or a protocol answer could not be understood.
    #[error("{what} can't be understood: {message}")]
    Malformed {
        /// What was read.
        what: String,
        /// The reason.
        message: String,
    },
}

impl Error {
    /// An [`Error::Io`].
    pub fn io(op: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { op, path: path.to_owned(), source: source.into() }
    }

    /// The errno, where the kernel gave one.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Io { source, .. } => source.raw_os_error(),
            Self::NotBuilt(_)
            | Self::Timeout { .. }
            | Self::Unknown { .. }
            | Self::Start { .. }
            | Self::Malformed { .. } => None,
        }
    }

    /// Whether this is EBUSY: something pins a mount.
    pub fn is_busy(&self) -> bool {
        self.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error())
    }

    pub(crate) fn unknown(kind: &'static str, name: &str) -> Self {
        Self::Unknown { kind, name: name.to_owned() }
    }
}

/// Adds operation and path to a result.
pub(crate) trait At<T> {
    /// Turns the error into an [`Error::Io`].
    fn at(self, op: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, op: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::io(op, path, source))
    }
}
