//! Processes held by pidfd: opened, then checked, then kept until they exit or aren't needed. The one place that sends.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::kernel::process::ProcessIdentity;
use reloadlet_core::machine::event::Delivery;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::signal::Signal;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::lack;
use crate::proc::{ProcError, ProcRoot};
use crate::raw_signal;

use ended::Ended;
pub(crate) use ended::How;

mod ended;

/// The most descriptors that are left to everything else: connections, watches, reads, the journal. Of a low limit it is
/// half.
const RESERVE: u64 = 256;

/// Every held process.
#[derive(Debug)]
pub(crate) struct Holder {
    proc: ProcRoot,
    dry_run: bool,
    held: HashMap<ProcessIdentity, Kept>,
    /// How many are held for each namespace.
    of_namespaces: BTreeMap<Name, u64>,
    identities: HashMap<u64, ProcessIdentity>,
    /// Those of which it isn't known yet how they ended.
    ended: Ended,
    next: u64,
}

/// A held process.
#[derive(Debug)]
struct Kept {
    token: u64,
    pidfd: OwnedFd,
    namespace: Name,
}

/// Why no signal can ever be sent here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoPidfds {
    /// `pidfd_open` fails.
    #[error(
        "this kernel gives no pidfds (pidfd_open: {0}): Linux 5.3 or later is needed, and a seccomp profile that allows \
         pidfd_open"
    )]
    Open(Errno),
    /// `pidfd_send_signal` fails.
    #[error(
        "no signal can be sent by a pidfd (pidfd_send_signal: {0}): a seccomp profile that allows pidfd_send_signal is \
         needed"
    )]
    Send(Errno),
}

/// Tries what deliveries need on this process itself: Linux 5.3 has it, and seccomp filters can refuse it. SIGURG does
/// nothing to a process without a handler (signal(7)); rustix has no signal 0.
pub(crate) fn try_pidfds() -> Result<(), NoPidfds> {
    let own = pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).map_err(NoPidfds::Open)?;
    pidfd_send_signal(&own, rustix::process::Signal::URG).map_err(NoPidfds::Send)
}

/// What stands against holding one more process. A namespace may hold as many as are free: alone it gets half of all, two
/// get a third each, and there is always one left for a namespace that comes later.
fn scarcity(limit: u64, held: u64, of_namespace: u64) -> Option<Lack> {
    let most = limit - RESERVE.min(limit / 2);
    let free = most.saturating_sub(held);
    if free == 0 {
        Some(Lack::Descriptors)
    } else if of_namespace >= free {
        Some(Lack::Share)
    } else {
        None
    }
}

/// What came of an attempt to hold a process.
#[derive(Debug)]
pub(crate) enum Hold<'a> {
    /// Held: the descriptor becomes readable when the process exits, and the number names it.
    Held(u64, BorrowedFd<'a>),
    /// It was held already.
    Known,
    /// It is gone, or the PID is another process's now.
    Gone,
    /// There are too few descriptors to hold it.
    Scarce(Lack),
}

/// Why a process can't be held.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HoldError {
    /// `pidfd_open` failed.
    #[error("can't open a pidfd of process {pid}")]
    Open {
        /// The process.
        pid: u32,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// The identity can't be checked.
    #[error("can't check the identity of process {pid}")]
    Check {
        /// The process.
        pid: u32,
        /// The error of the read.
        #[source]
        source: ProcError,
    },
}

impl HoldError {
    /// What the agent lacks.
    pub(crate) fn lack(&self) -> Lack {
        match self {
            Self::Open { source, .. } => lack::of(source),
            Self::Check { source, .. } => source.lack(),
        }
    }
}

impl Holder {
    /// Holds nothing yet. With `dry_run` nothing is ever sent.
    pub(crate) fn new(proc: ProcRoot, dry_run: bool) -> Self {
        Self {
            proc,
            dry_run,
            held: HashMap::new(),
            of_namespaces: BTreeMap::new(),
            identities: HashMap::new(),
            ended: Ended::default(),
            next: 0,
        }
    }

    /// Opens a pidfd, and only then checks that it is the process that is meant: it can't come to mean another one.
    pub(crate) fn hold(
        &mut self,
        process: &ProcessIdentity,
        namespace: &Name,
    ) -> Result<Hold<'_>, HoldError> {
        if self.held.contains_key(process) {
            return Ok(Hold::Known);
        }
        let of_namespace = self.of_namespaces.get(namespace).copied().unwrap_or_default();
        if let Some(lack) = scarcity(lack::descriptor_limit(), self.held.len() as u64, of_namespace) {
            return Ok(Hold::Scarce(lack));
        }
        let open = |source| HoldError::Open { pid: process.pid, source };
        let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else {
            return Ok(Hold::Gone);
        };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // ESRCH: gone. EINVAL: the PID is a thread's now.
            Err(Errno::SRCH | Errno::INVAL) => return Ok(Hold::Gone),
            Err(errno) => return Err(open(errno.into())),
        };
        let is_it = self.proc.is(process);
        if !is_it.map_err(|source| HoldError::Check { pid: process.pid, source })? {
            return Ok(Hold::Gone);
        }
        self.next += 1;
        self.identities.insert(self.next, process.clone());
        *self.of_namespaces.entry(namespace.clone()).or_default() += 1;
        let kept = Kept { token: self.next, pidfd, namespace: namespace.clone() };
        let kept = self.held.entry(process.clone()).or_insert(kept);
        Ok(Hold::Held(kept.token, kept.pidfd.as_fd()))
    }

    /// Lets a process go. Closing the descriptor also takes it out of every epoll set.
    pub(crate) fn release(&mut self, process: &ProcessIdentity) {
        drop(self.let_go(process));
    }

    fn let_go(&mut self, process: &ProcessIdentity) -> Option<Kept> {
        let kept = self.held.remove(process)?;
        self.identities.remove(&kept.token);
        match self.of_namespaces.get_mut(&kept.namespace) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => drop(self.of_namespaces.remove(&kept.namespace)),
            None => {}
        }
        Some(kept)
    }

    /// The process that a number names has exited: it is held no more, and its descriptor is kept only until it is known how it
    /// ended.
    pub(crate) fn exited(&mut self, token: u64) -> Option<(ProcessIdentity, How<'_>)> {
        let process = self.identities.get(&token)?.clone();
        let kept = self.let_go(&process)?;
        let how = self.ended.take_in(token, &process, kept.pidfd, kept.namespace);
        Some((process, how))
    }

    /// The descriptor of a process that has exited hung up: whose, and whether SIGKILL ended it.
    pub(crate) fn hung_up(&mut self, token: u64) -> Option<(ProcessIdentity, bool)> {
        self.ended.hung_up(token)
    }

    /// Whether a process has ended, though its exit may not have been taken in; `None` of one that isn't held any more.
    pub(crate) fn has_ended(&self, process: &ProcessIdentity) -> Option<bool> {
        self.held.get(process).map(|kept| has_exited(&kept.pidfd).unwrap_or_default())
    }

    /// Sends a signal to a held process that hasn't ended: a send to a zombie succeeds (pidfd_send_signal(2)), but a zombie's pidfd
    /// is readable. Whoever ends after the send may do so of the signal, however soon that is.
    pub(crate) fn send(&self, process: &ProcessIdentity, signal: Signal) -> Delivery {
        let Some(Kept { pidfd, .. }) = self.held.get(process) else { return Delivery::Gone };
        match has_exited(pidfd) {
            Ok(true) => return Delivery::Gone,
            Ok(false) if self.dry_run => return Delivery::Spared,
            Ok(false) => {}
            Err(error) => {
                tracing::error!(pid = process.pid, %error, "can't poll a pidfd");
                return Delivery::Failed(lack::said(error.raw_os_error().unwrap_or_default()));
            }
        }
        match pidfd_send_signal(pidfd, raw_signal::raw(signal)) {
            Ok(()) => Delivery::Sent,
            Err(Errno::SRCH) => Delivery::Gone,
            Err(Errno::PERM) => Delivery::Denied,
            Err(errno) => {
                tracing::error!(pid = process.pid, error = %errno, "the kernel refused to send a signal");
                Delivery::Failed(lack::said(errno.raw_os_error()))
            }
        }
    }

    /// What is known at once of telling a process by other means than a signal; `None` where it may be told.
    pub(crate) fn spare(&self, process: &ProcessIdentity) -> Option<Delivery> {
        let Some(Kept { pidfd, .. }) = self.held.get(process) else { return Some(Delivery::Gone) };
        match has_exited(pidfd) {
            Ok(true) => Some(Delivery::Gone),
            // Whoever makes the request looks once more.
            Ok(false) | Err(_) => self.dry_run.then_some(Delivery::Spared),
        }
    }

    /// How many processes are held.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }
}

/// Whether the process of a pidfd has exited; a zombie has.
fn has_exited(pidfd: &OwnedFd) -> io::Result<bool> {
    Ok(poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reloadlet_core::Time;
    use reloadlet_core::model::names::{ContainerId, PodUid};
    use std::process::{Child, Command};

    const UID: &str = "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    /// A proc directory in which a real process appears to be in a pod.
    struct Fake {
        dir: tempfile::TempDir,
        child: Child,
        process: ProcessIdentity,
    }

    impl Fake {
        fn new() -> Self {
            let child = Command::new("sleep").arg("1000").spawn().unwrap();
            let dir = tempfile::tempdir().unwrap();
            let container = ContainerId::parse(&"a".repeat(64)).unwrap();
            let process = ProcessIdentity {
                pid: child.id(),
                started: Time::from_nanos(1_230_000_000),
                pod: PodUid::parse(UID).unwrap(),
                container,
            };
            let fake = Self { dir, child, process };
            fake.put(123, UID);
            fake
        }

        /// What `/proc` says of the process: its start, in ticks, and its pod.
        fn put(&self, ticks: u64, uid: &str) {
            let own = self.dir.path().join(self.child.id().to_string());
            std::fs::create_dir_all(&own).unwrap();
            let stat = format!("1 (sleep) S 1{} {ticks} 1{}", " 0".repeat(17), " 0".repeat(29));
            std::fs::write(own.join("stat"), stat).unwrap();
            let cgroup = format!("0::/kubepods/pod{uid}/{}\n", "a".repeat(64));
            std::fs::write(own.join("cgroup"), cgroup).unwrap();
        }

        fn holder(&self) -> Holder {
            Holder::new(ProcRoot::new(self.dir.path().into()), false)
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    fn shop() -> Name {
        "shop".into()
    }

    fn hup() -> Signal {
        Signal::parse("HUP").unwrap()
    }

    #[test]
    fn a_reused_pid_is_not_held_and_gets_nothing() {
        let mut fake = Fake::new();
        fake.put(124, UID);
        let mut holder = fake.holder();
        assert!(matches!(holder.hold(&fake.process, &shop()).unwrap(), Hold::Gone));
        assert_eq!(holder.send(&fake.process, hup()), Delivery::Gone);
        assert!(fake.child.try_wait().unwrap().is_none(), "it got a signal");
    }

    #[test]
    fn a_process_in_another_pod_is_not_held() {
        let fake = Fake::new();
        fake.put(123, "00000000-4b5a-6978-8796-a5b4c3d2e1f0");
        assert!(matches!(fake.holder().hold(&fake.process, &shop()).unwrap(), Hold::Gone));
    }

    #[test]
    fn a_process_whose_stat_cant_be_understood_is_not_said_to_be_gone() {
        let fake = Fake::new();
        std::fs::write(fake.dir.path().join(fake.child.id().to_string()).join("stat"), "1 (sleep) S")
            .unwrap();
        let error = fake.holder().hold(&fake.process, &shop()).unwrap_err();
        assert_eq!(error.lack(), Lack::Unreadable, "{error}");
    }

    #[test]
    fn a_send_to_a_zombie_doesnt_count() {
        let fake = Fake::new();
        let mut holder = fake.holder();
        assert!(matches!(holder.hold(&fake.process, &shop()).unwrap(), Hold::Held(..)));
        let pid = nix::unistd::Pid::from_raw(fake.child.id() as i32);
        assert_eq!(holder.has_ended(&fake.process), Some(false));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        // Without reaping: wait until it is a zombie.
        let pidfd = &holder.held[&fake.process].pidfd;
        poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        assert_eq!(holder.has_ended(&fake.process), Some(true), "though its exit wasn't taken in");
        assert_eq!(holder.send(&fake.process, hup()), Delivery::Gone);
    }

    #[test]
    fn a_process_that_ends_of_the_signal_was_sent_it_however_soon_it_ends() {
        for _ in 0..50 {
            let fake = Fake::new();
            let mut holder = fake.holder();
            assert!(matches!(holder.hold(&fake.process, &shop()).unwrap(), Hold::Held(..)));
            assert_eq!(holder.send(&fake.process, hup()), Delivery::Sent);
        }
    }

    #[test]
    fn a_dry_run_sends_nothing() {
        let mut fake = Fake::new();
        let mut holder = Holder::new(ProcRoot::new(fake.dir.path().into()), true);
        assert!(matches!(holder.hold(&fake.process, &shop()).unwrap(), Hold::Held(..)));
        assert_eq!(holder.send(&fake.process, hup()), Delivery::Spared);
        assert_eq!(holder.spare(&fake.process), Some(Delivery::Spared));
        assert!(fake.child.try_wait().unwrap().is_none());
    }

    #[test]
    fn what_is_let_go_is_closed() {
        let fake = Fake::new();
        let mut holder = fake.holder();
        let Hold::Held(token, _) = holder.hold(&fake.process, &shop()).unwrap() else { panic!("not held") };
        assert!(matches!(holder.hold(&fake.process, &shop()).unwrap(), Hold::Known));
        assert_eq!(holder.exited(token).map(|(process, _)| process), Some(fake.process.clone()));
        assert!(holder.len() == 0 && holder.exited(token).is_none());
        assert_eq!(holder.has_ended(&fake.process), None);
    }

    #[test]
    fn a_namespace_holds_no_more_than_its_share_and_leaves_one_for_the_next() {
        for (namespaces, each) in [(1, 384), (2, 256), (5, 128)] {
            let mut held = vec![0; namespaces];
            loop {
                let before = held.clone();
                for index in 0..namespaces {
                    let sum = held.iter().sum();
                    held[index] += u64::from(scarcity(1024, sum, held[index]).is_none());
                }
                if held == before {
                    break;
                }
            }
            assert!(held.iter().all(|held| held.abs_diff(each) <= 1), "{held:?}");
            assert_eq!(scarcity(1024, held.iter().sum(), 0), None, "one that comes later");
        }
    }

    #[test]
    fn of_a_low_limit_half_is_left_to_everything_else() {
        assert_eq!(scarcity(64, 31, 0), None);
        assert_eq!(scarcity(64, 32, 0), Some(Lack::Descriptors));
        assert_eq!(scarcity(64, 20, 12), Some(Lack::Share));
        assert_eq!(scarcity(0, 0, 0), Some(Lack::Descriptors));
        assert_eq!(scarcity(u64::MAX, 1 << 20, 1 << 20), None);
    }
}
