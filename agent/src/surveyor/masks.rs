//! A process's signal masks with those of its threads, where these decide.

use std::fs::ReadDir;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::kernel::guard::{GuardReading, needs_threads};
use reloadlet_core::kernel::process::ProcessIdentity;
use reloadlet_core::kernel::procfs::{SignalSet, Status};
use reloadlet_core::kernel::program::{Nature, may_harm};
use reloadlet_core::model::signal::Signal;

use super::{MOST_TIME, Request, SLICE};
use crate::clock;
use crate::proc::{ProcError, ProcRoot};

/// The most threads that are looked at. What more of them do isn't known.
const MOST_THREADS: usize = 4096;

/// The most threads that are looked at to know what runs a program: those that it starts with come first.
const MOST_NAMES: usize = 64;

/// What is read of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// Its masks.
    Masks,
    /// Besides, the most memory that it ever had, and what runs the program.
    Closely,
}

/// Masks that are being read.
#[derive(Debug)]
pub(crate) struct Masks {
    process: ProcessIdentity,
    signal: Signal,
    depth: Depth,
    leader: Status,
    read: Time,
    nature: Option<Nature>,
    threads: ReadDir,
    /// What all threads block that were looked at.
    blocked: SignalSet,
    looked_at: usize,
    spent: Duration,
    /// They are asked for anew: what was read is too old.
    doubtful: bool,
}

/// What came of reading the leader's masks.
#[derive(Debug)]
pub(super) enum Begun {
    /// These decide; none where the process is gone.
    Read(Option<GuardReading>),
    /// The threads decide.
    Threads(Box<Masks>),
}

impl Masks {
    /// Reads the leader's.
    pub(super) fn begin(
        proc: &ProcRoot,
        process: ProcessIdentity,
        signal: Signal,
        depth: Depth,
    ) -> Result<Begun, ProcError> {
        let read = clock::now();
        let Some(leader) = proc.status(process.pid)? else { return Ok(Begun::Read(None)) };
        if proc.has_ended(process.pid)? {
            return Ok(Begun::Read(None));
        }
        let blocked = SignalSet::from_bits(u64::MAX);
        let nature = match depth {
            Depth::Masks => None,
            // Then it doesn't matter.
            Depth::Closely if !may_harm(signal) => Some(Nature::Other),
            Depth::Closely => Some(nature(proc, process.pid, &leader)?),
        };
        if !needs_threads(&leader, signal) {
            let reading = GuardReading::new(leader, blocked, read);
            let reading = GuardReading { nature, made: clock::now(), ..reading };
            return Ok(Begun::Read(Some(reading)));
        }
        let Some(threads) = proc.threads(process.pid)? else { return Ok(Begun::Read(None)) };
        let spent = Duration::ZERO;
        let masks = Self {
            process,
            signal,
            depth,
            leader,
            read,
            nature,
            threads,
            blocked,
            looked_at: 0,
            spent,
            doubtful: false,
        };
        Ok(Begun::Threads(Box::new(masks)))
    }

    /// Whose masks they are.
    pub(super) const fn process(&self) -> &ProcessIdentity {
        &self.process
    }

    /// With regard to which signal.
    pub(super) const fn signal(&self) -> Signal {
        self.signal
    }

    /// They are asked for anew, and so closely.
    pub(super) fn doubt(&mut self, depth: Depth) {
        self.doubtful = true;
        self.depth = self.depth.max(depth);
    }

    /// Begins once more where they were asked for anew; what was spent on them counts on.
    pub(super) fn refresh(self: Box<Self>, proc: &ProcRoot) -> Result<Begun, ProcError> {
        if !self.doubtful {
            return Ok(Begun::Threads(self));
        }
        let spent = self.spent;
        let begun = Self::begin(proc, self.process, self.signal, self.depth)?;
        Ok(match begun {
            Begun::Threads(masks) => Begun::Threads(Box::new(Self { spent, ..*masks })),
            read @ Begun::Read(_) => read,
        })
    }

    /// The same from the beginning.
    pub(super) fn anew(self) -> Request {
        Request::Masks(self.process, self.signal, self.depth)
    }

    /// Looks at threads until one decides, all were looked at, or the slice is over; then there is nothing to say yet.
    pub(super) fn go_on(
        &mut self,
        proc: &ProcRoot,
        spent: &dyn Fn() -> Duration,
    ) -> Result<Option<GuardReading>, ProcError> {
        // The directory of a process that has ended ends early.
        while let Some(thread) = proc.next_thread(self.process.pid, &mut self.threads)? {
            self.looked_at += 1;
            if self.looked_at > MOST_THREADS || self.spent + spent() >= MOST_TIME {
                return Ok(Some(GuardReading { complete: false, ..self.reading() }));
            }
            let in_stat = self.signal.is_in_stat();
            let blocked = proc.blocked_in_thread(self.process.pid, &thread.to_string_lossy(), in_stat)?;
            self.blocked = blocked.map_or(self.blocked, |blocked| self.blocked.and(blocked));
            if !self.blocked.contains(self.signal.number()) {
                break;
            }
            if spent() >= SLICE {
                self.spent += spent();
                return Ok(None);
            }
        }
        Ok(Some(self.reading()))
    }

    fn reading(&self) -> GuardReading {
        let reading = GuardReading::new(self.leader.clone(), self.blocked, self.read);
        GuardReading { nature: self.nature, made: clock::now(), ..reading }
    }
}

/// What runs the program of a process, by its threads. What can't be read of one that ends meanwhile says nothing.
fn nature(proc: &ProcRoot, pid: u32, leader: &Status) -> Result<Nature, ProcError> {
    let of_first = Nature::of_thread(&leader.comm);
    if of_first != Nature::Other {
        return Ok(of_first);
    }
    let Some(mut threads) = proc.threads(pid)? else { return Ok(Nature::Other) };
    for _ in 0..MOST_NAMES {
        let Some(thread) = proc.next_thread(pid, &mut threads)? else { break };
        let Some(thread) = proc.thread_masks(pid, &thread.to_string_lossy())? else { continue };
        for nature in [Nature::of_thread(&thread.comm), Nature::of_masks(leader, thread.blocked)] {
            if nature != Nature::Other {
                return Ok(nature);
            }
        }
    }
    Ok(Nature::Other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reloadlet_core::Time;
    use reloadlet_core::kernel::guard::Handling;
    use reloadlet_core::model::names::{ContainerId, PodUid};

    /// A `/proc` whose process 7 has so many threads, which all block SIGHUP.
    fn fake(threads: usize) -> (tempfile::TempDir, ProcRoot, ProcessIdentity) {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("7");
        let status = format!(
            "Name:\tapp\nNSpid:\t7\t1\nThreads:\t{threads}\nShdPnd:\t0\nSigBlk:\t1\nSigIgn:\t0\nSigCgt:\t0\n"
        );
        let stat = format!("7 (app) S 1{} 1 0 0 0{}", " 0".repeat(27), " 0".repeat(17));
        for thread in 0..threads {
            let task = own.join("task").join(thread.to_string());
            std::fs::create_dir_all(&task).unwrap();
            std::fs::write(task.join("stat"), &stat).unwrap();
        }
        std::fs::write(own.join("stat"), &stat).unwrap();
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

    fn begin(proc: &ProcRoot, process: ProcessIdentity) -> Box<Masks> {
        match Masks::begin(proc, process, Signal::HUP, Depth::Masks).unwrap() {
            Begun::Threads(masks) => masks,
            Begun::Read(reading) => panic!("{reading:?}"),
        }
    }

    fn handling(reading: Option<GuardReading>) -> Option<Handling> {
        reading.map(|reading| reading.handling(Signal::HUP))
    }

    #[test]
    fn masks_that_are_asked_for_again_and_again_are_read_anew_and_end_all_the_same() {
        let (_dir, proc, process) = fake(40);
        let mut masks = begin(&proc, process);
        let slices = MOST_TIME.as_millis() / SLICE.as_millis();
        let mut reading = None;
        for _ in 0..slices {
            reading = masks.go_on(&proc, &|| SLICE).unwrap();
            if reading.is_some() {
                break;
            }
            masks.doubt(Depth::Masks);
            let Begun::Threads(fresh) = masks.refresh(&proc).unwrap() else { panic!("the threads decide") };
            assert_eq!(fresh.looked_at, 0);
            masks = fresh;
        }
        assert_eq!(handling(reading), Some(Handling::Unknown));
    }

    #[test]
    fn threads_are_looked_at_in_slices_and_what_is_beyond_the_bounds_is_unknown() {
        let (_dir, proc, process) = fake(40);
        let mut masks = begin(&proc, process.clone());
        for _ in 0..39 {
            assert_eq!(handling(masks.go_on(&proc, &|| SLICE).unwrap()), None);
        }
        assert_eq!(handling(masks.go_on(&proc, &|| Duration::ZERO).unwrap()), Some(Handling::Blocked));

        let mut masks = begin(&proc, process.clone());
        assert_eq!(handling(masks.go_on(&proc, &|| MOST_TIME).unwrap()), Some(Handling::Unknown));

        let (_dir, proc, process) = fake(MOST_THREADS + 1);
        let mut masks = begin(&proc, process);
        assert_eq!(handling(masks.go_on(&proc, &|| Duration::ZERO).unwrap()), Some(Handling::Unknown));
    }
}
