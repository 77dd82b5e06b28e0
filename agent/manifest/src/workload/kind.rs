//! The kinds of workloads.

use std::fmt;

/// What kind of workload something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// A pod of its own.
    Pod,
    /// A template that nothing uses by itself.
    PodTemplate,
    /// A Deployment.
    Deployment,
    /// A StatefulSet.
    StatefulSet,
    /// A DaemonSet.
    DaemonSet,
    /// A ReplicaSet.
    ReplicaSet,
    /// A ReplicationController.
    ReplicationController,
    /// A Job.
    Job,
    /// A CronJob.
    CronJob,
}

impl WorkloadKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Pod,
        Self::PodTemplate,
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::ReplicationController,
        Self::Job,
        Self::CronJob,
    ];

    /// The kind as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::PodTemplate => "PodTemplate",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::ReplicationController => "ReplicationController",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
        }
    }

    /// The API groups that have it: others have kinds of the same name that are something else, as Volcano has a Job.
    const fn groups(self) -> &'static [&'static str] {
        match self {
            Self::Pod | Self::PodTemplate | Self::ReplicationController => &[""],
            Self::Deployment | Self::DaemonSet | Self::ReplicaSet => &["apps", "extensions"],
            Self::StatefulSet => &["apps"],
            Self::Job | Self::CronJob => &["batch"],
        }
    }

    /// The kind that is written so in this group; `None` for the group where it isn't said.
    pub(crate) fn of(group: Option<&str>, kind: &str) -> Option<Self> {
        let has_it = |known: &Self| group.is_none_or(|group| known.groups().contains(&group));
        Self::ALL.into_iter().find(|known| known.as_str() == kind).filter(has_it)
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
