//! Closed sets of words: outcomes, reasons, kinds. People meet each value as one word in metrics, log lines, the journal and
//! the status, and there are no other words.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::closed_set;

/// A closed set, as [`closed_set!`] makes it: each value has a word of its own.
pub trait Closed: Copy + Ord + 'static {
    /// Every value, in order.
    fn all() -> &'static [Self];

    /// The value's word.
    fn word(self) -> &'static str;

    /// The value's place in the order.
    fn index(self) -> usize;

    /// The value with this word.
    fn parse(word: &str) -> Option<Self> {
        Self::all().iter().copied().find(|value| value.word() == word)
    }
}

/// Makes an enum whose values are a closed set, out of one list in which each has its word. No value can be left out of
/// `ALL`, and two values with one word don't compile:
///
/// ```compile_fail
/// reloadlet_core::closed_set! {
///     /// Whether something is so.
///     pub enum Answer {
///         /// It is.
///         Yes => "yes",
///         /// It isn't.
///         No => "yes",
///     }
/// }
/// ```
#[macro_export]
macro_rules! closed_set {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$about:meta])* $value:ident => $word:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $visibility enum $name {
            $($(#[$about])* $value,)+
        }

        impl $name {
            /// Every value, in order.
            $visibility const ALL: [Self; [$($word),+].len()] = [$(Self::$value),+];

            /// The value's word.
            $visibility const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }
        }

        impl $crate::model::closed::Closed for $name {
            fn all() -> &'static [Self] {
                &Self::ALL
            }

            fn word(self) -> &'static str {
                self.as_str()
            }

            fn index(self) -> usize {
                self as usize
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        const _: () = assert!($crate::model::closed::are_distinct(&[$($word),+]), "two values have one word");
    };
}

/// Whether no two words are the same.
pub const fn are_distinct(words: &[&str]) -> bool {
    let mut rest = words;
    while let [first, others @ ..] = rest {
        let mut others_left = others;
        while let [other, behind @ ..] = others_left {
            if is_same(first.as_bytes(), other.as_bytes()) {
                return false;
            }
            others_left = behind;
        }
        rest = others;
    }
    true
}

const fn is_same(mut one: &[u8], mut other: &[u8]) -> bool {
    while let ([a, one_left @ ..], [b, other_left @ ..]) = (one, other) {
        if *a != *b {
            return false;
        }
        (one, other) = (one_left, other_left);
    }
    one.is_empty() && other.is_empty()
}

/// A value of a closed set where it is written as its word, and read by somebody who may know fewer words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word<T> {
    /// A value that is known here.
    Known(T),
    /// The word of a value that isn't.
    Other(String),
}

impl<T: Closed> Word<T> {
    /// The word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(value) => value.word(),
            Self::Other(word) => word,
        }
    }
}

impl<T: Closed> From<T> for Word<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: Closed> PartialEq<T> for Word<T> {
    fn eq(&self, value: &T) -> bool {
        match self {
            Self::Known(known) => known == value,
            Self::Other(_) => false,
        }
    }
}

impl<T: Closed> PartialOrd for Word<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By the words, whether they are known or not.
impl<T: Closed> Ord for Word<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl<T: Closed> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<T: Closed> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, T: Closed> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Ok(T::parse(&word).map_or(Self::Other(word), Self::Known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    closed_set! {
        /// How much there is.
        enum Amount {
            /// Nothing.
            None => "none",
            /// Something.
            Some => "a_bit",
            /// Everything.
            All => "all",
        }
    }

    #[test]
    fn every_value_has_a_place_and_a_word_by_which_it_is_found_again() {
        assert_eq!(Amount::ALL, [Amount::None, Amount::Some, Amount::All]);
        assert_eq!(Amount::all(), Amount::ALL);
        for (index, value) in Amount::ALL.into_iter().enumerate() {
            assert_eq!((value.index(), Amount::parse(value.as_str())), (index, Some(value)));
            assert_eq!(value.to_string(), value.word());
        }
        for other in ["", "None", "none ", "a_bit\0", "al"] {
            assert_eq!(Amount::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn two_values_cant_have_one_word() {
        for (words, distinct) in [
            (&[][..], true),
            (&["a"], true),
            (&["a", "aa", "b", ""], true),
            (&["a", "b", "a"], false),
            (&["b", "ab", "ab"], false),
            (&["", ""], false),
        ] {
            assert_eq!(are_distinct(words), distinct, "{words:?}");
        }
    }

    #[test]
    fn a_word_that_isnt_known_stays_what_it_is() {
        let read = |word: &str| -> Result<Word<Amount>, serde::de::value::Error> {
            Word::deserialize(serde::de::value::StrDeserializer::new(word))
        };
        assert_eq!(read("a_bit"), Ok(Word::Known(Amount::Some)));
        let other = read("plenty").unwrap();
        assert_eq!(other, Word::Other("plenty".to_owned()));
        assert!(other != Amount::All && other.to_string() == "plenty");
        let known = Word::from(Amount::All);
        assert!(known == Amount::All && known != Amount::None && known.to_string() == "all");
    }

    #[test]
    fn words_are_in_the_order_of_their_letters() {
        let mut words =
            [Word::from(Amount::None), Word::Other("between".to_owned()), Word::from(Amount::All)];
        words.sort();
        assert_eq!(words.map(|word| word.to_string()), ["all", "between", "none"]);
    }
}
