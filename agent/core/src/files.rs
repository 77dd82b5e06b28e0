//! Which files of a volume count.

use std::collections::BTreeSet;
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::pod::Name;

/// The most globs that a pod may write.
pub const MOST_GLOBS: usize = 64;
/// The longest glob. The limit also bounds how deep braces nest, which globset follows by recursion.
pub const LONGEST_GLOB: usize = 256;

/// Globs on paths in a volume; `*` and `?` don't cross `/`, `**` does.
#[derive(Clone, Debug)]
pub struct Globs {
    patterns: Vec<Name>,
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
        let mut set = GlobSetBuilder::new();
        for pattern in &patterns {
            if pattern.len() > LONGEST_GLOB {
                return Err(GlobsError::TooLong);
            }
            if pattern.starts_with('/') || pattern.starts_with("./") {
                return Err(GlobsError::NotRelative);
            }
            set.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(malformed)?);
        }
        let set = Arc::new(set.build().map_err(malformed)?);
        Ok(Self { patterns, set })
    }

    /// Whether one of them matches.
    pub fn matches(&self, path: &str) -> bool {
        self.set.is_match(path)
    }

    /// The globs as they were written.
    pub fn patterns(&self) -> &[Name] {
        &self.patterns
    }
}

/// The reason without the glob, which is named elsewhere.
fn malformed(error: globset::Error) -> GlobsError {
    GlobsError::Malformed(error.kind().to_string())
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

    /// Whether the file at this path in the volume counts.
    pub fn counts(&self, path: &str) -> bool {
        !self.excluded.contains(path) && self.globs.as_ref().is_none_or(|globs| globs.matches(path))
    }

    /// Whether every file counts, so that no file needs to be read to see whether one that counts has changed.
    pub fn everything(&self) -> bool {
        self.globs.is_none() && self.excluded.is_empty()
    }
}
