//! What objects hold, as far as rolls depend on it.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::digest::Digest;
use crate::model::names::Name;
use crate::model::time::Time;
use crate::policy::reloader::Marks;

/// What stands for some keys of an object and their values: the same for the same ones, whatever order they were counted in. Nothing
/// leads back to them, as nothing leads back from the digests of which it is made. That of no key is zero, which an object
/// that isn't there has too: nobody can tell the two apart by what a container takes. The last bit says whether all keys were counted, or
/// those that are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Print([u64; 2]);

/// The bit that says that all keys were counted.
const ALL: u64 = 1;

impl Print {
    /// That of an object of which all keys count.
    pub(crate) const fn of_all(self) -> Self {
        let Self([first, second]) = self;
        Self([first, second | ALL])
    }

    /// Whether all keys count.
    pub(crate) const fn is_of_all(self) -> bool {
        self.0[1] & ALL != 0
    }

    /// Whether no key counts, or there is no object.
    pub(crate) const fn is_of_nothing(self) -> bool {
        let Self([first, second]) = self;
        first == 0 && second & !ALL == 0
    }
}

/// As 32 hexadecimal digits: numbers of this size aren't kept by all that reads JSON.
impl Serialize for Print {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self([first, second]) = self;
        serializer.collect_str(&format_args!("{first:016x}{second:016x}"))
    }
}

impl<'de> Deserialize<'de> for Print {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = |range| u64::from_str_radix(text.get(range)?, 16).ok();
        match (text.len(), digits(0..16), digits(16..32)) {
            (32, Some(first), Some(second)) if text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Ok(Self([first, second]))
            }
            _ => Err(D::Error::custom("a print is 32 hexadecimal digits")),
        }
    }
}

/// The sum of digests, modulo 2^256: digests that are made under a secret key can't be chosen so that sums meet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum([u64; 4]);

impl Sum {
    /// Counts a digest in.
    pub(crate) fn add(&mut self, digest: &Digest) {
        let (words, _) = digest.as_bytes().as_chunks::<8>();
        let mut carry = false;
        for (sum, word) in self.0.iter_mut().zip(words) {
            (*sum, carry) = sum.carrying_add(u64::from_le_bytes(*word), carry);
        }
    }

    /// The half of it that is kept.
    pub(crate) const fn print(self) -> Print {
        let [_, _, first, second] = self.0;
        Print([first, second & !ALL])
    }
}

/// One key of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// What stands for the object's name, the key and its value; made under a secret key.
    pub digest: Digest,
    /// Whether it is one of a ConfigMap's `binaryData`, which no environment has.
    pub is_binary: bool,
}

/// What is known of an object without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its `resourceVersion`.
    pub version: Name,
    /// What it says to Reloader.
    pub marks: Marks,
    /// Whether its owner keeps it from triggering anything (`reloadlet.io/ignore`).
    pub is_ignored: bool,
}

/// What an object holds at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its UID: another one when it was deleted and made again.
    pub uid: Name,
    /// Its `resourceVersion`.
    pub version: Name,
    /// Whether it is immutable.
    pub is_immutable: bool,
    /// When its data was last changed, by the API server's clock, in whole seconds, rounded down.
    pub changed: Time,
    /// Whether its data is as it was when it was made, as far as whole seconds tell that.
    pub is_original: bool,
    /// Its keys.
    pub keys: Keys,
}

/// The keys of an object, each once and in order. They are written once, and there are those of thousands of objects: a map of names
/// would take three times as much memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Their names, one after the other.
    names: Box<str>,
    /// Where each name ends, and what stands for the value.
    all: Box<[(u32, Value)]>,
}

impl<N: AsRef<str> + Ord> FromIterator<(N, Value)> for Keys {
    /// Of one that comes more than once the last one counts.
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(all: I) -> Self {
        let sorted: BTreeMap<N, Value> = all.into_iter().collect();
        let mut names = String::new();
        let mut all = Vec::new();
        for (name, value) in sorted {
            names.push_str(name.as_ref());
            // No object is as large.
            all.push((u32::try_from(names.len()).unwrap_or(u32::MAX), value));
        }
        Self { names: names.into(), all: all.into() }
    }
}

impl Keys {
    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value)> {
        let mut begin = 0;
        self.all.iter().map(move |(end, value)| {
            let range = std::mem::replace(&mut begin, *end as usize)..*end as usize;
            (self.names.get(range).unwrap_or_default(), *value)
        })
    }
}

impl Content {
    /// What stands for these of its keys.
    pub(crate) fn print(&self, counts: impl Fn(&str, Value) -> bool) -> Print {
        let mut sum = Sum::default();
        for (key, value) in self.keys.iter() {
            if counts(key, value) {
                sum.add(&value.digest);
            }
        }
        sum.print()
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn cost(&self) -> usize {
        const EACH: usize = 128;
        self.keys.iter().map(|(key, _)| key.len() + EACH).sum::<usize>() + 4 * EACH
    }

    /// What stands for all of it.
    pub(crate) fn whole(&self) -> Print {
        self.print(|_, _| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Digest {
        Digest::new(std::array::from_fn(|index| n.wrapping_mul(73).rotate_left(index as u32 % 7)))
    }

    #[test]
    fn keys_are_in_order_and_each_is_there_once() {
        let value = |n: u8| Value { digest: digest(n), is_binary: n == 3 };
        let keys: Keys =
            [("b", value(1)), ("", value(2)), ("ä.b", value(3)), ("a", value(4)), ("b", value(5))]
                .into_iter()
                .collect();
        let all: Vec<_> = keys.iter().collect();
        assert_eq!(all, [("", value(2)), ("a", value(4)), ("b", value(5)), ("ä.b", value(3))]);
        assert_eq!(Keys::default().iter().count(), 0);
        // Where one name ends is part of it.
        assert_ne!(
            Keys::from_iter([("ab", value(1)), ("c", value(2))]),
            Keys::from_iter([("a", value(1)), ("bc", value(2))])
        );
    }

    #[test]
    fn the_order_in_which_digests_are_counted_says_nothing_and_each_of_them_counts() {
        let of = |all: &[u8]| {
            let mut sum = Sum::default();
            all.iter().for_each(|n| sum.add(&digest(*n)));
            sum.print()
        };
        assert_eq!(of(&[1, 200, 255]), of(&[255, 1, 200]));
        let all = [of(&[]), of(&[1]), of(&[1, 1]), of(&[1, 255]), of(&[255, 255]), of(&[255])];
        for (index, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(index));
        }
        assert_eq!(of(&[]), Print::default());
    }

    #[test]
    fn a_print_says_whether_all_keys_were_counted_and_is_another_one_by_that() {
        let mut sum = Sum::default();
        // Its last bit is one of what is hashed.
        sum.add(&Digest::new([0xff; 32]));
        let some = sum.print();
        assert!(!some.is_of_all() && some.of_all().is_of_all() && some.of_all() != some);
        assert!(!some.is_of_nothing() && !some.of_all().is_of_nothing());
        assert!(Print::default().is_of_nothing() && Print::default().of_all().is_of_nothing());
        assert!(!Print::default().is_of_all());
    }
}
