//! References in words.

use std::fmt;

use crate::model::pod::ContainerKind;
use crate::model::shown::{listed, quoted};
use crate::policy::annotations::{CONTAINER_SIGNAL_PREFIX, HTTP, KEYS, PROCESS, SIGNAL};

use super::{Effect, Reference, Way, Why};

impl Reference {
    /// The line that would change what a change does, or how else that is changed; `None` where nothing needs to be.
    pub fn remedy(&self) -> Option<String> {
        let container = self.container.as_deref().unwrap_or_default();
        let line = match self.why {
            Why::Told
            | Why::Watches
            | Why::InitContainer
            | Why::Ephemeral
            | Why::ClusterObject
            | Why::OtherVolume
            | Why::Ignored => return None,
            Why::Immutable => {
                String::from("make another one under another name, and name that in the workload")
            }
            Why::FrozenEnvironment => String::from(
                "mount it as a directory and let the program read the files, or roll the workload",
            ),
            Why::FrozenArguments => {
                String::from("let the program read the files of a directory mount, or roll the workload")
            }
            Why::FrozenSubPath => {
                String::from("mount the volume as a directory, without subPath, or roll the workload")
            }
            Why::EmptySubPath => String::from("name the path of one of the volume's items"),
            Why::Unmounted => String::from("mount the volume, or take it away"),
            Why::Unasked if !self.by_name => {
                format!(
                    "{SIGNAL}: the signal at which the program loads its files, or none if it watches them itself; or {HTTP}: the \
                     request at which it does"
                )
            }
            Why::Problem => String::from("solve the problem"),
            Why::System => String::from("roll the workload after a change"),
            Why::Supervisor => format!("name the program that is to be told in {PROCESS}"),
            Why::Unasked | Why::OtherContainer | Why::Sidecar => {
                format!(
                    "{CONTAINER_SIGNAL_PREFIX}{container}: the signal at which its program loads its files, or none if it watches them \
                     itself"
                )
            }
            Why::OtherKeys => format!("add its files to {KEYS}"),
            Why::Writable => String::from("write readOnly: true at the volume's csi"),
        };
        Some(line)
    }
}

impl fmt::Display for Reference {
    /// One sentence: who uses what of which object, and what a change does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.container, self.role) {
            (Some(container), Some(ContainerKind::Sidecar)) => write!(f, "sidecar {}", quoted(container))?,
            (Some(container), Some(ContainerKind::Init)) => {
                write!(f, "init container {}", quoted(container))?
            }
            (Some(container), Some(ContainerKind::Ephemeral)) => {
                write!(f, "ephemeral container {}", quoted(container))?;
            }
            (Some(container), Some(ContainerKind::Regular) | None) => {
                write!(f, "container {}", quoted(container))?
            }
            (None, _) => write!(f, "volume {}", quoted(self.volume.as_deref().unwrap_or_default()))?,
        }
        f.write_str(match self.way {
            Way::Directory | Way::Projected | Way::Csi => " mounts ",
            Way::SubPath => " mounts by subPath ",
            Way::Variable | Way::Variables => " takes into its environment ",
            Way::Arguments if !self.is_certain => " may take into its command line ",
            Way::Arguments => " takes into its command line ",
            Way::Unmounted => " has ",
        })?;
        write!(f, "{} {}", self.subject.written(), quoted(self.subject.name()))?;
        match &*self.part.written_keys() {
            [] => {}
            [key] => write!(f, " (key {})", quoted(key))?,
            keys => write!(f, " (keys {})", listed(keys.iter().map(|key| &***key)))?,
        }
        f.write_str(": ")?;
        match &self.effect {
            Effect::Signal(signal) => return write!(f, "a change is told by {signal}"),
            Effect::Http(request) => return write!(f, "a change is told by {request}"),
            Effect::Itself => return f.write_str("the program watches its files itself"),
            Effect::Roll => f.write_str("a change rolls the workload, since ")?,
            Effect::Restart => f.write_str("a change has the container restarted in place, since ")?,
            Effect::Never => {}
        }
        f.write_str(match self.why {
            Why::Told | Why::Watches => "it is told",
            Why::FrozenEnvironment => "an environment stays as it was when the container started",
            Why::FrozenArguments => "a command line stays as it was when the container started",
            Why::FrozenSubPath => "a subPath mount stays as it was when the container started",
            Why::EmptySubPath => "the path is that of none of the items, so that the mount shows nothing of it",
            Why::InitContainer => {
                "an init container has ended by then; it reads what there is when the pod is made anew"
            }
            Why::Unmounted => "no container mounts it",
            Why::Unasked => "its files change, and nobody says how the program comes to load them",
            Why::Problem => {
                "its files change, and nothing is sent while the pod's annotations have a problem"
            }
            Why::OtherContainer => "its files change, and another container is told",
            Why::Sidecar => "its files change, and native sidecars are told by name only",
            Why::Ephemeral => "its files change, and an ephemeral container is never told",
            Why::Writable => {
                "the pod may write into it, so that what changes in it needn't be the driver's, and nobody is told"
            }
            Why::OtherVolume => "its files change, and the volume isn't one of those that count",
            Why::OtherKeys => "its files change, and none of them is one of those that count",
            Why::Supervisor => "its files change, and the container runs a supervisor, which is never told",
            Why::System => "its files change, and agents run on Linux only",
            Why::Immutable => "it is immutable, and never changes",
            Why::Ignored => "its files change, and its owner keeps it from triggering anything",
            Why::ClusterObject => "the cluster's own certificates count only in a volume that is named",
        })
    }
}
