//! When the containers of a pod started, told or not, as far as surveys and the status show it: what they took at their start is as old.

use std::collections::{BTreeMap, BTreeSet};

use crate::machine::pod::PodMachine;
use crate::machine::pod::leaves::{Leaves, Seen};
use crate::model::names::{ContainerId, Name};
use crate::model::object::ObjectRef;
use crate::model::pod::{ContainerKind, Pod};
use crate::model::time::Time;
use crate::propagation::frozen::Frozen;

/// When they started.
#[derive(Clone, Debug, Default)]
pub(super) struct Starts {
    /// By container, those of which the last survey saw a process.
    running: BTreeMap<Name, Time>,
    /// The earliest start that was seen of a regular container: no init container was at work after it, unless they are run anew.
    first: Option<Time>,
    /// When the process started that holds the pod's namespaces, where there is one: none of the spec's containers was at work before
    /// it, and all of them, init containers too, are run anew with it.
    sandbox: Option<Time>,
    /// The init containers by the pod's status. One of another ID was run anew: with the sandbox, or with all other containers after
    /// one that ended so (`RestartAllContainers` in a container's `restartPolicyRules`).
    init: BTreeMap<Name, ContainerId>,
    /// When it was seen that they were run anew: by then they had started.
    anew: Option<Time>,
}

impl Starts {
    /// Takes in the status of a pod, for what its init containers took.
    pub(super) fn take_status(&mut self, pod: &Pod, frozen: &[Frozen], now: Time) {
        let init = frozen.iter().filter(|frozen| frozen.role == ContainerKind::Init);
        let init: BTreeSet<&Name> = init.map(|frozen| &frozen.container).collect();
        for (name, id) in init.into_iter().filter_map(|name| Some((name, pod.status.get(name)?))) {
            if self.init.insert(name.clone(), id.clone()).is_some_and(|before| before != *id) {
                (self.first, self.anew) = (None, Some(now));
            }
        }
    }

    /// Takes in a survey, for what the containers took. Looking through a container's processes takes time: once for each.
    pub(super) fn take_in(&mut self, leaves: &Leaves<'_>, frozen: &[Frozen]) {
        let containers: BTreeSet<&Name> = frozen.iter().map(|frozen| &frozen.container).collect();
        if containers.is_empty() {
            return;
        }
        let before = std::mem::take(&mut self.running);
        for container in containers {
            let started = match leaves.seen(container) {
                Seen::Started(started) => Some(started),
                // That it is there is known, and not which process was its first one.
                Seen::Unclear => before.get(container).copied(),
                Seen::Nothing => None,
            };
            self.running.extend(started.map(|started| (container.clone(), started)));
        }
        self.sandbox = leaves.earliest().filter(|(_, is_of_spec)| !is_of_spec).map(|(started, _)| started);
        // Without a status that tells, and without such a process, nothing tells whether what was seen earlier was of the same run.
        let is_of_this_run = |first: &Time| match self.sandbox {
            Some(sandbox) => sandbox < *first,
            None => !self.init.is_empty(),
        };
        let before = self.first.filter(is_of_this_run);
        let seen = leaves.regular().filter_map(|name| match leaves.seen(name) {
            Seen::Started(started) => Some(started),
            Seen::Unclear | Seen::Nothing => None,
        });
        self.first = seen.chain(before).min();
    }

    /// Whether a container has what it took: it runs, or is an init container, of which others have what it made.
    pub(super) fn has(&self, frozen: &Frozen) -> bool {
        frozen.role == ContainerKind::Init || self.running.contains_key(&frozen.container)
    }
}

impl PodMachine {
    /// Tells what containers took of those objects when they took it.
    pub(super) fn note_starts(&mut self, is_meant: impl Fn(&ObjectRef) -> bool) {
        let Starts { running, first, sandbox, anew, .. } = &self.starts;
        for frozen in self.frozen.iter_mut().filter(|frozen| is_meant(&frozen.object)) {
            match (frozen.role, running.get(&frozen.container), anew.or(*first)) {
                (ContainerKind::Init, _, Some(by)) => {
                    frozen.started_between(sandbox.unwrap_or_default(), by);
                }
                (ContainerKind::Init, _, None) | (_, None, _) => {}
                (_, Some(started), _) => frozen.started(*started),
            }
        }
    }
}
