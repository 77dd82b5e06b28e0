//! One finding.

use reloadlet_core::model::closed::closed_set;
use reloadlet_core::model::shown::plain;

use super::codes::Code;

closed_set! {
    /// How much a finding matters.
    pub(crate) enum Level {
        /// It may be meant so, or be right elsewhere.
        Hint => "hint",
        /// Something will never reach its program.
        Warning => "warning",
        /// Nothing is told as long as it is so.
        Error => "error",
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) code: Code,
    pub(super) level: Level,
    pub(super) sentence: String,
    /// What would change it.
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn new(code: Code, level: Level, sentence: String, remedy: Option<String>) -> Self {
        Self { code, level, sentence: plain(&sentence), remedy: remedy.as_deref().map(plain) }
    }
}
