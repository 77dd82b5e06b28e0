//! What is known of an object beside what the pod's spec says of it.

use std::collections::BTreeSet;

use crate::model::names::Name;

use super::{Effect, Reference, Way, Why};

/// What is known of an object; nothing by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'k> {
    /// Whether a change of it rolls the workload where it can't reach a container in place.
    pub rolls: bool,
    /// Whether it never changes.
    pub immutable: bool,
    /// Whether its owner keeps it from triggering anything (`reloadlet.io/ignore`), and the agents see that.
    pub ignored: bool,
    /// Its keys, where they are known.
    pub keys: Option<Keys<'k>>,
}

/// The keys of an object.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'k> {
    /// All of them.
    pub all: &'k BTreeSet<Name>,
    /// Those of a ConfigMap's `binaryData`, which become files and never variables.
    pub binary: &'k BTreeSet<Name>,
}

impl Keys<'_> {
    /// Whether a variable can have the value of this key.
    pub fn have_text(&self, key: &str) -> bool {
        self.all.contains(key) && !self.binary.contains(key)
    }
}

impl Known<'_> {
    /// Makes what a change does what it does to this object.
    pub(super) fn decide(self, reference: &mut Reference) {
        if reference.way == Way::Unmounted || reference.why == Why::EmptySubPath {
            return;
        }
        if self.immutable {
            (reference.effect, reference.why) = (Effect::Never, Why::Immutable);
        } else if self.ignored && reference.why.is_of_triggers() {
            (reference.effect, reference.why) = (Effect::Never, Why::Ignored);
        } else if self.rolls && !self.ignored && reference.effect == Effect::Never {
            reference.effect = Effect::Roll;
        }
    }
}
