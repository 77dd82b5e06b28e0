//! The objects of the cluster, and the contents of those that somebody uses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::kept::Kept;
use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::model::time::Time;
use crate::rollouts::content::{Content, Seen};
use crate::rollouts::uses::Object;

/// How much memory contents may take, in bytes: 160,000 keys.
const MOST: usize = 24 << 20;

/// What is known of objects.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    seen: BTreeMap<Name, Namespace>,
    fetched: BTreeMap<ObjectRef, Fetched>,
    /// Those that are to be fetched.
    wanted: BTreeSet<ObjectRef>,
    kept: Kept<ObjectRef, MOST>,
}

/// What is known of an object's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// It isn't there.
    Absent,
    /// It is this.
    Is(Arc<Content>),
    /// There is no room for it beside what the others of its namespace hold.
    NoRoom,
    /// It can't be understood, or has more keys than are kept of an object.
    Unfit,
}

impl Held {
    /// The version of what is there; `None` for what isn't known.
    fn version(&self) -> Option<Option<&Name>> {
        match self {
            Self::Absent => Some(None),
            Self::Is(content) => Some(Some(&content.version)),
            Self::NoRoom | Self::Unfit => None,
        }
    }
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
    /// What became of the last try, where that had no answer.
    failure: Option<Failure>,
}

/// The last try had no answer: until one has, the content isn't known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// It isn't tried again yet.
    Waits,
    /// It is.
    IsRetried,
}

/// What came of a request.
#[derive(Debug)]
struct Answer {
    /// When it was asked for.
    asked: Time,
    /// When the answer came.
    came: Time,
    content: Held,
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
            let known = fetched.last.as_ref().and_then(|last| last.content.version());
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
    pub(crate) fn get(&mut self, object: &ObjectRef, since: Time, oldest: Time) -> Option<Held> {
        let fetched = self.fetched.entry(object.clone()).or_default();
        if let Some(last) = &fetched.last
            && last.asked >= since
            && last.came >= oldest
            && !fetched.is_doubted
            && fetched.failure.is_none()
        {
            return Some(last.content.clone());
        }
        if fetched.begun.is_none() && fetched.failure != Some(Failure::Waits) {
            self.wanted.insert(object.clone());
        }
        None
    }

    /// What an object held when that was known last, which may be that it wasn't there.
    pub(crate) fn last(&self, object: &ObjectRef) -> Option<Option<&Content>> {
        match &self.fetched.get(object)?.last.as_ref()?.content {
            Held::Absent => Some(None),
            Held::Is(content) => Some(Some(content)),
            Held::NoRoom | Held::Unfit => None,
        }
    }

    /// The next object that is to be fetched.
    pub(crate) fn next(&mut self, now: Time) -> Option<ObjectRef> {
        let object = self.wanted.pop_first()?;
        let fetched = self.fetched.entry(object.clone()).or_default();
        (fetched.begun, fetched.is_doubted) = (Some(now), false);
        Some(object)
    }

    /// An object that couldn't be fetched, or for which there was no room, is tried again when somebody asks for it.
    pub(crate) fn try_again(&mut self, object: &ObjectRef) {
        let Some(fetched) = self.fetched.get_mut(object) else { return };
        if let Some(failure) = &mut fetched.failure {
            *failure = Failure::IsRetried;
        }
        fetched.last.take_if(|last| last.content == Held::NoRoom);
    }

    /// An object was fetched; or not, and then it is when [`Contents::try_again`] was said and somebody asks for it.
    pub(crate) fn fetched(&mut self, object: &ObjectRef, content: Option<Option<Arc<Content>>>, now: Time) {
        let Some(fetched) = self.fetched.get_mut(object) else { return };
        let Some(begun) = fetched.begun.take() else { return };
        fetched.failure = content.is_none().then_some(Failure::Waits);
        match content {
            Some(content) => {
                let cost = content.as_ref().map_or(0, |content| content.cost());
                let is_kept = self.kept.has_room(&object.namespace, object, cost);
                self.kept.set(&object.namespace, object, if is_kept { cost } else { 0 });
                // What was seen meanwhile may be what came.
                let seen = self.seen.get(&object.namespace);
                let seen = seen.and_then(|all| all.objects.get(&(object.kind, object.name.clone())));
                let is_same =
                    seen.map(|seen| &seen.version) == content.as_ref().map(|content| &content.version);
                fetched.is_doubted &= !is_same;
                let content = match content {
                    None => Held::Absent,
                    Some(content) if is_kept => Held::Is(content),
                    Some(_) => Held::NoRoom,
                };
                fetched.last = Some(Answer { asked: begun, came: now, content });
            }
            None => fetched.is_doubted = true,
        }
    }

    /// What came of an object is of no use.
    pub(crate) fn unfit(&mut self, object: &ObjectRef, now: Time) {
        let Some(fetched) = self.fetched.get_mut(object) else { return };
        let Some(begun) = fetched.begun.take() else { return };
        self.kept.set(&object.namespace, object, 0);
        fetched.failure = None;
        fetched.last = Some(Answer { asked: begun, came: now, content: Held::Unfit });
    }

    /// Nobody uses an object any more.
    pub(crate) fn forget(&mut self, object: &ObjectRef) {
        self.fetched.remove(object);
        self.kept.set(&object.namespace, object, 0);
        self.wanted.remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;
    use crate::model::object::ObjectKind;
    use crate::rollouts::content::Value;

    fn object(namespace: &str, name: &str) -> ObjectRef {
        ObjectRef { kind: ObjectKind::ConfigMap, namespace: namespace.into(), name: name.into() }
    }

    /// Has an object fetched that has so many keys.
    fn fetch(contents: &mut Contents, object: &ObjectRef, keys: usize) -> Held {
        let now = Time::default();
        assert_eq!(contents.get(object, now, now), None);
        assert_eq!(contents.next(now).as_ref(), Some(object));
        let value = Value { digest: Digest::default(), is_binary: false };
        let keys = (0..keys).map(|key| (Name::from(format!("key-{key:08}")), value)).collect();
        let content = Content {
            uid: "u".into(),
            version: "1".into(),
            is_immutable: false,
            changed: now,
            is_original: true,
            keys,
        };
        contents.fetched(object, Some(Some(Arc::new(content))), now);
        contents.get(object, now, now).unwrap()
    }

    #[test]
    fn a_namespace_with_many_keys_leaves_room_for_others() {
        let mut contents = Contents::default();
        let mut count = 0;
        while fetch(&mut contents, &object("hostile", &count.to_string()), 4096) != Held::NoRoom {
            count += 1;
            assert!(count < 100, "no end");
        }
        assert!(count > 10, "{count}");
        assert!(matches!(fetch(&mut contents, &object("shop", "app"), 100), Held::Is(_)));
        // What is used no more takes none, and who had none may have some then.
        let late = object("hostile", &count.to_string());
        contents.forget(&object("hostile", "0"));
        let now = Time::default();
        assert_eq!(contents.get(&late, now, now), Some(Held::NoRoom));
        contents.try_again(&late);
        assert!(matches!(fetch(&mut contents, &late, 4096), Held::Is(_)));
        contents.forget(&late);
        assert!(matches!(fetch(&mut contents, &object("hostile", "more"), 4096), Held::Is(_)));
    }
}
