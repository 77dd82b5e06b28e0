//! Who has to be looked at when something happens elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::rollouts::uses::Object;
use crate::rollouts::workload::{Kind, WorkloadRef};

/// The workloads, by what they look at.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Who uses an object, or names it. Most objects have one user: a set of each would take more memory than all that is in it.
    users: BTreeSet<(ObjectRef, WorkloadRef)>,
    /// Whose lists may take objects that are named nowhere, by namespace.
    open: BTreeMap<Name, BTreeSet<WorkloadRef>>,
    /// Who waits for something.
    waiting: BTreeSet<WorkloadRef>,
}

impl Index {
    /// Who uses an object, or names it.
    pub(crate) fn users<'a>(&'a self, object: &'a ObjectRef) -> impl Iterator<Item = &'a WorkloadRef> {
        let first = WorkloadRef { kind: Kind::FIRST, namespace: "".into(), name: "".into() };
        let of = self.users.range((object.clone(), first)..);
        of.take_while(move |(used, _)| used == object).map(|(_, who)| who)
    }

    /// Whose lists may take objects of this namespace that are named nowhere.
    pub(crate) fn open(&self, namespace: &Name) -> impl Iterator<Item = &WorkloadRef> {
        self.open.get(namespace).into_iter().flatten()
    }

    /// Who waits for something.
    pub(crate) const fn waiting(&self) -> &BTreeSet<WorkloadRef> {
        &self.waiting
    }

    /// A workload uses these objects; until now it used others. Those that nobody uses any more.
    pub(crate) fn uses(
        &mut self,
        who: &WorkloadRef,
        before: &BTreeSet<Object>,
        now: &BTreeSet<Object>,
    ) -> Vec<ObjectRef> {
        for object in now.difference(before) {
            self.users.insert((place(who, object), who.clone()));
        }
        let mut unused = Vec::new();
        for object in before.difference(now).map(|object| place(who, object)) {
            let entry = (object, who.clone());
            let was_used = self.users.remove(&entry);
            let (object, _) = entry;
            if was_used && self.users(&object).next().is_none() {
                unused.push(object);
            }
        }
        unused
    }

    /// Whether a workload's lists may take objects that are named nowhere.
    pub(crate) fn opens(&mut self, who: &WorkloadRef, is_open: bool) {
        if is_open {
            self.open.entry(who.namespace.clone()).or_default().insert(who.clone());
        } else if let Some(open) = self.open.get_mut(&who.namespace) {
            open.remove(who);
            if open.is_empty() {
                self.open.remove(&who.namespace);
            }
        }
    }

    /// Whether a workload waits for something. Whether it did, and doesn't any more.
    pub(crate) fn waits(&mut self, who: &WorkloadRef, waits: bool) -> bool {
        if waits {
            self.waiting.insert(who.clone());
            return false;
        }
        self.waiting.remove(who)
    }
}

fn place(who: &WorkloadRef, (kind, name): &Object) -> ObjectRef {
    ObjectRef { kind: *kind, namespace: who.namespace.clone(), name: name.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::object::ObjectKind;

    fn who(name: &str) -> WorkloadRef {
        WorkloadRef { kind: Kind::Deployment, namespace: "shop".into(), name: name.into() }
    }

    fn objects(names: &[&str]) -> BTreeSet<Object> {
        names.iter().map(|name| (ObjectKind::ConfigMap, (*name).into())).collect()
    }

    #[test]
    fn an_object_has_users_until_nobody_uses_it() {
        let mut index = Index::default();
        let x = place(&who("a"), &(ObjectKind::ConfigMap, "x".into()));
        let users = |index: &Index| index.users(&x).map(|who| who.name.to_string()).collect::<Vec<_>>();
        assert!(index.uses(&who("a"), &objects(&[]), &objects(&["x", "y"])).is_empty());
        assert!(index.uses(&who("b"), &objects(&[]), &objects(&["x"])).is_empty());
        assert_eq!(users(&index), ["a", "b"]);
        assert_eq!(index.uses(&who("a"), &objects(&["x", "y"]), &objects(&["x"])).len(), 1, "nobody uses y");
        assert!(index.uses(&who("a"), &objects(&["x"]), &objects(&[])).is_empty());
        assert_eq!(users(&index), ["b"]);
        assert!(index.uses(&who("b"), &objects(&["x"]), &objects(&[])) == [x.clone()]);
        assert!(users(&index).is_empty());
    }

    #[test]
    fn lists_are_open_for_objects_of_their_namespace() {
        let mut index = Index::default();
        index.opens(&who("a"), true);
        assert_eq!((index.open(&"shop".into()).count(), index.open(&"other".into()).count()), (1, 0));
        index.opens(&who("a"), false);
        assert_eq!(index.open(&"shop".into()).count(), 0);
    }

    #[test]
    fn who_stops_waiting_is_told_once() {
        let mut index = Index::default();
        assert!(!index.waits(&who("a"), true) && index.waiting().contains(&who("a")));
        assert!(index.waits(&who("a"), false) && !index.waits(&who("a"), false));
    }
}
