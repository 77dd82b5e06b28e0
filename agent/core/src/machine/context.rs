//! What the parts of a pod's machine may use of their surroundings.

use std::collections::VecDeque;

use crate::machine::event::Action;
use crate::model::time::Time;

/// The time, and where actions go.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) out: &'a mut VecDeque<Action>,
}

impl Context<'_> {
    pub(crate) fn act(&mut self, action: Action) {
        self.out.push_back(action);
    }
}
