//! What the controller does and waits for, in sentences for people.

use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::shown::{plain, unquoted};
use reloadlet_core::policy::reloader::Telling;
use reloadlet_core::rollouts::event::{Obstacle, Wait};
use reloadlet_core::rollouts::overview::Standing;

/// How many objects are named: with names that are cut they take less than the 1024 bytes of an Event.
pub(super) const LISTED: usize = 8;

/// Objects as a sentence names them: `ConfigMap app and Secret db`.
pub(super) fn objects<'a>(objects: impl IntoIterator<Item = &'a (ObjectKind, Name)>) -> String {
    let all: Vec<&(ObjectKind, Name)> = objects.into_iter().collect();
    let named = all.iter().take(LISTED).map(|(kind, name)| format!("{} {}", kind.written(), unquoted(name)));
    let mut named: Vec<String> = named.collect();
    if all.len() > LISTED {
        named.push(format!("{} more", all.len() - LISTED));
    }
    match named.split_last() {
        None => "what it uses".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// How much is said of what the API server answers, in characters: it may be an admission webhook's, or a tenant's.
const SAID_CHARS: usize = 400;

/// What the API server answers, in one line that isn't too long.
pub(super) fn said(answer: &str) -> String {
    let answer = plain(answer.trim());
    let shown: String = answer.chars().take(SAID_CHARS).collect();
    if shown.len() < answer.len() { shown + "…" } else { shown }
}

/// What can't be done, on which a roll waits, and what came of the last try.
pub(super) fn blocked(waits: Wait, why: &str) -> String {
    match why {
        "" => wait(waits).to_owned(),
        why => format!("{} The last try: {why}", wait(waits)),
    }
}

/// What a roll waits for, and what ends that.
pub(super) const fn wait(wait: Wait) -> &'static str {
    match wait {
        Wait::Debounce => "Changes are gathered: its roll begins when none has come for a while.",
        Wait::Problem => "Its annotations have a problem: it is rolled once that is mended.",
        Wait::Fence => {
            "It isn't proved that an admission policy fences the controller's account in: its roll begins when that is (the controller's log \
             says what is missing)."
        }
        Wait::State => {
            "What is remembered of it can't be written or read, and nothing is done that isn't remembered: its roll begins, or goes on, when \
             that can be."
        }
        Wait::Pods => {
            "Its pods can't be listed, so nobody knows whether they are older than the change: they are asked for again, after five minutes \
             at the latest."
        }
        Wait::Objects => {
            "What an object that it uses holds can't be read, so nobody knows whether it is to be rolled: it is tried again, after five minutes \
             at the latest."
        }
        Wait::Held => "A person holds its roll: it begins when the hold is taken away.",
        Wait::Window => "Its roll begins in the next of its windows (reloadlet.io/window).",
        Wait::Interval => {
            "It was rolled not long ago: the next roll begins when the least time between two is over."
        }
        Wait::Flapping => {
            "It was rolled five times or more within an hour, so each next roll waits twice as long as the one before: find out who \
             changes its objects again and again."
        }
        Wait::Wave => {
            "Workloads of an earlier wave (reloadlet.io/wave) that use the same objects are rolled first: its roll begins when they \
             have been available for ten seconds."
        }
        Wait::First => {
            "Another workload is the first one that is rolled for this content: its roll begins when that one has been available for ten seconds."
        }
        Wait::Failed => {
            "The first workload that was rolled for this content, this one or another, didn't become available: its own roll begins, or goes \
             on, when that one is, or for another content."
        }
        Wait::Budget => {
            "As many workloads are rolled as may be at a time: its roll begins when one of them is done."
        }
        Wait::Rolling => {
            "Its pods are replaced just now, for another reason: if it still has to be rolled then, that begins afterwards."
        }
        Wait::Unavailable => {
            "Not all of its pods are available, and a roll would take more of them away: it begins when they are."
        }
        Wait::Disruption => "Its PodDisruptionBudget allows no disruption: its roll begins when that does.",
        Wait::InPlace => {
            "A pod can't be restarted in place, and reloadlet.io/rollout asks for nothing else: it is tried again after an hour, and \
             \"in-place,rollout\" would have it replaced."
        }
        Wait::Recent => {
            "A container was started again less than ten minutes ago, and the kubelet would wait before it does so once more: the restart in \
             place goes on when those are over."
        }
        Wait::Refused => {
            "The API server refuses the change by which it would be rolled: it is tried again, after five minutes at the latest."
        }
    }
}

/// How far a roll is, and what ends that.
pub(super) const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Rolling => {
            "Its pods are replaced: the roll is over when all of them have been available for ten seconds."
        }
        Standing::Restarting => {
            "Its pods are restarted in place, one after another: the roll is over when all of them are ready."
        }
        Standing::Planned => "Its roll begins now.",
        Standing::Failed => {
            "Not all of its pods became available in time with the new content: workloads of its namespace that wait for that content go \
             on when they are, or for another one."
        }
    }
}

/// Why pods aren't restarted in place, and what is done instead.
pub(super) fn not_in_place(obstacle: Obstacle, instead: bool) -> String {
    let why = match obstacle {
        Obstacle::PreStop => "a container has a preStop hook, which only the kubelet runs",
        Obstacle::NoRestart => {
            "a container that ends isn't started again always (restartPolicy, restartPolicyRules)"
        }
        Obstacle::Init => "an init container has the old content, and isn't run again",
        Obstacle::TooMany => "more than 12 containers of a pod have the old content",
        Obstacle::Immutable => "a changed object is immutable, and a kubelet keeps what it has of it",
        Obstacle::Recent => "a container was started again less than ten minutes ago",
        Obstacle::Unhandled => "the first process of a container doesn't handle its stop signal",
        Obstacle::NotFound => "the agent of its node finds no process of a container",
        Obstacle::Denied => "the kernel denied the agent of its node the stop signal",
        Obstacle::DryRun => "the agent of its node runs with --dry-run",
        Obstacle::StillRuns => {
            "a container hasn't ended in its terminationGracePeriodSeconds, or in --deadline, after its stop signal"
        }
        Obstacle::Unasked => "it doesn't ask for that itself (reloadlet.io/rollout on the pod)",
        Obstacle::Refused => "the API server refuses the annotation reloadlet.io/restart on it",
        Obstacle::Unanswered => "no agent has acted on its node",
        Obstacle::Unproved => "after its restart nothing shows that its subPath mounts have the new content",
    };
    let follows = match (instead, obstacle) {
        (true, _) => "its pods are replaced instead, as \"in-place,rollout\" asks for",
        (false, Obstacle::Recent) => "that goes on when the ten minutes are over",
        (false, _) => {
            "it keeps the old content until that has changed, or somebody replaces it (\"in-place,rollout\" does)"
        }
    };
    format!("A pod can't be restarted in place, as {why}: {follows}.")
}

/// Why pods stay stale, and what a person can do.
pub(super) fn stale(telling: Telling) -> String {
    let remedy = match telling {
        Telling::NoTemplate | Telling::Rollout | Telling::Baseline => {
            "replace them, where they need the new one"
        }
        Telling::Paused => "they are once it is resumed",
        Telling::OnDelete => "delete them, and they are made anew with it",
        Telling::Partition => "they are once the partition is lower",
        Telling::Gone => "make the object anew, or take it out of the template",
        Telling::Immutable => "give the changed object a new name, and name that in the template",
        Telling::Frozen => "restart it, or have it rolled by reloadlet.io/rollout",
    };
    format!(
        "Its pods took an earlier content at their start and aren't replaced, {}: {remedy}.",
        telling.as_str()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_read_as_a_sentence_and_are_bounded() {
        let object = |kind, name: &str| (kind, Name::from(name));
        let [app, db] = [object(ObjectKind::ConfigMap, "app"), object(ObjectKind::Secret, "db")];
        assert_eq!(objects([&app]), "ConfigMap app");
        assert_eq!(objects([&app, &db]), "ConfigMap app and Secret db");
        assert_eq!(objects([&app, &app, &db]), "ConfigMap app, ConfigMap app and Secret db");
        let many = vec![object(ObjectKind::ConfigMap, &"\u{1b}".repeat(253)); 64];
        let shown = objects(&many);
        assert!(shown.ends_with(" and 56 more") && shown.len() < 800, "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }

    #[test]
    fn what_the_api_server_answers_is_one_line_that_isnt_too_long() {
        assert_eq!(said(" it answers 403 "), "it answers 403");
        let shown = said(&"\u{1b}[31m\n".repeat(500));
        assert!(shown.ends_with('…') && shown.chars().count() == SAID_CHARS + 1, "{shown}");
        assert!(!shown.contains(char::is_control), "{shown:?}");
    }

    #[test]
    fn each_wait_and_each_reason_has_a_sentence_of_its_own() {
        let waits = Wait::ALL.map(|each| wait(each).to_owned());
        let rolls = Standing::ALL.map(|each| standing(each).to_owned());
        let stale = Telling::ALL.map(stale);
        let against = Obstacle::ALL.map(|each| [false, true].map(|instead| not_in_place(each, instead)));
        let all: Vec<&String> =
            waits.iter().chain(&rolls).chain(&stale).chain(against.as_flattened()).collect();
        for sentence in &all {
            assert!(sentence.ends_with('.') && sentence.len() < 300, "{sentence}");
            assert_eq!(all.iter().filter(|other| other == &sentence).count(), 1, "{sentence}");
        }
        assert_eq!(
            stale[Telling::Paused as usize],
            "Its pods took an earlier content at their start and aren't replaced, as it is paused: they are once it is resumed."
        );
    }
}
