//! What differs from what a workload's pods are known to hold, and since when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::names::Name;
use crate::model::time::Time;
use crate::rollouts::content::Print;
use crate::rollouts::event::{Pod, PodContainer};
use crate::rollouts::found::Found;
use crate::rollouts::pods::{self, Moment};
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

    /// The containers of a pod that started before the change and keep what they started with. What these objects hold is all that they
    /// have held: nothing is known of them before it. `restart` is the mark of a restart in place for what there is now.
    pub(crate) fn stale<'a>(
        &self,
        uses: &Uses,
        beginnings: &BTreeSet<Object>,
        pod: &'a Pod,
        restart: Option<&Name>,
    ) -> BTreeMap<&'a Name, &'a PodContainer> {
        let of = |(object, (_, at)): (&Object, &(Print, Time))| {
            let is_beginning = beginnings.contains(object) && uses.need(object);
            let moment = Moment { at: *at, is_beginning };
            let keepers = uses.keepers(object);
            let containers = pods::stale(pod, &keepers, moment, restart);
            containers.map(|container| (&container.name, container)).collect::<Vec<_>>()
        };
        self.since.iter().filter(|_| !pod.is_terminating).flat_map(of).collect()
    }
}
