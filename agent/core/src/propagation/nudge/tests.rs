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
    let mut nudges =
        Nudges { tries: 10, state: State::Accepted(at(25_000)), wanted: Some(at(0)), pace: Pace::default() };
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
    let after: Vec<u64> = sent(changes, 300, 400_000).into_iter().filter(|sent| *sent > sent_last).collect();
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
