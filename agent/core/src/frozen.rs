//! What a container took of ConfigMaps and Secrets at its start and keeps: environment variables and subPath mounts.
//! When the object changes, the container holds what was, until it is restarted.

use std::sync::Arc;
use std::time::Duration;

use crate::object::{ObjectRef, ObjectVersion, Observed};
use crate::pod::{Container, Name, Pod};
use crate::sources::{self, Files, Source};
use crate::time::Time;

/// The API server notes whole seconds, rounded down.
const UPDATE_DOUBT: Duration = Duration::from_secs(1);

/// How the container came by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// `env` or `envFrom`.
    Environment,
    /// `subPath` or `subPathExpr`.
    SubPath,
}

/// Something that a container took at its start.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    pub(crate) container: Name,
    pub(crate) way: Way,
    pub(crate) object: ObjectRef,
    part: Part,
    latest: Option<Latest>,
    /// What the object held when the container's process started, and which process that was.
    taken: Option<(Time, Taken)>,
}

/// Which part of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Everything,
    Key(Name),
    /// The file at this path, or those below it.
    Path(crate::pod::ObjectSource, Name),
}

/// Shared with the object where it is all of it.
type Held = Arc<Files>;

#[derive(Clone, Debug)]
struct Latest {
    held: Held,
    /// When it came to hold this, as well as that is known.
    changed: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Taken {
    /// This.
    Known(Held),
    /// Something from before the first look.
    Before,
}

/// What a container of a pod takes at its start.
pub(crate) fn of(pod: &Pod, container: &Container) -> Vec<Frozen> {
    let frozen = |way, object, part| Frozen {
        container: container.name.clone(),
        way,
        object,
        part,
        latest: None,
        taken: None,
    };
    let environment = container.environment.iter().map(|source| {
        let object =
            ObjectRef { kind: source.kind, namespace: pod.namespace.clone(), name: source.name.clone() };
        frozen(Way::Environment, object, source.key.clone().map_or(Part::Everything, Part::Key))
    });
    let mounts = container.mounts.iter().filter_map(|mount| {
        let volume = pod.volumes.iter().find(|volume| volume.name == mount.volume)?;
        Some((mount.sub_path.as_ref()?, sources::of_volume(&volume.source, &pod.namespace)))
    });
    let mounts = mounts.flat_map(|(path, sources)| {
        sources.into_iter().filter_map(move |source| match source {
            Source::Object(object, source) => Some((object, Part::Path(source, path.clone()))),
            Source::Other(_) => None,
        })
    });
    environment.chain(mounts.map(|(object, part)| frozen(Way::SubPath, object, part))).collect()
}

impl Frozen {
    /// Takes in what the API server says of the object.
    pub(crate) fn observed(&mut self, observed: &Observed, at: Time) {
        let version = match observed {
            Observed::Version(version) => Some(version),
            Observed::Absent => None,
            Observed::Unmeasured => {
                self.latest = None;
                return;
            }
        };
        let held = self.part_of(version);
        match &self.latest {
            Some(latest) if latest.held == held => {}
            Some(_) => {
                // The watch may have been behind.
                let updated = version.and_then(|version| version.updated);
                let changed = updated.map_or(at, |updated| at.min(updated + UPDATE_DOUBT));
                self.latest = Some(Latest { held, changed: Some(changed) });
            }
            None => {
                let changed = version.and_then(|version| version.updated);
                self.latest = Some(Latest { held, changed });
            }
        }
    }

    /// Takes in when the container's process started.
    pub(crate) fn started(&mut self, started: Time) {
        let Some(latest) = &self.latest else { return };
        if self.taken.as_ref().is_some_and(|(before, _)| *before == started) {
            return;
        }
        let since_known = latest.changed.is_none_or(|changed| changed + UPDATE_DOUBT < started);
        let taken = if since_known { Taken::Known(latest.held.clone()) } else { Taken::Before };
        self.taken = Some((started, taken));
    }

    /// Since when the container holds something else than the object does.
    pub(crate) fn stale_since(&self) -> Option<Time> {
        let latest = self.latest.as_ref()?;
        let (started, taken) = self.taken.as_ref()?;
        let changed = latest.changed.filter(|changed| changed > started)?;
        let differs = match taken {
            Taken::Known(held) => *held != latest.held,
            Taken::Before => true,
        };
        differs.then_some(changed)
    }

    fn part_of(&self, version: Option<&Arc<ObjectVersion>>) -> Held {
        let Some(version) = version else { return Held::default() };
        match &self.part {
            Part::Everything => version.keys.clone(),
            Part::Key(key) => {
                let found = version.keys.get_key_value(key).map(|(key, digest)| (key.clone(), *digest));
                Arc::new(found.into_iter().collect())
            }
            Part::Path(source, path) => {
                let files = sources::files(source, Some(version)).unwrap_or_default();
                // A path that the kubelet expands when the container starts isn't known here.
                if path.contains("$(") {
                    return files;
                }
                let path = crate::select::clean(path);
                let below = format!("{path}/");
                let part = files
                    .iter()
                    .filter(|(file, _)| **file == path || file.starts_with(&below))
                    .map(|(file, digest)| (file.clone(), *digest));
                Arc::new(part.collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectKind;
    use crate::pod::ObjectSource;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    fn version(updated: Option<u64>, keys: &[(&str, u8)]) -> Observed {
        Observed::Version(Arc::new(ObjectVersion {
            uid: "u".into(),
            version: "1".into(),
            immutable: false,
            ignored: false,
            updated: updated.map(at),
            keys: Arc::new(
                keys.iter().map(|(key, content)| ((*key).into(), Digest::new([*content; 32]))).collect(),
            ),
        }))
    }

    fn frozen(part: Part) -> Frozen {
        let object = ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: "a".into() };
        Frozen { container: "app".into(), way: Way::Environment, object, part, latest: None, taken: None }
    }

    #[test]
    fn a_change_after_the_start_makes_it_stale_until_the_next_start_or_the_old_value() {
        let mut level = frozen(Part::Key("level".into()));
        level.observed(&version(Some(10), &[("level", 1), ("other", 1)]), at(100));
        level.started(at(50));
        assert_eq!(level.stale_since(), None);
        level.observed(&version(Some(110), &[("level", 1), ("other", 2)]), at(110));
        assert_eq!(level.stale_since(), None, "another key");
        level.observed(&version(Some(120), &[("level", 2), ("other", 2)]), at(120));
        assert_eq!(level.stale_since(), Some(at(120)));
        level.observed(&version(Some(130), &[("level", 1), ("other", 2)]), at(130));
        assert_eq!(level.stale_since(), None, "it is what it was");
        level.observed(&version(Some(140), &[("level", 3), ("other", 2)]), at(140));
        assert_eq!(level.stale_since(), Some(at(140)));
        level.started(at(150));
        assert_eq!(level.stale_since(), None, "it has started anew");
    }

    #[test]
    fn a_watch_that_was_behind_doesnt_make_a_container_stale_that_has_the_new_value() {
        let mut level = frozen(Part::Key("level".into()));
        level.observed(&version(Some(1), &[("level", 1)]), at(5));
        level.started(at(2));
        level.started(at(12));
        level.observed(&version(Some(10), &[("level", 2)]), at(30));
        assert_eq!(level.stale_since(), None);
    }

    #[test]
    fn what_changed_before_the_agent_looked_is_told_by_the_time_of_the_update() {
        let mut all = frozen(Part::Everything);
        all.observed(&version(Some(60), &[("a", 1)]), at(100));
        all.started(at(50));
        assert_eq!(all.stale_since(), Some(at(60)));
        let mut unknown = frozen(Part::Everything);
        unknown.observed(&version(None, &[("a", 1)]), at(100));
        unknown.started(at(50));
        assert_eq!(unknown.stale_since(), None);
    }

    #[test]
    fn of_a_volume_it_is_the_file_at_the_path_or_those_below() {
        let source = |items: &[(&str, &str)]| ObjectSource {
            name: "a".into(),
            items: items
                .iter()
                .map(|(key, path)| crate::pod::Item { key: (*key).into(), path: (*path).into() })
                .collect(),
            optional: false,
        };
        let items: &[_] = &[("k", "conf/app"), ("l", "other")];
        for (path, key, stale) in [
            ("conf", "k", true),
            ("conf/app", "k", true),
            ("conf", "l", false),
            ("con", "k", false),
            ("$(X)", "l", true),
        ] {
            let mut mount = frozen(Part::Path(source(items), path.into()));
            mount.observed(&version(Some(1), &[("k", 1), ("l", 1)]), at(10));
            mount.started(at(5));
            let keys = [("k", 1 + u8::from(key == "k")), ("l", 1 + u8::from(key == "l"))];
            mount.observed(&version(Some(20), &keys), at(20));
            assert_eq!(mount.stale_since().is_some(), stale, "{path} {key}");
        }
    }
}
