//! Log lines go to standard error through a thread of their own, so that a full pipe never holds the loop.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::shares::Shares;
use crate::clock;

mod shares;

#[cfg(test)]
pub(crate) use shares::tests::Page;

/// How many lines wait for a slow reader; more are dropped.
const WAITING_LINES: usize = 8192;
/// How long the last lines may take where nobody reads them.
const LAST_LINES: Duration = Duration::from_millis(500);
/// How often it is said which lines aren't there.
const SAY_EACH: Duration = Duration::from_secs(60);

/// The log. Lines are written until it is dropped.
pub(crate) struct Log {
    missing: Missing,
    writer: Option<WorkerGuard>,
}

impl Log {
    /// What is missing from it.
    pub(crate) fn missing(&self) -> Missing {
        self.missing.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.missing.say();
        end_within(LAST_LINES, self.writer.take());
    }
}

/// Drops something that may wait for whoever reads the log, and waits for that as long at most.
fn end_within(limit: Duration, what: impl Send + 'static) {
    let (ended, end) = channel::<()>();
    let ending = thread::Builder::new().name("log-end".to_owned()).spawn(move || {
        drop(what);
        drop(ended);
    });
    // Without a thread it was dropped at once.
    if ending.is_ok() {
        end.recv_timeout(limit).unwrap_or_default();
    }
}

/// The lines that aren't in the log. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    shares: Shares,
    dropped: ErrorCounter,
    said: Arc<AtomicUsize>,
}

impl Missing {
    /// Says each minute which lines are missing, if any are.
    pub(crate) async fn warn(self) {
        loop {
            tokio::time::sleep(SAY_EACH).await;
            self.say();
        }
    }

    fn say(&self) {
        self.shares.say_left_out();
        let dropped = self.dropped.dropped_lines();
        let lines = dropped.saturating_sub(self.said.swap(dropped, Ordering::Relaxed));
        if lines > 0 {
            tracing::warn!(lines, "lines were dropped, since whoever reads the log was too slow");
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The least severe log line that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Only what fails.
    Error,
    /// What an operator should look at.
    Warn,
    /// Each delivery, and each reload or verdict that somebody should look at, too.
    Info,
    /// Decisions on the way.
    Debug,
    /// What is usual on connections and watches, too.
    Trace,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// Starts to write the log; an error where it can't have a thread.
pub(crate) fn start(format: LogFormat, level: LogLevel) -> io::Result<Log> {
    // What starts the writer's thread panics where there can't be one.
    thread::Builder::new().spawn(|| {})?.join().unwrap_or_default();
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(io::stderr());
    let missing =
        Missing { shares: Shares::new(clock::now()), dropped: writer.error_counter(), said: Arc::default() };
    let lines =
        tracing_subscriber::fmt().with_max_level(Level::from(level)).with_writer(writer).with_target(false);
    let targets = targets(level.into());
    match format {
        LogFormat::Text => lines.with_ansi(false).finish().with(targets).with(missing.shares.clone()).init(),
        LogFormat::Json => {
            lines.json().flatten_event(true).finish().with(targets).with(missing.shares.clone()).init();
        }
    }
    Ok(Log { missing, writer: Some(guard) })
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
    use std::io::Write;
    use std::sync::mpsc::Receiver;
    use std::time::Instant;

    use super::*;

    /// A reader that takes nothing before it is told to.
    struct Slow(Receiver<()>);

    impl Write for Slow {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            // It goes on when there is nobody to tell it to.
            self.0.recv().unwrap_or_default();
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_a_slow_reader_lost_are_said_once() {
        let (go, wait) = channel();
        let (mut writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(1).finish(Slow(wait));
        let missing = Missing {
            shares: Shares::new(clock::now()),
            dropped: writer.error_counter(),
            said: Arc::default(),
        };
        for _ in 0..100 {
            writer.write_all(b"a line\n").unwrap();
        }
        let lost = missing.dropped.dropped_lines();
        assert!(lost >= 98, "one is being written, and one waits: {lost}");
        let page = Page::default();
        let shown = page.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || shown.clone()).finish();
        tracing::subscriber::with_default(lines, || {
            missing.say();
            missing.say();
        });
        let said = page.lines();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains(&format!("lines={lost}")), "{said:?}");
        drop(go);
        drop(guard);
    }

    /// Its end waits for a reader that never comes.
    struct Unread(Receiver<()>);

    impl Drop for Unread {
        fn drop(&mut self) {
            self.0.recv().unwrap_or_default();
        }
    }

    #[test]
    fn a_log_that_nobody_reads_keeps_the_agent_from_its_end_for_a_moment_only() {
        let (reader, wait) = channel();
        let begun = Instant::now();
        end_within(Duration::from_millis(1), Unread(wait));
        assert!(begun.elapsed() < Duration::from_secs(10));
        drop(reader);
    }

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
