use std::time::Duration;

use reloadlet_core::model::restart::Finding;

use super::*;
use crate::api::testing;

fn at(seconds: u64) -> Time {
    Time::since_boot(Duration::from_secs(seconds))
}

fn pod(namespace: &str, n: u32) -> Pod {
    testing::pod(namespace, &format!("pod-{n}"), &format!("{n:08x}"))
}

fn problem(pod: &Pod, text: &str) -> Note {
    let text = Text { container: None, text: text.to_owned(), once: None };
    Note { about: pod.into(), urgent: true, reason: "ReloadProblem", text }
}

fn of_container(pod: &Pod, reason: &'static str, container: &str, text: &str) -> Note {
    let text = Text { container: Some(container.into()), text: text.to_owned(), once: None };
    Note { about: pod.into(), urgent: reason != "SignalSent", reason, text }
}

/// What is sent at this time, if all of it is taken.
fn sent(unsaid: &mut Unsaid, now: Time) -> Vec<(String, String)> {
    let each = std::iter::from_fn(|| {
        let saying = unsaid.next(now)?;
        unsaid.ended(false);
        Some((saying.about.name.to_string(), saying.text))
    });
    each.collect()
}

/// The same each second.
fn sent_from(unsaid: &mut Unsaid, from: u64, to: u64) -> Vec<(u64, String, String)> {
    let each = (from..to).flat_map(|now| {
        sent(unsaid, at(now)).into_iter().map(move |(name, text)| (now, name, text)).collect::<Vec<_>>()
    });
    each.collect()
}

#[test]
fn anothers_first_problem_is_said_at_once_and_all_of_the_loud_one_in_the_end() {
    let mut unsaid = Unsaid::new(at(0));
    for n in 0..60 {
        unsaid.say(problem(&pod("loud", n), "bad"));
    }
    let first = sent(&mut unsaid, at(0));
    assert_eq!(first.len(), 25);
    unsaid.say(problem(&pod("quiet", 100), "bad as well"));
    assert_eq!(sent(&mut unsaid, at(1)), [("pod-100".to_owned(), "bad as well".to_owned())]);
    let later = sent_from(&mut unsaid, 2, 400);
    assert_eq!(first.len() + later.len(), 60, "each once");
    assert!(!unsaid.is_waiting());
}

#[test]
fn whatever_one_namespace_queues_another_gets_in_and_has_the_next_turn() {
    let mut unsaid = Unsaid::new(at(0));
    let mut given_up = 0;
    for n in 0..2000 {
        given_up += usize::from(unsaid.say(problem(&pod("loud", n), "bad")));
    }
    assert_eq!(given_up, 2000 - WAITING);
    unsaid.say(problem(&pod("quiet", 10_000), "bad as well"));
    let order: Vec<String> = sent(&mut unsaid, at(0)).into_iter().map(|(name, _)| name).collect();
    assert!(order[..2].contains(&"pod-10000".to_owned()), "{order:?}");
}

#[test]
fn a_problem_that_waits_has_its_newest_text_and_isnt_said_once_it_is_solved_or_the_pod_is_gone() {
    let mut unsaid = Unsaid::new(at(0));
    for n in 0..25 {
        unsaid.say(problem(&pod("shop", n), "bad"));
    }
    assert_eq!(sent(&mut unsaid, at(0)).len(), 25);
    let [failing, solved, gone] = [100, 101, 102].map(|n| pod("shop", n));
    unsaid.say(of_container(&failing, "ReloadFailed", "app", "old"));
    unsaid.say(of_container(&failing, "ReloadFailed", "app", "new"));
    unsaid.say(problem(&solved, "solved"));
    unsaid.say(problem(&gone, "gone"));
    unsaid.unsay(&(&solved).into(), &["ReloadProblem"], |_| true);
    unsaid.forget(&(&gone).into());
    let later = sent_from(&mut unsaid, 1, 300);
    let [(_, name, text)] = &later[..] else { panic!("{later:?}") };
    assert_eq!((&**name, &**text), ("pod-100", "new (and 1 more since the last one)"));
}

#[test]
fn no_problem_of_a_pod_hides_another() {
    let mut unsaid = Unsaid::new(at(0));
    let bad = pod("shop", 1);
    for text in ["first", "second", "first"] {
        unsaid.say(problem(&bad, text));
    }
    unsaid.say(of_container(&bad, "ReloadFailed", "app", "One failed."));
    unsaid.say(of_container(&bad, "ReloadFailed", "sidecar", "Two failed."));
    let texts: Vec<String> = sent(&mut unsaid, at(0)).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["first; second (and 1 more since the last one)", "One failed. Two failed."]);

    // One that comes later is said later.
    unsaid.say(problem(&bad, "third"));
    assert_eq!(sent(&mut unsaid, at(29)), []);
    assert_eq!(sent(&mut unsaid, at(30)), [("pod-1".to_owned(), "third".to_owned())]);
}

#[test]
fn what_doesnt_fit_into_one_event_comes_with_the_next_and_one_of_several_can_be_mended() {
    let mut unsaid = Unsaid::new(at(0));
    let bad = pod("shop", 1);
    let texts: Vec<String> = ["a", "b", "c", "d"].map(|letter| letter.repeat(400)).to_vec();
    for text in &texts {
        unsaid.say(problem(&bad, text));
    }
    assert_eq!(sent(&mut unsaid, at(0)), [("pod-1".to_owned(), format!("{}; {}", texts[0], texts[1]))]);
    unsaid.unsay(&(&bad).into(), &["ReloadProblem"], |text| text.text == texts[2]);
    assert_eq!(sent(&mut unsaid, at(29)), []);
    assert_eq!(sent(&mut unsaid, at(30)), [("pod-1".to_owned(), texts[3].clone())]);
}

#[test]
fn an_event_is_never_longer_than_the_api_server_takes() {
    let mut unsaid = Unsaid::new(at(0));
    let bad = pod("shop", 1);
    for n in 0..1000 {
        unsaid.say(problem(&bad, &format!("{n}{}", "ü".repeat(2000))));
    }
    let said = sent_from(&mut unsaid, 0, 100_000);
    assert_eq!(said.len(), TEXTS, "and the others are counted");
    assert!(said.iter().all(|(_, _, text)| text.len() <= EVENT_BYTES && text.contains('…')));
    assert!(said[0].2.ends_with("(and 984 more since the last one)"), "{}", said[0].2);
}

#[test]
fn that_a_reload_went_well_doesnt_wait_and_is_counted() {
    let mut unsaid = Unsaid::new(at(0));
    let one = pod("shop", 1);
    let say = |unsaid: &mut Unsaid| unsaid.say(of_container(&one, "SignalSent", "app", "told"));
    say(&mut unsaid);
    assert_eq!(sent(&mut unsaid, at(0)).len(), 1);
    for second in 1..4 {
        say(&mut unsaid);
        assert_eq!(sent(&mut unsaid, at(second)), []);
        assert!(!unsaid.is_waiting());
    }
    say(&mut unsaid);
    let counted = "told (and 3 more since the last one)".to_owned();
    assert_eq!(sent(&mut unsaid, at(31)), [("pod-1".to_owned(), counted)]);
}

#[test]
fn what_couldnt_be_sent_keeps_what_it_counted() {
    for (urgent, reason) in [(false, "SignalSent"), (true, "ReloadFailed")] {
        let mut unsaid = Unsaid::new(at(0));
        let one = pod("shop", 1);
        let say = |unsaid: &mut Unsaid| {
            let text = Text { container: Some("app".into()), text: "told".to_owned(), once: None };
            unsaid.say(Note { about: About::from(&one), urgent, reason, text })
        };
        say(&mut unsaid);
        assert_eq!(sent(&mut unsaid, at(0)).len(), 1);
        // Two are held back, or fold into one that waits.
        say(&mut unsaid);
        assert_eq!(sent(&mut unsaid, at(1)), []);
        say(&mut unsaid);
        assert_eq!(sent(&mut unsaid, at(2)), []);
        say(&mut unsaid);
        assert!(unsaid.next(at(31)).is_some());
        unsaid.ended(true);
        say(&mut unsaid);
        let counted = "told (and 3 more since the last one)".to_owned();
        assert_eq!(sent(&mut unsaid, at(62)), [("pod-1".to_owned(), counted)], "{reason}");
    }
}

#[test]
fn a_problem_that_couldnt_be_sent_waits_again_unless_it_is_solved_meanwhile() {
    let mut unsaid = Unsaid::new(at(0));
    let bad = pod("shop", 1);
    unsaid.say(problem(&bad, "bad"));
    assert_eq!(unsaid.next(at(0)).unwrap().text, "bad");
    unsaid.say(problem(&bad, "worse"));
    unsaid.ended(true);
    assert_eq!(sent(&mut unsaid, at(30)), [("pod-1".to_owned(), "bad; worse".to_owned())]);

    unsaid.say(problem(&bad, "bad"));
    assert_eq!(unsaid.next(at(60)).unwrap().text, "bad");
    unsaid.unsay(&(&bad).into(), &["ReloadProblem"], |_| true);
    unsaid.ended(true);
    assert!(!unsaid.is_waiting());
}

#[test]
fn what_is_said_of_a_grant_waits_for_its_turn_whatever_else_is_said_of_the_pod() {
    let mut unsaid = Unsaid::new(at(0));
    for n in 0..60 {
        unsaid.say(problem(&pod("shop", n), "bad"));
    }
    let web = pod("shop", 1);
    for n in 0..40 {
        unsaid.say(problem(&web, &format!("{n} is bad")));
    }
    for until in [7, 8] {
        let said = Said { marker: "00ff".into(), until, finding: Finding::Current };
        let once = Once { name: format!("{until}"), about: format!("{until}"), said: Some(said) };
        let text = Text { container: None, text: format!("restarted {until}"), once: Some(once) };
        unsaid.say(Note { about: (&web).into(), urgent: true, reason: "Restarted", text });
    }
    // The others have used up what there is.
    let now = sent(&mut unsaid, at(0));
    assert!(now.iter().any(|(_, text)| text == "restarted 7"), "{now:?}");
    let later = sent_from(&mut unsaid, 1, 1_000).into_iter().map(|(_, pod, text)| (pod, text));
    let sent: Vec<(String, String)> = now.into_iter().chain(later).collect();
    let restarts: Vec<&str> =
        sent.iter().filter(|(.., text)| text.starts_with("restarted")).map(|(.., text)| &**text).collect();
    assert_eq!(restarts, ["restarted 7", "restarted 8"], "each by itself");
}

/// When each is tried in these seconds, if none is taken.
fn refused(unsaid: &mut Unsaid, from: u64, to: u64) -> Vec<(u64, String)> {
    let mut tried = Vec::new();
    for now in from..to {
        while let Some(saying) = unsaid.next(at(now)) {
            unsaid.refused(&saying, false, at(now));
            tried.push((now, saying.text));
        }
    }
    tried
}

#[test]
fn a_warning_that_is_refused_is_tried_more_and_more_rarely_as_long_as_it_is_true() {
    let mut unsaid = Unsaid::new(at(0));
    let bad = pod("full", 1);
    unsaid.say(problem(&bad, "bad"));
    let tried: Vec<u64> = refused(&mut unsaid, 0, 2_000).into_iter().map(|(now, _)| now).collect();
    assert_eq!(tried, [0, 30, 90, 210, 450, 930, 1410, 1890]);
    unsaid.say(problem(&bad, "worse"));
    unsaid.say(problem(&pod("shop", 2), "as bad"));
    assert_eq!(sent(&mut unsaid, at(2_000)), [("pod-2".to_owned(), "as bad".to_owned())]);
    assert_eq!(sent(&mut unsaid, at(2_369)), []);
    assert_eq!(sent(&mut unsaid, at(2_370)), [("pod-1".to_owned(), "bad; worse".to_owned())]);

    unsaid.say(problem(&bad, "bad again"));
    assert_eq!(refused(&mut unsaid, 2_400, 2_401).len(), 1);
    unsaid.unsay(&(&bad).into(), &["ReloadProblem"], |_| true);
    assert!(!unsaid.is_waiting(), "it is mended meanwhile");
    unsaid.say(problem(&bad, "bad once more"));
    let saying = unsaid.next(at(2_430)).unwrap();
    unsaid.unsay(&(&bad).into(), &["ReloadProblem"], |_| true);
    unsaid.refused(&saying, false, at(2_430));
    assert!(!unsaid.is_waiting(), "it was mended while it was tried");
}

#[test]
fn what_is_said_of_a_grant_is_tried_again_where_it_is_refused() {
    let mut unsaid = Unsaid::new(at(0));
    let said = Said { marker: "00ff".into(), until: 7, finding: Finding::Current };
    let once = Once { name: "name".to_owned(), about: "about".to_owned(), said: Some(said) };
    let text = Text { container: None, text: "restarted".to_owned(), once: Some(once) };
    let note = Note { about: (&pod("full", 1)).into(), urgent: true, reason: "Restarted", text };
    unsaid.say(note.clone());
    assert_eq!(refused(&mut unsaid, 0, 30).len(), 1);
    let saying = unsaid.next(at(30)).unwrap();
    assert_eq!((saying.once, saying.text), (note.text.once, note.text.text));
}

#[test]
fn that_a_reload_went_well_is_counted_where_it_is_refused() {
    let mut unsaid = Unsaid::new(at(0));
    let told = || of_container(&pod("full", 1), "SignalSent", "app", "told");
    unsaid.say(told());
    assert_eq!(refused(&mut unsaid, 0, 1).len(), 1);
    assert!(!unsaid.is_waiting());
    unsaid.say(told());
    let counted = "told (and 1 more since the last one)".to_owned();
    assert_eq!(sent(&mut unsaid, at(30)), [("pod-1".to_owned(), counted)]);
}

#[test]
fn however_many_namespaces_take_nothing_each_warning_is_tried_once_in_its_time() {
    let mut unsaid = Unsaid::new(at(0));
    let mut tried = Vec::new();
    for n in 0..1_000 {
        unsaid.say(problem(&pod(&format!("full-{n}"), n), "bad"));
        tried.extend(refused(&mut unsaid, 0, 1));
        assert!(tried.len() <= 1 + n as usize, "{n}: {}", tried.len());
    }
    assert_eq!(tried.len(), 1_000);
    assert_eq!(refused(&mut unsaid, 1, 30).len(), 0);
    assert_eq!(refused(&mut unsaid, 30, 90).len(), PUT_OFF);
}

#[test]
fn where_one_was_refused_nothing_is_tried_for_a_while_and_of_a_namespace_that_goes_nothing_waits() {
    for is_going in [false, true] {
        let mut unsaid = Unsaid::new(at(0));
        for n in 0..40 {
            unsaid.say(problem(&pod("shop", n), "bad"));
        }
        let saying = unsaid.next(at(0)).unwrap();
        unsaid.refused(&saying, is_going, at(0));
        assert_eq!(unsaid.is_waiting(), !is_going);
        unsaid.say(problem(&pod("shop", 40), "bad"));
        unsaid.say(of_container(&pod("shop", 41), "SignalSent", "app", "told"));
        assert!(unsaid.next(at(29)).is_none());
        let later = sent(&mut unsaid, at(30));
        assert_eq!(
            later.len(),
            if is_going { 1 } else { 25 },
            "all of its share, and nothing that doesn't wait"
        );
        assert_eq!(later.last().unwrap().0, if is_going { "pod-40" } else { "pod-25" });
    }
}
