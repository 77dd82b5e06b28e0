//! The pods of this node, as the API server has them. What is handed on is always all of them: a lost message is made
//! up for by the next one.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher;
use reloadlet_core::Event;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::pod::Pod;
use reloadlet_core::policy::crowd::Crowd;
use serde::{Deserialize, Deserializer};

use super::cluster::Cluster;
use super::watch::{self, Followed, Form, Versioned};
use crate::contact;
use crate::inbox::{Inbound, Inbox, ROOM_PAUSE};
use reloadlet_manifest::{self as manifest, Claimed, ManifestError, Object};

/// The pods of all namespaces.
const PODS: &str = "/api/v1/pods";
/// How many pods, and how many pages, a list has at most. No node has as many.
const MOST_LISTED: usize = 10_000;
/// How long a list takes at most. A thousand pages take some ten seconds.
const LONGEST_LIST: Duration = Duration::from_secs(120);
/// How many pods the API server sends at a time. A pod has 1.5 MB at most, and a page is in memory as a whole.
const PAGE: u32 = 10;
/// Pods that have ended have no process. They are left to stand by the thousand (kube-controller-manager's
/// `--terminated-pod-gc-threshold`), and anybody can have a kubelet refuse as many as they like by naming its node.
const RUNNING: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Follows the pods of a node for as long as the agent runs.
pub(crate) async fn follow(cluster: Cluster, node: &str, inbox: &Inbox) {
    let mut stream = pin!(watch::follow::<ApiPod>(Followed {
        cluster,
        resource: contact::Resource::Pods,
        path: PODS.to_owned(),
        form: Form::Whole,
        fields: format!("spec.nodeName={node},{RUNNING}"),
        page: PAGE,
        most: MOST_LISTED,
        longest: LONGEST_LIST,
    }));
    let mut pods = Pods::default();
    loop {
        let waits = pods.changed;
        let event = tokio::select! {
            event = stream.next() => event,
            () = tokio::time::sleep(ROOM_PAUSE), if waits => {
                pods.hand_over(inbox);
                continue;
            }
        };
        let Some(event) = event else { return };
        pods.take(event);
        pods.hand_over(inbox);
    }
}

/// What makes a pod on the API server one object: its namespace and its name. By its UID one could stand for another.
type Key = (Name, Name);

fn key(pod: &Pod) -> Key {
    (pod.namespace.clone(), pod.name.clone())
}

/// The pods as far as they are known.
#[derive(Debug, Default)]
struct Pods {
    /// Those that ask for something.
    known: Crowd<Key>,
    /// A listing on its way.
    listing: Crowd<Key>,
    /// UIDs that several pods claim, as it was said.
    claimed: Vec<Claimed>,
    listed: bool,
    /// The loop doesn't know of the newest state.
    changed: bool,
}

impl Pods {
    fn take(&mut self, event: watcher::Event<ApiPod>) {
        match event {
            watcher::Event::Init => self.listing = Crowd::default(),
            watcher::Event::InitApply(pod) => {
                if let Some(pod) = pod.readable().filter(|pod| pod.spec.asks()) {
                    // Most are what they were, and are kept once.
                    let key = key(&pod);
                    let same = self.known.get(&key).filter(|known| **known == pod);
                    self.listing.insert(key, same.cloned().unwrap_or(pod));
                }
            }
            watcher::Event::InitDone => {
                self.known = std::mem::take(&mut self.listing);
                self.listed = true;
                self.changed = true;
            }
            watcher::Event::Apply(pod) => {
                let Some(pod) = pod.readable() else { return };
                self.changed |= if pod.spec.asks() {
                    self.known.insert(key(&pod), pod)
                } else {
                    self.known.remove(&key(&pod)).is_some()
                };
            }
            watcher::Event::Delete(pod) => {
                if let Some(pod) = pod.readable() {
                    self.changed |= self.known.remove(&key(&pod)).is_some();
                }
            }
        }
    }

    fn hand_over(&mut self, inbox: &Inbox) {
        if self.listed && self.changed {
            let served = self.served();
            self.changed = !inbox.try_send(Inbound::Event(Event::PodsSynced(served)));
        }
    }

    /// The pods whose UID is theirs alone. The others are said once.
    fn served(&mut self) -> Vec<Arc<Pod>> {
        let (served, claimed) = manifest::sort_out(self.known.pods().cloned().collect());
        for new in claimed.iter().filter(|claimed| !self.claimed.contains(claimed)) {
            tracing::warn!("on the API server {new}");
        }
        self.claimed = claimed;
        served
    }
}

/// A pod on the wire. Only what counts of it is decoded: measured with 110 pods, the generated type took 3 MB more.
#[derive(Clone)]
pub(crate) struct ApiPod {
    /// The resource version and the name, which the watch needs.
    metadata: ObjectMeta,
    pod: Result<Option<Arc<Pod>>, ManifestError>,
}

impl ApiPod {
    /// The pod; one that can't be understood is said, and left alone.
    fn readable(self) -> Option<Arc<Pod>> {
        match self.pod {
            Ok(pod) => pod,
            Err(error) => {
                let (namespace, name) = (self.metadata.namespace, self.metadata.name);
                tracing::warn!(namespace, pod = name, "a pod is left alone: {error}");
                None
            }
        }
    }
}

impl fmt::Debug for ApiPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.metadata.namespace, self.metadata.name)
    }
}

impl<'de> Deserialize<'de> for ApiPod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Object::deserialize(deserializer)?;
        let metadata = object.object_meta();
        Ok(Self { metadata, pod: object.into_single_pod() })
    }
}

impl Versioned for ApiPod {
    fn version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    fn api_pod(patch: &str) -> ApiPod {
        let text = format!(
            r#"{{"metadata": {{"name": "web", "namespace": "shop", "uid": "{UID}", "resourceVersion": "7",
                 "managedFields": [{{"manager": "x"}}] {patch}}},
                 "spec": {{"containers": [{{"name": "app"}}]}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn annotated(value: &str) -> ApiPod {
        api_pod(&format!(r#", "annotations": {{"reloadlet.io/signal": "{value}"}}"#))
    }

    fn names(pods: &Pods) -> Vec<&str> {
        pods.known.pods().map(|pod| &*pod.name).collect()
    }

    #[test]
    fn a_pod_keeps_the_version_that_the_watch_goes_on_from() {
        let pod = api_pod("");
        assert_eq!(pod.version(), Some("7"));
        assert_eq!(&*pod.readable().unwrap().namespace, "shop");
    }

    #[test]
    fn a_pod_that_cant_be_understood_doesnt_break_the_listing() {
        let broken: ApiPod = serde_json::from_str(r#"{"metadata": {"name": "x"}, "spec": {}}"#).unwrap();
        let mut pods = Pods::default();
        for event in [
            watcher::Event::Init,
            watcher::Event::InitApply(broken),
            watcher::Event::InitApply(annotated("HUP")),
            watcher::Event::InitDone,
        ] {
            pods.take(event);
        }
        assert!(pods.changed && pods.listed);
        assert_eq!(names(&pods), ["web"]);
    }

    #[test]
    fn a_new_listing_replaces_what_was_known_only_when_it_is_complete() {
        let mut pods = Pods::default();
        for event in
            [watcher::Event::Init, watcher::Event::InitApply(annotated("HUP")), watcher::Event::InitDone]
        {
            pods.take(event);
        }
        pods.take(watcher::Event::Init);
        assert_eq!(names(&pods), ["web"], "a listing that is cut off takes nothing away");
        pods.take(watcher::Event::InitDone);
        assert!(names(&pods).is_empty());
    }

    /// A pod whose owner names another one's UID wherever a pod's owner can write.
    fn evil(uid: &str) -> ApiPod {
        let text = format!(
            r#"{{"metadata": {{"name": "evil", "namespace": "attic", "uid": "{uid}", "annotations": {{
                 "reloadlet.io/signal": "TERM", "reloadlet.io/unhandled": "send",
                 "kubernetes.io/config.hash": "{UID}", "kubernetes.io/config.mirror": "{UID}"}}}},
                 "spec": {{"containers": [{{"name": "app"}}]}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn served(pods: &mut Pods) -> Vec<String> {
        pods.served().iter().map(|pod| format!("{} {}", pod.name, pod.uid)).collect()
    }

    #[test]
    fn a_pod_that_names_anothers_uid_takes_neither_its_place_nor_it_away() {
        let own = "7f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        let (victim, evil_one) = (format!("web {UID}"), format!("evil {own}"));
        let mut pods = Pods { listed: true, ..Pods::default() };
        pods.take(watcher::Event::Apply(annotated("HUP")));
        pods.take(watcher::Event::Apply(evil(own)));
        assert_eq!(served(&mut pods), [evil_one.clone(), victim.clone()]);
        pods.take(watcher::Event::Delete(evil(own)));
        assert_eq!(served(&mut pods), std::slice::from_ref(&victim));
        for event in [
            watcher::Event::Init,
            watcher::Event::InitApply(annotated("HUP")),
            watcher::Event::InitApply(evil(own)),
            watcher::Event::InitDone,
        ] {
            pods.take(event);
        }
        assert_eq!(served(&mut pods), [evil_one, victim]);
    }

    #[test]
    fn a_uid_that_two_pods_claim_is_served_for_neither_until_one_is_left() {
        let mut pods = Pods { listed: true, ..Pods::default() };
        pods.take(watcher::Event::Apply(annotated("HUP")));
        pods.take(watcher::Event::Apply(evil(UID)));
        assert_eq!(served(&mut pods), Vec::<String>::new());
        assert_eq!(pods.claimed.len(), 1);
        pods.take(watcher::Event::Delete(evil(UID)));
        assert!(pods.changed);
        assert_eq!(served(&mut pods), [format!("web {UID}")]);
        assert!(pods.claimed.is_empty());
    }

    #[test]
    fn a_status_that_says_nothing_new_is_not_handed_on() {
        let mut pods = Pods { listed: true, ..Pods::default() };
        pods.take(watcher::Event::Apply(annotated("HUP")));
        assert!(std::mem::take(&mut pods.changed));
        pods.take(watcher::Event::Apply(annotated("HUP")));
        assert!(!pods.changed);
        let nudged = r#", "annotations": {"reloadlet.io/signal": "HUP", "reloadlet.io/observed": "9f2c"}"#;
        pods.take(watcher::Event::Apply(api_pod(nudged)));
        assert!(!pods.changed, "the agent's own nudge");
        pods.take(watcher::Event::Apply(annotated("USR1")));
        assert!(std::mem::take(&mut pods.changed));
        pods.take(watcher::Event::Delete(annotated("USR1")));
        assert!(pods.changed && names(&pods).is_empty());
    }

    #[test]
    fn only_pods_that_ask_for_something_are_known() {
        let mut pods = Pods { listed: true, ..Pods::default() };
        pods.take(watcher::Event::Apply(api_pod("")));
        assert!(!pods.changed && names(&pods).is_empty());
        pods.take(watcher::Event::Apply(annotated("HUP")));
        assert!(std::mem::take(&mut pods.changed));
        pods.take(watcher::Event::Apply(api_pod("")));
        assert!(pods.changed && names(&pods).is_empty(), "it asks for nothing any more");
    }

    #[test]
    fn a_pod_that_is_the_same_in_a_new_listing_is_kept_once() {
        let mut pods = Pods::default();
        let list = |pods: &mut Pods| {
            pods.take(watcher::Event::Init);
            pods.take(watcher::Event::InitApply(annotated("HUP")));
            pods.take(watcher::Event::InitDone);
            pods.known.pods().next().unwrap().clone()
        };
        let (first, second) = (list(&mut pods), list(&mut pods));
        assert!(Arc::ptr_eq(&first, &second));
    }
}
