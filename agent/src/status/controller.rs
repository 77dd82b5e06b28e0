//! What a controller serves at `/status`, and `reloadlet status --controller` reads.

use std::collections::BTreeMap;

use reloadlet_core::Time;
use reloadlet_core::machine::status::{Age, ObjectStatus};
use reloadlet_core::model::closed::{Word, closed_set};
use reloadlet_core::model::names::Name;
use reloadlet_core::rollouts::event::Wait;
use reloadlet_core::rollouts::overview::Standing;
use reloadlet_core::rollouts::workload::Kind;
use serde::{Deserialize, Serialize};

use super::watches::{LackStatus, WatchStatus};
use crate::clock;
use crate::contact::{Code, Contact, Resource};

pub(super) use table::table;

mod table;

/// What kind of document it is. Something is only added as long as this stays.
pub(super) const API_VERSION: &str = "controller.status.reloadlet.io/v1";

/// The whole document: what one replica knows, and when.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    api_version: String,
    /// When that was, as RFC 3339 has it.
    pub(super) time: String,
    pub(super) controller: ReplicaStatus,
    /// Where people hold rolls.
    pub(super) holds: Vec<HoldStatus>,
    /// What is rolled, waits, or needs somebody. Only the replica that leads knows of any.
    pub(super) workloads: Vec<WorkloadStatus>,
    /// How many more there are than the document has room for.
    pub(super) more: usize,
}

/// The replica that was asked.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ReplicaStatus {
    pub(super) version: String,
    pub(super) name: String,
    /// Whether it is the one that works.
    pub(super) leads: bool,
    /// Which one is, as far as that is known.
    pub(super) leader: Option<String>,
    pub(super) fence: Word<Fence>,
    /// What it lacks now, the worst first.
    pub(super) lacks: Vec<LackStatus>,
    /// What it watches on the API server.
    pub(super) watches: Vec<WatchStatus>,
    /// Its requests to the API server, by the code of the answer.
    pub(super) requests: BTreeMap<Word<Code>, u64>,
}

closed_set! {
    /// Whether an admission policy leaves the account no more than it needs.
    pub(crate) enum Fence {
        /// It does.
        Holds => "holds",
        /// That isn't proved.
        Unproved => "unproved",
        /// It doesn't.
        Open => "open",
    }
}

/// A place where people hold rolls.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct HoldStatus {
    /// The namespace; `None` for all of them.
    pub(crate) namespace: Option<Name>,
    /// Why, as far as somebody has said it.
    pub(crate) reason: Option<String>,
}

/// A workload that is rolled, waits, or needs somebody.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkloadStatus {
    pub(crate) kind: Word<Kind>,
    pub(crate) namespace: Name,
    pub(crate) name: Name,
    pub(crate) state: Word<State>,
    /// Its last roll, as long as that isn't over well.
    pub(crate) roll: Option<RollStatus>,
    /// What the next one waits for.
    pub(crate) wait: Option<Word<Wait>>,
    /// For how long it does, where that is known.
    pub(crate) wait_seconds: Option<Age>,
    /// What its state means, and what ends it.
    pub(crate) sentence: String,
    /// Objects that differ from what its pods hold, or for which it is rolled.
    pub(crate) objects: Vec<ObjectStatus>,
    /// How many more there are.
    pub(crate) more_objects: usize,
}

closed_set! {
    /// How a workload is: the first one of these that is so.
    pub(crate) enum State {
        /// Its pods are replaced.
        Rolling => "rolling",
        /// Its pods are restarted in place.
        Restarting => "restarting",
        /// Its template is to get a mark.
        Planned => "planned",
        /// Not all of its pods were available in time.
        Failed => "failed",
        /// A roll is wanted and waits.
        Waiting => "waiting",
        /// What it asks for has a problem.
        Problem => "problem",
        /// Pods are stale, and nothing is done about it.
        Stale => "stale",
    }
}

/// A roll that isn't over well.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct RollStatus {
    pub(crate) standing: Word<Standing>,
    /// The mark in the template (`reloadlet.io/rolled`).
    pub(crate) marker: Name,
    /// For how long it is planned or under way.
    pub(crate) seconds: Age,
}

/// What a replica knows of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replica<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Whether it is the one that works.
    pub(crate) leads: bool,
    /// Which one is, as far as that is known.
    pub(crate) leader: Option<&'a str>,
    /// Whether the account is fenced in.
    pub(crate) fence: Fence,
    /// What the API server has said.
    pub(crate) contact: &'a Contact,
}

impl Document {
    /// What a replica knows at this time, by the boot-time clock.
    pub(crate) fn new(
        replica: Replica<'_>,
        holds: &[HoldStatus],
        (workloads, more): (Vec<WorkloadStatus>, usize),
        now: Time,
    ) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            time: clock::rfc3339(now),
            controller: ReplicaStatus::new(replica, now),
            holds: holds.to_vec(),
            workloads,
            more,
        }
    }
}

impl ReplicaStatus {
    fn new(replica: Replica<'_>, now: Time) -> Self {
        let Replica { name, leads, leader, fence, contact } = replica;
        let fenced = match fence {
            Fence::Holds => None,
            Fence::Unproved => Some("It isn't proved that an admission policy fences this account in."),
            Fence::Open => Some(
                "The admission policy doesn't fence this account in: it could change more of workloads than a roll does.",
            ),
        };
        let fenced =
            fenced.map(|sentence| LackStatus { what: "fence".to_owned(), sentence: sentence.to_owned() });
        let down = LackStatus::of_watches(contact, now, |resource, since| {
            let (what, seconds) = (resource.written(), since.as_secs());
            match resource {
                Resource::ConfigMaps | Resource::Secrets => format!(
                    "The API server hasn't told of {what} for {seconds} s: nothing is rolled for what has changed since."
                ),
                Resource::Holds => format!(
                    "The API server hasn't told of the ConfigMap reloadlet-holds for {seconds} s: what was set or lifted since isn't known."
                ),
                Resource::Pods | Resource::Deployments | Resource::StatefulSets | Resource::DaemonSets => {
                    format!(
                        "The API server hasn't told of {what} for {seconds} s: how far their rolls are isn't known."
                    )
                }
            }
        });
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.to_owned(),
            leads,
            leader: leader.map(str::to_owned),
            fence: fence.into(),
            lacks: down.chain(fenced).collect(),
            watches: WatchStatus::all(contact, now),
            requests: contact.requests().map(|(code, count)| (code.into(), count)).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
