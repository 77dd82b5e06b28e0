//! From a survey to the processes that stand for each container.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kernel::mounts::ContainerMounts;
use crate::kernel::process::{self, NoProcess, ProcessFacts, ProcessIdentity, Wanted};
use crate::kernel::program::stands_before;
use crate::machine::event::ContainerFacts;
use crate::machine::reload::Target;
use crate::machine::reload::process::Face;
use crate::machine::reload::processes::Chosen;
use crate::model::means::Means;
use crate::model::names::Name;
use crate::model::pod::{ContainerKind, Pod};
use crate::model::restart::Instance;
use crate::model::time::Time;

/// The containers of a survey, looked through once for all that are told: a pod can have many of them.
pub(super) struct Leaves<'a> {
    pod: &'a Pod,
    containers: &'a [ContainerFacts],
    /// By the name in the spec, with their places in the survey.
    named: BTreeMap<Name, Vec<(usize, &'a ContainerFacts)>>,
    /// When the survey was asked for.
    looked_at: Time,
    /// Each process with the place of its container and its start, in order.
    processes: Vec<(u32, usize, Time)>,
}

/// What a survey shows of one instance of a container.
pub(super) enum Instanced {
    /// Its first process, and what that looks like.
    Running(ProcessIdentity, Face),
    /// It is there, and which process is its first one isn't known.
    Unclear,
    /// It isn't there.
    Gone,
}

/// What runs in the place of a container.
#[derive(Clone, Debug)]
pub(super) struct Successor {
    /// When its first process started.
    pub(super) started: Time,
    /// What its mounts show.
    pub(super) mounts: Option<Arc<ContainerMounts>>,
    /// When it was looked at.
    pub(super) looked_at: Time,
}

/// What a survey shows of a container.
pub(super) enum Seen {
    /// When its first process started.
    Started(Time),
    /// It has processes, and not all of them were looked at.
    Unclear,
    /// No process.
    Nothing,
}

impl<'a> Leaves<'a> {
    /// What was found of a pod.
    pub(super) fn of(pod: &'a Pod, containers: &'a [ContainerFacts], looked_at: Time) -> Self {
        let mut named: BTreeMap<Name, Vec<_>> = BTreeMap::new();
        let mut processes = Vec::new();
        for (place, container) in containers.iter().enumerate() {
            if let Some(name) = name_of(pod, container) {
                named.entry(name.clone()).or_default().push((place, container));
            }
            let own = container.processes.iter();
            processes.extend(own.map(|process| (process.pid, place, process.stat.started)));
        }
        processes.sort_unstable();
        Self { pod, containers, named, looked_at, processes }
    }

    fn named(&self, name: &Name) -> &[(usize, &'a ContainerFacts)] {
        self.named.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a process is in another container than the one at this place.
    fn is_outside(&self, place: usize, pid: u32) -> bool {
        self.of_pid(pid).any(|(_, other, _)| *other != place)
    }

    /// The processes of this PID, of which there is one unless it has just become another's.
    fn of_pid(&self, pid: u32) -> impl Iterator<Item = &(u32, usize, Time)> {
        let first = self.processes.partition_point(|(known, ..)| *known < pid);
        self.processes.iter().skip(first).take_while(move |(known, ..)| *known == pid)
    }

    /// Which processes stand for a container; `process` is the name of those that are to be told.
    pub(super) fn find(&self, target: &Target, process: Option<&str>) -> Result<Chosen, NoProcess> {
        let name = target.container();
        let mut starting = None;
        let mut newest: Option<(process::Chosen<'_>, &ContainerFacts)> = None;
        for &(place, container) in self.named(name) {
            if !container.complete {
                // What wasn't looked at could be the process that is meant.
                starting = Some(NoProcess::TooMuch);
                continue;
            }
            let is_outside = |pid| self.is_outside(place, pid);
            let was_told =
                |facts: &ProcessFacts| target.processes().was_told(&self.identity(facts, container));
            let wanted = Wanted { name: process, is_outside: &is_outside, was_told: &was_told };
            let choice = match target.means() {
                Means::Signal(_) => process::choose(&container.processes, wanted),
                Means::Http(_) => process::choose_first(&container.processes),
            };
            match choice {
                // During a restart both leaves can stand for a moment: the younger one is meant.
                Ok(chosen) => {
                    let is_newer = newest
                        .as_ref()
                        .is_none_or(|(other, _)| chosen.first.stat.started >= other.first.stat.started);
                    if is_newer {
                        newest = Some((chosen, container));
                    }
                }
                Err(why) => starting = Some(why),
            }
        }
        let Some((chosen, container)) = newest else {
            // The status knows of it, and the kernel shows nothing: it runs in a sandbox.
            let is_hidden = self.pod.spec.runtime_class.is_some() && self.pod.status.contains_key(name);
            let nothing = if is_hidden { NoProcess::Hidden } else { NoProcess::NotRunning };
            return Err(starting.filter(|why| !is_hidden || !why.is_not_started()).unwrap_or(nothing));
        };
        if self.pod.spec.runtime_class.is_some() {
            let vouched = self.pod.status.get(name) == Some(&container.id);
            if !vouched || chosen.told.iter().any(|process| process.namespace_pids.len() < 2) {
                return Err(NoProcess::Hidden);
            }
        }
        Ok(self.chosen(&chosen, container))
    }

    /// What was seen of a container, told or not; of two of one name the younger one counts.
    pub(super) fn seen(&self, name: &Name) -> Seen {
        let firsts = self.named(name).iter().filter(|(_, container)| container.complete);
        let firsts = firsts.filter_map(|(_, container)| process::choose_first(&container.processes).ok());
        match firsts.map(|chosen| chosen.first.stat.started).max() {
            Some(started) => Seen::Started(started),
            None if self.named(name).iter().all(|(_, container)| container.complete) => Seen::Nothing,
            None => Seen::Unclear,
        }
    }

    /// What was seen of the container of this name that is meant.
    pub(super) fn instance(&self, name: &Name, instance: &Instance) -> Instanced {
        let Some(container) = self.containers.iter().find(|container| instance.is(&container.id)) else {
            return Instanced::Gone;
        };
        // What has no name is no container of the spec, such as the one that holds the pod's namespaces: all would end with it.
        let is_its = name_of(self.pod, container) == Some(name);
        let first = process::choose_first(&container.processes).map(|chosen| chosen.first);
        match first {
            // A sandbox shows processes of its own, and none of the container's.
            Ok(first) if self.pod.spec.runtime_class.is_some() && first.namespace_pids.len() < 2 => {
                Instanced::Unclear
            }
            Ok(first) if container.complete && is_its => {
                let comm = first.stat.comm.clone();
                let face = Face { comm, is_first: first.is_first_in_namespace(), ..Face::default() };
                Instanced::Running(self.identity(first, container), face)
            }
            // All that is left of it are zombies.
            Err(NoProcess::NotRunning) if container.complete => Instanced::Gone,
            Ok(_) | Err(_) => Instanced::Unclear,
        }
    }

    /// What runs in the place of that one: the youngest one of its name.
    pub(super) fn successor(&self, name: &Name, instance: &Instance) -> Option<Successor> {
        let others = self.named(name).iter().filter(|(_, container)| !instance.is(&container.id));
        let others = others.filter_map(|(_, container)| {
            let first = process::choose_first(&container.processes).ok()?.first;
            let (started, mounts) = (first.stat.started, container.mounts.clone());
            Some(Successor { started, mounts, looked_at: self.looked_at })
        });
        others.max_by_key(|successor| successor.started)
    }

    /// The regular containers that run: no init container is at work beside them.
    pub(super) fn regular(&self) -> impl Iterator<Item = &'a Name> {
        let all = self.pod.spec.containers.iter();
        let regular = all.filter(|container| container.kind == ContainerKind::Regular);
        regular.map(|container| &container.name).filter(|name| self.named.contains_key(*name))
    }

    /// When the first process started that is in a container of the pod, and whether that is one of those that the spec has.
    pub(super) fn earliest(&self) -> Option<(Time, bool)> {
        let (_, place, started) = self.processes.iter().min_by_key(|(_, _, started)| *started)?;
        let of_spec = self.pod.spec.containers.iter().flat_map(|container| self.named(&container.name));
        let is_of_spec = of_spec.into_iter().any(|(of, _)| of == place);
        Some((*started, is_of_spec))
    }

    fn chosen(&self, chosen: &process::Chosen<'_>, container: &ContainerFacts) -> Chosen {
        let identity = |process: &ProcessFacts| self.identity(process, container);
        let wrapper: Option<Name> = chosen.wrapper.map(|wrapper| wrapper.stat.comm.as_str().into());
        let face = |process: &&ProcessFacts| Face {
            comm: process.stat.comm.clone(),
            is_first: process.is_first_in_namespace(),
            wrapper: wrapper.clone(),
            others: stands_before(&process.stat.comm).then(|| process::others(&container.processes, process)),
        };
        let told = chosen.told.iter().map(|process| identity(process));
        Chosen::new(identity(chosen.first), told, chosen.volatile, container.mounts.clone(), self.looked_at)
            .with_faces(chosen.told.iter().map(face))
    }

    fn identity(&self, process: &ProcessFacts, container: &ContainerFacts) -> ProcessIdentity {
        ProcessIdentity {
            pid: process.pid,
            started: process.stat.started,
            pod: self.pod.uid.clone(),
            container: container.id.clone(),
        }
    }

    /// Whether a process is there and lives; nothing where its container wasn't looked at as a whole.
    pub(super) fn runs(&self, process: &ProcessIdentity) -> Option<bool> {
        let mut of_pid = self.of_pid(process.pid).filter(|(.., started)| *started == process.started);
        if let Some((_, place, _)) = of_pid.next() {
            let mut facts =
                self.containers.get(*place).into_iter().flat_map(|container| &container.processes);
            return facts.find(|facts| facts.pid == process.pid).map(|facts| !facts.stat.is_dead());
        }
        let own = self.containers.iter().find(|container| container.id == process.container);
        own.is_none_or(|own| own.complete).then_some(false)
    }

    /// Whether a process is still there.
    pub(super) fn is_there(&self, process: &ProcessIdentity) -> bool {
        self.of_pid(process.pid).any(|(.., started)| *started == process.started)
    }
}

/// The name of a container of the pod. An ID never comes to mean another container, so where the status knows it,
/// that counts; what is mounted, which a program has a hand in, only until then.
fn name_of<'a>(pod: &'a Pod, container: &'a ContainerFacts) -> Option<&'a Name> {
    let in_status = pod.status.iter().find(|(_, id)| **id == container.id).map(|(name, _)| name);
    in_status.or_else(|| container.mounts.as_ref().and_then(|mounts| mounts.container.as_ref()))
}
