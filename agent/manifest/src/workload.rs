//! Workloads of every kind that has pods, and objects of which no more than the name counts.

use std::collections::BTreeSet;

use reloadlet_core::model::names::Name;
use reloadlet_core::model::pod::{AnnotationValue, Annotations, PodSpec};
use reloadlet_core::policy::reloader::Form;

pub use kind::WorkloadKind;

use crate::labels::Labels;

mod kind;

/// Something in a text of manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It has a template of pods, or is a pod.
    Workload(Workload),
    /// An object that has no pods, or is of a kind that isn't known.
    Other(OtherObject),
}

/// A workload: a pod, or what makes pods out of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What it is.
    pub kind: WorkloadKind,
    /// The same, with what decides how its pods are replaced.
    pub form: Form,
    /// Whether it has all that its kind needs. What hasn't is a patch, which says no more than what it changes.
    pub is_whole: bool,
    /// Its namespace, unless that is left to whoever applies the manifest.
    pub namespace: Option<Name>,
    /// Its name, or how that begins where the API server ends it (`generateName`).
    pub name: Name,
    /// Those of its own annotations that would count in a pod. They count nowhere: its pods have those of their template. A
    /// pod's are in its spec.
    pub annotations: Annotations,
    /// The same of the template of a CronJob's Jobs (`spec.jobTemplate.metadata`).
    pub of_jobs: Annotations,
    /// Those of its own annotations that are other programs': Reloader's (`reloadlet_core::policy::reloader`), and checksums
    /// (`checksum/…`), by which charts make a new template of a new configuration.
    pub others: Annotations,
    /// The same of the template of a CronJob's Jobs, where no other program reads them.
    pub jobs_others: Annotations,
    /// The same of its template's.
    pub template_others: Annotations,
    /// What its pods are like, also where they ask for nothing. A Rollout whose template is another workload's has no containers.
    pub spec: PodSpec,
    /// The line of the text, from 1, on which the document that it stands in begins.
    pub line: usize,
}

/// The keys of a ConfigMap or a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// All of them.
    pub all: BTreeSet<Name>,
    /// Those of a ConfigMap's `binaryData`.
    pub binary: BTreeSet<Name>,
}

/// An object of which hardly more than the name is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherObject {
    /// The API group of its kind; empty for the core's own, as a ConfigMap's is.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, if one is given.
    pub namespace: Option<Name>,
    /// Its name, if it has one.
    pub name: Option<Name>,
    /// What it says of itself to Reloader (`reloadlet_core::policy::reloader`), and to agents (`reloadlet.io/ignore`). Of a value that is
    /// no string no more is known, and of other annotations of the two, which nobody reads on an object, the key alone.
    pub annotations: Annotations,
    /// Its labels, of those kinds that Reloader selects by them: ConfigMaps, Secrets and namespaces. `None` where they aren't known.
    pub labels: Option<Labels>,
    /// Whether it says that it never changes, as ConfigMaps and Secrets can.
    pub immutable: bool,
    /// Whether it has a template of pods all the same: its kind is one that another program brings.
    pub makes_pods: bool,
    /// The keys of a ConfigMap or a Secret; `None` for something else, or where there are too many of them.
    pub keys: Option<Keys>,
}

impl OtherObject {
    /// Whether something selects such objects by their labels.
    pub(crate) fn is_selected_by_labels(&self) -> bool {
        self.group.is_empty() && ["ConfigMap", "Secret", "Namespace"].contains(&self.kind.as_str())
    }
}

impl Workload {
    /// About how much memory it takes, in bytes.
    pub(crate) fn cost(&self) -> usize {
        let all = [&self.annotations, &self.of_jobs, &self.others, &self.jobs_others, &self.template_others];
        let all = all.into_iter().flatten();
        let own = all.map(|(key, value)| match value {
            AnnotationValue::Text(text) | AnnotationValue::NotText(text) => 96 + key.len() + text.len(),
        });
        self.spec.cost() + own.sum::<usize>()
    }
}
