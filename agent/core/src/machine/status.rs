//! What is known, for people and gauges: a copy, made when asked for. The agent serves it as JSON, and the command reads
//! it, which may know fewer words than the agent.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::closed::{Closed as _, Word, closed_set};
use crate::model::names::{Name, PodUid};
use crate::model::object::{ObjectKind, ObjectRef};
use crate::model::outcome::{Outcome, Unread};
use crate::model::pod::VolumeKind;
use crate::model::restart::Finding;
use crate::model::time::Time;
use crate::policy::problem::{Problem, ProblemKind};
use crate::policy::references::Why;

/// What is known of one pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// Its UID.
    pub uid: PodUid,
    /// Its problems; a pod whose annotations have any isn't told anything.
    pub problems: Vec<ProblemStatus>,
    /// Its volumes.
    pub volumes: Vec<VolumeStatus>,
    /// The containers to tell.
    pub containers: Vec<ContainerStatus>,
    /// What isn't as the API server shows it.
    pub stale: Vec<StaleStatus>,
    /// Why the kubelet isn't nudged for the pod though it asks for that.
    pub not_nudged: Option<String>,
    /// The objects that containers took something of at their start, and that aren't there; early agents don't say it.
    #[serde(default)]
    pub absent: Vec<AbsentStatus>,
    /// Its restart in place that is under way, or else the last one that this agent has seen the end of; early agents don't say it.
    #[serde(default)]
    pub restart: Option<RestartStatus>,
}

/// How far a restart in place is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartStatus {
    /// The containers that are restarted.
    pub containers: Vec<Name>,
    /// What is waited for; `None` once it has come to an end.
    pub waits_for: Option<String>,
    /// How that was, once it has come to one.
    pub finding: Option<Word<Finding>>,
    /// How long ago it began, or came to its end.
    pub seconds_ago: Age,
}

/// An object that isn't there, of which a container took something at its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbsentStatus {
    /// The container.
    pub container: Name,
    /// The object.
    pub object: ObjectStatus,
}

/// A problem with what a pod asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemStatus {
    /// Its kind.
    pub kind: Word<ProblemKind>,
    /// What is wrong.
    pub sentence: String,
}

/// What is known of one volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    /// The pod's name for it.
    pub name: Name,
    /// Its plugin.
    pub kind: Word<VolumeKind>,
    /// What `..data` names.
    pub generation: Option<Name>,
    /// How long ago that settled; `None` before.
    pub settled_seconds_ago: Option<Age>,
    /// Whether it is a CSI driver's that doesn't publish as the kubelet does: its changes can't be seen. Early agents don't say it.
    #[serde(default)]
    pub no_layout: bool,
    /// The newest versions of its objects on the API server, as far as they are known.
    pub wanted: Vec<VersionStatus>,
    /// The versions on disk, as far as they are known.
    pub on_disk: Vec<VersionStatus>,
}

/// A version of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionStatus {
    /// The object's kind.
    pub kind: Word<ObjectKind>,
    /// Its name.
    pub name: Name,
    /// Its `resourceVersion`; `None` where there is no such object.
    pub version: Option<Name>,
}

/// One container to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatus {
    /// Its name.
    pub name: Name,
    /// By what it is told: its signal, or the request as in the annotation.
    pub signal: String,
    /// What came of the last request where it is made again; early agents don't say it.
    #[serde(default)]
    pub last_answer: Option<String>,
    /// The processes that would be told.
    pub pids: Vec<u32>,
    /// Why there are none.
    pub missing: Option<Cow<'static, str>>,
    /// Whether nothing is sent to it, since it doesn't live through that, or another replica didn't live through these files.
    #[serde(rename = "held")]
    pub is_suspended: bool,
    /// How the last reload ended that this agent has seen since its start.
    pub last_outcome: Option<Word<Outcome>>,
    /// How long ago it did.
    pub last_seconds_ago: Option<Age>,
    /// How it has left unread what it was told of, if it has; early agents don't say it.
    #[serde(default)]
    pub unread: Option<UnreadStatus>,
    /// Whether it was told a second time of what it was told of last.
    #[serde(default)]
    pub told_again: bool,
    /// How far it is with each volume.
    pub volumes: Vec<ToldStatus>,
}

/// That a container has left unread what it was told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadStatus {
    /// How.
    pub state: Word<Unread>,
    /// After how many deliveries in a row.
    pub deliveries: u8,
}

/// What a container was told of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldStatus {
    /// The volume's name.
    pub name: Name,
    /// The generation that is done with.
    pub handled: Option<Name>,
    /// How that ended; `None` for one that was there before anything is known. Early agents don't say it.
    #[serde(default)]
    pub outcome: Option<Word<Outcome>>,
    /// The generation that waits.
    pub waiting: Option<Name>,
    /// The generation that the container holds for certain: it was told of that, or it was there when the container started.
    #[serde(default)]
    pub holds: Option<Name>,
    /// The versions of the volume's objects that the container holds, as far as they are known.
    pub delivered: Vec<VersionStatus>,
    /// Whether the last signal that the container left unread told of it.
    #[serde(default)]
    pub unread: bool,
}

/// Something in a running container that isn't what the API server shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleStatus {
    /// Why it is stale.
    pub reason: Word<StaleReason>,
    /// The code of `reloadlet check` for it, where it is something that never changes in a running container; early agents don't say it.
    #[serde(default)]
    pub code: Option<String>,
    /// For how long.
    pub seconds: Age,
    /// The volume; `None` for what isn't one.
    pub volume: Option<Name>,
    /// The container, where it is one container's affair.
    pub container: Option<Name>,
    /// The object, where it isn't a volume.
    pub object: Option<ObjectStatus>,
}

/// An object of the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStatus {
    /// Its kind.
    pub kind: Word<ObjectKind>,
    /// Its name.
    pub name: Name,
}

/// How long ago something was, written in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(pub Duration);

impl Serialize for Age {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64())
    }
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds).map(Self).map_err(de::Error::custom)
    }
}

impl From<&Problem> for ProblemStatus {
    fn from(problem: &Problem) -> Self {
        Self { kind: problem.kind.into(), sentence: problem.sentence.clone() }
    }
}

impl From<(ObjectRef, Option<Name>)> for VersionStatus {
    fn from((object, version): (ObjectRef, Option<Name>)) -> Self {
        Self { kind: object.kind.into(), name: object.name, version }
    }
}

impl From<(Name, ObjectRef)> for AbsentStatus {
    fn from((container, object): (Name, ObjectRef)) -> Self {
        Self { container, object: object.into() }
    }
}

impl From<ObjectRef> for ObjectStatus {
    fn from(object: ObjectRef) -> Self {
        Self { kind: object.kind.into(), name: object.name }
    }
}

/// Something in a running container that isn't what the API server shows, with the time by which it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stale {
    pub(crate) volume: Option<Name>,
    pub(crate) container: Option<Name>,
    pub(crate) object: Option<ObjectRef>,
    pub(crate) reason: StaleReason,
    pub(crate) since: Time,
}

impl Stale {
    /// What people see of it at a time.
    pub(crate) fn status(self, now: Time) -> StaleStatus {
        StaleStatus {
            reason: self.reason.into(),
            code: self.reason.code().map(|why| why.as_str().to_owned()),
            seconds: Age(now.since(self.since)),
            volume: self.volume,
            container: self.container,
            object: self.object.map(ObjectStatus::from),
        }
    }
}

closed_set! {
    /// Why something is stale.
    pub enum StaleReason {
        /// The kubelet hasn't published the newest version yet.
        Waiting => "waiting",
        /// It is on disk, and the process wasn't told.
        Undelivered => "undelivered",
        /// It is on disk, and the process isn't told, since it ended after the last two signals, or another replica's after it was told of this.
        Suspended => "held",
        /// The container mounts it by subPath.
        SubPath => "subpath",
        /// The container has it in its environment.
        Environment => "env",
        /// The container mounts it as a directory, was started before, and nobody tells it.
        Files => "files",
        /// An init container took it, and isn't run again.
        Init => "init",
        /// The container took something of the object at its start, and the object was written since: whether that changed what it took isn't known.
        Unsure => "unsure",
        /// The object was immutable and made anew: the kubelet doesn't look at it.
        Immutable => "immutable",
        /// The volume was made anew and the container sees the one before.
        Orphaned => "orphaned",
    }
}

impl StaleReason {
    /// Why a change never reaches the container in place, where that is so whatever happens.
    pub const fn code(self) -> Option<Why> {
        match self {
            Self::SubPath => Some(Why::FrozenSubPath),
            Self::Environment => Some(Why::FrozenEnvironment),
            Self::Init => Some(Why::InitContainer),
            Self::Waiting
            | Self::Undelivered
            | Self::Suspended
            | Self::Files
            | Self::Unsure
            | Self::Immutable
            | Self::Orphaned => None,
        }
    }
}

/// Numbers for gauges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pods that are watched.
    pub watched: usize,
    /// Pods whose annotations have problems.
    pub invalid: usize,
    /// The namespaces of these pods.
    pub namespaces: BTreeSet<Name>,
    /// Those of them with pods that are told by requests.
    pub requesting: BTreeSet<Name>,
    /// Watched volumes by kind, in the order of [`VolumeKind::ALL`].
    pub volumes: [usize; VolumeKind::ALL.len()],
    /// Problems by kind, in the order of [`ProblemKind::ALL`].
    pub problems: [usize; ProblemKind::ALL.len()],
    /// What is stale by reason, in the order of [`StaleReason::ALL`].
    pub stale: [usize; StaleReason::ALL.len()],
    /// Since when the oldest of each reason is, in the same order.
    pub oldest_stale: [Option<Time>; StaleReason::ALL.len()],
    /// Containers that have left unread what they were told of, in the order of [`Unread::ALL`].
    pub unread: [usize; Unread::ALL.len()],
}

impl Counts {
    /// How many problems of a kind stand.
    pub fn problems_of(&self, kind: ProblemKind) -> usize {
        self.problems[kind.index()]
    }
}
