//! The kinds of workloads.

use reloadlet_core::model::closed::closed_set;

closed_set! {
    /// What kind of workload something is.
    pub enum WorkloadKind {
        /// A pod of its own.
        Pod => "Pod",
        /// A template that nothing uses by itself.
        PodTemplate => "PodTemplate",
        /// A Deployment.
        Deployment => "Deployment",
        /// A StatefulSet.
        StatefulSet => "StatefulSet",
        /// A DaemonSet.
        DaemonSet => "DaemonSet",
        /// A ReplicaSet.
        ReplicaSet => "ReplicaSet",
        /// A ReplicationController.
        ReplicationController => "ReplicationController",
        /// A Job.
        Job => "Job",
        /// A CronJob.
        CronJob => "CronJob",
        /// A Rollout of Argo.
        Rollout => "Rollout",
        /// A DeploymentConfig of OpenShift.
        DeploymentConfig => "DeploymentConfig",
    }
}

impl WorkloadKind {
    /// The API groups that have it: others have kinds of the same name that are something else, as Volcano has a Job.
    const fn groups(self) -> &'static [&'static str] {
        match self {
            Self::Pod | Self::PodTemplate | Self::ReplicationController => &[""],
            Self::Deployment | Self::DaemonSet | Self::ReplicaSet => &["apps", "extensions"],
            Self::StatefulSet => &["apps"],
            Self::Job | Self::CronJob => &["batch"],
            Self::Rollout => &["argoproj.io"],
            Self::DeploymentConfig => &["apps.openshift.io", ""],
        }
    }

    /// The kind that is written so in this group; `None` for the group where it isn't said.
    pub(crate) fn of(group: Option<&str>, kind: &str) -> Option<Self> {
        let has_it = |known: &Self| group.is_none_or(|group| known.groups().contains(&group));
        Self::ALL.into_iter().find(|known| known.as_str() == kind).filter(has_it)
    }
}
