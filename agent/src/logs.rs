//! Log lines go to standard error through a thread of their own, so that a full pipe never holds the loop.

use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

use crate::cli::{LogFormat, LogLevel};

/// How many lines wait for a slow reader; more are dropped.
const WAITING_LINES: usize = 8192;

/// Starts logging. Lines are written until the guard is dropped.
pub(crate) fn start(format: LogFormat, level: LogLevel) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(std::io::stderr());
    let lines =
        tracing_subscriber::fmt().with_max_level(Level::from(level)).with_writer(writer).with_target(false);
    match format {
        LogFormat::Text => lines.with_ansi(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    guard
}
