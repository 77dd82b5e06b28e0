//! One finding.

use reloadlet_core::model::closed::closed_set;

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
        Self { code, level, sentence: plain(sentence), remedy: remedy.map(plain) }
    }
}

/// A sentence without anything that a terminal or a log obeys, whoever has written what it shows.
fn plain(sentence: String) -> String {
    let is_plain = |c: char| "'\"\\".contains(c) || c.escape_debug().len() == 1;
    if sentence.chars().all(is_plain) {
        return sentence;
    }
    sentence.chars().map(|c| if is_plain(c) { c.to_string() } else { c.escape_debug().to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sentence_has_what_a_terminal_obeys() {
        let said = |text: &str| {
            let remedy = Some(text.to_owned());
            let found = Finding::new(Code::Os, Level::Hint, text.to_owned(), remedy);
            assert_eq!(Some(&found.sentence), found.remedy.as_ref());
            found.sentence
        };
        assert_eq!(
            said("\u{1b}[31m\r\n::error::x \u{9b}2J\u{202e}"),
            "\\u{1b}[31m\\r\\n::error::x \\u{9b}2J\\u{202e}"
        );
        assert_eq!(said("pod \"a\" isn't ü \\n"), "pod \"a\" isn't ü \\n");
    }
}
