//! The spec of a pod, whether the pod runs or is a template.

use std::time::Duration;

use reloadlet_core::model::excess::{self, Excess};
use reloadlet_core::model::pod::{Annotations, PodSpec};
use reloadlet_core::policy::annotations::PROCESS;

use super::containers::{WrittenContainer, restarts};
use super::volumes::WrittenVolume;
use super::{Fault, Names, Something, or_default};
use crate::room::{Detail, Few, ShortName, Words};

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WrittenSpec {
    #[serde(deserialize_with = "or_default")]
    containers: Few<WrittenContainer>,
    #[serde(deserialize_with = "or_default")]
    init_containers: Few<WrittenContainer>,
    ephemeral_containers: Detail<Few<WrittenContainer>>,
    #[serde(deserialize_with = "or_default")]
    volumes: Few<WrittenVolume>,
    restart_policy: Option<ShortName>,
    termination_grace_period_seconds: Option<i64>,
    runtime_class_name: Option<Words>,
    host_network: Option<bool>,
    os: Detail<Option<System>>,
    node_selector: Detail<Option<NodeSelector>>,
    /// Those that a StatefulSet gives to each pod in the place of volumes of the same name.
    #[serde(skip)]
    claims: Vec<Words>,
    /// Whether there are containers that weren't read.
    #[serde(skip)]
    has_others: bool,
}

/// The operating system of a pod's node.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct System {
    name: Option<ShortName>,
}

/// The labels of nodes that a pod asks for, as far as they count.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct NodeSelector {
    #[serde(rename = "kubernetes.io/os")]
    system: Option<ShortName>,
}

/// What is read of the spec of a pod that asks for nothing.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Outline {
    #[serde(deserialize_with = "or_default")]
    containers: Few<Something>,
}

impl From<Outline> for WrittenSpec {
    fn from(outline: Outline) -> Self {
        Self { has_others: outline.containers.len() > 0, ..Self::default() }
    }
}

impl WrittenSpec {
    /// Gives it the claims of its StatefulSet, of these names.
    pub(super) fn claim(&mut self, claims: Vec<Words>) {
        self.claims = claims;
    }

    /// Whether there are containers, which any pod has.
    pub(super) fn has_containers(&self) -> bool {
        self.has_others || self.containers.len() > 0
    }

    /// The spec, with these annotations; nothing but why where it is too large, or something was skipped.
    pub(super) fn into_spec(
        self,
        annotations: Annotations,
        skipped: bool,
        names: &mut Names,
    ) -> Result<PodSpec, Fault> {
        let Detail(ephemeral) = self.ephemeral_containers;
        let containers = self.containers.len() + self.init_containers.len() + ephemeral.len();
        let many = [
            (excess::Part::Annotations, annotations.len()),
            (excess::Part::Containers, containers),
            (excess::Part::Volumes, self.volumes.len()),
        ];
        if let Some((part, _)) = many.into_iter().find(|(part, found)| *found > part.most()) {
            return Ok(PodSpec::left_out(Excess::Many(part)));
        }
        if skipped {
            return Ok(PodSpec::left_out(Excess::Bytes));
        }
        let mut containers = Vec::with_capacity(containers);
        for container in self.containers {
            containers.push(container.into_regular(names)?);
        }
        for container in self.init_containers {
            containers.push(container.into_init(names)?);
        }
        for container in ephemeral {
            containers.push(container.into_ephemeral(names)?);
        }
        if !annotations.contains_key(PROCESS) {
            containers.iter_mut().for_each(|container| container.command = Vec::new());
        }
        let mut volumes = Vec::with_capacity(self.volumes.len());
        for volume in self.volumes.into_iter().filter(|volume| !volume.is_one_of(&self.claims)) {
            volumes.push(volume.into_volume(names)?);
        }
        if let Some(excess) = Excess::of(&containers, &volumes) {
            return Ok(PodSpec::left_out(excess));
        }
        let runtime_class = self.runtime_class_name.map(|class| names.shared(class));
        let restarts = self.restart_policy.and_then(|policy| restarts(&policy.0)).unwrap_or_default();
        let system = self.os.0.and_then(|os| os.name);
        let system = system.or_else(|| self.node_selector.0.and_then(|labels| labels.system));
        let is_windows = system.is_some_and(|system| system.0 == "windows");
        let host_network = self.host_network == Some(true);
        let grace = self.termination_grace_period_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let grace = grace.map(Duration::from_secs);
        let excess = None;
        Ok(PodSpec {
            annotations,
            containers,
            volumes,
            runtime_class,
            restarts,
            grace,
            is_windows,
            host_network,
            excess,
        })
    }
}
