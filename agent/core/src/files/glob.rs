//! One glob, matched without an automaton: it takes a few bytes for each character of the pattern, and a match takes at
//! most as many steps as pattern and path have characters, multiplied, whatever the two look like.

use super::LONGEST_GLOB;

/// A compiled glob. `*` and `?` don't cross `/`, `**` as a whole element does.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    steps: Box<[Step]>,
    ranges: Box<[(char, char)]>,
}

/// Why a glob can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GlobError {
    #[error("a [ has no ]")]
    OpenClass,
    #[error("a {{ has no }}")]
    OpenBrace,
    #[error("a }} has no {{")]
    ClosedBrace,
    #[error("a range in [ ] goes backwards")]
    Backwards,
    #[error("nothing follows the \\ at the end")]
    Dangling,
    #[error("braces hold one alternative: write each as a glob of its own")]
    Alternatives,
}

/// What a match has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// This character.
    One(char),
    /// A character that isn't `/`.
    Any,
    /// A character of the ranges from here to there, or none of them.
    Class { negated: bool, from: u16, to: u16 },
    /// Characters that aren't `/`, or none.
    Star,
    /// Any characters, or none.
    Rest,
    /// The two steps that follow, or neither.
    Maybe,
}

/// What the parser puts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Step(Step),
    /// `**/` at the begin.
    Leading,
    /// `/**` at the end.
    Trailing,
    /// `/**/`.
    Between,
}

impl Glob {
    /// Compiles a glob of at most [`LONGEST_GLOB`] bytes.
    pub(super) fn new(pattern: &str) -> Result<Self, GlobError> {
        let mut parser = Parser::new(pattern);
        parser.parse()?;
        let mut steps = Vec::with_capacity(parser.tokens.len());
        for token in &parser.tokens {
            let slash = Step::One('/');
            match token {
                Token::Step(step) => steps.push(*step),
                // `**` alone is everything.
                Token::Leading if parser.tokens.len() == 1 => steps.push(Step::Rest),
                Token::Leading => steps.extend([Step::Maybe, Step::Rest, slash]),
                Token::Trailing => steps.extend([slash, Step::Rest]),
                Token::Between => steps.extend([slash, Step::Maybe, Step::Rest, slash]),
            }
        }
        Ok(Self { steps: steps.into(), ranges: parser.ranges.into() })
    }

    /// Whether it matches the whole path.
    pub(super) fn matches(&self, path: &str) -> bool {
        let mut now = Places::default();
        now.add(0);
        for character in path.chars() {
            let mut next = Places::default();
            let mut place = 0;
            while let Some(at) = now.first_from(place) {
                self.step(at, character, &mut now, &mut next);
                place = at + 1;
            }
            if next == Places::default() {
                return false;
            }
            now = next;
        }
        // What is left may need no character.
        let mut place = 0;
        while let Some(at) = now.first_from(place) {
            self.skip(at, &mut now);
            place = at + 1;
        }
        now.has(self.steps.len())
    }

    /// Where the step at a place leads with a character, and without one.
    fn step(&self, at: usize, character: char, now: &mut Places, next: &mut Places) {
        self.skip(at, now);
        let Some(step) = self.steps.get(at) else { return };
        match step {
            Step::One(wanted) if *wanted == character => next.add(at + 1),
            Step::Any if character != '/' => next.add(at + 1),
            Step::Class { negated, from, to } => {
                let ranges = self.ranges.get(usize::from(*from)..usize::from(*to)).unwrap_or_default();
                let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&character));
                if within != *negated {
                    next.add(at + 1);
                }
            }
            Step::Star if character != '/' => next.add(at),
            Step::Rest => next.add(at),
            Step::One(_) | Step::Any | Step::Star | Step::Maybe => {}
        }
    }

    /// Where the step at a place leads without a character: always further on.
    fn skip(&self, at: usize, now: &mut Places) {
        match self.steps.get(at) {
            Some(Step::Star | Step::Rest) => now.add(at + 1),
            Some(Step::Maybe) => {
                now.add(at + 1);
                now.add(at + 3);
            }
            Some(Step::One(_) | Step::Any | Step::Class { .. }) | None => {}
        }
    }
}

/// How many words hold a bit for each place in a glob and for its end.
const WORDS: usize = LONGEST_GLOB / 64 + 1;

/// A set of places in a glob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Places([u64; WORDS]);

impl Places {
    fn add(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    fn first_from(&self, place: usize) -> Option<usize> {
        let (begin, bit) = (place / 64, place % 64);
        let masks = std::iter::once(u64::MAX << bit).chain(std::iter::repeat(u64::MAX));
        let words = self.0.iter().enumerate().skip(begin).zip(masks);
        words
            .map(|((index, word), mask)| (index, word & mask))
            .find(|(_, word)| *word != 0)
            .map(|(index, word)| index * 64 + word.trailing_zeros() as usize)
    }
}

struct Parser<'a> {
    characters: std::iter::Peekable<std::str::Chars<'a>>,
    tokens: Vec<Token>,
    ranges: Vec<(char, char)>,
    /// Where the tokens of each open brace begin.
    braces: Vec<usize>,
    before: Option<char>,
    current: Option<char>,
}

impl<'a> Parser<'a> {
    fn new(pattern: &'a str) -> Self {
        Self {
            characters: pattern.chars().peekable(),
            tokens: Vec::new(),
            ranges: Vec::new(),
            braces: Vec::new(),
            before: None,
            current: None,
        }
    }

    fn next(&mut self) -> Option<char> {
        self.before = self.current;
        self.current = self.characters.next();
        self.current
    }

    fn push(&mut self, step: Step) {
        self.tokens.push(Token::Step(step));
    }

    fn parse(&mut self) -> Result<(), GlobError> {
        while let Some(character) = self.next() {
            match character {
                '?' => self.push(Step::Any),
                '*' => self.star(),
                '[' => self.class()?,
                '{' => self.braces.push(self.tokens.len()),
                '}' => drop(self.braces.pop().ok_or(GlobError::ClosedBrace)?),
                ',' if !self.braces.is_empty() => return Err(GlobError::Alternatives),
                '\\' => {
                    let escaped = self.next().ok_or(GlobError::Dangling)?;
                    self.push(Step::One(escaped));
                }
                other => self.push(Step::One(other)),
            }
        }
        if self.braces.is_empty() { Ok(()) } else { Err(GlobError::OpenBrace) }
    }

    /// `*`, or `**`, which is more than two of them only as a whole element of a path.
    fn star(&mut self) {
        let before = self.before;
        if self.characters.next_if_eq(&'*').is_none() {
            return self.push(Step::Star);
        }
        self.before = Some('*');
        let is_first = self.tokens.len() <= self.braces.last().copied().unwrap_or(0);
        let after = self.characters.peek().copied();
        let ends = after.is_none() || (after == Some('}') && !self.braces.is_empty());
        let whole = if is_first {
            matches!(after, None | Some('/'))
        } else {
            before == Some('/') && (ends || after == Some('/'))
        };
        if !whole {
            // Two of them are no more than one.
            return self.push(Step::Star);
        }
        if after == Some('/') {
            self.next();
        }
        if is_first {
            return self.tokens.push(Token::Leading);
        }
        let joined = match self.tokens.pop() {
            Some(same @ (Token::Leading | Token::Trailing)) => same,
            Some(Token::Step(_) | Token::Between) | None if ends => Token::Trailing,
            Some(Token::Step(_) | Token::Between) | None => Token::Between,
        };
        self.tokens.push(joined);
    }

    fn class(&mut self) -> Result<(), GlobError> {
        let from = self.ranges.len();
        let negated = self.characters.next_if(|next| matches!(next, '!' | '^')).is_some();
        let mut opened = false;
        loop {
            let character = self.next().ok_or(GlobError::OpenClass)?;
            let is_first = self.ranges.len() == from;
            match character {
                ']' if !is_first => break,
                '-' if !is_first && !opened => {
                    opened = true;
                    continue;
                }
                other => match self.ranges.last_mut() {
                    Some((low, high)) if opened => {
                        if other < *low {
                            return Err(GlobError::Backwards);
                        }
                        *high = other;
                    }
                    Some(_) | None => self.ranges.push((other, other)),
                },
            }
            opened = false;
        }
        if opened {
            self.ranges.push(('-', '-'));
        }
        // A glob has no more ranges than bytes.
        let place = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        self.push(Step::Class { negated, from: place(from), to: place(self.ranges.len()) });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use globset::GlobBuilder;
    use proptest::prelude::*;

    use super::*;

    /// What the crate says whose syntax this is.
    fn reference(pattern: &str, path: &str) -> Option<bool> {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().ok()?;
        Some(glob.compile_matcher().is_match(path))
    }

    fn matches(pattern: &str, path: &str) -> Option<bool> {
        Glob::new(pattern).ok().map(|glob| glob.matches(path))
    }

    #[test]
    fn globs_match_as_they_did_with_the_crate_globset() {
        let patterns = [
            "*",
            "**",
            "***",
            "a**",
            "**a",
            "**/a",
            "a/**",
            "a/**/b",
            "**/**",
            "a/**/**/b",
            "a/**/**",
            "**/*",
            "*.conf",
            "[a-c]x",
            "[!a]x",
            "[^/]",
            "[]]",
            "[!]a]",
            "[a-]",
            "[-a]",
            "a\\*b",
            "{a}",
            "x{b}/c",
            "{a/**}",
            "{**/b}",
            "?",
            "a?b",
            "*a*b*",
            "/",
            "a/",
            "[a-c-e]",
            "{}",
            "a{}b",
            "[!-]",
            "**/a/**",
            "\\/**",
            "a,b",
        ];
        let paths = [
            "", "a", "b", "ab", "a/b", "a/x/b", "a/x/y/b", "a.conf", "x/a.conf", "bx", "dx", "]", "-", "a*b",
            "xb/c", "acb", "a/", "/", "c", "e", "x/a/y", "a,b", "/a", "x/b", "*",
        ];
        for pattern in patterns {
            for path in paths {
                assert_eq!(matches(pattern, path), reference(pattern, path), "{pattern:?} {path:?}");
            }
        }
    }

    #[test]
    fn a_glob_that_cant_work_says_why() {
        for (pattern, why) in [
            ("[a", GlobError::OpenClass),
            ("[]", GlobError::OpenClass),
            ("{a", GlobError::OpenBrace),
            ("a}", GlobError::ClosedBrace),
            ("[z-a]", GlobError::Backwards),
            ("a\\", GlobError::Dangling),
            ("{a,b}", GlobError::Alternatives),
        ] {
            assert_eq!(Glob::new(pattern).unwrap_err(), why, "{pattern}");
        }
    }

    #[test]
    fn the_worst_glob_takes_steps_by_the_product_of_its_length_and_the_paths() {
        let worst = "*a".repeat(LONGEST_GLOB / 2);
        let glob = Glob::new(&worst).unwrap();
        // Tried one after the other, the ways to share these out would outlast the machine.
        assert!(!glob.matches(&("a".repeat(4096) + "b")));
        assert!(glob.matches(&"a".repeat(4096)));
    }

    #[test]
    fn a_glob_takes_no_more_than_some_bytes_for_each_of_its_characters() {
        for pattern in
            ["*?".repeat(LONGEST_GLOB / 2), "[a]".repeat(LONGEST_GLOB / 3), "**/".repeat(LONGEST_GLOB / 3)]
        {
            let glob = Glob::new(&pattern).unwrap();
            assert!(glob.steps.len() <= pattern.len() && glob.ranges.len() <= pattern.len());
        }
        assert!(size_of::<Step>() <= 8);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn it_agrees_with_the_crate_globset(
            pattern in "(a|b|/|\\*|\\*\\*|\\*\\*/|/\\*\\*|\\?|\\[a-b\\]|\\[!a\\]|\\\\a|-|\\]){0,8}",
            path in "(a|b|ab|-|\\]){1,3}(/(a|b|ba|-){1,3}){0,3}",
        ) {
            prop_assert_eq!(matches(&pattern, &path), reference(&pattern, &path));
        }
    }
}
