//! The ConfigMaps and Secrets among the manifests.

use std::cell::{Cell, RefCell};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::pod::{AnnotationValue, Annotations};
use reloadlet_core::policy::annotations::{IGNORE, asks};
use reloadlet_core::policy::references::{self, Known};
use reloadlet_core::policy::reloader::{Expressions, Installation, Marks, Remark, remarks_of_object};
use reloadlet_manifest::{Keys, OtherObject};

use super::flags::Flags;
use super::near::Near;
use super::selector::Chooses;

/// What an object says of itself.
#[derive(Debug)]
pub(super) struct Said {
    /// What it says to Reloader.
    pub(super) marks: Marks,
    /// What is odd about that.
    pub(super) remarks: Vec<Remark>,
    /// It never changes.
    pub(super) immutable: bool,
    /// What it says to agents by `reloadlet.io/ignore`.
    pub(super) ignore: Option<AnnotationValue>,
    /// Whether Reloader's selector takes it by its labels.
    is_selected: bool,
    /// Its keys, if they are known.
    pub(super) keys: Option<Keys>,
    /// Those of its annotations that are ours and say nothing on an object.
    pub(super) ours: Vec<String>,
}

/// See [`Said::ours`].
fn ours(annotations: &Annotations) -> Vec<String> {
    annotations.keys().filter(|key| asks(key) && *key != IGNORE).cloned().collect()
}

impl Said {
    /// Its keys, if they are known.
    pub(super) fn keys(&self) -> Option<references::Keys<'_>> {
        self.keys.as_ref().map(|Keys { all, binary }| references::Keys { all, binary })
    }

    /// Leaves out what another object of its name and namespace doesn't say, as overlays have several: which one is applied isn't known.
    fn agree(&mut self, other: &Self) {
        self.immutable &= other.immutable;
        if self.ignore != other.ignore {
            self.ignore = None;
        }
        if self.keys != other.keys {
            self.keys = None;
        }
    }

    /// Whether its owner keeps it from triggering anything, where agents see that.
    pub(super) fn is_ignored(&self) -> bool {
        matches!(&self.ignore, Some(AnnotationValue::Text(text)) if text == "true")
    }
}

/// Those objects, by kind and name, each with the namespaces in which it is and what it says to Reloader; the empty namespace stands
/// for one that isn't written.
#[derive(Debug)]
pub(super) struct Objects {
    objects: BTreeMap<(ObjectKind, Name), BTreeMap<Name, Said>>,
    /// Their names, by kind and namespace.
    names: BTreeMap<(ObjectKind, Name), Vec<Name>>,
    /// The namespaces among the manifests that Reloader's selector doesn't take.
    unselected: BTreeSet<Name>,
    /// How Reloader runs.
    reloader: Flags,
    /// Whether the agents see what Secrets say of themselves.
    watch_secrets: bool,
    /// How many comparisons of a name with a list are left.
    comparisons: Cell<usize>,
    /// The items of Reloader's lists.
    expressions: Rc<Expressions>,
    near: Near,
    /// See [`Self::of_keys`].
    of_keys: RefCell<BTreeMap<Place, Option<(Name, usize)>>>,
}

/// An object, and the word by which something of it is looked for.
type Place = (ObjectKind, Name, Option<Name>, String);

/// So many answers are remembered of those that are looked for by a word.
const MOST_REMEMBERED: usize = 10_000;
/// So many names are compared with items of Reloader's lists in all: each comparison takes up to a microsecond.
const MOST_COMPARISONS: usize = 1_000_000;

impl Objects {
    /// None so far; Reloader runs with these flags, and the agents with `--watch-secrets` or without.
    pub(super) fn new(reloader: Flags, watch_secrets: bool) -> Self {
        Self {
            objects: BTreeMap::new(),
            names: BTreeMap::new(),
            unselected: BTreeSet::new(),
            reloader,
            watch_secrets,
            comparisons: Cell::new(MOST_COMPARISONS),
            expressions: Rc::default(),
            near: Near::default(),
            of_keys: RefCell::default(),
        }
    }

    /// How Reloader runs.
    pub(super) const fn installation(&self) -> &Installation {
        &self.reloader.installation
    }

    /// What is known of the items of Reloader's lists.
    pub(super) fn expressions(&self) -> Rc<Expressions> {
        self.expressions.clone()
    }

    /// Takes in one object, if it is such a one.
    pub(super) fn add(&mut self, object: OtherObject) {
        // What isn't known of an object isn't held against it.
        let fits = |chooses: &Chooses| object.labels.as_ref().is_none_or(|labels| chooses.takes(labels));
        if (object.group.as_str(), object.kind.as_str()) == ("", "Namespace") {
            let name = object.name.clone().filter(|_| !fits(&self.reloader.namespaces));
            self.unselected.extend(name);
            return;
        }
        let kind = match (object.group.as_str(), object.kind.as_str()) {
            ("", "ConfigMap") => ObjectKind::ConfigMap,
            ("", "Secret") => ObjectKind::Secret,
            _ => return,
        };
        if let Some(name) = &object.name {
            let namespace = object.namespace.clone().unwrap_or_else(|| "".into());
            let said = Said {
                marks: Marks::of(&object.annotations),
                remarks: remarks_of_object(&object.annotations),
                immutable: object.immutable,
                ignore: object.annotations.get(IGNORE).cloned(),
                is_selected: fits(&self.reloader.objects),
                // What holds nothing is there to be filled by somebody: the token of an account, a bundle of authorities.
                keys: object.keys.filter(|keys| !keys.all.is_empty() || object.immutable),
                ours: ours(&object.annotations),
            };
            match self.objects.entry((kind, name.clone())).or_default().entry(namespace.clone()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(said);
                    self.names.entry((kind, namespace)).or_default().push(name.clone());
                }
                Entry::Occupied(mut occupied) => {
                    let mut said = said;
                    said.agree(occupied.get());
                    occupied.insert(said);
                }
            }
        }
    }

    /// The names of a kind, wherever they are.
    fn of_kind(&self, kind: ObjectKind) -> impl Iterator<Item = &Name> {
        let all = self.objects.range((kind, "".into())..).take_while(move |((of, _), _)| *of == kind);
        all.map(|((_, name), _)| name)
    }

    /// Whether one of a kind is among them at all: without, the objects come from elsewhere.
    pub(super) fn has_any(&self, kind: ObjectKind) -> bool {
        self.of_kind(kind).next().is_some()
    }

    /// Takes so many comparisons of those that are left; `false` if there aren't so many.
    pub(super) fn take_comparisons(&self, count: usize) -> bool {
        let left = self.comparisons.get().checked_sub(count);
        self.comparisons.set(left.unwrap_or_default());
        left.is_some()
    }

    /// The names of a kind that are in this namespace, or may be.
    pub(super) fn names(&self, kind: ObjectKind, namespace: Option<&Name>) -> impl Iterator<Item = &Name> {
        let all = self.names.range((kind, "".into())..).take_while(move |((of, _), _)| *of == kind);
        let own = namespace.into_iter().flat_map(move |own| {
            ["".into(), own.clone()].into_iter().filter_map(move |place| self.names.get(&(kind, place)))
        });
        let all = all.map(|(_, names)| names).take(if namespace.is_none() { usize::MAX } else { 0 });
        own.chain(all).flatten()
    }

    /// What the object says of itself; `None` if it isn't there, as far as that can be said: where a
    /// namespace isn't written, whoever applies the manifest chooses it.
    pub(super) fn get(&self, kind: ObjectKind, name: &Name, namespace: Option<&Name>) -> Option<&Said> {
        let namespaces = self.objects.get(&(kind, name.clone()))?;
        match namespace {
            Some(own) => namespaces.get(own).or_else(|| namespaces.get("")),
            None => namespaces.values().next(),
        }
    }

    /// Whether agents see what an object of this kind says of itself.
    pub(super) fn are_seen(&self, kind: ObjectKind) -> bool {
        match kind {
            ObjectKind::ConfigMap => true,
            ObjectKind::Secret => self.watch_secrets,
        }
    }

    /// What is known of the object, as far as that decides what a change of it does.
    pub(super) fn known(&self, kind: ObjectKind, name: &Name, namespace: Option<&Name>) -> Known<'_> {
        let Some(said) = self.get(kind, name, namespace) else { return Known::default() };
        Known {
            immutable: said.immutable,
            ignored: said.is_ignored() && self.are_seen(kind),
            keys: said.keys(),
            ..Known::default()
        }
    }

    /// A namespace that has the object.
    pub(super) fn elsewhere(&self, kind: ObjectKind, name: &Name) -> Option<&Name> {
        self.objects.get(&(kind, name.clone()))?.keys().find(|namespace| !namespace.is_empty())
    }

    /// Whether Reloader's selectors take an object in this namespace, of which this is known.
    pub(super) fn is_selected(&self, said: Option<&Said>, namespace: Option<&Name>) -> bool {
        said.is_none_or(|said| said.is_selected)
            && namespace.is_none_or(|namespace| !self.unselected.contains(namespace))
    }

    /// The name that is nearest to one that isn't there.
    pub(super) fn nearest(&self, kind: ObjectKind, name: &Name) -> Option<Name> {
        self.near.remembered(kind, name, |near| near.of(self.of_kind(kind), name).cloned())
    }

    /// The key that is nearest to one that isn't there.
    pub(super) fn nearest_key<'a>(&self, keys: &'a BTreeSet<Name>, key: &str) -> Option<&'a Name> {
        self.near.of(keys.iter(), key)
    }

    /// The first key of this object of which something is found, and how many more, looked for once by this word.
    pub(super) fn of_keys(
        &self,
        object: (ObjectKind, &Name, Option<&Name>),
        word: &str,
        keys: &BTreeSet<Name>,
        find: impl FnOnce() -> Option<(Name, usize)>,
    ) -> Option<(Name, usize)> {
        let (kind, name, namespace) = object;
        let place = (kind, name.clone(), namespace.cloned(), word.to_owned());
        if let Some(known) = self.of_keys.borrow().get(&place) {
            return known.clone();
        }
        let found = if self.near.take(keys.len()) { find() } else { None };
        let mut all = self.of_keys.borrow_mut();
        if all.len() >= MOST_REMEMBERED {
            all.clear();
        }
        all.insert(place, found.clone());
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_have_a_bound_in_all() {
        let objects = Objects::new(Flags::default(), false);
        assert!(objects.take_comparisons(MOST_COMPARISONS - 1));
        assert!(!objects.take_comparisons(2));
        assert!(!objects.take_comparisons(1), "what wasn't enough once isn't any more");
    }
}
