//! Which process of a container is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::kernel::lack::Lack;
use crate::kernel::procfs::Stat;
use crate::model::names::{ContainerId, PodUid};
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
    /// The last path element of `argv[0]`, read only where the name in `stat` didn't match and a name was asked for.
    pub program: Option<String>,
}

impl ProcessFacts {
    fn may_be_told(&self) -> bool {
        !self.stat.is_dead() && !is_runtime(&self.stat.comm)
    }

    fn is_named(&self, name: &str) -> bool {
        self.stat.comm == name || self.program.as_deref() == Some(name)
    }
}

/// Whether this is a container runtime's own process, which a signal would break (`runc init` runs for about 30 ms
/// in the place of the program, with the mask of a Go program).
pub fn is_runtime(comm: &str) -> bool {
    comm.starts_with("runc:[") || matches!(comm, "runc" | "crun" | "conmon")
}

/// Whether this is an init that hands signals on to its child.
fn is_forwarding_init(comm: &str) -> bool {
    matches!(comm, "tini" | "tini-static" | "docker-init" | "dumb-init" | "catatonit")
}

/// The processes that stand for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// The container's first process.
    pub first: &'a ProcessFacts,
    /// Those to tell; at least one.
    pub told: Vec<&'a ProcessFacts>,
    /// Whether the choice hangs on processes that come and go without a trace in the cgroup's directory, so that it
    /// must be made again at each swap.
    pub volatile: bool,
}

/// Why there is no process to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoProcess {
    /// The container isn't there, or has no process yet.
    NotRunning,
    /// The container's first process is still the runtime's own.
    Starting,
    /// No process has the name that was asked for.
    NoneNamed,
    /// More processes than [`MOST_TOLD`] have the name that was asked for.
    TooManyNamed,
    /// The container has more processes or cgroups than are looked at, or they take too long to look at.
    TooMuch,
    /// A forwarding init has no child yet.
    InitWithoutChild,
    /// A forwarding init has several children, and nobody said which.
    InitWithChildren,
    /// The runtime class hides or may hide the process: status and PID namespace don't vouch for it.
    Hidden,
    /// The process can't see the change: its mount is frozen (subPath) or of a volume that was torn down.
    StaleMount,
    /// It isn't known: the agent itself lacks something.
    Lacking(Lack),
}

impl NoProcess {
    /// Whether there may well be one: then nothing ends for want of it.
    pub const fn is_unknown(self) -> bool {
        match self {
            Self::Lacking(_) => true,
            Self::NotRunning
            | Self::Starting
            | Self::NoneNamed
            | Self::TooManyNamed
            | Self::TooMuch
            | Self::InitWithoutChild
            | Self::InitWithChildren
            | Self::Hidden
            | Self::StaleMount => false,
        }
    }

    /// Whether the container's program doesn't run: whatever starts now reads what is there.
    pub const fn is_not_started(self) -> bool {
        match self {
            Self::NotRunning | Self::Starting => true,
            Self::NoneNamed
            | Self::TooManyNamed
            | Self::TooMuch
            | Self::InitWithoutChild
            | Self::InitWithChildren
            | Self::Hidden
            | Self::StaleMount
            | Self::Lacking(_) => false,
        }
    }

    /// The reason, for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotRunning => "the container has no running process",
            Self::Starting => "the container is still being started by its runtime",
            Self::NoneNamed => "no process below the container's first has the name in reloadlet.io/process",
            Self::TooManyNamed => "more than 256 processes have the name in reloadlet.io/process",
            Self::TooMuch => {
                "the container has more than 1024 cgroups, or its pod more than 4096 processes or 2048 cgroups, or they \
                 take too long to look at"
            }
            Self::InitWithoutChild => "the container's init has no child",
            Self::InitWithChildren => {
                "the container's init has several children; name one in reloadlet.io/process"
            }
            Self::Hidden => {
                "the runtime class hides the process: none is in the container's cgroup, the pod status has no such \
                 container ID, or the process is not in a PID namespace of its own"
            }
            Self::StaleMount => "the container holds an older volume until it restarts",
            Self::Lacking(lack) => lack.sentence(),
        }
    }
}

/// The most processes of a container that are told: each is held by a descriptor, and those are the whole node's.
pub const MOST_TOLD: usize = 256;

/// Chooses among the processes of one container. `is_outside` tells the processes of the pod's other containers: in a
/// shared PID namespace an orphan is adopted by one of them (pause).
pub fn choose<'a>(
    leaf: &'a [ProcessFacts],
    is_outside: &dyn Fn(u32) -> bool,
    name: Option<&str>,
) -> Result<Chosen<'a>, NoProcess> {
    let first = first_process(leaf)?;
    if let Some(name) = name {
        let told = topmost_named(leaf, first, is_outside, name);
        return match told.len() {
            0 => Err(NoProcess::NoneNamed),
            1..=MOST_TOLD => Ok(Chosen { first, told, volatile: true }),
            _ => Err(NoProcess::TooManyNamed),
        };
    }
    if !is_forwarding_init(&first.stat.comm) {
        return Ok(Chosen { first, told: vec![first], volatile: false });
    }
    let mut children = children_of(leaf, first.pid);
    match (children.next(), children.next()) {
        (None, _) => Err(NoProcess::InitWithoutChild),
        (Some(child), None) => Ok(Chosen { first, told: vec![child], volatile: true }),
        (Some(_), Some(_)) => Err(NoProcess::InitWithChildren),
    }
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

fn children_of(leaf: &[ProcessFacts], parent: u32) -> impl Iterator<Item = &ProcessFacts> {
    leaf.iter().filter(move |process| process.stat.parent == parent && process.may_be_told())
}

/// The named processes that have no named ancestor, among the first process, its descendants and adopted orphans.
fn topmost_named<'a>(
    leaf: &'a [ProcessFacts],
    first: &'a ProcessFacts,
    is_outside: &dyn Fn(u32) -> bool,
    name: &str,
) -> Vec<&'a ProcessFacts> {
    let orphans = leaf.iter().filter(|process| process.pid != first.pid && is_outside(process.stat.parent));
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
        if process.may_be_told() && process.is_named(name) {
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
