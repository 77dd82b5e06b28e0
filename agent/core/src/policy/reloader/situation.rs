//! What a change meets: a workload, an object, and how Reloader runs.

use std::collections::BTreeSet;

use crate::model::closed::closed_set;
use crate::model::names::Name;
use crate::model::pod::PodSpec;
use crate::policy::reloader::{Asking, Marks, ObjectType};

/// What kind of workload something is, with what of it decides whether and how its pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// What a controller has made out of its own template: that workload is the one that counts.
    Owned,
    /// A pod of its own.
    Pod,
    /// A template that nothing uses by itself.
    PodTemplate,
    /// A ReplicaSet without a Deployment.
    ReplicaSet,
    /// A ReplicationController.
    ReplicationController,
    /// A Deployment.
    Deployment,
    /// A Deployment that replaces no pods as it is.
    Resting(Resting),
    /// A StatefulSet.
    StatefulSet(Update),
    /// A DaemonSet.
    DaemonSet {
        /// Whether its pods are replaced only once somebody deletes them (`updateStrategy.type: OnDelete`).
        on_delete: bool,
    },
    /// A Job.
    Job {
        /// Whether its work is done.
        is_complete: bool,
    },
    /// A CronJob.
    CronJob,
    /// A Rollout of Argo.
    Rollout {
        /// Whether the template of its pods is in it; else `workloadRef` names the workload that has it.
        has_template: bool,
    },
    /// A DeploymentConfig of OpenShift.
    DeploymentConfig,
}

closed_set! {
    /// Why a Deployment replaces no pods.
    pub enum Resting {
        /// It has none (`spec.replicas: 0`).
        Empty => "it has no pods (replicas 0)",
        /// It is paused (`spec.paused`).
        Paused => "it is paused",
    }
}

/// Which pods of a StatefulSet are replaced once its template has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// All of them, one after the other.
    Rolling,
    /// None before somebody deletes it.
    OnDelete,
    /// Those from the partition on.
    Partition(Partition),
}

/// The `partition` of a StatefulSet: pods with a lower ordinal stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The lowest ordinal that is replaced.
    pub from: u32,
    /// The ordinal of the first pod.
    pub first: u32,
    /// How many pods there are, where that is written.
    pub replicas: Option<u32>,
}

impl Partition {
    /// Whether no pod has so high an ordinal.
    pub(super) fn keeps_all(self) -> bool {
        self.replicas.is_some_and(|replicas| self.from >= self.first.saturating_add(replicas))
    }
}

/// A workload.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What kind it is.
    pub form: Form,
    /// Its namespace, where that is known.
    pub namespace: Option<&'a Name>,
    /// Its annotations and those of its template.
    pub asking: &'a Asking<'a>,
    /// What its pods are like.
    pub spec: &'a PodSpec,
    /// Whether it asks to be rolled itself (`reloadlet.io/rollout`).
    pub rolls: bool,
}

/// An object that a change is one of.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// Its type.
    pub of: ObjectType,
    /// Its namespace, where that is known.
    pub namespace: Option<&'a Name>,
    /// Its name.
    pub name: &'a str,
    /// What it says of itself.
    pub marks: Marks,
    /// Whether it is, or was, `immutable`.
    pub is_immutable: bool,
    /// Whether its owner keeps it from triggering anything here (`reloadlet.io/ignore`), which Reloader doesn't read.
    pub is_ignored: bool,
    /// Whether the selectors of [`Scope`] take it and its namespace, by their labels.
    pub is_selected: bool,
}

/// Which objects are looked at at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Types that are left out (`--resources-to-ignore`).
    pub without: BTreeSet<ObjectType>,
    /// The only namespaces that are looked at (`--namespaces`); none stands for all of them.
    pub namespaces: BTreeSet<Name>,
    /// Namespaces that are left out (`--namespaces-to-ignore`).
    pub without_namespaces: BTreeSet<Name>,
}

impl Scope {
    /// Whether the object is looked at. A namespace that isn't known is taken for one that is.
    pub fn takes(&self, object: &Object<'_>) -> bool {
        let is_in = |namespace: &Name| {
            (self.namespaces.is_empty() || self.namespaces.contains(namespace))
                && !self.without_namespaces.contains(namespace)
        };
        object.is_selected && !self.without.contains(&object.of) && object.namespace.is_none_or(is_in)
    }
}

closed_set! {
    /// How Reloader makes a template another one (`--reload-strategy`).
    #[derive(Default)]
    pub enum Strategy {
        /// It writes a variable with the content's hash into a container: nothing is written twice.
        #[default]
        Variables => "env-vars",
        /// It writes an annotation with the time.
        Annotations => "annotations",
    }
}

/// How Reloader runs, as far as its flags decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installation {
    /// `--auto-reload-all`.
    pub auto_reload_all: bool,
    /// `--is-Argo-Rollouts`.
    pub rollouts: bool,
    /// `--enable-csi-integration`.
    pub classes: bool,
    /// `--reload-on-create`.
    pub on_create: bool,
    /// `--reload-on-delete`.
    pub on_delete: bool,
    /// `--sync-after-restart`.
    pub sync_after_restart: bool,
    /// `--reload-strategy`.
    pub strategy: Strategy,
    /// `--ignored-workload-types=jobs`.
    pub without_jobs: bool,
    /// `--ignored-workload-types=cronjobs`.
    pub without_cron_jobs: bool,
    /// `--webhook-url`: it tells somebody of every change, and touches no workload.
    pub calls_webhook: bool,
    /// Which objects it looks at.
    pub scope: Scope,
}

/// Whether an object of one namespace can be a reason for a workload of another one.
pub(super) fn are_apart(candidate: &Candidate<'_>, object: &Object<'_>) -> bool {
    candidate.namespace.zip(object.namespace).is_some_and(|(one, other)| one != other)
}
