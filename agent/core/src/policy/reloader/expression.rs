//! The items of Reloader's lists: regular expressions of RE2, with `^` before and `$` behind.

use regex::{Regex, RegexBuilder};

/// The most memory that an expression may take once it is compiled, in bytes: whoever writes a workload writes it.
const MOST_MEMORY: usize = 64 << 10;
/// The longest item that is compiled, in bytes; names of objects have 253 at most.
const LONGEST: usize = 1024;

/// One item.
#[derive(Debug)]
pub(super) struct Expression {
    anchored: Regex,
    whole: Regex,
}

impl Expression {
    /// `None` for one that can't be compiled. RE2 takes a brace that stands alone, and the crate `regex` doesn't: no name has one.
    pub(super) fn parse(item: &str) -> Option<Self> {
        if item.len() > LONGEST {
            return None;
        }
        let compiled = |text: &str| RegexBuilder::new(text).size_limit(MOST_MEMORY).build().ok();
        // Alone, so that a closing bracket of its own doesn't end the group around it.
        compiled(item)?;
        Some(Self { anchored: compiled(&format!("^{item}$"))?, whole: compiled(&format!("^(?:{item})$"))? })
    }

    /// Whether Reloader takes the name: of alternatives `^` belongs to the first only, and `$` to the last.
    pub(super) fn takes(&self, name: &str) -> bool {
        self.anchored.is_match(name)
    }

    /// Whether the whole name is one that the item stands for.
    pub(super) fn takes_whole(&self, name: &str) -> bool {
        self.whole.is_match(name)
    }
}

/// Whether an item has alternatives that aren't in a group: Reloader takes more names for it than whoever wrote it may think.
pub(super) fn has_open_alternatives(item: &str) -> bool {
    let (mut depth, mut in_class, mut is_escaped) = (0_usize, false, false);
    for byte in item.bytes() {
        match byte {
            _ if is_escaped => {
                is_escaped = false;
                continue;
            }
            b'\\' => is_escaped = true,
            b'[' => in_class = true,
            b']' => in_class = false,
            _ if in_class => {}
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(item: &str, name: &str) -> (bool, bool) {
        let expression = Expression::parse(item).unwrap();
        (expression.takes(name), expression.takes_whole(name))
    }

    #[test]
    fn an_item_without_alternatives_stands_for_whole_names_in_both_ways() {
        for (item, name, is_taken) in [
            ("app", "app", true),
            ("app", "my-app", false),
            ("app", "app-2", false),
            ("ap.*", "app", true),
            ("my.app", "my-app", true),
            ("(foo|bar)", "bar", true),
            ("(foo|bar)", "toolbar", false),
            ("", "app", false),
        ] {
            assert_eq!(takes(item, name), (is_taken, is_taken), "{item} {name}");
        }
    }

    #[test]
    fn open_alternatives_take_more_names_in_reloaders_way() {
        assert_eq!(takes("foo|bar", "foo-settings"), (true, false));
        assert_eq!(takes("foo|bar", "toolbar"), (true, false));
        assert_eq!(takes("foo|bar", "bar"), (true, true));
        assert_eq!(takes("foo|bar", "seafood"), (false, false));
        for (item, has) in [
            ("foo|bar", true),
            ("(foo|bar)", false),
            ("a(b|c)|d", true),
            ("a[|]b", false),
            (r"a\|b", false),
            ("a", false),
        ] {
            assert_eq!(has_open_alternatives(item), has, "{item}");
        }
    }

    #[test]
    fn what_cant_be_compiled_or_takes_too_much_is_no_expression() {
        for item in ["[", "a)", "a)(b", "(", r"\p{Unknown}", &"a".repeat(LONGEST + 1), r"(\pL{1000}){1000}"] {
            assert!(Expression::parse(item).is_none(), "{item}");
        }
    }
}
