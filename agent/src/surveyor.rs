//! Everything that may block or takes long, on a thread of its own: looking at a pod's containers, listing volumes,
//! reading files and threads' masks. Requests wait in a queue that holds each at most once.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use reloadlet_core::event::{ContainerFacts, Event, Reading, Survey, VolumeRef};
use reloadlet_core::generation::Generation;
use reloadlet_core::guard::GuardReading;
use reloadlet_core::lack::Lack;
use reloadlet_core::mounts::ContainerMounts;
use reloadlet_core::pod::{ContainerId, PodUid};
use reloadlet_core::process::{ProcessFacts, ProcessIdentity, is_runtime};
use reloadlet_core::procfs::program_name;

use crate::cgroups::{Cgroups, PodCgroup};
use crate::cmdline::CmdlineReader;
use crate::home::{Home, Homes};
use crate::lack::Lacks;
use crate::listing;
use crate::own_reads::OwnReads;
use crate::proc::{ProcError, ProcRoot};

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Look at a pod's containers.
    Survey(Survey),
    /// List a volume.
    List(VolumeRef, PathBuf),
    /// Read a generation's files in this directory.
    Read(VolumeRef, Generation, PathBuf, Reading),
    /// Read the masks of every thread; the leader's were read already.
    Threads(ProcessIdentity, GuardReading),
    /// See whether the kubelet's directory of a pod is there.
    Home(PodUid),
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
    /// A volume that couldn't be listed.
    Unlisted(VolumeRef),
    /// A generation that couldn't be read for want of descriptors.
    Unread(VolumeRef, Generation),
    /// Whether the kubelet's directory of a pod is there.
    Home(PodUid, Home),
}

/// What makes two requests the same: the one in the queue will do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Survey(PodUid),
    List(VolumeRef),
    Read(VolumeRef, Generation),
    Threads(ProcessIdentity),
    Home(PodUid),
    Forget(PodUid),
}

impl Request {
    /// Whether no reload waits for it: what is only measured comes after all else.
    fn can_wait(&self) -> bool {
        matches!(self, Self::Read(_, _, _, reading) if !reading.decides)
    }

    fn key(&self) -> Key {
        match self {
            Self::Survey(survey) => Key::Survey(survey.pod.clone()),
            Self::List(volume, _) => Key::List(volume.clone()),
            Self::Read(volume, generation, ..) => Key::Read(volume.clone(), generation.clone()),
            Self::Threads(process, _) => Key::Threads(process.clone()),
            Self::Home(pod) => Key::Home(pod.clone()),
            Self::Forget(pod) => Key::Forget(pod.clone()),
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    order: VecDeque<Key>,
    /// What comes when nothing else waits.
    later: VecDeque<Key>,
    waiting: HashMap<Key, Request>,
    closed: bool,
}

impl QueueState {
    /// Adds a request. In place of the same one that waits already: under other annotations it asks for other things.
    fn add(&mut self, mut request: Request) -> bool {
        let key = request.key();
        let before = self.waiting.remove(&key);
        let is_new = before.is_none();
        if let (Request::Survey(survey), Some(Request::Survey(before))) = (&mut request, before) {
            survey.fresh_mounts |= before.fresh_mounts;
        }
        let can_wait = request.can_wait();
        if is_new || !can_wait && self.later.contains(&key) {
            self.later.retain(|waiting| *waiting != key);
            let order = if can_wait { &mut self.later } else { &mut self.order };
            order.push_back(key.clone());
        }
        self.waiting.insert(key, request);
        is_new
    }

    fn take(&mut self) -> Option<Request> {
        let key = self.order.pop_front().or_else(|| self.later.pop_front())?;
        self.waiting.remove(&key)
    }
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
        lacks: Lacks,
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
            Worker { proc, cgroups, cmdlines, mounts: HashMap::new(), homes, own_reads, lacks, report }.run(&work);
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
        state.closed = true;
        state.order.clear();
        state.later.clear();
        state.waiting.clear();
        drop(state);
        self.queue.filled.notify_one();
        drop(self.thread.take());
    }
}

impl Queue {
    fn next(&self) -> Option<Request> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.closed {
                return None;
            }
            if let Some(request) = state.take() {
                return Some(request);
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Worker<R> {
    proc: ProcRoot,
    cgroups: Cgroups,
    cmdlines: CmdlineReader,
    /// What containers mount, remembered once the container's name is in it: the runtime's own process has others.
    mounts: HashMap<ContainerId, (PodUid, Arc<ContainerMounts>)>,
    homes: Homes,
    own_reads: OwnReads,
    lacks: Lacks,
    report: R,
}

impl<R: FnMut(Finding)> Worker<R> {
    fn run(mut self, queue: &Queue) {
        while let Some(request) = queue.next() {
            match request {
                Request::Survey(survey) => {
                    let event = match self.survey(&survey) {
                        Ok(found) => Event::Surveyed(survey.pod, found),
                        Err(lack) => Event::NotSurveyed(survey.pod, lack),
                    };
                    (self.report)(Finding::Event(event));
                }
                Request::List(volume, path) => {
                    let finding = match listing::list(&path) {
                        Ok(listing) => Finding::Event(Event::Listed(volume, listing)),
                        Err(error) => {
                            self.lacks.say("list a volume", error.lack(), Some(&error));
                            Finding::Unlisted(volume)
                        }
                    };
                    (self.report)(finding);
                }
                Request::Read(volume, generation, path, reading) => {
                    // The loop ends it when it takes in the finding.
                    self.own_reads.begin(&volume, &generation);
                    let finding = match listing::contents(&path, &reading) {
                        Ok(contents) => Finding::Event(Event::Read(volume, generation, reading, contents)),
                        Err(error) => {
                            self.lacks.say("read a volume", error.lack(), Some(&error));
                            Finding::Unread(volume, generation)
                        }
                    };
                    (self.report)(finding);
                }
                Request::Threads(process, reading) => self.threads(process, reading),
                Request::Home(pod) => {
                    let home = self.homes.look(&pod, &self.proc, &mut self.cgroups);
                    (self.report)(Finding::Home(pod, home));
                }
                Request::Forget(pod) => {
                    self.cgroups.forget(&pod);
                    self.mounts.retain(|_, (owner, _)| *owner != pod);
                }
            }
        }
    }

    fn survey(&mut self, survey: &Survey) -> Result<Vec<ContainerFacts>, Lack> {
        let found = self.cgroups.pod(&survey.pod);
        let PodCgroup { directory, containers } = found.map_err(|error| {
            self.lacks.say("look at a pod's cgroups", error.lack(), Some(&error));
            error.lack()
        })?;
        if let Some(directory) = directory {
            let parents = self.cgroups.parents().map(PathBuf::from).collect();
            (self.report)(Finding::Cgroup(survey.pod.clone(), directory, parents));
        }
        self.mounts.retain(|id, (owner, _)| {
            *owner != survey.pod || (containers.contains_key(id) && !survey.fresh_mounts)
        });
        let mut found = Vec::with_capacity(containers.len());
        for (id, pids) in containers {
            let mut processes = Vec::with_capacity(pids.len());
            for pid in pids {
                processes.extend(self.facts(pid).map_err(|error| lacking(&self.lacks, &error))?);
            }
            if let Some(name) = &survey.name {
                for process in processes.iter_mut().filter(|process| process.stat.comm != **name) {
                    let cmdline = self.cmdlines.read(process.pid);
                    let cmdline = cmdline.map_err(|error| lacking(&self.lacks, &error))?;
                    process.program = cmdline.as_deref().and_then(program_name);
                }
            }
            let mounts = self.mounts_of(&survey.pod, &id, &processes)?;
            found.push(ContainerFacts { id, mounts, processes });
        }
        Ok(found)
    }

    /// What `stat` and `status` say; `None` when the process is gone, or it is a thread.
    fn facts(&self, pid: u32) -> Result<Option<ProcessFacts>, ProcError> {
        let Some(stat) = self.proc.stat(pid)? else { return Ok(None) };
        let Some(status) = self.proc.status(pid)? else { return Ok(None) };
        if status.thread_group.is_some_and(|leader| leader != pid) {
            return Ok(None);
        }
        Ok(Some(ProcessFacts { pid, stat, namespace_pids: status.namespace_pids, program: None }))
    }

    fn mounts_of(
        &mut self,
        pod: &PodUid,
        id: &ContainerId,
        processes: &[ProcessFacts],
    ) -> Result<Option<Arc<ContainerMounts>>, Lack> {
        if let Some((_, known)) = self.mounts.get(id) {
            return Ok(Some(known.clone()));
        }
        let oldest = processes
            .iter()
            .filter(|process| !process.stat.is_dead() && !is_runtime(&process.stat.comm))
            .min_by_key(|process| process.stat.started);
        let Some(oldest) = oldest else { return Ok(None) };
        let mounts = match self.proc.mounts(oldest.pid, pod) {
            Ok(Some(mounts)) => Arc::new(mounts),
            Ok(None) => return Ok(None),
            // Without them the pod's status and spec count.
            Err(error) => {
                let lack = lacking(&self.lacks, &error);
                return if lack == Lack::Descriptors { Err(lack) } else { Ok(None) };
            }
        };
        if mounts.container.is_some() {
            self.mounts.insert(id.clone(), (pod.clone(), mounts.clone()));
        }
        Ok(Some(mounts))
    }

    fn threads(&mut self, process: ProcessIdentity, reading: GuardReading) {
        let event = match self.proc.blocked_in_all_threads(process.pid) {
            Ok(blocked) => {
                let reading = blocked.map(|blocked| GuardReading {
                    blocked_in_all: reading.blocked_in_all.and(blocked),
                    ..reading
                });
                Event::Guarded(process, reading)
            }
            Err(error) => {
                let lack = lacking(&self.lacks, &error);
                Event::Lacked(process, lack)
            }
        };
        (self.report)(Finding::Event(event));
    }
}

/// Says that a process can't be read; that is never taken for its end.
fn lacking(lacks: &Lacks, error: &ProcError) -> Lack {
    lacks.say("look at a process", error.lack(), Some(error));
    error.lack()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_takes_the_place_of_the_same_one_that_waits() {
        let pod = |digit: &str| PodUid::parse(&digit.repeat(32)).unwrap();
        let survey = |digit, name: Option<&str>, fresh_mounts| {
            Request::Survey(Survey { pod: pod(digit), name: name.map(Into::into), fresh_mounts })
        };
        let mut queue = QueueState::default();
        assert!(queue.add(survey("1", None, true)));
        assert!(queue.add(survey("2", None, false)));
        assert!(!queue.add(survey("1", Some("app"), false)), "it waits already");
        let Some(Request::Survey(first)) = queue.take() else { panic!("no survey") };
        assert_eq!((first.pod, first.name.as_deref(), first.fresh_mounts), (pod("1"), Some("app"), true));
        assert!(matches!(queue.take(), Some(Request::Survey(second)) if second.pod == pod("2")));
        assert!(queue.take().is_none() && queue.waiting.is_empty());
    }

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
        let mut surveyor = {
            let (proc, homes) = (ProcRoot::new("/proc".into()), Homes::new(&root, "/proc".into()));
            Surveyor::start(proc, root.clone(), homes, own_reads.clone(), Lacks::default(), report).unwrap()
        };
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
