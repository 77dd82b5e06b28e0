//! The syntax of Go's `regexp` (RE2), written anew in that of the crate `regex`: where the two differ, what Go takes is translated, and
//! what it refuses is refused. Names of objects are ASCII, so that classes of Unicode stand for what is ASCII of them.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

/// The most times that Go repeats anything.
pub(super) const MOST_REPEATED: u32 = 1000;

/// Why an expression isn't translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untranslated {
    /// Go doesn't compile it.
    Refused,
    /// It isn't known here what Go makes of it.
    Unknown,
}

use Untranslated::{Refused, Unknown};

/// The same expression for the crate `regex`. Groups and what isn't different aren't looked at.
pub(super) fn translated(text: &str) -> Result<String, Untranslated> {
    let mut all = Translation { rest: text.chars().peekable(), text: String::with_capacity(text.len()) };
    // Whether the last part was `*`, `+`, `?` or `{…}`: Go takes no second one behind it.
    let mut is_repeated = false;
    while let Some(c) = all.rest.next() {
        is_repeated = match c {
            '*' | '+' | '?' if is_repeated => return Err(Refused),
            '*' | '+' | '?' => all.repeated(&c.to_string()),
            '{' => match all.count()? {
                Some(_) if is_repeated => return Err(Refused),
                Some(count) => all.repeated(&count),
                None => all.literal(c),
            },
            '\\' => all.escape()?,
            '[' => all.class()?,
            '(' => all.group()?,
            '}' | ']' => all.literal(c),
            _ => all.push(c),
        };
    }
    Ok(all.text)
}

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    text: String,
}

impl Translation<'_> {
    fn push(&mut self, c: char) -> bool {
        self.text.push(c);
        false
    }

    fn literal(&mut self, c: char) -> bool {
        // Writing to a string doesn't fail.
        let _infallible = write!(self.text, "\\x{{{:x}}}", u32::from(c));
        false
    }

    /// Writes how often the last part is taken, with the `?` that takes as little as can be.
    fn repeated(&mut self, how: &str) -> bool {
        self.text.push_str(how);
        if let Some(lazy) = self.rest.next_if_eq(&'?') {
            self.text.push(lazy);
        }
        true
    }

    /// `{n}`, `{n,}` or `{n,m}`; any other brace is one.
    fn count(&mut self) -> Result<Option<String>, Untranslated> {
        let mut ahead = self.rest.clone();
        let inner: String = ahead.by_ref().take_while(|c| *c != '}').take(64).collect();
        let is_closed = self.rest.clone().nth(inner.chars().count()) == Some('}');
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            (is_number && (text.len() == 1 || !text.starts_with('0')))
                .then(|| text.parse().unwrap_or(u32::MAX))
        };
        let (least, most) = match inner.split_once(',') {
            None => (number(&inner), number(&inner)),
            Some((least, "")) => (number(least), number(least)),
            Some((least, most)) => (number(least), number(most)),
        };
        let Some((least, most)) = least.zip(most).filter(|_| is_closed) else { return Ok(None) };
        if least > most || most > MOST_REPEATED {
            return Err(Refused);
        }
        self.rest = ahead;
        Ok(Some(format!("{{{inner}}}")))
    }

    fn escape(&mut self) -> Result<bool, Untranslated> {
        match self.rest.peek().copied().ok_or(Refused)? {
            'Q' => {
                self.rest.next();
                while let Some(c) = self.rest.next() {
                    if c == '\\' && self.rest.next_if_eq(&'E').is_some() {
                        break;
                    }
                    self.literal(c);
                }
            }
            // Go leaves out one that ends nothing.
            'E' => drop(self.rest.next()),
            'b' | 'B' => {
                let c = self.rest.next().unwrap_or_default();
                let _infallible = write!(self.text, "(?-u:\\{c})");
            }
            c @ ('A' | 'z') => {
                self.rest.next();
                self.text.extend(['\\', c]);
            }
            _ => match self.shared()? {
                Escaped::Char(c) => drop(self.literal(c)),
                Escaped::Class(class) => {
                    let _infallible = write!(self.text, "[{class}]");
                }
            },
        }
        Ok(false)
    }

    /// What is escaped within brackets and outside of them.
    fn shared(&mut self) -> Result<Escaped, Untranslated> {
        let one = |c| Ok(Escaped::Char(c));
        let class = |class| Ok(Escaped::Class(class));
        match self.rest.next().ok_or(Refused)? {
            'd' => class("0-9"),
            's' => class("\\t\\n\\x0c\\r "),
            'w' => class("0-9A-Za-z_"),
            'D' => class("\\x{0}-/:-\\x{10ffff}"),
            'S' => class("\\x{0}-\\x{8}\\x{b}\\x{e}-\\x{1f}!-\\x{10ffff}"),
            'W' => class("\\x{0}-/:-@\\x5b-\\x5e\\x60\\x7b-\\x{10ffff}"),
            'a' => one('\x07'),
            'f' => one('\x0c'),
            'n' => one('\n'),
            'r' => one('\r'),
            't' => one('\t'),
            'v' => one('\x0b'),
            'x' => self.hexadecimal().map(Escaped::Char),
            'p' => self.property().map(Escaped::Class),
            'P' => Err(Unknown),
            c @ '0'..='7' => self.octal(c).map(Escaped::Char),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => one(c),
            _ => Err(Refused),
        }
    }

    fn hexadecimal(&mut self) -> Result<char, Untranslated> {
        let digits: String = if self.rest.next_if_eq(&'{').is_some() {
            let digits: String = self.rest.by_ref().take_while(|c| *c != '}').take(9).collect();
            digits
        } else {
            self.rest.by_ref().take(2).collect()
        };
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let code = u32::from_str_radix(&digits, 16).ok().filter(|_| is_number);
        code.and_then(char::from_u32).ok_or(Refused)
    }

    /// `\1` to `\7` with one digit are references to groups in other syntaxes, and nothing here.
    fn octal(&mut self, first: char) -> Result<char, Untranslated> {
        let mut code = first.to_digit(8).unwrap_or_default();
        for number in 0..2 {
            match self.rest.next_if(|c| c.is_digit(8)) {
                Some(digit) => code = 8 * code + digit.to_digit(8).unwrap_or_default(),
                None if number == 0 && first != '0' => return Err(Refused),
                None => break,
            }
        }
        char::from_u32(code).ok_or(Refused)
    }

    fn property(&mut self) -> Result<&'static str, Untranslated> {
        let name: String = match self.rest.next().ok_or(Refused)? {
            '{' => self.rest.by_ref().take_while(|c| *c != '}').take(64).collect(),
            c => c.to_string(),
        };
        match &*name {
            "L" | "Latin" => Ok("A-Za-z"),
            "Lu" => Ok("A-Z"),
            "Ll" => Ok("a-z"),
            "N" | "Nd" => Ok("0-9"),
            _ => Err(Unknown),
        }
    }

    /// What is in brackets. No brackets and no operators of sets are within them.
    fn class(&mut self) -> Result<bool, Untranslated> {
        self.text.push('[');
        if let Some(not) = self.rest.next_if_eq(&'^') {
            self.text.push(not);
        }
        let mut is_first = true;
        loop {
            let c = self.rest.next().ok_or(Refused)?;
            if c == ']' && !is_first {
                break;
            }
            is_first = false;
            if c == '[' && self.rest.peek() == Some(&':') {
                let named: String = self.rest.clone().skip(1).take_while(|c| *c != ']').take(16).collect();
                if let Some(name) = named.strip_suffix(':') {
                    if !NAMED.contains(&name.trim_start_matches('^')) {
                        return Err(Refused);
                    }
                    let _infallible = write!(self.text, "[:{name}:]");
                    for _ in 0..name.chars().count() + 3 {
                        self.rest.next();
                    }
                    continue;
                }
            }
            let Some(low) = self.in_class(c)? else { continue };
            let mut ahead = self.rest.clone();
            let is_range = ahead.next() == Some('-') && ahead.peek().is_some_and(|c| *c != ']');
            self.literal(low);
            if is_range {
                self.rest.next();
                let c = self.rest.next().ok_or(Refused)?;
                let high = match c {
                    '\\' => match self.shared()? {
                        Escaped::Char(c) => c,
                        Escaped::Class(_) => return Err(Refused),
                    },
                    c => c,
                };
                if high < low {
                    return Err(Refused);
                }
                self.text.push('-');
                self.literal(high);
            }
        }
        self.text.push(']');
        Ok(false)
    }

    /// One character of a class, unless it is a class itself, which is written then.
    fn in_class(&mut self, c: char) -> Result<Option<char>, Untranslated> {
        if c != '\\' {
            return Ok(Some(c));
        }
        match self.shared()? {
            Escaped::Char(c) => Ok(Some(c)),
            Escaped::Class(class) => {
                self.text.push_str(class);
                Ok(None)
            }
        }
    }

    /// What stands behind an opening parenthesis.
    fn group(&mut self) -> Result<bool, Untranslated> {
        self.text.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(false);
        }
        let is_named = self.rest.next_if_eq(&'P').is_some() || self.rest.peek() == Some(&'<');
        if is_named {
            self.rest.next_if_eq(&'<').ok_or(Refused)?;
            let name: String = self.rest.by_ref().take_while(|c| *c != '>').collect();
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(fits) {
                return Err(Refused);
            }
            // Two of one name are refused by both; a digit may come first in Go's.
            let _infallible = write!(self.text, "?P<_{name}>");
            return Ok(false);
        }
        self.text.push('?');
        for flag in self.rest.by_ref() {
            self.text.push(flag);
            match flag {
                'i' | 'm' | 's' | 'U' | '-' => {}
                ':' | ')' => return Ok(false),
                _ => break,
            }
        }
        Err(Refused)
    }
}

enum Escaped {
    Char(char),
    /// What stands in brackets for it.
    Class(&'static str),
}

/// The classes that `[:name:]` names.
const NAMED: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_refuses_is_refused_and_what_it_takes_is_translated() {
        for item in [
            "ap**",
            "ap{2}{1}",
            "a*{2}",
            "a+?+",
            "a{1001}",
            "a{2,1}",
            "(?x)app",
            "(?u)app",
            "(?R)app",
            "\\u0070",
            "\\1",
            "\\8",
            "a\\",
            "[",
            "[]",
            "[b-a]",
            "[[:no:]]",
            "(?P<>a)",
            "(?P<a.b>c)",
            "[\\Qa\\E]",
            "\\C",
            "(?-u)a",
        ] {
            assert_eq!(translated(item), Err(Refused), "{item}");
        }
        for (item, expected) in [
            ("app", "app"),
            ("(app|web)-.*", "(app|web)-.*"),
            ("a*?b{2,}?", "a*?b{2,}?"),
            ("a{1", "a\\x{7b}1"),
            ("a{,2}", "a\\x{7b},2\\x{7d}"),
            ("\\Qa.\\Eb", "\\x{61}\\x{2e}b"),
            ("\\141pp", "\\x{61}pp"),
            ("\\<", "\\x{3c}"),
            ("\\b{start}", "(?-u:\\b)\\x{7b}start\\x{7d}"),
            ("[a&&b]", "[\\x{61}\\x{26}\\x{26}\\x{62}]"),
            ("[]a-]", "[\\x{5d}\\x{61}\\x{2d}]"),
            ("[^[:alpha:]a-c]", "[^[:alpha:]\\x{61}-\\x{63}]"),
            ("[\\d_]\\pL", "[0-9\\x{5f}][A-Za-z]"),
            ("(?i:a)", "(?i:a)"),
        ] {
            assert_eq!(translated(item).as_deref(), Ok(expected), "{item}");
        }
        for item in ["\\PL", "\\p{Greek}"] {
            assert_eq!(translated(item), Err(Unknown), "{item}");
        }
    }
}
