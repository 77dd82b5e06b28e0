//! What comes in and what goes out.

use std::sync::Arc;
use std::time::Duration;

use crate::model::closed::closed_set;
use crate::model::names::Name;
use crate::model::object::{ObjectKind, ObjectRef};
use crate::model::pod::ContainerKind;
use crate::model::restart::{Grant, Instance, Said};
use crate::model::time::Time;
use crate::policy::problem::Problem;
use crate::policy::reloader::Telling;
use crate::rollouts::content::{Content, Seen};
use crate::rollouts::ledger::{Access, Records, Shard};
use crate::rollouts::workload::{Workload, WorkloadRef};

/// Something that has happened. Moments are by the time since the epoch.
#[derive(Clone, Debug)]
pub enum Event {
    /// What the API server says of a workload; `None` once there is none of this name.
    Workload(WorkloadRef, Option<Arc<Workload>>),
    /// What it says of an object, without its content; `None` once there is none of this name.
    Object(ObjectRef, Option<Seen>),
    /// All that there is was told once.
    Synced,
    /// The answer to [`Action::Fetch`].
    Content(ObjectRef, Option<Arc<Content>>),
    /// [`Action::Fetch`] had no answer.
    Unfetched(ObjectRef, String),
    /// The answer to it can't be understood, or has more keys than are kept of an object.
    Unfit(ObjectRef),
    /// The answer to [`Access::Read`]: at which version it is, if it is there, and what it holds.
    Read(Shard, Option<Name>, Records),
    /// [`Access::Write`] was done: at which version it is.
    Wrote(Shard, Name),
    /// An access had no answer, or was refused, for this reason; without one somebody else has written the shard.
    Lost(Shard, Option<String>),
    /// The answer to [`Action::ListPods`].
    Pods(WorkloadRef, Listed),
    /// [`Action::ListPods`] had no answer, or was refused, for this reason.
    Unlisted(WorkloadRef, String),
    /// The answer to [`Action::Roll`].
    Rolled(WorkloadRef, Answer),
    /// The answer to [`Action::Grant`].
    Granted(WorkloadRef, Granted),
    /// The answer to [`Action::LookAt`]: the pod of that name, if there is one, and what its agent has said of grants.
    Looked(WorkloadRef, Option<Pod>, Vec<Said>),
    /// [`Action::LookAt`] had no answer.
    Unlooked(WorkloadRef),
    /// Whether the account may roll: it is fenced in, or needn't be.
    Fence(bool),
    /// The namespaces in which a person holds rolls, and whether in all.
    Holds {
        /// In all of them.
        all: bool,
        /// In these.
        namespaces: Vec<Name>,
    },
}

/// What there is of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The mark in its template, as that was read before its pods were listed: a watch may be behind.
    pub mark: Option<Name>,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// The marks in the templates of its revisions (ReplicaSets, ControllerRevisions): of one that is there a roll was made, whatever the
    /// workload's template says by now.
    pub marks: Vec<Name>,
    /// Whether one of its pods may be taken away.
    pub disruption: Disruption,
}

/// A pod of a workload, as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: Name,
    /// Its UID.
    pub uid: Name,
    /// Its `resourceVersion`.
    pub version: Name,
    /// When it was made.
    pub created: Time,
    /// When the revision of the template was that it is made of; `None` where that isn't known.
    pub revision: Option<Time>,
    /// Whether that is the newest revision.
    pub is_current: bool,
    /// Whether it is being taken away.
    pub is_terminating: bool,
    /// Whether it is ready.
    pub is_ready: bool,
    /// Its ordinal, if it has one, as a StatefulSet's pods do.
    pub ordinal: Option<u32>,
    /// What it was granted last.
    pub grant: Option<Grant>,
    /// So long its containers have to end.
    pub grace: Duration,
    /// Its containers.
    pub containers: Vec<PodContainer>,
}

impl Pod {
    /// What it was granted last, if that belongs to the roll with this mark.
    pub(crate) fn granted(&self, marker: &Name) -> Option<&Grant> {
        self.grant.as_ref().filter(|grant| grant.marker == *marker)
    }

    /// The containers that a grant names, whichever of their names they are by now.
    pub(crate) fn named<'a>(&'a self, grant: &'a Grant) -> impl Iterator<Item = &'a PodContainer> {
        self.containers.iter().filter(|container| grant.instance(&container.name).is_some())
    }
}

/// A container of a pod, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodContainer {
    /// Its name.
    pub name: Name,
    /// Its part.
    pub kind: ContainerKind,
    /// Since when it runs, by its node's clock; `None` for one that doesn't. Of an init container that has ended, since when it ran.
    pub since: Option<Time>,
    /// Which one of its name it is; `None` where there was none yet.
    pub instance: Option<Instance>,
    /// How often it was started again.
    pub restarts: u32,
    /// What its spec has against a restart in place.
    pub obstacle: Option<Obstacle>,
}

closed_set! {
    /// Why a pod isn't restarted in place.
    pub enum Obstacle {
        /// A container has a `preStop` hook.
        PreStop => "pre-stop",
        /// A container that ends isn't started again, or by rules of its own.
        NoRestart => "no-restart",
        /// An init container has the old content: it isn't run again.
        Init => "init-container",
        /// More containers have the old content than a grant can name.
        TooMany => "too-many",
        /// A kubelet keeps the content of an immutable object.
        Immutable => "immutable",
        /// A container was started again less than ten minutes ago: the kubelet would wait before it does so once more.
        Recent => "recent",
        /// The first process of a container doesn't handle its stop signal.
        Unhandled => "unhandled",
        /// The agent of its node found no process to tell.
        NotFound => "not-found",
        /// The kernel denied the signal.
        Denied => "denied",
        /// The agent of its node sends no signals.
        DryRun => "dry-run",
        /// A container was sent its stop signal, and hasn't ended in the time that it has for that.
        StillRuns => "still-runs",
        /// The pod itself doesn't ask for it.
        Unasked => "unasked",
        /// The API server refuses what it is to be granted.
        Refused => "refused",
        /// No agent has done anything about the grant.
        Unanswered => "unanswered",
        /// After a restart a `subPath` mount shows an old content, or nobody could see what it shows.
        Unproved => "unproved",
    }
}

closed_set! {
    /// Whether a pod may be taken away, by the PodDisruptionBudgets.
    pub enum Disruption {
        /// One may.
        Allowed => "allowed",
        /// None may.
        Forbidden => "forbidden",
    }
}

/// What came of a change of a template.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It was taken; the workload is this by now.
    Taken(Arc<Workload>),
    /// The workload isn't what it was, or it isn't known what came of it.
    Conflict,
    /// It was refused, for this reason.
    Refused(String),
}

/// What came of a grant to a pod.
#[derive(Clone, Debug)]
pub enum Granted {
    /// The pod has it.
    Taken,
    /// The pod isn't what it was, or it isn't known what came of it.
    Conflict,
    /// It was refused, for this reason.
    Refused(String),
}

/// A grant for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The pod's name.
    pub pod: Name,
    /// Its UID.
    pub uid: Name,
    /// Its `resourceVersion`.
    pub version: Name,
    /// What it is granted.
    pub grant: Grant,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A shard is to be read or written.
    Access(Shard, Access),
    /// An object's content is to be read, from etcd.
    Fetch(ObjectRef),
    /// A workload's pods are to be listed.
    ListPods(WorkloadRef),
    /// A workload is to be read: [`Event::Workload`] comes of it.
    Refetch(WorkloadRef),
    /// A workload's template is to get a mark.
    Roll(WorkloadRef, Mark),
    /// A pod of a workload is to get a grant.
    Grant(WorkloadRef, Restart),
    /// It is to be looked at how a pod of a workload is, by its name, and, if that is of interest, what its agent has said.
    LookAt(WorkloadRef, Name, bool),
    /// People are to be told.
    Report(WorkloadRef, Report),
}

/// A mark for a template, and of which workload it is meant to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The workload's UID.
    pub uid: Name,
    /// Its `resourceVersion`.
    pub version: Name,
    /// The mark.
    pub marker: Name,
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The workload's annotations have these problems, and nothing is done as long as it is so; or none any more.
    Problems(Vec<Problem>),
    /// A roll has begun, for these objects.
    Started(Vec<(ObjectKind, Name)>),
    /// The restart of its pods in place has begun, for these objects.
    Restarting(Vec<(ObjectKind, Name)>),
    /// Its pods can't be restarted in place, for this; whether new ones take their place instead.
    NotInPlace(Obstacle, bool),
    /// All pods are available with the new content, and have been for as long as shows that they stay so.
    Finished,
    /// The roll is over, as there are no pods any more.
    Emptied,
    /// They weren't in time.
    Failed,
    /// Somebody has taken the mark out of the template.
    Undone,
    /// A roll waits, for this.
    Waits(Wait),
    /// A roll waits for this, since something can't be done, for this reason.
    Blocked(Wait, String),
    /// Pods are stale, and nothing is done about it.
    Stale(Telling),
    /// A change of the template was refused.
    Refused(String),
}

closed_set! {
    /// What a roll waits for.
    pub enum Wait {
        /// For changes to end.
        Debounce => "debounce",
        /// Its annotations have a problem.
        Problem => "problem",
        /// For the proof that the controller's account is fenced in.
        Fence => "fence",
        /// What is remembered of it can't be written, or read.
        State => "state",
        /// Its pods can't be listed.
        Pods => "pods",
        /// What an object that it uses holds can't be read.
        Objects => "objects",
        /// A person holds it.
        Held => "held",
        /// For its window.
        Window => "window",
        /// It was rolled not long ago.
        Interval => "interval",
        /// It was rolled too often.
        Flapping => "flapping",
        /// For another workload with an earlier wave.
        Wave => "wave",
        /// For the first workload with this content.
        First => "first",
        /// The first workload with this content didn't become available.
        Failed => "failed",
        /// As many are rolled as may be at a time.
        Budget => "budget",
        /// It is rolled just now.
        Rolling => "rolling",
        /// It isn't available.
        Unavailable => "unavailable",
        /// A PodDisruptionBudget allows no disruption.
        Disruption => "disruption",
        /// The API server refuses it.
        Refused => "refused",
        /// A pod that is to be restarted in place can't be.
        InPlace => "in-place",
        /// A pod that is to be restarted in place was restarted not long ago.
        Recent => "recent",
    }
}

impl Wait {
    /// Whether it ends by itself, with time or with other rolls, and nobody is asked to do anything.
    pub(crate) const fn passes(self) -> bool {
        match self {
            Self::Debounce | Self::Interval | Self::Wave | Self::First | Self::Budget | Self::Rolling => true,
            Self::Problem
            | Self::Fence
            | Self::State
            | Self::Pods
            | Self::Objects
            | Self::Held
            | Self::Window
            | Self::Flapping
            | Self::Failed
            | Self::Unavailable
            | Self::Disruption
            | Self::Refused
            | Self::InPlace
            | Self::Recent => false,
        }
    }
}
