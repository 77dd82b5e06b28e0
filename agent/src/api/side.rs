//! What the loop has of the API server: all of it or nothing, whoever is on the other end.

use std::sync::Arc;

use reloadlet_core::Time;
use reloadlet_core::machine::event::Report;
use reloadlet_core::model::object::ObjectRef;
use reloadlet_core::model::pod::Pod;
use reloadlet_core::propagation::nudge::NudgeAnswer;

use super::events::Notes;
use super::nudges::NudgeQueue;
use super::objects::WantedObjects;

/// The loop's side of the API server. Nothing here waits.
#[derive(Debug)]
pub(crate) struct ApiSide {
    /// Where pods' owners are told.
    notes: Notes,
    /// Who watches ConfigMaps and Secrets.
    objects: WantedObjects,
    /// Who has the kubelet publish at once, where that is wanted.
    nudges: Option<NudgeQueue>,
}

impl ApiSide {
    /// With these at the other ends.
    pub(crate) const fn new(notes: Notes, objects: WantedObjects, nudges: Option<NudgeQueue>) -> Self {
        Self { notes, objects, nudges }
    }

    /// Says to a pod's owner what a report means to them, if anything.
    pub(crate) fn report(&self, report: &Report) {
        self.notes.report(report);
    }

    /// Has an object watched, or asked about anew.
    pub(crate) fn observe(&self, object: ObjectRef) {
        self.objects.observe(object);
    }

    /// Nobody needs an object any more.
    pub(crate) fn unobserve(&self, object: &ObjectRef) {
        self.objects.unobserve(object);
    }

    /// Has a nudge sent. What is known of it at once comes back.
    pub(crate) fn nudge(&mut self, pod: Arc<Pod>, now: Time) -> Option<NudgeAnswer> {
        self.nudges.as_mut().map_or(Some(NudgeAnswer::Refused), |nudges| nudges.send(pod, now))
    }
}
