//! How other threads reach the loop: a bounded channel and an eventfd that wakes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use reloadlet_core::Event;
use reloadlet_core::machine::status::PodStatus;
use tokio::sync::oneshot;

use crate::surveyor::Finding;

/// How many messages wait at most; a sender waits after that, the loop never does.
const CAPACITY: usize = 1024;

/// How long what the loop had no room for waits before it is handed over again.
pub(crate) const ROOM_PAUSE: Duration = Duration::from_millis(50);

/// What other threads hand to the loop.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// For the machine.
    Event(Event),
    /// From the surveyor.
    Finding(Finding),
    /// Somebody wants to know whether the loop turns.
    Ping(oneshot::Sender<()>),
    /// Somebody wants to see everything.
    Status(oneshot::Sender<Vec<PodStatus>>),
    /// All journal records are kept.
    JournalFlushed,
    /// The loop is to end.
    Stop,
}

/// Wakes the loop.
#[derive(Debug)]
pub(crate) struct Wake(EventFd);

impl Wake {
    /// Readable while there may be something in the channel.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// To be called before the channel is emptied, so that nothing sent after that is missed.
    pub(crate) fn clear(&self) {
        match self.0.read() {
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(errno) => tracing::warn!(error = %io::Error::from(errno), "the loop's wake-up can't be read"),
        }
    }

    /// Makes it readable.
    pub(crate) fn ring(&self) {
        match self.0.write(1) {
            // EAGAIN: it rings already.
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(errno) => tracing::warn!(error = %io::Error::from(errno), "the loop can't be woken"),
        }
    }
}

/// Sends to the loop.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    channel: SyncSender<Inbound>,
    wake: Arc<Wake>,
}

impl Inbox {
    /// The two ends, and what wakes the loop.
    pub(crate) fn new() -> io::Result<(Self, Receiver<Inbound>, Arc<Wake>)> {
        let wake = Arc::new(Wake(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?));
        let (channel, receiver) = sync_channel(CAPACITY);
        Ok((Self { channel, wake: wake.clone() }, receiver, wake))
    }

    /// Hands an event over, and tries again after a pause while the channel is full.
    pub(crate) async fn put(&self, event: Event) {
        while !self.try_send(Inbound::Event(event.clone())) {
            tokio::time::sleep(ROOM_PAUSE).await;
        }
    }

    /// Hands a message over, and waits while the channel is full. After the loop's end nobody is there to hear it.
    pub(crate) fn send(&self, message: Inbound) {
        if self.channel.send(message).is_ok() {
            self.wake.ring();
        }
    }

    /// Hands a message over unless the channel is full; says whether it did.
    pub(crate) fn try_send(&self, message: Inbound) -> bool {
        let sent = self.channel.try_send(message).is_ok();
        self.wake.ring();
        sent
    }
}
