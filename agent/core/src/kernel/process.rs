//! Which process of a container is meant.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::kernel::lack::Lack;
use crate::kernel::procfs::Stat;
use crate::kernel::program::{Kind, first_word};
use crate::model::names::{ContainerId, Name, PodUid};
use crate::model::shown::{listed, quoted};
use crate::model::time::Time;

/// A process that can't be mistaken for another: PIDs are reused, this isn't.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessIdentity {
    /// Its PID on the host.
    pub pid: u32,
    /// When it started.
    pub started: Time,
    /// The pod whose cgroup it is in.
    pub pod: PodUid,
    /// The container whose cgroup it is in.
    pub container: ContainerId,
}

impl fmt::Debug for ProcessIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:?} in {:?}/{:?}", self.pid, self.started, self.pod, self.container)
    }
}

/// A process of a container, as a survey found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Its PID on the host.
    pub pid: u32,
    /// What `stat` says.
    pub stat: Stat,
    /// Its PID in each PID namespace, the host's first.
    pub namespace_pids: Vec<u32>,
    /// What `cmdline` adds to the name in `stat`: the name that was asked for, where `argv[0]` has it and `stat` hasn't; where none was
    /// asked for, the supervisor that an interpreter runs.
    pub program: Option<String>,
}

impl ProcessFacts {
    fn may_be_told(&self) -> bool {
        !self.stat.is_dead() && !is_runtime(&self.stat.comm)
    }

    /// A title's first word is a name too: `gunicorn: maste` is what the kernel keeps of gunicorn's.
    fn is_named(&self, name: &str) -> bool {
        self.stat.comm == name || first_word(&self.stat.comm) == name || self.program.as_deref() == Some(name)
    }

    /// What it is by its names.
    fn kind(&self) -> Kind {
        match Kind::of(&self.stat.comm) {
            Kind::Other => self.program.as_deref().map_or(Kind::Other, Kind::of),
            kind @ (Kind::Wrapper | Kind::Supervisor) => kind,
        }
    }

    /// Whether it is the first process of its PID namespace: the kernel drops signals that would end it (pid_namespaces(7)).
    pub fn is_first_in_namespace(&self) -> bool {
        self.namespace_pids.len() > 1 && self.namespace_pids.last() == Some(&1)
    }
}

/// Whether this is a container runtime's own process, which a signal would break (`runc init` runs for about 30 ms
/// in the place of the program, with the mask of a Go program).
pub fn is_runtime(comm: &str) -> bool {
    comm.starts_with("runc:[") || matches!(comm, "runc" | "crun" | "conmon")
}

/// The processes that stand for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// The container's first process.
    pub first: &'a ProcessFacts,
    /// Those to tell; at least one.
    pub told: Vec<&'a ProcessFacts>,
    /// The wrapper whose child is told.
    pub wrapper: Option<&'a ProcessFacts>,
    /// Whether the choice hangs on processes that come and go without a trace in the cgroup's directory, so that it
    /// must be made again at each swap.
    pub volatile: bool,
}

/// Why there is no process to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoProcess {
    /// The container isn't there, or has no process yet.
    NotRunning,
    /// The container's first process is still the runtime's own.
    Starting,
    /// No process has the name that was asked for; these names are there, as a sentence lists them.
    NoneNamed(Name),
    /// More processes than [`MOST_TOLD`] have the name that was asked for.
    TooManyNamed,
    /// The container has more processes or cgroups than are looked at, or they take too long to look at.
    TooMuch,
    /// A wrapper has no child yet.
    WrapperWithoutChild,
    /// A supervisor of this name stands in the place of the program, and nobody said which of its programs is meant.
    Supervised(Supervisor),
    /// The runtime class hides or may hide the process: status and PID namespace don't vouch for it.
    Hidden,
    /// The process can't see the change: its mount is frozen (subPath) or of a volume that was torn down.
    StaleMount,
    /// It isn't known: the agent itself lacks something.
    Lacking(Lack),
}

impl NoProcess {
    /// Whether there may well be one: then nothing ends for want of it.
    pub const fn is_unknown(&self) -> bool {
        match self {
            Self::Lacking(_) => true,
            Self::NotRunning
            | Self::Starting
            | Self::NoneNamed(_)
            | Self::TooManyNamed
            | Self::TooMuch
            | Self::WrapperWithoutChild
            | Self::Supervised(_)
            | Self::Hidden
            | Self::StaleMount => false,
        }
    }

    /// Whether the container's program doesn't run: whatever starts now reads what is there.
    pub const fn is_not_started(&self) -> bool {
        match self {
            Self::NotRunning | Self::Starting => true,
            Self::NoneNamed(_)
            | Self::TooManyNamed
            | Self::TooMuch
            | Self::WrapperWithoutChild
            | Self::Supervised(_)
            | Self::Hidden
            | Self::StaleMount
            | Self::Lacking(_) => false,
        }
    }

    /// The reason, for people.
    pub fn sentence(&self) -> Cow<'static, str> {
        let text = match self {
            Self::NotRunning => "the container has no running process",
            Self::Starting => "the container is still being started by its runtime",
            Self::NoneNamed(there) => {
                return Cow::Owned(format!(
                    "no process below the container's first has the name in reloadlet.io/process; there are {there}"
                ));
            }
            Self::TooManyNamed => "more than 256 processes have the name in reloadlet.io/process",
            Self::TooMuch => {
                "the container has more than 1024 cgroups, or its pod more than 4096 processes or 2048 cgroups, or they \
                 take too long to look at"
            }
            Self::WrapperWithoutChild => {
                "the container's init, or the command that starts its program, has no child"
            }
            Self::Supervised(supervisor) => {
                return Cow::Owned(format!(
                    "{} (PID {}) supervises other programs and takes signals as orders to itself; name the program that \
                     is to be told in reloadlet.io/process: beside it there are {}",
                    quoted(&supervisor.name),
                    supervisor.pid,
                    supervisor.others
                ));
            }
            Self::Hidden => {
                "the runtime class hides the process: none is in the container's cgroup, the pod status has no such \
                 container ID, or the process is not in a PID namespace of its own"
            }
            Self::StaleMount => "the container holds an older volume until it restarts",
            Self::Lacking(lack) => lack.sentence(),
        };
        Cow::Borrowed(text)
    }
}

/// A supervisor in the place of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervisor {
    /// Its name.
    pub name: Name,
    /// Its PID on the host.
    pub pid: u32,
    /// When it started. A script can have such a name for a moment.
    pub started: Time,
    /// The names of the other processes in the container, as a sentence lists them.
    pub others: Name,
}

/// The most processes of a container that are told: each is held by a descriptor, and those are the whole node's.
pub const MOST_TOLD: usize = 256;

/// The most wrappers in a row that are passed over for their child.
const MOST_WRAPPERS: usize = 8;

/// What is asked for among the processes of a container.
#[derive(Clone, Copy)]
pub struct Wanted<'w> {
    /// The name of those to tell; the first process without one.
    pub name: Option<&'w str>,
    /// Tells the processes of the pod's other containers: in a shared PID namespace an orphan is adopted by one of them
    /// (pause).
    pub is_outside: &'w dyn Fn(u32) -> bool,
    /// Tells those that were told before under this name: they stay the same whatever they call themselves by now.
    pub was_told: &'w dyn Fn(&ProcessFacts) -> bool,
}

impl Wanted<'_> {
    fn is_meant(&self, process: &ProcessFacts, name: &str) -> bool {
        process.is_named(name) || (Kind::of(&process.stat.comm) == Kind::Other && (self.was_told)(process))
    }
}

/// Chooses among the processes of one container.
pub fn choose<'a>(leaf: &'a [ProcessFacts], wanted: Wanted<'_>) -> Result<Chosen<'a>, NoProcess> {
    let first = first_process(leaf)?;
    if let Some(name) = wanted.name {
        let told = topmost_named(leaf, first, wanted, name);
        return match told.len() {
            0 => Err(NoProcess::NoneNamed(names(leaf))),
            1..=MOST_TOLD => Ok(Chosen { first, told, wrapper: None, volatile: true }),
            _ => Err(NoProcess::TooManyNamed),
        };
    }
    let (mut told, mut wrapper) = (first, None);
    for _ in 0..MOST_WRAPPERS {
        match told.kind() {
            Kind::Other => {
                return Ok(Chosen { first, told: vec![told], wrapper, volatile: wrapper.is_some() });
            }
            Kind::Wrapper => {
                wrapper = Some(told);
                told = own_child(leaf, told.pid)?;
            }
            Kind::Supervisor => {
                let name = told.program.as_ref().unwrap_or(&told.stat.comm).as_str().into();
                let (pid, started, others) = (told.pid, told.stat.started, others(leaf, told));
                return Err(NoProcess::Supervised(Supervisor { name, pid, started, others }));
            }
        }
    }
    Err(NoProcess::WrapperWithoutChild)
}

/// Chooses the first of the processes of one container, whatever it is, where none has to handle a signal.
pub fn choose_first(leaf: &[ProcessFacts]) -> Result<Chosen<'_>, NoProcess> {
    first_process(leaf).map(|first| Chosen { first, told: vec![first], wrapper: None, volatile: false })
}

/// The child that a wrapper has started itself: the oldest one. It starts it before anything else runs in the container, and
/// ends with it. Whatever else has it for a parent was adopted, as a leftover of `kubectl exec` or of the program's own, and is
/// younger; so is a child that the program has left to it. Where the oldest one is a zombie the wrapper is about to end, and the
/// next one is only a leftover.
fn own_child(leaf: &[ProcessFacts], wrapper: u32) -> Result<&ProcessFacts, NoProcess> {
    let children = leaf.iter().filter(|process| process.stat.parent == wrapper && process.pid != wrapper);
    match children.min_by_key(|process| (process.stat.started, process.pid)) {
        Some(child) if child.may_be_told() => Ok(child),
        Some(_) | None => Err(NoProcess::WrapperWithoutChild),
    }
}

/// The names of a container's processes, as a sentence lists them.
fn names<'a>(processes: impl IntoIterator<Item = &'a ProcessFacts>) -> Name {
    let alive = processes.into_iter().filter(|process| process.may_be_told());
    let names: BTreeSet<&str> = alive.map(|process| process.stat.comm.as_str()).collect();
    listed(names).into()
}

/// The names of a container's other processes than this one, as a sentence lists them.
pub fn others(leaf: &[ProcessFacts], process: &ProcessFacts) -> Name {
    names(leaf.iter().filter(|other| other.pid != process.pid))
}

/// The first process: PID 1 of the container's own PID namespace; in a shared one the earliest of those whose parent
/// is outside (an exec'd process has its parent outside too, but is younger).
fn first_process(leaf: &[ProcessFacts]) -> Result<&ProcessFacts, NoProcess> {
    let alive = || leaf.iter().filter(|process| process.may_be_told());
    let depth = alive().map(|process| process.namespace_pids.len()).min().unwrap_or(0);
    let inside: BTreeSet<u32> = leaf.iter().map(|process| process.pid).collect();
    let is_init = |process: &&ProcessFacts| {
        process.namespace_pids.len() == depth && depth > 1 && process.namespace_pids.last() == Some(&1)
    };
    let by_age = |process: &&ProcessFacts| (process.stat.started, process.pid);
    let starting = leaf.iter().any(|process| is_runtime(&process.stat.comm));
    // While the runtime's process stands in the place of the first one, nothing else can be it.
    let runtime_first = leaf.iter().any(|process| {
        is_runtime(&process.stat.comm) && !process.stat.is_dead() && process.namespace_pids.last() == Some(&1)
    });
    if runtime_first {
        return Err(NoProcess::Starting);
    }
    alive()
        .filter(is_init)
        .min_by_key(by_age)
        .or_else(|| alive().filter(|process| !inside.contains(&process.stat.parent)).min_by_key(by_age))
        .ok_or(if starting { NoProcess::Starting } else { NoProcess::NotRunning })
}

/// The named processes that have no named ancestor, among the first process, its descendants and adopted orphans.
fn topmost_named<'a>(
    leaf: &'a [ProcessFacts],
    first: &'a ProcessFacts,
    wanted: Wanted<'_>,
    name: &str,
) -> Vec<&'a ProcessFacts> {
    let is_orphan =
        |process: &&ProcessFacts| process.pid != first.pid && (wanted.is_outside)(process.stat.parent);
    let orphans = leaf.iter().filter(is_orphan);
    let mut children: BTreeMap<u32, Vec<&ProcessFacts>> = BTreeMap::new();
    for process in leaf {
        children.entry(process.stat.parent).or_default().push(process);
    }
    let mut told = Vec::new();
    let mut visited = BTreeSet::new();
    let mut next: Vec<&ProcessFacts> = std::iter::once(first).chain(orphans).collect();
    while let Some(process) = next.pop() {
        if !visited.insert(process.pid) {
            continue;
        }
        if process.may_be_told() && wanted.is_meant(process, name) {
            told.push(process);
        } else {
            next.extend(children.get(&process.pid).into_iter().flatten());
        }
    }
    told.sort_by_key(|process| (process.stat.started, process.pid));
    told
}

#[cfg(test)]
mod tests;
