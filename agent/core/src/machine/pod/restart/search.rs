//! The first processes are looked for, and what they do with their signals, before any is told.

use std::time::Duration;

use super::part::{Part, Standing};
use super::{READ_EVERY, UnderWay};
use crate::kernel::process::ProcessIdentity;
use crate::machine::context::Context;
use crate::model::restart::Finding;
use crate::model::signal::Signal;
use crate::model::time::Time;

/// How long they are looked for, and looked at.
const SEARCHED: Duration = Duration::from_secs(10);
/// The same where the agent itself lacks something for that.
const LACKING: Duration = Duration::from_secs(60);

/// What comes of looking for the first processes.
pub(super) enum Search {
    /// They are looked for still.
    GoesOn,
    /// All that run are ready to be sent these.
    Send(Vec<(ProcessIdentity, Signal)>),
    /// Nothing is sent, for this reason.
    Refuse(Finding, String),
}

impl UnderWay {
    pub(super) fn searched_until(&self, since: Time) -> Time {
        // The next look may be the first one without it. One that takes long is no look that finds nothing.
        let is_lacking = self.lack.is_some_and(|(_, at)| self.look < at + SEARCHED) || !self.is_seen;
        since + if is_lacking { LACKING } else { SEARCHED }
    }

    /// None is told unless all of them can be. The masks of all are read together, and decide if they are no older than the last time
    /// that they were asked for.
    pub(super) fn search(&mut self, since: Time, ctx: &mut Context<'_>) -> Search {
        let mut send = Vec::new();
        let mut waits = None;
        for part in &self.parts {
            match part.standing(self.read, ctx.now) {
                Standing::Gone => {}
                Standing::Ready(process, signal) => send.push((process, signal)),
                Standing::Waits(finding, reason) => {
                    waits.get_or_insert((finding, reason));
                }
                Standing::Refused(reason) => return Search::Refuse(Finding::Unhandled, reason),
            }
        }
        let Some((finding, reason)) = waits else { return Search::Send(send) };
        if ctx.now >= self.searched_until(since) {
            let lack = self.lack.map(|(lack, _)| format!("container {}: {}", self.names(), lack.sentence()));
            return Search::Refuse(finding, lack.unwrap_or(reason));
        }
        let is_due = self.read.is_none_or(|read| ctx.now >= read + READ_EVERY);
        if is_due && self.parts.iter().all(Part::is_readable) {
            self.read = Some(ctx.now);
            self.parts.iter_mut().for_each(|part| part.ask(ctx));
        }
        Search::GoesOn
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.parts.iter().map(|part| &**part.name()).collect();
        names.join(", ")
    }
}
