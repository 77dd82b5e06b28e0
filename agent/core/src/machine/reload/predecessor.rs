//! Whom the agent before may have told shortly before it ended. What such a process does about that wasn't seen: it may be executing
//! itself anew, and is looked at for as long as any young process. All others are told as if there had been no restart.

use crate::machine::reload::Target;
use crate::machine::reload::retry::PATIENCE;
use crate::model::names::Name;
use crate::model::time::Time;

/// What the journal says of whom the agent before has told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Predecessor {
    /// There was none, or it ended before the pod came.
    #[default]
    Nobody,
    /// Nothing.
    Unknown,
    /// Whom it told last. It was killed: the record of what it told just then is lost.
    Killed,
    /// Whom it told last, all of it.
    Ended,
}

impl Target {
    /// The agent starts, and the one before it may have told the container.
    pub(crate) fn follow(&mut self, predecessor: Predecessor, now: Time) {
        let is_recent = self.last_delivery.is_some_and(|at| now < at + PATIENCE);
        let is_known = match predecessor {
            Predecessor::Unknown => false,
            Predecessor::Nobody if self.is_recorded() => false,
            Predecessor::Killed if self.is_recorded() => {
                // What stands there is told of, as long as it isn't what is recorded.
                if !is_recent && !self.rereading.was_due() {
                    self.unconfirmed = self.progress.keys().cloned().collect();
                }
                false
            }
            Predecessor::Ended => !is_recent,
            Predecessor::Nobody | Predecessor::Killed => true,
        };
        if !is_known {
            self.processes.begin_unseen(now);
        }
    }

    /// The pod is one of last time as long as nobody has told the node's pods, and may be gone.
    pub(crate) const fn set_of_last_time(&mut self, is_of_last_time: bool) {
        self.is_of_last_time = is_of_last_time;
    }

    /// Whether it may be gone.
    pub(crate) const fn is_of_last_time(&self) -> bool {
        self.is_of_last_time
    }

    /// What stands in a volume is what is recorded: of that volume the agent before has told nothing else.
    pub(super) fn confirm(&mut self, volume: &Name) {
        let is_given = self.progress.get(volume).is_none_or(|progress| progress.is_to_be_given());
        if !is_given && self.unconfirmed.remove(volume) && self.unconfirmed.is_empty() {
            self.processes.end_unseen();
        }
    }
}
