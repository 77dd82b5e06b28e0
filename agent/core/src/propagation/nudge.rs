//! Acceleration: when the kubelet is asked to look at a pod at once, and how often.
//!
//! A nudge that comes before the kubelet's own watch has the new version is worse than none: the kubelet finds nothing
//! new and starts its minute again. So after each nudge the disk decides, and the next one follows until it is right.

use std::time::Duration;

use crate::model::closed::closed_set;
use crate::model::object::ObjectRef;
use crate::model::time::Time;
use crate::propagation::strategy::Strategy;

/// How long the disk may lag behind after each nudge. The kubelet syncs a pod about once a second at most
/// (`pod_workers.go`), so the first ones are close to that; together they last a minute, after which the kubelet looks by
/// itself.
const PAUSES: [Duration; 10] = [
    FIRST_PAUSE,
    Duration::from_millis(700),
    Duration::from_millis(700),
    Duration::from_millis(800),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(15),
    Duration::from_secs(25),
];
const FIRST_PAUSE: Duration = Duration::from_millis(600);
/// After the node's budget is used up.
const BUDGET_PAUSE: Duration = Duration::from_millis(250);
/// While it isn't known yet whether nudges may be sent.
const WITHHELD_PAUSE: Duration = Duration::from_millis(500);

/// What this node's agent does about volumes that lag behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accelerate {
    /// What tells this node from others.
    pub node: u64,
    /// The range of which each node waits its own fixed share for each object.
    pub spread: Duration,
    /// How the kubelet learns of changes; `None` while that isn't known.
    pub strategy: Option<Strategy>,
}

impl Accelerate {
    /// The node with this name.
    pub fn new(node: &str, spread: Duration) -> Self {
        Self { node: crate::model::hash::mark(node.bytes()), spread, strategy: None }
    }

    /// Whether nudges may help: they may where nothing is known of the kubelet.
    pub(crate) fn may_help(&self) -> bool {
        self.strategy.is_none_or(Strategy::finds_the_new)
    }

    /// How long this node waits after a version of the object has shown.
    pub(crate) fn share(&self, object: &ObjectRef) -> Duration {
        let bytes = self.node.to_le_bytes().into_iter().chain(object.to_string().into_bytes());
        crate::model::hash::of(bytes, self.spread)
    }
}

/// How the API server took a nudge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NudgeAnswer {
    /// The pod was changed.
    Accepted,
    /// Nothing was sent: the node has used up its budget.
    OverBudget,
    /// Nothing was sent: whether nudges may be sent isn't known yet.
    Withheld,
    /// It asked to be left alone for this long.
    Throttled(Duration),
    /// The API server refuses it, or it isn't sent since the fence isn't proved.
    Refused,
    /// Something else went wrong.
    Failed,
    /// There is no such pod any more.
    Gone,
}

closed_set! {
    /// What became of a nudge.
    pub enum NudgeResult {
        /// The newest version was on disk after it.
        Published => "published",
        /// The disk still lagged behind after its time.
        Unanswered => "unanswered",
        /// The API server asked for fewer.
        Throttled => "throttled",
        /// The API server refuses it, or it isn't sent since the fence isn't proved.
        Refused => "refused",
        /// Something else went wrong.
        Failed => "failed",
    }
}

/// The nudges of one pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nudges {
    /// The newest version that is waited for was seen then.
    wanted: Option<Time>,
    tries: usize,
    state: State,
    pace: Pace,
}

/// Two changes that are less than this apart are quick.
const QUICK: Duration = Duration::from_secs(10);
/// So many quick changes are nudged for at once: somebody applies a few, or a controller rolls something out.
const AT_ONCE: u32 = 3;
/// The pause between two nudges after that, and the longest; it doubles with each nudge.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// After so long without a change all is as it was.
const CALM: Duration = Duration::from_secs(60);

/// How often a pod is nudged whose objects change again and again. It is the pod's and not an object's, since a nudge is for
/// all of a pod: many objects that change in turn cost as much as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// When the newest version was seen.
    changed: Option<Time>,
    /// How many changes were quick; each that wasn't takes one off.
    quick: u32,
    /// When the last nudge was sent.
    sent: Option<Time>,
    /// There was a change after it.
    is_new: bool,
    /// The pause after it.
    rest: Duration,
}

impl Pace {
    /// A version was seen.
    fn changed(&mut self, seen: Time) {
        let before = self.changed.unwrap_or_default();
        if seen <= before {
            return;
        }
        match seen.since(before) {
            apart if apart >= CALM => (self.quick, self.rest) = (0, Duration::ZERO),
            apart if apart < QUICK => self.quick = self.quick.saturating_add(1).min(AT_ONCE + 1),
            _ => self.quick = self.quick.saturating_sub(1),
        }
        if self.quick > AT_ONCE {
            self.rest = self.rest.max(FIRST_REST);
        }
        (self.changed, self.is_new) = (Some(seen), true);
    }

    /// A nudge was sent. One more for the same version is no sign of haste.
    fn sent(&mut self, now: Time) {
        if std::mem::take(&mut self.is_new) {
            self.rest = self.rest.saturating_mul(2).min(LONGEST_REST);
        }
        self.sent = Some(now);
    }

    /// From when on the next one may be sent.
    fn from(&self) -> Time {
        let (Some(sent), Some(changed)) = (self.sent, self.changed) else { return Time::default() };
        (sent + self.rest).min(changed + CALM)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    /// The next one is due then.
    Due(Time),
    /// One was sent and isn't answered.
    Asked,
    /// The API server took it: until then the disk has time.
    Accepted(Time),
    /// No further ones for this version.
    Ended,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Next {
    /// What became of the last one.
    pub(crate) result: Option<NudgeResult>,
    /// Whether one is to be sent.
    pub(crate) send: bool,
}

impl Nudges {
    /// Looks at the time. `waiting` says when the newest version that isn't on disk was seen, and this node's share of the
    /// spread for it; `None` if nothing lags behind.
    pub(crate) fn next(&mut self, now: Time, waiting: Option<(Time, Duration)>) -> Next {
        let mut next = Next::default();
        let Some((seen, share)) = waiting else {
            if matches!(self.state, State::Accepted(_)) {
                next.result = Some(NudgeResult::Published);
            }
            if self.state != State::Asked {
                self.stop();
            }
            return next;
        };
        if self.wanted.is_none_or(|wanted| seen > wanted) {
            // Something newer: what was sent for the version before may bring it as well.
            self.wanted = Some(seen);
            self.pace.changed(seen);
            self.tries = 0;
            self.state = match self.state {
                State::Idle | State::Ended => State::Due(seen + share),
                // Or an object that changes within its share of the spread is never nudged for.
                State::Due(due) => State::Due(due.min(seen + share)),
                State::Accepted(until) => State::Accepted(until.min(now + FIRST_PAUSE)),
                State::Asked => State::Asked,
            };
        }
        if let State::Accepted(until) = self.state
            && now >= until
        {
            next.result = Some(NudgeResult::Unanswered);
            self.state = if self.tries < PAUSES.len() { State::Due(now) } else { State::Ended };
        }
        if let State::Due(due) = self.state
            && now >= due.max(self.pace.from())
        {
            self.state = State::Asked;
            self.tries += 1;
            next.send = true;
        }
        next
    }

    /// Takes in how a nudge was taken. Gives back what became of it, if that is known by now.
    pub(crate) fn answered(&mut self, answer: NudgeAnswer, now: Time) -> Option<NudgeResult> {
        if self.state != State::Asked {
            return None;
        }
        let pause = PAUSES.get(self.tries.saturating_sub(1)).copied().unwrap_or_default();
        let again = |at| if self.tries < PAUSES.len() { State::Due(at) } else { State::Ended };
        let (state, result) = match answer {
            NudgeAnswer::Accepted => (State::Accepted(now + pause), None),
            NudgeAnswer::OverBudget => {
                self.tries = self.tries.saturating_sub(1);
                (State::Due(now + BUDGET_PAUSE), None)
            }
            NudgeAnswer::Withheld => {
                self.tries = self.tries.saturating_sub(1);
                (State::Due(now + WITHHELD_PAUSE), None)
            }
            NudgeAnswer::Throttled(after) => (again(now + after.max(pause)), Some(NudgeResult::Throttled)),
            NudgeAnswer::Failed => (again(now + pause), Some(NudgeResult::Failed)),
            NudgeAnswer::Refused => (State::Ended, Some(NudgeResult::Refused)),
            NudgeAnswer::Gone => (State::Ended, None),
        };
        self.state = state;
        if !matches!(answer, NudgeAnswer::OverBudget | NudgeAnswer::Withheld) {
            self.pace.sent(now);
        }
        result
    }

    /// Nothing is to be sent any more. What becomes of a nudge that is on its way isn't of interest.
    pub(crate) fn stop(&mut self) {
        *self = Self::with_pace(self.pace);
    }

    /// Those of a pod that was nudged before.
    pub(crate) fn with_pace(pace: Pace) -> Self {
        Self { pace, ..Self::default() }
    }

    /// How often the pod is nudged.
    pub(crate) const fn pace(&self) -> Pace {
        self.pace
    }

    /// When [`Self::next`] has something to do.
    pub(crate) fn timeout(&self) -> Option<Time> {
        match self.state {
            State::Due(at) => Some(at.max(self.pace.from())),
            State::Accepted(at) => Some(at),
            State::Idle | State::Asked | State::Ended => None,
        }
    }
}

#[cfg(test)]
mod tests;
