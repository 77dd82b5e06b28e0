//! What is known of what the containers took at their start is handed to the journal: once a second at most, however often their objects
//! are written.

use std::sync::Arc;
use std::time::Duration;

use crate::machine::context::Context;
use crate::machine::event::Action;
use crate::machine::pod::PodMachine;
use crate::model::frozen::Remembered;
use crate::model::journal::JournalUpdate;
use crate::model::time::Time;
use crate::propagation::frozen::Frozen;

/// The least time between two looks at what is known of a pod. What changes meanwhile is in the next one.
const PACE: Duration = Duration::from_secs(1);
/// Of how many things that its containers took it is remembered in each pod.
const MOST: usize = 64;

/// What the journal knows, and when it is to know more.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    recorded: Arc<Vec<Remembered>>,
    /// What nothing that is followed now is of: it may be again under another plan.
    others: Vec<Remembered>,
    /// When it was looked at last, and when it is next.
    at: Option<Time>,
    due: Option<Time>,
}

impl Memory {
    /// When there may be something to record.
    pub(super) const fn timeout(&self) -> Option<Time> {
        self.due
    }
}

impl PodMachine {
    /// Something may have changed in what the containers took: that is looked at once all that is to be done now has been done, so that it keeps
    /// no signal waiting.
    pub(super) fn remember(&mut self, ctx: &Context<'_>) {
        if self.frozen.is_empty() {
            return;
        }
        let next = self.memory.at.map_or(ctx.now, |at| ctx.now.max(at + PACE));
        self.memory.due.get_or_insert(next);
    }

    /// Records what is known, where it has changed and the time for that has come.
    pub(super) fn remember_due(&mut self, ctx: &mut Context<'_>) {
        if self.memory.due.take_if(|due| *due <= ctx.now).is_none() {
            return;
        }
        self.memory.at = Some(ctx.now);
        let known = self.known_of_starts();
        if known != *self.memory.recorded {
            self.memory.recorded = Arc::new(known);
            let (pod, known) = (self.site.pod.uid.clone(), self.memory.recorded.clone());
            ctx.act(Action::Record(JournalUpdate::Frozen(pod, known)));
        }
    }

    /// What is known of what the containers took, and was known of what isn't followed now.
    pub(super) fn known_of_starts(&self) -> Vec<Remembered> {
        let known = self.frozen.iter().filter_map(Frozen::remembered);
        known.chain(self.memory.others.iter().cloned()).take(MOST).collect()
    }

    /// What was known of it goes to those whose it is.
    pub(super) fn recall(&mut self, known: Arc<Vec<Remembered>>) {
        let mut others = Vec::new();
        for remembered in known.iter().cloned() {
            match self.frozen.iter_mut().find(|frozen| frozen.is_of(&remembered)) {
                Some(frozen) => frozen.restore(remembered),
                None => others.push(remembered),
            }
        }
        self.memory = Memory { recorded: known, others, ..Memory::default() };
    }
}
