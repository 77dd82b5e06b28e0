//! A glob as it is written: one atom after the other.

/// A parsed glob. `*` and `?` don't cross `/`, `**` as a whole element does.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    pub(super) atoms: Vec<Atom>,
    pub(super) ranges: Vec<(char, char)>,
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
pub(super) enum Atom {
    /// One certain character.
    One(char),
    /// A character that isn't `/`.
    Any,
    /// A character of the ranges from here to there, or none of them.
    Class { negated: bool, from: u16, to: u16 },
    /// Characters that aren't `/`, or none.
    Star,
    /// Any characters, or none.
    Rest,
    /// The two atoms that follow, or neither.
    Maybe,
}

/// What the parser puts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Atom(Atom),
    /// `**/` at the begin.
    Leading,
    /// `/**` at the end.
    Trailing,
    /// `/**/`.
    Between,
}

impl Glob {
    /// Parses a glob. It has no more atoms than bytes.
    pub(super) fn new(pattern: &str) -> Result<Self, GlobError> {
        let mut parser = Parser::new(pattern);
        parser.parse()?;
        let mut atoms = Vec::with_capacity(parser.tokens.len());
        for token in &parser.tokens {
            let slash = Atom::One('/');
            match token {
                // Two in a row are no more than one.
                Token::Atom(Atom::Star) if atoms.last() == Some(&Atom::Star) => {}
                Token::Atom(atom) => atoms.push(*atom),
                // `**` alone is everything.
                Token::Leading if parser.tokens.len() == 1 => atoms.push(Atom::Rest),
                Token::Leading => atoms.extend([Atom::Maybe, Atom::Rest, slash]),
                Token::Trailing => atoms.extend([slash, Atom::Rest]),
                Token::Between => atoms.extend([slash, Atom::Maybe, Atom::Rest, slash]),
            }
        }
        Ok(Self { atoms, ranges: parser.ranges })
    }

    /// Whether an atom takes this character and leads on.
    pub(super) fn takes(&self, atom: Atom, character: char) -> bool {
        match atom {
            Atom::One(wanted) => wanted == character,
            Atom::Any => character != '/',
            Atom::Class { negated, from, to } => {
                let ranges = self.ranges.get(usize::from(from)..usize::from(to)).unwrap_or_default();
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != negated
            }
            Atom::Star | Atom::Rest | Atom::Maybe => false,
        }
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

    fn push(&mut self, atom: Atom) {
        self.tokens.push(Token::Atom(atom));
    }

    fn parse(&mut self) -> Result<(), GlobError> {
        while let Some(character) = self.next() {
            match character {
                '?' => self.push(Atom::Any),
                '*' => self.star(),
                '[' => self.class()?,
                '{' => self.braces.push(self.tokens.len()),
                '}' => drop(self.braces.pop().ok_or(GlobError::ClosedBrace)?),
                ',' if !self.braces.is_empty() => return Err(GlobError::Alternatives),
                '\\' => {
                    let escaped = self.next().ok_or(GlobError::Dangling)?;
                    self.push(Atom::One(escaped));
                }
                other => self.push(Atom::One(other)),
            }
        }
        if self.braces.is_empty() { Ok(()) } else { Err(GlobError::OpenBrace) }
    }

    /// `*`, or `**`, which is more than two of them only as a whole element of a path.
    fn star(&mut self) {
        let before = self.before;
        if self.characters.next_if_eq(&'*').is_none() {
            return self.push(Atom::Star);
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
            return self.push(Atom::Star);
        }
        if after == Some('/') {
            self.next();
        }
        if is_first {
            return self.tokens.push(Token::Leading);
        }
        let joined = match self.tokens.pop() {
            Some(same @ (Token::Leading | Token::Trailing)) => same,
            Some(Token::Atom(_) | Token::Between) | None if ends => Token::Trailing,
            Some(Token::Atom(_) | Token::Between) | None => Token::Between,
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
        self.push(Atom::Class { negated, from: place(from), to: place(self.ranges.len()) });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_glob_has_no_more_atoms_than_bytes() {
        for pattern in ["*?", "[a]", "**/", "/**/", "a/**", "**", "***", "**/**/**"] {
            let pattern = pattern.repeat(20);
            let glob = Glob::new(&pattern).unwrap();
            assert!(glob.atoms.len() <= pattern.len() && glob.ranges.len() <= pattern.len(), "{pattern}");
        }
    }
}
