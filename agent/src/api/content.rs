//! What ConfigMaps and Secrets hold, on the wire. A value is hashed while it is decoded and never kept.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

pub(crate) use values::{Unfit, Values};

mod values;

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
