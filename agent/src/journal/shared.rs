//! What is between those who record and the journal's thread.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reloadlet_core::model::journal::JournalUpdate;

use super::records::Changes;

/// How long a record waits at most for others, where it takes nothing away to lose it.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);

/// Whether it takes nothing away to lose a record: an agent that takes a window for open looks whether the processes are there, as it
/// does at any start.
fn may_wait(update: &JournalUpdate) -> bool {
    matches!(update, JournalUpdate::LastDelivery(_, _, Some(last)) if !last.is_open && last.ended.is_none())
}

/// What both sides hold.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// There is something for the thread to do.
    pub(super) work: Condvar,
    /// The thread has let go of the file.
    pub(super) ended: Condvar,
}

/// How far the records are.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) pending: Changes,
    /// When the pending ones are to be written, and how the clocks stand; `None` if nothing is.
    pub(super) due: Option<Instant>,
    /// How many records were taken, and how many of them are kept.
    pub(super) recorded: u64,
    pub(super) kept: u64,
    /// Whether somebody waits for [`JournalEvent::Flushed`](super::JournalEvent::Flushed).
    pub(super) awaited: bool,
    pub(super) in_memory: bool,
    pub(super) closing: bool,
    pub(super) ended: bool,
}

/// What the thread is to do next.
pub(super) enum Work {
    Keep { changes: Changes, up_to: u64 },
    Retry,
    End,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a record.
    pub(super) fn add(&self, update: JournalUpdate) {
        let patience = if may_wait(&update) { PATIENCE } else { Duration::ZERO };
        let mut state = self.lock();
        state.pending.add(update);
        state.recorded += 1;
        self.write_by(state, Instant::now() + patience);
    }

    /// What is pending is to be written at once.
    pub(super) fn hurry(&self, state: MutexGuard<'_, State>) {
        self.write_by(state, Instant::now());
    }

    fn write_by(&self, mut state: MutexGuard<'_, State>, due: Instant) {
        // Else the thread knows of a sooner time.
        if state.due.is_none_or(|known| due < known) {
            state.due = Some(due);
            drop(state);
            self.work.notify_one();
        }
    }

    /// Waits for records that are due, for that time, or for the end; records first.
    pub(super) fn next(&self, retry_at: Instant) -> Work {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.due.is_some_and(|due| due <= now || state.closing) {
                state.due = None;
                return Work::Keep { changes: std::mem::take(&mut state.pending), up_to: state.recorded };
            }
            if state.closing {
                return Work::End;
            }
            if retry_at <= now {
                return Work::Retry;
            }
            let at = state.due.map_or(retry_at, |due| due.min(retry_at));
            let waited = self.work.wait_timeout(state, at.saturating_duration_since(now));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits, but not when the end is wanted: then it says `true` at once.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let waited = self.work.wait_timeout_while(self.lock(), time, |state| !state.closing);
        waited.unwrap_or_else(PoisonError::into_inner).0.closing
    }
}
