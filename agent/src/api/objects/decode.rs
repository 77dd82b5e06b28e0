//! Lists of ConfigMaps and Secrets on the wire.

use std::sync::Arc;

use reloadlet_core::model::object::{ObjectKind, ObjectVersion, Updated};
use serde::{Deserialize, Deserializer};

use super::errand::{Fetched, Found};
use crate::api::content::{Stored, Unfit, second_of};
use crate::api::short;
use crate::clock;

#[cfg(test)]
mod tests;

/// A watch from this version on begins with what is there.
const FROM_WHAT_IS_THERE: &str = "0";

/// A list of at most one object of this kind.
pub(super) fn list(kind: ObjectKind, text: &[u8]) -> Result<Fetched, String> {
    let list = match kind {
        ObjectKind::ConfigMap => serde_json::from_slice::<List<false>>(text).map(List::fetched),
        ObjectKind::Secret => serde_json::from_slice::<List<true>>(text).map(List::fetched),
    };
    list.map_err(|error| short(&error.to_string()))?.ok_or_else(|| "it is no list with a version".to_owned())
}

/// An object of which not even the list could be read.
pub(super) fn too_large() -> Fetched {
    Fetched { version: FROM_WHAT_IS_THERE.into(), found: Found::TooLarge }
}

#[derive(Deserialize)]
struct List<const SECRET: bool> {
    #[serde(default)]
    metadata: ListMetadata,
    /// A list without items may have none, or null.
    items: Option<Vec<Object<SECRET>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListMetadata {
    resource_version: Option<String>,
}

impl<const SECRET: bool> List<SECRET> {
    fn fetched(self) -> Option<Fetched> {
        let version = self.metadata.resource_version.filter(|version| !version.is_empty())?.into();
        let first = self.items.unwrap_or_default().into_iter().next();
        Some(Fetched { version, found: first.map_or(Found::Absent, |object| object.0) })
    }
}

/// What counts of a ConfigMap or, with `SECRET`, of a Secret.
struct Object<const SECRET: bool>(Found);

impl<'de, const SECRET: bool> Deserialize<'de> for Object<SECRET> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut stored = Stored::<SECRET>::deserialize(deserializer)?;
        let keys = stored.take_digests().map(|(mut keys, binary)| {
            keys.extend(binary);
            keys
        });
        let Stored { metadata, immutable, .. } = stored;
        let found = match (keys, metadata.resource_version) {
            (Ok(keys), Some(version)) => Found::Version(Arc::new(ObjectVersion {
                uid: metadata.uid.unwrap_or_default().into(),
                version: version.into(),
                immutable: immutable.unwrap_or(false),
                ignored: metadata.annotations.unwrap_or_default().ignore,
                updated: metadata.managed_fields.unwrap_or_default().0.map(|second| Updated {
                    written: clock::from_wall_second(second),
                    between: None,
                    made: metadata
                        .creation_timestamp
                        .and_then(|made| second_of(&made))
                        .map(clock::from_wall_second)
                        .map(|made| (made, made)),
                }),
                keys: Arc::new(keys),
            })),
            (Err(Unfit::TooMany), _) => Found::TooLarge,
            (Err(Unfit::Garbage), _) | (Ok(_), None) => Found::Garbage,
        };
        Ok(Self(found))
    }
}
