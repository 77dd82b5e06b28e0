//! What a change of a ConfigMap or a Secret does to each container that uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::names::Name;
use crate::model::object::ObjectKind;
use crate::model::pod::{Container, ContainerKind, EnvironmentSource, PodSpec, Volume, VolumeSource};
use crate::policy::plan::{Allowed, Plan};
use crate::policy::problem::Problem;

pub use effect::{Effect, Way, Why};
pub use judge::is_clusters;
use judge::{Judge, Verdict};
pub use known::{Keys, Known};
pub use part::{Part, Subject};
use used::{Used, What, have_others};

mod effect;
mod judge;
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
    /// Whether the container is told by its own name only, as another one could be meant, too.
    pub by_name: bool,
    /// Whether the container has it for certain; else it may be no more than a text that looks like a variable.
    pub is_certain: bool,
    /// What a change does.
    pub effect: Effect,
    /// Why.
    pub why: Why,
}

/// The mounts of an object of which some container is told, or which its program watches: what else is said of the same mount is of
/// files that the pod leaves out.
pub fn live_mounts<'a>(references: impl Iterator<Item = &'a Reference>) -> BTreeSet<Mount<'a>> {
    let live = references.filter(|reference| matches!(reference.why, Why::Told | Why::Watches));
    live.map(Reference::mount).collect()
}

/// A container, its volume, and what is used of that.
pub type Mount<'a> = (Option<&'a Name>, Option<&'a Name>, &'a Subject);

impl Reference {
    /// Where it is.
    pub fn mount(&self) -> Mount<'_> {
        (self.container.as_ref(), self.volume.as_ref(), &self.subject)
    }

    /// Whether the pod leaves out these files of a mount of which it counts others, as these mounts are.
    pub fn is_left_out_of(&self, live: &BTreeSet<Mount<'_>>) -> bool {
        self.why == Why::OtherKeys && live.contains(&self.mount())
    }

    /// The object that is used; `None` for what no ConfigMap or Secret is.
    pub fn object(&self) -> Option<(ObjectKind, &Name)> {
        match &self.subject {
            Subject::Object(kind, name) => Some((*kind, name)),
            Subject::Class(_) | Subject::Driver(_) => None,
        }
    }

    /// The same of those items alone whose paths are such.
    fn with_items(mut self, fits: impl Fn(&str) -> bool) -> Self {
        if let Part::Files { items, .. } = &mut self.part {
            items.retain(|item| fits(item.path.as_str()));
        }
        self
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
    /// What is wrong with what the pod asks for, in the agent's words: nothing is told as long as it is so.
    pub problems: Vec<Problem>,
}

/// What a change does, for each use of an object by the containers of a pod with this spec. `known` says what is known of an object.
pub fn references<'k>(
    spec: &PodSpec,
    namespace: &Name,
    allowed: Allowed,
    known: impl Fn(ObjectKind, &Name) -> Known<'k>,
) -> References {
    let judge = Judge::of(spec, namespace, allowed, &known);
    let mut room = Room::of(spec);
    for container in &spec.containers {
        room.add_container(container, Some(&judge));
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
    judge::name(&mut references.all);
    for reference in &mut references.all {
        if let Some((kind, name)) = reference.object() {
            known(kind, name).decide(reference);
        }
    }
    references.problems = judge.into_problems();
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

/// The files that containers mount as directories and of which nothing reaches them by this plan: what a program has read of them at
/// its start it keeps. Ephemeral containers are there for people.
pub(crate) fn unread(spec: &PodSpec, plan: &Plan) -> Vec<Reference> {
    let mut room = Room::of(spec);
    for container in spec.containers.iter().filter(|container| container.kind != ContainerKind::Ephemeral) {
        // Of a volume that is mounted twice once.
        let mut seen: BTreeSet<&Name> = plan.reaching(&container.name).collect();
        for mount in container.mounts.iter().filter(|mount| mount.sub_path.is_none()) {
            // Looking takes time, too.
            if room.left.references.is_cut {
                return room.left.references.all;
            }
            if seen.insert(&mount.volume) {
                room.add_unread(container, &mount.volume);
            }
        }
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

    /// Adds those of a volume that nobody tells a container of.
    fn add_unread(&mut self, container: &Container, volume: &Name) {
        let Some((volume, used)) = self.volumes.get_mut(volume) else { return };
        for used in used.get_or_insert_with(|| Used::of_volume(volume).collect()) {
            let shown = used.all();
            if matches!(shown.what(), What::Object(kind, object) if is_clusters(kind, &object.name)) {
                continue;
            }
            let why = frozen_why(container, Why::Unasked);
            self.left.add(shown.items(), || Reference {
                container: Some(container.name.clone()),
                role: Some(container.kind),
                ..shown.reference(volume, way_of(volume), None, why)
            });
        }
    }

    /// Adds those of a container: without a plan those that are frozen.
    fn add_container(&mut self, container: &'a Container, judge: Option<&Judge<'_, '_>>) {
        let hidden: Arc<[Name]> = container.variables.iter().cloned().collect();
        for source in &container.environment {
            let way = if source.key.is_some() { Way::Variable } else { Way::Variables };
            self.left.add(0, || taken(container, source, way, Why::FrozenEnvironment, &hidden));
        }
        // The environment has them, too.
        let single = judge::single(container);
        for source in container.arguments.iter().filter(|_| judge.is_some()) {
            let Some(is_certain) = judge.and_then(|judge| judge.takes(&single, source)) else { continue };
            self.left.add(0, || {
                let reference = taken(container, source, Way::Arguments, Why::FrozenArguments, &hidden);
                Reference { is_certain, ..reference }
            });
        }
        for mount in container.mounts.iter().filter(|mount| judge.is_some() || mount.sub_path.is_some()) {
            let Some((volume, used)) = self.volumes.get_mut(&mount.volume) else { continue };
            let used = used.get_or_insert_with(|| Used::of_volume(volume).collect());
            let path = mount.sub_path.as_ref();
            let own = |reference| {
                let (container, role) = (Some(container.name.clone()), Some(container.kind));
                Reference { container, role, ..reference }
            };
            let mut is_empty = true;
            for used in &*used {
                // Looking takes time, too.
                if self.left.references.is_cut {
                    return;
                }
                let Some(shown) = path.map_or_else(|| Some(used.all()), |path| used.at(path)) else {
                    continue;
                };
                is_empty = false;
                let (None, Some(judge)) = (path, judge) else {
                    let why = frozen_why(container, Why::FrozenSubPath);
                    self.left.add(shown.items(), || own(shown.reference(volume, Way::SubPath, path, why)));
                    continue;
                };
                let Verdict { effect, why, of_some } = judge.judge(container, volume, &shown);
                let whole = || own(shown.reference(volume, way_of(volume), None, why));
                self.left.add(shown.items(), || {
                    let reference = Reference { effect, ..whole() };
                    match of_some {
                        None => reference,
                        Some(files) => reference.with_items(|path| files.counts(path)),
                    }
                });
                if let Some(files) = of_some {
                    let rest = || Reference { why: Why::OtherKeys, ..whole() };
                    self.left.add(0, || rest().with_items(|path| !files.counts(path)));
                }
            }
            let first = used.first().filter(|_| is_empty && judge.is_some());
            if let Some(first) = first.filter(|_| path.is_some_and(|path| !have_others(volume, path))) {
                let why = Why::EmptySubPath;
                self.left.add(0, || own(first.nothing().reference(volume, Way::SubPath, None, why)));
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
        by_name: false,
        is_certain: true,
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

#[cfg(test)]
mod tests;
