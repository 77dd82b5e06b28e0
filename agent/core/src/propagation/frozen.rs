//! What a container took of ConfigMaps and Secrets at its start and keeps: environment variables and subPath mounts.
//! When the object changes, the container holds what was, until it is restarted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::closed::closed_set;
use crate::model::digest::Files;
use crate::model::names::{FilePath, Name};
use crate::model::object::{ObjectKind, ObjectRef, ObjectVersion, Observed};
use crate::model::pod::{Container, Item, ObjectSource, PodSpec, VolumeSource};
use crate::model::time::Time;
use crate::policy::sources::{self};

/// The kubelet takes what a container is given so long before it starts, at most, as far as is counted on.
const START_DOUBT: Duration = Duration::from_secs(1);

closed_set! {
    /// How a container comes by something that it takes at its start.
    pub enum Way {
        /// `env` or `envFrom`.
        Environment => "env",
        /// `subPath` or `subPathExpr`.
        SubPath => "subpath",
    }
}

/// Something that a container took at its start.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    pub(crate) container: Name,
    pub(crate) way: Way,
    pub(crate) object: ObjectRef,
    part: Part,
    latest: Option<Latest>,
    /// Since when there is no such object, while there is none.
    absent: Option<Time>,
    /// What the object held when the container's process started, and which process that was.
    taken: Option<(Time, Taken)>,
    /// The last version of which it was said that the process needs a restart.
    said: Option<Name>,
}

/// Which part of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Everything,
    Key(Name),
    /// The file at this path, or those below it.
    Path(ObjectSource, FilePath),
}

/// Shared with the object where it is all of it.
type Held = Arc<Files>;

#[derive(Clone, Debug)]
struct Latest {
    held: Held,
    /// The version that brought it, as far as that was seen.
    version: Name,
    /// When it came to hold this for certain: what the agent saw itself by its own clock, else not before that by any of the two
    /// clocks.
    changed: Option<Time>,
    /// By when it held this for certain, and until when the object may have been made; where it was seen only afterwards.
    by: Option<Time>,
    made: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Taken {
    /// The files that the container took are known.
    Known(Held),
    /// Something from before the first look.
    Before,
    /// These, or something of an object that was there before: the next ones where none are known yet.
    Presumed(Option<Held>),
}

/// How much of that is followed for a pod: each variable, each source of a volume at each mount, and each item that such a
/// mount shows. What is beyond is left unmeasured.
const MOST: usize = 4096;

/// What the containers of a pod in this namespace take at their start.
pub(crate) fn of<'a>(
    spec: &'a PodSpec,
    namespace: &Name,
    containers: impl Iterator<Item = &'a Container>,
) -> Vec<Frozen> {
    let mut room = Room { left: MOST, volumes: BTreeMap::new(), frozen: Vec::new() };
    for container in containers {
        if room.add(spec, namespace, container).is_none() {
            break;
        }
    }
    room.frozen
}

struct Room<'a> {
    left: usize,
    /// The sources of the volumes that are mounted by subPath.
    volumes: BTreeMap<&'a Name, Vec<Mounted<'a>>>,
    frozen: Vec<Frozen>,
}

/// A source of a volume, with its items by their paths.
struct Mounted<'a> {
    kind: ObjectKind,
    source: &'a ObjectSource,
    items: BTreeMap<Name, &'a Item>,
}

impl<'a> Room<'a> {
    /// Adds what a container takes; `None` where there is no more room.
    fn add(&mut self, spec: &'a PodSpec, namespace: &Name, container: &'a Container) -> Option<()> {
        let frozen = |way, kind, name: &Name, part| Frozen {
            container: container.name.clone(),
            way,
            object: ObjectRef { kind, namespace: namespace.clone(), name: name.clone() },
            part,
            latest: None,
            absent: None,
            taken: None,
            said: None,
        };
        for source in &container.environment {
            self.left = self.left.checked_sub(1)?;
            let part = source.key.clone().map_or(Part::Everything, Part::Key);
            self.frozen.push(frozen(Way::Environment, source.kind, &source.name, part));
        }
        for mount in &container.mounts {
            let Some(path) = &mount.sub_path else { continue };
            let Some(volume) = spec.volumes.iter().find(|volume| volume.name == mount.volume) else {
                continue;
            };
            for mounted in self.volumes.entry(&volume.name).or_insert_with(|| mounted(&volume.source)) {
                self.left = self.left.checked_sub(1)?;
                if let Some(source) = mounted.at(path) {
                    self.left = self.left.checked_sub(source.items.len())?;
                    let part = Part::Path(source, path.clone());
                    self.frozen.push(frozen(Way::SubPath, mounted.kind, &mounted.source.name, part));
                }
            }
        }
        Some(())
    }
}

fn mounted<'a>(volume: &'a VolumeSource) -> Vec<Mounted<'a>> {
    let mounted = |kind, source: &'a ObjectSource| {
        let items = source.items.iter().map(|item| (item.path.as_name().clone(), item));
        Mounted { kind, source, items: items.collect() }
    };
    volume.objects().map(|(kind, source)| mounted(kind, source)).collect()
}

impl Mounted<'_> {
    /// The source with those of its items that a mount of this path shows, if it shows any.
    fn at(&self, path: &FilePath) -> Option<ObjectSource> {
        // Without items the keys decide; a path that the kubelet expands when the container starts isn't known here.
        if self.items.is_empty() || path.as_str().contains("$(") {
            return Some(self.source.clone());
        }
        let path = path.as_name();
        let below = format!("{path}/");
        let within = self.items.range(Name::from(&*below)..).take_while(|(item, _)| item.starts_with(&below));
        let itself = self.items.get_key_value(path);
        let items: Vec<Item> = itself.into_iter().chain(within).map(|(_, item)| (*item).clone()).collect();
        let shown = ObjectSource { name: self.source.name.clone(), items, optional: self.source.optional };
        (!shown.items.is_empty()).then_some(shown)
    }
}

impl Frozen {
    /// Takes in what the API server says of the object.
    pub(crate) fn observed(&mut self, observed: &Observed, at: Time) {
        let version = match observed {
            Observed::Version(version) => version,
            // What the container took stays what it was.
            Observed::Absent => {
                self.absent.get_or_insert(at);
                if let Some((_, taken @ Taken::Before)) = &mut self.taken {
                    *taken = Taken::Presumed(None);
                }
                return;
            }
            Observed::Unmeasured => {
                (self.latest, self.absent) = (None, None);
                return;
            }
        };
        let held = self.part_of(version);
        let was_absent = self.absent.take().is_some();
        if let Some((_, Taken::Presumed(presumed))) = &mut self.taken {
            presumed.get_or_insert_with(|| held.clone());
        }
        if self.latest.as_ref().is_some_and(|latest| latest.held == held) {
            return;
        }
        let between = version.updated.and_then(|updated| updated.between);
        let number = version.version.clone();
        let is_first_look = self.latest.is_none() && !was_absent;
        self.latest = Some(if is_first_look {
            let made = version.updated.and_then(|updated| updated.made);
            Latest {
                held,
                version: number,
                changed: between.map(|(earliest, _)| earliest),
                by: between.map(|(_, by)| by),
                made,
            }
        } else {
            // The watch may have been behind.
            let changed = between.map_or(at, |(_, latest)| at.min(latest));
            Latest { held, version: number, changed: Some(changed), by: Some(changed), made: None }
        });
    }

    /// Takes in when the container's process started.
    pub(crate) fn started(&mut self, started: Time) {
        if self.taken.as_ref().is_some_and(|(before, _)| *before == started) {
            return;
        }
        let taken = match (&self.latest, self.absent) {
            (None, None) => return,
            (_, Some(absent)) if absent + START_DOUBT < started => Taken::Known(Held::default()),
            (_, Some(_)) => Taken::Presumed(None),
            (Some(latest), None) if latest.by.is_none_or(|by| by + START_DOUBT < started) => {
                Taken::Known(latest.held.clone())
            }
            (Some(latest), None) if latest.made.is_some_and(|made| made + START_DOUBT >= started) => {
                Taken::Presumed(Some(latest.held.clone()))
            }
            (Some(_), None) => Taken::Before,
        };
        (self.taken, self.said) = (Some((started, taken)), None);
    }

    /// Whether there is no such object, as far as is known.
    pub(crate) const fn is_absent(&self) -> bool {
        self.absent.is_some()
    }

    /// Since when the container holds something else than the object does.
    pub(crate) fn stale_since(&self) -> Option<Time> {
        let latest = self.latest.as_ref().filter(|_| !self.is_absent())?;
        let (started, taken) = self.taken.as_ref()?;
        let changed = latest.changed.filter(|changed| changed > started)?;
        let differs = match taken {
            Taken::Known(held) | Taken::Presumed(Some(held)) => *held != latest.held,
            Taken::Before => true,
            Taken::Presumed(None) => false,
        };
        differs.then_some(changed)
    }

    /// The version of which it is to be said now that only a restart brings it: once for each.
    pub(crate) fn take_unsaid(&mut self) -> Option<Name> {
        self.stale_since()?;
        let version = self.latest.as_ref().map(|latest| latest.version.clone());
        if self.said == version {
            return None;
        }
        self.said.clone_from(&version);
        version
    }

    fn part_of(&self, version: &Arc<ObjectVersion>) -> Held {
        match &self.part {
            Part::Everything => version.keys.clone(),
            Part::Key(key) => {
                let found = version.keys.get_key_value(key).map(|(key, digest)| (key.clone(), *digest));
                Arc::new(found.into_iter().collect())
            }
            Part::Path(source, path) => {
                let files = sources::files(source, Some(version)).unwrap_or_default();
                // A path that the kubelet expands when the container starts isn't known here.
                if path.as_str().contains("$(") {
                    return files;
                }
                let path = path.as_name();
                let below = format!("{path}/");
                let part = files
                    .iter()
                    .filter(|(file, _)| *file == path || file.starts_with(&below))
                    .map(|(file, digest)| (file.clone(), *digest));
                Arc::new(part.collect())
            }
        }
    }
}

#[cfg(test)]
mod tests;
