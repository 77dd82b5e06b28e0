//! What the controller follows on the API server: workloads that ask for something, the names and marks of objects, and what a person
//! holds.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

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
/// The most workloads of a kind, and the most objects, that a list has: more than the largest clusters do.
const MOST: usize = 2_000_000;
/// How long a list takes at most. After five minutes etcd doesn't know any more what it began with (kube-apiserver's
/// `--etcd-compaction-interval`), and it is begun anew.
const LONGEST_LIST: Duration = Duration::from_secs(300);
/// So many of a kind are known of one namespace.
const MOST_OF_NAMESPACE: usize = 20_000;
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
                let told = Workloads { kind, annotations: scope.annotations, asking: BTreeSet::new() };
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
    Followed {
        cluster: cluster.clone(),
        resource,
        path,
        form,
        fields: String::new(),
        page,
        most: MOST,
        longest: LONGEST_LIST,
    }
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
    let mut known = Known::default();
    while let Some(event) = stream.next().await {
        let mut all = Vec::new();
        match event {
            watcher::Event::Init => known.begin(),
            watcher::Event::InitApply(written) | watcher::Event::Apply(written) => {
                let Some((namespace, name)) = names(resource, &written) else { continue };
                if known.insert(resource, namespace, name) {
                    all.extend(teller.there(&written));
                }
            }
            watcher::Event::Delete(written) => {
                let Some((namespace, name)) = names(resource, &written) else { continue };
                if known.remove(&namespace, &name) {
                    all.extend(teller.gone(namespace, name));
                }
            }
            watcher::Event::InitDone => {
                let gone = known.end().into_iter();
                all.extend(gone.filter_map(|(namespace, name)| teller.gone(namespace, name)));
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

/// The names of the objects that are there.
#[derive(Default)]
struct Known(BTreeMap<Name, OfNamespace>);

/// Those of one namespace.
#[derive(Default)]
struct OfNamespace {
    /// With `false` those that a listing hasn't shown yet.
    names: BTreeMap<Name, bool>,
    /// Whether it was said that there are too many.
    is_said: bool,
}

impl Known {
    /// A listing begins.
    fn begin(&mut self) {
        for of_namespace in self.0.values_mut() {
            of_namespace.names.values_mut().for_each(|is_listed| *is_listed = false);
        }
    }

    /// A listing has ended: those that are gone.
    fn end(&mut self) -> Vec<(Name, Name)> {
        let mut gone = Vec::new();
        self.0.retain(|namespace, of_namespace| {
            let unlisted = of_namespace.names.extract_if(.., |_, is_listed| !*is_listed);
            gone.extend(unlisted.map(|(name, _)| (namespace.clone(), name)));
            !of_namespace.names.is_empty()
        });
        gone
    }

    /// One is there; `false` where the namespace has too many.
    fn insert(&mut self, resource: Resource, namespace: Name, name: Name) -> bool {
        let shown = namespace.clone();
        let OfNamespace { names, is_said } = self.0.entry(namespace).or_default();
        if names.len() >= MOST_OF_NAMESPACE && !names.contains_key(&name) {
            if !std::mem::replace(is_said, true) {
                tracing::warn!(
                    workload_namespace = %shown,
                    "the namespace has more than {MOST_OF_NAMESPACE} {}: the others are as good as not there",
                    resource.written()
                );
            }
            return false;
        }
        names.insert(name, true);
        true
    }

    /// One is gone, if it was known.
    fn remove(&mut self, namespace: &Name, name: &Name) -> bool {
        let Some(of_namespace) = self.0.get_mut(namespace) else { return false };
        let is_known = of_namespace.names.remove(name).is_some();
        if of_namespace.names.is_empty() {
            self.0.remove(namespace);
        }
        is_known
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
    /// Those that ask.
    asking: BTreeSet<(Name, Name)>,
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
        if !asks(&live, self.annotations) {
            return self.gone(live.who.namespace, live.who.name);
        }
        self.asking.insert((live.who.namespace.clone(), live.who.name.clone()));
        Some(Told::Workload(live.who, Some(live.workload)))
    }

    fn gone(&mut self, namespace: Name, name: Name) -> Option<Told> {
        let (namespace, name) = self.asking.take(&(namespace, name))?;
        Some(Told::Workload(WorkloadRef { kind: self.kind, namespace, name }, None))
    }
}

/// Whether a workload asks to be rolled for anything. One that is being deleted doesn't any more: its pods aren't replaced, and what its
/// pods use may go before it does.
pub(super) fn asks(live: &Live, annotations: bool) -> bool {
    if live.is_terminating {
        return false;
    }
    let workload = &live.workload;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_that_is_being_deleted_is_gone() {
        let written = |more: &str| -> Written {
            let text = format!(
                r#"{{"metadata": {{"name": "web", "namespace": "shop", "annotations": {{"reloadlet.io/rollout": "true"}} {more}}},
                    "spec": {{"selector": {{}}, "template": {{"spec": {{"containers": [{{"name": "app"}}]}}}}}}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let mut teller = Workloads { kind: Kind::Deployment, annotations: false, asking: BTreeSet::new() };
        let going = r#", "deletionTimestamp": "2026-11-30T19:00:00Z", "finalizers": ["foregroundDeletion"]"#;
        assert!(teller.there(&written(going)).is_none(), "it was never told of");
        assert!(matches!(teller.there(&written("")), Some(Told::Workload(_, Some(_)))));
        let Some(Told::Workload(who, None)) = teller.there(&written(going)) else { panic!("it stays") };
        assert_eq!(who.to_string(), "Deployment shop/web");
        assert!(teller.gone("shop".into(), "web".into()).is_none(), "it is told once");
    }

    #[test]
    fn what_a_new_listing_doesnt_show_is_gone() {
        let mut known = Known::default();
        for name in ["a", "b", "c"] {
            assert!(known.insert(Resource::ConfigMaps, "shop".into(), name.into()));
        }
        known.begin();
        assert!(known.insert(Resource::ConfigMaps, "shop".into(), "b".into()));
        assert!(known.remove(&"shop".into(), &"c".into()) && !known.remove(&"shop".into(), &"c".into()));
        assert_eq!(known.end(), [("shop".into(), "a".into())]);
        known.begin();
        assert_eq!(known.end(), [("shop".into(), "b".into())]);
        assert!(known.0.is_empty());
    }

    #[test]
    fn a_namespace_with_too_many_names_takes_nothing_from_others() {
        let mut known = Known::default();
        let of = |n: usize| Name::from(format!("o-{n}"));
        for n in 0..MOST_OF_NAMESPACE {
            assert!(known.insert(Resource::ConfigMaps, "hostile".into(), of(n)));
        }
        assert!(!known.insert(Resource::ConfigMaps, "hostile".into(), "one-more".into()));
        assert!(known.insert(Resource::ConfigMaps, "hostile".into(), of(0)), "it is known");
        assert!(known.insert(Resource::ConfigMaps, "shop".into(), "app".into()));
    }
}
