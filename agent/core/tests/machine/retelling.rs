//! A container that didn't read what it was told of is told once more, and it is said of those that don't read at all.

use reloadlet_core::Action;
use reloadlet_core::machine::event::{Delivery, Event, Report};
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::journal::{Again, JournalUpdate};
use reloadlet_core::model::object::ObjectVersion;
use reloadlet_core::model::outcome::{Outcome, Unread, Verdict};

use crate::measuring::{contents, measured, show, version};
use crate::node::{HUP, generation, ms, uid};
use crate::world::{World, app, app_with_two_volumes, config, more};

impl World {
    /// How it was said that something was left unread.
    pub(crate) fn unread(&self) -> Vec<Unread> {
        let of =
            |report: &Report| if let Report::Unread { unread, .. } = report { Some(*unread) } else { None };
        self.reports().filter_map(of).collect()
    }

    /// Second tellings that have ended.
    pub(crate) fn retold(&self) -> Vec<Outcome> {
        let of =
            |report: &Report| if let Report::Retold(reload) = report { Some(reload.outcome) } else { None };
        self.reports().filter_map(of).collect()
    }
}

/// A container that has read generation 2.
pub(crate) fn reader(annotations: &[(&str, &str)]) -> World {
    let mut world = World::app(annotations);
    read(&mut world, 2);
    world.actions.clear();
    world
}

pub(crate) fn read(world: &mut World, n: u32) {
    world.publish(&config(), n);
    world.pass(5);
    assert!(world.open(&config(), n));
    world.pass(60_000);
}

/// A generation that nobody reads, and its window.
pub(crate) fn unread(world: &mut World, n: u32) {
    world.publish(&config(), n);
    world.pass(10_000);
}

pub(crate) fn state(world: &World) -> Option<(String, u8)> {
    let status = world.machine.status(world.now);
    let unread = status[0].containers[0].unread.as_ref()?;
    Some((unread.state.as_str().to_owned(), unread.deliveries))
}

fn is_told_again(world: &World) -> bool {
    world.machine.status(world.now)[0].containers[0].told_again
}

#[test]
fn who_has_read_before_and_dropped_the_second_signal_is_told_once_more() {
    let mut world = reader(&[]);
    world.publish(&config(), 3);
    world.pass(300);
    assert!(world.open(&config(), 3));
    world.publish(&config(), 4);
    let sent = world.now;
    world.pass(9_999);
    assert_eq!(world.sends().len(), 2);
    world.pass(1);
    assert_eq!(world.sends().last(), Some(&(sent + ms(10_000), 1001)));
    world.pass(100);
    assert!(world.open(&config(), 4));
    world.pass(60_000);
    assert_eq!((world.sends().len(), world.unread(), state(&world)), (3, vec![], None));
    assert!(is_told_again(&world));
    assert_eq!(world.retold(), [Outcome::Delivered]);
    let ended =
        [("config", generation(3), Outcome::Delivered), ("config", generation(4), Outcome::Delivered)];
    assert_eq!(world.outcomes(), ended, "each ends once");
    assert_eq!(world.verdicts(), [Verdict::Reread, Verdict::Alive, Verdict::Reread]);
}

#[test]
fn what_is_left_unread_twice_is_said_once_and_not_told_a_third_time() {
    let mut world = reader(&[]);
    unread(&mut world, 3);
    assert_eq!(world.sends().len(), 2);
    assert_eq!((world.unread(), state(&world)), (vec![], None), "it isn't known yet");
    world.pass(10_000);
    assert_eq!((world.unread(), state(&world)), (vec![Unread::NotRead], Some(("not_read".to_owned(), 1))));
    world.pass(600_000);
    assert_eq!((world.sends().len(), world.unread().len()), (2, 1));
    assert_eq!(world.machine.counts().unread, [1, 0]);
    read(&mut world, 4);
    assert_eq!((state(&world), world.machine.counts().unread), (None, [0, 0]));
}

#[test]
fn where_the_pod_doesnt_want_it_nobody_is_told_twice_and_it_is_said() {
    let mut world = reader(&[("reloadlet.io/retell", "false")]);
    unread(&mut world, 3);
    world.pass(60_000);
    assert_eq!((world.sends().len(), world.unread()), (1, vec![Unread::NotRead]));
}

#[test]
fn nobody_is_told_twice_who_read_late_ended_or_has_something_newer() {
    let mut late = reader(&[("reloadlet.io/verify", "30s")]);
    late.publish(&config(), 3);
    late.pass(29_000);
    assert!(late.open(&config(), 3));
    late.pass(60_000);
    assert_eq!(late.sends().len(), 1);

    for restarts in [false, true] {
        let mut ended = reader(&[]);
        ended.publish(&config(), 3);
        ended.pass(5_000);
        ended.exit(1001);
        if restarts {
            ended.start(&uid(1), "app");
        }
        ended.pass(60_000);
        assert_eq!((ended.sends().len(), ended.unread()), (1, vec![]));
    }

    let mut newer = reader(&[]);
    newer.publish(&config(), 3);
    newer.pass(9_000);
    newer.publish(&config(), 4);
    newer.pass(5);
    newer.open(&config(), 4);
    newer.pass(60_000);
    assert_eq!((newer.sends().len(), newer.unread()), (2, vec![]));
}

#[test]
fn a_signal_that_still_waits_is_not_sent_again() {
    let mut world = reader(&[]);
    world.publish(&config(), 3);
    (world.node.process_mut(1001).blocked, world.node.process_mut(1001).pending) = (HUP, HUP);
    world.pass(60_000);
    assert_eq!((world.sends().len(), world.verdicts()), (1, vec![Verdict::Pending]));
}

#[test]
fn a_swap_while_the_second_telling_waits_takes_its_place() {
    let mut world = reader(&[("reloadlet.io/min-interval", "30s")]);
    unread(&mut world, 3);
    world.pass(10_000);
    assert_eq!(world.sends().len(), 1, "it waits");
    world.publish(&config(), 4);
    world.pass(9_998);
    assert_eq!(world.sends().len(), 1);
    world.pass(2);
    assert_eq!(world.sends().len(), 2);
    world.pass(5);
    world.open(&config(), 4);
    world.pass(60_000);
    assert_eq!((world.sends().len(), world.retold()), (2, vec![]));
    assert_eq!(world.outcomes().len(), 2, "{:?}", world.outcomes());
}

#[test]
fn a_swap_of_another_volume_that_tells_nobody_leaves_the_second_telling_as_it_is() {
    let annotations = [("reloadlet.io/min-interval", "30s"), ("reloadlet.io/debounce", "0s")];
    let mut world = measured(vec![app_with_two_volumes(1, &annotations)]);
    contents(&mut world, "more", &[(1, 1), (2, 2)]);
    // Its owner keeps it from triggering.
    show(&mut world, "more", ObjectVersion { ignored: true, ..version(2, 2) });
    read(&mut world, 2);
    unread(&mut world, 3);
    world.publish(&more(), 2);
    world.pass(10_000);
    assert_eq!(world.outcomes().last(), Some(&("more", generation(2), Outcome::Excluded)));
    world.pass(9_998);
    assert_eq!(world.sends().len(), 2);
    world.pass(1);
    assert_eq!((world.sends().len(), world.retold()), (3, vec![Outcome::Delivered]));
}

#[test]
fn the_waits_and_the_guard_hold_for_a_second_telling() {
    let mut world = World::app(&[("reloadlet.io/debounce", "2s"), ("reloadlet.io/min-interval", "30s")]);
    world.publish(&config(), 2);
    world.pass(2_000);
    assert!(world.open(&config(), 2));
    world.pass(60_000);
    world.actions.clear();
    world.publish(&config(), 3);
    world.pass(2_000);
    let sent = world.sends()[0].0;
    world.pass(29_998);
    assert_eq!(world.sends().len(), 1);
    world.node.process_mut(1001).caught = 0;
    world.pass(20_000);
    assert_eq!(world.sends().len(), 1, "nobody handles it");
    world.node.process_mut(1001).caught = HUP;
    world.pass(10_000);
    assert_eq!(world.sends().len(), 2);
    assert!(world.sends()[1].0 >= sent + ms(30_000));
}

#[test]
fn a_second_telling_that_waits_ends_with_its_process_and_nothing_is_said_of_it() {
    let mut world = reader(&[("reloadlet.io/min-interval", "30s")]);
    unread(&mut world, 3);
    world.exit(1001);
    world.pass(1_000);
    world.start(&uid(1), "app");
    world.pass(120_000);
    assert_eq!((world.sends().len(), world.unread(), world.retold()), (1, vec![], vec![]));
    assert_eq!(world.outcomes(), [("config", generation(3), Outcome::Delivered)]);
    assert_eq!(state(&world), None);
}

#[test]
fn a_second_telling_that_the_kernel_refuses_is_said() {
    let mut world = reader(&[]);
    world.publish(&config(), 3);
    world.delivery = Delivery::Failed("ENOSYS: Function not implemented");
    world.pass(60_000);
    assert_eq!((world.retold(), world.unread()), (vec![Outcome::Failed], vec![Unread::NotRead]));
    assert_eq!(world.outcomes(), [("config", generation(3), Outcome::Delivered)]);
}

#[test]
fn the_journal_knows_what_was_told_twice_and_who_has_read() {
    let mut world = reader(&[]);
    unread(&mut world, 3);
    assert_eq!(world.sends().len(), 2);
    let recorded = world.actions.iter().position(|(_, action)| {
        matches!(action, Action::Record(JournalUpdate::Rereads(_, _, Some(rereads))) if rereads.again == Again::Due)
    });
    let sent = world.actions.iter().rposition(|(_, action)| matches!(action, Action::Send(..)));
    assert!(recorded < sent, "before it is sent");
    world.start_agent();
    world.pass(120_000);
    assert_eq!(world.sends().len(), 2, "an agent that starts again doesn't repeat it");
    // It is known still that the container reads.
    world.publish(&config(), 4);
    world.pass(60_000);
    assert_eq!(world.sends().len(), 4);
    assert_eq!((world.unread(), state(&world)), (vec![Unread::NotRead], Some(("not_read".to_owned(), 1))));
    world.start_agent();
    world.pass(60_000);
    assert_eq!(state(&world), Some(("not_read".to_owned(), 1)), "the same after a restart");
    assert_eq!(world.unread().len(), 1, "it was said");
    world.exit(1001);
    world.start(&uid(1), "app");
    world.pass(5_000);
    assert_eq!(state(&world), None, "it has read what is there");
}

#[test]
fn a_content_that_comes_again_is_told_to_whoever_dropped_it() {
    let mut world = World::app(&[("reloadlet.io/keys", "key")]);
    let contents = [(2, 2), (3, 7), (4, 7)];
    let digests = contents.map(|(n, content)| (generation(n), Digest::new([content; 32])));
    world.node.volume(&config()).digests.extend(digests);
    read(&mut world, 2);
    world.actions.clear();
    world.publish(&config(), 3);
    world.pass(3_000);
    // Another file of the volume changes meanwhile.
    world.publish(&config(), 4);
    world.pass(3_000);
    assert_eq!(world.sends().len(), 1, "it is the same");
    world.pass(60_000);
    assert_eq!((world.sends().len(), world.retold().len()), (2, 1));
}

#[test]
fn three_signals_that_nobody_reads_after_are_said_once() {
    let mut world = World::app(&[]);
    for n in 2..8 {
        unread(&mut world, n);
        world.pass(60_000);
        let expected = (n >= 4).then(|| ("never_read".to_owned(), u8::try_from(n - 1).unwrap()));
        assert_eq!(state(&world), expected);
    }
    assert_eq!((world.unread(), world.sends().len()), (vec![Unread::NeverRead], 6));
    assert_eq!(world.machine.counts().unread, [0, 1]);
    world.start_agent();
    world.pass(5_000);
    assert_eq!(state(&world), Some(("never_read".to_owned(), 6)));
    read(&mut world, 8);
    assert_eq!(state(&world), None);
}

#[test]
fn where_opens_cant_be_seen_nothing_is_said_and_nobody_is_told_twice() {
    let mut never = World::app(&[]);
    for n in 2..8 {
        never.publish(&config(), n);
        never.handle(Event::OpensUnseen(config(), generation(n)));
        never.pass(60_000);
    }
    assert_eq!((never.unread(), state(&never)), (vec![], None));
    let mut once = reader(&[]);
    once.publish(&config(), 3);
    once.handle(Event::OpensUnseen(config(), generation(3)));
    once.pass(60_000);
    assert_eq!((once.sends().len(), once.unread()), (1, vec![]));
    // Whoever lists the directory first looks like the kubelet.
    let mut hidden = World::app(&[]);
    for n in 2..8 {
        hidden.publish(&config(), n);
        hidden.handle(Event::LookedThrough(config(), generation(n)));
        hidden.pass(60_000);
    }
    assert_eq!(hidden.unread(), []);
}

#[test]
fn a_volume_that_is_read_is_enough_for_all_that_one_signal_told_of() {
    let mut world = World::running(vec![app_with_two_volumes(1, &[])]);
    for n in 2..4 {
        world.publish(&config(), n);
        world.publish(&more(), n);
        world.pass(200);
        assert!(world.open(&more(), n));
        world.pass(60_000);
    }
    assert_eq!((world.sends().len(), world.unread()), (2, vec![]));
}

#[test]
fn under_other_annotations_nothing_of_it_is_known() {
    let mut world = World::app(&[]);
    for n in 2..5 {
        unread(&mut world, n);
    }
    assert!(state(&world).is_some());
    world.pods = vec![app(1, &[("reloadlet.io/verify", "11s")])];
    world.sync();
    world.pass(5_000);
    assert_eq!((state(&world), world.journal.rereads.len()), (None, 0));
}

#[test]
fn a_pod_that_goes_takes_its_records_with_it() {
    let mut world = reader(&[]);
    assert_eq!(world.journal.rereads.len(), 1);
    world.exit(1001);
    world.pods.clear();
    world.sync();
    world.pass(60_000);
    assert!(world.journal.rereads.is_empty());
    assert!(!world.reports().any(|report| matches!(report, Report::Unread { .. })));
}

#[test]
fn what_may_have_been_read_unseen_since_notifications_were_lost_isnt_told_again() {
    let mut world = reader(&[]);
    world.publish(&config(), 3);
    world.pass(1_000);
    world.handle(Event::Overflowed);
    world.pass(60_000);
    assert_eq!((world.sends().len(), state(&world)), (1, None));
    unread(&mut world, 4);
    assert_eq!(world.sends().len(), 3, "the next window is watched again");
}

#[test]
fn after_a_restart_a_content_that_comes_again_is_told_to_whoever_left_the_other_one_unread() {
    let mut world =
        World::node(vec![app(1, &[("reloadlet.io/keys", "*.conf"), ("reloadlet.io/retell", "false")])]);
    for (n, content) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
        world.node.volume(&config()).digests.insert(generation(n), Digest::new([content; 32]));
    }
    world.start_agent();
    world.pass(60_000);
    read(&mut world, 2);
    unread(&mut world, 3);
    world.pass(60_000);
    world.start_agent();
    world.pass(60_000);
    let before = world.sends().len();
    world.publish(&config(), 4);
    world.pass(60_000);
    assert_eq!(world.sends().len(), before + 1);
}

#[test]
fn only_of_the_volumes_that_were_told_of_last_it_is_said_that_nothing_was_read() {
    let mut world = World::running(vec![app_with_two_volumes(1, &[("reloadlet.io/debounce", "0s")])]);
    let unread = |world: &World| {
        let told = world.machine.status(world.now)[0].containers[0].volumes.clone();
        told.into_iter().filter(|told| told.unread).map(|told| String::from(&*told.name)).collect::<Vec<_>>()
    };
    read(&mut world, 2);
    world.publish(&more(), 2);
    world.pass(60_000);
    assert_eq!((unread(&world), state(&world)), (vec!["more".to_owned()], Some(("not_read".to_owned(), 1))));
    read(&mut world, 3);
    assert_eq!((unread(&world), state(&world)), (vec![], None));
}
