//! The journal: what must outlive the agent's death. Its own thread writes it, so that nothing here waits for a disk.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::wall::WallClock;
use crate::logs::Causes;
use reloadlet_core::model::journal::{JournalSnapshot, JournalUpdate};

use error::StoreError;
use file::DirectoryLock;
use records::{Changes, Records, unix_seconds};
use shared::{Shared, Work};
use store::{Past, Store};

mod carried;
mod deliveries;
mod error;
mod file;
mod frozen;
mod held;
mod records;
mod rereads;
mod shared;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod whole;

/// How often the lock is asked for while another agent holds it.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);
/// How long another agent may hold it until that is said.
const HELD_AFTER: Duration = Duration::from_secs(1);
/// A start waits so long for what keeps the file from being opened and passes.
const PASSES_WITHIN: Duration = Duration::from_secs(3);
/// How often it is looked whether the file is still there.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long after a failure the file is tried again at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long [`JournalHandle::close`] waits.
const CLOSE_LIMIT: Duration = Duration::from_millis(800);

/// Where the journal is, and how a boot and the holder of its lock are known.
#[derive(Clone, Debug)]
pub(crate) struct JournalConfig {
    /// The directory of `journal.redb`; created if it is missing.
    pub(crate) state_dir: PathBuf,
    /// The file that names the boot: `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot_id: PathBuf,
    /// The kernel's list of file locks: `/proc/locks`.
    pub(crate) locks: PathBuf,
    /// How the clocks stand to each other, which is kept with the records.
    pub(crate) wall: WallClock,
}

/// What the journal's thread says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JournalEvent {
    /// What it held. Comes exactly once, after the lock was had; until then the agent isn't ready.
    Opened(JournalSnapshot),
    /// All that was recorded is kept. Comes once after a [`JournalHandle::is_flushed`] that said no.
    Flushed,
    /// Whether records are kept in memory only; comes when that changes, `false` is assumed at the start.
    InMemory(bool),
    /// Whether another agent holds the journal; comes when that changes, `false` is assumed at the start.
    Held(bool),
}

/// Why the journal's thread can't be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// The thread of the journal could not be started.
    #[error("can't start the journal's thread")]
    Thread(#[source] io::Error),
}

/// Hands records to the journal's thread. The last word to it is [`JournalHandle::close`].
#[derive(Clone, Debug)]
pub(crate) struct JournalHandle {
    shared: Arc<Shared>,
}

impl JournalHandle {
    /// Starts the thread, which locks and opens the journal. The callback runs on that thread.
    pub(crate) fn start(
        config: JournalConfig,
        on_event: impl FnMut(JournalEvent) + Send + 'static,
    ) -> Result<Self, JournalError> {
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            shared: Arc::clone(&shared),
            config,
            on_event,
            records: Records::default(),
            lock: None,
            store: None,
            has_opened: false,
            is_held: false,
            retry: None,
        };
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(JournalError::Thread)?;
        Ok(Self { shared })
    }

    /// Takes a record; never waits for the disk. It is in the file within 10 ms; that a window is over is with the next record, or
    /// within 0.2 s.
    pub(crate) fn record(&self, update: JournalUpdate) {
        self.shared.add(update);
    }

    /// The wall clock was set: how the clocks stand to each other is kept at once.
    pub(crate) fn clock_was_set(&self) {
        self.shared.hurry(self.shared.lock());
    }

    /// Whether all that was recorded so far is kept: in the file, or in memory while the file can't be written. After
    /// a `false` there comes one [`JournalEvent::Flushed`] when it is.
    pub(crate) fn is_flushed(&self) -> bool {
        let mut state = self.shared.lock();
        let flushed = state.kept == state.recorded;
        state.awaited |= !flushed;
        if !flushed {
            self.shared.hurry(state);
        }
        flushed
    }

    /// Writes what is left and ends the thread, for at most 0.8 s. Says whether all that was recorded is in the file.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.shared.lock();
        state.closing = true;
        self.shared.work.notify_one();
        let waited = self.shared.ended.wait_timeout_while(state, CLOSE_LIMIT, |state| !state.ended);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.ended && !state.in_memory && state.kept == state.recorded
    }
}

/// What the thread of the journal works with.
struct Writer<F> {
    shared: Arc<Shared>,
    config: JournalConfig,
    on_event: F,
    records: Records,
    lock: Option<DirectoryLock>,
    store: Option<Store>,
    /// Whether what the file held at the start is known.
    has_opened: bool,
    /// Whether it was said that another agent holds it.
    is_held: bool,
    /// When the file is tried again, and after which pause: set while there is no store.
    retry: Option<(Instant, Duration)>,
}

impl<F: FnMut(JournalEvent)> Writer<F> {
    fn run(mut self) {
        self.open();
        let mut look = Instant::now() + LOOK_EVERY;
        loop {
            if self.store.is_some() && Instant::now() >= look {
                self.look();
                look = Instant::now() + LOOK_EVERY;
            }
            match self.shared.next(self.retry.map_or(look, |(at, _)| at)) {
                Work::Keep { changes, up_to } => self.keep(&changes, up_to),
                Work::Retry if self.store.is_some() => {}
                Work::Retry => self.recover(),
                Work::End => break,
            }
        }
        self.look();
        if self.retry.is_some() {
            self.recover();
        }
        if let Some(store) = &self.store
            && let Err(error) = store.finish(&self.config.wall.record())
        {
            tracing::warn!(error = %Causes(&error), "the journal doesn't say that it is complete");
        }
        // The file and the lock are another agent's from here on.
        self.store = None;
        self.lock = None;
        self.shared.lock().ended = true;
        self.shared.ended.notify_all();
    }

    /// Waits for the lock, opens the file, and tells what it held.
    fn open(&mut self) {
        let held_since = Instant::now();
        let opened = loop {
            match self.try_open() {
                Ok(None) if held_since.elapsed() >= HELD_AFTER => self.set_held(true),
                Ok(None) => {}
                Ok(Some(opened)) => break Ok(opened),
                Err(error) if error.is_passing() && held_since.elapsed() < PASSES_WITHIN => {}
                Err(error) => break Err(error),
            }
            if self.shared.pause(LOCK_INTERVAL) {
                return;
            }
        };
        self.set_held(false);
        let past = match opened {
            Ok((store, records, past)) => {
                self.store = Some(store);
                self.take(records);
                past
            }
            Err(error) => {
                self.degrade(&error);
                self.only_read()
            }
        };
        let directory = self.config.state_dir.display();
        match past {
            Past::Nothing => tracing::info!(
                %directory,
                "first start: there was no journal here, so what volumes hold now is taken as known; what changes from now on is \
                 told"
            ),
            Past::Gone => tracing::warn!(
                %directory,
                "the journal is gone, though there was one: whoever is older than what its volumes hold is told of it, maybe \
                 once more"
            ),
            // It was said.
            Past::Unreadable | Past::Read | Past::Unknown => {}
        }
        (self.on_event)(JournalEvent::Opened(self.records.snapshot(past.existed())));
    }

    /// What a file holds that can't be written.
    fn only_read(&mut self) -> Past {
        let directory = &self.config.state_dir;
        match Store::only_read(directory, self.boot_id().as_deref()) {
            Ok(Some((records, begun))) => {
                self.take(records);
                if begun { Past::Read } else { Past::Nothing }
            }
            Ok(None) if !file::was_begun(directory) => Past::Nothing,
            Ok(None) => self.say_unknown(None),
            // It was said, and whoever is older than what its volumes hold is told of it, maybe once more.
            Err(error) if error.is_passing() => Past::Unreadable,
            Err(error) => self.say_unknown(Some(&error)),
        }
    }

    /// Else each start would tell everybody once more, as nothing can be kept that ends that.
    fn say_unknown(&self, error: Option<&StoreError>) -> Past {
        tracing::warn!(
            error = error.map(|error| Causes(error).to_string()),
            "it can't be known what an earlier agent did: what was changed while no agent ran is told to nobody"
        );
        Past::Unknown
    }

    fn take(&mut self, records: Records) {
        self.config.wall.restore(&records.clock);
        self.records = records;
        self.has_opened = true;
    }

    /// `None` while another agent holds the lock.
    fn try_open(&mut self) -> Result<Option<(Store, Records, Past)>, StoreError> {
        // A lock on a directory that was removed keeps nobody out of the one in its place.
        self.lock = self.lock.take().filter(|lock| lock.is_of(&self.config.state_dir));
        if self.lock.is_none() {
            self.lock = DirectoryLock::try_take(&self.config.state_dir)?;
        }
        if self.lock.is_none() {
            return Ok(None);
        }
        Store::open(&self.config.state_dir, self.boot_id().as_deref()).map(Some)
    }

    fn boot_id(&self) -> Option<String> {
        match std::fs::read_to_string(&self.config.boot_id) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) => {
                let path = self.config.boot_id.display();
                tracing::warn!(%path, %error, "can't read the boot ID: the journal is taken as this boot's");
                None
            }
        }
    }

    /// Whether the file is still there. If it isn't, it is made anew, of what is in memory.
    fn look(&mut self) {
        if let Some(Err(error)) = self.store.as_ref().map(Store::is_in_place) {
            self.degrade(&error);
            self.recover();
        }
    }

    fn keep(&mut self, changes: &Changes, up_to: u64) {
        let at = unix_seconds();
        self.records.apply(changes, at);
        self.records.clock = self.config.wall.record();
        if let Some(store) = &mut self.store
            && let Err(error) = store.commit(changes, &self.records.clock, at)
        {
            self.degrade(&error);
        }
        let mut state = self.shared.lock();
        state.kept = up_to;
        let flushed = state.kept == state.recorded && std::mem::take(&mut state.awaited);
        drop(state);
        if flushed {
            (self.on_event)(JournalEvent::Flushed);
        }
    }

    /// From now on records are kept in memory only.
    fn degrade(&mut self, error: &StoreError) {
        self.store = None;
        self.retry = Some((Instant::now() + RETRY.0, RETRY.0));
        tracing::warn!(
            error = %Causes(error),
            "the journal can't be written and is kept in memory only: what the agent does until it can be is forgotten when it ends"
        );
        self.set_in_memory(true);
    }

    /// Tries to get back to a file, which then holds what was kept in memory.
    fn recover(&mut self) {
        let recovered = match self.try_open() {
            Ok(Some((mut store, older, _))) => {
                // It couldn't be read at the start, and can be now.
                if !std::mem::replace(&mut self.has_opened, true) {
                    self.config.wall.restore(&older.clock);
                    self.records.take_over(older);
                }
                store.replace(&self.records).map(|()| Some(store))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match recovered {
            Ok(Some(store)) => {
                self.store = Some(store);
                self.retry = None;
                tracing::info!("the journal is written again");
                self.set_in_memory(false);
                self.set_held(false);
                return;
            }
            Ok(None) => self.set_held(true),
            Err(error) => tracing::debug!(error = %Causes(&error), "the journal still can't be written"),
        }
        let pause = self.retry.map_or(RETRY.0, |(_, pause)| (pause * 2).min(RETRY.1));
        self.retry = Some((Instant::now() + pause, pause));
    }

    fn set_held(&mut self, held: bool) {
        if std::mem::replace(&mut self.is_held, held) == held {
            return;
        }
        let directory = self.config.state_dir.display();
        let holder = file::holder(&self.config.state_dir, &self.config.locks);
        let holder = holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
        match (held, self.retry) {
            (true, None) => tracing::warn!(
                %directory,
                "{holder} holds the journal, probably another agent on this node: this one does nothing until that one ends, since \
                 together they would tell everybody twice; end one of them"
            ),
            // Its own directory was replaced.
            (true, Some(_)) => tracing::warn!(
                %directory,
                "{holder} holds the journal that took the place of this agent's, probably another agent on this node: both tell \
                 everybody; end one of them"
            ),
            (false, _) => tracing::info!(%directory, "no other agent holds the journal any more"),
        }
        (self.on_event)(JournalEvent::Held(held));
    }

    fn set_in_memory(&mut self, in_memory: bool) {
        self.shared.lock().in_memory = in_memory;
        (self.on_event)(JournalEvent::InMemory(in_memory));
    }
}
