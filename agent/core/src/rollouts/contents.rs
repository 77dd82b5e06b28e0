//! The objects of the cluster, and the contents of those that somebody uses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::model::time::Time;
use crate::rollouts::content::{Content, Seen};
use crate::rollouts::uses::Object;

/// What is known of objects.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    seen: BTreeMap<Name, Namespace>,
    fetched: BTreeMap<ObjectRef, Fetched>,
    /// Those that are to be fetched.
    wanted: BTreeSet<ObjectRef>,
}

/// The objects of a namespace.
#[derive(Debug, Default)]
struct Namespace {
    objects: BTreeMap<Object, Seen>,
    /// How often one was made, removed, or said something else to others.
    changes: u64,
}

/// What news of an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// None.
    Nothing,
    /// It may hold something else.
    Content,
    /// It is there, isn't any more, or says something else to others: it may count for other workloads than before.
    Standing,
}

/// The content of an object, as it was fetched last.
#[derive(Debug, Default)]
struct Fetched {
    /// What came of it.
    last: Option<Answer>,
    /// Since when it is being fetched.
    begun: Option<Time>,
    /// Whether it may be another one by now.
    is_doubted: bool,
}

/// What came of a request.
#[derive(Debug)]
struct Answer {
    /// When it was asked for.
    asked: Time,
    /// When the answer came.
    came: Time,
    content: Option<Arc<Content>>,
}

impl Contents {
    /// What the API server says of an object.
    pub(crate) fn see(&mut self, object: &ObjectRef, seen: Option<Seen>) -> News {
        let all = self.seen.entry(object.namespace.clone()).or_default();
        let key = (object.kind, object.name.clone());
        let before = match &seen {
            Some(seen) => all.objects.insert(key, seen.clone()),
            None => all.objects.remove(&key),
        };
        if let Some(fetched) = self.fetched.get_mut(object) {
            let known =
                fetched.last.as_ref().map(|last| last.content.as_ref().map(|content| &content.version));
            fetched.is_doubted |= known != Some(seen.as_ref().map(|seen| &seen.version));
        }
        if before == seen {
            return News::Nothing;
        }
        let standing = |seen: &Seen| (seen.marks, seen.is_ignored);
        if before.as_ref().map(standing) == seen.as_ref().map(standing) {
            return News::Content;
        }
        all.changes += 1;
        News::Standing
    }

    /// The objects of a namespace, and how often they have become others.
    pub(crate) fn of_namespace(&self, namespace: &Name) -> (Option<&BTreeMap<Object, Seen>>, u64) {
        let all = self.seen.get(namespace);
        (all.map(|all| &all.objects), all.map_or(0, |all| all.changes))
    }

    /// What is known of an object without its content.
    pub(crate) fn seen(&self, namespace: &Name, object: &Object) -> Option<&Seen> {
        self.seen.get(namespace)?.objects.get(object)
    }

    /// What an object holds; it is fetched where that isn't known, was asked for before `since`, or came before `oldest`.
    pub(crate) fn get(
        &mut self,
        object: &ObjectRef,
        since: Time,
        oldest: Time,
    ) -> Option<Option<Arc<Content>>> {
        let fetched = self.fetched.entry(object.clone()).or_default();
        if let Some(last) = &fetched.last
            && last.asked >= since
            && last.came >= oldest
            && !fetched.is_doubted
        {
            return Some(last.content.clone());
        }
        if fetched.begun.is_none() {
            self.wanted.insert(object.clone());
        }
        None
    }

    /// The next object that is to be fetched.
    pub(crate) fn next(&mut self, now: Time) -> Option<ObjectRef> {
        let object = self.wanted.pop_first()?;
        let fetched = self.fetched.entry(object.clone()).or_default();
        (fetched.begun, fetched.is_doubted) = (Some(now), false);
        Some(object)
    }

    /// An object was fetched; or not, and then it is once more when somebody asks for it.
    pub(crate) fn fetched(&mut self, object: &ObjectRef, content: Option<Option<Arc<Content>>>, now: Time) {
        let Some(fetched) = self.fetched.get_mut(object) else { return };
        let Some(begun) = fetched.begun.take() else { return };
        match content {
            Some(content) => {
                // What was seen meanwhile may be what came.
                let seen = self.seen.get(&object.namespace);
                let seen = seen.and_then(|all| all.objects.get(&(object.kind, object.name.clone())));
                let is_same =
                    seen.map(|seen| &seen.version) == content.as_ref().map(|content| &content.version);
                fetched.is_doubted &= !is_same;
                fetched.last = Some(Answer { asked: begun, came: now, content });
            }
            None => fetched.is_doubted = true,
        }
    }

    /// Nobody uses an object any more.
    pub(crate) fn forget(&mut self, object: &ObjectRef) {
        self.fetched.remove(object);
        self.wanted.remove(object);
    }
}
