//! What containers took of objects at their start and keep: how they come by it, and what outlives the agent of what it knows.

use crate::model::closed::closed_set;
use crate::model::hash;
use crate::model::mark;
use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::model::time::Time;

closed_set! {
    /// How a container comes by something that it takes at its start.
    pub enum Way {
        /// `env` or `envFrom`.
        Environment => "env",
        /// `subPath` or `subPathExpr`.
        SubPath => "subpath",
        /// Files of a directory, of which nobody tells it.
        Files => "files",
        /// Any of them, in an init container.
        Init => "init",
    }
}

/// The bytes of the pieces, each behind its length.
const BYTES: u8 = 1;

/// What stands for the pieces of an object that a container takes, with the way in which it was made: the journal outlives the agent
/// that made it. It is made of keys and paths and of no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PiecesMark {
    version: u8,
    value: u64,
}

impl PiecesMark {
    /// The mark of pieces for which these bytes stand.
    pub(crate) fn of(pieces: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut bytes = Vec::new();
        pieces.into_iter().for_each(|piece| mark::push(&mut bytes, &piece));
        Self { version: BYTES, value: hash::mark(bytes) }
    }

    /// A mark as the journal holds it. One that was made in a way that isn't known here is nobody's.
    pub const fn recorded(version: u8, value: u64) -> Self {
        Self { version, value }
    }

    /// The way in which it was made.
    pub const fn version(self) -> u8 {
        self.version
    }

    /// The mark itself.
    pub const fn value(self) -> u64 {
        self.value
    }
}

/// What is known of something that a container took of an object. It is told by a version of the object and leads to no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The container.
    pub container: Name,
    /// How it comes by it.
    pub way: Way,
    /// The object.
    pub object: ObjectRef,
    /// Which pieces of the object: of other ones it isn't true. Which are followed goes by the pod's annotations, too.
    pub pieces: PiecesMark,
    /// When the container's process had started: of another one it isn't true.
    pub started: Time,
    /// The newest version that the agent has seen; `None` while there was no object.
    pub version: Option<Name>,
    /// What the container holds, next to that version.
    pub holds: Holds,
    /// The version that brought what that one holds, as far as that was seen.
    pub brought: Option<Name>,
    /// Whether it is known that the object was written since an agent had looked first.
    pub is_news: bool,
}

/// What a container holds of an object, next to a version of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The same as that version.
    Same,
    /// What there is without an object.
    Nothing,
    /// Something else, and the object has held what that version holds since then.
    Other(Time),
    /// It isn't known.
    Unknown,
}
