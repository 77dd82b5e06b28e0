//! Texts from outside, such as names that programs give themselves, as sentences show them.

/// The longest piece of a text from outside that a sentence shows, in characters after escaping: with it a sentence
/// fits into an Event's note, which has 1024 bytes.
const SHOWN: usize = 64;
/// The most names that a sentence lists.
const LISTED: usize = 8;

/// A text from outside as a sentence shows it: in quotes, cut, with control characters escaped.
pub fn quoted(text: &str) -> String {
    quoted_up_to(text, SHOWN)
}

/// The same with as many characters, after escaping, as there is room for.
pub fn quoted_up_to(text: &str, most: usize) -> String {
    let (shown, rest) = escaped(text, "'", most);
    format!("\"{shown}\"{rest}")
}

/// The same without the quotes, for keys and for values that are no strings.
pub fn unquoted(text: &str) -> String {
    let (shown, rest) = escaped(text, "'\"", SHOWN);
    shown + rest
}

/// A whole text, such as a path or a sentence, without anything that a terminal or a log obeys, whoever has written it.
pub fn plain(text: &str) -> String {
    escaped(text, "'\"\\", usize::MAX).0
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
fn escaped(text: &str, plain: &str, most: usize) -> (String, &'static str) {
    let mut shown = String::new();
    let mut width = 0;
    for c in text.chars() {
        let piece = if plain.contains(c) { c.to_string() } else { c.escape_debug().to_string() };
        width += piece.chars().count();
        if width > most {
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
        assert_eq!(quoted_up_to("abcd\n", 4), "\"abcd\"…");
        assert_eq!(quoted(&"ü".repeat(65)), format!("\"{}\"…", "ü".repeat(64)));
        assert_eq!(unquoted("[\"a\",\u{1b}]"), "[\"a\",\\u{1b}]");
        assert_eq!(unquoted(&"x".repeat(100)), format!("{}…", "x".repeat(64)));
    }

    #[test]
    fn a_whole_text_has_nothing_that_a_terminal_obeys() {
        assert_eq!(
            plain("\u{1b}[31m\r\n::error::x \u{9b}2J\u{202e}"),
            "\\u{1b}[31m\\r\\n::error::x \\u{9b}2J\\u{202e}"
        );
        let text = "pod \"a\" isn't ü \\n".repeat(10);
        assert_eq!(plain(&text), text);
    }

    #[test]
    fn lists_of_names_read_as_a_sentence_and_are_bounded() {
        assert_eq!(listed([]), "none");
        assert_eq!(listed(["a"]), "\"a\"");
        assert_eq!(listed(["a", "b", "c"]), "\"a\", \"b\" and \"c\"");
        assert!(listed(["a"; 12]).ends_with("\"a\" and 4 more"));
    }
}
