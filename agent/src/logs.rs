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
