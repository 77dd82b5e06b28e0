//! The pods of a workload, with the revisions of its template that they are of, and the budgets that protect them.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::core::params::ListParams;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::restart::Said;
use reloadlet_core::rollouts::event::{Listed, Pod, PodContainer};
use reloadlet_core::rollouts::workload::{Kind, WorkloadRef};
use serde::Deserialize;

use super::asker::{APPS, Asker, CORE, collection, path_of};
use super::budgets::{Budget, Budgets};
use super::lists::{self, Unlisted};
use super::meta::Meta;
use super::pod::ApiPod;
use super::revisions::{ControllerRevision, ReplicaSet, Revisions};
use super::wire::{Live, Written};
use crate::api::trouble::Trouble;

/// How much is kept of a workload's pods, in bytes: ten thousand of them with ten containers each take less.
const MOST_BYTES: usize = 24 << 20;
/// The most containers of a pod.
const MOST_CONTAINERS: usize = 500;
/// How long it takes to list them at most. After five minutes etcd doesn't know any more what a list began with (kube-apiserver's
/// `--etcd-compaction-interval`).
const LONGEST: Duration = Duration::from_secs(300);
/// So many Events about a pod are read, of which an agent's is one.
const MOST_EVENTS: u32 = 500;

/// Lists them; `None` where there is no such workload.
pub(super) async fn listed(asker: &Asker, who: &WorkloadRef) -> Result<Option<Listed>, Unlisted> {
    let listed = tokio::time::timeout(LONGEST, list(asker, who)).await;
    listed.unwrap_or(Err(Unlisted::Asked(Trouble::Endless)))
}

async fn list(asker: &Asker, who: &WorkloadRef) -> Result<Option<Listed>, Unlisted> {
    let Some((selector, mark, mut revisions)) = sought(asker, who).await? else { return Ok(None) };
    let namespace = Some(&*who.namespace);
    match who.kind {
        Kind::Deployment => {
            let take = |set: ReplicaSet| {
                revisions.take(set.into());
                Ok(())
            };
            lists::each(asker, &collection(APPS, namespace, "replicasets"), &selector, take).await?;
        }
        Kind::StatefulSet | Kind::DaemonSet => {
            let take = |revision: ControllerRevision| {
                revisions.take(revision.into());
                Ok(())
            };
            lists::each(asker, &collection(APPS, namespace, "controllerrevisions"), &selector, take).await?;
        }
    }
    // They come before the pods, of which then no label is kept.
    let mut budgets = Budgets::default();
    let path = collection("/apis/policy/v1", namespace, "poddisruptionbudgets");
    let asked = lists::each(asker, &path, "", |budget: Budget| budgets.take(budget)).await;
    let mut pods = Pods::of(revisions, asked.map(|()| budgets));
    let path = collection(CORE, namespace, "pods");
    lists::each(asker, &path, &selector, |pod: ApiPod| pods.take(pod)).await?;
    Ok(Some(Listed { mark, ..pods.listed() }))
}

/// By which labels a workload's pods are listed, the mark in its template, and what is known of its revisions before they are; `None` where there is no such
/// workload. All else of it may be large.
async fn sought(
    asker: &Asker,
    who: &WorkloadRef,
) -> Result<Option<(String, Option<Name>, Revisions)>, Trouble> {
    let Some(written) = asker.get::<Written>(&path_of(who)).await? else { return Ok(None) };
    let live = Live::read(who.kind, written.text()).map_err(|error| Trouble::Garbage(error.to_string()))?;
    let revisions = Revisions::of(&live);
    Ok(Some((live.selector, live.workload.marker.clone(), revisions)))
}

/// The pods of a workload, while they are listed.
struct Pods {
    revisions: Revisions,
    /// The budgets of the namespace, or why they aren't known: of a workload without pods nobody asks for them.
    budgets: Result<Budgets, Unlisted>,
    /// The names of their containers, each of which is kept once.
    names: BTreeSet<Name>,
    bytes: usize,
    own: Vec<Pod>,
}

impl Pods {
    const fn of(revisions: Revisions, budgets: Result<Budgets, Unlisted>) -> Self {
        Self { revisions, budgets, names: BTreeSet::new(), bytes: 0, own: Vec::new() }
    }

    /// Keeps what counts of a pod, if it is the workload's.
    fn take(&mut self, pod: ApiPod) -> Result<(), Unlisted> {
        // Those that have ended for good are nobody's any more: their owner has made others.
        if pod.has_ended() || !self.revisions.own(&pod.metadata) {
            return Ok(());
        }
        match &mut self.budgets {
            Ok(budgets) => budgets.look_at(&pod.metadata.labels)?,
            unknown @ Err(_) => return std::mem::replace(unknown, Ok(Budgets::default())).map(drop),
        }
        if pod.count() > MOST_CONTAINERS {
            return Err(Unlisted::TooMuch("one of its pods has more than 500 containers"));
        }
        let mut pod = pod.of(Some(&self.revisions));
        for container in &mut pod.containers {
            match self.names.get(&container.name) {
                Some(known) => container.name = known.clone(),
                None => {
                    self.bytes += size(&container.name);
                    self.names.insert(container.name.clone());
                }
            }
        }
        self.bytes += bytes(&pod);
        if self.bytes > MOST_BYTES {
            return Err(Unlisted::TooMuch("its pods take more than 24 MiB of memory"));
        }
        self.own.push(pod);
        Ok(())
    }

    fn listed(self) -> Listed {
        Listed {
            mark: None,
            disruption: self.budgets.unwrap_or_default().disruption(),
            pods: self.own,
            marks: self.revisions.marks(),
        }
    }
}

/// How many bytes a pod takes, without the names of its containers.
fn bytes(pod: &Pod) -> usize {
    let grant = pod.grant.iter().flat_map(|grant| &grant.containers);
    let granted: usize = grant.map(|(name, _)| size_of::<(Name, Name)>() + size(name) + OF_NAME).sum();
    let names: usize = [&pod.name, &pod.uid, &pod.version].into_iter().map(size).sum();
    size_of::<Pod>() + names + granted + pod.containers.len() * (size_of::<PodContainer>() + OF_NAME)
}

/// How many bytes a name takes beside its own, and the few of which container it is with them.
const OF_NAME: usize = 48;

fn size(name: &Name) -> usize {
    OF_NAME + name.len()
}

/// A pod by its name, if there is one, and, if it `hears` that, what its agent has said of grants.
pub(super) async fn looked(
    asker: &Asker,
    who: &WorkloadRef,
    name: &Name,
    hears: bool,
) -> Result<(Option<Pod>, Vec<Said>), Trouble> {
    let path = format!("{}/{name}", collection(CORE, Some(&who.namespace), "pods"));
    let Some(pod) = asker.get::<ApiPod>(&path).await? else { return Ok((None, Vec::new())) };
    // The API server reads all Events of the namespace for that.
    let said = match pod.grant().filter(|_| hears) {
        Some(_) => said(asker, who, &pod.metadata.uid).await?,
        None => Vec::new(),
    };
    Ok((Some(pod.of(None)), said))
}

/// What was said of a pod's grants, the newest last. Whoever may write Events in its namespace may have said it.
async fn said(asker: &Asker, who: &WorkloadRef, uid: &str) -> Result<Vec<Said>, Trouble> {
    let params = ListParams {
        field_selector: Some(format!("regarding.kind=Pod,regarding.uid={uid}")),
        limit: Some(MOST_EVENTS),
        ..ListParams::default()
    };
    let path = collection("/apis/events.k8s.io/v1", Some(&who.namespace), "events");
    let mut all = Vec::new();
    let take = |ApiEvent { metadata }: ApiEvent| {
        let restart = metadata.annotations.as_ref().and_then(|all| all.restart.as_deref());
        all.extend(restart.and_then(Said::parse).map(|said| (metadata.made(), said)));
    };
    asker.each(&path, &params, take).await?;
    all.sort_by_key(|(made, _)| *made);
    Ok(all.into_iter().map(|(_, said)| said).collect())
}

#[derive(Deserialize)]
struct ApiEvent {
    metadata: Meta,
}

#[cfg(test)]
mod tests;
