//! A pod's annotations as they are written, which is not always as strings.

use std::fmt;

use reloadlet_core::model::excess::Part;
use reloadlet_core::model::pod::{AnnotationValue, Annotations};
use reloadlet_core::model::restart::LONGEST;
use reloadlet_core::policy::annotations::{RESTART, asks, is_relevant};
use reloadlet_core::policy::reloader;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::room::take;

/// The annotations that count; the values of others (some are as large as the pod) are skipped.
/// With `OTHERS` those of other programs count, too, that tell what becomes of a change.
#[derive(Default)]
pub(super) struct WrittenAnnotations<const OTHERS: bool> {
    pub(super) relevant: Annotations,
    pub(super) others: Annotations,
    /// The text of a grant, whatever it says; empty for one that is no text or too long.
    pub(super) grant: Option<String>,
    asks: bool,
}

/// Whether an annotation is another program's and tells what becomes of a change.
fn is_others(key: &str) -> bool {
    key.starts_with("checksum/") || reloader::is_relevant(key)
}

impl<const OTHERS: bool> WrittenAnnotations<OTHERS> {
    /// Whether one of them asks for something.
    pub(super) fn ask(&self) -> bool {
        self.asks
    }
}

impl<'de, const OTHERS: bool> Deserialize<'de> for WrittenAnnotations<OTHERS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnnotationsVisitor)
    }
}

struct AnnotationsVisitor<const OTHERS: bool>;

impl<'de, const OTHERS: bool> Visitor<'de> for AnnotationsVisitor<OTHERS> {
    type Value = WrittenAnnotations<OTHERS>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("annotations")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut annotations = WrittenAnnotations::default();
        while let Some(key) = map.next_key::<String>()? {
            if key == RESTART {
                annotations.grant = Some(map.next_value::<WrittenGrant>()?.0);
                continue;
            }
            let is_ours = is_relevant(&key);
            annotations.asks |= is_ours && asks(&key);
            // One too many is enough to know that they are.
            if is_ours && annotations.relevant.len() <= Part::Annotations.most() && take(key.len()) {
                annotations.relevant.insert(key, map.next_value::<WrittenValue>()?.0);
            } else if OTHERS
                && is_others(&key)
                && annotations.others.len() < Part::Annotations.most()
                && take(key.len())
            {
                annotations.others.insert(key, map.next_value::<WrittenValue>()?.0);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(annotations)
    }
}

/// The text of a grant. It takes no room from the pod: what is no text, or too long for a grant, isn't kept.
struct WrittenGrant(String);

impl<'de> Deserialize<'de> for WrittenGrant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GrantVisitor).map(Self)
    }
}

struct GrantVisitor;

impl<'de> Visitor<'de> for GrantVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a grant")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(if text.len() <= LONGEST { text.to_owned() } else { String::new() })
    }

    fn visit_bool<E>(self, _: bool) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_i64<E>(self, _: i64) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_u64<E>(self, _: u64) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_f64<E>(self, _: f64) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<String, A::Error> {
        ValueVisitor.visit_seq(items).map(|_| String::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<String, A::Error> {
        ValueVisitor.visit_map(entries).map(|_| String::new())
    }
}

/// The value of an annotation, whatever its type is.
pub(super) struct WrittenValue(pub(super) AnnotationValue);

impl WrittenValue {
    fn other(text: impl fmt::Display) -> Self {
        Self(AnnotationValue::NotText(text.to_string()))
    }
}

impl<'de> Deserialize<'de> for WrittenValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = WrittenValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an annotation's value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        let text = if take(text.len()) { text.to_owned() } else { String::new() };
        Ok(WrittenValue(AnnotationValue::Text(text)))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(WrittenValue::other(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(WrittenValue::other(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(WrittenValue::other(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(WrittenValue::other(value))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(WrittenValue::other("null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(WrittenValue::other("[…]"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(WrittenValue::other("{…}"))
    }
}
