//! What a ConfigMap or a Secret holds, as keyed digests.

use std::collections::BTreeMap;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::{ObjectKind, ObjectRef};
use reloadlet_core::rollouts::content::{Content, Value};
use serde::Deserialize;

use crate::api::content::{LastChange, Unfit, Values, second_of};
use crate::digest::Hasher;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written<const SECRET: bool> {
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
    creation_timestamp: Option<String>,
    managed_fields: Option<LastChange>,
}

/// An answer with a ConfigMap or a Secret in it.
pub(super) enum Fetched {
    ConfigMap(Box<Written<false>>),
    Secret(Box<Written<true>>),
}

impl Fetched {
    /// What the object of this name holds.
    pub(super) fn content(self, object: &ObjectRef) -> Result<Content, Unfit> {
        match self {
            Self::ConfigMap(written) => content(object, *written),
            Self::Secret(written) => content(object, *written),
        }
    }
}

fn content<const SECRET: bool>(object: &ObjectRef, written: Written<SECRET>) -> Result<Content, Unfit> {
    let Written { metadata, immutable, data, binary_data } = written;
    let mut keys = BTreeMap::new();
    let plain = data.unwrap_or_default().0?;
    let binary = binary_data.unwrap_or_default().0?;
    for (all, is_binary) in [(plain, false), (binary, true)] {
        for (key, digest) in all {
            let digest = of_key(object, &key, &digest).ok_or(Unfit::Garbage)?;
            keys.insert(key, Value { digest, is_binary });
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
        keys,
    })
}

/// What stands for the object's name, the key and its value.
fn of_key(object: &ObjectRef, key: &Name, value: &Digest) -> Option<Digest> {
    let kind = match object.kind {
        ObjectKind::ConfigMap => "configmap",
        ObjectKind::Secret => "secret",
    };
    let mut hasher = Hasher::begin()?;
    // None of the names can have such a byte.
    for name in [kind, &*object.name, &**key] {
        hasher.update(name.as_bytes());
        hasher.update(b"\0");
    }
    hasher.update(value.as_bytes());
    hasher.end()
}
