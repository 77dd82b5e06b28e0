//! The parts of a manifest that count, as they are written.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reloadlet_core::model::excess::{self, Excess};
use reloadlet_core::model::names::{ContainerId, Name, PodUid};
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::pod::{
    Container, ContainerKind, EnvironmentSource, Item, ObjectSource, Pod, ProjectedSource, Volume,
    VolumeMount, VolumeSource,
};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::annotations::WrittenAnnotations;
use super::room::{self, Few, Kept, Many, Part, Room, ShortName, Words, cut};
use super::{ManifestError, Place};

/// The most objects of a text: no node has as many pods.
pub(super) const MOST_OBJECTS: usize = 10_000;

/// Any object: what is read of it is what a pod or a list has.
pub struct Object {
    pub(super) kind: Option<String>,
    pub(super) items: Option<Items>,
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    pod: Result<Kept, Fault>,
}

/// The objects of a list.
#[derive(Default)]
pub(crate) struct Items {
    pub(super) objects: Vec<Object>,
    /// There are more than [`MOST_OBJECTS`].
    pub(super) too_many: bool,
}

/// Why an object is no pod that can be followed.
enum Fault {
    NoContainers,
    Name { field: &'static str, value: Option<String> },
    Uid { value: Option<String> },
}

impl Fault {
    fn at(self, at: &Place) -> ManifestError {
        let at = at.clone();
        match self {
            Self::NoContainers => ManifestError::NoContainers { at },
            Self::Name { field, value } => ManifestError::Name { at, field, value },
            Self::Uid { value } => ManifestError::Uid { at, value },
        }
    }
}

/// An object as it is written.
#[derive(Default)]
struct Written {
    kind: Option<String>,
    items: Option<Items>,
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<ShortName>,
    namespace: Option<ShortName>,
    uid: Option<ShortName>,
    #[serde(deserialize_with = "or_default")]
    annotations: WrittenAnnotations,
    resource_version: Option<ShortName>,
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(deserialize_with = "or_default")]
    containers: Few<WrittenContainer>,
    #[serde(deserialize_with = "or_default")]
    init_containers: Few<WrittenContainer>,
    #[serde(deserialize_with = "or_default")]
    volumes: Few<WrittenVolume>,
    runtime_class_name: Option<Words>,
    /// Whether there are containers that weren't read.
    #[serde(skip)]
    has_containers: bool,
}

/// What is read of the spec of a pod that asks for nothing.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Outline {
    #[serde(deserialize_with = "or_default")]
    containers: Few<Something>,
}

/// Something that isn't empty.
#[derive(serde::Deserialize)]
struct Something {}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenContainer {
    name: Option<Words>,
    restart_policy: Option<Words>,
    #[serde(deserialize_with = "or_default")]
    volume_mounts: Few<WrittenMount>,
    #[serde(deserialize_with = "or_default")]
    env: Few<WrittenVariable>,
    #[serde(deserialize_with = "or_default")]
    env_from: Few<WrittenVariables>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenVariable {
    #[serde(deserialize_with = "or_default")]
    value_from: WrittenValue,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenValue {
    config_map_key_ref: Option<KeyRef>,
    secret_key_ref: Option<KeyRef>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenVariables {
    config_map_ref: Option<KeyRef>,
    secret_ref: Option<KeyRef>,
}

/// An object, and one of its keys where it is a key that is meant.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct KeyRef {
    name: Option<Words>,
    key: Option<Words>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenMount {
    name: Option<Words>,
    sub_path: Option<Words>,
    sub_path_expr: Option<Words>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenVolume {
    name: Option<Words>,
    config_map: Option<Source>,
    secret: Option<SecretSource>,
    projected: Option<Projected>,
    #[serde(rename = "downwardAPI")]
    downward_api: Option<IgnoredAny>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Projected {
    #[serde(deserialize_with = "or_default")]
    sources: Few<WrittenSource>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenSource {
    config_map: Option<Source>,
    secret: Option<Source>,
    #[serde(rename = "downwardAPI")]
    downward_api: Option<Source>,
    service_account_token: Option<Paths>,
    cluster_trust_bundle: Option<Paths>,
    pod_certificate: Option<Paths>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Source {
    name: Option<Words>,
    #[serde(deserialize_with = "or_default")]
    items: Few<Paths>,
    optional: Option<bool>,
}

/// A Secret volume names its Secret with another word than a projected one's source.
#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SecretSource {
    secret_name: Option<Words>,
    #[serde(deserialize_with = "or_default")]
    items: Few<Paths>,
    optional: Option<bool>,
}

/// The paths that an item or a source writes.
#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Paths {
    key: Option<Words>,
    path: Option<Words>,
    credential_bundle_path: Option<Words>,
    key_path: Option<Words>,
    certificate_chain_path: Option<Words>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    #[serde(deserialize_with = "or_default")]
    container_statuses: Few<ContainerStatus>,
    #[serde(deserialize_with = "or_default")]
    init_container_statuses: Few<ContainerStatus>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct ContainerStatus {
    name: Option<Words>,
    #[serde(rename = "containerID")]
    container_id: Option<Words>,
}

impl Part for Something {}
impl Part for WrittenContainer {}
impl Part for WrittenMount {}
impl Part for WrittenVolume {}
impl Part for WrittenSource {}
impl Part for Paths {}
impl Part for ContainerStatus {}

/// Most variables are plain, and as long as their owners want.
impl Part for WrittenVariable {
    fn counts(&self) -> bool {
        self.value_from.config_map_key_ref.is_some() || self.value_from.secret_key_ref.is_some()
    }
}

impl Part for WrittenVariables {
    fn counts(&self) -> bool {
        self.config_map_ref.is_some() || self.secret_ref.is_some()
    }
}

/// Go writes what is empty as `null` in places.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
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
                Field::Spec if asks => written.spec = map.next_value::<Option<Spec>>()?.unwrap_or_default(),
                Field::Spec => {
                    let outline = map.next_value::<Option<Outline>>()?.unwrap_or_default();
                    written.spec.has_containers = outline.containers.len() > 0;
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
        match self.pod.map_err(|fault| fault.at(&Place { document: None, item: None }))? {
            Kept::Here(pod) => Ok(Some(Arc::new(*pod))),
            Kept::Among(_) => Ok(None),
        }
    }

    /// The pod that this is, among those of its text; `None` where there was no room for it.
    pub(super) fn into_pod(self, at: &Place, pods: &Many) -> Result<Option<Arc<Pod>>, ManifestError> {
        match self.pod.map_err(|fault| fault.at(at))? {
            Kept::Here(pod) => Ok(Some(Arc::new(*pod))),
            Kept::Among(place) => Ok(pods.get(place)),
        }
    }
}

impl Written {
    fn into_object(self, exceeded: bool) -> Object {
        let Self { kind, items, metadata, spec, status } = self;
        let [name, namespace, resource_version] =
            [&metadata.name, &metadata.namespace, &metadata.resource_version]
                .map(|field| field.as_ref().map(|name| name.0.clone()));
        let pod = into_pod(metadata, spec, status, exceeded).map(room::keep);
        Object { kind, items, name, namespace, resource_version, pod }
    }
}

/// The pod that has these parts; names that it has more than once are shared.
fn into_pod(metadata: Metadata, mut spec: Spec, status: Status, exceeded: bool) -> Result<Pod, Fault> {
    let mut names = HashSet::new();
    let uid = uid(&metadata)?;
    let text = |name: Option<ShortName>| name.map(|name| Words(name.0));
    let name = checked(text(metadata.name), is_subdomain, "metadata.name", &mut names)?;
    let namespace = text(metadata.namespace).or_else(|| Some(Words("default".to_owned())));
    let namespace = checked(namespace, is_label, "metadata.namespace", &mut names)?;
    if spec.containers.len() == 0 && !spec.has_containers && !exceeded {
        return Err(Fault::NoContainers);
    }
    let asks = metadata.annotations.ask();
    let mut pod = Pod {
        uid,
        namespace,
        name,
        annotations: metadata.annotations.relevant,
        containers: Vec::new(),
        volumes: Vec::new(),
        status: BTreeMap::new(),
        runtime_class: None,
        terminating: metadata.deletion_timestamp.is_some(),
        excess: None,
    };
    if !asks {
        pod.annotations.clear();
        return Ok(pod);
    }
    let many = [
        (excess::Part::Annotations, pod.annotations.len()),
        (excess::Part::Containers, spec.containers.len() + spec.init_containers.len()),
        (excess::Part::Volumes, spec.volumes.len()),
    ];
    if let Some((part, _)) = many.into_iter().find(|(part, found)| *found > part.most()) {
        return Ok(pod.left_out(Excess::Many(part)));
    }
    if exceeded {
        return Ok(pod.left_out(Excess::Bytes));
    }
    let class = spec.runtime_class_name.take();
    (pod.containers, pod.volumes) = spec.parts(&mut names)?;
    if let Some(excess) = Excess::of(&pod.containers, &pod.volumes) {
        return Ok(pod.left_out(excess));
    }
    pod.status = status.into_ids(&mut names);
    pod.runtime_class = class.map(|class| shared(class, &mut names));
    Ok(pod)
}

impl Spec {
    fn parts(self, names: &mut HashSet<Name>) -> Result<(Vec<Container>, Vec<Volume>), Fault> {
        let mut containers = Vec::with_capacity(self.containers.len() + self.init_containers.len());
        for container in self.containers {
            containers.push(container.into_container(
                ContainerKind::Regular,
                "spec.containers[].name",
                names,
            )?);
        }
        for container in self.init_containers {
            let kind = match container.restart_policy.as_ref().map(|policy| &*policy.0) {
                Some("Always") => ContainerKind::Sidecar,
                Some(_) | None => ContainerKind::Init,
            };
            containers.push(container.into_container(kind, "spec.initContainers[].name", names)?);
        }
        let mut volumes = Vec::with_capacity(self.volumes.len());
        for mut volume in self.volumes {
            let source = volume.source(names);
            let name = checked(volume.name, is_label, "spec.volumes[].name", names)?;
            volumes.push(Volume { name, source });
        }
        Ok((containers, volumes))
    }
}

impl WrittenContainer {
    fn into_container(
        self,
        kind: ContainerKind,
        field: &'static str,
        names: &mut HashSet<Name>,
    ) -> Result<Container, Fault> {
        let name = checked(self.name, is_label, field, names)?;
        let mounts = self.volume_mounts.into_iter().map(|mount| {
            let sub_path = [mount.sub_path, mount.sub_path_expr];
            let sub_path = sub_path.into_iter().flatten().find(|path| !path.0.is_empty());
            VolumeMount {
                volume: shared(mount.name.unwrap_or_default(), names),
                sub_path: sub_path.map(|path| shared(path, names)),
            }
        });
        let mounts = mounts.collect();
        let single = self.env.into_iter().flat_map(|variable| {
            let WrittenValue { config_map_key_ref, secret_key_ref } = variable.value_from;
            [(ObjectKind::ConfigMap, config_map_key_ref), (ObjectKind::Secret, secret_key_ref)]
        });
        let whole = self.env_from.into_iter().flat_map(|variables| {
            let WrittenVariables { config_map_ref, secret_ref } = variables;
            [(ObjectKind::ConfigMap, config_map_ref), (ObjectKind::Secret, secret_ref)]
        });
        let mut environment: Vec<EnvironmentSource> = single
            .chain(whole)
            .filter_map(|(kind, reference)| Some((kind, reference?)))
            .map(|(kind, KeyRef { name, key })| EnvironmentSource {
                kind,
                name: shared(name.unwrap_or_default(), names),
                key: key.map(|key| shared(key, names)),
            })
            .collect();
        environment.sort();
        environment.dedup();
        Ok(Container { name, kind, mounts, environment })
    }
}

impl WrittenVolume {
    fn source(&mut self, names: &mut HashSet<Name>) -> VolumeSource {
        if let Some(source) = self.config_map.take() {
            VolumeSource::ConfigMap(source.into_object(names))
        } else if let Some(SecretSource { secret_name, items, optional }) = self.secret.take() {
            VolumeSource::Secret(Source { name: secret_name, items, optional }.into_object(names))
        } else if let Some(projected) = self.projected.take() {
            VolumeSource::Projected(
                projected.sources.into_iter().map(|source| source.into_source(names)).collect(),
            )
        } else if self.downward_api.is_some() {
            VolumeSource::DownwardApi
        } else {
            VolumeSource::Other
        }
    }
}

impl Source {
    fn into_object(self, names: &mut HashSet<Name>) -> ObjectSource {
        let items = self.items.into_iter().filter_map(|item| {
            Some(Item { key: shared(item.key.unwrap_or_default(), names), path: shared(item.path?, names) })
        });
        let items = items.collect();
        ObjectSource {
            name: shared(self.name.unwrap_or_default(), names),
            items,
            optional: self.optional.unwrap_or_default(),
        }
    }
}

impl WrittenSource {
    fn into_source(self, names: &mut HashSet<Name>) -> ProjectedSource {
        if let Some(source) = self.config_map {
            return ProjectedSource::ConfigMap(source.into_object(names));
        }
        if let Some(source) = self.secret {
            return ProjectedSource::Secret(source.into_object(names));
        }
        let items = self.downward_api.map(|source| source.items).unwrap_or_default();
        let own = [self.service_account_token, self.cluster_trust_bundle, self.pod_certificate];
        ProjectedSource::Rotating { paths: paths(own.into_iter().flatten().chain(items), names) }
    }
}

fn paths(written: impl IntoIterator<Item = Paths>, names: &mut HashSet<Name>) -> Vec<Name> {
    let all = written.into_iter().flat_map(|paths| {
        [paths.path, paths.credential_bundle_path, paths.key_path, paths.certificate_chain_path]
    });
    all.flatten().map(|path| shared(path, names)).collect()
}

impl Status {
    fn into_ids(self, names: &mut HashSet<Name>) -> BTreeMap<Name, ContainerId> {
        let all = self.container_statuses.into_iter().chain(self.init_container_statuses);
        all.filter_map(|status| {
            // A container that waits to be created has no ID yet.
            let id = ContainerId::from_status(&status.container_id?.0)?;
            Some((shared(status.name?, names), id))
        })
        .collect()
    }
}

/// The UID. Nothing else than `metadata.uid`: whoever may create a pod writes its annotations, and could name another one's
/// UID there.
fn uid(metadata: &Metadata) -> Result<PodUid, Fault> {
    let value = metadata.uid.as_ref().map(|uid| &uid.0);
    value.and_then(|text| PodUid::parse(text)).ok_or_else(|| Fault::Uid { value: value.cloned() })
}

/// A name of the form that Kubernetes allows: a container's and a volume's are also elements of paths.
fn checked(
    name: Option<Words>,
    fits: fn(&str) -> bool,
    field: &'static str,
    names: &mut HashSet<Name>,
) -> Result<Name, Fault> {
    match name {
        Some(name) if fits(&name.0) => Ok(shared(name, names)),
        value => Err(Fault::Name { field, value: value.map(|value| cut(value.0)) }),
    }
}

/// An RFC 1123 label.
fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_subdomain(text) && !text.contains('.')
}

/// An RFC 1123 subdomain.
fn is_subdomain(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part_fits = |part: &str| {
        let bytes = part.as_bytes();
        bytes.iter().all(|byte| alphanumeric(*byte) || *byte == b'-')
            && bytes.first().is_some_and(|byte| alphanumeric(*byte))
            && bytes.last().is_some_and(|byte| alphanumeric(*byte))
    };
    text.len() <= 253 && text.split('.').all(part_fits)
}

fn shared(name: Words, names: &mut HashSet<Name>) -> Name {
    if let Some(known) = names.get(name.0.as_str()) {
        return Name::clone(known);
    }
    let name = Name::from(name.0);
    names.insert(Name::clone(&name));
    name
}
