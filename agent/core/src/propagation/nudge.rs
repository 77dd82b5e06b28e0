//! Acceleration: when the kubelet is asked to look at a pod at once, and how often.
//!
//! A nudge that comes before the kubelet's own watch has the new version is worse than none: the kubelet finds nothing
//! new and starts its minute again. So after each nudge the disk decides, and the next one follows until it is right.

use std::time::Duration;

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
    fn an_object_that_changes_within_its_share_of_the_spread_is_nudged_for_all_the_same() {
        let mut nudges = Nudges::default();
        let share = Duration::from_secs(10);
        let sent = (0..20_000).step_by(3000).find(|now| nudges.next(at(*now), Some((at(*now), share))).send);
        assert_eq!(sent, Some(12_000), "the first one after the share of the first change");
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
        let mut nudges = Nudges {
            tries: 10,
            state: State::Accepted(at(25_000)),
            wanted: Some(at(0)),
            pace: Pace::default(),
        };
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

    /// When nudges are sent, if versions are seen at these times, each on disk so long after the nudge that finds it.
    fn sent(seen: impl IntoIterator<Item = u64>, on_disk: u64, until: u64) -> Vec<u64> {
        let seen: Vec<u64> = seen.into_iter().collect();
        let (mut nudges, mut sent, mut published) = (Nudges::default(), Vec::new(), None);
        let mut publication = None;
        for now in 0..until {
            if let Some((version, _)) = publication.take_if(|(_, when)| *when <= now) {
                published = Some(version);
            }
            let newest = seen.partition_point(|seen| *seen <= now).checked_sub(1).map(|place| seen[place]);
            let lagging = newest.filter(|newest| published.is_none_or(|published| published < *newest));
            if nudges.next(at(now), lagging.and_then(waiting)).send {
                sent.push(now);
                publication = newest.map(|newest| (newest, now + on_disk));
                nudges.answered(NudgeAnswer::Accepted, at(now));
            }
        }
        sent
    }

    #[test]
    fn a_few_changes_are_nudged_for_at_once() {
        let seen = [1_000, 2_000, 3_500, 9_000];
        assert_eq!(sent(seen, 300, 60_000), seen);
    }

    #[test]
    fn what_changes_each_ten_seconds_is_nudged_for_at_once() {
        let seen: Vec<u64> = (0..60).map(|n| 1_000 + n * 10_000).collect();
        assert_eq!(sent(seen.clone(), 300, 600_000), seen);
    }

    #[test]
    fn a_pod_whose_objects_change_again_and_again_is_nudged_less_and_less() {
        for (each, on_disk) in [(22, 300), (22, 5_000), (2_000, 300), (9_999, 300)] {
            let sent = sent((1_000..600_000).step_by(each), on_disk, 600_000);
            let gaps: Vec<u64> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let at_rest = gaps.iter().position(|gap| *gap >= 60_000).unwrap_or(gaps.len());
            // Five changes, ten seconds apart, and the pauses from 1 s to 32 s.
            assert!(sent[at_rest] <= 1_000 + 50_000 + 63_000, "each {each} ms: {sent:?}");
            assert!(gaps[at_rest..].iter().all(|gap| *gap >= 60_000), "each {each} ms: {gaps:?}");
            let last = sent.last().unwrap();
            assert!(600_000 - last <= 60_000 + 10_000, "each {each} ms, and not lost: {last}");
        }
    }

    #[test]
    fn the_pause_grows_from_a_second_to_a_minute() {
        let gaps: Vec<u64> =
            sent((0..400_000).step_by(20), 1, 400_000).windows(2).map(|pair| pair[1] - pair[0]).collect();
        let growing = gaps.iter().position(|gap| *gap >= 1_000).unwrap();
        assert_eq!(
            gaps[growing..],
            [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000, 60_000]
        );
    }

    #[test]
    fn the_newest_is_nudged_for_at_the_end_of_the_pause_or_after_a_minute_without_a_change() {
        let changes = (0..100_000).step_by(500);
        let sent_last = *sent(changes.clone(), 300, 100_000).last().unwrap();
        let after: Vec<u64> =
            sent(changes, 300, 400_000).into_iter().filter(|sent| *sent > sent_last).collect();
        assert_eq!(after, [(sent_last + 60_000).min(99_500 + 60_000)]);
    }

    #[test]
    fn after_a_minute_without_a_change_all_is_as_it_was() {
        let calm = 100_000 + 60_000;
        let changes = (0..100_000).step_by(500).chain([calm, calm + 1_000, calm + 2_000]);
        let after: Vec<u64> = sent(changes, 300, 200_000).into_iter().filter(|sent| *sent >= calm).collect();
        assert_eq!(after, [calm, calm + 1_000, calm + 2_000]);
    }

    #[test]
    fn what_isnt_sent_makes_no_pause() {
        let mut nudges = Nudges::default();
        for n in 0..10 {
            nudges.next(at(n * 100), waiting(n * 100));
            nudges.answered(NudgeAnswer::OverBudget, at(n * 100));
        }
        assert_eq!(nudges.pace.from(), Time::default());
    }

    #[test]
    fn what_is_stopped_and_begun_anew_keeps_its_pace() {
        let mut nudges = Nudges::default();
        for n in 0..10 {
            nudges.next(at(n * 100), waiting(n * 100));
            nudges.answered(NudgeAnswer::Accepted, at(n * 100));
        }
        let from = nudges.pace.from();
        assert!(from > at(900));
        nudges.stop();
        assert_eq!(nudges.pace.from(), from);
        assert_eq!(Nudges::with_pace(nudges.pace()).pace.from(), from);
    }

    #[test]
    fn nodes_have_shares_of_their_own_that_stay_the_same() {
        use crate::model::object::ObjectKind;
        let object = ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: "a".into() };
        let spread = Duration::from_secs(10);
        let shares: std::collections::BTreeSet<Duration> =
            (0..100).map(|n| Accelerate::new(&format!("node-{n}"), spread).share(&object)).collect();
        assert!(shares.len() > 90 && shares.iter().all(|share| *share < spread));
        assert_eq!(Accelerate::new("a", spread).share(&object), Accelerate::new("a", spread).share(&object));
    }
}
