//! The words between those who decide what is watched and those who watch.

use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::object::{ObjectRef, Observed};

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
    /// They can.
    Yes(Protocol),
    /// The right is missing.
    Forbidden,
    /// Something else is wrong: ask again after that.
    Fails(Duration),
}

/// A watch that should run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    pub(super) object: ObjectRef,
    /// Tells it from an earlier one of the same object.
    pub(super) id: u64,
    pub(super) connection: usize,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Find out whether objects like this one can be watched.
    Ask(ObjectRef),
    Start(Watch),
    Stop(ObjectRef),
    /// No watch is left on this connection.
    Close(usize),
    Tell(ObjectRef, Observed, Time),
    /// Nobody wants to hear of it any more.
    Forget(ObjectRef),
}
