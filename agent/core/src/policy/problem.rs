//! What is wrong with what a pod asks for.

use std::fmt;

use crate::model::closed::closed_set;

closed_set! {
    /// The kind of a problem: the label of `reloadlet_problems`.
    pub enum ProblemKind {
        /// A key below `reloadlet.io/` that doesn't exist.
        UnknownKey => "unknown_key",
        /// A key whose feature this version doesn't have.
        Unsupported => "unsupported",
        /// A value that isn't allowed.
        BadValue => "bad_value",
        /// A value that isn't a string.
        NotText => "not_text",
        /// Options without a signal.
        NoSignal => "no_signal",
        /// A container that the pod doesn't have, or that can't be told.
        Container => "container",
        /// A volume that the pod doesn't have, or that can't trigger.
        Volume => "volume",
        /// Several containers could be meant and nobody chose one.
        Ambiguous => "ambiguous",
        /// A process that doesn't handle the signal, for longer than ten seconds.
        Unhandled => "unhandled",
        /// Reloads that are held since the process ended after the last ones.
        Suspended => "held",
        /// Files that a container isn't told of, since they ended the process of another replica.
        BadContent => "bad_content",
        /// A pod that is larger than one that is followed may be.
        TooLarge => "too_large",
        /// A pod that is left out since the pods of the node take too much together.
        NoRoom => "no_room",
        /// The agent itself lacks something, and a change has waited for that for longer than ten seconds.
        Agent => "agent",
        /// The agent looks for volumes where the kubelet doesn't put them.
        KubeletRoot => "kubelet_root",
    }
}

/// One sentence about what is wrong: what, where, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub kind: ProblemKind,
    /// The sentence.
    pub sentence: String,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: ProblemKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// The longest piece of a text from outside that a sentence shows, in characters after escaping: with it a sentence
/// fits into an Event's note, which has 1024 bytes.
const SHOWN: usize = 64;
/// The most names that a sentence lists.
const LISTED: usize = 8;

/// A text from outside as a sentence shows it: in quotes, cut, with control characters escaped.
pub fn quoted(text: &str) -> String {
    let (shown, rest) = escaped(text, "'");
    format!("\"{shown}\"{rest}")
}

/// The same without the quotes, for keys and for values that are no strings.
pub fn unquoted(text: &str) -> String {
    let (shown, rest) = escaped(text, "'\"");
    shown + rest
}

/// Names in quotes: `"a", "b" and "c"`.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let mut shown: Vec<String> = names.iter().take(LISTED).map(|name| quoted(name)).collect();
    if names.len() > LISTED {
        shown.push(format!("{} more", names.len() - LISTED));
    }
    match shown.split_last() {
        None => String::from("none"),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// As much of a text as is shown, and what stands for the rest.
fn escaped(text: &str, plain: &str) -> (String, &'static str) {
    let mut shown = String::new();
    let mut width = 0;
    for c in text.chars() {
        let piece = if plain.contains(c) { c.to_string() } else { c.escape_debug().to_string() };
        width += piece.chars().count();
        if width > SHOWN {
            return (shown, "…");
        }
        shown += &piece;
    }
    (shown, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_from_outside_are_cut_and_escaped() {
        assert_eq!(quoted("SIGHUP"), "\"SIGHUP\"");
        assert_eq!(quoted("a\n\u{202e}\"b"), "\"a\\n\\u{202e}\\\"b\"");
        assert_eq!(quoted(&"ü".repeat(64)), format!("\"{}\"", "ü".repeat(64)));
        assert_eq!(quoted(&"ü".repeat(65)), format!("\"{}\"…", "ü".repeat(64)));
        assert_eq!(unquoted("[\"a\",\u{1b}]"), "[\"a\",\\u{1b}]");
        assert_eq!(unquoted(&"x".repeat(100)), format!("{}…", "x".repeat(64)));
    }

    #[test]
    fn lists_of_names_read_as_a_sentence_and_are_bounded() {
        assert_eq!(listed([]), "none");
        assert_eq!(listed(["a"]), "\"a\"");
        assert_eq!(listed(["a", "b", "c"]), "\"a\", \"b\" and \"c\"");
        assert!(listed(["a"; 12]).ends_with("\"a\" and 4 more"));
    }
}
