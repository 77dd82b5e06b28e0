//! What the objects that a workload uses hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::model::time::Time;
use crate::rollouts::content::{Content, Print};
use crate::rollouts::contents::{Contents, Held};
use crate::rollouts::record::Prints;
use crate::rollouts::uses::{Object, Uses};

/// What is known of the objects that a workload uses.
pub(crate) enum Sight {
    /// All of it.
    Known(Found),
    /// One of them is being fetched.
    Unknown,
    /// There is no room for one of them.
    NoRoom,
    /// What this one holds can't be used.
    Unfit(Object),
}

/// The contents of all objects that a workload uses.
pub(crate) struct Found {
    contents: BTreeMap<Object, Option<Arc<Content>>>,
}

impl Found {
    /// They, as they were at `since` or later, by answers from `oldest` on. Those that aren't known are fetched.
    pub(crate) fn of(uses: &Uses, namespace: &Name, all: &mut Contents, since: Time, oldest: Time) -> Sight {
        let mut contents = BTreeMap::new();
        let (mut is_known, mut is_kept, mut unfit) = (true, true, None);
        for (kind, name) in uses.objects.keys() {
            let object = ObjectRef { kind: *kind, namespace: namespace.clone(), name: name.clone() };
            match all.get(&object, since, oldest) {
                Some(Held::Absent) => drop(contents.insert((*kind, name.clone()), None)),
                Some(Held::Is(content)) => drop(contents.insert((*kind, name.clone()), Some(content))),
                Some(Held::NoRoom) => is_kept = false,
                Some(Held::Unfit) => unfit = Some((*kind, name.clone())),
                None => is_known = false,
            }
        }
        match (is_known, unfit, is_kept) {
            (false, ..) => Sight::Unknown,
            (true, Some(object), _) => Sight::Unfit(object),
            (true, None, true) => Sight::Known(Self { contents }),
            (true, None, false) => Sight::NoRoom,
        }
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
            held.get(object).is_some_and(|held| held.is_of_nothing())
                && self.content(object).is_some_and(|content| content.is_original)
        };
        self.contents.keys().filter(|object| is_one(object)).cloned().collect()
    }

    /// When an object's data was last changed.
    pub(crate) fn changed(&self, object: &Object) -> Option<Time> {
        self.content(object).map(|content| content.changed)
    }
}
