//! An object's place on a connection, and how far its watch is.

use std::time::Duration;

use reloadlet_core::Time;

use crate::api::objects::errand::ObjectWatch;

/// How long a watch must have lasted for its end to be an ordinary one. API servers end them after minutes.
const LIVED: Duration = Duration::from_secs(10);

/// A place on a connection.
#[derive(Debug)]
pub(super) struct Slot {
    watch: ObjectWatch,
    stage: Stage,
    /// The connection on which it wasn't answered before.
    silent_on: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The object is fetched first.
    Fetching,
    /// The watch was asked for.
    Asked,
    /// The watch runs, since then.
    Running(Time),
}

impl Slot {
    /// The object is fetched first. `silent_on` is the connection on which the watch wasn't answered before.
    pub(super) const fn new(watch: ObjectWatch, silent_on: Option<usize>) -> Self {
        Self { watch, stage: Stage::Fetching, silent_on }
    }

    /// The watch that is for it.
    pub(super) const fn watch(&self) -> &ObjectWatch {
        &self.watch
    }

    /// Whether the watch runs.
    pub(super) const fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running(_))
    }

    /// The object was fetched. The watch, if it is to be asked for now.
    pub(super) fn fetched(&mut self) -> Option<&ObjectWatch> {
        if self.stage != Stage::Fetching {
            return None;
        }
        self.stage = Stage::Asked;
        Some(&self.watch)
    }

    /// The watch was answered. The connection on which it wasn't, if there is one.
    pub(super) const fn began(&mut self, now: Time) -> Option<usize> {
        self.stage = Stage::Running(now);
        self.silent_on.take()
    }

    /// The watch has ended: the object is fetched anew. Whether the watch had lasted, and the connection on which it wasn't
    /// answered before.
    pub(super) fn ended(&mut self, now: Time) -> (bool, Option<usize>) {
        let lived = matches!(self.stage, Stage::Running(since) if now.since(since) >= LIVED);
        self.stage = Stage::Fetching;
        (lived, self.silent_on.take())
    }
}
