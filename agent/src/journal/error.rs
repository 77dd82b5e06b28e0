//! What can be wrong with the journal's file.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

/// The schema of the file. Another one means another meaning of its tables.
pub(super) const SCHEMA: &str = "2";

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("can't {op} {}", .path.display())]
    Io { op: &'static str, path: PathBuf, source: io::Error },
    #[error("can't {op} {}", .path.display())]
    Database { op: &'static str, path: PathBuf, source: Box<redb::Error> },
    #[error("{} has schema {found:?} and this version reads {SCHEMA:?}", .path.display())]
    Schema { path: PathBuf, found: Option<String> },
    #[error("{} holds a record that names no pod or generation: {record:?}", .path.display())]
    Record { path: PathBuf, record: String },
}

impl StoreError {
    /// Whether the file's content is at fault, so that a new file helps.
    pub(super) fn is_content(&self) -> bool {
        match self {
            Self::Io { .. } => false,
            Self::Database { source, .. } => {
                if let redb::Error::Io(error) = source.as_ref() {
                    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
                } else {
                    !matches!(source.as_ref(), redb::Error::PreviousIo)
                }
            }
            Self::Schema { .. } | Self::Record { .. } => true,
        }
    }

    /// Whether it is this file that can't be opened or read, and another one in its place may.
    pub(super) fn is_of_file(&self) -> bool {
        let error = match self {
            Self::Io { op: "open", source, .. } => Some(source),
            Self::Database { source, .. } => io_of(source),
            Self::Io { .. } | Self::Schema { .. } | Self::Record { .. } => None,
        };
        let found = error.and_then(io::Error::raw_os_error).map(Errno::from_raw);
        matches!(found, Some(Errno::EACCES | Errno::EPERM | Errno::EIO | Errno::EISDIR | Errno::ELOOP))
    }

    /// Whether a later try may well do without anything having been mended.
    pub(super) fn is_passing(&self) -> bool {
        let error = match self {
            Self::Io { source, .. } => Some(source),
            Self::Database { source, .. } => io_of(source),
            Self::Schema { .. } | Self::Record { .. } => None,
        };
        let found = error.and_then(io::Error::raw_os_error).map(Errno::from_raw);
        matches!(
            found,
            Some(
                Errno::ENFILE | Errno::EMFILE | Errno::ENOMEM | Errno::ESTALE | Errno::EINTR | Errno::EAGAIN
            )
        )
    }
}

fn io_of(error: &redb::Error) -> Option<&io::Error> {
    if let redb::Error::Io(error) = error { Some(error) } else { None }
}
