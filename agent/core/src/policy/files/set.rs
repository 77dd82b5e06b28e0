//! Globs that are matched together, without an automaton: a path is read once, and for each of its characters it is noted
//! which atoms of the globs can come next, in one bit each. A match takes as many steps of 64 bits as path and globs are long,
//! multiplied, whatever they look like; the memory is known beforehand.

use super::glob::{Atom, Glob};
use super::{MOST_GLOB_BYTES, MOST_GLOBS};

/// How many words hold a bit for each atom of the globs and for the end of each.
const MOST_WORDS: usize = (MOST_GLOB_BYTES + MOST_GLOBS) / 64;
/// Characters for which it is noted beforehand which atoms take them: those that names of keys are made of.
const NOTED: usize = 128;

/// A bit for each atom.
type Bits = [u64; MOST_WORDS];

/// Globs of which one must match.
#[derive(Clone, Debug)]
pub(super) struct GlobSet {
    words: usize,
    /// By character: the atoms that take it and lead on.
    takes: Box<[u64]>,
    /// Where a match begins.
    begin: Box<[u64]>,
    end: Box<[u64]>,
    /// The atoms that take any character, or any but `/`, and stay.
    rest: Box<[u64]>,
    star: Box<[u64]>,
    /// The atoms that may be left out together with the two that follow.
    maybe: Box<[u64]>,
    /// What takes other characters, by its place.
    others: Box<[(usize, usize, Atom)]>,
    globs: Box<[Glob]>,
}

impl GlobSet {
    pub(super) fn new(globs: Vec<Glob>) -> Self {
        let atoms: usize = globs.iter().map(|glob| glob.atoms.len() + 1).sum();
        let words = atoms.div_ceil(64).min(MOST_WORDS);
        let none = || vec![0; words].into_boxed_slice();
        let mut set = Self {
            words,
            takes: vec![0; words * NOTED].into(),
            begin: none(),
            end: none(),
            rest: none(),
            star: none(),
            maybe: none(),
            others: Box::default(),
            globs: Box::default(),
        };
        let mut place = 0;
        let mut others = Vec::new();
        for (number, glob) in globs.iter().enumerate() {
            add(&mut set.begin, place);
            for atom in &glob.atoms {
                match atom {
                    Atom::Star => add(&mut set.star, place),
                    Atom::Rest => add(&mut set.rest, place),
                    Atom::Maybe => add(&mut set.maybe, place),
                    Atom::One(character) if character.is_ascii() => {}
                    Atom::One(_) | Atom::Any | Atom::Class { .. } => others.push((place, number, *atom)),
                }
                for (character, takes) in ('\0'..).zip(set.takes.chunks_mut(words.max(1))) {
                    if glob.takes(*atom, character) {
                        add(takes, place);
                    }
                }
                place += 1;
            }
            add(&mut set.end, place);
            place += 1;
        }
        set.others = others.into();
        set.globs = globs.into();
        set
    }

    /// Whether one of them matches the whole path.
    pub(super) fn matches(&self, path: &str) -> bool {
        let mut now: Bits = [0; MOST_WORDS];
        for (word, begin) in now.iter_mut().zip(&self.begin) {
            *word = *begin;
        }
        self.skip(&mut now);
        for character in path.chars() {
            let other;
            let noted = self.takes.chunks(self.words.max(1)).nth(character as usize);
            let takes = match noted {
                Some(takes) => takes,
                None => {
                    other = self.taking(character);
                    &other
                }
            };
            let slash = if character == '/' { 0 } else { u64::MAX };
            let (mut carried, mut any) = (0, 0);
            for ((word, takes), (rest, star)) in
                now.iter_mut().zip(takes).zip(self.rest.iter().zip(&self.star))
            {
                let taken = *word & takes;
                *word = taken << 1 | carried | *word & (rest | star & slash);
                carried = taken >> 63;
                any |= *word;
            }
            if any == 0 {
                return false;
            }
            self.skip(&mut now);
        }
        now.iter().zip(&self.end).any(|(word, end)| word & end != 0)
    }

    /// Adds the atoms that come next without a character, until nothing is added: never more than a few follow each other.
    fn skip(&self, now: &mut Bits) {
        loop {
            let (mut one, mut three, mut new) = (0, 0, 0);
            for ((word, maybe), (rest, star)) in
                now.iter_mut().zip(&self.maybe).zip(self.rest.iter().zip(&self.star))
            {
                let (next, leap) = (*word & (rest | star | maybe), *word & maybe);
                let added = (next << 1 | one | leap << 3 | three) & !*word;
                *word |= added;
                new |= added;
                (one, three) = (next >> 63, leap >> 61);
            }
            if new == 0 {
                return;
            }
        }
    }

    /// The atoms that take a character that isn't noted.
    fn taking(&self, character: char) -> Bits {
        let mut takes: Bits = [0; MOST_WORDS];
        for (place, number, atom) in &self.others {
            if self.globs.get(*number).is_some_and(|glob| glob.takes(*atom, character)) {
                add(&mut takes, *place);
            }
        }
        takes
    }
}

fn add(bits: &mut [u64], place: usize) {
    if let Some(word) = bits.get_mut(place / 64) {
        *word |= 1 << (place % 64);
    }
}

#[cfg(test)]
mod tests {
    use globset::GlobBuilder;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::files::LONGEST_GLOB;

    /// What the crate says whose syntax this is.
    fn reference(pattern: &str, path: &str) -> Option<bool> {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().ok()?;
        Some(glob.compile_matcher().is_match(path))
    }

    fn set(patterns: &[&str]) -> GlobSet {
        GlobSet::new(patterns.iter().map(|pattern| Glob::new(pattern).unwrap()).collect())
    }

    fn matches(pattern: &str, path: &str) -> Option<bool> {
        Glob::new(pattern).ok().map(|glob| GlobSet::new(vec![glob]).matches(path))
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
    fn other_characters_than_those_of_keys_count_as_one_each() {
        for (pattern, path, matching) in [
            ("?", "é", true),
            ("??", "é", false),
            ("[à-ü]", "é", true),
            ("[!a]*", "é", true),
            ("é*", "é/", false),
            ("*é", "xé", true),
            ("[a-z]", "é", false),
            ("a\u{1F600}", "a\u{1F600}", true),
        ] {
            assert_eq!(matches(pattern, path), Some(matching), "{pattern} {path}");
        }
    }

    #[test]
    fn the_worst_globs_take_steps_by_the_product_of_their_length_and_the_paths() {
        let worst = "*a".repeat(LONGEST_GLOB / 2);
        let set = set(&[&*worst; MOST_GLOB_BYTES / LONGEST_GLOB]);
        // Tried one after the other, the ways to share these out would outlast the machine.
        assert!(!set.matches(&("a".repeat(4096) + "b")));
        assert!(set.matches(&"a".repeat(4096)));
    }

    #[test]
    fn the_most_globs_take_less_than_a_hundred_kibibytes() {
        let one = "[a]?".repeat(8);
        let set = set(&[&*one; MOST_GLOBS]);
        let of_glob = |glob: &Glob| {
            glob.atoms.capacity() * size_of::<Atom>() + glob.ranges.capacity() * size_of::<(char, char)>()
        };
        let bytes =
            8 * set.takes.len() + size_of_val(&*set.others) + set.globs.iter().map(of_glob).sum::<usize>();
        assert!(bytes < 100 << 10, "{bytes}");
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

        #[test]
        fn together_they_match_what_one_of_them_does(
            patterns in proptest::collection::vec("(a|b|/|\\*|\\?|[a-z]{20}|\\*\\*/){0,8}", 1..20),
            path in "(a|b|[a-z]{1,30}){1,3}(/(a|b)){0,3}",
        ) {
            let all: Vec<Glob> = patterns.iter().filter_map(|pattern| Glob::new(pattern).ok()).collect();
            let one = all.iter().any(|glob| GlobSet::new(vec![glob.clone()]).matches(&path));
            prop_assert_eq!(GlobSet::new(all).matches(&path), one);
        }
    }
}
