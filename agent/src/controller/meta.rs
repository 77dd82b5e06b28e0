//! What counts of an object's metadata. Whatever else a tenant writes into it, nothing of that is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use reloadlet_core::Time;
use reloadlet_core::model::restart;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The longest UID that counts, in bytes. The API server's have 36; in a reference to an owner it takes any.
const LONGEST_UID: usize = 128;
/// The longest value of a label, in bytes (apimachinery `validation.go`, `LabelValueMaxLength`).
const LONGEST_VALUE: usize = 63;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) resource_version: Option<String>,
    creation_timestamp: Option<String>,
    pub(super) deletion_timestamp: Option<IgnoredAny>,
    pub(super) labels: Labels,
    pub(super) annotations: Option<Annotations>,
    /// Its controller.
    #[serde(rename = "ownerReferences")]
    owner: Owner,
}

/// The annotations that count. Of all others, which a tenant may have as many of as an object holds, nothing is kept.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Annotations {
    /// The number that a Deployment gives to its ReplicaSets.
    #[serde(rename = "deployment.kubernetes.io/revision", deserialize_with = "short")]
    pub(super) number: Option<String>,
    #[serde(rename = "reloadlet.io/rolled", deserialize_with = "short")]
    pub(super) rolled: Option<String>,
    #[serde(rename = "reloadlet.io/rollout", deserialize_with = "short")]
    pub(super) rollout: Option<String>,
    #[serde(rename = "reloadlet.io/restart", deserialize_with = "short")]
    pub(super) restart: Option<String>,
}

/// A text, if it is no longer than any that counts.
fn short<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| text.len() <= restart::LONGEST))
}

/// Labels: those that count by themselves, and the text of all, of which others are taken that a selector names.
#[derive(Default)]
pub(super) struct Labels {
    /// The revision that a pod of a StatefulSet or a DaemonSet is of.
    pub(super) revision: Option<String>,
    /// Whether it is a pod of a StatefulSet.
    is_of_stateful_set: bool,
    text: Option<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Known {
    #[serde(rename = "controller-revision-hash")]
    revision: Option<String>,
    /// It is the pod's name.
    #[serde(rename = "statefulset.kubernetes.io/pod-name")]
    pod: Option<IgnoredAny>,
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let known: Option<Known> = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        let Known { revision, pod } = known.unwrap_or_default();
        // The name of a ControllerRevision is a label of its pods, and has as many bytes as a label's value at most.
        let revision = revision.filter(|value| value.len() <= LONGEST_VALUE);
        Ok(Self { revision, is_of_stateful_set: pod.is_some(), text: Some(text) })
    }
}

impl Labels {
    /// Those with these keys.
    pub(super) fn of(&self, keys: &BTreeSet<String>) -> Result<BTreeMap<String, String>, serde_json::Error> {
        let Some(text) = &self.text else { return Ok(BTreeMap::new()) };
        Named(keys).deserialize(&mut serde_json::Deserializer::from_str(text.get()))
    }
}

/// A map of which the values of these keys are kept.
struct Named<'a>(&'a BTreeSet<String>);

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = BTreeMap<String, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Named<'_> {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, labels: D) -> Result<Self::Value, D::Error> {
        labels.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut labels: A) -> Result<Self::Value, A::Error> {
        let mut named = BTreeMap::new();
        while let Some(key) = labels.next_key::<String>()? {
            if self.0.contains(&key) {
                named.insert(key, labels.next_value()?);
            } else {
                labels.next_value::<IgnoredAny>()?;
            }
        }
        Ok(named)
    }
}

/// Of the references to owners the one to the controller, of which the API server takes no second one: its UID.
#[derive(Default)]
struct Owner(Option<String>);

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(Owners)
    }
}

struct Owners;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reference {
    uid: String,
    controller: Option<bool>,
}

impl<'de> Visitor<'de> for Owners {
    type Value = Owner;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("references to owners")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Owner::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, references: D) -> Result<Self::Value, D::Error> {
        references.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut references: A) -> Result<Self::Value, A::Error> {
        let mut owner = None;
        while let Some(reference) = references.next_element::<Reference>()? {
            if reference.controller == Some(true) && reference.uid.len() <= LONGEST_UID {
                owner = owner.or(Some(reference.uid));
            }
        }
        Ok(Owner(owner))
    }
}

impl Meta {
    /// The UID of its controller.
    pub(super) fn controller(&self) -> Option<&str> {
        self.owner.0.as_deref()
    }

    /// The ordinal of a StatefulSet's pod, which its name ends in.
    pub(super) fn ordinal(&self) -> Option<u32> {
        self.labels.is_of_stateful_set.then_some(())?;
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_pod_of_a_stateful_set_has_an_ordinal() {
        let of = |name: &str, labels: &Value| {
            serde_json::from_value::<Meta>(json!({"name": name, "labels": labels})).unwrap().ordinal()
        };
        let label = json!({"statefulset.kubernetes.io/pod-name": "web-12"});
        assert_eq!(
            [of("web-12", &label), of("web-12", &json!({})), of("web", &label)],
            [Some(12), None, None]
        );
    }

    #[test]
    fn of_labels_and_owners_only_those_are_kept_that_count() {
        let of = |text: &str| -> Meta { serde_json::from_str(text).unwrap() };
        let meta = of(r#"{"labels": {"a": "1", "b": "2", "controller-revision-hash": "x"},
                "ownerReferences": [{"uid": "u-1"}, {"uid": "u-2", "controller": false}, {"uid": "u-3", "controller": true}]}"#);
        assert_eq!((meta.labels.revision.as_deref(), meta.controller()), (Some("x"), Some("u-3")));
        let named = meta.labels.of(&BTreeSet::from(["b".to_owned(), "c".to_owned()])).unwrap();
        assert_eq!(named, BTreeMap::from([("b".to_owned(), "2".to_owned())]));
        for nothing in ["{}", r#"{"labels": null, "ownerReferences": null}"#, r#"{"ownerReferences": []}"#] {
            let meta = of(nothing);
            assert_eq!((meta.labels.revision.as_deref(), meta.controller()), (None, None));
            assert!(meta.labels.of(&BTreeSet::from(["b".to_owned()])).unwrap().is_empty());
        }
        let long = of(&format!(
            r#"{{"labels": {{"controller-revision-hash": "{0}"}}, "ownerReferences": [{{"uid": "{0}", "controller": true}}]}}"#,
            "u".repeat(200)
        ));
        assert_eq!((long.labels.revision.as_deref(), long.controller()), (None, None));
        for garbage in [r#"{"labels": 7}"#, r#"{"labels": {"controller-revision-hash": 7}}"#] {
            assert!(serde_json::from_str::<Meta>(garbage).is_err(), "{garbage}");
        }
        assert!(of(r#"{"labels": {"a": 7}}"#).labels.of(&BTreeSet::from(["a".to_owned()])).is_err());
    }
}
