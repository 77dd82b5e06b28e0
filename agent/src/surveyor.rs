//! Everything that may block or takes long, on a thread of its own: looking at a pod's containers, listing volumes,
//! reading files and threads' masks. Requests wait in a queue that holds each at most once. What takes long is done in
//! slices, and the namespace that has used the least time comes first, with the pod of it that has: whatever one runs, others
//! wait for a slice at most.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::kernel::mounts::ContainerMounts;
use reloadlet_core::kernel::process::{ProcessFacts, ProcessIdentity, is_runtime};
use reloadlet_core::kernel::procfs::is_called;
use reloadlet_core::kernel::program::{first_word, is_interpreter, supervisor_in};
use reloadlet_core::machine::event::{Event, Reading, Survey, VolumeRef};
use reloadlet_core::model::digest::Contents;
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::names::{ContainerId, Name, PodUid};
use reloadlet_core::model::signal::Signal;

use crate::cgroups::Cgroups;
use crate::clock;
use crate::clock::wall::WallClock;
use crate::cmdline::CmdlineReader;
use crate::home::Homes;
use crate::lack::Lacks;
use crate::listing::{self, Files};
use crate::own_reads::OwnReads;
use crate::proc::{ProcError, ProcRoot};

mod masks;
mod queue;
mod request;
mod survey;

pub(crate) use masks::Depth;
use masks::{Begun, Masks};
use queue::QueueState;
use request::ReadingFiles;
pub(crate) use request::{Finding, Request};
use survey::{Looking, Surveying};

/// After so long a request goes back into the queue, and another pod's has its turn.
const SLICE: Duration = Duration::from_millis(5);
/// So long one pod's processes, or one process's threads, are looked at before that is given up.
const MOST_TIME: Duration = Duration::from_secs(2);
/// What a process of this age mounts is remembered.
const GROWN: Duration = Duration::from_secs(3);

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
        homes: Homes,
        own_reads: OwnReads,
        (lacks, wall): (Lacks, WallClock),
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
            let (mounts, begun_reads) = (HashMap::new(), HashSet::new());
            Worker { proc, cgroups, cmdlines, mounts, homes, own_reads, begun_reads, lacks, wall, report }.run(&work);
        })?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Adds a request of a namespace's pod, or puts it in the place of the same one that waits.
    pub(crate) fn request(&self, namespace: &Name, request: Request) {
        let mut state = self.queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.add(namespace, request) {
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
    fn next(&self) -> Option<(Name, Request)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.is_closed() {
                return None;
            }
            if let Some(next) = state.take() {
                return Some(next);
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A pod's request has taken so long, and this is left of it.
    fn done(&self, namespace: &Name, pod: &PodUid, took: Duration, rest: Option<Request>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).done(namespace, pod, took, rest);
    }
}

struct Worker<R> {
    proc: ProcRoot,
    cgroups: Cgroups,
    cmdlines: CmdlineReader,
    /// What containers mount, remembered once the process is grown and the container's name is in it: the runtime's own
    /// process has others.
    mounts: HashMap<ContainerId, (PodUid, Arc<ContainerMounts>)>,
    homes: Homes,
    own_reads: OwnReads,
    /// The reads that were begun and have no finding yet: each is entered once, however often it begins anew.
    begun_reads: HashSet<(VolumeRef, Generation)>,
    lacks: Lacks,
    wall: WallClock,
    report: R,
}

impl<R: FnMut(Finding)> Worker<R> {
    fn run(mut self, queue: &Queue) {
        while let Some((namespace, request)) = queue.next() {
            let (pod, begun) = (request.pod().clone(), clock::now());
            let ends = matches!(request, Request::Forget(_));
            let rest = self.carry_out(request, begun);
            if !ends {
                queue.done(&namespace, &pod, clock::now().since(begun), rest);
            }
        }
    }

    /// Gives back what is left to do.
    fn carry_out(&mut self, request: Request, begun: Time) -> Option<Request> {
        match request {
            Request::Survey(survey) => return self.look(Box::new(Looking::new(survey)), begun),
            Request::Looking(looking) => return self.look(looking, begun),
            Request::Surveying(surveying) => return self.go_on(surveying, begun),
            Request::List(volume, path) => self.list(volume, &path),
            Request::Show(volume, path) => {
                let shown = listing::show(&path).unwrap_or_else(|error| {
                    self.lacks.say("look at a volume", error.lack(), Some(&error));
                    None
                });
                (self.report)(Finding::Event(Event::Shown(volume, shown)));
            }
            Request::Read(volume, generation, path, reading) => {
                return self.begin_read(volume, generation, path, reading, begun);
            }
            Request::Files(reading) => return self.read(reading, begun),
            Request::Masks(process, signal, depth) => {
                let masks = Masks::begin(&self.proc, process.clone(), signal, depth);
                return self.begin_masks(process, signal, masks, begun);
            }
            Request::Reading(masks) => {
                let (process, signal) = (masks.process().clone(), masks.signal());
                let masks = masks.refresh(&self.proc);
                return self.begin_masks(process, signal, masks, begun);
            }
            Request::Home(pod) => {
                let home = self.homes.look(&pod, &self.proc, &mut self.cgroups);
                (self.report)(Finding::Home(pod, home));
            }
            Request::Gates(pod, volumes) => {
                let gates = self.homes.gates(&pod, &volumes);
                (self.report)(Finding::Gates(pod, gates));
            }
            Request::Forget(pod) => {
                self.cgroups.forget(&pod);
                self.mounts.retain(|_, (owner, _)| *owner != pod);
            }
        }
        None
    }

    fn list(&mut self, volume: VolumeRef, path: &Path) {
        let finding = match listing::list(path, &self.wall) {
            Ok(listing) => Finding::Event(Event::Listed(volume, listing)),
            Err(error) => {
                self.lacks.say("list a volume", error.lack(), Some(&error));
                Finding::Unlisted(volume)
            }
        };
        (self.report)(finding);
    }

    fn begin_read(
        &mut self,
        volume: VolumeRef,
        generation: Generation,
        path: PathBuf,
        reading: Reading,
        begun: Time,
    ) -> Option<Request> {
        // The loop ends it when it takes in the finding.
        if self.begun_reads.insert((volume.clone(), generation.clone())) {
            self.own_reads.begin(&volume, &generation);
        }
        match Files::begin(path, reading.clone()) {
            Ok(Some(files)) => self.read(Box::new(ReadingFiles { volume, generation, files }), begun),
            Ok(None) => self.end_read(volume, generation, Ok((reading, None))),
            Err(error) => self.end_read(volume, generation, Err(error)),
        }
    }

    fn read(&mut self, mut reading: Box<ReadingFiles>, begun: Time) -> Option<Request> {
        match reading.files.go_on(&|| clock::now().since(begun) >= SLICE) {
            Ok(true) => Some(Request::Files(reading)),
            Ok(false) => {
                let ReadingFiles { volume, generation, files } = *reading;
                self.end_read(volume, generation, Ok(files.end()))
            }
            Err(error) => {
                let ReadingFiles { volume, generation, .. } = *reading;
                self.end_read(volume, generation, Err(error))
            }
        }
    }

    /// A generation was read, or can't be; nothing is left of the read.
    fn end_read(
        &mut self,
        volume: VolumeRef,
        generation: Generation,
        read: Result<(Reading, Option<Contents>), listing::ListError>,
    ) -> Option<Request> {
        self.begun_reads.remove(&(volume.clone(), generation.clone()));
        (self.report)(match read {
            Ok((reading, contents)) => Finding::Event(Event::Read(volume, generation, reading, contents)),
            Err(error) => {
                self.lacks.say("read a volume", error.lack(), Some(&error));
                Finding::Unread(volume, generation)
            }
        });
        None
    }

    fn begin_masks(
        &mut self,
        process: ProcessIdentity,
        signal: Signal,
        masks: Result<Begun, ProcError>,
        begun: Time,
    ) -> Option<Request> {
        match masks {
            Ok(Begun::Threads(masks)) => return self.read_masks(masks, begun),
            Ok(Begun::Read(reading)) => {
                (self.report)(Finding::Event(Event::Guarded(process, signal, reading)));
            }
            Err(error) => self.lacked(process, &error),
        }
        None
    }

    fn read_masks(&mut self, mut masks: Box<Masks>, begun: Time) -> Option<Request> {
        let (process, signal) = (masks.process().clone(), masks.signal());
        match masks.go_on(&self.proc, &|| clock::now().since(begun)) {
            Ok(Some(reading)) => {
                (self.report)(Finding::Event(Event::Guarded(process, signal, Some(reading))));
            }
            Ok(None) => return Some(Request::Reading(masks)),
            Err(error) => self.lacked(process, &error),
        }
        None
    }

    /// A process's masks can't be read.
    fn lacked(&mut self, process: ProcessIdentity, error: &ProcError) {
        let lack = lacking(&self.lacks, error);
        (self.report)(Finding::Event(Event::Lacked(process, lack)));
    }

    /// A pod's containers can't be looked at; nothing is left of the survey.
    fn not_surveyed(&mut self, pod: PodUid, lack: Lack) -> Option<Request> {
        (self.report)(Finding::Event(Event::NotSurveyed(pod, lack)));
        None
    }

    /// Looks for the containers, and then at them.
    fn look(&mut self, mut looking: Box<Looking>, begun: Time) -> Option<Request> {
        let mut found = match looking.go_on(&mut self.cgroups, &|| clock::now().since(begun)) {
            Ok(Some(found)) => found,
            Ok(None) => return Some(Request::Looking(looking)),
            Err(error) => {
                self.lacks.say("look at a pod's cgroups", error.lack(), Some(&error));
                return self.not_surveyed(looking.survey().pod.clone(), error.lack());
            }
        };
        let survey = looking.survey();
        let directory = found.directory.take();
        if directory.is_some() || !found.containers.is_empty() {
            let parents = self.cgroups.parents().map(PathBuf::from).collect();
            (self.report)(Finding::Cgroup(survey.pod.clone(), directory, parents));
        }
        self.mounts.retain(|id, (owner, _)| {
            *owner != survey.pod || (found.containers.contains_key(id) && !survey.fresh_mounts)
        });
        self.go_on(Box::new(looking.into_surveying(found)), begun)
    }

    fn go_on(&mut self, mut surveying: Box<Surveying>, begun: Time) -> Option<Request> {
        let spent = || clock::now().since(begun);
        loop {
            if surveying.is_overdue(spent()) {
                surveying.give_up();
            }
            match self.step(&mut surveying) {
                Ok(true) => {}
                Ok(false) => {
                    let (pod, found) = surveying.end();
                    (self.report)(Finding::Event(Event::Surveyed(pod, found)));
                    return None;
                }
                Err(lack) => return self.not_surveyed(surveying.end().0, lack),
            }
            if spent() >= SLICE {
                surveying.pause(spent());
                return Some(Request::Surveying(surveying));
            }
        }
    }

    /// Looks at one more process or container; whether there was one.
    fn step(&mut self, surveying: &mut Surveying) -> Result<bool, Lack> {
        if let Some(pid) = surveying.next_process() {
            let facts = self.facts(surveying.survey(), pid, surveying.is_threaded());
            surveying.add(facts.map_err(|error| lacking(&self.lacks, &error))?);
        } else if let Some((id, processes)) = surveying.container() {
            let mounts = self.mounts_of(&surveying.survey().pod, id, processes)?;
            surveying.end_container(mounts);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// What `stat` and a pidfd say; `None` when the process is gone, or it is only a thread.
    fn facts(
        &mut self,
        survey: &Survey,
        pid: u32,
        threaded: bool,
    ) -> Result<Option<ProcessFacts>, ProcError> {
        if threaded && self.proc.is_later_thread(pid)? {
            return Ok(None);
        }
        let Some(stat) = self.proc.stat(pid)? else { return Ok(None) };
        let Some(namespace_pids) = self.proc.namespace_pids(pid)? else { return Ok(None) };
        let mut program = None;
        // A program gives itself any name: only the one that is looked for is kept.
        let is_other = |name: &&str| stat.comm != **name && first_word(&stat.comm) != *name;
        if let Some(name) = survey.name.as_deref().filter(is_other) {
            let cmdline = self.cmdlines.read(&survey.pod, pid)?;
            let is_meant = |cmdline: Vec<u8>| {
                let runs = || is_interpreter(&stat.comm).then(|| supervisor_in(&cmdline)).flatten();
                is_called(&cmdline, name) || runs() == Some(name)
            };
            program = cmdline.is_some_and(is_meant).then(|| name.to_owned());
        } else if survey.name.is_none() && is_interpreter(&stat.comm) {
            let cmdline = self.cmdlines.read(&survey.pod, pid)?;
            program = cmdline.and_then(|cmdline| supervisor_in(&cmdline)).map(str::to_owned);
        }
        Ok(Some(ProcessFacts { pid, stat, namespace_pids, program }))
    }

    fn mounts_of(
        &mut self,
        pod: &PodUid,
        id: &ContainerId,
        processes: &[ProcessFacts],
    ) -> Result<Option<Arc<ContainerMounts>>, Lack> {
        if let Some((_, known)) = self.mounts.get(id).filter(|(owner, _)| owner == pod) {
            return Ok(Some(known.clone()));
        }
        let oldest = processes
            .iter()
            .filter(|process| !process.stat.is_dead() && !is_runtime(&process.stat.comm))
            .min_by_key(|process| process.stat.started);
        let Some(oldest) = oldest else { return Ok(None) };
        let begun = clock::now();
        let mounts = match self.proc.mounts(oldest.pid, pod) {
            Ok(Some(mounts)) => Arc::new(mounts),
            Ok(None) => return Ok(None),
            // Without them the pod's status and spec count.
            Err(error) => {
                let lack = lacking(&self.lacks, &error);
                return if lack == Lack::Descriptors { Err(lack) } else { Ok(None) };
            }
        };
        // A container is being set up for a moment, and some of its mounts come after others.
        let is_grown = begun >= oldest.stat.started + GROWN;
        if is_grown && mounts.container.is_some() {
            self.mounts.insert(id.clone(), (pod.clone(), mounts.clone()));
        }
        Ok(Some(mounts))
    }
}

/// Says that a process can't be read; that is never taken for its end.
fn lacking(lacks: &Lacks, error: &ProcError) -> Lack {
    lacks.say("look at a process", error.lack(), Some(error));
    error.lack()
}

#[cfg(test)]
mod tests;
