//! How a container comes by an object, what a change of that does, and why.

use std::sync::Arc;

use crate::model::closed::closed_set;
use crate::model::means::{Means, Request};
use crate::model::signal::Signal;

closed_set! {
    /// How a container comes by what an object holds.
    pub enum Way {
        /// A volume of one ConfigMap or Secret that is mounted as a directory.
        Directory => "directory",
        /// A volume of several sources that is mounted as a directory.
        Projected => "projected",
        /// A volume of a CSI driver that is mounted as a directory.
        Csi => "csi",
        /// A mount of a part of a volume (`subPath`, `subPathExpr`).
        SubPath => "subpath",
        /// One variable of its environment (`env`).
        Variable => "env",
        /// All keys as variables (`envFrom`).
        Variables => "envfrom",
        /// A variable in its command line (`$(NAME)` in `command` and `args`).
        Arguments => "args",
        /// A volume that no container mounts.
        Unmounted => "unmounted",
    }
}

closed_set! {
    /// Why a change does what it does: a code that `reloadlet check` prints.
    pub enum Why {
        /// The container is told.
        Told => "told",
        /// Its program watches the files itself, as the pod says.
        Watches => "watches",
        /// An environment is made when a container starts.
        FrozenEnvironment => "frozen-env",
        /// So is a command line.
        FrozenArguments => "frozen-args",
        /// So is a `subPath` mount.
        FrozenSubPath => "frozen-subpath",
        /// The path of a `subPath` mount isn't in the volume.
        EmptySubPath => "empty-subpath",
        /// An init container has ended by then.
        InitContainer => "init-container",
        /// No container mounts the volume.
        Unmounted => "unmounted",
        /// The files change, and nobody says how the program comes to load them.
        Unasked => "unasked",
        /// The pod's annotations have a problem, and nothing is sent before that is solved.
        Problem => "problem",
        /// Another container is told.
        OtherContainer => "other-container",
        /// A native sidecar, which is told by name only.
        Sidecar => "sidecar",
        /// An ephemeral container, which is never told.
        Ephemeral => "ephemeral-container",
        /// The pod names the volumes that count, and this isn't one of them.
        OtherVolume => "other-volume",
        /// The pod names the files that count, and none of these is one.
        OtherKeys => "other-keys",
        /// The cluster's own certificates, which count only where the volume is named.
        ClusterObject => "cluster-object",
        /// A supervisor stands in the place of the program, and the pod doesn't name the process that is meant.
        Supervisor => "supervisor",
        /// The pod runs on another operating system than agents do.
        System => "os",
        /// The object never changes.
        Immutable => "immutable",
        /// The object's owner keeps it from triggering anything.
        Ignored => "ignored",
        /// A driver's volume into which the pod may write, so that a change in it needn't be one of its object.
        Writable => "csi-writable",
    }
}

/// What a change does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The program is sent a signal.
    Signal(Signal),
    /// A request is made to it.
    Http(Arc<Request>),
    /// The program watches its files itself.
    Itself,
    /// The workload is rolled, since somebody asked for that.
    Roll,
    /// The container is started again in place, since somebody asked for that.
    Restart,
    /// Nothing before the container or the pod is made anew.
    Never,
}

impl Effect {
    pub(super) fn of(means: &Means) -> Self {
        match means {
            Means::Signal(signal) => Self::Signal(*signal),
            Means::Http(request) => Self::Http(request.clone()),
        }
    }
}

impl Why {
    /// Whether it says that a change triggers something, or what would have to be written so that it does.
    pub(super) const fn is_of_triggers(self) -> bool {
        match self {
            Self::Told
            | Self::Unasked
            | Self::OtherContainer
            | Self::Sidecar
            | Self::OtherVolume
            | Self::OtherKeys => true,
            Self::Watches
            | Self::FrozenEnvironment
            | Self::FrozenArguments
            | Self::FrozenSubPath
            | Self::EmptySubPath
            | Self::InitContainer
            | Self::Unmounted
            | Self::Problem
            | Self::Supervisor
            | Self::System
            | Self::Ephemeral
            | Self::ClusterObject
            | Self::Immutable
            | Self::Ignored
            | Self::Writable => false,
        }
    }
}
