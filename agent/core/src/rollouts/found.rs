//! What the objects that a workload uses hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::model::time::Time;
use crate::rollouts::content::{Content, Print};
use crate::rollouts::contents::Contents;
use crate::rollouts::record::Prints;
use crate::rollouts::uses::{Object, Uses};

/// The contents of all objects that a workload uses.
pub(crate) struct Found {
    contents: BTreeMap<Object, Option<Arc<Content>>>,
}

impl Found {
    /// They, as they were at `since` or later, by answers from `oldest` on; `None` as long as one of them isn't known, and those are
    /// fetched.
    pub(crate) fn of(
        uses: &Uses,
        namespace: &Name,
        all: &mut Contents,
        since: Time,
        oldest: Time,
    ) -> Option<Self> {
        let mut contents = BTreeMap::new();
        let mut is_known = true;
        for (kind, name) in uses.objects.keys() {
            let object = ObjectRef { kind: *kind, namespace: namespace.clone(), name: name.clone() };
            match all.get(&object, since, oldest) {
                Some(content) => drop(contents.insert((*kind, name.clone()), content)),
                None => is_known = false,
            }
        }
        is_known.then_some(Self { contents })
    }

    /// What an object holds; `None` where it isn't there.
    pub(crate) fn content(&self, object: &Object) -> Option<&Content> {
        self.contents.get(object)?.as_deref()
    }

    /// What stands for what counts of each.
    pub(crate) fn wanted(&self, uses: &Uses) -> Prints {
        let print = |(object, content): (&Object, &Option<Arc<Content>>)| {
            (object.clone(), uses.print(object, content.as_deref()))
        };
        self.contents.iter().map(print).collect()
    }

    /// What stands for all of an object.
    pub(crate) fn whole(&self, object: &Object) -> Print {
        self.content(object).map(Content::whole).unwrap_or_default()
    }

    /// The objects of which pods hold nothing, by what is known, and that hold what they were made with.
    pub(crate) fn beginnings(&self, held: &Prints) -> BTreeSet<Object> {
        let is_one = |object: &Object| {
            held.get(object) == Some(&Print::default())
                && self.content(object).is_some_and(|content| content.is_original)
        };
        self.contents.keys().filter(|object| is_one(object)).cloned().collect()
    }

    /// When an object's data was last changed.
    pub(crate) fn changed(&self, object: &Object) -> Option<Time> {
        self.content(object).map(|content| content.changed)
    }
}
