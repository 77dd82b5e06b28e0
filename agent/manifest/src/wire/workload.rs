//! Workloads of every kind, as they are written around the template of their pods.

use reloadlet_core::model::names::Name;
use reloadlet_core::model::pod::Annotations;
use reloadlet_core::policy::reloader::{Form, Resting};
use serde::de::{Deserialize, Deserializer, IgnoredAny};

use super::metadata::{Metadata, Names};
use super::or_default;
use super::rolling::{Ordinals, Status, Strategy};
use super::spec::WrittenSpec;
use crate::annotations::WrittenAnnotations;
use crate::error::{ManifestError, Place};
use crate::heads::{Flag, Number};
use crate::room::{Detail, Details, Few, Part, Room, Words};
use crate::workload::{Workload, WorkloadKind};

/// Metadata with the annotations of other programs.
type AnyMetadata = Metadata<WrittenAnnotations<true>>;

/// A workload as it is written.
pub(crate) struct WrittenWorkload {
    kind: WorkloadKind,
    /// The workload's own; a pod has no other than its template's.
    metadata: Option<AnyMetadata>,
    template: Template,
    /// Those of the template of a CronJob's Jobs, and those of other programs there.
    of_jobs: [Annotations; 2],
    /// What else decides how its pods are replaced.
    form: Form,
    /// Whether it has all that its kind needs.
    is_whole: bool,
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
    status: Status,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Control {
    #[serde(deserialize_with = "or_default")]
    template: Template,
    replicas: Number,
    paused: Flag,
    completions: Number,
    update_strategy: Strategy,
    ordinals: Ordinals,
    workload_ref: Option<IgnoredAny>,
    selector: Option<IgnoredAny>,
    volume_claim_templates: Detail<Few<Claim>>,
}

/// A claim of each pod of a StatefulSet: its pods have it instead of a volume of its name.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Claim {
    #[serde(deserialize_with = "or_default")]
    metadata: Called,
}

impl Part for Claim {}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Called {
    name: Option<Words>,
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
    metadata: Annotated,
    #[serde(deserialize_with = "or_default")]
    spec: Control,
}

/// Metadata of which nothing but the annotations count.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Annotated {
    #[serde(deserialize_with = "or_default")]
    annotations: WrittenAnnotations<true>,
}

impl Control {
    fn form(&self, kind: WorkloadKind, status: &Status) -> Form {
        match kind {
            WorkloadKind::Deployment if self.replicas.0 == Some(0) => Form::Resting(Resting::Empty),
            WorkloadKind::Deployment if self.paused.0 => Form::Resting(Resting::Paused),
            WorkloadKind::Deployment => Form::Deployment,
            WorkloadKind::StatefulSet => {
                Form::StatefulSet(self.update_strategy.update(&self.ordinals, self.replicas.0))
            }
            WorkloadKind::DaemonSet => Form::DaemonSet { on_delete: self.update_strategy.on_delete },
            WorkloadKind::Job => Form::Job { is_complete: status.is_complete(self.completions.0) },
            WorkloadKind::Rollout => {
                let has_template = self.workload_ref.is_none() || self.template.spec.has_containers();
                Form::Rollout { has_template }
            }
            WorkloadKind::DeploymentConfig => Form::DeploymentConfig,
            WorkloadKind::ReplicaSet => Form::ReplicaSet,
            WorkloadKind::ReplicationController => Form::ReplicationController,
            WorkloadKind::CronJob => Form::CronJob,
            WorkloadKind::Pod => Form::Pod,
            WorkloadKind::PodTemplate => Form::PodTemplate,
        }
    }
}

/// Whether the API server takes none of this kind without a selector of its pods.
const fn needs_selector(kind: WorkloadKind) -> bool {
    match kind {
        WorkloadKind::Deployment
        | WorkloadKind::StatefulSet
        | WorkloadKind::DaemonSet
        | WorkloadKind::ReplicaSet => true,
        WorkloadKind::Pod
        | WorkloadKind::PodTemplate
        | WorkloadKind::ReplicationController
        | WorkloadKind::Job
        | WorkloadKind::CronJob
        | WorkloadKind::Rollout
        | WorkloadKind::DeploymentConfig => false,
    }
}

/// What something of this form is if it has a controller. Of the other kinds Reloader, too, doesn't ask who made them.
const fn owned(form: Form) -> Form {
    match form {
        Form::Pod | Form::ReplicaSet | Form::ReplicationController => Form::Owned,
        Form::Owned
        | Form::PodTemplate
        | Form::Deployment
        | Form::Resting(_)
        | Form::StatefulSet(_)
        | Form::DaemonSet { .. }
        | Form::Job { .. }
        | Form::CronJob
        | Form::Rollout { .. }
        | Form::DeploymentConfig => form,
    }
}

impl WrittenWorkload {
    /// Reads a workload of this kind.
    pub(crate) fn read<'de, D: Deserializer<'de>>(
        kind: WorkloadKind,
        deserializer: D,
    ) -> Result<Self, D::Error> {
        let (room, _details) = (Room::open(), Details::begin());
        let mut is_whole = true;
        let mut of_jobs = <[Annotations; 2]>::default();
        let (metadata, template, form) = match kind {
            WorkloadKind::Pod => (None, Template::deserialize(deserializer)?, Form::Pod),
            WorkloadKind::PodTemplate => {
                let Bare { metadata, template } = Bare::deserialize(deserializer)?;
                (Some(metadata), template, Form::PodTemplate)
            }
            WorkloadKind::CronJob => {
                let Scheduled { metadata, spec } = Scheduled::deserialize(deserializer)?;
                let written = spec.job_template.metadata.annotations;
                of_jobs = [written.relevant, written.others];
                (Some(metadata), spec.job_template.spec.template, Form::CronJob)
            }
            WorkloadKind::Deployment
            | WorkloadKind::StatefulSet
            | WorkloadKind::DaemonSet
            | WorkloadKind::ReplicaSet
            | WorkloadKind::ReplicationController
            | WorkloadKind::Job
            | WorkloadKind::Rollout
            | WorkloadKind::DeploymentConfig => {
                let Controlled { metadata, mut spec, status } = Controlled::deserialize(deserializer)?;
                let form = spec.form(kind, &status);
                if kind == WorkloadKind::StatefulSet {
                    let claims = std::mem::take(&mut spec.volume_claim_templates.0);
                    let names = claims.into_iter().filter_map(|claim| claim.metadata.name);
                    spec.template.spec.claim(names.collect());
                }
                is_whole = spec.selector.is_some() || !needs_selector(kind);
                (Some(metadata), spec.template, form)
            }
        };
        Ok(Self { kind, metadata, template, of_jobs, form, is_whole, skipped: room.was_exceeded() })
    }

    /// The workload, which stands at this place.
    pub(crate) fn into_workload(self, at: &Place, line: usize) -> Result<Workload, ManifestError> {
        let Self { kind, metadata, template, of_jobs: [of_jobs, jobs_others], form, is_whole, skipped } =
            self;
        let Template { metadata: mut of_template, spec } = template;
        let mut names = Names::default();
        let of_pods = std::mem::take(&mut of_template.annotations);
        let (asked, template_others) = (of_pods.relevant, of_pods.others);
        let place = Place { template: metadata.is_some(), ..at.clone() };
        let mut metadata = metadata.unwrap_or(of_template);
        let (name, namespace) = named(&mut metadata, &mut names).map_err(|fault| fault.at(at))?;
        let form = if metadata.owner_references.is_there() { owned(form) } else { form };
        if !spec.has_containers() && !skipped && form != (Form::Rollout { has_template: false }) {
            return Err(super::Fault::NoContainers.at(&place));
        }
        let spec = spec.into_spec(asked, skipped, &mut names).map_err(|fault| fault.at(&place))?;
        let WrittenAnnotations { relevant: annotations, others, .. } = metadata.annotations;
        Ok(Workload {
            kind,
            form,
            is_whole,
            namespace,
            name,
            annotations,
            of_jobs,
            others,
            jobs_others,
            template_others,
            spec,
            line,
        })
    }
}

fn named(metadata: &mut AnyMetadata, names: &mut Names) -> Result<(Name, Option<Name>), super::Fault> {
    // What is empty is as good as missing to the API server.
    metadata.namespace.take_if(|namespace| namespace.0.is_empty());
    Ok((metadata.name_or_beginning(names)?, metadata.namespace(names)?))
}
