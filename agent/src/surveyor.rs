//! Everything that may block or takes long, on a thread of its own: looking at a pod's containers, listing volumes,
//! reading files and threads' masks. Requests wait in a queue that holds each at most once. What takes long is done in
//! slices, and the pod that has used the least time comes first: whatever one runs, others wait for a slice at most.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::event::{Event, Reading, Survey, VolumeRef};
use reloadlet_core::generation::Generation;
use reloadlet_core::mounts::ContainerMounts;
use reloadlet_core::pod::{ContainerId, PodUid};
use reloadlet_core::process::{ProcessFacts, ProcessIdentity, is_runtime};
use reloadlet_core::procfs::program_name;
use reloadlet_core::signal::Signal;

use crate::cgroups::Cgroups;
use crate::clock;
use crate::cmdline::CmdlineReader;
use crate::listing;
use crate::logs::Causes;
use crate::own_reads::OwnReads;
use crate::proc::{ProcError, ProcRoot};

mod masks;
mod queue;
mod survey;

use masks::Masks;
use queue::QueueState;
use survey::Surveying;

/// After so long a request goes back into the queue, and another pod's has its turn.
const SLICE: Duration = Duration::from_millis(5);
/// So long one pod's processes, or one process's threads, are looked at before that is given up.
const MOST_TIME: Duration = Duration::from_secs(2);

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Request {
    /// Look at a pod's containers.
    Survey(Survey),
    /// List a volume.
    List(VolumeRef, PathBuf),
    /// Read a generation's files in this directory.
    Read(VolumeRef, Generation, PathBuf, Reading),
    /// Read the masks of a process and, where they decide about this signal, of its threads.
    Masks(ProcessIdentity, Signal),
    /// A survey that was begun.
    Surveying(Box<Surveying>),
    /// Threads' masks of which some were read.
    Reading(Box<Masks>),
    /// A pod isn't asked for any more.
    Forget(PodUid),
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Finding {
    /// For the machine.
    Event(Event),
    /// Where a pod's cgroup is, and where pods' cgroups appear.
    Cgroup(PodUid, PathBuf, Vec<PathBuf>),
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
}

/// The thread's handle.
#[derive(Debug)]
pub(crate) struct Surveyor {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Surveyor {
    /// Starts the thread. `report` runs on it and may wait for its reader.
    pub(crate) fn start(
        proc: ProcRoot,
        cgroup_root: PathBuf,
        own_reads: OwnReads,
        report: impl FnMut(Finding) + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let work = queue.clone();
        let thread = std::thread::Builder::new().name("surveyor".to_owned()).spawn(move || {
            let cgroups = Cgroups::new(&cgroup_root);
            if cgroups.is_empty() {
                tracing::warn!(path = %cgroup_root.display(), "no cgroup hierarchy here: no process will be found");
            }
            let cmdlines = CmdlineReader::new(proc.clone());
            Worker { proc, cgroups, cmdlines, mounts: HashMap::new(), own_reads, report }.run(&work);
        })?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Adds a request, or puts it in the place of the same one that waits.
    pub(crate) fn request(&self, request: Request) {
        let mut state = self.queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.add(request) {
            drop(state);
            self.queue.filled.notify_one();
        }
    }

    /// Ends the thread after what it is doing. What waits is dropped; it isn't waited for, since a read can hang.
    pub(crate) fn close(&mut self) {
        let mut state = self.queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.close();
        drop(state);
        self.queue.filled.notify_one();
        drop(self.thread.take());
    }
}

impl Queue {
    fn next(&self) -> Option<Request> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.is_closed() {
                return None;
            }
            if let Some(request) = state.take() {
                return Some(request);
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A pod's request has taken so long, and this is left of it.
    fn done(&self, pod: &PodUid, took: Duration, rest: Option<Request>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).done(pod, took, rest);
    }
}

struct Worker<R> {
    proc: ProcRoot,
    cgroups: Cgroups,
    cmdlines: CmdlineReader,
    /// What containers mount, remembered once the container's name is in it: the runtime's own process has others.
    mounts: HashMap<ContainerId, (PodUid, Arc<ContainerMounts>)>,
    own_reads: OwnReads,
    report: R,
}

impl<R: FnMut(Finding)> Worker<R> {
    fn run(mut self, queue: &Queue) {
        while let Some(request) = queue.next() {
            let (pod, begun) = (request.pod().clone(), clock::now());
            let ends = matches!(request, Request::Forget(_));
            let rest = self.carry_out(request, begun);
            if !ends {
                queue.done(&pod, clock::now().since(begun), rest);
            }
        }
    }

    /// Gives back what is left to do.
    fn carry_out(&mut self, request: Request, begun: Time) -> Option<Request> {
        match request {
            Request::Survey(survey) => {
                let surveying = self.begin_survey(survey);
                return self.go_on(surveying, begun);
            }
            Request::Surveying(surveying) => return self.go_on(surveying, begun),
            Request::List(volume, path) => {
                let listing = listing::list(&path);
                (self.report)(Finding::Event(Event::Listed(volume, listing)));
            }
            Request::Read(volume, generation, path, reading) => {
                // The loop ends it when it takes in the finding.
                self.own_reads.begin(&volume, &generation);
                let contents = listing::contents(&path, &reading);
                (self.report)(Finding::Event(Event::Read(volume, generation, reading, contents)));
            }
            Request::Masks(process, signal) => match Masks::begin(&self.proc, process.clone(), signal) {
                Ok(masks) => return self.read_masks(masks, begun),
                Err(reading) => (self.report)(Finding::Event(Event::Guarded(process, reading))),
            },
            Request::Reading(masks) => return self.read_masks(masks, begun),
            Request::Forget(pod) => {
                self.cgroups.forget(&pod);
                self.mounts.retain(|_, (owner, _)| *owner != pod);
            }
        }
        None
    }

    fn read_masks(&mut self, mut masks: Box<Masks>, begun: Time) -> Option<Request> {
        match masks.go_on(&self.proc, &|| clock::now().since(begun)) {
            Some(reading) => {
                let process = masks.process().clone();
                (self.report)(Finding::Event(Event::Guarded(process, Some(reading))));
                None
            }
            None => Some(Request::Reading(masks)),
        }
    }

    fn begin_survey(&mut self, survey: Survey) -> Box<Surveying> {
        let found = self.cgroups.pod(&survey.pod);
        if let Some(directory) = found.directory {
            let parents = self.cgroups.parents().map(PathBuf::from).collect();
            (self.report)(Finding::Cgroup(survey.pod.clone(), directory, parents));
        }
        self.mounts.retain(|id, (owner, _)| {
            *owner != survey.pod || (found.containers.contains_key(id) && !survey.fresh_mounts)
        });
        Box::new(Surveying::new(survey, found.containers, found.cut))
    }

    fn go_on(&mut self, mut surveying: Box<Surveying>, begun: Time) -> Option<Request> {
        let spent = || clock::now().since(begun);
        loop {
            if surveying.is_overdue(spent()) {
                surveying.give_up();
            }
            if let Some(pid) = surveying.next_process() {
                let facts = self.facts(surveying.survey(), pid);
                surveying.add(facts);
            } else if let Some((id, processes)) = surveying.container() {
                let mounts = self.mounts_of(&surveying.survey().pod, id, processes);
                surveying.end_container(mounts);
            } else {
                let (pod, found) = surveying.end();
                (self.report)(Finding::Event(Event::Surveyed(pod, found)));
                return None;
            }
            if spent() >= SLICE {
                surveying.pause(spent());
                return Some(Request::Surveying(surveying));
            }
        }
    }

    /// What `stat` and a pidfd say; `None` when the process is gone.
    fn facts(&mut self, survey: &Survey, pid: u32) -> Option<ProcessFacts> {
        let stat = warned(self.proc.stat(pid))?;
        let namespace_pids = warned(self.proc.namespace_pids(pid))?;
        let wanted = survey.name.as_deref().filter(|name| stat.comm != **name);
        // A program gives itself any name: only the one that is looked for is kept.
        let program = wanted.and_then(|name| {
            let found = self.cmdlines.read(&survey.pod, pid).as_deref().and_then(program_name);
            found.filter(|found| found == name)
        });
        Some(ProcessFacts { pid, stat, namespace_pids, program })
    }

    fn mounts_of(
        &mut self,
        pod: &PodUid,
        id: &ContainerId,
        processes: &[ProcessFacts],
    ) -> Option<Arc<ContainerMounts>> {
        if let Some((_, known)) = self.mounts.get(id).filter(|(owner, _)| owner == pod) {
            return Some(known.clone());
        }
        let oldest = processes
            .iter()
            .filter(|process| !process.stat.is_dead() && !is_runtime(&process.stat.comm))
            .min_by_key(|process| process.stat.started)?;
        let mounts = Arc::new(warned(self.proc.mounts(oldest.pid, pod))?);
        if mounts.container.is_some() {
            self.mounts.insert(id.clone(), (pod.clone(), mounts.clone()));
        }
        Some(mounts)
    }
}

/// A read's result; a failure is said, and then as if the process were gone.
fn warned<T>(result: Result<Option<T>, ProcError>) -> Option<T> {
    result.unwrap_or_else(|error| {
        tracing::warn!(error = %Causes(&error), "a process can't be looked at");
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_counts_as_our_own_until_the_loop_has_taken_in_what_came_of_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("key"), "x").unwrap();
        let volume = VolumeRef { pod: PodUid::parse(&"1".repeat(32)).unwrap(), volume: "conf".into() };
        let generation = Generation::parse("..2026_11_21_05_56_44.1").unwrap();
        let reading =
            Reading { filter: reloadlet_core::files::FileFilter::new(None, []), each: true, decides: false };
        let (own_reads, (found, findings)) = (OwnReads::default(), std::sync::mpsc::channel());
        let report = move |finding| found.send(finding).unwrap();
        let root = directory.path().to_owned();
        let mut surveyor =
            Surveyor::start(ProcRoot::new("/proc".into()), root.clone(), own_reads.clone(), report).unwrap();
        assert!(!own_reads.is_read(&volume, &generation));
        surveyor.request(Request::Read(volume.clone(), generation.clone(), root, reading));
        let finding = findings.recv().unwrap();
        assert!(matches!(finding, Finding::Event(Event::Read(_, _, _, Some(_)))), "{finding:?}");
        assert!(own_reads.is_read(&volume, &generation));
        own_reads.end(&volume, &generation);
        assert!(!own_reads.is_read(&volume, &generation));
        surveyor.close();
    }
}
