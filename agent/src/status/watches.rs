//! What is watched on the API server, and what is lacking of it, as any status says it.

use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::machine::status::Age;
use reloadlet_core::model::closed::Word;
use serde::{Deserialize, Serialize};

use crate::contact::{Contact, Resource, WatchContact, WatchState};

/// A resource that is watched on the API server.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WatchStatus {
    pub(super) resource: Word<Resource>,
    pub(super) up: bool,
    pub(super) last_contact_seconds_ago: Age,
}

/// Something that is lacking.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct LackStatus {
    pub(super) what: String,
    pub(super) sentence: String,
}

impl WatchStatus {
    /// Those of all resources of which anything is wanted.
    pub(super) fn all(contact: &Contact, now: Time) -> Vec<Self> {
        let each = wanted(contact).map(|(resource, watch)| Self {
            resource: resource.into(),
            up: watch.state == WatchState::Up,
            last_contact_seconds_ago: Age(now.since(watch.last)),
        });
        each.collect()
    }

    /// The resource as people write it.
    pub(super) fn written(&self) -> &str {
        match &self.resource {
            Word::Known(resource) => resource.written(),
            Word::Other(word) => word,
        }
    }
}

impl LackStatus {
    /// The watches that are down, each with what it means that nothing was told of the resource for so long.
    pub(super) fn of_watches(
        contact: &Contact,
        now: Time,
        sentence: fn(Resource, Duration) -> String,
    ) -> impl Iterator<Item = Self> {
        let down = wanted(contact).filter(|(_, watch)| watch.state == WatchState::Down);
        down.map(move |(resource, watch)| Self {
            what: format!("watch_{}", resource.as_str()),
            sentence: sentence(resource, now.since(watch.last)),
        })
    }
}

fn wanted(contact: &Contact) -> impl Iterator<Item = (Resource, WatchContact)> {
    let watches = Resource::ALL.into_iter().map(|resource| (resource, contact.watch(resource)));
    watches.filter(|(_, watch)| watch.state != WatchState::Unused)
}
