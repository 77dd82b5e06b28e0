//! The items of Reloader's lists: regular expressions of RE2, with `^` before and `$` behind.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::{Ast, ErrorKind, RepetitionKind, RepetitionRange, parse::ParserBuilder};

use go::Untranslated;

mod go;

/// The most memory that an expression may take once it is compiled, in bytes: whoever writes a workload writes it.
const MOST_MEMORY: usize = 256 << 10;
/// The longest item that is looked at, in bytes; names of objects have 253 at most.
const LONGEST: usize = 1024;
/// The deepest nesting that is looked at.
const DEEPEST: u32 = 100;
/// The largest expression that is compiled, in parts, with what is repeated counted as often.
const LARGEST: usize = 5_000;
/// The most that is compiled in all, in such parts: this takes about a second.
const MOST_COMPILED: usize = 4_000_000;
/// So many items are remembered at a time.
const MOST_KNOWN: usize = 1024;

/// What an item is to Reloader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stands for itself and nothing else.
    Name,
    /// It is an expression, of so many parts.
    Expression(usize),
    /// It is none.
    Refused,
    /// It isn't known here what it is.
    Unknown,
}

/// What is known of the items of many workloads, so that each is looked at once, and has a bound in all.
#[derive(Debug)]
pub struct Expressions {
    known: RefCell<BTreeMap<String, Rc<Known>>>,
    left: Cell<usize>,
    is_spent: Cell<bool>,
}

impl Default for Expressions {
    fn default() -> Self {
        Self { known: RefCell::default(), left: Cell::new(MOST_COMPILED), is_spent: Cell::new(false) }
    }
}

impl Expressions {
    /// Whether there was an item that wasn't compared with names any more.
    pub fn is_spent(&self) -> bool {
        self.is_spent.get()
    }

    /// An item that is no plain name.
    fn get(&self, item: &str) -> Rc<Known> {
        if let Some(known) = self.known.borrow().get(item) {
            return known.clone();
        }
        let known = Rc::new(Known { verdict: judged(item), compiled: std::cell::OnceCell::new() });
        let mut all = self.known.borrow_mut();
        if all.len() >= MOST_KNOWN {
            all.clear();
        }
        all.insert(item.to_owned(), known.clone());
        known
    }

    /// What the item is.
    pub(super) fn verdict(&self, item: &str) -> Verdict {
        if is_plain(item) { Verdict::Name } else { self.get(item).verdict }
    }

    /// Whether Reloader takes the name: of alternatives `^` belongs to the first only, and `$` to the last.
    pub(super) fn takes(&self, item: &str, name: &str) -> bool {
        if is_plain(item) {
            return item == name;
        }
        self.compiled(item, |compiled| compiled.anchored.is_match(name)).unwrap_or_default()
    }

    /// Whether the whole name is one that the item stands for; what is no expression is a name.
    pub(super) fn takes_whole(&self, item: &str, name: &str) -> bool {
        let whole = |compiled: &Compiled| match &compiled.whole {
            Whole::Same => Some(compiled.anchored.is_match(name)),
            Whole::Other(whole) => Some(whole.is_match(name)),
            Whole::Nothing => None,
        };
        item == name || (!is_plain(item) && self.compiled(item, whole).flatten() == Some(true))
    }

    fn compiled<T>(&self, item: &str, of: impl FnOnce(&Compiled) -> T) -> Option<T> {
        let known = self.get(item);
        let Verdict::Expression(parts) = known.verdict else { return None };
        if known.compiled.get().is_none() {
            match self.left.get().checked_sub(parts) {
                Some(left) => self.left.set(left),
                None => {
                    self.is_spent.set(true);
                    return None;
                }
            }
        }
        known.compiled.get_or_init(|| Compiled::of(item)).as_ref().map(of)
    }
}

#[derive(Debug)]
struct Known {
    verdict: Verdict,
    /// Nothing where it takes too much memory.
    compiled: std::cell::OnceCell<Option<Compiled>>,
}

#[derive(Debug)]
struct Compiled {
    anchored: Regex,
    whole: Whole,
}

/// What stands for whole names.
#[derive(Debug)]
enum Whole {
    Same,
    Other(Regex),
    Nothing,
}

impl Compiled {
    fn of(item: &str) -> Option<Self> {
        let compiled = |text: &str| RegexBuilder::new(text).size_limit(MOST_MEMORY).build().ok();
        let anchored = compiled(&go::translated(&format!("^{item}$")).ok()?)?;
        let whole = match go::translated(item) {
            Ok(_) if !has_open_alternatives(item) => Whole::Same,
            Ok(text) => compiled(&format!("^(?:{text})$")).map_or(Whole::Nothing, Whole::Other),
            Err(_) => Whole::Nothing,
        };
        Some(Self { anchored, whole })
    }
}

/// Whether an item has nothing that stands for anything else.
fn is_plain(item: &str) -> bool {
    item.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn judged(item: &str) -> Verdict {
    if item.len() > LONGEST {
        return Verdict::Unknown;
    }
    let text = match go::translated(&format!("^{item}$")) {
        Ok(text) => text,
        Err(Untranslated::Refused) => return Verdict::Refused,
        Err(Untranslated::Unknown) => return Verdict::Unknown,
    };
    let parsed = ParserBuilder::new().nest_limit(DEEPEST).build().parse(&text);
    match parsed {
        Ok(parsed) if repeats(&parsed) > u64::from(go::MOST_REPEATED) => Verdict::Refused,
        Ok(parsed) => match parts(&parsed) {
            parts @ ..=LARGEST => Verdict::Expression(parts),
            _ => Verdict::Unknown,
        },
        Err(error) if matches!(error.kind(), ErrorKind::NestLimitExceeded(_)) => Verdict::Unknown,
        Err(_) => Verdict::Refused,
    }
}

/// The parts of a part.
fn inner(ast: &Ast) -> &[Ast] {
    match ast {
        Ast::Repetition(repetition) => std::slice::from_ref(&repetition.ast),
        Ast::Group(group) => std::slice::from_ref(&group.ast),
        Ast::Alternation(alternation) => &alternation.asts,
        Ast::Concat(concat) => &concat.asts,
        Ast::Empty(_)
        | Ast::Flags(_)
        | Ast::Literal(_)
        | Ast::Dot(_)
        | Ast::Assertion(_)
        | Ast::ClassUnicode(_)
        | Ast::ClassPerl(_)
        | Ast::ClassBracketed(_) => &[],
    }
}

/// How often something is repeated at the most, by counts in counts (Go's `repeatIsValid`).
fn repeats(ast: &Ast) -> u64 {
    count(ast).max(1).saturating_mul(inner(ast).iter().map(repeats).max().unwrap_or(1))
}

/// How many parts there are, each counted as often as it is repeated.
fn parts(ast: &Ast) -> usize {
    let own = if matches!(ast, Ast::ClassBracketed(_)) { 8 } else { 1 };
    let times = usize::try_from(count(ast).max(1)).unwrap_or(usize::MAX);
    inner(ast).iter().map(parts).fold(own, usize::saturating_add).saturating_mul(times)
}

fn count(ast: &Ast) -> u64 {
    let Ast::Repetition(repetition) = ast else { return 1 };
    match &repetition.op.kind {
        RepetitionKind::Range(
            RepetitionRange::Exactly(count)
            | RepetitionRange::AtLeast(count)
            | RepetitionRange::Bounded(_, count),
        ) => u64::from(*count),
        RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => 1,
    }
}

/// Whether an item has alternatives that aren't in a group: Reloader takes more names for it than whoever wrote it may think.
pub(super) fn has_open_alternatives(item: &str) -> bool {
    !open_alternatives(item).is_empty()
}

/// The alternatives that aren't in a group; none where there is but one.
pub(super) fn open_alternatives(item: &str) -> Vec<&str> {
    let (mut depth, mut in_class, mut is_escaped, mut begin) = (0_usize, false, false, 0);
    let mut all = Vec::new();
    let mut is_quoted = false;
    for (at, byte) in item.bytes().enumerate() {
        match byte {
            _ if is_quoted => is_quoted = !item.get(..at).is_some_and(|before| before.ends_with("\\E")),
            _ if is_escaped => {
                is_escaped = false;
                is_quoted = byte == b'Q';
            }
            b'\\' => is_escaped = true,
            b'[' => in_class = true,
            b']' => in_class = false,
            _ if in_class => {}
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => {
                all.extend(item.get(begin..at));
                begin = at + 1;
            }
            _ => {}
        }
    }
    if begin > 0 {
        all.extend(item.get(begin..));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(item: &str, name: &str) -> (bool, bool) {
        let all = Expressions::default();
        (all.takes(item, name), all.takes_whole(item, name))
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
    fn items_are_judged_as_go_does() {
        let verdict = |item: &str| Expressions::default().verdict(item);
        for item in ["[", "a)", "a)(b", "(", "ap**", "(a{100}){11}", "(?x)a", r"\1", "a{1001}"] {
            assert_eq!(verdict(item), Verdict::Refused, "{item}");
        }
        for item in
            [r"\p{Greek}", &"a".repeat(LONGEST + 1).replacen('a', ".", 1), "((a{30}){30}b{1000}){1}.{999}{"]
        {
            assert_ne!(verdict(item), Verdict::Refused, "{item}");
        }
        for item in ["a{1", "a{", r"\Qapp\E", r"\141pp", "(a|b){500}", "[a&&b]", r"\pL{100}x"] {
            assert!(matches!(verdict(item), Verdict::Expression(_)), "{item}");
        }
        assert_eq!(verdict("app-1"), Verdict::Name);
        assert_eq!(takes(r"\Qapp\E", "app"), (true, true));
        assert_eq!(takes(r"\141pp", "app"), (true, true));
        assert_eq!(takes("[a&&b]pp", "app"), (true, true));
        assert_eq!(takes("(a|b){500}", &"ab".repeat(250)), (true, true));
        assert_eq!(takes("app|", "web"), (true, false));
        assert_eq!(takes(r"\Qa|b\E", "a"), (false, false));
    }

    #[test]
    fn what_is_compiled_has_a_bound_in_all_and_nothing_is_twice() {
        let all = Expressions::default();
        let large = |n: usize| format!("(web){{700}}{n}.*");
        let mut count = 0;
        while !all.is_spent() {
            assert!(!all.takes(&large(count), "app") && !all.takes(&large(count), "web"));
            count += 1;
            assert!(count < MOST_COMPILED / 700);
        }
        assert!(count > 500 && all.known.borrow().len() <= MOST_KNOWN);
        assert!(all.takes("app", "app"), "names are compared all the same");
    }
}
