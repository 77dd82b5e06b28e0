use std::sync::Arc;

use reloadlet_core::object::ObjectVersion;

use super::*;

const YES: Answer = Answer::Yes(Protocol::Http2);

fn at(second: u64) -> Time {
    Time::from_nanos(second * 1_000_000_000)
}

fn object(kind: ObjectKind, name: &str) -> ObjectRef {
    ObjectRef { kind, namespace: "shop".into(), name: name.into() }
}

fn config_map(name: &str) -> ObjectRef {
    object(ObjectKind::ConfigMap, name)
}

fn version(uid: &str, version: &str) -> Observed {
    Observed::Version(Arc::new(ObjectVersion {
        uid: uid.into(),
        version: version.into(),
        immutable: false,
        ignored: false,
        updated: None,
        keys: Arc::default(),
    }))
}

/// So many ConfigMaps, the first of them asked for first.
fn many(count: u64) -> BTreeMap<ObjectRef, u64> {
    (0..count).map(|number| (config_map(&format!("{number:04}")), number + 1)).collect()
}

fn steps(ledger: &mut Ledger) -> Vec<Step> {
    std::iter::from_fn(|| ledger.poll_step()).collect()
}

fn started(ledger: &mut Ledger) -> Vec<Watch> {
    let start = |step| if let Step::Start(watch) = step { Some(watch) } else { None };
    steps(ledger).into_iter().filter_map(start).collect()
}

/// A ledger with so many ConfigMaps watched.
fn watching(count: u64) -> (Ledger, Vec<Watch>) {
    let mut ledger = Ledger::new(false);
    ledger.want(&many(count), at(0));
    ledger.answered(ObjectKind::ConfigMap, YES, at(0));
    let watches = started(&mut ledger);
    (ledger, watches)
}

fn told(object: &ObjectRef, observed: Observed, second: u64) -> Step {
    Step::Tell(object.clone(), observed, at(second))
}

#[test]
fn nothing_is_watched_before_one_question_is_answered() {
    let mut ledger = Ledger::new(false);
    assert_eq!(ledger.poll_timeout(), None, "nobody wants anything");
    ledger.want(&many(3), at(0));
    assert_eq!(steps(&mut ledger), [Step::Ask(config_map("0000"))]);
    ledger.want(&many(4), at(1));
    assert_eq!(steps(&mut ledger), [], "it is asked already");
    ledger.answered(ObjectKind::ConfigMap, Answer::Fails(Duration::from_secs(2)), at(1));
    assert_eq!((steps(&mut ledger), ledger.poll_timeout()), (vec![], Some(at(3))));
    ledger.handle_timeout(at(3));
    assert_eq!(steps(&mut ledger), [Step::Ask(config_map("0000"))]);
    ledger.answered(ObjectKind::ConfigMap, YES, at(4));
    assert_eq!(started(&mut ledger).len(), 4);
    assert_eq!(ledger.poll_timeout(), None);
}

#[test]
fn what_is_wanted_is_watched_and_nothing_else() {
    let (mut ledger, watches) = watching(2);
    let (zero, one) = (config_map("0000"), config_map("0001"));
    assert_eq!(
        watches.iter().map(|watch| watch.object.clone()).collect::<Vec<_>>(),
        [zero.clone(), one.clone()]
    );
    let wanted = BTreeMap::from([(one.clone(), 2), (config_map("new"), 3)]);
    ledger.want(&wanted, at(1));
    let new = Watch { object: config_map("new"), id: 3, connection: 0 };
    assert_eq!(steps(&mut ledger), [Step::Stop(zero.clone()), Step::Forget(zero.clone()), Step::Start(new)]);
    ledger.saw(&watches[0], Observed::Absent, at(2));
    assert_eq!(steps(&mut ledger), [], "its last words come too late");
    ledger.want(&BTreeMap::new(), at(3));
    let left = steps(&mut ledger);
    assert!(left.contains(&Step::Stop(one)) && left.contains(&Step::Close(0)), "{left:?}");
}

#[test]
fn a_connection_takes_64_watches_and_there_are_16() {
    let (mut ledger, watches) = watching(1030);
    assert_eq!(watches.len(), 1024);
    for connection in 0..16 {
        assert_eq!(watches.iter().filter(|watch| watch.connection == connection).count(), 64, "{connection}");
    }
    assert_eq!(ledger.counts(), (1024, 16, 6));
    // One of the first connection leaves: the next in line takes its place.
    let mut wanted = many(1030);
    wanted.remove(&config_map("0005"));
    ledger.want(&wanted, at(1));
    let next = started(&mut ledger);
    assert_eq!(next, [Watch { object: config_map("1024"), id: 1025, connection: 0 }]);
    assert_eq!(ledger.counts(), (1024, 16, 5));
}

#[test]
fn objects_without_room_are_unmeasured_until_there_is_some() {
    let mut ledger = Ledger::new(false);
    ledger.want(&many(66), at(0));
    ledger.answered(ObjectKind::ConfigMap, Answer::Yes(Protocol::Http1), at(1));
    let all = steps(&mut ledger);
    let unmeasured: Vec<_> = all.iter().filter(|step| matches!(step, Step::Tell(..))).cloned().collect();
    let last = [config_map("0064"), config_map("0065")];
    assert_eq!(
        unmeasured,
        [told(&last[0], Observed::Unmeasured, 1), told(&last[1], Observed::Unmeasured, 1)]
    );
    assert_eq!(ledger.counts(), (64, 1, 2), "without HTTP/2 each watch is a connection");
    ledger.handle_timeout(at(2));
    assert_eq!(steps(&mut ledger), [], "that was said");
    ledger.want(&many(66).into_iter().skip(1).collect(), at(3));
    let watch = started(&mut ledger).remove(0);
    assert_eq!(watch.object, last[0]);
    ledger.saw(&watch, version("u", "5"), at(4));
    assert_eq!(steps(&mut ledger), [told(&last[0], version("u", "5"), 4)]);
}

#[test]
fn watches_that_cant_be_started_are_started_anew_after_one_pause() {
    let (mut ledger, watches) = watching(2);
    for (watch, second) in watches.iter().zip([1, 3]) {
        ledger.not_started(watch, at(second));
    }
    ledger.want(&many(3), at(4));
    assert_eq!(started(&mut ledger), [], "the third one isn't either");
    assert_eq!((ledger.poll_timeout(), ledger.counts()), (Some(at(6)), (0, 0, 0)));
    ledger.handle_timeout(at(6));
    assert_eq!(started(&mut ledger).len(), 3);
    assert_eq!(ledger.poll_timeout(), None);
    ledger.not_started(&watches[0], at(7));
    assert_eq!(ledger.poll_timeout(), None, "that one was given up before");
}

#[test]
fn another_protocol_starts_every_watch_anew() {
    let (mut ledger, watches) = watching(70);
    ledger.failed(&watches[0], at(5));
    assert_eq!(ledger.poll_timeout(), Some(at(60)), "a question a minute is enough");
    ledger.handle_timeout(at(60));
    assert_eq!(steps(&mut ledger), [Step::Ask(config_map("0000"))], "the watches go on meanwhile");
    ledger.answered(ObjectKind::ConfigMap, Answer::Yes(Protocol::Http1), at(61));
    let all = steps(&mut ledger);
    let count = |of: fn(&Step) -> bool| all.iter().filter(|step| of(step)).count();
    assert_eq!(count(|step| matches!(step, Step::Stop(_))), 70);
    assert_eq!(count(|step| matches!(step, Step::Close(_))), 2);
    assert_eq!(count(|step| matches!(step, Step::Start(_))), 64);
}

#[test]
fn only_news_is_told() {
    let (mut ledger, watches) = watching(1);
    let (watch, object) = (&watches[0], &watches[0].object);
    for (second, observed, news) in [
        (1, Observed::Absent, true),
        (2, Observed::Absent, false),
        (3, version("u", "9"), true),
        (4, version("u", "9"), false),
        (5, version("u", "10"), true),
        // Another API server that lags behind.
        (6, version("u", "9"), false),
        // Deleted and made again.
        (7, version("w", "8"), true),
        (8, version("w", "odd"), true),
        (9, version("w", "odd"), false),
        (10, Observed::Absent, true),
    ] {
        ledger.saw(watch, observed.clone(), at(second));
        let expected = if news { vec![told(object, observed.clone(), second)] } else { vec![] };
        assert_eq!(steps(&mut ledger), expected, "{observed:?}");
    }
}

#[test]
fn who_asks_anew_hears_what_is_known() {
    let (mut ledger, watches) = watching(1);
    let object = &watches[0].object;
    ledger.saw(&watches[0], version("u", "1"), at(1));
    steps(&mut ledger);
    ledger.want(&many(1), at(2));
    assert_eq!(steps(&mut ledger), [], "nobody asked anew");
    ledger.want(&BTreeMap::from([(object.clone(), 7)]), at(3));
    assert_eq!(steps(&mut ledger), [told(object, version("u", "1"), 1)]);
}

#[test]
fn a_missing_right_ends_its_kind_and_is_looked_for_every_five_minutes() {
    let mut ledger = Ledger::new(true);
    let secret = object(ObjectKind::Secret, "secret");
    let mut wanted = many(2);
    wanted.insert(secret.clone(), 9);
    ledger.want(&wanted, at(0));
    ledger.answered(ObjectKind::ConfigMap, YES, at(0));
    ledger.answered(ObjectKind::Secret, YES, at(0));
    let watches = started(&mut ledger);
    ledger.saw(&watches[0], version("u", "1"), at(1));
    steps(&mut ledger);

    let (zero, one) = (config_map("0000"), config_map("0001"));
    ledger.refused(&watches[0], at(10));
    ledger.refused(&watches[1], at(11));
    assert_eq!((steps(&mut ledger), ledger.poll_timeout()), (vec![], Some(at(15))));
    for second in (15..40).step_by(5) {
        ledger.handle_timeout(at(second));
        assert_eq!(steps(&mut ledger), [Step::Ask(zero.clone())], "one is enough");
        ledger.answered(ObjectKind::ConfigMap, Answer::Forbidden, at(second));
        assert_eq!(steps(&mut ledger), [], "the API server may just have started");
    }
    ledger.handle_timeout(at(40));
    steps(&mut ledger);
    ledger.answered(ObjectKind::ConfigMap, Answer::Forbidden, at(40));
    let expected = [
        Step::Stop(zero.clone()),
        Step::Stop(one.clone()),
        told(&zero, Observed::Unmeasured, 40),
        told(&one, Observed::Unmeasured, 40),
    ];
    assert_eq!(steps(&mut ledger), expected, "Secrets are watched on");
    assert!(ledger.is_missing(ObjectKind::ConfigMap) && !ledger.is_missing(ObjectKind::Secret));
    wanted.insert(config_map("0002"), 10);
    ledger.want(&wanted, at(50));
    assert_eq!(steps(&mut ledger), [told(&config_map("0002"), Observed::Unmeasured, 50)]);
    for (asked, next) in [(70, 370), (370, 670)] {
        assert_eq!(ledger.poll_timeout(), Some(at(asked)));
        ledger.handle_timeout(at(asked));
        assert_eq!(steps(&mut ledger), [Step::Ask(zero.clone())]);
        ledger.answered(ObjectKind::ConfigMap, Answer::Forbidden, at(asked));
        assert_eq!((steps(&mut ledger), ledger.poll_timeout()), (vec![], Some(at(next))));
    }
    ledger.answered(ObjectKind::ConfigMap, YES, at(671));
    let watches = started(&mut ledger);
    assert_eq!(watches.len(), 3);
    ledger.saw(&watches[0], version("u", "1"), at(672));
    assert_eq!(steps(&mut ledger), [told(&zero, version("u", "1"), 672)], "it comes back");
}

#[test]
fn a_refusal_that_passes_changes_nothing() {
    let (mut ledger, watches) = watching(1);
    for start in [0, 100] {
        ledger.refused(&watches[0], at(start));
        ledger.handle_timeout(at(start + 5));
        assert_eq!(steps(&mut ledger), [Step::Ask(config_map("0000"))]);
        ledger.answered(ObjectKind::ConfigMap, YES, at(start + 6));
        assert_eq!((steps(&mut ledger), ledger.poll_timeout()), (vec![], None));
    }
    ledger.refused(&watches[0], at(200));
    ledger.handle_timeout(at(205));
    steps(&mut ledger);
    ledger.answered(ObjectKind::ConfigMap, Answer::Forbidden, at(205));
    assert_eq!(steps(&mut ledger), [], "what was long ago doesn't count");
}

#[test]
fn secrets_are_unmeasured_unless_they_are_to_be_watched() {
    let mut ledger = Ledger::new(false);
    let secret = object(ObjectKind::Secret, "secret");
    ledger.want(&BTreeMap::from([(secret.clone(), 1)]), at(1));
    assert_eq!(steps(&mut ledger), [told(&secret, Observed::Unmeasured, 1)]);
    assert_eq!(ledger.poll_timeout(), None, "nobody asks for them");
}
