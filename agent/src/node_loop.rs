//! The loop that delivers: notifications, exits, the machine and the sends, on one thread. Nothing here waits for a
//! disk, a network or a slow read.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use reloadlet_core::kernel::process::ProcessIdentity;
use reloadlet_core::machine::event::{Action, Event, Report, VolumeRef};
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::names::{Name, PodUid};
use reloadlet_core::model::signal::Signal;
use reloadlet_core::{Machine, Time};

use crate::api::events::Notes;
use crate::api::nudges::NudgeQueue;
use crate::api::objects::WantedObjects;
use crate::clock;
use crate::health::Health;
use crate::holder::Holder;
use crate::inbox::{Inbound, Wake};
use crate::journal::JournalHandle;
use crate::kubelet_root::KubeletRoot;
use crate::lack::Lacks;
use crate::metrics::Metrics;
use crate::proc::ProcRoot;
use crate::surveyor::{Finding, Surveyor};
use crate::turns::Turns;
use crate::watcher::{Sight, WatchError, Watcher};

mod actions;
mod pauses;

const INOTIFY: u64 = 1;
const WAKE: u64 = 2;
const MOUNTS: u64 = 3;
/// Held processes are numbered from here.
const PROCESSES: u64 = 16;

/// How many of the things that the loop waits for are taken in at a time; the kernel keeps the rest.
const EVENTS_AT_A_TIME: usize = 64;
/// How often polled volumes are listed, and unpublished ones looked at again.
const POLL: Duration = Duration::from_secs(1);
/// How often an inotify instance is tried for while there is none.
const INSTANCE_RETRY: Duration = Duration::from_secs(10);
/// How long after a change of the mount table every volume's directory is looked at.
const MOUNTS_QUIET: Duration = Duration::from_secs(1);
/// How many messages of other threads are taken out of the inbox before the loop looks for notifications again: all that it
/// can hold. What concerns pods only comes to wait for their namespace's turn.
const MESSAGES_AT_A_TIME: usize = 1024;
/// So long what waits is served before the loop looks for notifications again.
const TURN: Duration = Duration::from_millis(2);
/// How many notifications wait, as many as fit into the kernel's queue. A namespace may have as many as are left: alone half of
/// all. Further ones are dropped, and their pods are looked at again: the kernel's queue, which is everybody's, is read on
/// whoever fills it.
const MOST_WAITING: usize = 16 << 10;
/// How often at most the loop looks around while there is always something to do.
const LOOK_AROUND: Duration = Duration::from_secs(1);
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
        /// What.
        op: &'static str,
        /// Why.
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
    pub(crate) proc: ProcRoot,
    pub(crate) journal: JournalHandle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Health,
    pub(crate) inbox: Receiver<Inbound>,
    pub(crate) wake: Arc<Wake>,
    pub(crate) ready: Arc<AtomicBool>,
    /// Where pods' owners are told, with an API server.
    pub(crate) notes: Option<Notes>,
    /// Who has the kubelet publish at once, where that is wanted.
    pub(crate) nudges: Option<NudgeQueue>,
    /// Who watches ConfigMaps and Secrets, with an API server.
    pub(crate) objects: Option<WantedObjects>,
    /// The kubelet's directory of pods.
    pub(crate) pods_dir: PathBuf,
    /// Whether the kubelet root is the kubelet's.
    pub(crate) kubelet_root: KubeletRoot,
    /// What the agent itself lacks, for the log.
    pub(crate) lacks: Lacks,
}

/// Something that waits for its namespace's turn.
#[derive(Debug)]
enum Waiting {
    /// A notification, or what another thread tells of pods or objects.
    Event(Event),
    /// What the surveyor found.
    Finding(Finding),
    /// A process that is to be held.
    Hold(ProcessIdentity),
    /// A process whose masks are to be read.
    ReadGuard(ProcessIdentity, Signal),
}

/// The loop.
pub(crate) struct NodeLoop {
    parts: Parts,
    epoll: Epoll,
    /// What waits, by namespace.
    turns: Turns<Waiting>,
    /// The processes that wait to be held, those whose masks wait to be read, and the pods whose notifications were dropped.
    holds: HashSet<ProcessIdentity>,
    guards: HashSet<(ProcessIdentity, Signal)>,
    dropped: HashSet<PodUid>,
    /// Until when this turn serves what waits.
    turn_ends: Time,
    looked_around: Time,
    reports: VecDeque<Report>,
    next_poll: Option<Time>,
    next_recheck: Option<Time>,
    next_instance: Option<Time>,
    /// Volumes and generations that couldn't be read, for the next poll.
    unlisted: BTreeSet<VolumeRef>,
    unread: BTreeSet<(VolumeRef, Generation)>,
    gauges_changed: bool,
    /// Gauges and readiness are to be looked at when nothing else is to be done.
    look: bool,
    stopping: bool,
    /// The kubelet's directory of pods wasn't there when it was last looked for.
    root_is_missing: bool,
    /// Before the agent is ready: the volumes whose listing is on its way.
    listing: BTreeSet<VolumeRef>,
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
        Ok(Self {
            parts,
            epoll,
            turns: Turns::default(),
            holds: HashSet::new(),
            guards: HashSet::new(),
            dropped: HashSet::new(),
            turn_ends: Time::default(),
            looked_around: Time::default(),
            reports: VecDeque::new(),
            next_poll: None,
            next_recheck: None,
            next_instance,
            unlisted: BTreeSet::new(),
            unread: BTreeSet::new(),
            gauges_changed: true,
            look: true,
            stopping: false,
            root_is_missing: false,
            listing: BTreeSet::new(),
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
            self.look |= !idle && (self.gauges_changed || !self.parts.ready.load(Ordering::Relaxed));
            while self.reports.len() > REPORTS_WAITING {
                self.write_reports();
            }
            if idle || clock::now() >= self.looked_around + LOOK_AROUND {
                self.write_reports();
                self.look = false;
                self.look_around();
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
                self.next_recheck = Some(clock::now() + MOUNTS_QUIET);
            }
            process => {
                if let Some(process) = self.parts.holder.exited(process - PROCESSES) {
                    let now = clock::now();
                    self.wait_for_turn(Event::Exited(process, now));
                }
            }
        }
        Ok(())
    }

    fn take_notifications(&mut self) -> Result<(), LoopError> {
        self.parts.watcher.read(clock::now)?;
        self.take_sights();
        Ok(())
    }

    /// The namespace of a pod that is watched; those of others are told apart from none.
    fn namespace(&self, pod: &PodUid) -> Name {
        self.parts.machine.namespace(pod).cloned().unwrap_or_else(|| "".into())
    }

    /// An event that concerns one namespace waits for its turn; all others are taken in at once.
    fn wait_for_turn(&mut self, event: Event) {
        let namespace = match (event.pod(), &event) {
            (Some(pod), _) => self.namespace(pod),
            (None, Event::Observed(object, ..)) => object.namespace.clone(),
            (None, _) => return self.handle(event),
        };
        self.turns.add(&namespace, Waiting::Event(event));
    }

    /// A notification waits for its namespace's turn. Where too many do, its pod is looked at again instead.
    fn notified(&mut self, event: Event) {
        let Some(pod) = event.pod() else { return self.handle(event) };
        if self.dropped.contains(pod) {
            return;
        }
        let namespace = self.namespace(pod);
        let event = if self.turns.new_of(&namespace) < MOST_WAITING.saturating_sub(self.turns.len()) {
            event
        } else {
            self.dropped.insert(pod.clone());
            Event::Dropped(pod.clone())
        };
        self.turns.add(&namespace, Waiting::Event(event));
    }

    /// Serves what waits, the namespaces in turn.
    fn serve(&mut self) -> Result<(), LoopError> {
        self.turn_ends = clock::now() + TURN;
        while let Some(waiting) = self.turns.take() {
            match waiting {
                Waiting::Event(event) => {
                    if let Event::Dropped(pod) = &event {
                        self.dropped.remove(pod);
                    }
                    self.handle(event);
                }
                Waiting::Finding(finding) => self.take_finding(finding)?,
                Waiting::Hold(process) => {
                    self.holds.remove(&process);
                    if self.parts.machine.signal_for(&process).is_some() {
                        let answer = self.hold(process);
                        self.handle(answer);
                    }
                }
                Waiting::ReadGuard(process, signal) => {
                    self.guards.remove(&(process.clone(), signal));
                    // Under another plan the masks are asked for anew.
                    let wanted = self.parts.machine.signal_for(&process);
                    if wanted.is_none_or(|wanted| wanted == signal)
                        && let Some(answer) = self.read_guard(process, signal)
                    {
                        self.handle(answer);
                    }
                }
            }
            if clock::now() >= self.turn_ends {
                break;
            }
        }
        Ok(())
    }

    /// An action that takes time waits where its namespace has had its turn, or where there are others that do.
    fn put_off(&mut self, action: Action) -> Option<Action> {
        let (Action::Hold(process) | Action::ReadGuard(process, _)) = &action else { return Some(action) };
        let (process, namespace) = (process.clone(), self.namespace(&process.pod));
        if !self.turns.has_begun(&namespace) && clock::now() < self.turn_ends {
            return Some(action);
        }
        let (is_new, waiting) = if let Action::ReadGuard(_, signal) = action {
            (self.guards.insert((process.clone(), signal)), Waiting::ReadGuard(process, signal))
        } else {
            (self.holds.insert(process.clone()), Waiting::Hold(process))
        };
        if is_new {
            self.turns.add_rest(&namespace, waiting);
        }
        None
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
                Ok(Inbound::Event(event)) => {
                    self.gauges_changed |=
                        matches!(event, Event::PodsSynced(_) | Event::JournalRead(_) | Event::Observed(..));
                    self.wait_for_turn(event);
                }
                Ok(Inbound::Finding(finding)) => {
                    let namespace = finding.pod().map_or_else(|| "".into(), |pod| self.namespace(pod));
                    self.turns.add(&namespace, Waiting::Finding(finding));
                }
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
                self.listing.remove(&volume);
                if self.parts.watcher.confirm(&volume, listing.dir, listing.current.is_some()) {
                    self.handle(Event::Listed(volume, listing));
                }
                self.take_sights();
            }
            Finding::Event(event) => {
                if let Event::Read(volume, generation, ..) = &event {
                    self.parts.watcher.end_own_read(volume, generation, clock::now)?;
                    self.take_sights();
                }
                self.handle(event);
            }
            Finding::Cgroup(pod, directory, parents) => {
                self.parts.watcher.watch_cgroup(&pod, &directory, &parents);
            }
            Finding::Unlisted(volume) => {
                self.listing.remove(&volume);
                self.unlisted.insert(volume);
            }
            Finding::Unread(volume, generation) => {
                self.parts.watcher.end_own_read(&volume, &generation, clock::now)?;
                self.take_sights();
                self.unread.insert((volume, generation));
            }
            Finding::Home(pod, home) => {
                let judgement = self.parts.kubelet_root.take(&pod, home, clock::now());
                self.take_judgement(judgement);
            }
        }
        Ok(())
    }
}
