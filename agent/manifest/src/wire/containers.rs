//! The containers of a pod: what they mount, and what their environments take.

use reloadlet_core::model::names::is_label;
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::pod::{Container, ContainerKind, EnvironmentSource, Port, VolumeMount};

use super::{Fault, Names, or_default};
use crate::room::{Few, Part, ShortName, Words};

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WrittenContainer {
    name: Option<Words>,
    restart_policy: Option<Words>,
    #[serde(deserialize_with = "or_default")]
    volume_mounts: Few<WrittenMount>,
    #[serde(deserialize_with = "or_default")]
    env: Few<WrittenVariable>,
    #[serde(deserialize_with = "or_default")]
    env_from: Few<WrittenVariables>,
    #[serde(deserialize_with = "or_default")]
    ports: Few<WrittenPort>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenPort {
    name: Option<Words>,
    container_port: Option<i64>,
    protocol: Option<ShortName>,
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

impl Part for WrittenContainer {}
impl Part for WrittenMount {}

/// A request goes by TCP, which a port without a protocol is.
impl Part for WrittenPort {
    fn counts(&self) -> bool {
        self.protocol.as_ref().is_none_or(|protocol| protocol.0 == "TCP")
    }
}

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

impl WrittenContainer {
    /// One of `spec.containers`.
    pub(super) fn into_regular(self, names: &mut Names) -> Result<Container, Fault> {
        self.into_container(ContainerKind::Regular, "spec.containers[].name", names)
    }

    /// One of `spec.initContainers`.
    pub(super) fn into_init(self, names: &mut Names) -> Result<Container, Fault> {
        let kind = match self.restart_policy.as_ref().map(|policy| &*policy.0) {
            Some("Always") => ContainerKind::Sidecar,
            Some(_) | None => ContainerKind::Init,
        };
        self.into_container(kind, "spec.initContainers[].name", names)
    }

    fn into_container(
        self,
        kind: ContainerKind,
        field: &'static str,
        names: &mut Names,
    ) -> Result<Container, Fault> {
        let name = names.checked(self.name, is_label, field)?;
        let mounts = self.volume_mounts.into_iter().map(|mount| {
            let sub_path = [mount.sub_path, mount.sub_path_expr];
            let sub_path = sub_path.into_iter().flatten().find(|path| !path.0.is_empty());
            VolumeMount {
                volume: names.shared(mount.name.unwrap_or_default()),
                sub_path: sub_path.map(|path| names.path(path)),
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
                name: names.shared(name.unwrap_or_default()),
                key: key.map(|key| names.shared(key)),
            })
            .collect();
        environment.sort();
        environment.dedup();
        let ports = self.ports.into_iter().filter_map(|port| {
            let number = u16::try_from(port.container_port?).ok().filter(|number| *number > 0)?;
            Some(Port { name: port.name.map(|name| names.shared(name)), number })
        });
        let ports = ports.collect();
        Ok(Container { name, kind, mounts, environment, ports })
    }
}
