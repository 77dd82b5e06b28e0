//! A survey on its way: what was found of a pod's containers, and what is still to be looked at.

use std::sync::Arc;
use std::time::Duration;

use reloadlet_core::kernel::mounts::ContainerMounts;
use reloadlet_core::kernel::process::ProcessFacts;
use reloadlet_core::machine::event::{ContainerFacts, Survey};
use reloadlet_core::model::names::{ContainerId, PodUid};

use super::{MOST_TIME, SLICE};
use crate::cgroups::{CgroupError, Cgroups, Look, PodCgroup};

/// A survey that was begun: its containers are known, and looked at one by one.
#[derive(Debug)]
pub(crate) struct Surveying {
    survey: Survey,
    /// The containers that aren't done yet. The last one is looked at.
    left: Vec<Leaf>,
    found: Vec<ContainerFacts>,
    spent: Duration,
}

#[derive(Debug)]
struct Leaf {
    id: ContainerId,
    /// The processes that weren't looked at, the first one last.
    pids: Vec<u32>,
    processes: Vec<ProcessFacts>,
    complete: bool,
    /// Whether threads can be among the processes.
    threaded: bool,
}

impl Surveying {
    /// No process was looked at yet; to find them took so long.
    pub(super) fn new(survey: Survey, found: PodCgroup, spent: Duration) -> Self {
        let leaf = |(id, mut pids): (ContainerId, Vec<u32>)| {
            pids.reverse();
            let (complete, threaded) = (!found.cut.contains(&id), found.threaded.contains(&id));
            Leaf { id, pids, processes: Vec::new(), complete, threaded }
        };
        let left = found.containers.into_iter().rev().map(leaf).collect();
        Self { survey, left, found: Vec::new(), spent }
    }

    /// What it is to look for.
    pub(super) const fn survey(&self) -> &Survey {
        &self.survey
    }

    /// Whether it takes too long, after so long a time in this slice.
    pub(super) fn is_overdue(&self, spent: Duration) -> bool {
        self.spent + spent >= MOST_TIME
    }

    /// Nothing more is looked at.
    pub(super) fn give_up(&mut self) {
        for leaf in self.left.iter_mut().filter(|leaf| !leaf.pids.is_empty()) {
            leaf.pids = Vec::new();
            leaf.complete = false;
        }
    }

    /// The slice ends after so long.
    pub(super) fn pause(&mut self, spent: Duration) {
        self.spent += spent;
    }

    /// The next process of the container that is looked at.
    pub(super) fn next_process(&mut self) -> Option<u32> {
        self.left.last_mut()?.pids.pop()
    }

    /// Whether threads can be among that container's processes.
    pub(super) fn is_threaded(&self) -> bool {
        self.left.last().is_some_and(|leaf| leaf.threaded)
    }

    /// What is known of that process, unless it is gone.
    pub(super) fn add(&mut self, facts: Option<ProcessFacts>) {
        if let Some(leaf) = self.left.last_mut() {
            leaf.processes.extend(facts);
        }
    }

    /// The container that is looked at, and its processes so far.
    pub(super) fn container(&self) -> Option<(&ContainerId, &[ProcessFacts])> {
        self.left.last().map(|leaf| (&leaf.id, leaf.processes.as_slice()))
    }

    /// That container is done.
    pub(super) fn end_container(&mut self, mounts: Option<Arc<ContainerMounts>>) {
        let ended = self.left.pop();
        self.found.extend(ended.map(|leaf| ContainerFacts {
            id: leaf.id,
            mounts,
            processes: leaf.processes,
            complete: leaf.complete,
        }));
    }

    /// What was found.
    pub(super) fn end(self) -> (PodUid, Vec<ContainerFacts>) {
        (self.survey.pod, self.found)
    }
}

/// A survey whose containers are still being looked for.
#[derive(Debug)]
pub(crate) struct Looking {
    survey: Survey,
    look: Look,
    spent: Duration,
}

impl Looking {
    /// Nothing was looked at yet.
    pub(super) fn new(survey: Survey) -> Self {
        Self { look: Look::begin(survey.pod.clone()), survey, spent: Duration::ZERO }
    }

    /// What it is to look for.
    pub(super) const fn survey(&self) -> &Survey {
        &self.survey
    }

    /// Goes on for the rest of a slice that has lasted so long. The pod's cgroup comes back once it is known.
    pub(super) fn go_on(
        &mut self,
        cgroups: &mut Cgroups,
        spent: &dyn Fn() -> Duration,
    ) -> Result<Option<PodCgroup>, CgroupError> {
        let found = self.look.go_on(cgroups, &|| spent() >= SLICE)?;
        if found.is_none() {
            self.spent += spent();
        }
        Ok(found)
    }

    /// Its processes are to be looked at.
    pub(super) fn into_surveying(self, found: PodCgroup) -> Surveying {
        Surveying::new(self.survey, found, self.spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn what_takes_too_long_is_given_up_and_known_to_be_incomplete() {
        let id = |digit: &str| ContainerId::parse(&digit.repeat(64)).unwrap();
        let survey = Survey { pod: PodUid::parse(&"1".repeat(32)).unwrap(), name: None, fresh_mounts: false };
        let containers = BTreeMap::from([(id("a"), vec![7]), (id("b"), vec![8, 9]), (id("c"), vec![10])]);
        let cut = BTreeSet::from([id("a")]);
        let mut surveying =
            Surveying::new(survey, PodCgroup { containers, cut, ..PodCgroup::default() }, Duration::ZERO);
        assert_eq!(surveying.next_process(), Some(7));
        assert_eq!((surveying.next_process(), surveying.container().unwrap().0), (None, &id("a")));
        surveying.end_container(None);
        assert_eq!(surveying.next_process(), Some(8));
        surveying.pause(MOST_TIME / 2);
        assert!(!surveying.is_overdue(Duration::ZERO) && surveying.is_overdue(MOST_TIME / 2));
        surveying.give_up();
        while surveying.container().is_some() {
            assert_eq!(surveying.next_process(), None);
            surveying.end_container(None);
        }
        let complete: Vec<bool> = surveying.end().1.iter().map(|found| found.complete).collect();
        assert_eq!(complete, [false, false, false]);
    }
}
