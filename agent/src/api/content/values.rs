//! The values of an object: each becomes a digest, and is gone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::MOST_KEYS;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::digest::{self, Hasher};

/// How much of a value in base64 is decoded at a time; a multiple of four.
const BASE64_CHUNK: usize = 4096;

/// The digest of each key's value.
pub(crate) struct Values<const BASE64: bool>(pub(crate) Result<BTreeMap<Name, Digest>, Unfit>);

/// Why there are no digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// A value can't be understood.
    Garbage,
    /// There are more keys than are kept.
    TooMany,
}

impl<const BASE64: bool> Default for Values<BASE64> {
    fn default() -> Self {
        Self(Ok(BTreeMap::new()))
    }
}

impl<'de, const BASE64: bool> Deserialize<'de> for Values<BASE64> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesVisitor)
    }
}

struct ValuesVisitor<const BASE64: bool>;

impl<'de, const BASE64: bool> Visitor<'de> for ValuesVisitor<BASE64> {
    type Value = Values<BASE64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("values by their keys")
    }

    /// An error would quote it.
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Values(Err(Unfit::Garbage)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut digests = Ok(BTreeMap::new());
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            let digest = map.next_value::<ValueDigest<BASE64>>()?.0;
            digests = match (digests, digest) {
                (Ok(kept), Some(_)) if kept.len() >= MOST_KEYS => Err(Unfit::TooMany),
                (Ok(mut kept), Some(digest)) => {
                    kept.insert(Name::from(key), digest);
                    Ok(kept)
                }
                (Ok(_), None) => Err(Unfit::Garbage),
                (Err(unfit), _) => Err(unfit),
            };
        }
        Ok(Values(digests))
    }
}

struct ValueDigest<const BASE64: bool>(Option<Digest>);

impl<'de, const BASE64: bool> Deserialize<'de> for ValueDigest<BASE64> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// Takes whatever stands in a value's place: an error would quote it.
struct ValueVisitor<const BASE64: bool>;

impl<'de, const BASE64: bool> Visitor<'de> for ValueVisitor<BASE64> {
    type Value = ValueDigest<BASE64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        let digest = if BASE64 { decoded_digest(text) } else { digest::of(text.as_bytes()) };
        Ok(ValueDigest(digest))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(ValueDigest(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(ValueDigest(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(ValueDigest(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(ValueDigest(None))
    }

    /// Go writes empty bytes as null.
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(ValueDigest(digest::of(b"")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(ValueDigest(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(ValueDigest(None))
    }
}

/// The digest of what a text in base64 stands for.
fn decoded_digest(text: &str) -> Option<Digest> {
    let mut hasher = Hasher::begin()?;
    // Wiped at the end: nothing of a Secret stays on the stack.
    let mut bytes = Zeroizing::new([0; BASE64_CHUNK]);
    for chunk in text.as_bytes().chunks(BASE64_CHUNK) {
        let length = STANDARD.decode_slice(chunk, bytes.as_mut_slice()).ok()?;
        hasher.update(bytes.get(..length)?);
    }
    hasher.end()
}
