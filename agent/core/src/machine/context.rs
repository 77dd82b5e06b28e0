//! What the parts of a pod's machine may use of their surroundings.

use std::collections::VecDeque;

use crate::machine::event::Action;
use crate::machine::workloads::Workloads;
use crate::model::time::Time;

/// The time, where actions go, and what replicas know of each other.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) out: &'a mut VecDeque<Action>,
    pub(crate) workloads: &'a mut Workloads,
}

impl Context<'_> {
    pub(crate) fn act(&mut self, action: Action) {
        self.out.push_back(action);
    }
}
