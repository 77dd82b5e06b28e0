//! What ConfigMaps and Secrets hold, on the wire. A value is hashed while it is decoded and never kept.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::MOST_KEYS;
use reloadlet_core::policy::annotations::IGNORE;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

pub(crate) use values::Unfit;
use values::Values;

mod values;

/// What counts of a ConfigMap or, with `SECRET`, of a Secret.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stored<const SECRET: bool> {
    pub(crate) metadata: Metadata,
    pub(crate) immutable: Option<bool>,
    /// A Secret's are in base64.
    data: Option<Values<SECRET>>,
    binary_data: Option<Values<true>>,
}

/// What counts of its metadata.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) annotations: Option<Annotations>,
    pub(crate) creation_timestamp: Option<String>,
    pub(crate) managed_fields: Option<LastChange>,
}

impl<const SECRET: bool> Stored<SECRET> {
    /// The digests of its values, and those of a ConfigMap's `binaryData`.
    pub(crate) fn take_digests(&mut self) -> Result<(Digests, Digests), Unfit> {
        let plain = self.data.take().unwrap_or_default().0?;
        let binary = self.binary_data.take().unwrap_or_default().0?;
        if plain.len() + binary.len() > MOST_KEYS { Err(Unfit::TooMany) } else { Ok((plain, binary)) }
    }
}

/// The digest of each key's value.
pub(crate) type Digests = BTreeMap<Name, Digest>;

/// What an object's annotations say of it.
#[derive(Default)]
pub(crate) struct Annotations {
    /// Whether it is kept from triggering anything.
    pub(crate) ignore: bool,
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

/// A time in seconds of the API server's wall clock.
pub(crate) fn second_of(time: &str) -> Option<i64> {
    time.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// When the data was last changed: the newest time among the entries of those who own some of it, in seconds of the wall
/// clock.
#[derive(Default)]
pub(crate) struct LastChange(pub(crate) Option<i64>);

impl<'de> Deserialize<'de> for LastChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(LastChangeVisitor)
    }
}

struct LastChangeVisitor;

impl<'de> Visitor<'de> for LastChangeVisitor {
    type Value = LastChange;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("managed fields")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut newest = None;
        while let Some(entry) = entries.next_element::<ManagedFields>()? {
            let of_data =
                entry.fields.is_some_and(|fields| fields.data.is_some() || fields.binary_data.is_some());
            let time = entry.time.filter(|_| of_data).and_then(|time| second_of(&time));
            newest = newest.max(time);
        }
        Ok(LastChange(newest))
    }
}

#[derive(Deserialize)]
struct ManagedFields {
    time: Option<String>,
    #[serde(rename = "fieldsV1")]
    fields: Option<Fields>,
}

#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "f:data")]
    data: Option<IgnoredAny>,
    #[serde(rename = "f:binaryData")]
    binary_data: Option<IgnoredAny>,
}
