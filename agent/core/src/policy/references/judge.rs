//! What a change does to a container that mounts a volume as a directory.

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::model::names::{Name, is_object_key};
use crate::model::object::ObjectKind;
use crate::model::pod::{Container, ContainerKind, EnvironmentSource, ObjectSource, PodSpec, Volume};
use crate::policy::annotations;
use crate::policy::files::FileFilter;
use crate::policy::plan::{Allowed, Planned};
use crate::policy::problem::Problem;
use crate::policy::select::{self, cluster_key};

use super::used::{Shown, What};
use super::{Effect, Known, Reference, Why};

/// What decides about all containers of a pod.
pub(super) struct Judge<'a, 'k> {
    planned: Planned,
    /// The volumes that the pod names.
    named: Option<Vec<Name>>,
    /// Whether the pod's node is none on which agents run.
    is_elsewhere: bool,
    known: &'a dyn Fn(ObjectKind, &Name) -> Known<'k>,
    /// How many keys that no item names may still be compared with what counts.
    comparisons: Cell<usize>,
}

/// So many keys that no item names are compared with what counts for one workload: a comparison takes up to a tenth of a millisecond.
const MOST_COMPARISONS: usize = 8_192;

/// One key that a container takes as a variable.
type Single<'a> = (ObjectKind, &'a Name, &'a Name);

/// The keys that a container takes one by one, where its command line takes any.
pub(super) fn single(container: &Container) -> BTreeSet<Single<'_>> {
    let all = container.environment.iter().filter(|_| !container.arguments.is_empty());
    all.filter_map(|source| Some((source.kind, &source.name, source.key.as_ref()?))).collect()
}

/// What a change does.
pub(super) struct Verdict<'a> {
    pub(super) effect: Effect,
    pub(super) why: Why,
    /// Which of the files count, where that are some of the items: the others don't.
    pub(super) of_some: Option<&'a FileFilter>,
}

impl Verdict<'_> {
    const fn never(why: Why) -> Self {
        Self { effect: Effect::Never, why, of_some: None }
    }
}

impl<'a, 'k> Judge<'a, 'k> {
    pub(super) fn of(
        spec: &PodSpec,
        namespace: &Name,
        allowed: Allowed,
        known: &'a dyn Fn(ObjectKind, &Name) -> Known<'k>,
    ) -> Self {
        let planned = select::plan(spec, namespace, allowed);
        let named = annotations::policy(&spec.annotations).0.and_then(|policy| policy.volumes);
        Self {
            planned,
            named,
            is_elsewhere: spec.is_windows,
            known,
            comparisons: Cell::new(MOST_COMPARISONS),
        }
    }

    /// What is wrong with what the pod asks for.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        match self.planned {
            Planned::Invalid(problems) => problems,
            Planned::LeftAlone | Planned::Plan(_) => Vec::new(),
        }
    }

    /// Whether the pod names the volumes that count, and whether it names this one.
    fn names(&self, volume: &Volume) -> Option<bool> {
        self.named.as_ref().map(|named| named.contains(&volume.name))
    }

    /// Whether a command line takes this variable for certain; `None` where it is none. One of a whole object is found by its name
    /// alone, and a shell's `$(date)` looks like one.
    pub(super) fn takes(&self, single: &BTreeSet<Single<'_>>, source: &EnvironmentSource) -> Option<bool> {
        let key = source.key.as_ref()?;
        if single.contains(&(source.kind, &source.name, key)) {
            return Some(true);
        }
        if !is_object_key(key) {
            return None;
        }
        match (self.known)(source.kind, &source.name).keys {
            Some(keys) => keys.have_text(key).then_some(true),
            None => Some(false),
        }
    }

    pub(super) fn judge(&self, container: &Container, volume: &Volume, shown: &Shown<'_, '_>) -> Verdict<'_> {
        // What holds whoever is told.
        let anyway = never_told(container).or(match shown.what() {
            What::Csi(csi) => (!csi.read_only).then_some(Why::Writable),
            What::Object(kind, object) if is_clusters(kind, &object.name) => {
                (self.names(volume) != Some(true)).then_some(Why::ClusterObject)
            }
            What::Object(..) => None,
        });
        if let Some(why) = anyway {
            return Verdict::never(why);
        }
        if self.is_elsewhere {
            return Verdict::never(Why::System);
        }
        let plan = match &self.planned {
            Planned::Plan(plan) => plan,
            Planned::LeftAlone => return Verdict::never(Why::Unasked),
            Planned::Invalid(_) => return Verdict::never(Why::Problem),
        };
        let told = plan.targets.iter().find(|target| target.container == container.name);
        let measured = plan.measured.iter().find(|measured| measured.container == container.name);
        let (effect, why, volumes) = match (told, measured) {
            (Some(told), _)
                if told.means.signal().is_some()
                    && plan.process.is_none()
                    && container.supervisor.is_some() =>
            {
                return Verdict::never(Why::Supervisor);
            }
            (Some(told), _) => (Effect::of(&told.means), Why::Told, &told.volumes),
            (None, Some(measured)) => (Effect::Itself, Why::Watches, &measured.volumes),
            (None, None) => {
                return Verdict::never(match container.kind {
                    // To tell it, too, would be a problem: none of its volumes counts.
                    _ if self.names(volume) == Some(false) => Why::OtherVolume,
                    ContainerKind::Sidecar => Why::Sidecar,
                    ContainerKind::Regular | ContainerKind::Init | ContainerKind::Ephemeral => {
                        Why::OtherContainer
                    }
                });
            }
        };
        if !volumes.contains(&volume.name) {
            return Verdict::never(Why::OtherVolume);
        }
        let files =
            plan.volumes.iter().find(|planned| planned.name == volume.name).map(|planned| &planned.files);
        match (shown.what(), files) {
            (What::Object(kind, object), Some(files)) => match self.counting(kind, object, files) {
                Counting::All => Verdict { effect, why, of_some: None },
                Counting::Some => Verdict { effect, why, of_some: Some(files) },
                Counting::None => Verdict::never(Why::OtherKeys),
            },
            (What::Object(..) | What::Csi(_), _) => Verdict { effect, why, of_some: None },
        }
    }

    /// Takes so many comparisons of those that are left; `false` if there aren't so many.
    fn take(&self, count: usize) -> bool {
        let left = self.comparisons.get().checked_sub(count);
        self.comparisons.set(left.unwrap_or_default());
        left.is_some()
    }

    /// How many of an object's files count. Without items its keys become files, and which it has isn't in the spec.
    fn counting(&self, kind: ObjectKind, object: &ObjectSource, files: &FileFilter) -> Counting {
        if files.everything() {
            return Counting::All;
        }
        if object.items.is_empty() {
            let keys = (self.known)(kind, &object.name).keys.filter(|keys| !keys.all.is_empty());
            let is_none = keys.is_some_and(|keys| {
                self.take(keys.all.len()) && !keys.all.iter().any(|key| files.counts(key))
            });
            return if is_none { Counting::None } else { Counting::All };
        }
        match object.items.iter().filter(|item| files.counts(item.path.as_str())).count() {
            0 => Counting::None,
            count if count == object.items.len() => Counting::All,
            _ => Counting::Some,
        }
    }
}

/// How many files count.
enum Counting {
    All,
    Some,
    None,
}

/// Whether an object is one that the cluster puts into every namespace.
pub fn is_clusters(kind: ObjectKind, name: &Name) -> bool {
    kind == ObjectKind::ConfigMap && cluster_key(name).is_some()
}

/// Why a container is never told, whatever is asked for.
const fn never_told(container: &Container) -> Option<Why> {
    match container.kind {
        ContainerKind::Regular | ContainerKind::Sidecar => None,
        ContainerKind::Init => Some(Why::InitContainer),
        ContainerKind::Ephemeral => Some(Why::Ephemeral),
    }
}

/// Says of those whose containers nobody asks for whether more than one could be meant.
pub(super) fn name(references: &mut [Reference]) {
    let is_regular = |reference: &&Reference| reference.role == Some(ContainerKind::Regular);
    let unasked = references.iter().filter(|reference| reference.why == Why::Unasked);
    let meant: BTreeSet<&Name> =
        unasked.filter(is_regular).filter_map(|reference| reference.container.as_ref()).collect();
    let are_several = meant.len() > 1;
    for reference in references.iter_mut().filter(|reference| reference.why == Why::Unasked) {
        reference.by_name = are_several || reference.role != Some(ContainerKind::Regular);
    }
}
