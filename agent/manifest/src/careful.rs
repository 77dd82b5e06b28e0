//! Reads something so that a field of another type takes nothing from what follows: the value is consumed to its end all the same, and
//! only what is no JSON or YAML any more ends the reading.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::shown;

/// What was wrong so far.
#[derive(Default)]
struct State {
    /// The first value that was of another type, or another mistake of the kind.
    fault: RefCell<Option<String>>,
    /// Whether the text itself is broken.
    is_broken: Cell<bool>,
}

impl State {
    fn note(&self, error: &impl fmt::Display) {
        self.fault.borrow_mut().get_or_insert_with(|| shown(&error.to_string()));
    }

    /// Tells a mistake that the text goes on behind from its end.
    fn judge<T, E: Error>(&self, result: Result<T, E>) -> Result<Option<T>, E> {
        match result {
            Ok(read) => Ok(Some(read)),
            Err(error) if self.is_broken.get() => Err(error),
            Err(error) => {
                self.note(&error);
                Ok(None)
            }
        }
    }

    /// What the text itself says: a mistake there is its end.
    fn parsed<T, E>(&self, result: Result<T, E>) -> Result<T, E> {
        self.is_broken.set(self.is_broken.get() || result.is_err());
        result
    }

    /// The same in the place of a value.
    fn whole<T, E: Error>(&self, result: Result<Option<T>, E>) -> Result<T, E> {
        let known = || E::custom(self.fault.borrow().as_deref().unwrap_or("malformed"));
        self.parsed(result)?.ok_or_else(known)
    }
}

/// Reads a value; the inner error is why this value can't be used, and the text goes on behind it.
pub(crate) fn carefully<'de, S: DeserializeSeed<'de>, D: Deserializer<'de>>(
    seed: S,
    deserializer: D,
) -> Result<Result<S::Value, String>, D::Error> {
    let state = State::default();
    let read = state.judge(seed.deserialize(Careful { inner: deserializer, state: &state }))?;
    Ok(read.ok_or_else(|| state.fault.take().unwrap_or_default()))
}

/// A part of a reader that reads carefully.
struct Careful<'a, T> {
    inner: T,
    state: &'a State,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Careful<'_, S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let Self { inner, state } = self;
        state.judge(inner.deserialize(Careful { inner: deserializer, state }))
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Careful<'_, D> {
    type Error = D::Error;

    /// What the text says itself decides, as a reader of another type stops before the value.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let Self { inner, state } = self;
        state.whole(inner.deserialize_any(Careful { inner: visitor, state }))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let Self { inner, state } = self;
        state.whole(inner.deserialize_option(Careful { inner: visitor, state }))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.state.parsed(self.inner.deserialize_ignored_any(visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

/// Values that are one piece.
macro_rules! visit_pieces {
    ($($visit:ident: $type:ty),+) => {
        $(fn $visit<E: Error>(self, value: $type) -> Result<Self::Value, E> {
            self.state.judge(self.inner.$visit(value))
        })+
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Careful<'_, V> {
    type Value = Option<V::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit_pieces! {
        visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128, visit_f64: f64,
        visit_str: &str, visit_borrowed_str: &'de str, visit_string: String, visit_bytes: &[u8]
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        self.state.judge(self.inner.visit_unit())
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        self.state.judge(self.inner.visit_none())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let Self { inner, state } = self;
        state.judge(inner.visit_some(Careful { inner: deserializer, state }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let Self { inner, state } = self;
        let read = state.judge(inner.visit_seq(Careful { inner: &mut list, state }))?;
        while read.is_none() && state.parsed(list.next_element::<IgnoredAny>())?.is_some() {}
        Ok(read)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        let Self { inner, state } = self;
        let mut entries = Entries { object, has_key: false };
        let read = state.judge(inner.visit_map(Careful { inner: &mut entries, state }))?;
        if read.is_none() {
            let Entries { mut object, has_key } = entries;
            if has_key {
                state.parsed(object.next_value::<IgnoredAny>())?;
            }
            while state.parsed(object.next_entry::<IgnoredAny, IgnoredAny>())?.is_some() {}
        }
        Ok(read)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Careful<'_, &mut A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        let state = self.state;
        match state.parsed(self.inner.next_element_seed(Careful { inner: seed, state }))? {
            None => Ok(None),
            Some(read) => state.whole(Ok(read)).map(Some),
        }
    }
}

/// The entries of an object.
struct Entries<A> {
    object: A,
    /// Whether a key was read, and its value wasn't.
    has_key: bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Careful<'_, &mut Entries<A>> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let key = self.state.parsed(self.inner.object.next_key_seed(seed))?;
        self.inner.has_key = key.is_some();
        Ok(key)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let state = self.state;
        self.inner.has_key = false;
        state.whole(self.inner.object.next_value_seed(Careful { inner: seed, state }))
    }
}
