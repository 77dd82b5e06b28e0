use super::*;
use crate::model::object::ObjectKind;

fn at(seconds: u64) -> Time {
    Time::since_boot(Duration::from_secs(seconds))
}

#[test]
fn a_record_is_no_longer_when_its_roll_is_over() {
    let name = |n: u32| Name::from(format!("{n}-{}", "n".repeat(200)));
    let prints = |count| (0..count).map(|n| ((ObjectKind::ConfigMap, name(n)), print(1))).collect::<Prints>();
    let roll = Roll { marker: "00ff".into(), since: 7, ..Roll::new(prints(64), prints(64), false) };
    let planned = Record::begin("u".into(), prints(1)).plan(roll);
    let begun = planned.begun(at(8));
    for ended in [begun.ended(Step::Done), begun.ended(Step::Failed), begun.undone(prints(64))] {
        assert!(ended.length() <= planned.length(), "{} {}", ended.length(), planned.length());
    }
}

#[test]
fn a_record_is_the_same_after_it_was_written_as_json() {
    let prints = |n: u8| Prints::from([((ObjectKind::Secret, "db".into()), print(n))]);
    let roll = |n, mends| Roll {
        marker: "00ff".into(),
        wanted: prints(n),
        causes: Prints::new(),
        since: 7,
        mends,
        is_in_place: n == 3,
        turn: (n == 3).then(|| "pod".into()),
        is_under_way: n == 3,
    };
    let mut record = Record::begin("u".into(), prints(1));
    record.step = Step::Planned(roll(2, Some(Box::new(roll(3, None)))));
    record.rolled = vec![5, 6];
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record, "{json}");
    for bad in ["", "00ff", "+0000000000000000000000000000001", "0000000000000000000000000000000g"] {
        let json = json.replacen(&serde_json::to_string(&print(1)).unwrap(), &format!("{bad:?}"), 1);
        assert!(serde_json::from_str::<Record>(&json).is_err(), "{bad}");
    }
}

fn print(n: u8) -> Print {
    serde_json::from_str(&format!("\"{n:032x}\"")).unwrap()
}

#[test]
fn who_is_rolled_again_and_again_waits_twice_as_long_each_time() {
    let minute = Duration::from_secs(60);
    let hour = 60 * minute;
    let mut record = Record::begin("u".into(), Prints::new());
    for (rolls, expected) in [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8)] {
        record.rolled = (0..rolls).map(|n| 10_000 + n).collect();
        assert_eq!(record.pause(minute, hour, at(10_100)), minute * expected);
    }
    assert_eq!(record.pause(minute, hour, at(20_000)), minute, "what is long ago doesn't count");
}

#[test]
fn of_rolls_the_last_ones_are_remembered() {
    let roll = Roll { marker: "m".into(), ..Roll::new(Prints::new(), Prints::new(), false) };
    let mut record = Record::begin("u".into(), Prints::new());
    for n in 0..20 {
        record = record.plan(roll.clone()).begun(at(n));
    }
    assert_eq!(record.rolled, (12..20).collect::<Vec<u64>>());
    assert_eq!(record.last(), Some(at(19)));
}
