//! What a change of a ConfigMap or a Secret does to each container that uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::model::closed::closed_set;
use crate::model::means::{Means, Request};
use crate::model::names::Name;
use crate::model::object::ObjectKind;
use crate::model::pod::{Container, ContainerKind, ObjectSource, PodSpec, VolumeSource};
use crate::model::shown::{listed, quoted};
use crate::model::signal::Signal;
use crate::policy::annotations::{CONTAINER_SIGNAL_PREFIX, HTTP, KEYS, SIGNAL, VOLUMES};
use crate::policy::plan::{Allowed, Plan, Planned};
use crate::policy::select::{self, cluster_key};

/// The most references that are told of one pod: what is beyond is left out.
pub const MOST: usize = 4096;

closed_set! {
    /// How a container comes by what an object holds.
    pub enum Way {
        /// A volume that is mounted as a directory.
        Directory => "directory",
        /// A mount of a part of a volume (`subPath`, `subPathExpr`).
        SubPath => "subpath",
        /// One variable of its environment (`env`).
        Variable => "env",
        /// All keys as variables (`envFrom`).
        Variables => "envfrom",
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
        /// So is a `subPath` mount.
        FrozenSubPath => "frozen-subpath",
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
        /// The pod names the volumes that count, and this isn't one of them.
        OtherVolume => "other-volume",
        /// The pod names the files that count, and none of these is one.
        OtherKeys => "other-keys",
        /// The cluster's own certificates, which count only where the volume is named.
        ClusterObject => "cluster-object",
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
    /// Nothing before the container or the pod is made anew.
    Never,
}

impl Effect {
    fn of(means: &Means) -> Self {
        match means {
            Means::Signal(signal) => Self::Signal(*signal),
            Means::Http(request) => Self::Http(request.clone()),
        }
    }
}

/// One use of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The container; `None` for a volume that no container mounts.
    pub container: Option<Name>,
    /// What part the container plays.
    pub role: Option<ContainerKind>,
    /// The kind of the object.
    pub kind: ObjectKind,
    /// Its name.
    pub object: Name,
    /// The keys that are used, in order; empty for all of them.
    pub keys: Vec<Name>,
    /// How the container comes by it.
    pub way: Way,
    /// The volume, where there is one.
    pub volume: Option<Name>,
    /// What a change does.
    pub effect: Effect,
    /// Why.
    pub why: Why,
}

/// What a change does, for each use of an object by the containers of a pod with this spec, in the order of the spec: of each
/// container first its environment, then its mounts; at last the volumes that nobody mounts. `rolls` says of which objects a change
/// rolls the workload where it can't reach a container in place.
pub fn references(
    spec: &PodSpec,
    namespace: &Name,
    allowed: Allowed,
    rolls: impl Fn(ObjectKind, &Name) -> bool,
) -> Vec<Reference> {
    let planned = select::plan(spec, namespace, allowed);
    let volumes: BTreeMap<&Name, &VolumeSource> =
        spec.volumes.iter().map(|volume| (&volume.name, &volume.source)).collect();
    let mut all = Vec::new();
    for container in &spec.containers {
        all.extend(container.environment.iter().map(|source| Reference {
            container: Some(container.name.clone()),
            role: Some(container.kind),
            kind: source.kind,
            object: source.name.clone(),
            keys: source.key.iter().cloned().collect(),
            way: if source.key.is_some() { Way::Variable } else { Way::Variables },
            volume: None,
            effect: Effect::Never,
            why: frozen(container, Why::FrozenEnvironment),
        }));
        for mount in &container.mounts {
            let Some(source) = volumes.get(&mount.volume) else { continue };
            for (kind, object) in source.objects() {
                // Of few mounts and few sources many references are made.
                if all.len() >= MOST {
                    break;
                }
                let (effect, why) = if mount.sub_path.is_some() {
                    (Effect::Never, frozen(container, Why::FrozenSubPath))
                } else {
                    mounted(&planned, container, &mount.volume, object)
                };
                let way = if mount.sub_path.is_some() { Way::SubPath } else { Way::Directory };
                all.push(Reference {
                    container: Some(container.name.clone()),
                    role: Some(container.kind),
                    effect,
                    why,
                    ..of_volume(kind, object, &mount.volume, way)
                });
            }
        }
    }
    let used: BTreeSet<&Name> =
        spec.containers.iter().flat_map(|container| &container.mounts).map(|mount| &mount.volume).collect();
    for volume in spec.volumes.iter().filter(|volume| !used.contains(&volume.name)) {
        all.extend(
            volume
                .source
                .objects()
                .map(|(kind, object)| of_volume(kind, object, &volume.name, Way::Unmounted)),
        );
    }
    all.truncate(MOST);
    for reference in &mut all {
        if reference.effect == Effect::Never
            && reference.way != Way::Unmounted
            && rolls(reference.kind, &reference.object)
        {
            reference.effect = Effect::Roll;
        }
    }
    all
}

/// One that no container mounts.
fn of_volume(kind: ObjectKind, object: &ObjectSource, volume: &Name, way: Way) -> Reference {
    Reference {
        container: None,
        role: None,
        kind,
        object: object.name.clone(),
        keys: object.items.iter().map(|item| item.key.clone()).collect(),
        way,
        volume: Some(volume.clone()),
        effect: Effect::Never,
        why: Why::Unmounted,
    }
}

fn frozen(container: &Container, why: Why) -> Why {
    match container.kind {
        ContainerKind::Regular | ContainerKind::Sidecar => why,
        ContainerKind::Init => Why::InitContainer,
    }
}

/// What a change does to a container that mounts the volume as a directory.
fn mounted(planned: &Planned, container: &Container, volume: &Name, object: &ObjectSource) -> (Effect, Why) {
    let plan = match planned {
        Planned::Plan(plan) => plan,
        Planned::LeftAlone => return (Effect::Never, frozen(container, Why::Unasked)),
        Planned::Invalid(_) => return (Effect::Never, frozen(container, Why::Problem)),
    };
    let told = plan.targets.iter().find(|target| target.container == container.name);
    let measured = plan.measured.iter().find(|measured| measured.container == container.name);
    let (effect, why, volumes) = match (told, measured) {
        (Some(told), _) => (Effect::of(&told.means), Why::Told, &told.volumes),
        (None, Some(measured)) => (Effect::Itself, Why::Watches, &measured.volumes),
        (None, None) => return (Effect::Never, not_told(container)),
    };
    if !volumes.contains(volume) {
        let is_clusters = cluster_key(&object.name).is_some();
        return (Effect::Never, if is_clusters { Why::ClusterObject } else { Why::OtherVolume });
    }
    match leaves_out(plan, volume, object) {
        Some(why) => (Effect::Never, why),
        None => (effect, why),
    }
}

fn not_told(container: &Container) -> Why {
    match container.kind {
        ContainerKind::Regular => Why::OtherContainer,
        ContainerKind::Sidecar => Why::Sidecar,
        ContainerKind::Init => Why::InitContainer,
    }
}

/// Why none of an object's files in a volume counts, if that is known: without items its keys become files, and which it has isn't
/// in the spec.
fn leaves_out(plan: &Plan, volume: &Name, object: &ObjectSource) -> Option<Why> {
    let files = &plan.volumes.iter().find(|planned| planned.name == *volume)?.files;
    let counts = |path: &str| files.counts(path);
    let is_left_out = match cluster_key(&object.name) {
        Some(key) if object.items.is_empty() => !counts(key),
        Some(_) | None => {
            !object.items.is_empty() && !object.items.iter().any(|item| counts(item.path.as_str()))
        }
    };
    let is_clusters = cluster_key(&object.name).is_some();
    is_left_out.then_some(if is_clusters { Why::ClusterObject } else { Why::OtherKeys })
}

impl Reference {
    /// The line that would change what a change does, or how else that is changed; `None` where nothing needs to be.
    pub fn remedy(&self) -> Option<String> {
        let container = self.container.as_deref().unwrap_or_default();
        let line = match self.why {
            Why::Told | Why::Watches | Why::InitContainer | Why::ClusterObject => return None,
            Why::FrozenEnvironment => String::from(
                "mount it as a directory and let the program read the files, or roll the workload",
            ),
            Why::FrozenSubPath => {
                String::from("mount the volume as a directory, without subPath, or roll the workload")
            }
            Why::Unmounted => String::from("mount the volume, or take it away"),
            Why::Unasked => {
                format!(
                    "{SIGNAL}: the signal at which the program loads its files, or none if it watches them itself; or {HTTP}: the \
                     request at which it does"
                )
            }
            Why::Problem => String::from("solve the problem"),
            Why::OtherContainer | Why::Sidecar => {
                format!(
                    "{CONTAINER_SIGNAL_PREFIX}{container}: the signal at which its program loads its files"
                )
            }
            Why::OtherVolume => {
                format!("add {} to {VOLUMES}", quoted(self.volume.as_deref().unwrap_or_default()))
            }
            Why::OtherKeys => format!("add its files to {KEYS}"),
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
            (Some(container), _) => write!(f, "container {}", quoted(container))?,
            (None, _) => write!(f, "volume {}", quoted(self.volume.as_deref().unwrap_or_default()))?,
        }
        f.write_str(match self.way {
            Way::Directory => " mounts ",
            Way::SubPath => " mounts by subPath ",
            Way::Variable | Way::Variables => " takes into its environment ",
            Way::Unmounted => " has ",
        })?;
        write!(f, "{} {}", self.kind.written(), quoted(&self.object))?;
        match &*self.keys {
            [] => {}
            [key] => write!(f, " (key {})", quoted(key))?,
            keys => write!(f, " (keys {})", listed(keys.iter().map(|key| &**key)))?,
        }
        f.write_str(": ")?;
        match &self.effect {
            Effect::Signal(signal) => return write!(f, "a change is told by {signal}"),
            Effect::Http(request) => return write!(f, "a change is told by {request}"),
            Effect::Itself => return f.write_str("the program watches its files itself"),
            Effect::Roll => f.write_str("a change rolls the workload, since ")?,
            Effect::Never => {}
        }
        f.write_str(match self.why {
            Why::Told | Why::Watches => "it is told",
            Why::FrozenEnvironment => "an environment stays as it was when the container started",
            Why::FrozenSubPath => "a subPath mount stays as it was when the container started",
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
            Why::OtherVolume => "its files change, and the volume isn't one of those that count",
            Why::OtherKeys => "its files change, and none of them is one of those that count",
            Why::ClusterObject => "the cluster's own certificates count only in a volume that is named",
        })
    }
}

#[cfg(test)]
mod tests;
