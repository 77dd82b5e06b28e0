//! What the agent itself lacks: said once in a while, and never taken for something about a pod.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use reloadlet_core::Time;
use reloadlet_core::kernel::lack::Lack;

use crate::clock;
use crate::logs::Causes;

/// How long the same lack isn't said again.
const QUIET: Duration = Duration::from_secs(600);

/// What an error of the agent's own reads and opens means.
pub(crate) fn of(error: &io::Error) -> Lack {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE) => Lack::Descriptors,
        Some(Errno::EACCES | Errno::EPERM) => Lack::Refused,
        Some(_) | None => Lack::Unreadable,
    }
}

/// Errors of `pidfd_send_signal` by name; whatever else a seccomp profile makes of it has its meaning alone.
const NAMED: [(Errno, &str); 7] = [
    (Errno::EAGAIN, "EAGAIN: Try again"),
    (Errno::EACCES, "EACCES: Permission denied"),
    (Errno::EBADF, "EBADF: Bad file number"),
    (Errno::EINVAL, "EINVAL: Invalid argument"),
    (Errno::EIO, "EIO: I/O error"),
    (Errno::ENOMEM, "ENOMEM: Out of memory"),
    (Errno::ENOSYS, "ENOSYS: Function not implemented"),
];

/// An error of the kernel for people.
pub(crate) fn said(errno: i32) -> &'static str {
    let errno = Errno::from_raw(errno);
    NAMED.iter().find(|(named, _)| *named == errno).map_or_else(|| errno.desc(), |(_, said)| *said)
}

/// How many descriptors this process may have open. A limit that was raised meanwhile is taken.
pub(crate) fn descriptor_limit() -> u64 {
    let nofile = Resource::RLIMIT_NOFILE;
    // Where it isn't known the opens tell; no limit is the highest number.
    let Ok((current, maximum)) = getrlimit(nofile) else { return u64::MAX };
    if current != maximum && setrlimit(nofile, maximum, maximum).is_ok() { maximum } else { current }
}

/// What was said, and when; shared by the threads that can lack something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lacks(Arc<Mutex<BTreeMap<(&'static str, Lack), Time>>>);

impl Lacks {
    /// Says that the agent can't do something, unless the same was said within ten minutes.
    pub(crate) fn say(&self, cant: &'static str, lack: Lack, error: Option<&dyn Error>) {
        if !self.is_new(cant, lack, clock::now()) {
            return;
        }
        let error = error.map(|error| Causes(error).to_string());
        match lack {
            Lack::Descriptors => tracing::warn!(
                error,
                limit = descriptor_limit(),
                "the agent can't {cant}: it has no file descriptors left; changes wait until its limit (RLIMIT_NOFILE) is \
                 raised or some come free"
            ),
            Lack::Share => tracing::warn!(
                error,
                limit = descriptor_limit(),
                "the agent can't {cant}: its file descriptors (RLIMIT_NOFILE) are scarce, and a namespace has its share of \
                 them; changes in that namespace wait"
            ),
            Lack::Memory => {
                tracing::warn!(
                    error,
                    "the agent can't {cant}: the kernel has no memory for it; what hangs on it waits"
                );
            }
            Lack::Refused => tracing::warn!(
                error,
                "the agent isn't allowed to {cant}: SELinux, AppArmor or file permissions refuse it; what hangs on it waits"
            ),
            Lack::Unreadable => tracing::warn!(error, "the agent can't {cant}: what hangs on it waits"),
        }
    }

    fn is_new(&self, cant: &'static str, lack: Lack, now: Time) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = said.get(&(cant, lack)).is_some_and(|at| now < *at + QUIET);
        if !before {
            said.insert((cant, lack), now);
        }
        !before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_is_said_once_in_ten_minutes() {
        let lacks = Lacks::default();
        let at = |seconds| Time::since_boot(Duration::from_secs(seconds));
        assert!(lacks.is_new("read", Lack::Refused, at(0)));
        assert!(!lacks.is_new("read", Lack::Refused, at(599)));
        assert!(lacks.is_new("read", Lack::Descriptors, at(599)), "another one");
        assert!(lacks.is_new("read", Lack::Refused, at(600)));
    }

    #[test]
    fn what_the_agent_lacks_is_told_by_the_error() {
        for (errno, lack) in [
            (Errno::EMFILE, Lack::Descriptors),
            (Errno::ENFILE, Lack::Descriptors),
            (Errno::EACCES, Lack::Refused),
            (Errno::EPERM, Lack::Refused),
            (Errno::EIO, Lack::Unreadable),
        ] {
            assert_eq!(of(&io::Error::from(errno)), lack, "{errno}");
        }
        assert_eq!(of(&io::ErrorKind::InvalidData.into()), Lack::Unreadable);
    }

    #[test]
    fn an_error_of_a_send_has_its_name_and_any_other_its_meaning_alone() {
        for (errno, text) in NAMED {
            assert_eq!(text, errno.to_string());
            assert_eq!(said(errno as i32), text);
        }
        assert_eq!(said(Errno::ENOSYS as i32), "ENOSYS: Function not implemented");
        assert_eq!(said(Errno::ENOENT as i32), "No such file or directory");
        assert_eq!(said(0), "Unknown errno");
    }
}
