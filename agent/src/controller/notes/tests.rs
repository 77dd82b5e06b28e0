use reloadlet_core::Time;
use reloadlet_core::model::closed::Closed as _;
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::policy::problem::{Problem, ProblemKind};
use reloadlet_core::policy::reloader::Telling;
use reloadlet_core::rollouts::workload::Kind;

use super::*;

fn web(n: u32) -> About {
    let who = WorkloadRef {
        kind: Kind::StatefulSet,
        namespace: "shop".into(),
        name: format!("web-{n}").as_str().into(),
    };
    about(&who, &format!("uid-{n}").as_str().into())
}

fn problems(sentences: &[&str]) -> Report {
    Report::Problems(
        sentences.iter().map(|sentence| Problem::new(ProblemKind::BadValue, *sentence)).collect(),
    )
}

fn started() -> Report {
    Report::Started(vec![(ObjectKind::ConfigMap, "app".into()), (ObjectKind::Secret, "db".into())])
}

/// What is sent after these reports: whether it is urgent, its reason and its text.
fn said(reports: &[Report]) -> Vec<(bool, &'static str, String)> {
    let (about, mut unsaid) = (web(1), Unsaid::new(Time::default()));
    for report in reports {
        unsay(&about, report, &mut unsaid);
        for note in of(&about, report) {
            unsaid.say(note);
        }
    }
    let each = std::iter::from_fn(|| {
        let saying = unsaid.next(Time::default())?;
        unsaid.ended(false);
        assert_eq!(saying.about, about);
        Some((saying.urgent, saying.reason, saying.text))
    });
    each.collect()
}

fn one(report: Report) -> (bool, &'static str, String) {
    said(&[report]).pop().unwrap()
}

#[test]
fn an_event_is_on_the_workload_that_is_meant() {
    let expected = About {
        kind: "StatefulSet",
        api_version: "apps/v1",
        uid: "uid-1".into(),
        namespace: "shop".into(),
        name: "web-1".into(),
    };
    assert_eq!(web(1), expected);
}

#[test]
fn each_step_of_a_roll_has_an_event_with_its_reason() {
    assert_eq!(
        one(started()),
        (false, "RollStarted", "A roll has begun: ConfigMap app and Secret db have changed.".to_owned())
    );
    let alone = one(Report::Started(vec![(ObjectKind::Secret, "db".into())]));
    assert_eq!(alone.2, "A roll has begun: Secret db has changed.");
    let finished = one(Report::Finished);
    assert_eq!((finished.0, finished.1), (false, "RollFinished"));
    let emptied = one(Report::Emptied);
    assert!(
        !emptied.0 && emptied.1 == "RollFinished" && emptied.2.contains("no pods any more"),
        "{emptied:?}"
    );
    let failed = one(Report::Failed);
    assert!(failed.0 && failed.1 == "RollFailed" && failed.2.contains("left as they are"), "{failed:?}");
    let undone = one(Report::Undone);
    assert!(!undone.0 && undone.1 == "RollUndone" && undone.2.contains("isn't fought"), "{undone:?}");
    let stale = one(Report::Stale(Telling::Paused));
    assert!(stale.0 && stale.1 == "ConfigStale" && stale.2.contains("as it is paused"), "{stale:?}");
    assert_eq!(
        said(&[problems(&["window is bad", "wave is bad"])]),
        [(true, "RollProblem", "window is bad; wave is bad".to_owned())]
    );
}

#[test]
fn of_waits_those_are_events_that_a_person_can_end_or_that_last() {
    let events: Vec<&str> = Wait::ALL
        .into_iter()
        .filter(|wait| !said(&[Report::Waits(*wait)]).is_empty())
        .map(|wait| wait.word())
        .collect();
    assert_eq!(events, ["held", "window", "flapping", "failed", "unavailable", "disruption"]);
    for (wait, urgent) in [(Wait::Held, false), (Wait::Flapping, true), (Wait::Failed, true)] {
        let expected = (urgent, "RollHeld", words::wait(wait).to_owned());
        assert_eq!(one(Report::Waits(wait)), expected);
    }
}

#[test]
fn a_refusal_is_shown_without_what_a_terminal_obeys_and_cut() {
    let (urgent, reason, text) = one(Report::Refused(format!(" no\u{1b}[31m {}", "ü".repeat(900))));
    assert!(urgent && reason == "RollRefused");
    assert!(text.contains(": no\\u{1b}[31m ü") && text.ends_with("ü…"), "{text}");
    assert!(text.len() < 1024, "{}", text.len());
    assert!(one(Report::Refused("quota".to_owned())).2.ends_with(": quota"));
}

#[test]
fn what_isnt_true_any_more_isnt_said() {
    let reasons =
        |reports: &[Report]| said(reports).into_iter().map(|(_, reason, _)| reason).collect::<Vec<_>>();
    let (held, failed) = (Report::Waits(Wait::Held), Report::Failed);
    assert_eq!(reasons(&[problems(&["bad"]), held.clone(), started()]), ["RollStarted"]);
    assert_eq!(reasons(&[failed.clone(), Report::Finished]), ["RollFinished"]);
    assert_eq!(reasons(&[Report::Stale(Telling::Paused), held.clone()]), ["RollHeld"]);
    assert_eq!(reasons(&[held.clone(), Report::Refused("no".to_owned())]), ["RollRefused"]);
    assert_eq!(reasons(&[held.clone(), Report::Waits(Wait::Interval)]), Vec::<&str>::new());
    let waits = said(&[Report::Waits(Wait::Failed), held]);
    assert_eq!(waits, [(false, "RollHeld", words::wait(Wait::Held).to_owned())], "the newest one alone");
    assert_eq!(
        said(&[problems(&["window is bad", "wave is bad"]), problems(&["wave is bad"])]),
        [(true, "RollProblem", "wave is bad".to_owned())]
    );
    assert_eq!(reasons(&[problems(&["bad"]), problems(&[])]), Vec::<&str>::new(), "it is mended");
    assert_eq!(reasons(&[failed, Report::Waits(Wait::Interval)]), ["RollFailed"], "it stays true");
}

#[test]
fn anothers_event_stays() {
    let mut unsaid = Unsaid::new(Time::default());
    for n in [1, 2] {
        for note in of(&web(n), &Report::Failed) {
            assert!(!unsaid.say(note), "nothing is given up");
        }
    }
    unsay(&web(1), &started(), &mut unsaid);
    assert_eq!(unsaid.next(Time::default()).unwrap().about, web(2));
}

#[test]
fn what_cant_be_done_is_a_matter_of_the_log_and_of_no_event() {
    for wait in [Wait::State, Wait::Pods, Wait::Objects] {
        let report = Report::Blocked(wait, "it answers 403 Forbidden".to_owned());
        assert_eq!(said(std::slice::from_ref(&report)), []);
        assert!(is_urgent(&report));
        assert_eq!(text(&report), format!("{} The last try: it answers 403 Forbidden", words::wait(wait)));
    }
}
