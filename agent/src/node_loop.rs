//! The loop that delivers: notifications, exits, the machine and the sends, on one thread. Nothing here waits for a
//! disk, a network or a slow read.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use reloadlet_core::machine::event::{Event, Report, VolumeRef};
use reloadlet_core::{Machine, Time};

use crate::api::side::ApiSide;
use crate::calls::CallQueue;
use crate::clock;
use crate::clock::wall::{ClockSet, WallClock};
use crate::health::Health;
use crate::holder::Holder;
use crate::inbox::{Inbound, Wake};
use crate::journal::JournalHandle;
use crate::kubelet_root::KubeletRoot;
use crate::lack::Lacks;
use crate::metrics::Metrics;
use crate::proc::ProcRoot;
use crate::surveyor::{Finding, Surveyor};
use crate::watcher::{Sight, WatchError, Watcher};

mod actions;
mod health;
mod pauses;
mod reads;
mod waiting;

use health::Shown;
pub(crate) use health::Startup;
use reads::Reads;
use waiting::TurnQueue;

const INOTIFY: u64 = 1;
const WAKE: u64 = 2;
const MOUNTS: u64 = 3;
const CLOCK: u64 = 4;
/// Held processes are numbered from here.
const PROCESSES: u64 = 16;

/// How many of the things that the loop waits for are taken in at a time; the kernel keeps the rest.
const EVENTS_AT_A_TIME: usize = 64;
/// How often polled volumes are listed, and unpublished ones looked at again.
const POLL: Duration = Duration::from_secs(1);
/// How often an inotify instance is tried for while there is none.
const INSTANCE_RETRY: Duration = Duration::from_secs(10);
/// How long after a change of the mount table every volume's watch is added again, however many changes follow.
const MOUNTS_PAUSE: Duration = Duration::from_secs(1);
/// How many messages of other threads are taken out of the inbox before the loop looks for notifications again: all that it
/// can hold. What concerns pods only comes to wait for their namespace's turn.
const MESSAGES_AT_A_TIME: usize = 1024;
/// So long what waits is served before the loop looks for notifications again.
const TURN: Duration = Duration::from_millis(2);
/// How many reports wait for a quiet moment; what is beyond that is written in between. None is ever dropped.
const REPORTS_WAITING: usize = 2048;
/// How many reports are written at a time before the loop looks for work again.
const REPORTS_AT_A_TIME: usize = 32;

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoopError {
    /// The notifications failed.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The kernel refused something that the loop can't do without.
    #[error("can't {op}")]
    Poll {
        /// The call that failed.
        op: &'static str,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
}

/// What the loop works with.
pub(crate) struct Parts {
    pub(crate) machine: Machine,
    pub(crate) watcher: Watcher,
    pub(crate) holder: Holder,
    pub(crate) surveyor: Surveyor,
    pub(crate) calls: CallQueue,
    pub(crate) proc: ProcRoot,
    pub(crate) journal: JournalHandle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Health,
    pub(crate) inbox: Receiver<Inbound>,
    pub(crate) wake: Arc<Wake>,
    pub(crate) startup: Startup,
    pub(crate) wall: WallClock,
    /// What is at the API server, where there is one.
    pub(crate) api: Option<ApiSide>,
    /// Whether the kubelet root is the kubelet's.
    pub(crate) kubelet_root: KubeletRoot,
    /// What the agent itself lacks, for the log.
    pub(crate) lacks: Lacks,
}

/// The loop.
pub(crate) struct NodeLoop {
    parts: Parts,
    epoll: Epoll,
    /// What waits, by namespace.
    line: TurnQueue,
    /// Until when this turn serves what waits.
    turn_ends: Time,
    reports: VecDeque<Report>,
    next_poll: Option<Time>,
    next_recheck: Option<Time>,
    next_instance: Option<Time>,
    /// Volumes that couldn't be listed, for the next poll.
    unlisted: BTreeSet<VolumeRef>,
    /// Reads that weren't answered yet.
    reads: Reads,
    /// Gauges as they were when nothing else was to be done.
    shown: Shown,
    /// Tells when the wall clock is set; `None` where the kernel doesn't: then each look at the clocks finds it.
    clock_set: Option<ClockSet>,
    stopping: bool,
}

fn failed(op: &'static str) -> impl Fn(Errno) -> LoopError {
    move |errno| LoopError::Poll { op, source: errno.into() }
}

impl NodeLoop {
    /// Puts everything that the loop waits for into one epoll set.
    pub(crate) fn new(parts: Parts, mount_table: Option<&std::fs::File>) -> Result<Self, LoopError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed("make an epoll instance"))?;
        let add = |fd: BorrowedFd<'_>, token, flags| {
            epoll.add(fd, EpollEvent::new(flags, token)).map_err(failed("wait for notifications"))
        };
        if let Some(inotify) = parts.watcher.as_fd() {
            add(inotify, INOTIFY, EpollFlags::EPOLLIN)?;
        }
        let next_instance = parts.watcher.as_fd().is_none().then(|| clock::now() + INSTANCE_RETRY);
        add(parts.wake.as_fd(), WAKE, EpollFlags::EPOLLIN)?;
        if let Some(mounts) = mount_table {
            add(mounts.as_fd(), MOUNTS, EpollFlags::EPOLLPRI)?;
        }
        let clock_set = ClockSet::new()
            .inspect_err(|error| tracing::debug!(%error, "it won't be told when the wall clock is set"))
            .ok();
        if let Some(clock_set) = &clock_set {
            add(clock_set.as_fd(), CLOCK, EpollFlags::EPOLLIN)?;
        }
        Ok(Self {
            parts,
            epoll,
            line: TurnQueue::default(),
            turn_ends: Time::default(),
            reports: VecDeque::new(),
            next_poll: None,
            next_recheck: None,
            next_instance,
            unlisted: BTreeSet::new(),
            reads: Reads::default(),
            shown: Shown::default(),
            clock_set,
            stopping: false,
        })
    }

    /// Turns until it is told to stop.
    pub(crate) fn run(mut self) -> Result<(), LoopError> {
        let mut room = [EpollEvent::empty(); EVENTS_AT_A_TIME];
        while !self.stopping {
            let timeout = self.timeout();
            let count = match self.epoll.wait(&mut room, timeout) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(errno) => return Err(failed("wait for notifications")(errno)),
            };
            let events = room.get(..count).unwrap_or_default();
            let idle = events.is_empty() && !self.is_busy();
            // Those of many processes that have ended can come before it.
            self.take_notifications()?;
            self.turn_ends = clock::now() + TURN;
            for event in events {
                self.take(event.data())?;
            }
            // An exit counts before the end of the time in which it was waited for.
            self.serve()?;
            self.handle_timeouts();
            if !idle {
                self.shown.doubt();
            }
            while self.reports.len() > REPORTS_WAITING {
                self.write_reports();
            }
            if idle || self.shown.is_overdue(clock::now()) {
                self.write_reports();
                if self.shown.has_rested(clock::now()) {
                    self.look_around();
                } else {
                    self.shown.doubt();
                }
            }
        }
        self.parts.machine.say_all(clock::now());
        self.run_actions();
        while !self.reports.is_empty() {
            self.write_reports();
        }
        self.parts.surveyor.close();
        Ok(())
    }

    fn take(&mut self, token: u64) -> Result<(), LoopError> {
        match token {
            // They were read at the beginning of the turn.
            INOTIFY => {}
            WAKE => self.take_inbox()?,
            MOUNTS => {
                self.parts.watcher.recheck(false);
                // Not put off by the next change: some node changes its mounts all the time.
                self.next_recheck.get_or_insert_with(|| clock::now() + MOUNTS_PAUSE);
            }
            CLOCK => {
                if let Some(clock_set) = &self.clock_set {
                    clock_set.clear();
                }
                if self.parts.wall.look() {
                    tracing::info!("the wall clock was set");
                    self.parts.journal.clock_was_set();
                }
            }
            process => self.exited(process - PROCESSES),
        }
        Ok(())
    }

    /// Takes in all notifications that are there by now, as far as the kernel's queue of the usual size holds them.
    fn take_notifications(&mut self) -> Result<(), LoopError> {
        self.parts.watcher.read_all(clock::now)?;
        self.take_sights();
        Ok(())
    }

    /// Takes in what the watcher saw.
    fn take_sights(&mut self) {
        while let Some(sight) = self.parts.watcher.poll_sight() {
            match sight {
                Sight::Event(event) => self.notified(event),
                Sight::List(volume) => self.list(volume),
            }
        }
    }

    /// Takes in messages: a flood of them doesn't keep notifications waiting.
    fn take_inbox(&mut self) -> Result<(), LoopError> {
        self.parts.wake.clear();
        for _ in 0..MESSAGES_AT_A_TIME {
            match self.parts.inbox.try_recv() {
                Ok(Inbound::Event(event)) => self.wait_for_turn(event),
                Ok(Inbound::Finding(finding)) => self.line.add_finding(finding),
                // Who asked may be gone.
                Ok(Inbound::Ping(answer)) => drop(answer.send(())),
                Ok(Inbound::Status(answer)) => drop(answer.send(self.parts.machine.status(clock::now()))),
                Ok(Inbound::JournalFlushed) => {}
                Ok(Inbound::Stop) => self.stopping = true,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => {
                    self.stopping = true;
                    return Ok(());
                }
            }
        }
        self.parts.wake.ring();
        Ok(())
    }

    /// Takes in what the surveyor found.
    fn take_finding(&mut self, finding: Finding) -> Result<(), LoopError> {
        match finding {
            Finding::Event(Event::Listed(volume, listing)) => {
                self.parts.startup.end_listing(&volume);
                let is_published = listing.current.is_some();
                if self.parts.watcher.confirm(&volume, listing.dir, is_published, clock::now()) {
                    self.handle(Event::Listed(volume, listing));
                }
                self.take_sights();
            }
            Finding::Event(Event::Guarded(process, signal, reading)) => {
                // As when the loop itself reads them.
                let reading = reading.filter(|_| !self.has_ended(&process));
                self.handle(Event::Guarded(process, signal, reading));
            }
            Finding::Event(event) => {
                if let Event::Read(volume, generation, reading, _) = &event {
                    self.reads.answered(volume, generation, reading);
                    self.parts.watcher.end_own_read(volume, generation, clock::now)?;
                    self.take_sights();
                }
                self.handle(event);
            }
            Finding::Cgroup(pod, directory, parents) => {
                self.parts.watcher.watch_cgroup(&pod, directory.as_deref(), &parents);
            }
            Finding::Unlisted(volume) => {
                self.parts.startup.end_listing(&volume);
                self.unlisted.insert(volume);
            }
            Finding::Unread(volume, generation) => {
                self.parts.watcher.end_own_read(&volume, &generation, clock::now)?;
                self.take_sights();
                self.reads.failed(volume, generation);
            }
            Finding::Gates(pod, gates) => self.take_gates(&pod, gates),
            Finding::Home(pod, home) => {
                let judgement = self.parts.kubelet_root.take(&pod, home, clock::now());
                self.take_judgement(judgement);
            }
        }
        Ok(())
    }
}
