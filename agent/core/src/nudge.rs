//! Acceleration: when the kubelet is asked to look at a pod at once, and how often.
//!
//! A nudge that comes before the kubelet's own watch has the new version is worse than none: the kubelet finds nothing
//! new and starts its minute again. So after each nudge the disk decides, and the next one follows until it is right.

use std::time::Duration;

use crate::object::ObjectRef;
use crate::strategy::Strategy;
use crate::time::Time;

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
        Self { node: crate::share::mark(node.bytes()), spread, strategy: None }
    }

    /// Whether nudges may help: they may where nothing is known of the kubelet.
    pub(crate) fn may_help(&self) -> bool {
        self.strategy.is_none_or(Strategy::finds_the_new)
    }

    /// How long this node waits after a version of the object has shown.
    pub(crate) fn share(&self, object: &ObjectRef) -> Duration {
        let bytes = self.node.to_le_bytes().into_iter().chain(object.to_string().into_bytes());
        crate::share::of(bytes, self.spread)
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
    /// The agent may not, or this kubelet can't be helped so.
    Refused,
    /// Something else went wrong.
    Failed,
    /// There is no such pod any more.
    Gone,
}

/// What became of a nudge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NudgeResult {
    /// The newest version was on disk after it.
    Published,
    /// The disk still lagged behind after its time.
    Unanswered,
    /// The API server asked for fewer.
    Throttled,
    /// The agent may not, or this kubelet can't be helped so.
    Refused,
    /// Something else went wrong.
    Failed,
}

impl NudgeResult {
    /// Every result.
    pub const ALL: [Self; 5] =
        [Self::Published, Self::Unanswered, Self::Throttled, Self::Refused, Self::Failed];

    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Unanswered => "unanswered",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// The nudges of one pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nudges {
    /// The newest version that is waited for was seen then.
    wanted: Option<Time>,
    tries: usize,
    state: State,
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
                *self = Self::default();
            }
            return next;
        };
        if self.wanted.is_none_or(|wanted| seen > wanted) {
            // Something newer: what was sent for the version before may bring it as well.
            self.wanted = Some(seen);
            self.tries = 0;
            self.state = match self.state {
                State::Idle | State::Ended | State::Due(_) => State::Due(seen + share),
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
            && now >= due
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
        result
    }

    /// Nothing is to be sent any more. What becomes of a nudge that is on its way isn't of interest.
    pub(crate) fn stop(&mut self) {
        *self = Self::default();
    }

    /// When [`Self::next`] has something to do.
    pub(crate) fn timeout(&self) -> Option<Time> {
        match self.state {
            State::Due(at) | State::Accepted(at) => Some(at),
            State::Idle | State::Asked | State::Ended => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::since_boot(Duration::from_millis(millis))
    }

    const NOTHING: Next = Next { result: None, send: false };
    const SEND: Next = Next { result: None, send: true };

    fn waiting(millis: u64) -> Option<(Time, Duration)> {
        Some((at(millis), Duration::ZERO))
    }

    #[test]
    fn a_nudge_that_the_kubelet_answers_is_the_only_one() {
        let mut nudges = Nudges::default();
        assert_eq!(nudges.next(at(100), waiting(100)), SEND);
        assert_eq!(nudges.next(at(110), waiting(100)), NOTHING, "it is on its way");
        assert_eq!(nudges.answered(NudgeAnswer::Accepted, at(110)), None);
        assert_eq!(nudges.timeout(), Some(at(710)));
        assert_eq!(nudges.next(at(300), None), Next { result: Some(NudgeResult::Published), send: false });
        assert_eq!((nudges.timeout(), nudges.next(at(400), None)), (None, NOTHING));
    }

    #[test]
    fn the_disk_decides_and_the_first_tries_are_close_together() {
        let mut nudges = Nudges::default();
        let mut sent = Vec::new();
        let mut now = at(0);
        while let Some(due) = nudges.timeout().or(sent.is_empty().then_some(now)) {
            now = due;
            let next = nudges.next(now, waiting(0));
            assert_eq!(next.result.is_some(), !sent.is_empty());
            if next.send {
                sent.push(now);
                nudges.answered(NudgeAnswer::Accepted, now);
            }
        }
        assert_eq!(sent.len(), 10);
        let in_time = sent.iter().filter(|sent| **sent <= at(3000)).count();
        assert!(in_time >= 4 && now >= at(60_000), "{sent:?}, the last one ends at {now:?}");
        assert_eq!(nudges.next(now + Duration::from_secs(99), waiting(0)), NOTHING);
        assert!(nudges.next(now + Duration::from_secs(100), waiting(90_000)).send, "a newer version");
    }

    #[test]
    fn an_older_version_that_still_lags_behind_gets_no_tries_of_its_own() {
        let mut nudges = Nudges::default();
        let mut now = at(0);
        while let Some(due) = nudges.timeout().or((nudges.tries == 0).then_some(now)) {
            now = due;
            if nudges.next(now, waiting(0)).send {
                nudges.answered(NudgeAnswer::Accepted, now);
            }
        }
        let newer = now + Duration::from_secs(1);
        assert!(nudges.next(newer, Some((newer, Duration::ZERO))).send);
        nudges.answered(NudgeAnswer::Accepted, newer);
        assert_eq!(nudges.next(newer + Duration::from_millis(100), waiting(0)), NOTHING);
        assert_eq!(nudges.tries, 1, "the newer one's");
    }

    #[test]
    fn a_newer_version_doesnt_wait_for_the_long_pause_of_an_older_one() {
        let mut nudges = Nudges { tries: 10, state: State::Accepted(at(25_000)), wanted: Some(at(0)) };
        nudges.next(at(1000), waiting(1000));
        assert_eq!(nudges.timeout(), Some(at(1600)));
    }

    #[test]
    fn the_share_of_the_spread_is_waited_for() {
        let mut nudges = Nudges::default();
        let waiting = Some((at(1000), Duration::from_millis(500)));
        assert_eq!(nudges.next(at(1000), waiting), NOTHING);
        assert_eq!(nudges.timeout(), Some(at(1500)));
        assert_eq!(nudges.next(at(1500), waiting), SEND);
    }

    #[test]
    fn who_asks_for_fewer_gets_fewer_and_who_refuses_none() {
        let mut nudges = Nudges::default();
        assert!(nudges.next(at(0), waiting(0)).send);
        let throttled = NudgeAnswer::Throttled(Duration::from_secs(7));
        assert_eq!(nudges.answered(throttled, at(10)), Some(NudgeResult::Throttled));
        assert_eq!(nudges.timeout(), Some(at(7010)));
        assert!(nudges.next(at(7010), waiting(0)).send);
        assert_eq!(nudges.answered(NudgeAnswer::Refused, at(7020)), Some(NudgeResult::Refused));
        assert_eq!((nudges.timeout(), nudges.next(at(90_000), waiting(0))), (None, NOTHING));
    }

    #[test]
    fn what_isnt_sent_costs_no_try() {
        for answer in [NudgeAnswer::OverBudget, NudgeAnswer::Withheld] {
            let mut nudges = Nudges::default();
            let mut now = at(0);
            for _ in 0..100 {
                assert!(nudges.next(now, waiting(0)).send);
                assert_eq!(nudges.answered(answer, now), None);
                assert!(nudges.timeout().unwrap() > now);
                now = nudges.timeout().unwrap();
            }
            assert!(nudges.next(now, waiting(0)).send);
        }
    }

    #[test]
    fn nodes_have_shares_of_their_own_that_stay_the_same() {
        use crate::object::ObjectKind;
        let object = ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: "a".into() };
        let spread = Duration::from_secs(10);
        let shares: std::collections::BTreeSet<Duration> =
            (0..100).map(|n| Accelerate::new(&format!("node-{n}"), spread).share(&object)).collect();
        assert!(shares.len() > 90 && shares.iter().all(|share| *share < spread));
        assert_eq!(Accelerate::new("a", spread).share(&object), Accelerate::new("a", spread).share(&object));
    }
}
