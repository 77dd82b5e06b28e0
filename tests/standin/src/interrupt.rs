//! Ctrl-C ends a program between two steps, so that everything is taken away.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How soon a signal is noticed.
const SLICE: Duration = Duration::from_millis(10);

/// A signal came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was interrupted")]
pub struct Interrupted;

/// Whether SIGINT, SIGTERM or (the terminal is gone) SIGHUP came.
#[derive(Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches these signals.
    pub fn on_signals() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    /// An error once a signal came.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.0.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
    }

    /// Waits until then.
    pub fn sleep_until(&self, deadline: Instant) -> Result<(), Interrupted> {
        loop {
            self.check()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(SLICE));
        }
    }

    /// Waits for so long.
    pub fn sleep(&self, time: Duration) -> Result<(), Interrupted> {
        self.sleep_until(Instant::now() + time)
    }

    /// Asks until there is an answer; `None` where there is none in time.
    pub fn wait_for<T, E: From<Interrupted>>(
        &self,
        limit: Duration,
        mut ask: impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        let deadline = Instant::now() + limit;
        loop {
            self.check()?;
            let answer = ask()?;
            if answer.is_some() || Instant::now() > deadline {
                return Ok(answer);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
