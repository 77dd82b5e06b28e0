//! What a change of a ConfigMap or a Secret does to each container that uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::names::Name;
use crate::model::object::ObjectKind;
use crate::model::pod::{
    Container, ContainerKind, EnvironmentSource, ObjectSource, PodSpec, Volume, VolumeSource,
};
use crate::policy::plan::{Allowed, Plan, Planned};
use crate::policy::select::{self, cluster_key};

pub use effect::{Effect, Way, Why};
pub use known::{Keys, Known};
pub use part::{Part, Subject};
use used::{Shown, Used, What};

mod effect;
mod known;
mod part;
mod used;
mod words;

/// The most references of one pod, each of the items of its volumes that it names counted as one more: what is beyond is left out. A
/// few mounts of a few sources make many of them.
pub const MOST: usize = 4096;

/// One use of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The container; `None` for a volume that no container mounts.
    pub container: Option<Name>,
    /// What part the container plays.
    pub role: Option<ContainerKind>,
    /// What is used.
    pub subject: Subject,
    /// Which part of it.
    pub part: Part,
    /// How the container comes by it.
    pub way: Way,
    /// The volume, where there is one.
    pub volume: Option<Name>,
    /// Whether the object, or the key, may be missing.
    pub optional: bool,
    /// What a change does.
    pub effect: Effect,
    /// Why.
    pub why: Why,
}

impl Reference {
    /// The object that is used; `None` for what no ConfigMap or Secret is.
    pub fn object(&self) -> Option<(ObjectKind, &Name)> {
        match &self.subject {
            Subject::Object(kind, name) => Some((*kind, name)),
            Subject::Class(_) | Subject::Driver(_) => None,
        }
    }
}

/// The references of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// They, in the order of the spec: of each container first its environment, then its command line, then its mounts; at last the
    /// volumes that nobody mounts.
    pub all: Vec<Reference>,
    /// Whether some are left out, as there are more than [`MOST`].
    pub is_cut: bool,
}

/// What a change does, for each use of an object by the containers of a pod with this spec. `known` says what is known of an object.
pub fn references<'k>(
    spec: &PodSpec,
    namespace: &Name,
    allowed: Allowed,
    known: impl Fn(ObjectKind, &Name) -> Known<'k>,
) -> References {
    let planned = select::plan(spec, namespace, allowed);
    let mut room = Room::of(spec);
    for container in &spec.containers {
        room.add_container(container, Some(&planned));
    }
    let mounted: BTreeSet<&Name> =
        spec.containers.iter().flat_map(|container| &container.mounts).map(|mount| &mount.volume).collect();
    for volume in spec.volumes.iter().filter(|volume| !mounted.contains(&volume.name)) {
        for used in Used::of_volume(volume) {
            let shown = used.all();
            room.left.add(shown.items(), || shown.reference(volume, Way::Unmounted, None, Why::Unmounted));
        }
    }
    let mut references = room.left.references;
    for reference in &mut references.all {
        if let Some((kind, name)) = reference.object() {
            known(kind, name).decide(reference);
        }
    }
    references
}

/// What the containers of a pod with this spec take at their start and keep: those of its [`references`] whose content never changes
/// in a running container, whatever the pod's annotations say.
pub(crate) fn frozen(spec: &PodSpec) -> Vec<Reference> {
    let mut room = Room::of(spec);
    for container in &spec.containers {
        room.add_container(container, None);
    }
    room.left.references.all
}

/// The references so far, and what they are made of.
struct Room<'a> {
    volumes: BTreeMap<&'a Name, (&'a Volume, Option<Vec<Used<'a>>>)>,
    left: Left,
}

/// The references so far, and for how many more there is room.
struct Left {
    count: usize,
    references: References,
}

impl Left {
    /// Adds one that names so many items, if there is room for it.
    fn add(&mut self, items: usize, reference: impl FnOnce() -> Reference) {
        match self.count.checked_sub(1 + items) {
            Some(count) => {
                self.count = count;
                self.references.all.push(reference());
            }
            None => (self.count, self.references.is_cut) = (0, true),
        }
    }
}

impl<'a> Room<'a> {
    fn of(spec: &'a PodSpec) -> Self {
        let volumes = spec.volumes.iter().map(|volume| (&volume.name, (volume, None))).collect();
        Self { volumes, left: Left { count: MOST, references: References::default() } }
    }

    /// Adds those of a container: without a plan those that are frozen.
    fn add_container(&mut self, container: &'a Container, planned: Option<&Planned>) {
        let hidden: Arc<[Name]> = container.variables.iter().cloned().collect();
        for source in &container.environment {
            let way = if source.key.is_some() { Way::Variable } else { Way::Variables };
            self.left.add(0, || taken(container, source, way, Why::FrozenEnvironment, &hidden));
        }
        // The environment has them, too.
        for source in container.arguments.iter().filter(|_| planned.is_some()) {
            self.left.add(0, || taken(container, source, Way::Arguments, Why::FrozenArguments, &hidden));
        }
        for mount in container.mounts.iter().filter(|mount| planned.is_some() || mount.sub_path.is_some()) {
            let Some((volume, used)) = self.volumes.get_mut(&mount.volume) else { continue };
            for used in used.get_or_insert_with(|| Used::of_volume(volume).collect()) {
                // Looking takes time, too.
                if self.left.references.is_cut {
                    return;
                }
                let path = mount.sub_path.as_ref();
                let Some(shown) = path.map_or_else(|| Some(used.all()), |path| used.at(path)) else {
                    continue;
                };
                let reference = || match (path, planned) {
                    (None, Some(planned)) => {
                        let (effect, why) = mounted(planned, container, volume, &shown);
                        Reference { effect, ..shown.reference(volume, way_of(volume), None, why) }
                    }
                    (path, _) => {
                        let why = frozen_why(container, Why::FrozenSubPath);
                        shown.reference(volume, Way::SubPath, path, why)
                    }
                };
                let (name, role) = (Some(container.name.clone()), Some(container.kind));
                self.left.add(shown.items(), || Reference { container: name, role, ..reference() });
            }
        }
    }
}

fn way_of(volume: &Volume) -> Way {
    match &volume.source {
        VolumeSource::ConfigMap(_) | VolumeSource::Secret(_) => Way::Directory,
        VolumeSource::Projected(_) => Way::Projected,
        VolumeSource::DownwardApi | VolumeSource::Other => Way::Csi,
    }
}

/// What a container takes into its environment.
fn taken(
    container: &Container,
    source: &EnvironmentSource,
    way: Way,
    why: Why,
    hidden: &Arc<[Name]>,
) -> Reference {
    let part = match &source.key {
        Some(key) => Part::Key(key.clone()),
        None if hidden.is_empty() && source.prefix.is_none() => Part::Everything,
        None => Part::Variables { prefix: source.prefix.clone(), hidden: hidden.clone() },
    };
    Reference {
        container: Some(container.name.clone()),
        role: Some(container.kind),
        subject: Subject::Object(source.kind, source.name.clone()),
        part,
        way,
        volume: None,
        optional: source.optional,
        effect: Effect::Never,
        why: frozen_why(container, why),
    }
}

fn frozen_why(container: &Container, why: Why) -> Why {
    match container.kind {
        ContainerKind::Regular | ContainerKind::Sidecar | ContainerKind::Ephemeral => why,
        ContainerKind::Init => Why::InitContainer,
    }
}

/// What a change does to a container that mounts the volume as a directory.
fn mounted(
    planned: &Planned,
    container: &Container,
    volume: &Volume,
    shown: &Shown<'_, '_>,
) -> (Effect, Why) {
    let plan = match planned {
        Planned::Plan(plan) => plan,
        Planned::LeftAlone => return (Effect::Never, never_told(container).unwrap_or(Why::Unasked)),
        Planned::Invalid(_) => return (Effect::Never, never_told(container).unwrap_or(Why::Problem)),
    };
    let told = plan.targets.iter().find(|target| target.container == container.name);
    let measured = plan.measured.iter().find(|measured| measured.container == container.name);
    let (effect, why, volumes) = match (told, measured) {
        (Some(told), _) => (Effect::of(&told.means), Why::Told, &told.volumes),
        (None, Some(measured)) => (Effect::Itself, Why::Watches, &measured.volumes),
        (None, None) => return (Effect::Never, not_told(container)),
    };
    let left_out = match shown.what() {
        What::Csi(csi) if !csi.read_only => Some(Why::Writable),
        What::Csi(_) => (!volumes.contains(&volume.name)).then_some(Why::OtherVolume),
        What::Object(_, object) if !volumes.contains(&volume.name) => {
            let is_clusters = cluster_key(&object.name).is_some();
            Some(if is_clusters { Why::ClusterObject } else { Why::OtherVolume })
        }
        What::Object(_, object) => leaves_out(plan, &volume.name, object),
    };
    left_out.map_or((effect, why), |why| (Effect::Never, why))
}

/// Why a container is never told, whatever is asked for.
fn never_told(container: &Container) -> Option<Why> {
    match container.kind {
        ContainerKind::Regular | ContainerKind::Sidecar => None,
        ContainerKind::Init => Some(Why::InitContainer),
        ContainerKind::Ephemeral => Some(Why::Ephemeral),
    }
}

fn not_told(container: &Container) -> Why {
    never_told(container).unwrap_or(match container.kind {
        ContainerKind::Sidecar => Why::Sidecar,
        ContainerKind::Regular | ContainerKind::Init | ContainerKind::Ephemeral => Why::OtherContainer,
    })
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

#[cfg(test)]
mod tests;
