use super::*;
use crate::kernel::mounts::Device;

fn generation(n: u32) -> Generation {
    Generation::parse(&format!("..2026_11_21_05_56_44.{n}")).unwrap()
}

fn at(ms: u64) -> Time {
    Time::since_boot(Duration::from_millis(ms))
}

fn listing(begun: u64, current: Option<u32>, others: &[u32], inode: u64) -> Listing {
    Listing {
        begun: at(begun),
        dir: Some(DirId { device: Device { major: 0, minor: 1 }, inode }),
        current: current.map(|n| (generation(n), at(n.into()))),
        others: others.iter().copied().map(generation).collect(),
    }
}

/// A volume whose generation 1 stood there at its discovery.
fn known() -> Volume {
    let mut volume = Volume::default();
    let news = volume.listed(&listing(1000, Some(1), &[], 5), at(1001));
    assert!(matches!(news, News::Settled(Settled { how: How::Discovered, .. })), "{news:?}");
    volume
}

fn assert_settled(news: &News, n: u32, swapped: u64, settled: u64) {
    let News::Settled(found) = news else { panic!("not settled: {news:?}") };
    assert_eq!((&found.generation, found.swapped, found.settled), (&generation(n), at(swapped), at(settled)));
    assert_eq!(found.how, How::Changed);
}

#[test]
fn a_swap_settles_when_the_directory_before_is_gone() {
    let mut volume = known();
    assert_eq!(volume.swapped(Some(generation(2)), at(2000)), News::Swapped(generation(2)));
    assert_eq!(volume.removed(&generation(9), at(2001)), News::Nothing, "a leftover");
    assert_settled(&volume.removed(&generation(1), at(2002)), 2, 2000, 2002);
    assert_eq!(volume.timeout(), None);
}

#[test]
fn a_kubelet_that_died_after_the_rename_settles_by_time_out() {
    let mut volume = known();
    volume.swapped(Some(generation(2)), at(2000));
    assert_eq!(volume.timeout(), Some(at(4000)));
    assert_eq!(volume.handle_timeout(at(3999)), News::Nothing);
    assert_settled(&volume.handle_timeout(at(4000)), 2, 2000, 4000);
    assert!(volume.take_timed_out() && !volume.take_timed_out());
}

#[test]
fn a_swap_during_a_settle_waits_for_its_own_predecessor() {
    let mut volume = known();
    volume.swapped(Some(generation(2)), at(2000));
    volume.swapped(Some(generation(3)), at(2001));
    assert_eq!(volume.removed(&generation(1), at(2002)), News::Nothing);
    assert_settled(&volume.removed(&generation(2), at(2003)), 3, 2001, 2003);
}

#[test]
fn a_missed_swap_is_found_by_a_listing() {
    let mut volume = known();
    assert_settled(&volume.listed(&listing(2500, Some(2), &[7], 5), at(2501)), 2, 2, 2501);
    assert!(!volume.is_rebuilt());
}

#[test]
fn a_listing_waits_for_the_known_predecessor() {
    let mut volume = known();
    let late = Listing { current: Some((generation(2), at(2400))), ..listing(2500, None, &[1], 5) };
    assert_eq!(volume.listed(&late, at(2501)), News::Swapped(generation(2)));
    assert_settled(&volume.removed(&generation(1), at(2600)), 2, 2400, 2600);
}

#[test]
fn a_listing_older_than_a_notification_is_made_again() {
    let mut volume = known();
    volume.swapped(Some(generation(2)), at(2000));
    assert_eq!(volume.listed(&listing(1999, Some(1), &[], 5), at(2001)), News::List);
    assert_eq!(volume.generation(), Some(&generation(2)));
}

#[test]
fn the_first_publication_is_no_change_and_settles_at_once() {
    for listed in [false, true] {
        let mut volume = Volume::default();
        assert_eq!(volume.listed(&listing(1000, None, &[], 5), at(1001)), News::Nothing);
        let news = if listed {
            volume.listed(&listing(1100, Some(1), &[], 5), at(1101))
        } else {
            volume.swapped(Some(generation(1)), at(1100))
        };
        assert!(matches!(news, News::Settled(Settled { how: How::First, .. })), "{news:?}");
    }
}

#[test]
fn a_volume_made_anew_is_a_change_in_a_rebuilt_directory() {
    let mut volume = known();
    assert_eq!(volume.torn_down(at(2000)), News::List);
    volume.listed(&Listing { dir: None, ..listing(2001, None, &[], 5) }, at(2002));
    assert_eq!(volume.swapped(Some(generation(2)), at(2100)), News::List);
    assert_settled(&volume.listed(&listing(2101, Some(2), &[], 6), at(2102)), 2, 2100, 2102);
    assert!(volume.is_rebuilt());
}

#[test]
fn a_swap_whose_name_is_not_known_asks_for_a_listing() {
    assert_eq!(known().swapped(None, at(2000)), News::List);
}

#[test]
fn a_notification_before_the_first_listing_is_not_lost() {
    let mut volume = Volume::default();
    assert_eq!(volume.swapped(Some(generation(2)), at(2000)), News::Nothing);
    assert_eq!(volume.listed(&listing(1999, Some(1), &[], 5), at(2001)), News::List, "older than the swap");
    let news = volume.listed(&listing(2001, Some(2), &[], 5), at(2002));
    assert!(matches!(news, News::Settled(Settled { how: How::Discovered, .. })), "{news:?}");
}

#[test]
fn a_teardown_that_is_listed_halfway_is_no_new_directory_yet() {
    let mut volume = known();
    assert_eq!(volume.torn_down(at(2000)), News::List);
    volume.listed(&listing(2001, None, &[], 5), at(2002));
    assert_eq!(volume.rebuilds(), 0, "the old directory, emptied");
    volume.listed(&listing(2003, Some(2), &[], 6), at(2004));
    assert_eq!(volume.rebuilds(), 1);
    volume.listed(&listing(2005, None, &[], 7), at(2006));
    volume.listed(&listing(2007, Some(3), &[], 7), at(2008));
    assert_eq!(volume.rebuilds(), 2, "each one counts: what a container sees is asked anew");
}

#[test]
fn after_lost_notifications_a_swap_is_complete_once_no_other_generation_is_there() {
    // The swap from 1 to 2 was lost, and the directory of 2 still stands.
    let lost = || {
        let mut volume = known();
        volume.doubt(at(2000));
        volume.removed(&generation(1), at(2001));
        volume
    };
    let mut volume = lost();
    assert_eq!(volume.swapped(Some(generation(3)), at(2002)), News::List);
    assert_eq!(volume.removed(&generation(1), at(2003)), News::List);
    volume.listed(&listing(2004, Some(3), &[2], 5), at(2005));
    assert!(volume.settled().is_none());
    assert_settled(&volume.listed(&listing(2006, Some(3), &[], 5), at(2007)), 3, 2002, 2007);
    let mut volume = lost();
    let seen = Listing { current: Some((generation(3), at(2001))), ..listing(2002, Some(3), &[2], 5) };
    volume.listed(&seen, at(2003));
    assert!(volume.settled().is_none(), "a listing may be the first to see it");
}

#[test]
fn a_listing_that_was_begun_before_notifications_were_lost_says_nothing() {
    let mut volume = known();
    volume.doubt(at(2000));
    assert_eq!(volume.listed(&listing(1999, Some(1), &[], 5), at(2001)), News::List);
    assert_eq!(volume.swapped(Some(generation(3)), at(2002)), News::List, "it is in doubt still");
}

#[test]
fn a_publication_after_lost_notifications_may_be_a_change() {
    let mut volume = Volume::default();
    volume.listed(&listing(1000, None, &[], 5), at(1001));
    volume.doubt(at(2000));
    assert_eq!(volume.swapped(Some(generation(2)), at(2001)), News::List);
    let news = volume.listed(&listing(2002, Some(2), &[], 5), at(2003));
    assert!(matches!(news, News::Settled(Settled { how: How::Changed, .. })), "{news:?}");
}

#[test]
fn what_a_volume_is_doing_is_one_thing_at_a_time() {
    let told = |volume: &Volume| {
        (volume.is_listed(), volume.is_missing(), volume.settling().is_some(), volume.settled().is_some())
    };
    let mut volume = Volume::default();
    assert_eq!(told(&volume), (false, false, false, false), "nobody has looked yet");
    volume.listed(&listing(500, None, &[], 5), at(501));
    assert_eq!(told(&volume), (true, true, false, false));
    let mut volume = known();
    assert_eq!(told(&volume), (true, false, false, true));
    volume.swapped(Some(generation(2)), at(2000));
    assert_eq!(told(&volume), (true, false, true, false));
}

#[test]
fn what_a_late_listing_completes_timed_out_only_where_the_change_was_seen() {
    let mut volume = known();
    volume.swapped(Some(generation(2)), at(2000));
    assert_settled(&volume.listed(&listing(4001, Some(2), &[1], 5), at(4002)), 2, 2000, 4002);
    assert!(volume.take_timed_out());
    let mut found = Volume::default();
    let news = found.listed(&listing(9000, Some(1), &[7], 5), at(9001));
    let News::Settled(Settled { how: How::Discovered, settled, .. }) = news else { panic!("{news:?}") };
    assert_eq!(settled, at(2001), "it was complete when its time was over");
    assert!(!found.take_timed_out(), "the leftover stood there before");
}
