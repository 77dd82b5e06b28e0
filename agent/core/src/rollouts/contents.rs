//! The objects of the cluster, and the contents of those that somebody uses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::model::time::Time;
use crate::policy::reloader::Marks;
use crate::rollouts::content::Content;
use crate::rollouts::event::Seen;
use crate::rollouts::uses::Object;

/// What is known of objects.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    seen: BTreeMap<Name, BTreeMap<Object, Seen>>,
    fetched: BTreeMap<ObjectRef, Fetched>,
    /// Those that are to be fetched.
    wanted: BTreeSet<ObjectRef>,
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
    /// What the API server says of an object. Whether it isn't what was known.
    pub(crate) fn see(&mut self, object: &ObjectRef, seen: Option<Seen>) -> bool {
        let all = self.seen.entry(object.namespace.clone()).or_default();
        let key = (object.kind, object.name.clone());
        let version = seen.as_ref().map(|seen| seen.version.clone());
        let before = match seen {
            Some(seen) => all.insert(key, seen.clone()).as_ref() == Some(&seen),
            None => all.remove(&key).is_none(),
        };
        if let Some(fetched) = self.fetched.get_mut(object) {
            let known =
                fetched.last.as_ref().map(|last| last.content.as_ref().map(|content| &content.version));
            fetched.is_doubted |= known != Some(version.as_ref());
        }
        !before
    }

    /// What the objects of a namespace say to Reloader.
    pub(crate) fn marks(&self, namespace: &Name) -> BTreeMap<Object, Marks> {
        let all = self.seen.get(namespace).into_iter().flatten();
        all.map(|(object, seen)| (object.clone(), seen.marks)).collect()
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
                let seen = self
                    .seen
                    .get(&object.namespace)
                    .and_then(|all| all.get(&(object.kind, object.name.clone())));
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
