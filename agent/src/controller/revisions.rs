//! The revisions of a workload's template: the ReplicaSets of a Deployment, and the ControllerRevisions of the other kinds.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reloadlet_core::Time;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::restart;
use reloadlet_core::rollouts::workload::Kind;
use serde::{Deserialize, Deserializer};

use super::wire::Live;

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) resource_version: Option<String>,
    creation_timestamp: Option<String>,
    pub(super) deletion_timestamp: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) annotations: Option<Annotations>,
    owner_references: Option<Vec<Owner>>,
}

/// The annotations that count. Of all others, which a tenant may have as many of as an object holds, nothing is kept.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Annotations {
    /// The number that a Deployment gives to its ReplicaSets.
    #[serde(rename = "deployment.kubernetes.io/revision", deserialize_with = "short")]
    number: Option<String>,
    #[serde(rename = "reloadlet.io/rolled", deserialize_with = "short")]
    rolled: Option<String>,
    #[serde(rename = "reloadlet.io/rollout", deserialize_with = "short")]
    pub(super) rollout: Option<String>,
    #[serde(rename = "reloadlet.io/restart", deserialize_with = "short")]
    pub(super) restart: Option<String>,
}

/// A text, if it is no longer than any that counts.
fn short<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| text.len() <= restart::LONGEST))
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Owner {
    uid: String,
    controller: Option<bool>,
}

impl Meta {
    /// Whether this is its controller.
    fn is_controlled_by(&self, uid: &str) -> bool {
        let mut owners = self.owner_references.iter().flatten();
        owners.any(|owner| owner.controller == Some(true) && owner.uid == uid)
    }

    /// The ordinal of a StatefulSet's pod, which its name ends in.
    pub(super) fn ordinal(&self) -> Option<u32> {
        self.labels.as_ref()?.get(OF_STATEFUL_SET)?;
        self.name.rsplit_once('-')?.1.parse().ok()
    }

    /// When it was made.
    pub(super) fn made(&self) -> Option<Time> {
        moment(self.creation_timestamp.as_deref()?)
    }
}

/// A moment as the API server writes it, by the time since the epoch.
pub(super) fn moment(text: &str) -> Option<Time> {
    let stamp: Timestamp = text.parse().ok()?;
    Some(Time::since_boot(stamp.duration_since(Timestamp::UNIX_EPOCH).try_into().ok()?))
}

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
    metadata: Meta,
}

/// A revision of a workload's template.
pub(super) struct Revision {
    metadata: Meta,
    number: u64,
    mark: Option<Name>,
}

/// The label of a StatefulSet's pods, which is their name.
const OF_STATEFUL_SET: &str = "statefulset.kubernetes.io/pod-name";
/// The label with the revision that a pod of a StatefulSet or a DaemonSet is of.
const REVISION_HASH: &str = "controller-revision-hash";

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
    template.metadata.annotations.as_ref()?.rolled.as_deref().map(Name::from)
}

/// The revisions of one workload.
pub(super) struct Revisions {
    kind: Kind,
    /// When each was made, by what its pods name: a ReplicaSet's UID, or a ControllerRevision's hash.
    made: BTreeMap<String, Option<Time>>,
    newest: Option<String>,
    marks: Vec<Name>,
}

impl Revisions {
    /// Those of a workload among these.
    pub(super) fn of(live: &Live, all: Vec<Revision>) -> Self {
        let kind = live.who.kind;
        let own = all.into_iter().filter(|revision| revision.metadata.is_controlled_by(&live.workload.uid));
        let own: Vec<Revision> = own.collect();
        let named = |revision: &Revision| match kind {
            Kind::Deployment => revision.metadata.uid.clone(),
            // The label has the whole name for a StatefulSet, and its last part for a DaemonSet.
            Kind::StatefulSet => revision.metadata.name.clone(),
            Kind::DaemonSet => {
                let labels = revision.metadata.labels.as_ref();
                let hash = labels.and_then(|labels| labels.get(REVISION_HASH));
                hash.cloned().unwrap_or_else(|| {
                    revision.metadata.name.rsplit('-').next().unwrap_or_default().to_owned()
                })
            }
        };
        let newest = own.iter().max_by_key(|revision| revision.number).map(named);
        Self {
            kind,
            made: own.iter().map(|revision| (named(revision), revision.metadata.made())).collect(),
            newest: live.newest.clone().filter(|_| kind == Kind::StatefulSet).or(newest),
            marks: own.into_iter().filter_map(|revision| revision.mark).collect(),
        }
    }

    /// The marks in their templates.
    pub(super) fn marks(self) -> Vec<Name> {
        self.marks
    }

    /// Whether a pod is the workload's.
    pub(super) fn own(&self, live: &Live, pod: &Meta) -> bool {
        match self.kind {
            Kind::Deployment => self.made.keys().any(|uid| pod.is_controlled_by(uid)),
            Kind::StatefulSet | Kind::DaemonSet => pod.is_controlled_by(&live.workload.uid),
        }
    }

    /// When the revision was made that a pod is of, and whether it is the newest one.
    pub(super) fn of_pod(&self, pod: &Meta) -> (Option<Time>, bool) {
        let name = match self.kind {
            Kind::Deployment => self.made.keys().find(|uid| pod.is_controlled_by(uid)),
            Kind::StatefulSet | Kind::DaemonSet => {
                pod.labels.as_ref().and_then(|labels| labels.get(REVISION_HASH))
            }
        };
        let made = name.and_then(|name| self.made.get(name).copied().flatten());
        (made, name.is_some() && name == self.newest.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use reloadlet_core::policy::annotations::ROLLED;
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    const NUMBER: &str = "deployment.kubernetes.io/revision";

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
        let revisions = Revisions::of(&live, sets);
        let owns = |owner: &str| revisions.own(&live, &pod(owner, &json!({})));
        assert!(owns("old") && owns("new") && !owns("foreign") && !owns("u-1"));
        let of = |owner: &str| revisions.of_pod(&pod(owner, &json!({})));
        assert_eq!([of("old"), of("new"), of("foreign")], [(made(), false), (made(), true), (None, false)]);
        assert_eq!(revisions.marks(), ["00ff".into()]);
    }

    #[test]
    fn a_pod_of_a_stateful_set_has_an_ordinal() {
        let of = |name: &str, labels: &Value| {
            serde_json::from_value::<Meta>(json!({"name": name, "labels": labels})).unwrap().ordinal()
        };
        let label = json!({OF_STATEFUL_SET: "web-12"});
        assert_eq!(
            [of("web-12", &label), of("web-12", &json!({})), of("web", &label)],
            [Some(12), None, None]
        );
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
            let revisions = Revisions::of(&live, all);
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
