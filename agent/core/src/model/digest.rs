//! Digests stand for contents, which the agent doesn't keep.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::model::names::Name;

/// Files of a volume, by path.
pub type Files = BTreeMap<Name, Digest>;

/// What stands for contents: the same for the same contents, and nothing leads back. The edge makes it, under a key.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to make another digest of.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Digest {
    /// Never the bytes: they could end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

/// What a generation holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The digest of the files that count, with their paths.
    pub counting: Digest,
    /// The digest of each file by its path; empty where nobody asked for it.
    pub files: Arc<BTreeMap<Name, Digest>>,
}
