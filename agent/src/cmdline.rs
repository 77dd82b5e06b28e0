//! Reads `cmdline` with a deadline: it takes the mmap lock of the process, and hangs behind one that forks with much
//! memory (140 ms measured with 6 GiB).

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use reloadlet_core::model::names::PodUid;

use crate::proc::{ProcError, ProcRoot};

/// How long a survey waits for one command line.
const DEADLINE: Duration = Duration::from_millis(50);
/// The most reads that hang at a time; each has a thread.
const MOST_LATE: usize = 16;

/// Reads on a thread of its own, one at a time. A read that hangs keeps its thread, and its pod from further reads.
#[derive(Debug)]
pub(crate) struct CmdlineReader {
    proc: ProcRoot,
    thread: Option<Ends>,
    /// The reads that missed their deadline.
    late: HashMap<PodUid, Ends>,
}

impl CmdlineReader {
    /// The thread starts with the first read.
    pub(crate) fn new(proc: ProcRoot) -> Self {
        Self { proc, thread: None, late: HashMap::new() }
    }

    /// The command line; `None` when the process is gone, the deadline passed, or an earlier read of the pod still
    /// hangs. An error is one of reading.
    pub(crate) fn read(&mut self, pod: &PodUid, pid: u32) -> Result<Option<Vec<u8>>, ProcError> {
        self.late.retain(|_, (_, answers)| matches!(answers.try_recv(), Err(TryRecvError::Empty)));
        if self.late.contains_key(pod) || self.late.len() >= MOST_LATE {
            return Ok(None);
        }
        let Some(ends) = self.thread.take().or_else(|| start(self.proc.clone())) else { return Ok(None) };
        if ends.0.try_send(pid).is_err() {
            return Ok(None);
        }
        match ends.1.recv_timeout(DEADLINE) {
            Ok(cmdline) => {
                self.thread = Some(ends);
                cmdline
            }
            Err(RecvTimeoutError::Timeout) => {
                self.late.insert(pod.clone(), ends);
                tracing::warn!(
                    pid,
                    "reading a process's command line takes long: its name is compared without it"
                );
                Ok(None)
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
        }
    }
}

/// Where PIDs go in and command lines come out.
type Ends = (SyncSender<u32>, Receiver<Result<Option<Vec<u8>>, ProcError>>);

fn start(proc: ProcRoot) -> Option<Ends> {
    let (requests, pids) = sync_channel::<u32>(1);
    let (found, answers) = sync_channel(1);
    let spawned = std::thread::Builder::new().name("cmdline".to_owned()).spawn(move || {
        for pid in pids {
            if found.send(proc.cmdline(pid)).is_err() {
                return;
            }
        }
    });
    match spawned {
        Ok(_) => Some((requests, answers)),
        Err(error) => {
            tracing::warn!(%error, "can't start the thread that reads command lines");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_read_that_hangs_is_given_up_and_only_its_pod_waits_for_its_end() {
        let pod = |digit: &str| PodUid::parse(&digit.repeat(32)).unwrap();
        let (pod, other) = (pod("1"), pod("2"));
        let dir = tempfile::tempdir().unwrap();
        for pid in ["1", "2"] {
            std::fs::create_dir(dir.path().join(pid)).unwrap();
        }
        let fifo = dir.path().join("1/cmdline");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::write(dir.path().join("2/cmdline"), "app\0").unwrap();
        let mut reader = CmdlineReader::new(ProcRoot::new(dir.path().into()));
        assert_eq!(reader.read(&pod, 1).unwrap(), None, "nobody writes to the pipe");
        assert_eq!(reader.read(&pod, 2).unwrap(), None, "the other one still hangs");
        let until = std::time::Instant::now() + Duration::from_secs(20);
        let mut found = None;
        while found.is_none() && std::time::Instant::now() < until {
            reader.late.remove(&other);
            found = reader.read(&other, 2).unwrap();
        }
        assert_eq!(found.as_deref(), Some(b"app\0".as_slice()), "another pod's process");
        std::fs::OpenOptions::new().write(true).open(&fifo).unwrap().write_all(b"x").unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(20);
        let mut found = None;
        while found.is_none() && std::time::Instant::now() < until {
            found = reader.read(&pod, 2).unwrap();
        }
        assert_eq!(found.as_deref(), Some(b"app\0".as_slice()));
    }
}
