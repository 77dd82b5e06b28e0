//! What the controller follows on the API server: workloads that ask for something, the names and marks of objects, and what a person
//! holds.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use kube::runtime::watcher;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::{ObjectKind, ObjectRef};
use reloadlet_core::policy::reloader::Asking;
use reloadlet_core::policy::rollout::Asked;
use reloadlet_core::rollouts::content::Seen;
use reloadlet_core::rollouts::workload::{Kind, Workload, WorkloadRef};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::asker::{APPS, CORE, collection, plural};
use super::wire::{Live, Written};
use crate::api::cluster::Cluster;
use crate::api::watch::{self, Followed, Form};
use crate::contact::Resource;

/// How much is told before the watches wait.
const WAITING: usize = 256;
/// How many workloads the API server sends at a time. One has 1.5 MB at most.
const PAGE: u32 = 50;
/// How many objects it sends at a time, of which only the metadata is sent.
const PAGE_OF_METADATA: u32 = 500;
/// The most workloads of a kind, and the most objects: those of the largest clusters.
const MOST: usize = 200_000;
/// The ConfigMap by which a person holds rolls.
pub(super) const HOLDS: &str = "reloadlet-holds";
/// Its key that holds those of all namespaces; no namespace can be called so.
const ALL: &str = "_all";

/// Something that was heard.
pub(super) enum Told {
    Workload(WorkloadRef, Option<Arc<Workload>>),
    Object(ObjectRef, Option<Seen>),
    Holds(Holds),
    /// One of the watches has told all that there is.
    Listed,
}

/// Where a person holds rolls, with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holds {
    /// In all namespaces.
    pub(crate) all: Option<String>,
    /// In these.
    pub(crate) namespaces: BTreeMap<Name, String>,
}

/// What is followed.
pub(super) struct Scope<'a> {
    /// The controller's own namespace.
    pub(super) own: &'a str,
    /// The namespaces; empty for all.
    pub(super) namespaces: &'a [String],
    /// Whether Secrets are.
    pub(super) secrets: bool,
    /// Whether Reloader's annotations count.
    pub(super) annotations: bool,
}

/// The watches, for as long as it isn't dropped.
pub(super) struct Watches {
    /// What they tell.
    pub(super) told: mpsc::Receiver<Told>,
    /// How many of them there are.
    pub(super) count: usize,
    _running: JoinSet<()>,
}

impl Watches {
    /// Starts them.
    pub(super) fn start(cluster: &Cluster, scope: &Scope<'_>) -> Self {
        let (teller, told) = mpsc::channel(WAITING);
        let mut running = JoinSet::new();
        let all = [None];
        let listed: Vec<Option<&str>> = scope.namespaces.iter().map(|name| Some(name.as_str())).collect();
        let namespaces = if listed.is_empty() { &all[..] } else { &listed };
        for namespace in namespaces {
            for kind in [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet] {
                let path = collection(APPS, *namespace, plural(kind));
                let followed = followed(cluster, resource(kind), path, Form::Whole);
                let told = Workloads { kind, annotations: scope.annotations, known: BTreeMap::new() };
                running.spawn(follow(followed, told, teller.clone()));
            }
            for kind in [ObjectKind::ConfigMap, ObjectKind::Secret] {
                let (resource, plural) = match kind {
                    ObjectKind::ConfigMap => (Resource::ConfigMaps, "configmaps"),
                    ObjectKind::Secret if scope.secrets => (Resource::Secrets, "secrets"),
                    ObjectKind::Secret => continue,
                };
                let path = collection(CORE, *namespace, plural);
                let followed = followed(cluster, resource, path, Form::Metadata);
                running.spawn(follow(followed, Objects { kind }, teller.clone()));
            }
        }
        let path = collection(CORE, Some(scope.own), "configmaps");
        let mut holds = followed(cluster, Resource::Holds, path, Form::Whole);
        holds.fields = format!("metadata.name={HOLDS}");
        running.spawn(follow(holds, TheHolds, teller));
        Self { told, count: running.len(), _running: running }
    }
}

const fn resource(kind: Kind) -> Resource {
    match kind {
        Kind::Deployment => Resource::Deployments,
        Kind::StatefulSet => Resource::StatefulSets,
        Kind::DaemonSet => Resource::DaemonSets,
    }
}

fn followed(cluster: &Cluster, resource: Resource, path: String, form: Form) -> Followed {
    let page = if form == Form::Metadata { PAGE_OF_METADATA } else { PAGE };
    Followed { cluster: cluster.clone(), resource, path, form, fields: String::new(), page, most: MOST }
}

/// What becomes of the objects of one watch.
trait Teller: Send + 'static {
    /// What is told of one that is there; nothing where that is of no interest.
    fn there(&mut self, written: &Written) -> Option<Told>;

    /// What is told of one that is gone.
    fn gone(&mut self, namespace: Name, name: Name) -> Option<Told>;
}

/// Follows objects, and tells also of those that are gone when they are listed anew.
async fn follow(followed: Followed, mut teller: impl Teller, told: mpsc::Sender<Told>) {
    let resource = followed.resource;
    let mut stream = pin!(watch::follow::<Written>(followed));
    // Those that are there; with `false` those that a listing hasn't shown yet.
    let mut known: BTreeMap<(Name, Name), bool> = BTreeMap::new();
    while let Some(event) = stream.next().await {
        let mut all = Vec::new();
        match event {
            watcher::Event::Init => known.values_mut().for_each(|is_listed| *is_listed = false),
            watcher::Event::InitApply(written) | watcher::Event::Apply(written) => {
                let Some(names) = names(resource, &written) else { continue };
                known.insert(names, true);
                all.extend(teller.there(&written));
            }
            watcher::Event::Delete(written) => {
                let Some(names) = names(resource, &written) else { continue };
                known.remove(&names);
                all.extend(teller.gone(names.0, names.1));
            }
            watcher::Event::InitDone => {
                let gone: Vec<_> = known.extract_if(.., |_, is_listed| !*is_listed).collect();
                all.extend(
                    gone.into_iter().filter_map(|((namespace, name), _)| teller.gone(namespace, name)),
                );
                all.push(Told::Listed);
            }
        }
        for one in all {
            if told.send(one).await.is_err() {
                return;
            }
        }
    }
}

fn names(resource: Resource, written: &Written) -> Option<(Name, Name)> {
    let names = written.names();
    names
        .inspect_err(|error| {
            tracing::warn!(%error, "one of the {} is left alone: it has no name that can be understood", resource.as_str());
        })
        .ok()
}

/// Workloads of one kind. Nothing is told of those that ask for nothing.
struct Workloads {
    kind: Kind,
    annotations: bool,
    /// Those that ask, with the version that was told.
    known: BTreeMap<(Name, Name), Name>,
}

impl Teller for Workloads {
    fn there(&mut self, written: &Written) -> Option<Told> {
        let live = match Live::read(self.kind, written.text()) {
            Ok(live) => live,
            Err(error) => {
                let (namespace, name) = written.names().unwrap_or_default();
                tracing::warn!(
                    workload_namespace = %namespace,
                    workload = %name,
                    "a {} is left alone: {error}",
                    self.kind.written()
                );
                return None;
            }
        };
        let Live { who, workload, .. } = live;
        if !asks(&workload, self.annotations) {
            return self.gone(who.namespace, who.name);
        }
        self.known.insert((who.namespace.clone(), who.name.clone()), workload.version.clone());
        Some(Told::Workload(who, Some(workload)))
    }

    fn gone(&mut self, namespace: Name, name: Name) -> Option<Told> {
        let key = (namespace, name);
        self.known.remove(&key)?;
        let (namespace, name) = key;
        Some(Told::Workload(WorkloadRef { kind: self.kind, namespace, name }, None))
    }
}

/// Whether a workload asks to be rolled for anything.
pub(super) fn asks(workload: &Workload, annotations: bool) -> bool {
    let asked = Asked::of(&workload.own, &workload.spec.annotations);
    asked.rolls
        || (annotations && !asked.refuses && Asking::new(&workload.own, &workload.of_template).is_any())
}

/// Objects of one kind, without what they hold.
struct Objects {
    kind: ObjectKind,
}

impl Teller for Objects {
    fn there(&mut self, written: &Written) -> Option<Told> {
        let marked = written.marked().ok()?;
        let object = ObjectRef { kind: self.kind, namespace: marked.namespace, name: marked.name };
        Some(Told::Object(object, Some(marked.seen)))
    }

    fn gone(&mut self, namespace: Name, name: Name) -> Option<Told> {
        Some(Told::Object(ObjectRef { kind: self.kind, namespace, name }, None))
    }
}

/// The ConfigMap by which a person holds rolls.
struct TheHolds;

#[derive(Deserialize)]
struct WrittenHolds {
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
}

impl Teller for TheHolds {
    fn there(&mut self, written: &Written) -> Option<Told> {
        let holds: WrittenHolds = serde_json::from_str(written.text()).ok()?;
        let mut data = holds.data.unwrap_or_default();
        let all = data.remove(ALL);
        let namespaces = data.into_iter().map(|(namespace, reason)| (namespace.into(), reason)).collect();
        Some(Told::Holds(Holds { all, namespaces }))
    }

    fn gone(&mut self, _: Name, _: Name) -> Option<Told> {
        Some(Told::Holds(Holds::default()))
    }
}
