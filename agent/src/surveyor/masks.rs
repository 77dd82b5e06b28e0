//! A process's signal masks with those of its threads, where these decide.

use std::fs::ReadDir;
use std::time::Duration;

use reloadlet_core::guard::{GuardReading, needs_threads};
use reloadlet_core::process::ProcessIdentity;
use reloadlet_core::procfs::{SignalSet, Status};
use reloadlet_core::signal::Signal;

use super::{MOST_TIME, SLICE, warned};
use crate::logs::Causes;
use crate::proc::ProcRoot;

/// The most threads that are looked at. What more of them do isn't known.
const MOST_THREADS: usize = 4096;

/// Masks that are being read.
#[derive(Debug)]
pub(crate) struct Masks {
    process: ProcessIdentity,
    signal: Signal,
    leader: Status,
    threads: ReadDir,
    /// What all threads block that were looked at.
    blocked: SignalSet,
    looked_at: usize,
    spent: Duration,
}

impl Masks {
    /// Reads the leader's. Where its threads don't decide it gives back the reading; none where the process is gone.
    pub(super) fn begin(
        proc: &ProcRoot,
        process: ProcessIdentity,
        signal: Signal,
    ) -> Result<Box<Self>, Option<GuardReading>> {
        let leader = match proc.status(process.pid) {
            Ok(Some(leader)) => leader,
            Ok(None) => return Err(None),
            Err(error) => {
                tracing::warn!(error = %Causes(&error), "a process's masks can't be read");
                return Err(Some(GuardReading::unknown()));
            }
        };
        let blocked = SignalSet::from_bits(u64::MAX);
        if !needs_threads(&leader, signal) {
            return Err(Some(GuardReading::new(leader, blocked)));
        }
        let Some(threads) = warned(proc.threads(process.pid)) else {
            return Err(None);
        };
        let spent = Duration::ZERO;
        Ok(Box::new(Self { process, signal, leader, threads, blocked, looked_at: 0, spent }))
    }

    /// Whose masks they are.
    pub(super) const fn process(&self) -> &ProcessIdentity {
        &self.process
    }

    /// Looks at threads until one decides, all were looked at, or the slice is over; then there is nothing to say yet.
    pub(super) fn go_on(&mut self, proc: &ProcRoot, spent: &dyn Fn() -> Duration) -> Option<GuardReading> {
        while let Some(entry) = self.threads.next() {
            // The directory of a process that has ended ends with an error.
            let Ok(entry) = entry else { break };
            self.looked_at += 1;
            if self.looked_at > MOST_THREADS || self.spent + spent() >= MOST_TIME {
                return Some(GuardReading { complete: false, ..self.reading() });
            }
            let thread = entry.file_name();
            let in_stat = self.signal.is_in_stat();
            let blocked =
                warned(proc.blocked_in_thread(self.process.pid, &thread.to_string_lossy(), in_stat));
            self.blocked = blocked.map_or(self.blocked, |blocked| self.blocked.and(blocked));
            if !self.blocked.contains(self.signal.number()) {
                break;
            }
            if spent() >= SLICE {
                self.spent += spent();
                return None;
            }
        }
        Some(self.reading())
    }

    fn reading(&self) -> GuardReading {
        GuardReading::new(self.leader.clone(), self.blocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reloadlet_core::Time;
    use reloadlet_core::guard::Handling;
    use reloadlet_core::pod::{ContainerId, PodUid};

    /// A `/proc` whose process 7 has so many threads, which all block SIGHUP.
    fn fake(threads: usize) -> (tempfile::TempDir, ProcRoot, ProcessIdentity) {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("7");
        let status = format!(
            "Name:\tapp\nNSpid:\t7\t1\nThreads:\t{threads}\nShdPnd:\t0\nSigBlk:\t1\nSigIgn:\t0\nSigCgt:\t0\n"
        );
        for thread in 0..threads {
            let task = own.join("task").join(thread.to_string());
            std::fs::create_dir_all(&task).unwrap();
            let stat = format!("7 (app) S 1{} 1 0 0 0", " 0".repeat(27));
            std::fs::write(task.join("stat"), stat).unwrap();
        }
        std::fs::write(own.join("status"), status).unwrap();
        let process = ProcessIdentity {
            pid: 7,
            started: Time::default(),
            pod: PodUid::parse(&"1".repeat(32)).unwrap(),
            container: ContainerId::parse(&"a".repeat(64)).unwrap(),
        };
        let proc = ProcRoot::new(dir.path().into());
        (dir, proc, process)
    }

    fn handling(reading: Option<GuardReading>) -> Option<Handling> {
        reading.map(|reading| reading.handling(Signal::HUP))
    }

    #[test]
    fn threads_are_looked_at_in_slices_and_what_is_beyond_the_bounds_is_unknown() {
        let (_dir, proc, process) = fake(40);
        let mut masks = Masks::begin(&proc, process.clone(), Signal::HUP).unwrap();
        for _ in 0..39 {
            assert_eq!(handling(masks.go_on(&proc, &|| SLICE)), None);
        }
        assert_eq!(handling(masks.go_on(&proc, &|| Duration::ZERO)), Some(Handling::Handled));

        let mut masks = Masks::begin(&proc, process.clone(), Signal::HUP).unwrap();
        assert_eq!(handling(masks.go_on(&proc, &|| MOST_TIME)), Some(Handling::Unknown));

        let (_dir, proc, process) = fake(MOST_THREADS + 1);
        let mut masks = Masks::begin(&proc, process, Signal::HUP).unwrap();
        assert_eq!(handling(masks.go_on(&proc, &|| Duration::ZERO)), Some(Handling::Unknown));
    }
}
