//! What a container took of ConfigMaps and Secrets at its start and keeps: environment variables and subPath mounts, and, where a pod is
//! to get everything, also what it may have read of files. When the object changes, the container holds what was, until it is restarted.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::frozen::{Holds, PiecesMark, Remembered, Way};
use crate::model::hash;
use crate::model::names::Name;
use crate::model::object::{ObjectRef, ObjectVersion, Observed};
use crate::model::pod::{ContainerKind, Pod};
use crate::model::time::Time;
use crate::policy::plan::Plan;
use crate::policy::references::{self, Reference};
use crate::policy::select::is_reported;

use self::piece::{Piece, Sum};

mod piece;

/// The kubelet takes what a container is given so long before it starts, at most, as far as is counted on.
const START_DOUBT: Duration = Duration::from_secs(1);

/// What a container took of an object at its start.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    pub(crate) container: Name,
    pub(crate) role: ContainerKind,
    pub(crate) way: Way,
    pub(crate) object: ObjectRef,
    parts: Vec<Piece>,
    /// What stands for them where they are remembered.
    mark: PiecesMark,
    latest: Option<Latest>,
    /// Since when there is no such object, while there is none.
    absent: Option<Time>,
    /// What the object held when the container's process started, and which process that was.
    taken: Option<(Time, Taken)>,
    /// The last version of which it was said that the process needs a restart, as long as that is so.
    said: Option<Name>,
    /// Whether it was said of a process before this one, and not yet that it is over.
    was_said_before: bool,
    /// What was known of it before, until the process is found and the object is seen.
    remembered: Option<Remembered>,
}

/// A container holds something else of an object than that has by now, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Since when the object has what it has.
    pub(crate) since: Time,
    /// Whether it is known to be something else. Else the object was written after the container had started, and whether that changed what the
    /// container took of it isn't known.
    pub(crate) is_certain: bool,
}

/// What is to be said of a container that needs a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsaid {
    /// The version that it doesn't get.
    pub(crate) version: Name,
    /// Whether it is known that it holds something else.
    pub(crate) is_certain: bool,
}

/// What stands for all that a container took of an object, or would take of another version of it. The digests that it is made of are
/// made under a key, so that nobody can choose contents of which it is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held(u64);

#[derive(Clone, Debug)]
struct Latest {
    held: Held,
    /// The version that brought it, as far as that was seen.
    version: Name,
    /// When it came to hold this for certain: what the agent saw itself by its own clock, else not before that by any of the two
    /// clocks.
    changed: Option<Time>,
    /// By when it held this for certain, and between which times the object was made; where it was seen only afterwards.
    by: Option<Time>,
    made: Option<(Time, Time)>,
    /// The newest version that holds it.
    newest: Name,
    /// Whether it is known that the object was written since the agent, or the one before it, had looked first.
    is_news: bool,
    /// Whether the object's owner keeps it from triggering anything.
    is_ignored: bool,
}

/// What the container took.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Taken {
    /// This.
    Known(Held),
    /// Something else than this, which the object has held since then.
    Other(Held, Time),
    /// Something from before the first look, or of an object that was there before.
    Unknown,
}

/// How many objects are followed of the containers of a pod that aren't told, each once for each container and way. What is beyond
/// is left unmeasured: whoever writes pods doesn't decide how much is remembered of containers that nobody asked about.
const MOST_UNTOLD: usize = 64;

/// What the containers of a pod take at their start of objects that are measured. An ephemeral container is there for people.
pub(crate) fn of(pod: &Pod, plan: &Plan, is_measured: impl Fn(&ObjectRef) -> bool) -> Vec<Frozen> {
    if plan.is_of_nothing() && !is_reported(pod) {
        // It is watched for its grant alone: what it needs it is given.
        return Vec::new();
    }
    let unread = if is_reported(pod) { references::unread(&pod.spec, plan) } else { Vec::new() };
    let all = references::frozen(&pod.spec).into_iter().chain(unread);
    let is_told = |container: &Name| plan.targets.iter().any(|target| target.container == *container);
    of_references(all, &pod.namespace, is_told, is_measured)
}

fn of_references(
    references: impl IntoIterator<Item = Reference>,
    namespace: &Name,
    is_told: impl Fn(&Name) -> bool,
    is_measured: impl Fn(&ObjectRef) -> bool,
) -> Vec<Frozen> {
    let mut all: BTreeMap<(Name, Way, ObjectRef), (ContainerKind, Vec<Piece>)> = BTreeMap::new();
    let mut left = MOST_UNTOLD;
    for reference in references {
        let Some((kind, name)) = reference.object() else { continue };
        let object = ObjectRef { kind, namespace: namespace.clone(), name: name.clone() };
        let way = match reference.way {
            references::Way::Variable | references::Way::Variables => Way::Environment,
            references::Way::SubPath => Way::SubPath,
            references::Way::Directory | references::Way::Projected => Way::Files,
            references::Way::Csi | references::Way::Arguments | references::Way::Unmounted => continue,
        };
        let (Some(container), Some(role)) = (reference.container, reference.role) else { continue };
        if role == ContainerKind::Ephemeral || !is_measured(&object) {
            continue;
        }
        let way = if role == ContainerKind::Init { Way::Init } else { way };
        let piece = Piece { part: reference.part.simplified(), optional: reference.optional };
        let key = (container, way, object);
        if let Some((_, known)) = all.get_mut(&key) {
            piece::take_in(known, piece);
            continue;
        }
        if !is_told(&key.0) {
            let Some(rest) = left.checked_sub(1) else { continue };
            left = rest;
        }
        all.insert(key, (role, vec![piece]));
    }
    let each = all.into_iter();
    each.map(|((container, way, object), (role, parts))| Frozen::new((container, role), way, object, parts))
        .collect()
}

impl Frozen {
    /// What a container takes of an object in such a way, of which nothing is known yet.
    fn new((container, role): (Name, ContainerKind), way: Way, object: ObjectRef, parts: Vec<Piece>) -> Self {
        Self {
            container,
            role,
            way,
            object,
            mark: piece::mark_of(&parts),
            parts,
            latest: None,
            absent: None,
            taken: None,
            said: None,
            was_said_before: false,
            remembered: None,
        }
    }

    /// In how many pieces the container takes the object.
    pub(crate) fn pieces(&self) -> usize {
        self.parts.len()
    }

    /// Takes in what was known of it before. What was known of other pieces says nothing of these.
    pub(crate) fn restore(&mut self, remembered: Remembered) {
        self.remembered = Some(remembered).filter(|remembered| self.is_of(remembered));
    }

    /// Whether something that was known is of the same container, way and object, and of the same pieces of that.
    pub(crate) fn is_of(&self, remembered: &Remembered) -> bool {
        self.container == remembered.container
            && self.way == remembered.way
            && self.object == remembered.object
            && self.mark == remembered.pieces
    }

    /// What is to outlive the agent.
    pub(crate) fn remembered(&self) -> Option<Remembered> {
        let Some((started, taken)) = &self.taken else { return self.remembered.clone() };
        let latest = self.latest.as_ref().filter(|_| !self.is_absent());
        let holds = match (taken, latest) {
            (Taken::Known(held), _) if *held == self.held_of_nothing() => Holds::Nothing,
            (Taken::Known(held), Some(latest)) if *held == latest.held => Holds::Same,
            (Taken::Known(_), Some(latest)) => Holds::Other(latest.changed?),
            (Taken::Other(other, since), Some(latest)) if *other == latest.held => Holds::Other(*since),
            (Taken::Known(_) | Taken::Other(..) | Taken::Unknown, _) => Holds::Unknown,
        };
        Some(Remembered {
            container: self.container.clone(),
            way: self.way,
            object: self.object.clone(),
            pieces: self.mark,
            started: *started,
            version: latest.map(|latest| latest.newest.clone()),
            holds,
            brought: latest.map(|latest| latest.version.clone()),
            is_news: latest.is_some_and(|latest| latest.is_news),
        })
    }

    /// Takes in what the API server says of the object.
    pub(crate) fn observed(&mut self, observed: &Observed, at: Time) {
        let version = match observed {
            Observed::Version(version) => version,
            // What the container took stays what it was.
            Observed::Absent => {
                self.absent.get_or_insert(at);
                return;
            }
            Observed::Unmeasured => {
                (self.latest, self.absent) = (None, None);
                return;
            }
        };
        let held = self.part_of(version);
        let was_absent = self.absent.take().is_some();
        let (number, is_ignored) = (version.version.clone(), version.ignored);
        if let Some(latest) = self.latest.as_mut().filter(|latest| latest.held == held) {
            let lacks_it =
                |(_, taken): &(Time, Taken)| matches!(taken, Taken::Known(taken) if *taken != held);
            if was_absent && self.taken.as_ref().is_some_and(lacks_it) {
                (latest.changed, latest.is_news, latest.version) = (Some(at), true, number.clone());
            }
            (latest.newest, latest.is_ignored) = (number, is_ignored);
            return;
        }
        let between = version.updated.and_then(|updated| updated.between);
        let is_news = self.latest.is_some() || was_absent;
        // The watch may have been behind.
        let seen = is_news.then(|| between.map_or(at, |(_, latest)| at.min(latest)));
        self.latest = Some(Latest {
            held,
            version: number.clone(),
            changed: seen.or_else(|| between.map(|(earliest, _)| earliest)),
            by: seen.or_else(|| between.map(|(_, by)| by)),
            made: version.updated.filter(|_| !is_news).and_then(|updated| updated.made),
            newest: number,
            is_news,
            is_ignored,
        });
    }

    /// Takes in when the container's process started.
    pub(crate) fn started(&mut self, started: Time) {
        self.started_between(started, started);
    }

    /// The same of a process of which it is known no better than that it started between these times: an init container's, after the
    /// pod's first process and before another container's.
    pub(crate) fn started_between(&mut self, earliest: Time, started: Time) {
        if self.taken.as_ref().is_some_and(|(before, _)| *before == started) {
            return;
        }
        if self.latest.is_none() && self.absent.is_none() {
            return;
        }
        self.was_said_before |= self.said.take().is_some();
        let remembered = self.remembered.take().filter(|remembered| remembered.started == started);
        let taken = remembered.and_then(|remembered| self.recalled(remembered));
        let taken = taken.unwrap_or_else(|| self.taken_at(earliest, started));
        self.taken = Some((started, taken));
    }

    /// What the process took by what was known of it before: that is told by a version, and of another one nothing is known.
    fn recalled(&mut self, remembered: Remembered) -> Option<Taken> {
        if remembered.holds == Holds::Nothing {
            return Some(Taken::Known(self.held_of_nothing()));
        }
        let latest = self.latest.as_mut().filter(|_| self.absent.is_none())?;
        if remembered.version.as_ref() != Some(&latest.newest) {
            latest.is_news = true;
            return None;
        }
        (latest.version, latest.is_news) = (remembered.brought?, remembered.is_news);
        match remembered.holds {
            Holds::Same => Some(Taken::Known(latest.held)),
            Holds::Other(since) => Some(Taken::Other(latest.held, since)),
            Holds::Nothing | Holds::Unknown => None,
        }
    }

    /// What a process took that had started between these times.
    fn taken_at(&self, earliest: Time, started: Time) -> Taken {
        let is_together =
            |(from, until): (Time, Time)| until + START_DOUBT >= earliest && from <= started + START_DOUBT;
        match (&self.latest, self.absent) {
            (_, Some(absent)) if absent + START_DOUBT < earliest => Taken::Known(self.held_of_nothing()),
            (Some(latest), None) if latest.by.is_none_or(|by| by + START_DOUBT < earliest) => {
                Taken::Known(latest.held)
            }
            // It was made when the process started: that took this one, as far as is known.
            (Some(latest), None) if latest.made.is_some_and(is_together) => Taken::Known(latest.held),
            _ => Taken::Unknown,
        }
    }

    /// Whether there is no such object, as far as is known.
    pub(crate) const fn is_absent(&self) -> bool {
        self.absent.is_some()
    }

    /// Whether the container holds something else than the object does. Nobody is told of an object that triggers nothing.
    pub(crate) fn difference(&self) -> Option<Difference> {
        let latest = self.latest.as_ref().filter(|latest| !self.is_absent() && !latest.is_ignored)?;
        let (started, taken) = self.taken.as_ref()?;
        let changed = latest.changed.filter(|changed| changed > started);
        let (since, is_certain) = match taken {
            Taken::Known(held) => (changed.filter(|_| *held != latest.held)?, true),
            Taken::Other(other, since) if *other == latest.held => (*since, true),
            Taken::Other(..) | Taken::Unknown => (changed?, false),
        };
        Some(Difference { since, is_certain })
    }

    /// What is to be said now: that only a restart brings a version, once for each. Of what was there at the first look of all it is
    /// said only where it is certain.
    pub(crate) fn take_unsaid(&mut self) -> Option<Unsaid> {
        let Difference { is_certain, .. } = self.difference()?;
        let latest = self.latest.as_ref().filter(|latest| is_certain || latest.is_news)?;
        let version = latest.version.clone();
        if self.said.as_ref() == Some(&version) {
            return None;
        }
        self.said = Some(version.clone());
        Some(Unsaid { version, is_certain })
    }

    /// Whether something was said of which it is to be said now that it is over: the process is another one, or doesn't have any more what it
    /// took, as `has` says, or nothing is known in which that differs.
    pub(crate) fn take_over(&mut self, has: bool) -> bool {
        let is_over = !has || self.difference().is_none();
        let ended = self.said.take_if(|_| is_over).is_some();
        std::mem::take(&mut self.was_said_before) || ended
    }

    /// What the container takes of a version.
    fn part_of(&self, version: &ObjectVersion) -> Held {
        // Most are some keys of it.
        let whole = LazyCell::new(|| Sum::of(version.keys.iter().map(|(key, digest)| (&**key, digest))));
        self.held(|piece| piece.sum(&version.keys, || *whole))
    }

    /// What it takes where there is no object.
    fn held_of_nothing(&self) -> Held {
        self.held(|_| Sum::default())
    }

    fn held(&self, sum: impl Fn(&Piece) -> Sum) -> Held {
        let sums = self.parts.iter().map(sum);
        Held(sums.fold(0, |all, sum| hash::mark([all, sum.0].into_iter().flat_map(u64::to_le_bytes))))
    }
}

#[cfg(test)]
mod tests;
