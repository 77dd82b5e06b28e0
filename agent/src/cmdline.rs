//! Reads `cmdline` with a deadline: it takes the mmap lock of the process, and hangs behind one that forks with much
//! memory (140 ms measured with 6 GiB).

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use crate::proc::{ProcError, ProcRoot};

/// How long a survey waits for one command line.
const DEADLINE: Duration = Duration::from_millis(200);

/// Reads on a thread of its own, one at a time.
#[derive(Debug)]
pub(crate) struct CmdlineReader {
    proc: ProcRoot,
    thread: Option<Ends>,
    /// A read that missed its deadline: nothing else is read until it is over.
    late: bool,
}

impl CmdlineReader {
    /// The thread starts with the first read.
    pub(crate) const fn new(proc: ProcRoot) -> Self {
        Self { proc, thread: None, late: false }
    }

    /// The command line; `None` when the process is gone, the deadline passed, or an earlier read still hangs.
    /// An error is one of reading.
    pub(crate) fn read(&mut self, pid: u32) -> Result<Option<Vec<u8>>, ProcError> {
        if self.thread.is_none() {
            self.thread = start(self.proc.clone());
        }
        let Some((requests, answers)) = self.thread.as_ref() else { return Ok(None) };
        if self.late && answers.try_recv().is_err() {
            return Ok(None);
        }
        self.late = false;
        match requests.try_send(pid) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Ok(None),
            Err(TrySendError::Disconnected(_)) => {
                self.thread = None;
                return Ok(None);
            }
        }
        match answers.recv_timeout(DEADLINE) {
            Ok(cmdline) => cmdline,
            Err(_) => {
                self.late = true;
                tracing::warn!(
                    pid,
                    "reading a process's command line takes long: its name is compared without it"
                );
                Ok(None)
            }
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
    fn a_read_that_hangs_is_given_up_and_later_reads_work_again() {
        let dir = tempfile::tempdir().unwrap();
        for pid in ["1", "2"] {
            std::fs::create_dir(dir.path().join(pid)).unwrap();
        }
        let fifo = dir.path().join("1/cmdline");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        std::fs::write(dir.path().join("2/cmdline"), "app\0").unwrap();
        let mut reader = CmdlineReader::new(ProcRoot::new(dir.path().into()));
        assert_eq!(reader.read(1).unwrap(), None, "nobody writes to the pipe");
        assert_eq!(reader.read(2).unwrap(), None, "the other one still hangs");
        std::fs::OpenOptions::new().write(true).open(&fifo).unwrap().write_all(b"x").unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(20);
        let mut found = None;
        while found.is_none() && std::time::Instant::now() < until {
            found = reader.read(2).unwrap();
        }
        assert_eq!(found.as_deref(), Some(b"app\0".as_slice()));
    }
}
