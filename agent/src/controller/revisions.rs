//! The revisions of a workload's template: the ReplicaSets of a Deployment, and the ControllerRevisions of the other kinds.

use std::collections::{BTreeMap, BTreeSet};

use reloadlet_core::Time;
use reloadlet_core::model::names::Name;
use reloadlet_core::rollouts::workload::Kind;
use serde::Deserialize;

use super::meta::{Annotations, Meta};
use super::wire::Live;

/// The longest mark, in bytes: more than any has that the controller makes.
const LONGEST_MARK: usize = 64;

/// A ReplicaSet.
#[derive(Deserialize)]
pub(super) struct ReplicaSet {
    metadata: Meta,
    #[serde(default)]
    spec: WithTemplate,
}

/// A revision of a StatefulSet or a DaemonSet: in its data is what of the template it stands for.
#[derive(Deserialize)]
pub(super) struct ControllerRevision {
    metadata: Meta,
    #[serde(default)]
    revision: u64,
    #[serde(default)]
    data: Patch,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Patch {
    spec: WithTemplate,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WithTemplate {
    template: Template,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Template {
    metadata: Annotated,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotated {
    annotations: Option<Annotations>,
}

/// A revision of a workload's template.
pub(super) struct Revision {
    metadata: Meta,
    number: u64,
    mark: Option<Name>,
}

impl From<ReplicaSet> for Revision {
    fn from(set: ReplicaSet) -> Self {
        let number = set.metadata.annotations.as_ref().and_then(|all| all.number.as_ref()?.parse().ok());
        Self { mark: mark(&set.spec.template), number: number.unwrap_or_default(), metadata: set.metadata }
    }
}

impl From<ControllerRevision> for Revision {
    fn from(revision: ControllerRevision) -> Self {
        let ControllerRevision { metadata, revision: number, data } = revision;
        Self { mark: mark(&data.spec.template), number, metadata }
    }
}

fn mark(template: &Template) -> Option<Name> {
    let mark = template.metadata.annotations.as_ref()?.rolled.as_deref()?;
    (mark.len() <= LONGEST_MARK).then(|| mark.into())
}

/// The revisions of one workload.
pub(super) struct Revisions {
    kind: Kind,
    /// The workload's UID.
    uid: Name,
    /// When each was made, by what its pods name: a ReplicaSet's UID, or a ControllerRevision's hash.
    made: BTreeMap<String, Option<Time>>,
    /// The newest one, if the workload itself says which one that is.
    said: Option<String>,
    /// The one with the highest number, the last of them, with that number.
    newest: Option<(u64, String)>,
    marks: BTreeSet<Name>,
}

impl Revisions {
    /// None yet, of a workload.
    pub(super) fn of(live: &Live) -> Self {
        let kind = live.who.kind;
        Self {
            kind,
            uid: live.workload.uid.clone(),
            made: BTreeMap::new(),
            said: live.newest.clone().filter(|_| kind == Kind::StatefulSet),
            newest: None,
            marks: BTreeSet::new(),
        }
    }

    /// Keeps what counts of one, if it is the workload's.
    pub(super) fn take(&mut self, revision: Revision) {
        let Revision { metadata, number, mark } = revision;
        if metadata.controller() != Some(&*self.uid) {
            return;
        }
        let made = metadata.made();
        let named = match self.kind {
            Kind::Deployment => metadata.uid,
            // The label has the whole name for a StatefulSet, and its last part for a DaemonSet.
            Kind::StatefulSet => metadata.name,
            Kind::DaemonSet => {
                let last = || metadata.name.rsplit('-').next().unwrap_or_default().to_owned();
                metadata.labels.revision.unwrap_or_else(last)
            }
        };
        if self.newest.as_ref().is_none_or(|(highest, _)| number >= *highest) {
            self.newest = Some((number, named.clone()));
        }
        self.made.insert(named, made);
        self.marks.extend(mark);
    }

    /// The marks in their templates.
    pub(super) fn marks(self) -> Vec<Name> {
        self.marks.into_iter().collect()
    }

    /// Whether a pod is the workload's.
    pub(super) fn own(&self, pod: &Meta) -> bool {
        let owner = pod.controller();
        match self.kind {
            Kind::Deployment => owner.is_some_and(|owner| self.made.contains_key(owner)),
            Kind::StatefulSet | Kind::DaemonSet => owner == Some(&*self.uid),
        }
    }

    /// When the revision was made that a pod is of, and whether it is the newest one.
    pub(super) fn of_pod(&self, pod: &Meta) -> (Option<Time>, bool) {
        let name = match self.kind {
            Kind::Deployment => pod.controller().filter(|owner| self.made.contains_key(*owner)),
            Kind::StatefulSet | Kind::DaemonSet => pod.labels.revision.as_deref(),
        };
        let newest = self.said.as_deref().or(self.newest.as_ref().map(|(_, named)| named.as_str()));
        let made = name.and_then(|name| self.made.get(name).copied().flatten());
        (made, name.is_some() && name == newest)
    }
}

#[cfg(test)]
mod tests {
    use reloadlet_core::policy::annotations::ROLLED;
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    const NUMBER: &str = "deployment.kubernetes.io/revision";
    const REVISION_HASH: &str = "controller-revision-hash";

    fn revisions(live: &Live, all: Vec<Revision>) -> Revisions {
        let mut revisions = Revisions::of(live);
        all.into_iter().for_each(|revision| revisions.take(revision));
        revisions
    }

    fn live(kind: Kind, newest: Option<&str>) -> Live {
        let text = json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1"},
            "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "app"}]}}},
            "status": {"updateRevision": newest},
        });
        Live::read(kind, &text.to_string()).unwrap()
    }

    fn owned_by(uid: &str) -> Value {
        json!([{"uid": "another", "controller": false}, {"uid": uid, "controller": true}])
    }

    fn pod(owner: &str, labels: &Value) -> Meta {
        serde_json::from_value(json!({"name": "p", "labels": labels, "ownerReferences": owned_by(owner)}))
            .unwrap()
    }

    fn made() -> Option<Time> {
        Some(Time::since_boot(Duration::from_secs(1_767_323_040)))
    }

    #[test]
    fn a_deployments_pods_are_those_of_its_replica_sets() {
        let set = |uid: &str, owner: &str, number: &str, mark: Option<&str>| -> Revision {
            let set = json!({
                "metadata": {"name": uid, "uid": uid, "creationTimestamp": "2026-01-02T03:04:00Z",
                    "annotations": {NUMBER: number}, "ownerReferences": owned_by(owner)},
                "spec": {"template": {"metadata": {"annotations": {ROLLED: mark}}}},
            });
            // An annotation is a string, or it isn't there.
            let text = set.to_string().replace(&format!("{{\"{ROLLED}\":null}}"), "{}");
            serde_json::from_str::<ReplicaSet>(&text).unwrap().into()
        };
        let live = live(Kind::Deployment, None);
        let sets = vec![
            set("old", "u-1", "9", None),
            set("new", "u-1", "10", Some("00ff")),
            set("foreign", "u-2", "11", Some("ffff")),
        ];
        let revisions = revisions(&live, sets);
        let owns = |owner: &str| revisions.own(&pod(owner, &json!({})));
        assert!(owns("old") && owns("new") && !owns("foreign") && !owns("u-1"));
        let of = |owner: &str| revisions.of_pod(&pod(owner, &json!({})));
        assert_eq!([of("old"), of("new"), of("foreign")], [(made(), false), (made(), true), (None, false)]);
        assert_eq!(revisions.marks(), ["00ff".into()]);
    }

    #[test]
    fn the_pods_of_other_kinds_name_their_revision() {
        let revision = |name: &str, number: u64, labels: &Value| -> Revision {
            let revision = json!({
                "metadata": {"name": name, "labels": labels, "creationTimestamp": "2026-01-02T03:04:00Z",
                    "ownerReferences": owned_by("u-1")},
                "revision": number,
                "data": {"spec": {"template": {"metadata": {"annotations": {ROLLED: name}}}}},
            });
            serde_json::from_value::<ControllerRevision>(revision).unwrap().into()
        };
        let is_current = |kind, newest, label: &str| {
            let live = live(kind, newest);
            let labels = json!({REVISION_HASH: "bbb"});
            let all = vec![revision("web-aaa", 1, &json!({})), revision("web-bbb", 2, &labels)];
            let revisions = revisions(&live, all);
            assert_eq!(revisions.marks.len(), 2);
            let (revision, is_current) = revisions.of_pod(&pod("u-1", &json!({REVISION_HASH: label})));
            assert_eq!(revision, made(), "{label}");
            is_current
        };
        assert!(is_current(Kind::DaemonSet, None, "bbb") && !is_current(Kind::DaemonSet, None, "aaa"));
        assert!(is_current(Kind::StatefulSet, Some("web-bbb"), "web-bbb"));
        // What it says itself counts: a revision that was gone back to has a lower number for a moment.
        assert!(is_current(Kind::StatefulSet, Some("web-aaa"), "web-aaa"));
    }
}
