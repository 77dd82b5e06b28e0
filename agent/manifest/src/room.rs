//! How much is kept while manifests are decoded. Whoever writes pods doesn't decide how much memory that takes: a pod has
//! room for so much, and what is beyond that is skipped unread; all pods of a text have room for so much together.
//!
//! Deserializers of two formats call the parts that know what a pod is, and pass nothing through; so what is left is kept
//! beside them, for each thread.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use reloadlet_core::model::excess::MOST_BYTES;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::pod::Pod;
use reloadlet_core::policy::crowd::Crowd;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

/// The most text that is taken, in bytes: a node's pods as `kubectl get -o yaml` writes them come to a few MiB, and forty
/// tenants can make pods of 1.5 MB. The pods of a node are read piece by piece, so this bounds time, not memory.
pub const SIZE_LIMIT: usize = 64 << 20;

/// The most objects of a text: no node has as many pods.
pub(super) const MOST_OBJECTS: usize = 10_000;

/// The longest name that is kept, in bytes: no name that Kubernetes allows is longer than 253.
const LONGEST_NAME: usize = 256;

thread_local! {
    /// What is left for the pod that is being decoded, in bytes; `None` once that wasn't enough.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    static TEXT: RefCell<Option<Text>> = const { RefCell::new(None) };
    /// What is left for the long details of the object that is being decoded, in bytes; `None` where they aren't read.
    static DETAILS: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Has details read while this is there: of running pods they aren't kept.
pub(super) struct Details(Option<usize>);

impl Details {
    pub(super) fn begin() -> Self {
        Self(DETAILS.replace(Some(MOST_BYTES)))
    }
}

impl Drop for Details {
    fn drop(&mut self) {
        DETAILS.set(self.0);
    }
}

/// Something that counts only in manifests that are checked; its default in others.
#[derive(Default)]
pub(super) struct Detail<T>(pub(super) T);

impl<'de, T: Default + Deserialize<'de>> Deserialize<'de> for Detail<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if DETAILS.get().is_none() {
            return IgnoredAny::deserialize(deserializer).map(|_| Self::default());
        }
        Ok(Self(Option::deserialize(deserializer)?.unwrap_or_default()))
    }
}

/// A detail that can be as long as its owner wants: it has room beside the rest, and where there is none it is left out itself.
#[derive(Default)]
pub(super) struct LongDetail<T>(pub(super) T);

impl<'de, T: Default + Deserialize<'de>> Deserialize<'de> for LongDetail<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(details) = DETAILS.get() else {
            return IgnoredAny::deserialize(deserializer).map(|_| Self::default());
        };
        let room = Room::of(details);
        let detail = Option::deserialize(deserializer)?.unwrap_or_default();
        let left = LEFT.get();
        drop(room);
        DETAILS.set(Some(left.unwrap_or_default()));
        Ok(left.map_or_else(Self::default, |_| Self(detail)))
    }
}

/// The room of one object, while it is decoded.
pub(super) struct Room(Option<usize>);

impl Room {
    pub(super) fn open() -> Self {
        Self::of(MOST_BYTES)
    }

    /// Room for something else, in bytes.
    pub(super) fn of(bytes: usize) -> Self {
        Self(LEFT.replace(Some(bytes)))
    }

    /// Whether something was skipped.
    pub(super) fn was_exceeded(&self) -> bool {
        LEFT.get().is_none()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        LEFT.set(self.0);
    }
}

/// Takes some of what is left; `false` if that isn't enough, and nothing is from then on.
pub(super) fn take(bytes: usize) -> bool {
    LEFT.set(LEFT.get().and_then(|left| left.checked_sub(bytes)));
    LEFT.get().is_some()
}

/// The same for what can be left out: where less than that and `kept` is left, all of it stays, for what can't be.
pub(super) fn take_leaving(kept: usize, bytes: usize) -> bool {
    LEFT.get().is_some_and(|left| left >= kept.saturating_add(bytes)) && take(bytes)
}

/// A sequence, as far as there is room.
pub(super) struct Few<T>(Vec<T>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Few<T> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// What a sequence may hold.
pub(super) trait Part {
    /// Whether it is worth keeping.
    fn counts(&self) -> bool {
        true
    }
}

impl<'de, T: Deserialize<'de> + Part> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FewVisitor(PhantomData))
    }
}

struct FewVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Part> Visitor<'de> for FewVisitor<T> {
    type Value = Few<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while take(0) {
            match sequence.next_element::<T>()? {
                Some(part) if part.counts() && take(size_of::<T>()) => kept.push(part),
                Some(_) => {}
                None => return Ok(Few(kept)),
            }
        }
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Few(kept))
    }
}

impl Part for Words {}

/// A text, as far as there is room; empty where there is none.
#[derive(Default)]
pub(super) struct Words(pub(super) String);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Whole).map(Self)
    }
}

/// A name, which is cut where it is longer than any.
pub(super) struct ShortName(pub(super) String);

impl<'de> Deserialize<'de> for ShortName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Cut).map(Self)
    }
}

/// As much of a text as a name can have.
pub(super) fn short(text: &str) -> String {
    text.get(..text.floor_char_boundary(LONGEST_NAME)).unwrap_or_default().to_owned()
}

/// The same of a text of one's own.
pub(super) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST_NAME));
    text
}

struct Whole;

impl Visitor<'_> for Whole {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(if take(text.len()) { text.to_owned() } else { String::new() })
    }
}

struct Cut;

impl Visitor<'_> for Cut {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(short(text))
    }
}

/// The pods of a text that holds many, while it is decoded.
#[derive(Default)]
struct Text {
    pods: Crowd<usize>,
    objects: usize,
    namespaces: HashSet<Name>,
}

/// Makes room for the pods of a text; it ends with this.
pub(super) struct Many(PhantomData<*const ()>);

impl Many {
    pub(super) fn begin() -> Self {
        TEXT.set(Some(Text::default()));
        Self(PhantomData)
    }

    /// A pod that was put there, unless there was no room even for its name.
    #[expect(clippy::unused_self, reason = "there are pods only while this is there")]
    pub(super) fn get(&self, place: usize) -> Option<Arc<Pod>> {
        TEXT.with_borrow(|text| text.as_ref()?.pods.get(&place).cloned())
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        TEXT.set(None);
    }
}

/// Where a decoded pod is.
pub(super) enum Kept {
    /// Here, where it is the only one.
    Here(Box<Pod>),
    /// Among those of the text.
    Among(usize),
}

/// Puts a pod to the others of its text.
pub(super) fn keep(mut pod: Pod) -> Kept {
    TEXT.with_borrow_mut(|text| match text {
        None => Kept::Here(Box::new(pod)),
        Some(Text { pods, objects, namespaces }) => {
            match namespaces.get(&pod.namespace) {
                Some(known) => pod.namespace = known.clone(),
                None => drop(namespaces.insert(pod.namespace.clone())),
            }
            *objects += 1;
            pods.insert(*objects, Arc::new(pod));
            Kept::Among(*objects)
        }
    })
}
