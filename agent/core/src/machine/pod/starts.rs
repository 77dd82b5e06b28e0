//! When the containers of a pod started, told or not, as far as surveys show it: what they took at their start is as old.

use std::collections::{BTreeMap, BTreeSet};

use crate::machine::pod::PodMachine;
use crate::machine::pod::leaves::Leaves;
use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::model::pod::ContainerKind;
use crate::model::time::Time;
use crate::propagation::frozen::Frozen;

/// When they started.
#[derive(Clone, Debug, Default)]
pub(super) struct Starts {
    /// By container, those that run now.
    running: BTreeMap<Name, Time>,
    /// The earliest start that was seen of a regular container: no init container was at work after it.
    first: Option<Time>,
    /// When the process started that holds the pod's namespaces, where there is one: none of the spec's containers was at work before
    /// it, and all of them, init containers too, are run anew with it.
    sandbox: Option<Time>,
}

impl Starts {
    /// Takes in a survey, for what the containers took. Looking through a container's processes takes time: once for each.
    pub(super) fn take_in(&mut self, leaves: &Leaves<'_>, frozen: &[Frozen]) {
        let containers: BTreeSet<&Name> = frozen.iter().map(|frozen| &frozen.container).collect();
        if containers.is_empty() {
            return;
        }
        for container in containers {
            if let Some(started) = leaves.started(container) {
                self.running.insert(container.clone(), started);
            }
        }
        self.sandbox = leaves.earliest().filter(|(_, is_of_spec)| !is_of_spec).map(|(started, _)| started);
        // Without such a process nothing tells whether what was seen earlier was of the same run.
        let before = self.first.filter(|first| self.sandbox.is_some_and(|sandbox| sandbox < *first));
        let seen = leaves.regular().filter_map(|name| leaves.started(name));
        self.first = seen.chain(before).min();
    }
}

impl PodMachine {
    /// Tells what containers took of those objects when they took it.
    pub(super) fn note_starts(&mut self, is_meant: impl Fn(&ObjectRef) -> bool) {
        let Starts { running, first, sandbox } = &self.starts;
        for frozen in self.frozen.iter_mut().filter(|frozen| is_meant(&frozen.object)) {
            match (frozen.role, running.get(&frozen.container), first) {
                (ContainerKind::Init, _, Some(first)) => {
                    frozen.started_between(sandbox.unwrap_or_default(), *first);
                }
                (ContainerKind::Init, _, None) | (_, None, _) => {}
                (_, Some(started), _) => frozen.started(*started),
            }
        }
    }
}
