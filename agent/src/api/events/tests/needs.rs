//! What waits to be said of containers that need a restart, and isn't so any more.

use super::*;

fn needs(container: &str, version: &str, way: Way, certain: bool) -> Report {
    let mut report = needs_restart(1, container, version, way);
    if let Report::NeedsRestart { is_certain, .. } = &mut report {
        *is_certain = certain;
    }
    report
}

fn over(container: &str, way: Way) -> Report {
    Report::RestartNotNeeded {
        pod: pod("shop", 1),
        container: container.into(),
        object: ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: "web".into() },
        way,
    }
}

/// Has each of these heard, before anything is sent.
fn heard(reports: &[Report]) -> Unsaid {
    let mut unsaid = Unsaid::new(clock::now());
    for report in reports {
        words::unsay(report, &mut unsaid);
        note(report).into_iter().for_each(|note| assert!(!unsaid.say(note)));
    }
    unsaid
}

/// What is said in the end: for which reason, and what is told of it in a few words.
fn left(mut unsaid: Unsaid, words: &[&'static str]) -> Vec<(&'static str, Vec<&'static str>)> {
    let now = clock::now();
    let mut left = Vec::new();
    for minute in 1..8 {
        while let Some(saying) = unsaid.next(now + Duration::from_secs(60 * minute)) {
            let words = words.iter().copied().filter(|word| saying.text.contains(word));
            left.push((saying.reason, words.collect()));
            unsaid.ended(false);
        }
    }
    left.sort_unstable();
    left
}

const CERTAIN: &str = "ConfigNeedsRestart";
const UNSURE: &str = "ConfigMayNeedRestart";

#[test]
fn that_a_container_needs_a_restart_isnt_said_any_more_once_it_doesnt() {
    for (certain, reason) in [(true, CERTAIN), (false, UNSURE)] {
        let unsaid = heard(&[
            needs("app", "12", Way::Environment, certain),
            needs("app", "12", Way::SubPath, certain),
            needs("side", "12", Way::Environment, certain),
            over("app", Way::Environment),
        ]);
        let words = ["container app", "container side", "environment", "subPath"];
        let left = left(unsaid, &words);
        let expected = [vec!["container app", "subPath"], vec!["container side", "environment"]];
        assert_eq!(left, expected.map(|words| (reason, words)));
    }
}

#[test]
fn of_one_need_either_is_said_that_it_is_known_or_that_it_isnt() {
    let words = ["version 12", "version 13"];
    for (certain, reason) in [(true, CERTAIN), (false, UNSURE)] {
        let unsaid = heard(&[
            needs("app", "12", Way::Environment, !certain),
            needs("app", "13", Way::Environment, certain),
        ]);
        assert_eq!(left(unsaid, &words), [(reason, vec!["version 13"])]);
    }
    let unsaid =
        heard(&[needs("app", "12", Way::Environment, true), needs("app", "13", Way::SubPath, false)]);
    let others = [(UNSURE, vec!["version 13"]), (CERTAIN, vec!["version 12"])];
    assert_eq!(left(unsaid, &words), others, "they are two");
}

#[tokio::test(start_paused = true)]
async fn a_second_change_that_waits_isnt_said_after_the_container_has_started_anew() {
    let (client, requests) = server(0);
    let (notes, sender) = channel(Cluster::with_client(client), Speaks::of_node("node"));
    let sending = tokio::spawn(sender.run());
    notes.report(&needs("app", "12", Way::Environment, true));
    sent(&requests, 1).await;
    notes.report(&needs("app", "13", Way::Environment, true));
    assert!(notes.is_waiting(), "one a while is sent");
    notes.report(&over("app", Way::Environment));
    assert!(!notes.is_waiting());
    sending.abort();
}
