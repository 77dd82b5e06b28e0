//! What is known of the right to watch a kind of object.

use std::time::Duration;

use reloadlet_core::Time;

use crate::api::objects::errand::{Answer, Failure, Protocol};

/// How long a right that was held must have been refused until it counts as lost: an API server that has just started
/// refuses everything for a moment, since it doesn't know the roles yet. Meanwhile it is asked this often.
const REFUSAL: Duration = Duration::from_secs(30);
const REFUSAL_PAUSE: Duration = Duration::from_secs(5);
/// How often a missing right is looked for after that.
const RIGHT_PAUSE: Duration = Duration::from_secs(5 * 60);
/// How long after an answer a watch's trouble leads to another question.
const DOUBT_PAUSE: Duration = Duration::from_secs(60);

/// What an answer changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The answer changes nothing.
    None,
    /// The right is held, and the API server answers by this protocol.
    Held(Protocol),
    /// The right is missing.
    Lost,
}

/// The right to watch a kind of object.
#[derive(Debug)]
pub(super) struct Right {
    /// Whether anybody wants to use it.
    used: bool,
    held: bool,
    missing: bool,
    asking: bool,
    ask_at: Option<Time>,
    answered: Time,
    /// Held, and refused since then.
    refused: Option<Time>,
}

impl Right {
    /// Nothing is known of it, and it is asked for then.
    pub(super) fn new(used: bool, first: Time) -> Self {
        let (ask_at, answered) = (Some(first), Time::default());
        Self { used, held: false, missing: false, asking: false, ask_at, answered, refused: None }
    }

    /// Whether anybody wants to use it.
    pub(super) const fn is_used(&self) -> bool {
        self.used
    }

    /// Whether it is known to be held.
    pub(super) const fn is_held(&self) -> bool {
        self.held
    }

    /// Whether it is known to be missing.
    pub(super) const fn is_missing(&self) -> bool {
        self.missing
    }

    /// Whether it is held, and somebody wants to use it.
    pub(super) const fn is_usable(&self) -> bool {
        self.held && self.used
    }

    /// When it is to be asked for, if an object is there to ask with.
    pub(super) fn ask_at(&self) -> Option<Time> {
        self.ask_at.filter(|_| self.used && !self.asking)
    }

    /// Whether it is to be asked for now: then an answer is waited for.
    pub(super) fn ask(&mut self, now: Time) -> bool {
        let asks = self.ask_at().is_some_and(|at| at <= now);
        self.asking |= asks;
        asks
    }

    /// Takes in an answer.
    pub(super) fn answered(&mut self, answer: Answer, now: Time) -> Turn {
        self.asking = false;
        self.answered = now;
        match answer {
            Answer::Yes(protocol) => {
                self.held = true;
                self.missing = false;
                self.ask_at = None;
                self.refused = None;
                return Turn::Held(protocol);
            }
            Answer::Forbidden if self.held && now.since(*self.refused.get_or_insert(now)) < REFUSAL => {
                self.ask_at = Some(now + REFUSAL_PAUSE);
            }
            Answer::Forbidden => {
                self.held = false;
                self.refused = None;
                let known = std::mem::replace(&mut self.missing, true);
                self.ask_at = Some(now + if known { RIGHT_PAUSE } else { REFUSAL });
                return Turn::Lost;
            }
            Answer::Fails(pause) => self.ask_at = Some(now + pause),
        }
        Turn::None
    }

    /// Something that needs it has failed. Perhaps it is missing, or nothing works any more, or by another protocol. Whether it
    /// may be due to be asked for.
    pub(super) fn doubt(&mut self, failure: Failure, now: Time) -> bool {
        match failure {
            Failure::Forbidden => {
                if self.refused.replace(self.refused.unwrap_or(now)).is_none() {
                    self.ask_at = Some(now + REFUSAL_PAUSE);
                }
                false
            }
            Failure::Unanswered | Failure::Other(_) => {
                let at = (self.answered + DOUBT_PAUSE).max(now);
                self.ask_at.get_or_insert(at);
                true
            }
            Failure::Ended => false,
        }
    }
}
