//! Which files of a volume count.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::names::Name;

use self::glob::Glob;
use self::set::GlobSet;

mod glob;
mod set;

/// The most globs that a pod may write.
pub const MOST_GLOBS: usize = 64;
/// The longest glob, in bytes. People write tens.
pub const LONGEST_GLOB: usize = 256;
/// The most bytes of all globs together: they take less than 100 KiB, and a path of 253 bytes a tenth of a millisecond.
pub const MOST_GLOB_BYTES: usize = 2048;

/// Globs on paths in a volume; `*` and `?` don't cross `/`, `**` does.
#[derive(Clone, Debug)]
pub struct Globs {
    patterns: Arc<[Name]>,
    set: Arc<GlobSet>,
}

/// Why globs can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobsError {
    /// There are more than [`MOST_GLOBS`].
    #[error("at most {MOST_GLOBS} globs")]
    TooMany,
    /// A glob is longer than [`LONGEST_GLOB`].
    #[error("globs of at most {LONGEST_GLOB} bytes")]
    TooLong,
    /// Together they are longer than [`MOST_GLOB_BYTES`].
    #[error("globs of at most {MOST_GLOB_BYTES} bytes together")]
    TooMuch,
    /// Paths in a volume are relative: a glob that starts so never matches.
    #[error("globs on paths in the volume, without a leading / or ./")]
    NotRelative,
    /// It can't be compiled.
    #[error("globs such as *.conf or certs/**, where a comma always separates ({0})")]
    Malformed(String),
}

impl Globs {
    /// Compiles the globs.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, GlobsError> {
        let patterns: Vec<Name> = patterns.into_iter().take(MOST_GLOBS + 1).map(Name::from).collect();
        if patterns.len() > MOST_GLOBS {
            return Err(GlobsError::TooMany);
        }
        if patterns.iter().map(|pattern| pattern.len().min(LONGEST_GLOB)).sum::<usize>() > MOST_GLOB_BYTES {
            return Err(GlobsError::TooMuch);
        }
        let parsed: Vec<Glob> = patterns.iter().map(|pattern| parsed(pattern)).collect::<Result<_, _>>()?;
        Ok(Self { patterns: patterns.into(), set: Arc::new(GlobSet::new(parsed)) })
    }

    /// Whether one of them matches.
    pub fn matches(&self, path: &str) -> bool {
        self.set.matches(path)
    }

    /// The globs as they were written.
    pub fn patterns(&self) -> &[Name] {
        &self.patterns
    }
}

fn parsed(pattern: &str) -> Result<Glob, GlobsError> {
    if pattern.len() > LONGEST_GLOB {
        return Err(GlobsError::TooLong);
    }
    if pattern.starts_with('/') || pattern.starts_with("./") {
        return Err(GlobsError::NotRelative);
    }
    Glob::new(pattern).map_err(|error| GlobsError::Malformed(error.to_string()))
}

impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for Globs {}

/// Which paths in a volume count.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FileFilter {
    globs: Option<Globs>,
    excluded: BTreeSet<Name>,
}

impl FileFilter {
    /// Those that match the globs, if there are any, without those that are excluded.
    pub fn new(globs: Option<Globs>, excluded: impl IntoIterator<Item = Name>) -> Self {
        Self { globs, excluded: excluded.into_iter().collect() }
    }

    /// The same, without these paths.
    pub fn without(&self, paths: impl IntoIterator<Item = Name>) -> Self {
        let excluded = self.excluded.iter().cloned().chain(paths).collect();
        Self { globs: self.globs.clone(), excluded }
    }

    /// Whether the file at this path in the volume counts.
    pub fn counts(&self, path: &str) -> bool {
        !self.excluded.contains(path) && self.globs.as_ref().is_none_or(|globs| globs.matches(path))
    }

    /// Whether every file counts, so that no file needs to be read to see whether one that counts has changed.
    pub fn everything(&self) -> bool {
        self.globs.is_none() && self.excluded.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn globs(patterns: &[&str]) -> Globs {
        Globs::new(patterns.iter().copied()).unwrap()
    }

    fn refused(patterns: &[&str]) -> String {
        Globs::new(patterns.iter().copied()).unwrap_err().to_string()
    }

    #[test]
    fn without_globs_and_exclusions_every_file_counts() {
        let filter = FileFilter::default();
        assert!(filter.everything());
        assert!(filter.counts("app.conf") && filter.counts("a/b/c"));
    }

    #[test]
    fn excluded_paths_do_not_count_and_their_neighbours_do() {
        let filter = FileFilter::new(None, [Name::from("token"), Name::from("tls/ca.crt")]);
        assert!(!filter.everything());
        assert!(!filter.counts("token") && !filter.counts("tls/ca.crt"));
        assert!(filter.counts("token2") && filter.counts("ca.crt") && filter.counts("tls"));
    }

    #[test]
    fn only_what_a_glob_matches_counts() {
        let filter = FileFilter::new(Some(globs(&["*.conf", "certs/**"])), []);
        assert!(!filter.everything());
        assert!(filter.counts("app.conf") && filter.counts("certs/a/b.pem"));
        assert!(!filter.counts("app.json"));
    }

    #[test]
    fn a_star_does_not_cross_a_slash() {
        let matching = [("*.conf", "a/b.conf"), ("a/*", "a/b/c"), ("a?b", "a/b"), ("*", "a/b")];
        for (pattern, path) in matching {
            assert!(!globs(&[pattern]).matches(path), "{pattern} {path}");
        }
        assert!(globs(&["**/*.conf"]).matches("a/b.conf"));
        assert!(globs(&["**/*.conf"]).matches("b.conf"));
    }

    #[test]
    fn an_exclusion_wins_over_a_glob() {
        let filter = FileFilter::new(Some(globs(&["*"])), [Name::from("token")]);
        assert!(filter.counts("app.conf") && !filter.counts("token"));
    }

    #[test]
    fn globs_that_can_not_work_say_why() {
        assert_eq!(refused(&["/app.conf"]), "globs on paths in the volume, without a leading / or ./");
        assert_eq!(refused(&["./app.conf"]), "globs on paths in the volume, without a leading / or ./");
        assert_eq!(refused(&["a"; 65]), "at most 64 globs");
        assert_eq!(refused(&[&"a".repeat(257)]), "globs of at most 256 bytes");
        assert_eq!(refused(&[&*"a".repeat(256); 9]), "globs of at most 2048 bytes together");
        assert!(
            refused(&["{a"])
                .starts_with("globs such as *.conf or certs/**, where a comma always separates (")
        );
        assert!(Globs::new(["[z-a]"]).is_err());
        assert!(Globs::new(["a"; 64]).is_ok() && Globs::new([&*"a".repeat(256)]).is_ok());
    }

    #[test]
    fn the_deepest_braces_end_in_an_answer() {
        let deepest = "{".repeat(LONGEST_GLOB / 2) + &"}".repeat(LONGEST_GLOB / 2);
        if let Ok(globs) = Globs::new([&*deepest; MOST_GLOB_BYTES / LONGEST_GLOB]) {
            globs.matches("a");
        }
    }

    #[test]
    fn filters_with_the_same_globs_are_equal() {
        assert_eq!(globs(&["a", "b"]), globs(&["a", "b"]));
        assert_ne!(globs(&["a"]), globs(&["b"]));
        assert_ne!(FileFilter::new(Some(globs(&["a"])), []), FileFilter::default());
    }

    proptest! {
        #[test]
        fn no_glob_makes_it_panic(pattern in "([a-z*?/.\\\\{}\\[\\]!^,-]|.){0,40}", path in ".{0,40}") {
            if let Ok(globs) = Globs::new([&*pattern]) {
                globs.matches(&path);
            }
        }

        #[test]
        fn a_name_is_a_glob_of_itself(name in "[A-Za-z0-9_][-._A-Za-z0-9]{0,40}") {
            prop_assert!(globs(&[&name]).matches(&name));
        }
    }
}
