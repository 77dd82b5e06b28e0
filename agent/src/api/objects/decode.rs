//! ConfigMaps and Secrets on the wire. A value is hashed while it is decoded and never kept.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use reloadlet_core::object::{ObjectVersion, Observed};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use self::values::Values;
use crate::clock;

#[cfg(test)]
mod tests;
mod values;

/// Keeps an object from triggering anything.
const IGNORE: &str = "reloadlet.io/ignore";
/// What counts of a ConfigMap or, with `SECRET`, of a Secret.
#[derive(Clone)]
pub(super) struct Object<const SECRET: bool> {
    /// The resource version and the name, which the watch needs.
    metadata: ObjectMeta,
    /// Nothing where a value can't be understood.
    version: Option<Arc<ObjectVersion>>,
}

impl<const SECRET: bool> Object<SECRET> {
    /// What is to be said of it.
    pub(super) fn observed(self) -> Observed {
        match self.version {
            Some(version) => Observed::Version(version),
            None => {
                let (namespace, name) = (self.metadata.namespace, self.metadata.name);
                tracing::warn!(namespace, name, "a {} can't be understood", Self::kind(&()));
                Observed::Unmeasured
            }
        }
    }
}

impl<const SECRET: bool> fmt::Debug for Object<SECRET> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.metadata.namespace, self.metadata.name)
    }
}

impl<const SECRET: bool> Resource for Object<SECRET> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        if SECRET { "Secret".into() } else { "ConfigMap".into() }
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        if SECRET { "secrets".into() } else { "configmaps".into() }
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl<'de, const SECRET: bool> Deserialize<'de> for Object<SECRET> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { metadata, immutable, data, binary_data } =
            Written::<SECRET>::deserialize(deserializer)?;
        let keys = match (data.unwrap_or_default().0, binary_data.unwrap_or_default().0) {
            (Some(mut keys), Some(binary)) => {
                keys.extend(binary);
                Some(keys)
            }
            (None, _) | (_, None) => None,
        };
        let version = keys.zip(metadata.resource_version.as_deref()).map(|(keys, version)| {
            Arc::new(ObjectVersion {
                uid: metadata.uid.as_deref().unwrap_or_default().into(),
                version: version.into(),
                immutable: immutable.unwrap_or(false),
                ignored: metadata.annotations.unwrap_or_default().ignore,
                updated: metadata
                    .managed_fields
                    .unwrap_or_default()
                    .0
                    .map(|second| clock::from_wall(second, 0)),
                keys: Arc::new(keys),
            })
        });
        let metadata = ObjectMeta {
            name: metadata.name,
            namespace: metadata.namespace,
            resource_version: metadata.resource_version,
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, version })
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
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    annotations: Option<Annotations>,
    managed_fields: Option<Updated>,
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

/// When the data was last changed: the newest time among the entries of those who own some of it, in seconds of the wall
/// clock.
#[derive(Default)]
struct Updated(Option<i64>);

impl<'de> Deserialize<'de> for Updated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(UpdatedVisitor)
    }
}

struct UpdatedVisitor;

impl<'de> Visitor<'de> for UpdatedVisitor {
    type Value = Updated;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("managed fields")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut newest = None;
        while let Some(entry) = entries.next_element::<ManagedFields>()? {
            let of_data =
                entry.fields.is_some_and(|fields| fields.data.is_some() || fields.binary_data.is_some());
            let time = entry.time.filter(|_| of_data).and_then(|time| time.parse::<Timestamp>().ok());
            newest = newest.max(time.map(Timestamp::as_second));
        }
        Ok(Updated(newest))
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
