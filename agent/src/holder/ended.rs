//! How processes ended that were held. The kernel tells it once their parents have asked; until then their descriptors are kept,
//! within bounds.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use reloadlet_core::kernel::process::ProcessIdentity;
use reloadlet_core::model::names::Name;
use rustix::io::Errno;
use rustix::process::Signal;

use crate::raw_ending;

/// How many descriptors are kept, and how many of one namespace's processes: a parent may never ask.
const MOST: usize = 64;
const MOST_OF_NAMESPACE: usize = 8;

/// The signal in a wait status that ended a process.
const SIGNAL: i32 = 0x7f;

/// How a process ended.
#[derive(Debug)]
pub(crate) enum How<'a> {
    /// By SIGKILL.
    Killed,
    /// By something else, or nobody will ever know.
    Otherwise,
    /// The kernel tells it later, when this descriptor hangs up.
    NotYet(BorrowedFd<'a>),
}

/// Processes that have ended, and of which it isn't known yet how.
#[derive(Debug, Default)]
pub(super) struct Ended(BTreeMap<u64, (ProcessIdentity, OwnedFd, Name)>);

impl Ended {
    /// A process has ended. Its descriptor is kept if the kernel may still tell how.
    pub(super) fn take_in(
        &mut self,
        token: u64,
        process: &ProcessIdentity,
        pidfd: OwnedFd,
        namespace: Name,
    ) -> How<'_> {
        match raw_ending::wait_status(&pidfd) {
            Ok(None) => {}
            told @ (Ok(Some(_)) | Err(_)) => return how(told),
        }
        let mut of_namespace = self.0.iter().filter(|(_, (_, _, other))| *other == namespace);
        let oldest = of_namespace.next().map(|(token, _)| *token);
        if of_namespace.count() + 1 >= MOST_OF_NAMESPACE {
            // Whose parent hasn't asked for so long may never.
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        if self.0.len() >= MOST {
            self.give_up_oldest_of_most();
        }
        let kept = self.0.entry(token).or_insert((process.clone(), pidfd, namespace));
        How::NotYet(kept.1.as_fd())
    }

    /// Makes room at the cost of the namespace that takes the most.
    fn give_up_oldest_of_most(&mut self) {
        let mut of_each: BTreeMap<&Name, (usize, u64)> = BTreeMap::new();
        for (token, (_, _, namespace)) in &self.0 {
            of_each.entry(namespace).or_insert((0, *token)).0 += 1;
        }
        let most = of_each.into_values().max_by_key(|(count, token)| (*count, std::cmp::Reverse(*token)));
        most.and_then(|(_, oldest)| self.0.remove(&oldest));
    }

    /// A descriptor that was kept hung up: whose, and whether SIGKILL ended it.
    pub(super) fn hung_up(&mut self, token: u64) -> Option<(ProcessIdentity, bool)> {
        let (process, pidfd, _) = self.0.remove(&token)?;
        Some((process, matches!(how(raw_ending::wait_status(&pidfd)), How::Killed)))
    }
}

fn how(told: Result<Option<i32>, Errno>) -> How<'static> {
    match told {
        Ok(Some(status)) if status & SIGNAL == Signal::KILL.as_raw() => How::Killed,
        Ok(_) | Err(_) => How::Otherwise,
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use reloadlet_core::Time;
    use reloadlet_core::model::names::{ContainerId, PodUid};
    use rustix::process::{Pid, PidfdFlags, kill_process, pidfd_open};

    use super::*;

    fn identity(pid: u32) -> ProcessIdentity {
        let pod = PodUid::parse("6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").unwrap();
        let container = ContainerId::parse(&"a".repeat(64)).unwrap();
        ProcessIdentity { pid, started: Time::default(), pod, container }
    }

    /// A child that a signal has ended, and that nobody has asked yet.
    fn zombie(signal: Signal) -> (Child, OwnedFd) {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        kill_process(pid, signal).unwrap();
        poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        (child, pidfd)
    }

    #[test]
    fn how_a_process_ended_is_told_when_its_parent_has_asked() {
        for signal in [Signal::KILL, Signal::TERM] {
            let mut ended = Ended::default();
            let (mut child, pidfd) = zombie(signal);
            match ended.take_in(1, &identity(7), pidfd, "shop".into()) {
                How::NotYet(pidfd) => {
                    let hung_up = poll(&mut [PollFd::new(pidfd, PollFlags::empty())], PollTimeout::ZERO);
                    assert_eq!(hung_up.unwrap(), 0);
                }
                // A kernel that doesn't tell.
                How::Otherwise => {
                    child.wait().unwrap();
                    return;
                }
                How::Killed => panic!("nobody has asked"),
            }
            child.wait().unwrap();
            let (_, pidfd, _) = &ended.0[&1];
            let hung_up = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::empty())], PollTimeout::ZERO);
            assert_eq!(hung_up.unwrap(), 1);
            let tells = raw_ending::wait_status(pidfd).is_ok();
            assert_eq!(ended.hung_up(1), Some((identity(7), tells && signal == Signal::KILL)));
            assert_eq!(ended.hung_up(1), None);
        }
    }

    #[test]
    fn what_is_kept_of_processes_whose_parents_never_ask_has_bounds() {
        let mut ended = Ended::default();
        let (mut child, pidfd) = zombie(Signal::KILL);
        for token in 0..200 {
            let namespace = format!("n{}", token % 20);
            ended.take_in(token, &identity(7), pidfd.try_clone().unwrap(), namespace.as_str().into());
        }
        assert!(ended.0.len() <= MOST);
        let mut ended = Ended::default();
        for token in 0..20 {
            ended.take_in(token, &identity(7), pidfd.try_clone().unwrap(), "shop".into());
        }
        assert!(ended.0.len() <= MOST_OF_NAMESPACE && ended.0.keys().all(|token| *token >= 12));
        child.wait().unwrap();
    }

    #[test]
    fn namespaces_whose_parents_never_ask_take_no_place_from_others() {
        let mut ended = Ended::default();
        let mut children = Vec::new();
        for token in 0..MOST as u64 + 1 {
            let (child, pidfd) = zombie(Signal::KILL);
            children.push(child);
            let namespace =
                if token == MOST as u64 { "shop".to_owned() } else { format!("loud{}", token % 8) };
            if let How::Otherwise = ended.take_in(token, &identity(7), pidfd, namespace.into()) {
                assert_eq!(token, 0, "a kernel that doesn't tell says so at once");
                break;
            }
        }
        for mut child in children {
            child.wait().unwrap();
        }
        if !ended.0.is_empty() {
            assert!(ended.0.len() <= MOST);
            assert_eq!(ended.hung_up(MOST as u64).map(|(_, was_killed)| was_killed), Some(true));
        }
    }
}
