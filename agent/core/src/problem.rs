//! What is wrong with what a pod asks for.

use std::fmt;

/// The kind of a problem: the label of `reloadlet_problems`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// A key below `reloadlet.io/` that doesn't exist.
    UnknownKey,
    /// A key whose feature this version doesn't have.
    Unsupported,
    /// A value that isn't allowed.
    BadValue,
    /// A value that isn't a string.
    NotText,
    /// Options without a signal.
    NoSignal,
    /// A container that the pod doesn't have, or that can't be told.
    Container,
    /// A volume that the pod doesn't have, or that can't trigger.
    Volume,
    /// Several containers could be meant and nobody chose one.
    Ambiguous,
    /// A process that doesn't handle the signal, for longer than ten seconds.
    Unhandled,
    /// Reloads that are held since the process ended after the last ones.
    Held,
}

impl ProblemKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::UnknownKey,
        Self::Unsupported,
        Self::BadValue,
        Self::NotText,
        Self::NoSignal,
        Self::Container,
        Self::Volume,
        Self::Ambiguous,
        Self::Unhandled,
        Self::Held,
    ];

    /// The word for it in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownKey => "unknown_key",
            Self::Unsupported => "unsupported",
            Self::BadValue => "bad_value",
            Self::NotText => "not_text",
            Self::NoSignal => "no_signal",
            Self::Container => "container",
            Self::Volume => "volume",
            Self::Ambiguous => "ambiguous",
            Self::Unhandled => "unhandled",
            Self::Held => "held",
        }
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
