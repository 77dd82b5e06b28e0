//! What differs from what a workload's pods are known to hold, and since when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::time::Time;
use crate::rollouts::content::Print;
use crate::rollouts::event::Pod;
use crate::rollouts::found::Found;
use crate::rollouts::pods::{Moment, is_stale};
use crate::rollouts::record::Prints;
use crate::rollouts::uses::{Object, Uses};

/// Changes are gathered for so many times the pause that follows the last of them.
const MOST_PAUSES: u32 = 10;

/// What differs.
#[derive(Debug)]
pub(crate) struct Changed {
    /// What there is.
    pub(crate) wanted: Prints,
    /// The objects that differ.
    pub(crate) objects: BTreeSet<Object>,
    first: Time,
    last: Time,
    /// When what counts of each was last changed, by the API server's clock.
    since: BTreeMap<Object, (Print, Time)>,
}

impl Changed {
    /// These objects differ now.
    pub(crate) fn note(
        before: Option<Self>,
        wanted: Prints,
        objects: BTreeSet<Object>,
        found: &Found,
        now: Time,
    ) -> Self {
        let since = objects.iter().map(|object| {
            let print = wanted.get(object).copied().unwrap_or_default();
            // Another key of the object may have been changed since.
            let known = before.as_ref().and_then(|before| before.since.get(object));
            let known = known.filter(|(known, _)| *known == print).copied();
            (object.clone(), known.unwrap_or_else(|| (print, found.changed(object).unwrap_or(now))))
        });
        let since = since.collect();
        let (first, last) = match &before {
            Some(before) if before.wanted == wanted => (before.first, before.last),
            Some(before) => (before.first, now),
            None => (now, now),
        };
        Self { wanted, objects, first, last, since }
    }

    /// When changes are over that are gathered for so long.
    pub(crate) fn quiet(&self, debounce: Duration) -> Time {
        (self.last + debounce).min(self.first + debounce.saturating_mul(MOST_PAUSES))
    }

    /// Whether any of these pods has a container that started before the change and keeps what it started with. What these objects
    /// hold is all that they have held: nothing is known of them before it.
    pub(crate) fn are_stale<'a>(
        &self,
        uses: &Uses,
        beginnings: &BTreeSet<Object>,
        pods: impl Iterator<Item = &'a Pod>,
    ) -> bool {
        let pods: Vec<&Pod> = pods.filter(|pod| !pod.is_terminating).collect();
        self.since.iter().any(|(object, (_, at))| {
            let keepers = uses.keepers(object);
            let is_beginning = beginnings.contains(object) && uses.need(object);
            pods.iter().any(|pod| is_stale(pod, &keepers, Moment { at: *at, is_beginning }))
        })
    }
}
