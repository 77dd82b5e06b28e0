//! The ConfigMaps and Secrets among the manifests.

use std::collections::{BTreeMap, BTreeSet};

use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::policy::reloader::{Marks, Remark, remarks_of_object};
use reloadlet_manifest::OtherObject;

/// What an object says of itself.
#[derive(Debug)]
pub(super) struct Said {
    /// What it says to Reloader.
    pub(super) marks: Marks,
    /// What is odd about that.
    pub(super) remarks: Vec<Remark>,
    /// It never changes.
    pub(super) immutable: bool,
    /// Its keys, if they are known.
    pub(super) keys: Option<BTreeSet<Name>>,
}

/// Those objects, by kind and name, each with the namespaces in which it is and what it says to Reloader; the empty namespace stands
/// for one that isn't written.
#[derive(Debug, Default)]
pub(super) struct Objects(BTreeMap<(ObjectKind, Name), BTreeMap<Name, Said>>);

/// Names that differ in more letters than these aren't taken for the same one misspelled.
const MOST_LETTERS: usize = 3;
/// So many names are compared at most for each object that is missing.
const MOST_COMPARED: usize = 2_000;

impl Objects {
    /// Takes in one object, if it is such a one.
    pub(super) fn add(&mut self, object: OtherObject) {
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
                keys: object.keys,
            };
            self.0.entry((kind, name.clone())).or_default().insert(namespace, said);
        }
    }

    /// Whether one of a kind is among them at all: without, the objects come from elsewhere.
    pub(super) fn has_any(&self, kind: ObjectKind) -> bool {
        self.0.keys().any(|(of, _)| *of == kind)
    }

    /// What the object says of itself; `None` if it isn't there, as far as that can be said: where a
    /// namespace isn't written, whoever applies the manifest chooses it.
    pub(super) fn get(&self, kind: ObjectKind, name: &Name, namespace: Option<&Name>) -> Option<&Said> {
        let namespaces = self.0.get(&(kind, name.clone()))?;
        match namespace {
            Some(own) => namespaces.get(own).or_else(|| namespaces.get("")),
            None => namespaces.values().next(),
        }
    }

    /// The name that is nearest to one that isn't there.
    pub(super) fn nearest(&self, kind: ObjectKind, name: &str) -> Option<&Name> {
        nearest(self.0.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name), name)
    }
}

/// The one of these names that is almost the same as another one.
pub(super) fn nearest<'a>(names: impl Iterator<Item = &'a Name>, name: &str) -> Option<&'a Name> {
    let near = names.take(MOST_COMPARED).map(|known| (strsim::osa_distance(known, name), known));
    near.filter(|(letters, _)| *letters <= MOST_LETTERS && *letters < name.len())
        .min()
        .map(|(_, known)| known)
}
