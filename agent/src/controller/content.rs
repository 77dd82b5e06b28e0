//! What a ConfigMap or a Secret holds, as keyed digests.

use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectRef;
use reloadlet_core::rollouts::content::{Content, Value};

use crate::api::content::{Stored, Unfit, second_of};
use crate::digest::Hasher;

/// An answer with a ConfigMap or a Secret in it.
pub(super) enum Fetched {
    ConfigMap(Box<Stored<false>>),
    Secret(Box<Stored<true>>),
}

impl Fetched {
    /// What the object of this name holds.
    pub(super) fn content(self, object: &ObjectRef) -> Result<Content, Unfit> {
        match self {
            Self::ConfigMap(stored) => content(object, *stored),
            Self::Secret(stored) => content(object, *stored),
        }
    }
}

fn content<const SECRET: bool>(object: &ObjectRef, mut stored: Stored<SECRET>) -> Result<Content, Unfit> {
    let mut keys = Vec::new();
    let (plain, binary) = stored.take_digests()?;
    let Stored { metadata, immutable, .. } = stored;
    for (all, is_binary) in [(plain, false), (binary, true)] {
        for (key, digest) in all {
            let digest = of_key(object, &key, &digest).ok_or(Unfit::Garbage)?;
            keys.push((key, Value { digest, is_binary }));
        }
    }
    let written = metadata.managed_fields.unwrap_or_default().0;
    // An object whose fields nobody owns was last changed when it was made, as far as is known.
    let made = metadata.creation_timestamp.and_then(|made| second_of(&made));
    let changed = written.or(made).unwrap_or_default();
    let since = Duration::from_secs(u64::try_from(changed).unwrap_or_default());
    Ok(Content {
        uid: metadata.uid.unwrap_or_default().into(),
        version: metadata.resource_version.unwrap_or_default().into(),
        is_immutable: immutable.unwrap_or(false),
        changed: Time::since_boot(since),
        is_original: made == Some(changed),
        keys: keys.into_iter().collect(),
    })
}

/// What stands for the object's name, the key and its value.
fn of_key(object: &ObjectRef, key: &Name, value: &Digest) -> Option<Digest> {
    let mut hasher = Hasher::begin()?;
    // None of the names can have such a byte.
    for name in [object.kind.as_str(), &object.name, key] {
        hasher.update(name.as_bytes());
        hasher.update(b"\0");
    }
    hasher.update(value.as_bytes());
    hasher.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reloadlet_core::model::object::{MOST_KEYS, ObjectKind};

    fn of(text: &str) -> Result<Content, Unfit> {
        let object =
            ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: "config".into() };
        Fetched::ConfigMap(Box::new(serde_json::from_str(text).unwrap())).content(&object)
    }

    #[test]
    fn what_is_binary_is_told_apart_and_its_time_is_that_of_the_data() {
        let content = of(
            r#"{"metadata": {"uid": "u-1", "resourceVersion": "7", "creationTimestamp": "2026-01-02T03:04:05Z",
                "managedFields": [{"time": "2026-01-02T03:05:00Z", "fieldsV1": {"f:metadata": {}}},
                {"time": "2026-01-02T03:04:30Z", "fieldsV1": {"f:data": {}}}]},
                "data": {"a": "same"}, "binaryData": {"b": "c2FtZQ=="}}"#,
        )
        .unwrap();
        assert_eq!((&*content.uid, &*content.version, content.is_original), ("u-1", "7", false));
        assert_eq!(content.changed, Time::since_boot(Duration::from_secs(1_767_323_070)));
        let binary: Vec<(&str, bool)> =
            content.keys.iter().map(|(key, value)| (key, value.is_binary)).collect();
        assert_eq!(binary, [("a", false), ("b", true)]);
        let digests: Vec<Digest> = content.keys.iter().map(|(_, value)| value.digest).collect();
        assert_ne!(digests[0], digests[1], "the key counts");
    }

    #[test]
    fn an_object_has_so_many_keys_in_all() {
        let half = |from: usize, count: usize| {
            (from..from + count).map(|n| format!("\"k{n}\": \"\"")).collect::<Vec<_>>().join(", ")
        };
        let with = |binary: usize| {
            of(&format!(
                "{{\"metadata\": {{}}, \"data\": {{{}}}, \"binaryData\": {{{}}}}}",
                half(0, MOST_KEYS / 2),
                half(MOST_KEYS, binary)
            ))
        };
        assert!(with(MOST_KEYS / 2).is_ok());
        assert_eq!(with(MOST_KEYS / 2 + 1).unwrap_err(), Unfit::TooMany);
    }
}
