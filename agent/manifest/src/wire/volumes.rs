//! The volumes of a pod, and what becomes which of their files. Paths are cleaned here, and nowhere else.

use reloadlet_core::model::names::{FilePath, is_label};
use reloadlet_core::model::pod::{Csi, Item, ObjectSource, ProjectedSource, Volume, VolumeSource};
use serde::de::IgnoredAny;

use super::{Fault, Names, or_default};
use crate::room::{Detail, Few, Part, Words};

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WrittenVolume {
    name: Option<Words>,
    config_map: Option<Source>,
    secret: Option<SecretSource>,
    projected: Option<Projected>,
    #[serde(rename = "downwardAPI")]
    downward_api: Option<IgnoredAny>,
    csi: Option<WrittenCsi>,
}

impl WrittenVolume {
    /// Whether it has one of these names.
    pub(super) fn is_one_of(&self, names: &[Words]) -> bool {
        self.name.as_ref().is_some_and(|own| names.iter().any(|name| name.0 == own.0))
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenCsi {
    read_only: Option<bool>,
    driver: Detail<Option<Words>>,
    volume_attributes: Detail<Attributes>,
}

/// What a driver is told about a volume: whatever it wants to know.
#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Attributes {
    secret_provider_class: Option<Words>,
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

impl Part for WrittenVolume {}
impl Part for WrittenSource {}
impl Part for Paths {}

impl WrittenVolume {
    pub(super) fn into_volume(mut self, names: &mut Names) -> Result<Volume, Fault> {
        let source = self.source(names);
        let csi = self.csi.filter(|_| source == VolumeSource::Other);
        let csi = csi.map(|csi| Csi {
            driver: names.shared(csi.driver.0.unwrap_or_default()),
            class: csi.volume_attributes.0.secret_provider_class.map(|class| names.shared(class)),
            read_only: csi.read_only == Some(true),
        });
        let name = names.checked(self.name, is_label, "spec.volumes[].name")?;
        Ok(Volume { name, source, csi })
    }

    fn source(&mut self, names: &mut Names) -> VolumeSource {
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
    fn into_object(self, names: &mut Names) -> ObjectSource {
        let items = self.items.into_iter().filter_map(|item| {
            Some(Item { key: names.shared(item.key.unwrap_or_default()), path: names.path(item.path?) })
        });
        let items = items.collect();
        ObjectSource {
            name: names.shared(self.name.unwrap_or_default()),
            items,
            optional: self.optional.unwrap_or_default(),
        }
    }
}

impl WrittenSource {
    fn into_source(self, names: &mut Names) -> ProjectedSource {
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

fn paths(written: impl IntoIterator<Item = Paths>, names: &mut Names) -> Vec<FilePath> {
    let all = written.into_iter().flat_map(|paths| {
        [paths.path, paths.credential_bundle_path, paths.key_path, paths.certificate_chain_path]
    });
    all.flatten().map(|path| names.path(path)).collect()
}
