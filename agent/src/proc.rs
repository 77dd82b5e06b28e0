//! Reads below `/proc/<pid>` that need no capability. Whatever a program does, each has a bound.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{File, ReadDir};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::errno::Errno;
use reloadlet_core::kernel::cgroup::is_in_container;
use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::kernel::mounts::{ContainerMounts, Device, below_pod, root_shown};
use reloadlet_core::kernel::process::ProcessIdentity;
use reloadlet_core::kernel::procfs::{SignalSet, Stat, Status, pidfd_namespace_pids};
use reloadlet_core::model::names::PodUid;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::lack;

pub(crate) mod stat;

/// The most bytes of `stat`, of a pidfd's `fdinfo` and of `cgroup`: a dozen hierarchies of v1 with paths of 4 KiB.
const SMALL: u64 = 64 << 10;
/// The most bytes of `cmdline`: the program's name is in the first argument.
const COMMAND: u64 = 4 << 10;
/// The most bytes of `status`: 65,536 groups, which is the kernel's bound, make 720 KiB.
const STATUS: u64 = 1 << 20;
/// The most bytes of `mountinfo`, some 3000 mounts of a usual container. The runtime's own come first.
const MOUNTINFO: u64 = 1 << 20;
/// The most threads that are looked at for one that lives, where a process's first has ended.
const MOST_THREADS: usize = 64;
/// The same, to know whether a process ends with its first thread.
const MOST_ENDING: usize = 16;
/// The longest line that is looked at: a mount has two paths of 4 KiB, and each byte can be printed as four.
const LONGEST_LINE: usize = 40 << 10;

/// Where the host's processes are seen.
#[derive(Clone, Debug)]
pub(crate) struct ProcRoot(PathBuf);

/// A read that failed for another reason than the end of the process.
#[derive(Debug, thiserror::Error)]
#[error("can't read {}", .path.display())]
pub(crate) struct ProcError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl ProcError {
    /// What the agent lacks.
    pub(crate) fn lack(&self) -> Lack {
        lack::of(&self.source)
    }
}

impl ProcRoot {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Fails where this isn't a proc file system of a PID namespace in which the agent is.
    pub(crate) fn see_itself(&self) -> io::Result<()> {
        File::open(self.0.join("self/stat")).map(drop)
    }

    /// A file's first bytes, at most so many; `None` when the process is gone.
    fn read(&self, pid: u32, file: &str, most: u64) -> Result<Option<Vec<u8>>, ProcError> {
        let path = self.0.join(pid.to_string()).join(file);
        let mut bytes = Vec::with_capacity(1024);
        match File::open(&path).and_then(|file| file.take(most).read_to_end(&mut bytes)) {
            Ok(_) => Ok(Some(bytes)),
            Err(source) if is_gone(&source) => Ok(None),
            Err(source) => Err(ProcError { path, source }),
        }
    }

    fn read_text(&self, pid: u32, file: &str) -> Result<Option<String>, ProcError> {
        Ok(self.read(pid, file, SMALL)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// A file's lines, one after the other. Whether that were all; `None` when the process is gone.
    fn lines(
        &self,
        pid: u32,
        file: &str,
        most: u64,
        take: impl FnMut(&str),
    ) -> Result<Option<bool>, ProcError> {
        let path = self.0.join(pid.to_string()).join(file);
        match File::open(&path).and_then(|file| each_line(BufReader::new(file.take(most)), take)) {
            Ok(read) => Ok(Some(read < most)),
            Err(source) if is_gone(&source) => Ok(None),
            Err(source) => Err(ProcError { path, source }),
        }
    }

    /// `stat`. `None` means that the process is gone, and nothing else. One that is ending is dead already.
    pub(crate) fn stat(&self, pid: u32) -> Result<Option<Stat>, ProcError> {
        let Some(whole) = self.whole_stat(pid, "stat")? else { return Ok(None) };
        let is_ending = self.is_ending(pid, &whole)?;
        let facts = stat::facts(whole).ok_or_else(|| self.malformed(pid, "stat"))?;
        Ok(Some(if is_ending { Stat { state: 'X', ..facts } } else { facts }))
    }

    fn whole_stat(&self, pid: u32, file: &str) -> Result<Option<procfs::process::Stat>, ProcError> {
        let Some(text) = self.read(pid, file, SMALL)? else { return Ok(None) };
        stat::parse(&text).map(Some).ok_or_else(|| self.malformed(pid, file))
    }

    fn stat_in<T>(
        &self,
        pid: u32,
        file: &str,
        of: fn(procfs::process::Stat) -> Option<T>,
    ) -> Result<Option<T>, ProcError> {
        let Some(whole) = self.whole_stat(pid, file)? else { return Ok(None) };
        of(whole).map(Some).ok_or_else(|| self.malformed(pid, file))
    }

    /// Whether a process whose first thread has this `stat` is ending, and not its first thread alone (pthread_exit(3) in `main`):
    /// when a process ends, all of its threads do. Of one with more of them than are looked at that isn't known.
    fn is_ending(&self, pid: u32, first: &procfs::process::Stat) -> Result<bool, ProcError> {
        if !stat::is_exiting(first) || first.num_threads <= 1 {
            return Ok(stat::is_exiting(first));
        }
        let Some(mut threads) = self.threads(pid)? else { return Ok(true) };
        for _ in 0..MOST_ENDING {
            let Some(thread) = self.next_thread(pid, &mut threads)? else { return Ok(true) };
            let found = self.whole_stat(pid, &format!("task/{}/stat", thread.to_string_lossy()))?;
            if found.is_some_and(|found| !stat::is_exiting(&found)) {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// `status` of the process, which is its leader thread's. `None` means that the process is gone, and nothing else.
    /// Takes up to 30 ms: the kernel prints up to 65,536 groups before it gives the first byte.
    pub(crate) fn status(&self, pid: u32) -> Result<Option<Status>, ProcError> {
        self.status_in(pid, "status")
    }

    fn status_in(&self, pid: u32, file: &str) -> Result<Option<Status>, ProcError> {
        let mut text = String::new();
        let keep = |line: &str| {
            let wanted = [
                "Name:", "State:", "Tgid:", "NSpid:", "VmPeak:", "VmSize:", "Threads:", "ShdPnd:", "SigBlk:",
                "SigIgn:", "SigCgt:",
            ];
            if wanted.iter().any(|key| line.starts_with(key)) {
                text.push_str(line);
                text.push('\n');
            }
        };
        let Some(_) = self.lines(pid, file, STATUS, keep)? else { return Ok(None) };
        Status::parse(&text).map(Some).ok_or_else(|| self.malformed(pid, file))
    }

    /// The leader thread's masks of the first 31 signals, which takes 20 µs whatever the process does; `None` when the process is
    /// gone or ending.
    pub(crate) fn leader_masks(&self, pid: u32) -> Result<Option<Status>, ProcError> {
        let Some(whole) = self.whole_stat(pid, "stat")? else { return Ok(None) };
        if self.is_ending(pid, &whole)? {
            return Ok(None);
        }
        stat::masks(whole).map(Some).ok_or_else(|| self.malformed(pid, "stat"))
    }

    /// Whether a process is gone, or ending.
    pub(crate) fn has_ended(&self, pid: u32) -> Result<bool, ProcError> {
        let Some(whole) = self.whole_stat(pid, "stat")? else { return Ok(true) };
        self.is_ending(pid, &whole)
    }

    fn malformed(&self, pid: u32, file: &str) -> ProcError {
        let path = self.0.join(pid.to_string()).join(file);
        ProcError { path, source: io::ErrorKind::InvalidData.into() }
    }

    /// Whether this PID is a thread's that isn't its process's first.
    pub(crate) fn is_later_thread(&self, pid: u32) -> Result<bool, ProcError> {
        let status = self.status(pid)?;
        Ok(status.and_then(|status| status.thread_group).is_some_and(|leader| leader != pid))
    }

    /// The process's PID in each PID namespace. Out of `status` only where the kernel doesn't tell it of a pidfd.
    pub(crate) fn namespace_pids(&self, pid: u32) -> Result<Option<Vec<u32>>, ProcError> {
        if let Some(info) = self.pidfd_info(pid) {
            return Ok(pidfd_namespace_pids(&info));
        }
        Ok(self.status(pid)?.map(|status| status.namespace_pids))
    }

    /// What the kernel says of a pidfd of the process, from Linux 5.5 on with its PIDs.
    fn pidfd_info(&self, pid: u32) -> Option<String> {
        let pidfd = pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()?;
        let file = File::open(self.0.join("self/fdinfo").join(pidfd.as_raw_fd().to_string())).ok()?;
        let mut text = String::new();
        file.take(SMALL).read_to_string(&mut text).ok()?;
        text.contains("NSpid:").then_some(text)
    }

    /// The process's threads, to be looked at one after the other; `None` when it is gone.
    pub(crate) fn threads(&self, pid: u32) -> Result<Option<ReadDir>, ProcError> {
        let path = self.0.join(pid.to_string()).join("task");
        match std::fs::read_dir(&path) {
            Ok(entries) => Ok(Some(entries)),
            Err(source) if is_gone(&source) => Ok(None),
            Err(source) => Err(ProcError { path, source }),
        }
    }

    /// The next of a process's threads; `None` after the last one, or when the process has ended meanwhile.
    pub(crate) fn next_thread(&self, pid: u32, threads: &mut ReadDir) -> Result<Option<OsString>, ProcError> {
        match threads.next().transpose() {
            Ok(entry) => Ok(entry.map(|entry| entry.file_name())),
            Err(source) if is_gone(&source) => Ok(None),
            Err(source) => Err(ProcError { path: self.0.join(pid.to_string()).join("task"), source }),
        }
    }

    /// The signals that a thread blocks: the first 31 out of `stat`, or all out of `status`, which can take long.
    pub(crate) fn blocked_in_thread(
        &self,
        pid: u32,
        thread: &str,
        in_stat: bool,
    ) -> Result<Option<SignalSet>, ProcError> {
        let status = if in_stat {
            self.thread_masks(pid, thread)?
        } else {
            self.status_in(pid, &format!("task/{thread}/status"))?
        };
        Ok(status.map(|status| status.blocked))
    }

    /// A thread's name, and its masks of the first 31 signals.
    pub(crate) fn thread_masks(&self, pid: u32, thread: &str) -> Result<Option<Status>, ProcError> {
        self.stat_in(pid, &format!("task/{thread}/stat"), stat::masks)
    }

    /// Where a process's file is: a first thread that has ended has no memory and no mounts any more, and on a hierarchy of
    /// version 1 no cgroup (kernel `proc_cgroup_show`), though others of the process live on. Theirs is the process's then.
    fn of_living(&self, pid: u32, file: &'static str) -> Result<Cow<'static, str>, ProcError> {
        let own = Ok(Cow::Borrowed(file));
        if !self.stat(pid)?.is_some_and(|stat| stat.has_ended_first_thread()) {
            return own;
        }
        let Some(mut threads) = self.threads(pid)? else { return own };
        for _ in 0..MOST_THREADS {
            let Some(thread) = self.next_thread(pid, &mut threads)? else { break };
            let thread = thread.to_string_lossy();
            let found = self.stat_in(pid, &format!("task/{thread}/stat"), stat::facts)?;
            if found.is_some_and(|found| !found.is_ended_thread()) {
                return Ok(Cow::Owned(format!("task/{thread}/{file}")));
            }
        }
        own
    }

    /// What `mountinfo` shows of the pod; takes 0.1 ms and more.
    pub(crate) fn mounts(&self, pid: u32, pod: &PodUid) -> Result<Option<ContainerMounts>, ProcError> {
        let mut mounts = ContainerMounts::default();
        let below_pod = below_pod(pod);
        let file = self.of_living(pid, "mountinfo")?;
        match self.lines(pid, &file, MOUNTINFO, |line| mounts.take_line(line, &below_pod)) {
            Ok(Some(true)) => Ok(Some(mounts)),
            Ok(Some(false)) => {
                mounts.cut();
                Ok(Some(mounts))
            }
            Ok(None) => Ok(None),
            // A process that is ending has no mounts any more (kernel `fs/proc_namespace.c`, `mounts_open_common`).
            Err(error) if error.source.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The kubelet root that a process's mounts show, as a path in its file system.
    pub(crate) fn kubelet_root(&self, pid: u32, pod: &PodUid) -> Result<Option<(Device, String)>, ProcError> {
        let below_pod = below_pod(pod);
        let mut shown = None;
        let take = |line: &str| {
            if shown.is_none() {
                shown = root_shown(line, &below_pod);
            }
        };
        let file = self.of_living(pid, "mountinfo")?;
        self.lines(pid, &file, MOUNTINFO, take)?;
        Ok(shown)
    }

    /// The start of `cmdline`, which can hang behind a process that forks with much memory.
    pub(crate) fn cmdline(&self, pid: u32) -> Result<Option<Vec<u8>>, ProcError> {
        let file = self.of_living(pid, "cmdline")?;
        self.read(pid, &file, COMMAND)
    }

    /// Whether the process of this PID is the one that is meant: started then, and in that container of that pod.
    pub(crate) fn is(&self, process: &ProcessIdentity) -> Result<bool, ProcError> {
        let Some(stat) = self.stat(process.pid)? else { return Ok(false) };
        if stat.started != process.started || stat.is_dead() {
            return Ok(false);
        }
        let file = if stat.has_ended_first_thread() {
            self.of_living(process.pid, "cgroup")?
        } else {
            Cow::Borrowed("cgroup")
        };
        let Some(text) = self.read_text(process.pid, &file)? else { return Ok(false) };
        Ok(is_in_container(&text, &process.pod, &process.container))
    }
}

/// Gives every line that isn't longer than [`LONGEST_LINE`], and how many bytes there were.
fn each_line(mut from: impl BufRead, mut take: impl FnMut(&str)) -> io::Result<u64> {
    let mut line = Vec::new();
    let (mut sum, mut too_long) = (0, false);
    loop {
        let piece = from.fill_buf()?;
        if piece.is_empty() {
            // A line without an end was cut.
            return Ok(sum);
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let (part, used) = match end {
            Some(end) => (piece.get(..end).unwrap_or_default(), end + 1),
            None => (piece, piece.len()),
        };
        too_long |= line.len() + part.len() > LONGEST_LINE;
        if !too_long {
            line.extend_from_slice(part);
        }
        sum += used as u64;
        from.consume(used);
        if end.is_some() {
            if !std::mem::take(&mut too_long) {
                take(&String::from_utf8_lossy(&line));
            }
            line.clear();
        }
    }
}

/// Whether an error means that the process ended (ESRCH comes from reads of files that were opened before).
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

#[cfg(test)]
mod tests;
