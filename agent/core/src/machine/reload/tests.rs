use proptest::prelude::*;

use super::*;

fn millis() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0), 0..5_000_u64, 0..86_400_000_u64].prop_map(Duration::from_millis)
}

proptest! {
    #[test]
    fn a_wait_is_never_shorter_than_one_of_its_parts_nor_longer_than_all_of_them(
        debounce in millis(),
        min_interval in millis(),
        splay in millis(),
        first in millis(),
        later in millis(),
        delivered in proptest::option::of(millis()),
    ) {
        let plan = TargetPlan { container: "app".into(), signal: crate::model::signal::Signal::HUP, volumes: Vec::new() };
        let mut target = Target::new(plan);
        let waits = Waits { debounce, min_interval, splay };
        prop_assert_eq!(target.due(waits), Time::default(), "nothing waits");
        let first = Time::since_boot(first);
        target.changes = Some((first, first + later));
        target.last_delivery = delivered.map(Time::since_boot);
        let due = target.due(waits);
        let next = target.last_delivery.map_or(Time::default(), |delivered| delivered + min_interval);
        prop_assert!(due >= first + splay + debounce.min(later + debounce));
        prop_assert!(due >= next);
        prop_assert!(due <= next.max(first + debounce * 10 + splay));
    }

    #[test]
    fn pauses_grow_to_five_seconds_and_one_ends_where_patience_does(start in millis()) {
        let start = Time::since_boot(start);
        let mut retry = Retry::begin(start);
        let mut tries = vec![retry.next];
        for _ in 0..12 {
            retry.again(retry.next);
            tries.push(retry.next);
        }
        prop_assert!(tries.contains(&(start + PATIENCE)));
        let pauses = tries.windows(2).map(|pair| pair[1].since(pair[0]));
        prop_assert!(pauses.into_iter().all(|pause| pause > Duration::ZERO && pause <= LONGEST_BACKOFF));
    }
}
