//! Log lines go to standard error through a thread of their own, so that a full pipe never holds the loop.

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

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
    // What the API server says is told by the agent; the client quotes answers that it doesn't understand, Secrets as well.
    let targets = Targets::new()
        .with_default(Level::from(level))
        .with_target("h2", LevelFilter::INFO)
        .with_target("kube_client::client", LevelFilter::ERROR)
        .with_target("kube_client::client::builder", Level::from(level))
        .with_target("kube_runtime::watcher", LevelFilter::ERROR);
    match format {
        LogFormat::Text => lines.with_ansi(false).finish().with(targets).init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().with(targets).init(),
    }
    guard
}
