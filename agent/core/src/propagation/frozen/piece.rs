//! The pieces of an object that a container takes: what they come to in a version of it, and what tells them from other pieces.

use crate::model::digest::{Digest, Files};
use crate::model::frozen::PiecesMark;
use crate::model::hash;
use crate::model::mark;
use crate::policy::references::Part;

/// A part of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) part: Part,
    /// Whether what isn't there is left out.
    pub(super) optional: bool,
}

/// Takes in another piece. All of the object has every key.
pub(super) fn take_in(pieces: &mut Vec<Piece>, piece: Piece) {
    match (&**pieces, &piece.part) {
        ([Piece { part: Part::Everything, .. }], _) => {}
        (_, Part::Everything) => *pieces = vec![piece],
        _ => pieces.push(piece),
    }
}

/// What stands for pieces, whatever their order is and however often each is among them.
pub(super) fn mark_of(pieces: &[Piece]) -> PiecesMark {
    let mut each: Vec<Vec<u8>> = pieces.iter().map(Piece::bytes).collect();
    each.sort_unstable();
    each.dedup();
    PiecesMark::of(each)
}

impl Piece {
    /// Bytes that stand for it. They must stay the same between versions, since the journal outlives the agent: a letter for what it is,
    /// then each text that it names behind its length. What comes to the same in every version of an object has the same bytes.
    fn bytes(&self) -> Vec<u8> {
        let named = |letter, names: Vec<&str>| {
            let mut bytes = vec![letter];
            names.into_iter().for_each(|name| mark::push(&mut bytes, name.as_bytes()));
            bytes
        };
        match &self.part {
            Part::Everything => named(b'e', Vec::new()),
            Part::Variables { .. } => named(b'v', self.part.hidden_keys().collect()),
            Part::Key(key) => named(b'k', vec![key]),
            Part::Files { items, path: None } if items.is_empty() => named(b'e', Vec::new()),
            Part::Files { items, path: Some(path) } if items.is_empty() => named(b'k', vec![path.as_name()]),
            Part::Files { items, .. } => {
                let mut items: Vec<[&str; 2]> =
                    items.iter().map(|item| [&*item.key, item.path.as_str()]).collect();
                items.sort_unstable();
                named(if self.optional { b'o' } else { b'f' }, items.into_iter().flatten().collect())
            }
        }
    }

    /// The sum of the files that it has of these keys, or of the variables. It takes as long as it has items of its own, whatever the
    /// object has: one object can be in many pieces.
    pub(super) fn sum(&self, keys: &Files, whole: impl Fn() -> Sum) -> Sum {
        match &self.part {
            Part::Everything => whole(),
            Part::Variables { .. } => self
                .part
                .hidden_keys()
                .fold(whole(), |sum, key| keys.get(key).map_or(sum, |digest| sum.without(key, digest))),
            Part::Key(key) => Sum::of(keys.get_key_value(key).map(|(key, digest)| (&**key, digest))),
            Part::Files { items, path } if items.is_empty() => match path {
                None => whole(),
                // Each key is a file of its name.
                Some(path) => {
                    Sum::of(keys.get_key_value(path.as_name()).map(|(key, digest)| (&**key, digest)))
                }
            },
            Part::Files { items, .. } => {
                // The kubelet leaves a volume as it is that lacks something.
                let is_whole = self.optional || items.iter().all(|item| keys.contains_key(&item.key));
                let files = items.iter().filter(|_| is_whole);
                Sum::of(files.filter_map(|item| Some((item.path.as_str(), keys.get(&item.key)?))))
            }
        }
    }
}

/// A sum of files or variables: the order in which they come in doesn't matter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum(pub(super) u64);

impl Sum {
    pub(super) fn of<'a>(all: impl IntoIterator<Item = (&'a str, &'a Digest)>) -> Self {
        Self(all.into_iter().fold(0, |sum, (name, digest)| sum.wrapping_add(Self::one(name, digest))))
    }

    fn without(self, name: &str, digest: &Digest) -> Self {
        Self(self.0.wrapping_sub(Self::one(name, digest)))
    }

    fn one(name: &str, digest: &Digest) -> u64 {
        hash::mark(name.bytes().chain([0]).chain(digest.as_bytes().iter().copied()))
    }
}
