use std::sync::Arc;

use reloadlet_core::model::object::ObjectVersion;

use super::room::{MOST_WATCHES, PER_CONNECTION};
use super::*;
use crate::api::objects::errand::Protocol;

mod rights;

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

fn errands(ledger: &mut Ledger) -> Vec<Errand> {
    std::iter::from_fn(|| ledger.poll_errand()).collect()
}

const NO_CHANCE: u64 = 0;

fn found(observed: &Observed, list: &str) -> Fetched {
    let found = match observed {
        Observed::Version(version) => Found::Version(version.clone()),
        Observed::Absent => Found::Absent,
        Observed::Unmeasured => Found::TooLarge,
    };
    Fetched { version: list.into(), found }
}

/// Everything that is due is fetched, until nothing is, and the API server has none of it.
fn started(ledger: &mut Ledger, now: Time) -> Vec<ObjectWatch> {
    while let Some(fetch) = ledger.poll_fetch(now) {
        ledger.fetched(fetch.id, found(&Observed::Absent, "100"), now);
    }
    let start = |errand| if let Errand::Start(watch, _) = errand { Some(watch) } else { None };
    let watches: Vec<ObjectWatch> = errands(ledger).into_iter().filter_map(start).collect();
    watches.iter().for_each(|watch| ledger.began(watch, now));
    watches
}

/// A ledger with so many ConfigMaps watched.
fn watching(count: u64) -> (Ledger, Vec<ObjectWatch>) {
    let mut ledger = Ledger::new(false, at(0));
    ledger.want(&many(count), at(0));
    ledger.answered(ObjectKind::ConfigMap, YES, at(0));
    let watches = started(&mut ledger, at(0));
    (ledger, watches)
}

/// The API server's store has this at the next fetch, which must be of this freshness.
fn fetches(ledger: &mut Ledger, freshness: Freshness, observed: &Observed, second: u64) -> Vec<Errand> {
    let fetch = ledger.poll_fetch(at(second)).expect("something is fetched");
    assert_eq!(fetch.freshness, freshness, "{observed:?}");
    ledger.fetched(fetch.id, found(observed, "100"), at(second));
    errands(ledger)
}

fn shown(version: &str) -> Shown {
    Shown::Version(version.into())
}

fn not_older(version: &str) -> Freshness {
    Freshness::NotOlderThan(version.into())
}

fn told(object: &ObjectRef, observed: Observed, second: u64) -> Errand {
    Errand::Observed(object.clone(), observed, at(second))
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
    assert_eq!(errands(&mut ledger), [Errand::Stop(zero.clone()), Errand::Forget(zero.clone())]);
    let new = ObjectWatch { object: config_map("new"), id: 3, connection: 0 };
    assert_eq!(started(&mut ledger, at(1)), [new]);
    ledger.showed(&watches[0], Shown::Deleted, at(2));
    assert_eq!(ledger.poll_fetch(at(2)), None, "its last words come too late");
    ledger.want(&BTreeMap::new(), at(3));
    let left = errands(&mut ledger);
    assert!(left.contains(&Errand::Stop(one)) && left.contains(&Errand::Close(0)), "{left:?}");
    assert_eq!(ledger.poll_timeout(true), None);
}

#[test]
fn an_object_is_watched_from_the_version_at_which_it_was_fetched() {
    let mut ledger = Ledger::new(false, at(0));
    ledger.want(&many(1), at(0));
    ledger.answered(ObjectKind::ConfigMap, YES, at(0));
    assert_eq!(ledger.health(ObjectKind::ConfigMap), WatchState::Down);
    let fetch = ledger.poll_fetch(at(1)).unwrap();
    let asked = vec![Errand::Ask(config_map("0000"))];
    assert_eq!((fetch.freshness, errands(&mut ledger)), (Freshness::Any, asked));
    ledger.fetched(fetch.id, found(&version("u", "7"), "55"), at(2));
    let watch = ObjectWatch { object: config_map("0000"), id: 1, connection: 0 };
    let told = told(&watch.object, version("u", "7"), 1);
    assert_eq!(errands(&mut ledger), [Errand::Start(watch.clone(), "55".into()), told]);
    ledger.began(&watch, at(2));
    assert_eq!(ledger.health(ObjectKind::ConfigMap), WatchState::Up);
    assert_eq!(ledger.health(ObjectKind::Secret), WatchState::Unused);
}

#[test]
fn a_watch_that_ends_begins_anew_with_a_fetch_after_a_pause_that_grows_where_it_was_short() {
    let (mut ledger, watches) = watching(1);
    let (watch, kind) = (&watches[0], ObjectKind::ConfigMap);
    ledger.ended(watch, Failure::Ended, at(400), NO_CHANCE);
    assert_eq!(ledger.health(kind), WatchState::Up, "that was an ordinary end");
    assert_eq!(ledger.poll_timeout(true), Some(at(400)));
    let mut pauses = Vec::new();
    let mut now = at(400);
    for _ in 0..8 {
        let fetch = ledger.poll_fetch(now).unwrap();
        ledger.fetched(fetch.id, found(&Observed::Absent, "100"), now);
        assert!(errands(&mut ledger).contains(&Errand::Start(watch.clone(), "100".into())));
        ledger.began(watch, now);
        ledger.ended(watch, Failure::Other(None), now, NO_CHANCE);
        assert_eq!(ledger.health(kind), WatchState::Down);
        let due = ledger.fetches.poll_timeout().unwrap();
        pauses.push(due.since(now).as_millis());
        now = due;
    }
    assert_eq!(pauses, [400, 800, 1600, 3200, 6400, 12_800, 15_000, 15_000]);
    let fetch = ledger.poll_fetch(now).unwrap();
    ledger.not_fetched(fetch.id, Failure::Other(Some(Duration::from_secs(100_000))), now, NO_CHANCE);
    assert_eq!(
        ledger.fetches.poll_timeout(),
        Some(now + Duration::from_secs(15)),
        "no later, whatever is asked"
    );
}

#[test]
fn a_connection_takes_64_watches_and_there_are_1024() {
    let (mut ledger, watches) = watching(1030);
    assert_eq!(watches.len(), MOST_WATCHES);
    for connection in 0..16 {
        assert_eq!(watches.iter().filter(|watch| watch.connection == connection).count(), 64, "{connection}");
    }
    assert_eq!(ledger.counts(), (1024, 16, 6));
    // One of the first connection leaves: the next in line takes its place.
    let mut wanted = many(1030);
    wanted.remove(&config_map("0005"));
    ledger.want(&wanted, at(1));
    let next = started(&mut ledger, at(1));
    assert_eq!(next, [ObjectWatch { object: config_map("1024"), id: 1025, connection: 0 }]);
    assert_eq!(ledger.counts(), (1024, 16, 5));
}

#[test]
fn watches_that_a_connection_has_no_streams_for_are_moved_to_others() {
    let mut ledger = Ledger::new(false, at(0));
    ledger.want(&many(60), at(0));
    ledger.answered(ObjectKind::ConfigMap, YES, at(0));
    let mut running = BTreeMap::<usize, usize>::new();
    let mut said = Vec::new();
    // An API server that takes 20 streams: the others wait without a word, for 5 s each.
    for second in (0..60).step_by(5) {
        let mut silent = Vec::new();
        let mut now = at(second);
        while let Some(due) = ledger.poll_timeout(true).filter(|due| *due < at(second + 5)) {
            now = due.max(now);
            ledger.handle_timeout(now);
            while let Some(fetch) = ledger.poll_fetch(now) {
                ledger.fetched(fetch.id, found(&Observed::Absent, "100"), now);
            }
            for errand in errands(&mut ledger) {
                match errand {
                    Errand::Start(watch, _) => {
                        let running = running.entry(watch.connection).or_default();
                        if *running < 20 {
                            *running += 1;
                            ledger.began(&watch, now);
                        } else {
                            silent.push(watch);
                        }
                    }
                    Errand::SayFewer(takes) => said.push(takes),
                    Errand::Ask(_)
                    | Errand::Stop(_)
                    | Errand::Close(_)
                    | Errand::Observed(..)
                    | Errand::Forget(_)
                    | Errand::SayTooLarge(_) => {}
                }
            }
        }
        silent.iter().for_each(|watch| ledger.ended(watch, Failure::Unanswered, at(second + 5), NO_CHANCE));
    }
    errands(&mut ledger);
    assert_eq!(running.values().sum::<usize>(), 60, "{running:?}");
    assert_eq!(
        (said, ledger.counts().0, ledger.health(ObjectKind::ConfigMap)),
        (vec![20], 60, WatchState::Up)
    );
    ledger.handle_timeout(at(4000));
    assert_eq!(ledger.room.per_connection(), PER_CONNECTION, "that isn't for ever");
}

#[test]
fn an_api_server_that_answers_nobody_is_not_taken_for_one_with_few_streams() {
    let mut ledger = Ledger::new(false, at(0));
    ledger.want(&many(10), at(0));
    ledger.answered(ObjectKind::ConfigMap, YES, at(0));
    for second in 0..100 {
        ledger.handle_timeout(at(second));
        while let Some(fetch) = ledger.poll_fetch(at(second)) {
            ledger.fetched(fetch.id, found(&Observed::Absent, "100"), at(second));
        }
        for errand in errands(&mut ledger) {
            if let Errand::Start(watch, _) = errand {
                ledger.ended(&watch, Failure::Unanswered, at(second), NO_CHANCE);
            }
        }
    }
    assert_eq!(ledger.room.per_connection(), PER_CONNECTION);
    assert_eq!(ledger.counts().0, 10);
}

#[test]
fn objects_without_room_are_unmeasured_until_there_is_some() {
    let mut ledger = Ledger::new(false, at(0));
    ledger.want(&many(66), at(0));
    ledger.answered(ObjectKind::ConfigMap, Answer::Yes(Protocol::Http1), at(1));
    let all = errands(&mut ledger);
    let last = [config_map("0064"), config_map("0065")];
    assert_eq!(all[1..], [told(&last[0], Observed::Unmeasured, 1), told(&last[1], Observed::Unmeasured, 1)]);
    assert_eq!(ledger.counts(), (64, 1, 2), "without HTTP/2 each watch is a connection");
    ledger.handle_timeout(at(2));
    assert_eq!(errands(&mut ledger), [], "that was said");
    started(&mut ledger, at(2));
    ledger.want(&many(66).into_iter().skip(1).collect(), at(3));
    errands(&mut ledger);
    let next = fetches(&mut ledger, Freshness::Any, &version("u", "5"), 4);
    let Errand::Start(watch, _) = &next[0] else { panic!("{next:?}") };
    assert_eq!((&watch.object, &next[1]), (&last[0], &told(&last[0], version("u", "5"), 4)));
}

#[test]
fn watches_that_cant_be_started_are_started_anew_after_one_pause() {
    let (mut ledger, watches) = watching(2);
    for (watch, second) in watches.iter().zip([1, 3]) {
        ledger.not_started(watch, at(second));
    }
    ledger.want(&many(3), at(4));
    assert_eq!(started(&mut ledger, at(4)), [], "the third one isn't either");
    assert_eq!((ledger.poll_timeout(true), ledger.counts()), (Some(at(6)), (0, 0, 0)));
    ledger.handle_timeout(at(6));
    assert_eq!(started(&mut ledger, at(6)).len(), 3);
    assert_eq!(ledger.poll_timeout(true), None);
    ledger.not_started(&watches[0], at(7));
    assert_eq!(ledger.poll_timeout(true), None, "that one was given up before");
}

#[test]
fn another_protocol_starts_every_watch_anew() {
    let (mut ledger, watches) = watching(70);
    ledger.ended(&watches[0], Failure::Other(None), at(5), NO_CHANCE);
    started(&mut ledger, at(10));
    assert_eq!(ledger.poll_timeout(true), Some(at(60)), "a question a minute is enough");
    ledger.handle_timeout(at(60));
    assert_eq!(errands(&mut ledger), [Errand::Ask(config_map("0000"))], "the watches go on meanwhile");
    ledger.answered(ObjectKind::ConfigMap, Answer::Yes(Protocol::Http1), at(61));
    let all = errands(&mut ledger);
    let count = |of: fn(&Errand) -> bool| all.iter().filter(|errand| of(errand)).count();
    assert_eq!(count(|errand| matches!(errand, Errand::Stop(_))), 70);
    assert_eq!(count(|errand| matches!(errand, Errand::Close(_))), 2);
    assert_eq!(started(&mut ledger, at(61)).len(), 64);
}

#[test]
fn another_way_to_the_api_server_starts_every_watch_anew() {
    let (mut ledger, watches) = watching(70);
    ledger.restart(at(5));
    ledger.showed(&watches[0], Shown::Deleted, at(5));
    assert_eq!(started(&mut ledger, at(5)).len(), 70);
}

#[test]
fn only_news_is_told_and_only_what_was_fetched() {
    let (mut ledger, watches) = watching(1);
    let (watch, object) = (&watches[0], &watches[0].object);
    let (newest, absent) = (Freshness::Newest, Observed::Absent);
    for (second, shows, freshness, has, news) in [
        (20, shown("9"), not_older("9"), version("u", "9"), true),
        (40, shown("10"), not_older("10"), version("u", "10"), true),
        // What came after it is in what was fetched.
        (60, shown("11"), not_older("11"), version("u", "12"), true),
        // Another API server that lags behind.
        (80, shown("11"), newest.clone(), version("u", "12"), false),
        (100, Shown::Unclear, newest.clone(), version("u", "12"), false),
        // Deleted and made again.
        (120, Shown::Deleted, newest.clone(), version("w", "15"), true),
        (160, Shown::Deleted, newest.clone(), absent.clone(), true),
        (180, Shown::Deleted, newest, absent, false),
    ] {
        ledger.showed(watch, shows, at(second));
        let expected = if news { vec![told(object, has.clone(), second)] } else { vec![] };
        assert_eq!(fetches(&mut ledger, freshness, &has, second + 1), expected, "{second}");
        assert_eq!(ledger.poll_timeout(true), None, "{second}");
    }
    // Of versions that are no numbers it isn't known which one is newer.
    ledger.showed(watch, shown("odd"), at(190));
    fetches(&mut ledger, not_older("odd"), &version("v", "odd"), 190);
    ledger.showed(watch, shown("20"), at(200));
    fetches(&mut ledger, not_older("20"), &version("x", "21"), 200);
    ledger.showed(watch, shown("21"), at(201));
    assert_eq!(ledger.poll_timeout(true), None, "that is known");
}

#[test]
fn what_a_restored_store_has_is_believed_and_what_a_server_that_lags_behind_has_is_not() {
    let (mut ledger, watches) = watching(1);
    let (watch, object) = (&watches[0], &watches[0].object);
    ledger.showed(watch, shown("950"), at(20));
    fetches(&mut ledger, not_older("950"), &version("u", "950"), 20);

    ledger.ended(watch, Failure::Ended, at(400), NO_CHANCE);
    let lags = fetches(&mut ledger, Freshness::Any, &version("u", "700"), 400);
    assert_eq!(lags, [], "it is asked first what the store has");
    let same = fetches(&mut ledger, Freshness::Newest, &version("u", "950"), 401);
    assert_eq!(same, [Errand::Start(watch.clone(), "100".into())], "it has what is known");
    ledger.began(watch, at(401));

    ledger.ended(watch, Failure::Ended, at(800), NO_CHANCE);
    assert_eq!(fetches(&mut ledger, Freshness::Any, &version("u", "700"), 800), []);
    let restored = fetches(&mut ledger, Freshness::Newest, &version("u", "700"), 801);
    assert_eq!(restored[1..], [told(object, version("u", "700"), 800)]);
    ledger.began(watch, at(801));
    ledger.showed(watch, shown("701"), at(820));
    let next = fetches(&mut ledger, not_older("701"), &version("u", "701"), 820);
    assert_eq!(next, [told(object, version("u", "701"), 820)], "and so is what comes after it");

    ledger.ended(watch, Failure::Ended, at(1200), NO_CHANCE);
    assert_eq!(fetches(&mut ledger, Freshness::Any, &Observed::Absent, 1200), []);
    let gone = fetches(&mut ledger, Freshness::Newest, &Observed::Absent, 1201);
    assert_eq!(gone[1..], [told(object, Observed::Absent, 1200)]);
}

#[test]
fn of_many_changes_the_newest_is_told_with_the_time_of_the_first() {
    let (mut ledger, watches) = watching(1);
    let (watch, object) = (&watches[0], &watches[0].object);
    ledger.showed(watch, shown("101"), at(20));
    let fetch = ledger.poll_fetch(at(20)).unwrap();
    for number in 102..200 {
        ledger.showed(watch, shown(&number.to_string()), at(21));
    }
    ledger.fetched(fetch.id, found(&version("u", "150"), "150"), at(21));
    assert_eq!(errands(&mut ledger), [told(object, version("u", "150"), 20)]);
    let last = fetches(&mut ledger, not_older("199"), &version("u", "199"), 22);
    assert_eq!(last, [told(object, version("u", "199"), 21)]);
    assert_eq!(ledger.poll_timeout(true), None);
}

#[test]
fn who_asks_anew_hears_what_the_store_has_even_if_that_is_known() {
    let (mut ledger, watches) = watching(1);
    let object = &watches[0].object;
    ledger.showed(&watches[0], shown("1"), at(20));
    let running = ledger.poll_fetch(at(20)).unwrap();
    ledger.want(&many(1), at(21));
    assert_eq!((errands(&mut ledger), ledger.poll_timeout(true)), (vec![], None), "nobody asked anew");
    ledger.want(&BTreeMap::from([(object.clone(), 7)]), at(21));
    assert_eq!(errands(&mut ledger), []);
    ledger.fetched(running.id, found(&version("u", "1"), "1"), at(22));
    assert_eq!(errands(&mut ledger), [told(object, version("u", "1"), 20)], "that began before the question");
    let answer = fetches(&mut ledger, Freshness::Newest, &version("u", "1"), 23);
    assert_eq!(answer, [told(object, version("u", "1"), 23)]);
    assert_eq!(ledger.poll_timeout(true), None);
}

#[test]
fn an_object_that_is_too_large_is_unmeasured_and_watched_until_it_is_smaller() {
    let (mut ledger, watches) = watching(1);
    let (watch, object) = (&watches[0], &watches[0].object);
    ledger.showed(watch, shown("101"), at(20));
    let large = fetches(&mut ledger, not_older("101"), &Observed::Unmeasured, 20);
    assert_eq!(large, [Errand::SayTooLarge(object.clone()), told(object, Observed::Unmeasured, 20)]);
    ledger.showed(watch, shown("102"), at(40));
    assert_eq!(fetches(&mut ledger, not_older("102"), &Observed::Unmeasured, 40), [], "that was said");
    ledger.showed(watch, shown("103"), at(60));
    let small = fetches(&mut ledger, not_older("103"), &version("u", "103"), 60);
    assert_eq!(small, [told(object, version("u", "103"), 60)]);
}
