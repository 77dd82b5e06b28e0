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

/// The least time between two records of a pod. What changes meanwhile is in the next one.
const PACE: Duration = Duration::from_secs(1);
/// Of how many things that its containers took it is remembered in each pod.
const MOST: usize = 64;

/// What the journal knows, and when it is to know more.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    recorded: Arc<Vec<Remembered>>,
    /// What nothing that is followed now is of: it may be again under another plan.
    others: Vec<Remembered>,
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
    /// Something may have changed in what the containers took: it is recorded now or a little later.
    pub(super) fn remember(&mut self, ctx: &mut Context<'_>) {
        let next = self.memory.at.map_or(ctx.now, |at| at + PACE);
        if ctx.now < next {
            self.memory.due = Some(next);
            return;
        }
        self.memory.due = None;
        let known = self.known_of_starts();
        if known != *self.memory.recorded {
            self.memory.recorded = Arc::new(known);
            self.memory.at = Some(ctx.now);
            let (pod, known) = (self.site.pod.uid.clone(), self.memory.recorded.clone());
            ctx.act(Action::Record(JournalUpdate::Frozen(pod, known)));
        }
    }

    /// The same, where it was put off and its time has come.
    pub(super) fn remember_due(&mut self, ctx: &mut Context<'_>) {
        if self.memory.due.is_some_and(|due| due <= ctx.now) {
            self.remember(ctx);
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
