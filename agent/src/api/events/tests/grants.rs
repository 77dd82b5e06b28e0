//! What is said of grants of restarts in place.

use reloadlet_core::machine::event::RestartReport;
use reloadlet_core::model::restart::Grant;

use super::*;

fn restart(pod: &Arc<Pod>, until: u64, finding: Finding) -> Report {
    let grant = Grant::parse(&format!("00ff {until} app=aaaaaaaaaaaa,log=bbbbbbbbbbbb")).unwrap();
    let reason = finding.is_refusal().then_some("this is why".into());
    let took = Duration::from_secs(1);
    Report::Restart(Box::new(RestartReport { pod: pod.clone(), grant, finding, reason, took }))
}

#[tokio::test(start_paused = true)]
async fn an_event_about_a_grant_has_the_annotation_that_the_controller_reads_and_is_counted_into_no_other() {
    let (client, requests) = server(0);
    let mut speaker = Speaker::new(client, Speaks::of_node("node"));
    let web = pod("shop", 1);
    for (until, finding) in [(7, Finding::Current), (8, Finding::Current), (9, Finding::Old)] {
        let note = note(&restart(&web, until, finding)).unwrap();
        let Note { about, urgent, reason, text } = note;
        speaker.publish(&Saying { about, urgent, reason, text: text.text, once: text.once }).await.unwrap();
    }
    let requests = requests.lock().unwrap();
    let sent = requests.iter().map(|(method, event)| {
        let said = event["metadata"]["annotations"]["reloadlet.io/restart"].as_str().unwrap();
        let [kind, reason] = ["type", "reason"].map(|field| event[field].as_str().unwrap());
        (&**method, said, kind, reason)
    });
    let expected = [
        ("POST", "00ff 7 current", "Normal", "Restarted"),
        ("POST", "00ff 8 current", "Normal", "Restarted"),
        ("POST", "00ff 9 old", "Warning", "RestartFailed"),
    ];
    assert_eq!(sent.collect::<Vec<_>>(), expected);
    let names: std::collections::BTreeSet<&str> =
        requests.iter().map(|(_, event)| event["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 3);
}

#[test]
fn each_end_of_a_restart_has_its_reason_and_its_sentence() {
    for finding in Finding::ALL {
        let (urgent, reason, text) = said(&restart(&pod("shop", 1), 7, finding));
        let expected = match finding {
            Finding::Current | Finding::Unproved => "Restarted",
            Finding::Old | Finding::StillRuns => "RestartFailed",
            Finding::Unhandled
            | Finding::PreStop
            | Finding::NoRestart
            | Finding::NotFound
            | Finding::Denied
            | Finding::DryRun => "RestartRefused",
        };
        assert_eq!((urgent, reason), (true, expected), "{finding:?}");
        assert!(text.starts_with("Containers app, log were ") && text.ends_with('.'), "{text}");
        let says_why = finding.is_refusal() && finding != Finding::DryRun;
        assert_eq!(text.contains("this is why"), says_why, "{text}");
    }
}

#[test]
fn that_a_container_needs_a_restart_isnt_said_any_more_once_it_was_restarted() {
    let (web, now) = (pod("shop", 1), clock::now());
    // The last one is what a file of pods may call one.
    let all = ["app", "side", "app\nlog"];
    for (finding, said) in
        [(Finding::Current, vec!["app\nlog", "side"]), (Finding::Unhandled, vec!["app", "app\nlog", "side"])]
    {
        let mut unsaid = Unsaid::new(now);
        for container in all {
            unsaid.say(note(&needs_restart(1, container, "12", Way::Environment)).unwrap());
        }
        words::unsay(&restart(&web, 7, finding), &mut unsaid);
        let mut left = Vec::new();
        for minute in 1..5 {
            if let Some(saying) = unsaid.next(now + Duration::from_secs(60 * minute)) {
                let names = all.into_iter();
                left.extend(names.filter(|name| saying.text.contains(&format!("container {name} "))));
                unsaid.ended(false);
            }
        }
        left.sort_unstable();
        assert_eq!(left, said, "{finding:?}");
    }
}
