//! What objects say that they are, read before anything else of them: a kind may stand after what it decides about, and
//! nothing is known of the fields of other kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use reloadlet_core::model::pod::{AnnotationValue, Annotations};
use reloadlet_core::policy::annotations::{IGNORE, asks};
use reloadlet_core::policy::reloader;
use serde::de::{Deserialize, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::annotations::WrittenValue;
use crate::room::{short, take, take_leaving};

/// How much memory is taken for what all objects of a document say that they are, in bytes: 50,000 take half of it.
pub(crate) const MOST_BYTES: usize = 40 << 20;

/// How much of it is kept for kinds and names, whatever keys and annotations somebody gives to objects.
const FOR_NAMES: usize = MOST_BYTES / 2;

/// The fields that say what an object is: each stands there once.
const DECIDING: [&str; 8] =
    ["apiVersion", "kind", "metadata", "items", "immutable", "data", "binaryData", "stringData"];
/// The most keys that are kept of an object.
const MOST_KEYS: usize = 1024;

/// What something in a text says that it is.
pub(crate) enum Head {
    /// It is empty.
    Nothing,
    NotAnObject,
    Object(ObjectHead),
    /// It says this twice.
    Twice(&'static str),
}

/// What an object says that it is.
#[derive(Default)]
pub(crate) struct ObjectHead {
    pub(crate) api_version: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
    /// Those of its annotations that say something of it to others.
    pub(crate) annotations: Annotations,
    /// Whether a ConfigMap or a Secret says that it never changes.
    pub(crate) immutable: bool,
    /// The keys of its content, if all of them are known.
    pub(crate) keys: Keys,
    /// Whether its spec has a template with containers, as whatever makes pods has.
    pub(crate) makes_pods: bool,
    pub(crate) items: ItemHeads,
}

/// The items of a list.
#[derive(Default)]
pub(crate) enum ItemHeads {
    /// There are none, or something else than a list.
    #[default]
    None,
    Null,
    Some(Vec<Head>),
}

/// A text where there is one, cut like a name; nothing where there is something else.
pub(crate) struct Text(pub(crate) Option<String>);

/// Something that is read whatever its type is.
pub(crate) trait Lenient<'de>: Sized {
    /// What anything else comes to.
    fn other() -> Self;

    fn null() -> Self {
        Self::other()
    }

    fn text(_: &str) -> Self {
        Self::other()
    }

    fn flag(_: bool) -> Self {
        Self::other()
    }

    fn number(_: u64) -> Self {
        Self::other()
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::other())
    }

    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::other())
    }
}

/// Has each of them read so.
macro_rules! read_anything {
    ($($name:ident),+) => {
        $(impl<'de> serde::de::Deserialize<'de> for $name {
            fn deserialize<D: serde::de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any($crate::heads::AnyVisitor::new())
            }
        })+
    };
}
pub(crate) use read_anything;

read_anything!(Head, Text, Flag, Number, Keys, Marks, Named, ItemHeads, Spec, Template, PodSpec, Containers);

/// The field of this name; the last one of several.
pub(crate) fn field<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    mut object: A,
    name: &str,
) -> Result<Option<T>, A::Error> {
    let mut found = None;
    while let Some(Text(key)) = object.next_key()? {
        if key.as_deref() == Some(name) {
            found = Some(object.next_value()?);
        } else {
            object.next_value::<IgnoredAny>()?;
        }
    }
    Ok(found)
}

/// Reads such a thing.
pub(crate) struct AnyVisitor<T>(PhantomData<T>);

impl<T> AnyVisitor<T> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: Lenient<'de>> Visitor<'de> for AnyVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<T, E> {
        Ok(T::flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(u64::try_from(number).map_or_else(|_| T::other(), T::number))
    }

    fn visit_i128<E>(self, _: i128) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::number(number))
    }

    fn visit_u128<E>(self, _: u128) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::text(text))
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::null())
    }

    fn visit_none<E>(self) -> Result<T, E> {
        Ok(T::null())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<T, A::Error> {
        T::object(object)
    }
}

/// Whether something is `true`.
#[derive(Default)]
pub(crate) struct Flag(pub(crate) bool);

impl Lenient<'_> for Flag {
    fn other() -> Self {
        Self(false)
    }

    fn flag(flag: bool) -> Self {
        Self(flag)
    }
}

/// A number of something; nothing where there is something else, also a number below zero or beyond all counting.
#[derive(Default)]
pub(crate) struct Number(pub(crate) Option<u32>);

impl Lenient<'_> for Number {
    fn other() -> Self {
        Self(None)
    }

    fn number(number: u64) -> Self {
        Self(u32::try_from(number).ok())
    }
}

impl Text {
    /// The text, if there is room for it.
    fn kept(self) -> Option<String> {
        self.0.filter(|text| take(text.len()))
    }
}

impl Lenient<'_> for Text {
    fn other() -> Self {
        Self(None)
    }

    fn text(text: &str) -> Self {
        Self(Some(short(text)))
    }
}

impl<'de> Lenient<'de> for Head {
    fn other() -> Self {
        Self::NotAnObject
    }

    fn null() -> Self {
        Self::Nothing
    }

    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut head = ObjectHead::default();
        let (mut seen, mut twice) = (BTreeSet::new(), None);
        while let Some(Text(key)) = object.next_key()? {
            let known = DECIDING.into_iter().find(|known| key.as_deref() == Some(*known));
            // Which of two would count differs between those that read them.
            if let Some(known) = known.filter(|known| !seen.insert(*known)) {
                twice = twice.or(Some(known));
                object.next_value::<IgnoredAny>()?;
                continue;
            }
            match key.as_deref() {
                Some("apiVersion") => head.api_version = object.next_value::<Text>()?.kept(),
                Some("kind") => head.kind = object.next_value::<Text>()?.kept(),
                Some("metadata") => {
                    let named = object.next_value::<Named>()?;
                    (head.name, head.namespace, head.annotations) =
                        (named.name, named.namespace, named.annotations.0);
                }
                Some("items") => head.items = object.next_value()?,
                Some("immutable") => head.immutable = object.next_value::<Flag>()?.0,
                Some("spec") => head.makes_pods |= object.next_value::<Spec>()?.0,
                Some("binaryData") => head.keys.add(object.next_value::<Keys>()?.into_binary()),
                Some("data" | "stringData") => head.keys.add(object.next_value()?),
                Some(_) | None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(twice.map_or(Self::Object(head), Self::Twice))
    }
}

/// Has each of them hold whether there are containers below its field.
macro_rules! containers_below {
    ($($name:ident: $field:literal is $inner:ident),+) => {
        $(
            /// Whether there are containers below it.
            struct $name(bool);

            impl<'de> Lenient<'de> for $name {
                fn other() -> Self {
                    Self(false)
                }

                fn object<A: MapAccess<'de>>(object: A) -> Result<Self, A::Error> {
                    Ok(Self(field::<A, $inner>(object, $field)?.is_some_and(|inner| inner.0)))
                }
            }
        )+
    };
}

containers_below!(Spec: "template" is Template, Template: "spec" is PodSpec, PodSpec: "containers" is Containers);

/// Whether there is one.
struct Containers(bool);

impl<'de> Lenient<'de> for Containers {
    fn other() -> Self {
        Self(false)
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut any = false;
        while list.next_element::<IgnoredAny>()?.is_some() {
            any = true;
        }
        Ok(Self(any))
    }
}

/// The keys of an object, each with whether it is one of its `binaryData`; nothing where not all of them are known.
pub(crate) struct Keys(pub(crate) Option<BTreeMap<String, bool>>);

impl Default for Keys {
    fn default() -> Self {
        Self(Some(BTreeMap::new()))
    }
}

impl Keys {
    fn into_binary(mut self) -> Self {
        self.0.iter_mut().flatten().for_each(|(_, is_binary)| *is_binary = true);
        self
    }

    fn add(&mut self, more: Self) {
        match (&mut self.0, more.0) {
            (Some(all), Some(more)) => all.extend(more),
            (all, _) => *all = None,
        }
    }
}

impl<'de> Lenient<'de> for Keys {
    fn other() -> Self {
        Self(None)
    }

    fn null() -> Self {
        Self::default()
    }

    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut keys = Self::default();
        while let Some(Text(key)) = object.next_key()? {
            object.next_value::<IgnoredAny>()?;
            let fits = |all: &BTreeMap<String, bool>, key: &str| {
                all.len() < MOST_KEYS && take_leaving(FOR_NAMES, KEY + key.len())
            };
            match (&mut keys.0, key) {
                (Some(all), Some(key)) if fits(all, &key) => drop(all.insert(key, false)),
                (all, _) => *all = None,
            }
        }
        Ok(keys)
    }
}

/// How much memory a key takes beside its text, in bytes.
const KEY: usize = 48;

#[derive(Default)]
struct Named {
    name: Option<String>,
    namespace: Option<String>,
    annotations: Marks,
}

/// The annotations of an object that say something of it to others.
#[derive(Default)]
struct Marks(Annotations);

/// Those that say something; so many others are kept that only seem to.
const READ: [&str; 3] = [IGNORE, reloader::IGNORE, reloader::MATCH];
const MOST_UNREAD: usize = 16;

impl<'de> Lenient<'de> for Marks {
    fn other() -> Self {
        Self::default()
    }

    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut marks = Self::default();
        let mut unread = 0;
        while let Some(Text(key)) = object.next_key()? {
            let key = key.unwrap_or_default();
            if READ.contains(&key.as_str()) && take(key.len()) {
                marks.0.insert(key, object.next_value::<WrittenValue>()?.0);
                continue;
            }
            object.next_value::<IgnoredAny>()?;
            let seems = asks(&key) || reloader::is_relevant(&key);
            if seems && unread < MOST_UNREAD && take_leaving(FOR_NAMES, KEY + key.len()) {
                unread += 1;
                marks.0.entry(key).or_insert(AnnotationValue::Text(String::new()));
            }
        }
        Ok(marks)
    }
}

impl<'de> Lenient<'de> for Named {
    fn other() -> Self {
        Self::default()
    }

    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut named = Self::default();
        while let Some(Text(key)) = object.next_key()? {
            match key.as_deref() {
                Some("name") => named.name = object.next_value::<Text>()?.kept(),
                Some("namespace") => named.namespace = object.next_value::<Text>()?.kept(),
                Some("annotations") => named.annotations = object.next_value()?,
                Some(_) | None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(named)
    }
}

impl<'de> Lenient<'de> for ItemHeads {
    fn other() -> Self {
        Self::None
    }

    fn null() -> Self {
        Self::Null
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut heads = Vec::new();
        while take(size_of::<Head>()) {
            match list.next_element()? {
                Some(head) => heads.push(head),
                None => return Ok(Self::Some(heads)),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::Some(heads))
    }
}
