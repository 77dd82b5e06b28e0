use super::*;
use crate::model::names::ContainerId;

fn at(seconds: u64) -> Time {
    Time::since_boot(Duration::from_secs(seconds))
}

fn instance(c: char) -> Instance {
    Instance::of(&ContainerId::parse(&c.to_string().repeat(64)).unwrap())
}

fn container(name: &str, c: char, restarts: u32) -> PodContainer {
    PodContainer {
        name: name.into(),
        kind: ContainerKind::Regular,
        since: Some(at(100)),
        instance: Some(instance(c)),
        restarts,
        obstacle: None,
    }
}

fn pod(name: &str, containers: Vec<PodContainer>) -> Pod {
    let uid = format!("uid-{name}");
    Pod {
        name: name.into(),
        uid: uid.as_str().into(),
        is_ready: true,
        grace: Duration::from_secs(20),
        containers,
        ..Pod::default()
    }
}

const TIMES: Times = Times { min_ready: Duration::from_secs(15), limit: Duration::from_secs(300) };

/// A pod with the containers `app` and `log`, which were both granted a restart at 1,000.
fn granted(needs_proof: bool) -> (Pod, Watched) {
    let pod = pod("web", vec![container("app", 'a', 3), container("log", 'b', 0)]);
    let all: Vec<&PodContainer> = pod.containers.iter().collect();
    let restart = restart(&pod, &all, &"00ff".into(), at(1_000));
    let watched = Watched::new(&restart, Some(&pod), needs_proof, at(1_000));
    (pod.clone(), watched)
}

fn said(finding: Finding) -> Said {
    Said { marker: "00ff".into(), until: 1_060, finding }
}

fn restarted(pod: &Pod) -> Pod {
    let mut pod = pod.clone();
    pod.containers[0] = container("app", 'c', 4);
    pod.containers[1] = container("log", 'd', 1);
    pod
}

#[test]
fn a_pod_is_done_when_all_that_was_granted_is_another_one_and_has_been_ready_for_long_enough() {
    let (before, mut watched) = granted(false);
    let goes = |second: u64| Course::Goes(at(second + 2));
    assert_eq!(watched.take(Some(&before), &[], TIMES, at(1_001)), goes(1_001));
    let mut one = restarted(&before);
    one.containers[1] = before.containers[1].clone();
    assert_eq!(watched.take(Some(&one), &[], TIMES, at(1_003)), goes(1_003), "log hasn't ended");
    let mut pod = restarted(&before);
    pod.is_ready = false;
    assert_eq!(watched.take(Some(&pod), &[], TIMES, at(1_005)), goes(1_005));
    pod.is_ready = true;
    assert_eq!(watched.take(Some(&pod), &[], TIMES, at(1_010)), goes(1_010));
    assert_eq!(watched.take(Some(&pod), &[], TIMES, at(1_024)), goes(1_024));
    // It has ended once more.
    pod.containers[0] = container("app", 'e', 5);
    assert_eq!(watched.take(Some(&pod), &[], TIMES, at(1_026)), goes(1_026));
    assert_eq!(watched.take(Some(&pod), &[], TIMES, at(1_040)), goes(1_040));
    assert_eq!(watched.take(Some(&pod), &[], TIMES, at(1_041)), Course::Done);
    let (before, mut watched) = granted(false);
    let other = Pod { uid: "another".into(), ..before };
    assert_eq!(watched.take(Some(&other), &[], TIMES, at(1_001)), Course::Done);
    assert_eq!(watched.take(None, &[], TIMES, at(1_001)), Course::Done);
}

#[test]
fn one_that_is_ready_for_less_than_ten_seconds_isnt_done_whatever_the_workload_says() {
    let times = Times { min_ready: Duration::ZERO, ..TIMES };
    let (before, mut watched) = granted(false);
    let pod = restarted(&before);
    assert_eq!(watched.take(Some(&pod), &[], times, at(1_005)), Course::Goes(at(1_007)));
    assert_eq!(watched.take(Some(&pod), &[], times, at(1_014)), Course::Goes(at(1_016)));
    assert_eq!(watched.take(Some(&pod), &[], times, at(1_015)), Course::Done);
}

#[test]
fn a_pod_with_a_part_of_a_volume_is_done_when_its_agent_has_seen_what_that_shows() {
    let done = |said: &[Said], second| {
        let (before, mut watched) = granted(true);
        let pod = restarted(&before);
        watched.take(Some(&pod), said, TIMES, at(1_005));
        watched.take(Some(&pod), said, TIMES, at(second))
    };
    assert_eq!(done(&[said(Finding::Current)], 1_020), Course::Done);
    assert_eq!(done(&[], 1_020), Course::Goes(at(1_022)));
    assert_eq!(done(&[], 1_300), Course::Stuck(Obstacle::Unproved));
    for finding in [Finding::Old, Finding::Unproved] {
        assert_eq!(done(&[said(finding)], 1_020), Course::Stuck(Obstacle::Unproved));
    }
    let other = Said { until: 1_059, ..said(Finding::Current) };
    assert_eq!(done(&[other], 1_020), Course::Goes(at(1_022)), "that was another grant");
    assert_eq!(done(&[said(Finding::Old), said(Finding::Current)], 1_020), Course::Done, "the last counts");
}

#[test]
fn what_an_agent_refuses_is_known_at_once_and_where_there_is_none_after_a_while() {
    for (finding, obstacle) in [
        (Finding::Unhandled, Obstacle::Unhandled),
        (Finding::PreStop, Obstacle::PreStop),
        (Finding::NoRestart, Obstacle::NoRestart),
        (Finding::NotFound, Obstacle::NotFound),
        (Finding::Denied, Obstacle::Denied),
        (Finding::DryRun, Obstacle::DryRun),
        (Finding::StillRuns, Obstacle::StillRuns),
    ] {
        let (pod, mut watched) = granted(false);
        let course = watched.take(Some(&pod), &[said(finding)], TIMES, at(1_001));
        assert_eq!(course, Course::Stuck(obstacle));
    }
    // A minute to take it up, 20 s to end, 30 s to say so.
    let (pod, mut watched) = granted(false);
    assert_eq!(watched.take(Some(&pod), &[], TIMES, at(1_109)), Course::Goes(at(1_111)));
    assert_eq!(watched.take(Some(&pod), &[], TIMES, at(1_110)), Course::Stuck(Obstacle::Unanswered));
    let mut one = restarted(&pod);
    one.containers[1] = pod.containers[1].clone();
    assert_eq!(watched.take(Some(&one), &[], TIMES, at(1_110)), Course::Failed, "one of two has ended");
}

#[test]
fn who_starts_again_and_again_or_isnt_ready_in_time_has_failed() {
    let (before, mut watched) = granted(false);
    let mut pod = restarted(&before);
    pod.is_ready = false;
    pod.containers[0].restarts = 5;
    assert_eq!(watched.take(Some(&pod), &[], TIMES, at(1_010)), Course::Goes(at(1_012)));
    pod.containers[0].restarts = 6;
    for is_ready in [false, true] {
        let pod = Pod { is_ready, ..pod.clone() };
        let course = watched.take(Some(&pod), &[], TIMES, at(1_020));
        assert_eq!(course, Course::Failed, "twice more than was meant");
    }
    pod.containers[0].restarts = 4;
    assert_eq!(watched.take(Some(&pod), &[], TIMES, at(1_299)), Course::Goes(at(1_301)));
    assert_eq!(watched.take(Some(&pod), &[], TIMES, at(1_300)), Course::Failed);
    // Of one that somebody else has granted a restart it isn't known how often it was started before.
    let grant = Grant::parse("00ff 1060 app=aaaaaaaaaaaa,log=bbbbbbbbbbbb").unwrap();
    let mut again = Watched::again(&pod, &grant, false, at(1_100));
    assert_eq!(again.take(Some(&pod), &[], TIMES, at(1_100)), Course::Goes(at(1_102)));
    pod.containers[0].restarts = 6;
    assert_eq!(again.take(Some(&pod), &[], TIMES, at(1_102)), Course::Failed);
    let late = Grant { until: 999_999_999, ..grant };
    let mut again = Watched::again(&before, &late, false, at(1_100));
    let course = again.take(Some(&before), &[], TIMES, at(1_210));
    assert_eq!(course, Course::Stuck(Obstacle::Unanswered), "whatever time somebody writes into a grant");
}

fn stale(pod: &Pod) -> Stale<'_> {
    (pod, pod.containers.iter().map(|container| (&container.name, container)).collect())
}

fn whose(
    pods: &[&Pod],
    before: Option<&str>,
    refusals: &Refusals,
    is_exact: bool,
) -> Result<String, Obstacle> {
    let all = pods.iter().map(|pod| stale(pod)).collect();
    match turn(all, before.map(Name::from).as_ref(), refusals, is_exact, at(1_000)).unwrap() {
        Turn::Of(pod, _) => Ok(pod.name.to_string()),
        Turn::Nobody(obstacle, _) => Err(obstacle),
    }
}

#[test]
fn whose_turn_it_was_it_is_then_who_isnt_ready_then_the_highest_ordinal() {
    let none = Refusals::default();
    let with = |name: &str, ordinal, is_ready| Pod {
        ordinal: Some(ordinal),
        is_ready,
        ..pod(name, vec![container("app", 'a', 0)])
    };
    let (low, high, broken) = (with("db-1", 1, true), with("db-11", 11, true), with("db-0", 0, false));
    let all = [&low, &high, &broken];
    assert_eq!(whose(&all, Some("uid-db-1"), &none, false), Ok("db-1".into()));
    assert_eq!(whose(&all, None, &none, false), Ok("db-0".into()));
    assert_eq!(whose(&[&low, &high], None, &none, false), Ok("db-11".into()));
    assert_eq!(whose(&[&low, &high], Some("uid-gone"), &none, false), Ok("db-11".into()));
}

#[test]
fn something_against_one_pod_stops_that_one_or_all_where_new_ones_are_asked_for() {
    let none = Refusals::default();
    let good = pod("good", vec![container("app", 'a', 0)]);
    let with = |change: &dyn Fn(&mut PodContainer)| {
        let mut one = container("app", 'b', 0);
        change(&mut one);
        pod("a-bad", vec![one])
    };
    let recent = |restarts, since| with(&|one| (one.restarts, one.since) = (restarts, Some(at(since))));
    let many: Vec<PodContainer> =
        (0..=MOST_CONTAINERS).map(|n| container(&format!("c{n}"), 'c', 0)).collect();
    for (bad, obstacle) in [
        (with(&|one| one.obstacle = Some(Obstacle::PreStop)), Obstacle::PreStop),
        (with(&|one| one.kind = ContainerKind::Init), Obstacle::Init),
        (recent(1, 400), Obstacle::Recent),
        (pod("a-bad", many), Obstacle::TooMany),
    ] {
        assert_eq!(whose(&[&bad, &good], None, &none, false), Ok("good".into()), "{obstacle:?}");
        assert_eq!(whose(&[&bad, &good], None, &none, true), Err(obstacle));
        assert_eq!(whose(&[&bad], None, &none, false), Err(obstacle));
    }
    for fine in [recent(0, 999), recent(1, 390), with(&|one| one.kind = ContainerKind::Sidecar)] {
        assert_eq!(whose(&[&fine], None, &none, false), Ok("a-bad".into()));
    }
    let broken = Pod { is_ready: false, ..recent(1, 999) };
    assert_eq!(whose(&[&broken], None, &none, false), Ok("a-bad".into()), "it has nothing to lose");
}

#[test]
fn what_was_refused_is_left_alone_for_an_hour_or_until_it_is_another_one() {
    let one = pod("one", vec![container("app", 'a', 0)]);
    let containers: Vec<&PodContainer> = one.containers.iter().collect();
    let watched = Watched::new(&restart(&one, &containers, &"00ff".into(), at(0)), None, false, at(0));
    let mut refusals = Refusals::default();
    refusals.note(&watched, Obstacle::Unhandled, at(900));
    assert_eq!(whose(&[&one], None, &refusals, false), Err(Obstacle::Unhandled));
    let other = pod("one", vec![container("app", 'b', 0)]);
    assert_eq!(whose(&[&other], None, &refusals, false), Ok("one".into()));
    let late = turn(vec![stale(&one)], None, &refusals, false, at(900 + 3_600));
    assert!(matches!(late, Some(Turn::Of(..))), "{late:?}");
}

#[test]
fn who_has_failed_is_steady_once_all_of_its_containers_have_run_for_a_minute() {
    let mut one = pod("one", vec![container("app", 'a', 4), container("log", 'b', 1)]);
    one.containers[1].since = Some(at(130));
    assert_eq!(is_unsteady(&one, at(150)), Some(at(190)));
    assert_eq!(is_unsteady(&one, at(190)), None);
    one.containers[0].since = None;
    assert_eq!(is_unsteady(&one, at(190)), Some(at(250)));
}
