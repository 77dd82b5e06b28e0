//! Lists of ConfigMaps and Secrets on the wire.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use reloadlet_core::model::object::{MOST_KEYS, ObjectKind, ObjectVersion, Updated};
use reloadlet_core::policy::annotations::IGNORE;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::errand::{Fetched, Found};
use crate::api::content::{LastChange, Unfit, Values, second_of};
use crate::api::short;
use crate::clock;

#[cfg(test)]
mod tests;

/// Keeps an object from triggering anything.
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
        let Written { metadata, immutable, data, binary_data } =
            Written::<SECRET>::deserialize(deserializer)?;
        let keys = match (data.unwrap_or_default().0, binary_data.unwrap_or_default().0) {
            (Ok(keys), Ok(binary)) if keys.len() + binary.len() > MOST_KEYS => Err(Unfit::TooMany),
            (Ok(mut keys), Ok(binary)) => {
                keys.extend(binary);
                Ok(keys)
            }
            (Err(unfit), _) | (_, Err(unfit)) => Err(unfit),
        };
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
                        .map(clock::from_wall_second),
                }),
                keys: Arc::new(keys),
            })),
            (Err(Unfit::TooMany), _) => Found::TooLarge,
            (Err(Unfit::Garbage), _) | (Ok(_), None) => Found::Garbage,
        };
        Ok(Self(found))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written<const SECRET: bool> {
    metadata: Metadata,
    immutable: Option<bool>,
    /// A Secret's are in base64.
    data: Option<Values<SECRET>>,
    binary_data: Option<Values<true>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: Option<String>,
    resource_version: Option<String>,
    annotations: Option<Annotations>,
    creation_timestamp: Option<String>,
    managed_fields: Option<LastChange>,
}

#[derive(Default)]
struct Annotations {
    ignore: bool,
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnnotationsVisitor)
    }
}

struct AnnotationsVisitor;

impl<'de> Visitor<'de> for AnnotationsVisitor {
    type Value = Annotations;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("annotations")
    }

    /// Others are skipped: one of them may be a copy of the whole object.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut annotations = Annotations::default();
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == IGNORE {
                annotations.ignore = map.next_value::<Cow<'_, str>>()? == "true";
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(annotations)
    }
}
