//! A pod as far as reloadlet needs it: decoded once at the edge from whatever source names pods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::closed::closed_set;
use crate::model::excess::Excess;
use crate::model::granted::{Given, Stop};
use crate::model::names::{ContainerId, FilePath, Name, PodUid};
use crate::model::object::ObjectKind;

/// The value of an annotation. A pods file can hold what the API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnnotationValue {
    /// A string, as it must be.
    Text(String),
    /// Something else, as it was written (`1`, `true`, `[…]`).
    NotText(String),
}

impl AnnotationValue {
    /// How long it is as it was written, in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::NotText(text) => text.len(),
        }
    }
}

/// The annotations of a pod that reloadlet reads: see [`crate::policy::annotations::is_relevant`].
pub type Annotations = BTreeMap<String, AnnotationValue>;

/// A running pod, reduced to what decides about reloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// The UID that names its directory and its cgroup.
    pub uid: PodUid,
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// What it asks for and has. The journal holds these fields beside the others, as it always did.
    #[serde(flatten)]
    pub spec: PodSpec,
    /// Container IDs by container name, as far as a status is known; it may be seconds old.
    pub status: BTreeMap<Name, ContainerId>,
    /// How far its containers were, by the same status. The journal doesn't hold that: it would be old.
    #[serde(skip)]
    pub phases: BTreeMap<Name, Phase>,
    /// Its own IP addresses, by the same status, the first one first: none that is the machine's, but for a pod of the host's network.
    #[serde(skip)]
    pub addresses: Vec<IpAddr>,
    /// Whose replica it is; `None` for a pod that has no controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<Replica>,
    /// What it is granted, where it has the annotation of a grant. The journal doesn't hold that: it may have been carried out.
    #[serde(skip)]
    pub given: Option<Box<Given>>,
    /// Whether nobody rolls it: it isn't of Kubernetes' Deployments, StatefulSets and DaemonSets. The journal doesn't hold that, and until
    /// it is known nothing follows.
    #[serde(skip)]
    pub unrolled: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
}

/// How far a container is, by a pod's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phase {
    /// Whether it has passed its startup probe; `None` where the status doesn't say.
    pub started: Option<bool>,
    /// Whether it is ready; `None` where the status doesn't say. One without a readiness probe is as soon as it runs.
    pub ready: Option<bool>,
    /// The container before it that was killed by SIGKILL: nothing that a program does about a signal.
    pub killed: Option<ContainerId>,
}

/// Of what a pod is a replica, by its owner references and labels. Whoever may write pods writes these too: they say something
/// within their namespace only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Replica {
    /// The controller's kind.
    pub kind: Name,
    /// Its name.
    pub name: Name,
    /// Its UID.
    pub uid: Name,
    /// Which of the controller's templates the pod was made of, as its controller labels it.
    pub template: Option<Name>,
}

/// What decides about the reloads of a pod, whether it runs or is a workload's template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSpec {
    /// Those of its annotations that count here.
    pub annotations: Annotations,
    /// Containers and init containers (also native sidecars), in the order of the spec.
    pub containers: Vec<Container>,
    /// Its volumes.
    pub volumes: Vec<Volume>,
    /// Whether a runtime class is set (gVisor, Kata, others).
    pub runtime_class: Option<Name>,
    /// When its containers are started again. Only manifests that are checked have it.
    #[serde(skip)]
    pub restarts: Restarts,
    /// How long its containers have to end. Only a pod that is being decoded has it.
    #[serde(skip)]
    pub grace: Option<Duration>,
    /// Whether it says that it runs on Windows. Only manifests that are checked have it.
    #[serde(skip)]
    pub is_windows: bool,
    /// Whether it has the network of its node. Early agents don't say it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host_network: bool,
    /// Why nothing else is kept of it, whatever it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excess: Option<Excess>,
}

/// When a pod's containers are started again once they have ended (`restartPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restarts {
    /// Always.
    #[default]
    Always,
    /// After any exit code but 0.
    OnFailure,
    /// Never.
    Never,
}

impl Pod {
    /// Whether it is granted a restart in place.
    pub(crate) fn is_granted(&self) -> bool {
        matches!(self.given.as_deref(), Some(Given::Granted(_)))
    }

    /// Whether the other one's plan is this one's: nothing that a plan is made of differs.
    pub(crate) fn asks_the_same(&self, other: &Self) -> bool {
        self.terminating == other.terminating
            && self.unrolled == other.unrolled
            && self.spec.asks_the_same(&other.spec)
    }

    /// Whether the journal would hold the same of the other one.
    pub(crate) fn is_recorded_like(&self, other: &Self) -> bool {
        let rest = |pod: &Self| (pod.uid.clone(), pod.namespace.clone(), pod.name.clone(), pod.terminating);
        rest(self) == rest(other)
            && self.spec == other.spec
            && self.status == other.status
            && self.replica == other.replica
    }
}

impl PodSpec {
    fn asks_the_same(&self, other: &Self) -> bool {
        self.annotations == other.annotations
            && self.containers == other.containers
            && self.volumes == other.volumes
            && self.host_network == other.host_network
            && self.excess == other.excess
    }
}

/// What part a container plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ContainerKind {
    /// One of `spec.containers`.
    #[default]
    Regular,
    /// A native sidecar: an init container with `restartPolicy: Always`.
    Sidecar,
    /// An init container that ends.
    Init,
    /// An ephemeral container, which `kubectl debug` adds to a running pod. Only manifests that are checked have it.
    Ephemeral,
}

/// A container of a pod's spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: Name,
    /// Its part.
    pub kind: ContainerKind,
    /// Which volumes it mounts.
    pub mounts: Vec<VolumeMount>,
    /// The ConfigMaps and Secrets that its environment is made of, which never changes in a running container.
    pub environment: Vec<EnvironmentSource>,
    /// The names of the variables that it sets one by one (`env`) and that hide a key of a whole object, in order, where there are
    /// whole ones: those that are always set and whose value from such a key no other variable takes before. Early agents don't say them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<Name>,
    /// The keys that its command line takes by `$(VARIABLE)`, which stays as it is while the container runs. Only manifests that are
    /// checked have it.
    #[serde(skip)]
    pub arguments: Vec<EnvironmentSource>,
    /// What is run (`command` and `args`), where the pod names a process and the manifest says it. Only manifests that are checked have it.
    #[serde(skip)]
    pub command: Vec<Name>,
    /// The supervisor that it runs (`command`), which is never told unless the pod names a process. Only manifests that are checked have it.
    #[serde(skip)]
    pub supervisor: Option<Name>,
    /// What runs its program, where that takes signals for itself, as Node.js does. Only manifests that are checked have it.
    #[serde(skip)]
    pub runtime: Option<Name>,
    /// Whether rules of its own decide when it is started again (`restartPolicyRules`). Only manifests that are checked have it.
    #[serde(skip)]
    pub has_restart_rules: bool,
    /// When it is started again, where it says so itself. Only manifests that are checked have it.
    #[serde(skip)]
    pub restarts: Option<Restarts>,
    /// Whether something is run in it before it is stopped (`lifecycle.preStop`). Only a pod that is being decoded has it.
    #[serde(skip)]
    pub has_pre_stop: bool,
    /// By what it is stopped, where it says so itself (`lifecycle.stopSignal`). Only a pod that is being decoded has it.
    #[serde(skip)]
    pub stop: Option<Stop>,
    /// The TCP ports that it declares. Early agents don't say them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

/// A port that a container declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name, if it has one.
    pub name: Option<Name>,
    /// Its number.
    pub number: u16,
}

impl Port {
    /// As a sentence shows it: `8080 (web)`.
    pub(crate) fn written(&self) -> String {
        match &self.name {
            Some(name) => format!("{} ({name})", self.number),
            None => self.number.to_string(),
        }
    }
}

/// What a container's environment takes from a ConfigMap or a Secret (`env` and `envFrom`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EnvironmentSource {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name.
    pub name: Name,
    /// The key; `None` for all of them.
    pub key: Option<Name>,
    /// What stands before each key in the name of its variable, where all of them are taken; early agents don't say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Name>,
    /// Whether the object or the key may be missing; early agents don't say it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl EnvironmentSource {
    /// One that must be there: this key of it, or all of them as they are called.
    pub const fn new(kind: ObjectKind, name: Name, key: Option<Name>) -> Self {
        Self { kind, name, key, prefix: None, optional: false }
    }
}

/// One volume mount of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// The pod's volume.
    pub volume: Name,
    /// `subPath`, or `subPathExpr` with its variables: it freezes the content at the container's start.
    pub sub_path: Option<FilePath>,
}

/// A volume of a pod's spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The pod's name for it, also the last element of its directory.
    pub name: Name,
    /// Where its content comes from.
    pub source: VolumeSource,
    /// What is known of it where a CSI driver publishes it: then its source is [`VolumeSource::Other`], as early agents have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csi: Option<Csi>,
}

/// A volume of a CSI driver that the pod's spec describes as a whole (an inline one).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Csi {
    /// The driver's name. Only manifests that are checked have it.
    #[serde(skip)]
    pub driver: Name,
    /// The SecretProviderClass of which the Secrets Store driver mounts the contents. Only manifests that are checked have it.
    #[serde(skip)]
    pub class: Option<Name>,
    /// Whether nobody in the pod can write into it.
    pub read_only: bool,
}

/// Where a volume's content comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// One ConfigMap.
    ConfigMap(ObjectSource),
    /// One Secret.
    Secret(ObjectSource),
    /// Several sources.
    Projected(Vec<ProjectedSource>),
    /// The pod's own fields: the kubelet rewrites them when the pod's own annotations change, so it is never watched.
    DownwardApi,
    /// Anything that the kubelet doesn't publish with its AtomicWriter: not covered.
    Other,
}

/// A ConfigMap or a Secret, and what of it becomes files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectSource {
    /// Its name.
    pub name: Name,
    /// Which keys become which paths; if there are none, each key becomes a file of its name (kubelet `configmap.go`,
    /// `MakePayload`).
    pub items: Vec<Item>,
    /// Whether the object, or a key in `items`, may be missing.
    pub optional: bool,
}

/// One key and the path in the volume that it becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The key.
    pub key: Name,
    /// The path.
    pub path: FilePath,
}

/// One source of a projected volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProjectedSource {
    /// A ConfigMap.
    ConfigMap(ObjectSource),
    /// A Secret.
    Secret(ObjectSource),
    /// Pod fields, a service account token, a trust bundle or a pod certificate, with the paths that they write.
    Rotating {
        /// The paths.
        paths: Vec<FilePath>,
    },
}

closed_set! {
    /// The volume plugins that publish with the kubelet's AtomicWriter, or a copy of it, what is not the pod's own: the kinds of
    /// volumes that can be watched.
    pub enum VolumeKind {
        /// `kubernetes.io/configmap`, a directory on disk.
        ConfigMap => "configmap",
        /// `kubernetes.io/secret`, a tmpfs.
        Secret => "secret",
        /// `kubernetes.io/projected`, a tmpfs.
        Projected => "projected",
        /// `kubernetes.io/csi`, whatever the driver mounts. Drivers that write as the kubelet does leave its layout.
        Csi => "csi",
    }
}

impl VolumeKind {
    /// The plugin's directory below `<kubelet root>/pods/<uid>/volumes` (kubelet `getPodVolumeDir`).
    pub const fn directory(self) -> &'static str {
        match self {
            Self::ConfigMap => "kubernetes.io~configmap",
            Self::Secret => "kubernetes.io~secret",
            Self::Projected => "kubernetes.io~projected",
            Self::Csi => "kubernetes.io~csi",
        }
    }

    /// Where a volume lies below the plugin's directory: a CSI driver mounts below the volume's own one (kubelet `csi_mounter.go`,
    /// `GetPath`).
    pub fn place(self, volume: &str) -> String {
        match self {
            Self::ConfigMap | Self::Secret | Self::Projected => volume.to_owned(),
            Self::Csi => format!("{volume}/mount"),
        }
    }
}

impl VolumeSource {
    /// The ConfigMaps and Secrets that it is made of, in the order of the spec.
    pub fn objects(&self) -> impl Iterator<Item = (ObjectKind, &ObjectSource)> {
        let (single, several) = match self {
            Self::ConfigMap(source) => (Some((ObjectKind::ConfigMap, source)), &[][..]),
            Self::Secret(source) => (Some((ObjectKind::Secret, source)), &[][..]),
            Self::Projected(sources) => (None, sources.as_slice()),
            Self::DownwardApi | Self::Other => (None, &[][..]),
        };
        single.into_iter().chain(several.iter().filter_map(|source| match source {
            ProjectedSource::ConfigMap(source) => Some((ObjectKind::ConfigMap, source)),
            ProjectedSource::Secret(source) => Some((ObjectKind::Secret, source)),
            ProjectedSource::Rotating { .. } => None,
        }))
    }
}

impl Volume {
    /// The plugin that publishes this volume, if it is one that can be watched.
    pub fn kind(&self) -> Option<VolumeKind> {
        match self.source {
            VolumeSource::ConfigMap(_) => Some(VolumeKind::ConfigMap),
            VolumeSource::Secret(_) => Some(VolumeKind::Secret),
            VolumeSource::Projected(_) => Some(VolumeKind::Projected),
            // Whoever can write into a volume could make changes of it without end.
            VolumeSource::Other => self.csi.as_ref().filter(|csi| csi.read_only).map(|_| VolumeKind::Csi),
            VolumeSource::DownwardApi => None,
        }
    }
}
