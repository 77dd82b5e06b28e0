//! What stands for a pod's annotations in the journal.

use std::fmt::Write as _;

use crate::model::hash;
use crate::model::pod::{AnnotationValue, Annotations};

/// A hash of the annotations as agents once printed them for debugging.
const PRINTED: u8 = 1;
/// A hash of the annotations' bytes, each text behind its length.
const MEASURED: u8 = 2;
/// The same of those alone that ask for something.
const ASKING: u8 = 3;

/// A mark of some annotations, with the way in which it was made: the journal outlives the agent that made it, and a later
/// agent must find that the annotations are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    version: u8,
    value: u64,
}

impl Mark {
    /// The mark of those of these annotations whose key `asks` for something.
    pub fn of(annotations: &Annotations, asks: fn(&str) -> bool) -> Self {
        Self { version: ASKING, value: asking(annotations, asks) }
    }

    /// A mark as the journal holds it.
    pub const fn recorded(version: u8, value: u64) -> Self {
        Self { version, value }
    }

    /// A mark out of a journal in which marks had no version yet.
    pub const fn without_version(value: u64) -> Self {
        Self { version: PRINTED, value }
    }

    /// The way in which it was made.
    pub const fn version(self) -> u8 {
        self.version
    }

    /// The mark itself.
    pub const fn value(self) -> u64 {
        self.value
    }

    /// Whether it is the mark of these annotations, made in the same way. One that was made in a way that isn't known here
    /// is nobody's.
    pub fn is_of(self, annotations: &Annotations, asks: fn(&str) -> bool) -> bool {
        match self.version {
            PRINTED => self.value == printed(annotations),
            MEASURED => self.value == measured(annotations),
            ASKING => self.value == asking(annotations, asks),
            _ => false,
        }
    }
}

fn asking(annotations: &Annotations, asks: fn(&str) -> bool) -> u64 {
    measured(annotations.iter().filter(|(key, _)| asks(key)))
}

/// The bytes must stay the same between versions: for each annotation the key, what kind of value it has, and the value.
fn measured<'a>(annotations: impl IntoIterator<Item = (&'a String, &'a AnnotationValue)>) -> u64 {
    let mut bytes = Vec::new();
    for (key, value) in annotations {
        let (kind, value) = match value {
            AnnotationValue::Text(text) => (b't', text),
            AnnotationValue::NotText(text) => (b'n', text),
        };
        push(&mut bytes, key.as_bytes());
        bytes.push(kind);
        push(&mut bytes, value.as_bytes());
    }
    hash::mark(bytes)
}

/// Adds a text behind its length, so that no other texts have the same bytes.
pub(crate) fn push(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
    bytes.extend(text);
}

/// The text is that of `{:?}` in the agents that made such marks, whatever the values are called now.
fn printed(annotations: &Annotations) -> u64 {
    let mut text = String::from("{");
    for (n, (key, value)) in annotations.iter().enumerate() {
        let (kind, value) = match value {
            AnnotationValue::Text(value) => ("Text", value),
            AnnotationValue::NotText(value) => ("NotText", value),
        };
        let comma = if n == 0 { "" } else { ", " };
        // Writing to a string doesn't fail.
        let _infallible = write!(text, "{comma}{key:?}: {kind}({value:?})");
    }
    hash::mark((text + "}").bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(of: &[(&str, AnnotationValue)]) -> Annotations {
        of.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    fn text(text: &str) -> AnnotationValue {
        AnnotationValue::Text(text.to_owned())
    }

    fn not_text(text: &str) -> AnnotationValue {
        AnnotationValue::NotText(text.to_owned())
    }

    fn asks(key: &str) -> bool {
        key != "no"
    }

    fn example() -> Annotations {
        annotations(&[
            ("reloadlet.io/signal", text("SIGHUP")),
            ("reloadlet.io/keys", text("a\"b\\\n\u{e9}\u{200b}")),
            ("reloadlet.io/process", not_text("[1]")),
        ])
    }

    #[test]
    fn a_mark_of_an_agent_before_is_still_the_mark_of_the_same_annotations() {
        for (of, value) in [(example(), 0x4ebb_fb81_a8e0_0aac), (Annotations::new(), 0x6134_549a_78d1_3b58)] {
            assert!(Mark::without_version(value).is_of(&of, asks), "{:#x}", printed(&of));
            assert!(!Mark::without_version(value + 1).is_of(&of, asks));
            assert!(!Mark::recorded(MEASURED, value).is_of(&of, asks), "the ways are told apart");
        }
    }

    #[test]
    fn a_mark_stays_the_same_between_versions_of_the_agent() {
        for (of, value) in [(example(), 0x4d33_75da_8258_5d98), (Annotations::new(), 0x4f43_b61e_f14c_89b9)] {
            assert_eq!(Mark::of(&of, asks), Mark::recorded(3, value));
            assert!(Mark::recorded(2, value).is_of(&of, asks));
        }
    }

    #[test]
    fn what_asks_for_nothing_changes_no_mark_but_those_of_agents_before() {
        let of = |value| annotations(&[("a", text("b")), ("no", text(value))]);
        assert!(Mark::of(&of("1"), asks).is_of(&of("2"), asks));
        assert!(Mark::of(&of("1"), asks).is_of(&annotations(&[("a", text("b"))]), asks));
        let before = Mark::recorded(2, measured(&of("1")));
        assert!(before.is_of(&of("1"), asks) && !before.is_of(&of("2"), asks));
    }

    #[test]
    fn other_annotations_have_another_mark() {
        let others = [
            annotations(&[("a", text("b"))]),
            annotations(&[("a", not_text("b"))]),
            annotations(&[("ab", text(""))]),
            annotations(&[("", text("ab"))]),
            annotations(&[("a", text("bc")), ("d", text(""))]),
            annotations(&[("a", text("b")), ("cd", text(""))]),
            annotations(&[("a", text("b")), ("c", text("d"))]),
            Annotations::new(),
        ];
        for (n, one) in others.iter().enumerate() {
            for (m, other) in others.iter().enumerate() {
                assert_eq!(Mark::of(one, asks).is_of(other, asks), n == m, "{one:?} {other:?}");
            }
            assert!(
                !Mark::recorded(9, Mark::of(one, asks).value()).is_of(one, asks),
                "it isn't known how it was made"
            );
        }
    }
}
