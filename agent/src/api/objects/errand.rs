//! The words between those who decide what is watched and those who watch.

use std::sync::Arc;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::{ObjectRef, ObjectVersion, Observed};

/// By which protocol the API server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1: a connection for each watch.
    Http1,
    /// HTTP/2: one for many.
    Http2,
}

/// What came of a question whether objects of a kind can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Objects of the kind can be watched, by this protocol.
    Yes(Protocol),
    /// The right is missing.
    Forbidden,
    /// Something else is wrong: ask again after that.
    Fails(Duration),
}

/// A watch that should run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectWatch {
    pub(super) object: ObjectRef,
    /// Tells it from an earlier one of the same object.
    pub(super) id: u64,
    pub(super) connection: usize,
}

/// How new an answer must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Freshness {
    /// What the API server has in memory, which may be old.
    Any,
    /// That as well, but not older than this version.
    NotOlderThan(Name),
    /// The newest one, as the API server's store has it.
    Newest,
}

/// An object whose content is to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    pub(super) object: ObjectRef,
    pub(super) id: u64,
    pub(super) freshness: Freshness,
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fetched {
    /// What comes after this version is still to be told.
    pub(super) version: Name,
    pub(super) found: Found,
}

/// How an object was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Version(Arc<ObjectVersion>),
    /// There is none.
    Absent,
    /// It is more than can be kept.
    TooLarge,
    /// It can't be understood.
    Garbage,
}

/// What a watch shows: that there is something to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Version(Name),
    Deleted,
    /// Something that can't be read.
    Unclear,
}

/// Why something that was asked of the API server failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The right is missing.
    Forbidden,
    /// A watch came to its end, as watches do.
    Ended,
    /// It isn't answered, though others on the connection may be.
    Unanswered,
    /// Something else, and how long the API server wants to be left alone.
    Other(Option<Duration>),
}

/// Something that is to be done for the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// Find out whether objects like this one can be watched.
    Ask(ObjectRef),
    /// Watch what comes after this version.
    Start(ObjectWatch, Name),
    Stop(ObjectRef),
    /// No watch is left on this connection.
    Close(usize),
    /// What is known of it is an event.
    Observed(ObjectRef, Observed, Time),
    /// Nobody wants to hear of it any more.
    Forget(ObjectRef),
    /// It is more than can be kept.
    SayTooLarge(ObjectRef),
    /// So few watches are answered on a connection at a time.
    SayFewer(usize),
}
