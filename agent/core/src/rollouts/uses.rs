//! Which objects a workload is rolled for, and what of them its pods keep as it was when they started.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::names::{Name, is_subdomain};
use crate::model::object::ObjectKind;
use crate::model::pod::ContainerKind;
use crate::policy::plan::Allowed;
use crate::policy::references::{self, Effect, Known, Reference, Way, Why};
use crate::policy::reloader::{Asking, Decision, Key, ObjectType, Rules, has};
use crate::rollouts::content::{Content, Print, Seen};
use crate::rollouts::workload::Workload;

/// An object of the workload's namespace.
pub(crate) type Object = (ObjectKind, Name);

/// Why an object counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A list of Reloader's names it: all of it counts.
    Named,
    /// Containers use it: what they keep of it counts.
    Used,
}

/// What a workload uses, and what of that counts.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    references: Vec<Reference>,
    /// The objects that it is rolled for; none where there are too many.
    pub(crate) objects: BTreeMap<Object, Reach>,
    /// Whether there are more than [`MOST_OBJECTS`].
    pub(crate) are_too_many: bool,
}

/// The most objects that one workload is rolled for: what is remembered of them has a place that it shares with others.
pub(crate) const MOST_OBJECTS: usize = 64;

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// Whether Reloader's annotations count.
    pub annotations: bool,
    /// Whether Secrets do.
    pub secrets: bool,
}

impl Uses {
    /// Those of a workload in this namespace. `asks` says whether it asks to be rolled for all that it uses; `names` has the objects of the
    /// namespace, with what they say to Reloader.
    pub(crate) fn of(
        workload: &Workload,
        namespace: &Name,
        asks: bool,
        looks: Looks,
        names: &BTreeMap<Object, Seen>,
    ) -> Self {
        let mut uses = Self::all(workload, namespace, asks, looks, names);
        uses.are_too_many = uses.objects.len() > MOST_OBJECTS;
        if uses.are_too_many {
            uses.objects = BTreeMap::new();
        }
        uses
    }

    fn all(
        workload: &Workload,
        namespace: &Name,
        asks: bool,
        looks: Looks,
        names: &BTreeMap<Object, Seen>,
    ) -> Self {
        let all =
            references::references(&workload.spec, namespace, Allowed::default(), |_, _| Known::default());
        let mut references = all.all;
        // They are kept, and there are those of thousands of workloads.
        references.shrink_to_fit();
        let mut uses = Self { references, ..Self::default() };
        let used: BTreeSet<Object> = uses.frozen().filter_map(object_of).collect();
        let counts = |(kind, _): &Object| looks.secrets || *kind == ObjectKind::ConfigMap;
        let asking = Asking::new(&workload.own, &workload.of_template);
        if !looks.annotations || !asking.is_any() {
            let all = used.into_iter().filter(|object| asks && counts(object));
            uses.objects = all.map(|object| (object, Reach::Used)).collect();
            return uses;
        }
        let decide = |(kind, name): &Object| {
            let marks = names.get(&(*kind, name.clone())).map(|seen| seen.marks).unwrap_or_default();
            asking.decide((*kind).into(), name, marks, Rules::Ours)
        };
        for object in used.into_iter().filter(&counts) {
            let reach = match decide(&object) {
                Decision::Named => Some(Reach::Named),
                Decision::Searched | Decision::Automatic => Some(Reach::Used),
                Decision::Unasked if asks => Some(Reach::Used),
                Decision::Ignored | Decision::Excluded | Decision::Unasked => None,
            };
            if let Some(reach) = reach {
                uses.objects.insert(object, reach);
            }
        }
        let all: BTreeSet<Object> = uses.references.iter().filter_map(object_of).collect();
        for kind in ObjectKind::ALL {
            let of = ObjectType::from(kind);
            let written = asking.named(of).into_iter().filter(|name| is_subdomain(name));
            let written = written.map(|name| (kind, Name::from(name)));
            let has_patterns = asking.patterns(of) > 0;
            let taken = names.keys().filter(|(other, _)| has_patterns && *other == kind).cloned();
            for object in written.chain(taken).filter(&counts) {
                // Where all that use it are told, that is enough.
                let is_told = all.contains(&object) && !uses.objects.contains_key(&object);
                if !is_told && decide(&object) == Decision::Named {
                    uses.objects.insert(object, Reach::Named);
                }
            }
        }
        uses
    }

    /// All uses of objects.
    pub(crate) fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Those whose containers keep what they started with.
    fn frozen(&self) -> impl Iterator<Item = &Reference> {
        let live = references::live_mounts(self.references.iter());
        self.references
            .iter()
            .filter(move |reference| is_frozen(reference) && !reference.is_left_out_of(&live))
    }

    /// What stands for what counts of an object that holds this; of one that isn't there nothing does.
    pub(crate) fn print(&self, object: &Object, content: Option<&Content>) -> Print {
        match self.objects.get(object) {
            None => Print::default(),
            Some(Reach::Named) => content.map(Content::whole).unwrap_or_default().of_all(),
            Some(Reach::Used) => self.print_of_used(object, content),
        }
    }

    fn print_of_used(&self, object: &Object, content: Option<&Content>) -> Print {
        let Some(content) = content else { return Print::default() };
        let mine: Vec<&Reference> = self.frozen().filter(|reference| is_of(reference, object)).collect();
        content.print(|key, value| {
            let key = Key { name: key, is_binary: value.is_binary };
            mine.iter().any(|reference| has(reference, &key, true))
        })
    }

    /// Whether an object that holds this, for which `now` stands, isn't what `held` stands for. If other keys counted then, as far as those
    /// go: nobody is rolled only since more of an object counts than before, or less.
    pub(crate) fn differs(
        &self,
        object: &Object,
        content: Option<&Content>,
        now: Print,
        held: Print,
    ) -> bool {
        match (held.is_of_all(), now.is_of_all()) {
            (false, true) => held != self.print_of_used(object, content),
            (true, false) => held != content.map(Content::whole).unwrap_or_default().of_all(),
            (true, true) | (false, false) => held != now,
        }
    }

    /// The containers that keep what they started with of an object.
    pub(crate) fn keepers(&self, object: &Object) -> BTreeSet<Name> {
        let of = self.frozen().filter(|reference| is_of(reference, object));
        of.filter_map(|reference| reference.container.clone()).collect()
    }

    /// Whether none of those starts as long as the object, or the key that it uses, isn't there.
    pub(crate) fn need(&self, object: &Object) -> bool {
        let of = || self.frozen().filter(|reference| is_of(reference, object));
        let required = of().filter(|reference| !reference.optional);
        let waiting: BTreeSet<&Name> =
            required.filter_map(|reference| reference.container.as_ref()).collect();
        let keepers = self.keepers(object);
        !keepers.is_empty() && keepers.iter().all(|keeper| waiting.contains(keeper))
    }
}

/// Whether a reference is one of this object.
fn is_of(reference: &Reference, (kind, name): &Object) -> bool {
    reference.object().is_some_and(|(of, named)| of == *kind && *named == *name)
}

/// The object of a reference, if there can be one of this name: the API server accepts any other in a pod's spec.
fn object_of(reference: &Reference) -> Option<Object> {
    reference.object().filter(|(_, name)| is_subdomain(name)).map(|(kind, name)| (kind, name.clone()))
}

/// Whether a container keeps what it started with, and that counts.
fn is_frozen(reference: &Reference) -> bool {
    let is_kept = match reference.effect {
        Effect::Signal(_) | Effect::Http(_) | Effect::Itself => false,
        Effect::Roll | Effect::Restart | Effect::Never => true,
    };
    is_kept
        && reference.is_certain
        && reference.way != Way::Unmounted
        && reference.role != Some(ContainerKind::Ephemeral)
        && !matches!(reference.why, Why::EmptySubPath | Why::Ignored | Why::ClusterObject)
}
