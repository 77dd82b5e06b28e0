use super::*;

#[test]
fn nothing_is_watched_before_one_question_is_answered() {
    let mut ledger = Ledger::new(false, at(0));
    assert_eq!(ledger.poll_timeout(true), None, "nobody wants anything");
    ledger.want(&many(3), at(0));
    assert_eq!(errands(&mut ledger), [Errand::Ask(config_map("0000"))]);
    ledger.want(&many(4), at(1));
    assert_eq!(errands(&mut ledger), [], "it is asked already");
    ledger.answered(ObjectKind::ConfigMap, Answer::Fails(Duration::from_secs(2)), at(1));
    assert_eq!((errands(&mut ledger), ledger.poll_timeout(true)), (vec![], Some(at(3))));
    ledger.handle_timeout(at(3));
    assert_eq!(errands(&mut ledger), [Errand::Ask(config_map("0000"))]);
    ledger.answered(ObjectKind::ConfigMap, YES, at(4));
    assert_eq!(started(&mut ledger, at(4)).len(), 4);
    assert_eq!(ledger.poll_timeout(true), None);
}

#[test]
fn a_missing_right_ends_its_kind_and_is_looked_for_every_five_minutes() {
    let mut ledger = Ledger::new(true, at(0));
    let secret = object(ObjectKind::Secret, "secret");
    let mut wanted = many(2);
    wanted.insert(secret.clone(), 9);
    ledger.want(&wanted, at(0));
    ledger.answered(ObjectKind::ConfigMap, YES, at(0));
    ledger.answered(ObjectKind::Secret, YES, at(0));
    let watches = started(&mut ledger, at(0));

    let (zero, one) = (config_map("0000"), config_map("0001"));
    ledger.ended(&watches[0], Failure::Forbidden, at(10), NO_CHANCE);
    ledger.ended(&watches[1], Failure::Forbidden, at(10), NO_CHANCE);
    for _ in 0..2 {
        let fetch = ledger.poll_fetch(at(11)).unwrap();
        ledger.not_fetched(fetch.id, Failure::Forbidden, at(11), u64::MAX);
    }
    assert_eq!((errands(&mut ledger), ledger.poll_timeout(false)), (vec![], Some(at(15))));
    for second in (15..40).step_by(5) {
        ledger.handle_timeout(at(second));
        assert_eq!(errands(&mut ledger), [Errand::Ask(zero.clone())], "one is enough");
        ledger.answered(ObjectKind::ConfigMap, Answer::Forbidden, at(second));
        assert_eq!(errands(&mut ledger), [], "the API server may just have started");
    }
    ledger.handle_timeout(at(40));
    errands(&mut ledger);
    ledger.answered(ObjectKind::ConfigMap, Answer::Forbidden, at(40));
    let expected = [
        Errand::Stop(zero.clone()),
        Errand::Stop(one.clone()),
        told(&zero, Observed::Unmeasured, 40),
        told(&one, Observed::Unmeasured, 40),
    ];
    assert_eq!(errands(&mut ledger), expected, "Secrets are watched on");
    assert!(ledger.is_missing(ObjectKind::ConfigMap) && !ledger.is_missing(ObjectKind::Secret));
    wanted.insert(config_map("0002"), 10);
    ledger.want(&wanted, at(50));
    assert_eq!(errands(&mut ledger), [told(&config_map("0002"), Observed::Unmeasured, 50)]);
    for (asked, next) in [(70, 370), (370, 670)] {
        assert_eq!(ledger.poll_timeout(true), Some(at(asked)));
        ledger.handle_timeout(at(asked));
        assert_eq!(errands(&mut ledger), [Errand::Ask(zero.clone())]);
        ledger.answered(ObjectKind::ConfigMap, Answer::Forbidden, at(asked));
        assert_eq!((errands(&mut ledger), ledger.poll_timeout(true)), (vec![], Some(at(next))));
    }
    ledger.answered(ObjectKind::ConfigMap, YES, at(671));
    let back = fetches(&mut ledger, Freshness::Any, &version("u", "1"), 671);
    assert_eq!(back[1..], [told(&zero, version("u", "1"), 671)], "it comes back");
    assert_eq!(started(&mut ledger, at(672)).len(), 2);
}

#[test]
fn a_refusal_that_passes_changes_nothing() {
    let (mut ledger, watches) = watching(1);
    for start in [0, 100] {
        ledger.ended(&watches[0], Failure::Forbidden, at(start), NO_CHANCE);
        ledger.handle_timeout(at(start + 5));
        assert_eq!(errands(&mut ledger), [Errand::Ask(config_map("0000"))]);
        ledger.answered(ObjectKind::ConfigMap, YES, at(start + 6));
        assert_eq!(started(&mut ledger, at(start + 6)), [watches[0].clone()]);
        assert_eq!(ledger.poll_timeout(true), None);
    }
    ledger.ended(&watches[0], Failure::Forbidden, at(200), NO_CHANCE);
    ledger.handle_timeout(at(205));
    errands(&mut ledger);
    ledger.answered(ObjectKind::ConfigMap, Answer::Forbidden, at(205));
    assert_eq!(errands(&mut ledger), [], "what was long ago doesn't count");
}

#[test]
fn secrets_are_unmeasured_unless_they_are_to_be_watched() {
    let mut ledger = Ledger::new(false, at(0));
    let secret = object(ObjectKind::Secret, "secret");
    ledger.want(&BTreeMap::from([(secret.clone(), 1)]), at(1));
    assert_eq!(errands(&mut ledger), [told(&secret, Observed::Unmeasured, 1)]);
    assert_eq!(ledger.poll_timeout(true), None, "nobody asks for them");
}

#[test]
fn agents_that_start_together_begin_to_ask_when_each_of_them_is_told_to() {
    let mut ledger = Ledger::new(false, at(3));
    ledger.want(&many(2), at(1));
    assert_eq!((errands(&mut ledger), ledger.poll_timeout(true)), (vec![], Some(at(3))));
    ledger.handle_timeout(at(3));
    assert_eq!(errands(&mut ledger), [Errand::Ask(config_map("0000"))]);
}
