//! Log lines go to standard error through a thread of their own, so that a full pipe never holds the loop.

use std::error::Error;
use std::fmt::{self, Write as _};

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
    let targets = targets(level.into());
    match format {
        LogFormat::Text => lines.with_ansi(false).finish().with(targets).init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().with(targets).init(),
    }
    guard
}

/// Who may say what. What the API server says is told by the agent; the client has a line for each request that fails, and
/// quotes answers that it doesn't understand, Secrets as well.
fn targets(level: Level) -> Targets {
    let requests = if level >= Level::DEBUG { LevelFilter::from(level) } else { LevelFilter::OFF };
    Targets::new()
        .with_default(level)
        .with_target("h2", LevelFilter::INFO)
        .with_target("kube_client::client", LevelFilter::ERROR)
        .with_target("kube_client::client::builder", requests)
        .with_target("kube_runtime::watcher", LevelFilter::ERROR)
}

/// An error with its causes, in one line. The JSON format writes an error as a field without them.
pub(crate) struct Causes<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors say their cause themselves.
            if !said.contains(&text) {
                write!(said, ": {text}")?;
            }
            cause = error.source();
        }
        f.write_str(&said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_has_no_line_for_each_request_that_fails() {
        let builder = "kube_client::client::builder";
        assert!(!targets(Level::INFO).would_enable(builder, &Level::ERROR));
        assert!(targets(Level::DEBUG).would_enable(builder, &Level::ERROR));
        assert!(targets(Level::INFO).would_enable("reloadlet::api::watch::trouble", &Level::WARN));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn each_cause_is_said_once() {
        let last = Layer { text: "broken pipe", source: None };
        let middle = Layer { text: "can't send: broken pipe", source: Some(Box::new(last)) };
        let error = Layer { text: "no answer", source: Some(Box::new(middle)) };
        assert_eq!(Causes(&error).to_string(), "no answer: can't send: broken pipe");
    }
}
