//! A running pod, or a list of them, as the API server writes it.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reloadlet_core::model::granted::Given;
use reloadlet_core::model::pod::{Pod, PodSpec};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Fault;
use super::metadata::{Metadata, Names};
use super::spec::{Outline, WrittenSpec};
use super::status::{Said, Status};
use crate::error::{ManifestError, Place};
use crate::room::{self, Kept, MOST_OBJECTS, Many, Room, ShortName};

/// Any object: what is read of it is what a pod or a list has.
pub struct Object {
    pub(crate) kind: Option<String>,
    pub(crate) items: Option<Items>,
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    pod: Result<Kept, Fault>,
}

/// The objects of a list.
#[derive(Default)]
pub(crate) struct Items {
    pub(crate) objects: Vec<Object>,
    /// There are more than [`MOST_OBJECTS`].
    pub(crate) too_many: bool,
}

/// An object as it is written.
#[derive(Default)]
struct Written {
    kind: Option<String>,
    items: Option<Items>,
    metadata: Metadata,
    spec: WrittenSpec,
    status: Status,
}

/// The fields of an object, by name.
#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    Kind,
    Items,
    Metadata,
    Spec,
    Status,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let room = Room::open();
        let mut written = Written::default();
        // The API server writes the metadata first: what asks for nothing needn't be read then.
        let mut asks = true;
        while let Some(field) = map.next_key::<Field>()? {
            match field {
                Field::Kind => written.kind = map.next_value::<Option<ShortName>>()?.map(|kind| kind.0),
                Field::Items => written.items = map.next_value()?,
                Field::Metadata => {
                    written.metadata = map.next_value::<Option<Metadata>>()?.unwrap_or_default();
                    asks = written.metadata.annotations.ask();
                }
                Field::Spec if asks => {
                    written.spec = map.next_value::<Option<WrittenSpec>>()?.unwrap_or_default();
                }
                Field::Spec => {
                    written.spec = map.next_value::<Option<Outline>>()?.unwrap_or_default().into();
                }
                Field::Status if asks => {
                    written.status = map.next_value::<Option<Status>>()?.unwrap_or_default();
                }
                Field::Status | Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(written.into_object(room.was_exceeded()))
    }
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Items, A::Error> {
        let mut items = Items::default();
        while items.objects.len() < MOST_OBJECTS {
            match sequence.next_element()? {
                Some(object) => items.objects.push(object),
                None => return Ok(items),
            }
        }
        while sequence.next_element::<IgnoredAny>()?.is_some() {
            items.too_many = true;
        }
        Ok(items)
    }
}

impl Object {
    /// What a watch needs to know of an object.
    pub fn object_meta(&self) -> ObjectMeta {
        ObjectMeta {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            resource_version: self.resource_version.clone(),
            ..ObjectMeta::default()
        }
    }

    /// The pod that this is, where it is the only one.
    pub fn into_single_pod(self) -> Result<Option<Arc<Pod>>, ManifestError> {
        match self.pod.map_err(|fault| fault.at(&Place::default()))? {
            Kept::Here(pod) => Ok(Some(Arc::new(*pod))),
            Kept::Among(_) => Ok(None),
        }
    }

    /// The pod that this is, among those of its text; `None` where there was no room for it.
    pub(crate) fn into_pod(self, at: &Place, pods: &Many) -> Result<Option<Arc<Pod>>, ManifestError> {
        match self.pod.map_err(|fault| fault.at(at))? {
            Kept::Here(pod) => Ok(Some(Arc::new(*pod))),
            Kept::Among(place) => Ok(pods.get(place)),
        }
    }
}

impl Written {
    fn into_object(self, skipped: bool) -> Object {
        let Self { kind, items, metadata, spec, status } = self;
        let [name, namespace, resource_version] =
            [&metadata.name, &metadata.namespace, &metadata.resource_version]
                .map(|field| field.as_ref().map(|name| name.0.clone()));
        let pod = into_pod(metadata, spec, status, skipped).map(room::keep);
        Object { kind, items, name, namespace, resource_version, pod }
    }
}

/// The pod that has these parts.
fn into_pod(mut metadata: Metadata, spec: WrittenSpec, status: Status, skipped: bool) -> Result<Pod, Fault> {
    let mut names = Names::default();
    let uid = metadata.uid()?;
    let name = metadata.name(&mut names)?;
    let namespace = metadata.namespace(&mut names)?.unwrap_or_else(|| "default".into());
    if !spec.has_containers() && !skipped {
        return Err(Fault::NoContainers);
    }
    let grant = metadata.annotations.grant.take();
    let mut spec = if metadata.annotations.ask() {
        spec.into_spec(metadata.annotations.relevant, skipped, &mut names)?
    } else {
        PodSpec::default()
    };
    // Where nothing is kept of the spec, the status says nothing.
    let said = if spec.containers.is_empty() {
        Said::default()
    } else {
        status.into_said(spec.host_network, &mut names)
    };
    let unrolled = !metadata.owner_references.is_rolled(&metadata.labels);
    let replica = metadata.owner_references.into_replica(metadata.labels);
    let replica = replica.filter(|_| !spec.containers.is_empty());
    let terminating = metadata.deletion_timestamp.is_some();
    let Said { ids: status, phases, addresses, stops } = said;
    let grant = grant.filter(|_| !spec.containers.is_empty());
    let given = grant.map(|text| Given::of(&text, &spec.annotations, &spec, |name| stops.get(name).copied()));
    let given = given.map(Box::new);
    forget_details(&mut spec);
    Ok(Pod { uid, namespace, name, spec, status, phases, addresses, replica, given, unrolled, terminating })
}

/// Leaves out how containers end and start: of a running pod it isn't kept, but in what it is granted.
fn forget_details(spec: &mut PodSpec) {
    (spec.restarts, spec.grace) = Default::default();
    for container in &mut spec.containers {
        (container.restarts, container.has_restart_rules) = Default::default();
        (container.has_pre_stop, container.stop) = Default::default();
    }
}
