use proptest::prelude::*;

use super::*;
use crate::model::signal::Signal;

fn texts(pairs: &[(&str, &str)]) -> Annotations {
    pairs.iter().map(|(key, text)| (String::from(*key), AnnotationValue::Text(String::from(*text)))).collect()
}

fn asked(pairs: &[(&str, &str)]) -> PodPolicy {
    match policy(&texts(pairs)) {
        (Some(policy), problems) if problems.is_empty() => policy,
        other => panic!("{other:?}"),
    }
}

fn problems(pairs: &[(&str, &str)]) -> Vec<(ProblemKind, String)> {
    policy(&texts(pairs)).1.into_iter().map(|problem| (problem.kind, problem.sentence)).collect()
}

/// The one problem of a pod with `signal: hup` and this annotation.
fn problem(key: &str, text: &str) -> (ProblemKind, String) {
    let mut found = problems(&[(SIGNAL, "hup"), (key, text)]);
    assert_eq!(found.len(), 1, "{key} {text:?} {found:?}");
    found.remove(0)
}

const HUP: Option<SignalChoice> = Some(SignalChoice::Send(Signal::HUP));

#[test]
fn only_our_keys_and_the_default_container_are_read() {
    for key in [SIGNAL, DEFAULT_CONTAINER, "reloadlet.io/", "reloadlet.io/x", "signal.reloadlet.io/app"] {
        assert!(is_relevant(key), "{key}");
    }
    for key in [
        "",
        "reloadlet.io",
        OBSERVED,
        ROLLED,
        RESTART,
        "xreloadlet.io/signal",
        "a.reloadlet.io/b",
        "kubectl.kubernetes.io/restartedAt",
    ] {
        assert!(!is_relevant(key), "{key}");
    }
}

#[test]
fn a_pod_that_asks_for_nothing_is_left_alone() {
    for pairs in [
        &[][..],
        &[(OBSERVED, "nonce")],
        &[(DEFAULT_CONTAINER, "app")],
        &[("example.com/signal", "SIGHUP")],
        &[(ACCELERATE, "false"), (ROLLOUT, "false"), (RETELL, "true")],
    ] {
        assert_eq!(policy(&texts(pairs)), (None, Vec::new()), "{pairs:?}");
    }
}

#[test]
fn what_the_agent_or_the_controller_wrote_is_no_problem_whatever_it_is() {
    let mut annotations = texts(&[(SIGNAL, "hup")]);
    let without = policy(&annotations);
    annotations.insert(String::from(OBSERVED), AnnotationValue::NotText(String::from("1")));
    annotations.insert(String::from(RESTART), AnnotationValue::NotText(String::from("1")));
    assert_eq!(policy(&annotations), without);
}

#[test]
fn a_signal_alone_has_the_defaults() {
    assert_eq!(asked(&[(SIGNAL, "SIGHUP")]), PodPolicy { signal: HUP, ..PodPolicy::default() });
    let defaults = PodPolicy::default();
    assert_eq!((defaults.verify, defaults.send_unhandled), (Duration::from_secs(10), false));
    assert_eq!(
        (defaults.min_interval, defaults.splay, defaults.debounce),
        (Duration::ZERO, Duration::ZERO, None)
    );
}

#[test]
fn every_key_is_read() {
    let read = asked(&[
        (SIGNAL, "none"),
        (CONTAINER, "app"),
        ("signal.reloadlet.io/side", "usr1"),
        ("signal.reloadlet.io/quiet", "none"),
        (DEFAULT_CONTAINER, "app"),
        (PROCESS, "a-name-of-more-than-15-bytes"),
        (VOLUMES, "tls, config,tls"),
        (KEYS, "*.conf, certs/**"),
        (DEBOUNCE, "0s"),
        (MIN_INTERVAL, "1m"),
        (SPLAY, "30s"),
        (VERIFY, "1ms"),
        (UNHANDLED, "send"),
        (ACCELERATE, "false"),
        (RETELL, "false"),
        (ROLLOUT, "false"),
    ]);
    let usr1 = SignalChoice::Send(Signal::parse("USR1").unwrap());
    assert_eq!(
        read,
        PodPolicy {
            signal: Some(SignalChoice::Measure),
            container: Some("app".into()),
            per_container: [("quiet".into(), SignalChoice::Measure), ("side".into(), usr1)].into(),
            default_container: Some("app".into()),
            process: Some("a-name-of-more-than-15-bytes".into()),
            volumes: Some(vec!["config".into(), "tls".into()]),
            keys: Some(Globs::new(["*.conf", "certs/**"]).unwrap()),
            debounce: Some(Duration::ZERO),
            min_interval: Duration::from_secs(60),
            splay: Duration::from_secs(30),
            verify: Duration::from_millis(1),
            send_unhandled: true,
            accelerate: false,
            retell: false,
            ..PodPolicy::default()
        }
    );
    assert!(!asked(&[(SIGNAL, "hup"), (UNHANDLED, "refuse")]).send_unhandled);
}

#[test]
fn a_request_stands_in_the_place_of_a_signal() {
    let read =
        asked(&[(HTTP, "PUT :admin/x"), (HTTP_TIMEOUT, "1m"), (HTTP_SCHEME, "https"), (DEBOUNCE, "1s")]);
    let expected = PodPolicy {
        http: Asked::parse("PUT :admin/x"),
        http_timeout: Duration::from_secs(60),
        http_scheme: Scheme::Https,
        debounce: Some(Duration::from_secs(1)),
        ..PodPolicy::default()
    };
    assert_eq!(read, expected);
    let defaults = asked(&[(HTTP, ":1/")]);
    assert_eq!((defaults.http_timeout, defaults.http_scheme), (Duration::from_secs(5), Scheme::Http));
}

#[test]
fn what_cant_stand_beside_a_request_or_says_nothing_without_one_is_a_problem() {
    let sentence = |annotations: &[(&str, &str)]| {
        let [(kind, sentence)] = problems(annotations).try_into().unwrap();
        assert_eq!(kind, ProblemKind::NoSignal);
        sentence
    };
    for signal in ["hup", "none"] {
        let both = sentence(&[(HTTP, ":1/"), (SIGNAL, signal)]);
        assert!(both.starts_with("reloadlet.io/signal and reloadlet.io/http are both there"), "{both}");
    }
    let process = sentence(&[(HTTP, ":1/"), (PROCESS, "nginx"), (UNHANDLED, "send")]);
    assert_eq!(
        process,
        "nothing comes of reloadlet.io/process and reloadlet.io/unhandled with reloadlet.io/http: a request goes to a port, not \
         to a process"
    );
    let own = [(HTTP, ":1/"), (PROCESS, "nginx"), ("signal.reloadlet.io/side", "hup")];
    assert_eq!(asked(&own).process, Some("nginx".into()), "it is for the one that gets a signal");
    let idle = sentence(&[(SIGNAL, "hup"), (HTTP_SCHEME, "http"), (HTTP_TIMEOUT, "1s")]);
    assert_eq!(
        idle,
        "nothing comes of reloadlet.io/http-timeout and reloadlet.io/http-scheme without reloadlet.io/http"
    );
    assert!(
        sentence(&[(HTTP_TIMEOUT, "1s")]).contains("reloadlet.io/http-timeout without reloadlet.io/signal")
    );
}

#[test]
fn a_container_alone_opts_in_with_its_own_signal() {
    let read = asked(&[("signal.reloadlet.io/app", "hup"), (DEBOUNCE, "1s"), (CONTAINER, "app")]);
    assert_eq!((read.signal, read.per_container.get("app").copied()), (None, HUP));
}

#[test]
fn a_bad_value_is_one_sentence_with_key_value_and_what_is_allowed() {
    for (key, text, sentence) in [
        (
            "signal.reloadlet.io/app",
            "KILL",
            "signal.reloadlet.io/app is \"KILL\", but must be HUP, INT, QUIT, TERM, USR1, USR2, WINCH, CONT or RTMIN+0 \
             to RTMIN+30, or none to measure only",
        ),
        (CONTAINER, "", "reloadlet.io/container is \"\", but must be the name of one container"),
        (
            PROCESS,
            "/usr/sbin/nginx",
            "reloadlet.io/process is \"/usr/sbin/nginx\", but must be a process name of 1 to 255 bytes without /",
        ),
        (PROCESS, "", "reloadlet.io/process is \"\", but must be a process name of 1 to 255 bytes without /"),
        (
            VOLUMES,
            "a,,b",
            "reloadlet.io/volumes is \"a,,b\", but must be a comma list of volume names, none of them empty",
        ),
        (
            VOLUMES,
            "",
            "reloadlet.io/volumes is \"\", but must be a comma list of volume names, none of them empty",
        ),
        (
            KEYS,
            " ,a",
            "reloadlet.io/keys is \" ,a\", but must be a comma list of globs on paths, none of them empty",
        ),
        (
            KEYS,
            "/etc/app.conf",
            "reloadlet.io/keys is \"/etc/app.conf\", but must be globs on paths in the volume, without a leading / or ./",
        ),
        (
            DEBOUNCE,
            "5",
            "reloadlet.io/debounce is \"5\", but must be a duration of whole numbers with the units h, m, s and ms in \
             this order, such as 250ms, 2s or 1m30s",
        ),
        (SPLAY, "25h", "reloadlet.io/splay is \"25h\", but must be a duration of at most 24h"),
        (VERIFY, "0s", "reloadlet.io/verify is \"0s\", but must be longer than 0s"),
        (UNHANDLED, "Send", "reloadlet.io/unhandled is \"Send\", but must be \"refuse\" or \"send\""),
        (ACCELERATE, "yes", "reloadlet.io/accelerate is \"yes\", but must be \"false\" or \"true\""),
        (RETELL, "no", "reloadlet.io/retell is \"no\", but must be \"false\" or \"true\""),
        (
            ROLLOUT,
            "",
            "reloadlet.io/rollout is \"\", but must be \"false\", \"true\", \"in-place\" or \"in-place,rollout\"",
        ),
    ] {
        assert_eq!(problem(key, text), (ProblemKind::BadValue, String::from(sentence)), "{key} {text:?}");
    }
}

#[test]
fn a_bad_value_for_a_request_says_what_is_allowed() {
    for (key, text, sentence) in [
        (
            HTTP_TIMEOUT,
            "0s",
            "reloadlet.io/http-timeout is \"0s\", but must be longer than 0s and at most 60s",
        ),
        (
            HTTP_TIMEOUT,
            "61s",
            "reloadlet.io/http-timeout is \"61s\", but must be longer than 0s and at most 60s",
        ),
        (HTTP_SCHEME, "HTTPS", "reloadlet.io/http-scheme is \"HTTPS\", but must be \"http\" or \"https\""),
        (
            HTTP,
            "http://10.0.0.1/reload",
            "reloadlet.io/http is \"http://10.0.0.1/reload\", but must be [METHOD ]:PORT/PATH, as POST :9090/-/reload: a METHOD \
             out of GET, PATCH, POST and PUT (POST without one), a PORT by its number or by its name in the container, and a \
             PATH of at most 1024 characters, those that a URL can't hold percent-encoded",
        ),
    ] {
        let more = if key == HTTP { vec![] } else { vec![(HTTP, ":1/")] };
        let annotations = [more, vec![(key, text)]].concat();
        assert_eq!(problems(&annotations), [(ProblemKind::BadValue, String::from(sentence))]);
    }
}

#[test]
fn a_long_or_strange_value_is_cut_and_escaped() {
    let (_, sentence) = problem(DEBOUNCE, &("1s\n\u{1b}[2J".to_owned() + &"9".repeat(100)));
    assert!(sentence.starts_with("reloadlet.io/debounce is \"1s\\n\\u{1b}[2J999"), "{sentence}");
    assert!(sentence.contains("9\"…, but must be") && sentence.len() < 250, "{sentence}");
    let (_, sentence) = problem(&("reloadlet.io/\n".to_owned() + &"x".repeat(100)), "");
    assert!(sentence.starts_with("reloadlet.io/\\nxxx") && !sentence.contains(&"x".repeat(64)), "{sentence}");
}

#[test]
fn an_unknown_key_names_the_nearest_and_all() {
    let (kind, sentence) = problems(&[("reloadlet.io/singal", "SIGHUP")]).remove(0);
    assert_eq!(kind, ProblemKind::UnknownKey);
    assert_eq!(
        sentence,
        "reloadlet.io/singal is \"SIGHUP\", but no such key exists (signal is the nearest): after reloadlet.io/ there \
         must be one of signal, container, process, volumes, keys, debounce, min-interval, splay, verify, unhandled, \
         accelerate, retell, http, http-timeout, http-scheme, rollout, wave, window"
    );
    for (key, nearest) in
        [("min_interval", Some("min-interval")), ("Signal", Some("signal")), ("keys2", Some("keys"))]
    {
        assert_eq!(
            problem(&format!("reloadlet.io/{key}"), "").1.split_once('(').is_some(),
            nearest.is_some()
        );
    }
    for key in ["reloadlet.io/", "reloadlet.io/ignore", "reloadlet.io/signal/app"] {
        let (kind, sentence) = problem(key, "x");
        assert!(kind == ProblemKind::UnknownKey && !sentence.contains("nearest"), "{sentence}");
    }
}

#[test]
fn a_container_key_without_a_container_is_a_problem() {
    let sentence = "signal.reloadlet.io/ is \"hup\", but the key must end in the name of a container";
    assert_eq!(problem(CONTAINER_SIGNAL_PREFIX, "hup"), (ProblemKind::UnknownKey, String::from(sentence)));
}

#[test]
fn what_the_controller_reads_asks_agents_for_nothing() {
    for pairs in [
        &[(ROLLOUT, "true"), (DEBOUNCE, "1m")][..],
        &[(ROLLOUT, "in-place"), (DEBOUNCE, "1m")],
        &[(ROLLOUT, "in-place,rollout")],
        &[(ROLLOUT, "false")],
        &[(WAVE, "2")],
        &[(WINDOW, "22:00-04:00")],
    ] {
        assert_eq!(policy(&texts(pairs)), (None, Vec::new()), "{pairs:?}");
    }
    assert_eq!(problems(&[(ROLLOUT, "false"), (DEBOUNCE, "1m")])[0].0, ProblemKind::NoSignal);
    assert_eq!(problem(ROLLOUT, "yes").0, ProblemKind::BadValue);
    let sentence = "reloadlet.io/rollout is \"inplace\", but must be \"false\", \"true\", \"in-place\" or \"in-place,rollout\"";
    assert_eq!(problem(ROLLOUT, "inplace"), (ProblemKind::BadValue, String::from(sentence)));
}

#[test]
fn a_value_that_is_no_string_is_to_be_quoted() {
    for (key, raw, shown) in [
        (SIGNAL, "1", "reloadlet.io/signal is 1, "),
        (ACCELERATE, "false", "reloadlet.io/accelerate is false, "),
        ("signal.reloadlet.io/app", "[\"hup\"]", "signal.reloadlet.io/app is [\"hup\"], "),
    ] {
        let mut annotations = texts(&[(SIGNAL, "hup")]);
        annotations.insert(String::from(key), AnnotationValue::NotText(String::from(raw)));
        let (read, found) = policy(&annotations);
        assert!(read.is_some());
        let expected =
            Problem::new(ProblemKind::NotText, format!("{shown}but must be a string: put it in quotes"));
        assert_eq!(found, [expected]);
    }
}

#[test]
fn options_without_any_signal_are_a_problem() {
    let expected = "nothing comes of reloadlet.io/container, reloadlet.io/debounce without reloadlet.io/signal: it must \
                    be HUP, INT, QUIT, TERM, USR1, USR2, WINCH, CONT or RTMIN+0 to RTMIN+30, or none to measure only; or without reloadlet.io/http, which stands \
                    in its place";
    let found = problems(&[(DEBOUNCE, "1s"), (CONTAINER, "app"), (ACCELERATE, "false")]);
    assert_eq!(found, [(ProblemKind::NoSignal, String::from(expected))]);
}

#[test]
fn a_container_that_there_is_nothing_to_tell_is_a_problem() {
    let found = problems(&[("signal.reloadlet.io/side", "hup"), (CONTAINER, "app")]);
    let expected = "reloadlet.io/container is \"app\", but there is nothing to tell it: give reloadlet.io/signal, \
                    reloadlet.io/http or signal.reloadlet.io/<container>";
    assert_eq!(found, [(ProblemKind::NoSignal, String::from(expected))]);
}

#[test]
fn all_problems_are_found_and_a_bad_signal_is_one() {
    let kinds: Vec<ProblemKind> = problems(&[
        (SIGNAL, "KILL"),
        (DEBOUNCE, "soon"),
        ("reloadlet.io/volume", "x"),
        (HTTP, "1/"),
        ("signal.reloadlet.io/app", "STOP"),
    ])
    .into_iter()
    .map(|(kind, _)| kind)
    .collect();
    use ProblemKind::{BadValue, NoSignal, UnknownKey};
    assert_eq!(kinds, [BadValue, BadValue, BadValue, UnknownKey, BadValue, NoSignal]);
}

#[test]
fn the_lists_are_bounded() {
    let many = |count: usize| (0..count).map(|n| format!("v{n}")).collect::<Vec<_>>().join(",");
    assert_eq!(
        asked(&[(SIGNAL, "hup"), (VOLUMES, &many(MOST_VOLUMES))]).volumes.unwrap().len(),
        MOST_VOLUMES
    );
    assert_eq!(problem(VOLUMES, &many(MOST_VOLUMES + 1)).0, ProblemKind::BadValue);
    assert_eq!(problem(KEYS, &many(65)).0, ProblemKind::BadValue);
    assert!(asked(&[(SIGNAL, "hup"), (PROCESS, &"p".repeat(255))]).process.is_some());
    assert_eq!(problem(PROCESS, &"p".repeat(256)).0, ProblemKind::BadValue);
}

fn any_key() -> impl Strategy<Value = String> {
    let known = KNOWN.into_iter().chain([OBSERVED, DEFAULT_CONTAINER]);
    prop_oneof![
        4 => prop::sample::select(known.map(String::from).collect::<Vec<_>>()),
        1 => ".{0,80}".prop_map(|name| format!("{PREFIX}{name}")),
        1 => ".{0,80}".prop_map(|name| format!("{CONTAINER_SIGNAL_PREFIX}{name}")),
        1 => ".{0,20}",
    ]
}

fn any_value() -> impl Strategy<Value = AnnotationValue> {
    prop_oneof![
        prop::sample::select(vec![
            "hup", "none", "1s", "0s", ":1/", "https", "send", "false", "true", "a,b", "*.conf", "app", ""
        ])
        .prop_map(|text| AnnotationValue::Text(String::from(text))),
        ".{0,300}".prop_map(AnnotationValue::Text),
        ".{0,300}".prop_map(AnnotationValue::NotText),
    ]
}

proptest! {
    #[test]
    fn no_annotation_makes_it_panic_and_each_sentence_is_one_short_line(
        annotations in prop::collection::btree_map(any_key(), any_value(), 0..8),
    ) {
        for problem in policy(&annotations).1 {
            prop_assert!(problem.sentence.len() <= 1024, "{}", problem.sentence);
            prop_assert!(!problem.sentence.chars().any(char::is_control), "{:?}", problem.sentence);
        }
    }

    #[test]
    fn an_unrelated_annotation_changes_nothing(
        mut annotations in prop::collection::btree_map(any_key(), any_value(), 0..8),
        key in "[a-z.]{1,20}/[a-z]{1,20}",
        value in any_value(),
    ) {
        prop_assume!(!is_relevant(&key));
        let without = policy(&annotations);
        annotations.insert(key, value);
        prop_assert_eq!(policy(&annotations), without);
    }

    #[test]
    fn without_a_key_of_ours_there_is_neither_policy_nor_problem(
        annotations in prop::collection::btree_map("[a-z.]{1,20}/[a-z]{1,20}", any_value(), 0..8),
    ) {
        prop_assume!(!annotations.keys().any(|key| key.starts_with(PREFIX) || key.starts_with(CONTAINER_SIGNAL_PREFIX)));
        prop_assert_eq!(policy(&annotations), (None, Vec::new()));
    }
}
