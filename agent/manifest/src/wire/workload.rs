//! Workloads of every kind, as they are written around the template of their pods.

use reloadlet_core::model::names::Name;
use serde::de::{Deserialize, Deserializer};

use super::metadata::{Metadata, Names};
use super::or_default;
use super::spec::WrittenSpec;
use crate::annotations::WrittenAnnotations;
use crate::error::{ManifestError, Place};
use crate::room::{Details, Room};
use crate::workload::{Workload, WorkloadKind};

/// Metadata with the annotations of other programs.
type AnyMetadata = Metadata<WrittenAnnotations<true>>;

/// A workload as it is written.
pub(crate) struct WrittenWorkload {
    kind: WorkloadKind,
    /// The workload's own; a pod has no other than its template's.
    metadata: Option<AnyMetadata>,
    template: Template,
    /// Whether there was no room for some of it.
    skipped: bool,
}

/// The template of a pod. A pod is written like its own.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Template {
    #[serde(deserialize_with = "or_default")]
    metadata: AnyMetadata,
    #[serde(deserialize_with = "or_default")]
    spec: WrittenSpec,
}

/// A PodTemplate.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Bare {
    #[serde(deserialize_with = "or_default")]
    metadata: AnyMetadata,
    #[serde(deserialize_with = "or_default")]
    template: Template,
}

/// Whatever makes pods out of a template at once.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Controlled {
    #[serde(deserialize_with = "or_default")]
    metadata: AnyMetadata,
    #[serde(deserialize_with = "or_default")]
    spec: Control,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Control {
    #[serde(deserialize_with = "or_default")]
    template: Template,
}

/// A CronJob, which makes Jobs.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Scheduled {
    #[serde(deserialize_with = "or_default")]
    metadata: AnyMetadata,
    #[serde(deserialize_with = "or_default")]
    spec: Schedule,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Schedule {
    #[serde(deserialize_with = "or_default")]
    job_template: JobTemplate,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct JobTemplate {
    #[serde(deserialize_with = "or_default")]
    spec: Control,
}

impl WrittenWorkload {
    /// Reads a workload of this kind.
    pub(crate) fn read<'de, D: Deserializer<'de>>(
        kind: WorkloadKind,
        deserializer: D,
    ) -> Result<Self, D::Error> {
        let (room, _details) = (Room::open(), Details::begin());
        let (metadata, template) = match kind {
            WorkloadKind::Pod => (None, Template::deserialize(deserializer)?),
            WorkloadKind::PodTemplate => {
                let Bare { metadata, template } = Bare::deserialize(deserializer)?;
                (Some(metadata), template)
            }
            WorkloadKind::CronJob => {
                let Scheduled { metadata, spec } = Scheduled::deserialize(deserializer)?;
                (Some(metadata), spec.job_template.spec.template)
            }
            WorkloadKind::Deployment
            | WorkloadKind::StatefulSet
            | WorkloadKind::DaemonSet
            | WorkloadKind::ReplicaSet
            | WorkloadKind::ReplicationController
            | WorkloadKind::Job => {
                let Controlled { metadata, spec } = Controlled::deserialize(deserializer)?;
                (Some(metadata), spec.template)
            }
        };
        Ok(Self { kind, metadata, template, skipped: room.was_exceeded() })
    }

    /// The workload, which stands at this place.
    pub(crate) fn into_workload(self, at: &Place, line: usize) -> Result<Workload, ManifestError> {
        let Self { kind, metadata, template: Template { metadata: mut of_template, spec }, skipped } = self;
        let mut names = Names::default();
        let of_pods = std::mem::take(&mut of_template.annotations);
        let (asked, template_others) = (of_pods.relevant, of_pods.others);
        let template = Place { template: metadata.is_some(), ..at.clone() };
        let mut metadata = metadata.unwrap_or(of_template);
        let (name, namespace) = named(&mut metadata, &mut names).map_err(|fault| fault.at(at))?;
        if !spec.has_containers() && !skipped {
            return Err(super::Fault::NoContainers.at(&template));
        }
        let spec = spec.into_spec(asked, skipped, &mut names).map_err(|fault| fault.at(&template))?;
        let WrittenAnnotations { relevant: annotations, others, .. } = metadata.annotations;
        Ok(Workload { kind, namespace, name, annotations, others, template_others, spec, line })
    }
}

fn named(metadata: &mut AnyMetadata, names: &mut Names) -> Result<(Name, Option<Name>), super::Fault> {
    // What is empty is as good as missing to the API server.
    metadata.namespace.take_if(|namespace| namespace.0.is_empty());
    Ok((metadata.name_or_beginning(names)?, metadata.namespace(names)?))
}
