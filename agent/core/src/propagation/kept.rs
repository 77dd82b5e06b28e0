//! How much memory what is measured may take on the node: of one kind of thing some 60,000 keys of objects, or as many files of volumes.

use crate::model::digest::Files;
use crate::model::kept;

/// How much of one kind of thing is kept on a node.
const MOST: usize = 8 << 20;
/// What a key takes besides its name: its digest, its places in two maps' nodes and the allocator's share.
pub(crate) const EACH: usize = 112;

/// What is kept of one kind of thing, by what it is kept for.
pub(crate) type Kept<K> = kept::Kept<K, MOST>;

/// How much a map of digests takes.
pub(crate) fn cost(files: &Files) -> usize {
    files.keys().map(|name| name.len() + EACH).sum()
}
