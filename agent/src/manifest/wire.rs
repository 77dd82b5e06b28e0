//! The parts of a manifest that count, as they are written.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reloadlet_core::object::ObjectKind;
use reloadlet_core::pod::{
    Container, ContainerId, ContainerKind, EnvironmentSource, Item, Name, ObjectSource, Pod, PodUid,
    ProjectedSource, Volume, VolumeMount, VolumeSource,
};
use serde::de::{Deserialize, Deserializer, IgnoredAny};

use super::annotations::WrittenAnnotations;
use super::{ManifestError, Place};

/// Any object: what is read of it is what a pod or a list has.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Object {
    pub(super) kind: Option<String>,
    pub(super) items: Option<Vec<Object>>,
    #[serde(deserialize_with = "or_default")]
    metadata: Metadata,
    #[serde(deserialize_with = "or_default")]
    spec: Spec,
    #[serde(deserialize_with = "or_default")]
    status: Status,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    #[serde(deserialize_with = "or_default")]
    annotations: WrittenAnnotations,
    resource_version: Option<String>,
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(deserialize_with = "or_default")]
    containers: Vec<WrittenContainer>,
    #[serde(deserialize_with = "or_default")]
    init_containers: Vec<WrittenContainer>,
    #[serde(deserialize_with = "or_default")]
    volumes: Vec<WrittenVolume>,
    runtime_class_name: Option<String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenContainer {
    name: Option<String>,
    restart_policy: Option<String>,
    #[serde(deserialize_with = "or_default")]
    volume_mounts: Vec<WrittenMount>,
    #[serde(deserialize_with = "or_default")]
    env: Vec<WrittenVariable>,
    #[serde(deserialize_with = "or_default")]
    env_from: Vec<WrittenVariables>,
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
    name: Option<String>,
    key: Option<String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenMount {
    name: Option<String>,
    sub_path: Option<String>,
    sub_path_expr: Option<String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenVolume {
    name: Option<String>,
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
    sources: Vec<WrittenSource>,
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
    name: Option<String>,
    #[serde(deserialize_with = "or_default")]
    items: Vec<Paths>,
    optional: Option<bool>,
}

/// A Secret volume names its Secret with another word than a projected one's source.
#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SecretSource {
    secret_name: Option<String>,
    #[serde(deserialize_with = "or_default")]
    items: Vec<Paths>,
    optional: Option<bool>,
}

/// The paths that an item or a source writes.
#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Paths {
    key: Option<String>,
    path: Option<String>,
    credential_bundle_path: Option<String>,
    key_path: Option<String>,
    certificate_chain_path: Option<String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    #[serde(deserialize_with = "or_default")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "or_default")]
    init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct ContainerStatus {
    name: Option<String>,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
}

/// Go writes what is empty as `null` in places.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Object {
    /// What a watch needs to know of an object.
    pub(crate) fn object_meta(&self) -> ObjectMeta {
        ObjectMeta {
            name: self.metadata.name.clone(),
            namespace: self.metadata.namespace.clone(),
            resource_version: self.metadata.resource_version.clone(),
            ..ObjectMeta::default()
        }
    }

    /// The pod that this is, where it is the only one.
    pub(crate) fn into_single_pod(self) -> Result<Pod, ManifestError> {
        self.into_pod(&Place { document: None, item: None }, &mut HashSet::new())
    }

    /// The pod that this is; names that pods have in common are shared.
    pub(super) fn into_pod(self, at: &Place, names: &mut HashSet<Name>) -> Result<Pod, ManifestError> {
        let Self { metadata, spec, status, .. } = self;
        // Nothing else: whoever may create a pod writes its annotations, and could name another one's UID there.
        let Some(uid) = metadata.uid.as_deref().and_then(PodUid::parse) else {
            return Err(ManifestError::Uid { at: at.clone(), value: metadata.uid });
        };
        let name = checked(metadata.name, is_subdomain, "metadata.name", at, names)?;
        let namespace = metadata.namespace.or_else(|| Some("default".to_owned()));
        let namespace = checked(namespace, is_label, "metadata.namespace", at, names)?;
        if spec.containers.is_empty() {
            return Err(ManifestError::NoContainers { at: at.clone() });
        }
        let mut containers = Vec::with_capacity(spec.containers.len() + spec.init_containers.len());
        for container in spec.containers {
            containers.push(container.into_container(
                ContainerKind::Regular,
                "spec.containers[].name",
                at,
                names,
            )?);
        }
        for container in spec.init_containers {
            let kind = match container.restart_policy.as_deref() {
                Some("Always") => ContainerKind::Sidecar,
                Some(_) | None => ContainerKind::Init,
            };
            containers.push(container.into_container(kind, "spec.initContainers[].name", at, names)?);
        }
        let mut volumes = Vec::with_capacity(spec.volumes.len());
        for mut volume in spec.volumes {
            let source = volume.source(names);
            let name = checked(volume.name, is_label, "spec.volumes[].name", at, names)?;
            volumes.push(Volume { name, source });
        }
        Ok(Pod {
            uid,
            namespace,
            name,
            annotations: metadata.annotations.relevant,
            containers,
            volumes,
            status: status.into_ids(names),
            runtime_class: spec.runtime_class_name.map(|class| shared(class, names)),
            terminating: metadata.deletion_timestamp.is_some(),
        })
    }
}

impl WrittenContainer {
    fn into_container(
        self,
        kind: ContainerKind,
        field: &'static str,
        at: &Place,
        names: &mut HashSet<Name>,
    ) -> Result<Container, ManifestError> {
        let name = checked(self.name, is_label, field, at, names)?;
        let mounts = self.volume_mounts.into_iter().map(|mount| {
            let sub_path = [mount.sub_path, mount.sub_path_expr];
            let sub_path = sub_path.into_iter().flatten().find(|path| !path.is_empty());
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
            let id = ContainerId::from_status(status.container_id.as_deref()?)?;
            Some((shared(status.name?, names), id))
        })
        .collect()
    }
}

/// A name of the form that Kubernetes allows: a container's and a volume's are also elements of paths.
fn checked(
    name: Option<String>,
    fits: fn(&str) -> bool,
    field: &'static str,
    at: &Place,
    names: &mut HashSet<Name>,
) -> Result<Name, ManifestError> {
    match name {
        Some(name) if fits(&name) => Ok(shared(name, names)),
        value => Err(ManifestError::Name { at: at.clone(), field, value }),
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

fn shared(name: String, names: &mut HashSet<Name>) -> Name {
    if let Some(known) = names.get(name.as_str()) {
        return Name::clone(known);
    }
    let name = Name::from(name);
    names.insert(Name::clone(&name));
    name
}
