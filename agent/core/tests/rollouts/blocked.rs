//! What can't be done keeps a roll waiting, says so once, and nobody else waits for it.

use reloadlet_core::rollouts::event::Wait;
use reloadlet_core::rollouts::workload::WorkloadRef;

use crate::cluster::{Deployed, ms};
use crate::promises::{MINUTE, data, installed, object, one, uses, who};
use crate::simulation::Simulation;

impl Simulation {
    /// What is shown of why a workload waits.
    fn shown(&self, who: &WorkloadRef) -> Option<(Option<Wait>, Option<String>)> {
        let controller = &self.running.values().next().unwrap().machine;
        let of = controller.overview().find(|of| of.workload == who)?;
        Some((of.wait, of.trouble.map(str::to_owned)))
    }
}

#[test]
fn a_state_that_cant_be_written_is_what_is_waited_for_and_is_said_once() {
    for manner in ["true", "in-place"] {
        let mut world = one(&[uses("x", "a")]);
        world.cluster.touch(&who(0), |workload| workload.manner = manner);
        world.schedule(&who(0));
        world.show_workload(&who(0));
        world.wait(MINUTE);
        world.refused.writes = true;
        world.change_to(11);
        for _ in 0..20 {
            world.wait(MINUTE);
            let expected = (Some(Wait::State), Some("it can't be written".to_owned()));
            assert_eq!(world.shown(&who(0)), Some(expected), "{manner}");
            assert_eq!(world.waiting(), [(who(0), Wait::State)]);
        }
        let expected = [(who(0), Wait::State, "it can't be written".to_owned())];
        assert_eq!((&*world.blocked, world.rolls, world.grants), (&expected[..], 0, 0));
        world.refused.writes = false;
        world.wait(3 * MINUTE);
        assert_eq!((world.cluster.is_stale(&who(0)), world.shown(&who(0)), world.finished), (false, None, 1));
        assert_eq!(world.blocked.len(), 1);
    }
}

#[test]
fn what_came_of_a_roll_waits_for_the_state_and_nobody_waits_for_that_afterwards() {
    let mut world = one(&[uses("x", "a")]);
    world.change_to(11);
    while world.rolls == 0 {
        world.wait(10);
    }
    world.refused.writes = true;
    world.wait(10 * MINUTE);
    assert_eq!((world.waiting(), world.started), (vec![(who(0), Wait::State)], 0));
    assert_eq!(world.blocked.len(), 1);
    world.refused.writes = false;
    world.wait(5_000);
    assert_eq!((world.waiting(), world.started, world.rolls), (vec![], 1, 1));
    world.wait(MINUTE);
    assert_eq!((world.finished, world.shown(&who(0))), (1, None));
}

#[test]
fn of_what_a_state_that_cant_be_written_keeps_nothing_takes_the_places_of_others() {
    let mut world = installed(12, &[uses("x", "a")], |_| 0);
    world.refused.writes = true;
    world.change_to(11);
    world.wait(10 * MINUTE);
    let waiting = world.waiting();
    assert_eq!(waiting.len(), 12);
    assert!(waiting.iter().all(|(_, wait)| *wait == Wait::State), "{waiting:?}");
    assert_eq!(world.blocked.len(), 12, "each is said once");
    world.refused.writes = false;
    world.wait(20 * MINUTE);
    assert_eq!((world.rolls, world.waiting()), (12, vec![]));
}

#[test]
fn a_state_that_cant_be_read_is_what_is_waited_for_as_well() {
    let mut world = one(&[uses("x", "a")]);
    world.change_to(11);
    world.wait(1_000);
    (world.refused.writes, world.refused.reads) = (true, true);
    world.wait(10 * MINUTE);
    let expected = (Some(Wait::State), Some("it can't be read".to_owned()));
    assert_eq!(world.shown(&who(0)), Some(expected));
    (world.refused.writes, world.refused.reads) = (false, false);
    world.wait(MINUTE);
    assert_eq!((world.rolls, world.finished, world.waiting()), (1, 1, vec![]));
}

#[test]
fn pods_that_cant_be_listed_are_what_is_waited_for_and_are_asked_for_less_and_less() {
    let mut world = installed(4, &[uses("x", "a")], |_| 0);
    world.refused.lists.insert(who(0));
    world.change_to(11);
    world.wait(5 * MINUTE);
    assert_eq!(
        (world.rolls, world.waiting()),
        (3, vec![(who(0), Wait::Pods)]),
        "the others have had their turns"
    );
    let expected = (Some(Wait::Pods), Some("they can't be listed".to_owned()));
    assert_eq!(world.shown(&who(0)), Some(expected));
    let listings = world.listings;
    for _ in 0..60 {
        // Whatever else happens meanwhile.
        world.set_held(true);
        world.set_held(false);
        world.wait(MINUTE);
    }
    assert!((10..=13).contains(&(world.listings - listings)), "{}", world.listings - listings);
    assert_eq!(world.blocked, [(who(0), Wait::Pods, "they can't be listed".to_owned())]);
    world.refused.lists.clear();
    world.wait(6 * MINUTE);
    assert_eq!((world.rolls, world.waiting()), (4, vec![]));
}

#[test]
fn what_an_object_holds_that_cant_be_read_is_what_its_users_wait_for_and_others_are_rolled() {
    let mut world = installed(3, &[uses("x", "a")], |_| 0);
    let other = Deployed::new(3, vec![uses("y", "a")], 2, 0, world.now);
    world.deploy(who(3), other);
    world.wait(MINUTE);
    assert_eq!(world.waiting(), []);
    world.refused.fetches = Some(object("y"));
    world.set(&object("y"), Some(data(&[("a", 30)])));
    world.change_to(11);
    for _ in 0..10 {
        world.wait(MINUTE);
        let expected = (Some(Wait::Objects), Some("it can't be read".to_owned()));
        assert_eq!(world.shown(&who(3)), Some(expected));
    }
    assert_eq!((world.rolls, world.waiting()), (3, vec![(who(3), Wait::Objects)]));
    assert_eq!(world.blocked, [(who(3), Wait::Objects, "it can't be read".to_owned())]);
    world.refused.fetches = None;
    world.wait(6 * MINUTE);
    assert_eq!((world.rolls, world.waiting()), (4, vec![]));
}

#[test]
fn a_plan_of_which_nobody_can_say_whether_it_was_made_keeps_others_waiting_no_longer_than_a_roll() {
    let mut world = installed(4, &[uses("x", "a")], |_| 0);
    world.options.most = 1;
    world.end_all();
    world.start();
    world.change_to(11);
    // The first one is planned, and the controller dies.
    while !world.cluster.shards.values().any(|(_, records)| format!("{records:?}").contains("Planned")) {
        world.wait(1);
    }
    world.end_all();
    let planned = |world: &Simulation| {
        let records = world.cluster.shards.values().flat_map(|(_, records)| records);
        records
            .filter(|(_, record)| format!("{record:?}").contains("Planned"))
            .map(|(who, _)| who.clone())
            .next()
    };
    let first = planned(&world).unwrap();
    world.refused.lists.insert(first.clone());
    world.start();
    world.wait(MINUTE);
    assert_eq!(world.rolls, 0, "it may be made yet");
    world.wait(10 * MINUTE);
    assert_eq!((world.rolls, world.waiting()), (3, vec![(first.clone(), Wait::Pods)]));
    world.refused.lists.clear();
    world.wait(10 * MINUTE);
    assert_eq!((world.rolls, world.waiting()), (4, vec![]));
}

#[test]
fn a_restart_of_which_nobody_can_see_how_far_it_is_keeps_others_waiting_no_longer_than_a_roll() {
    let mut world = installed(3, &[uses("x", "a")], |_| 0);
    world.options.most = 1;
    world.end_all();
    world.start();
    world.cluster.touch(&who(0), |workload| {
        workload.manner = "in-place";
        workload.uses = vec![uses("y", "a")];
    });
    world.cluster.workloads.get_mut(&who(0)).unwrap().grace = ms(1_000);
    world.schedule(&who(0));
    world.show_workload(&who(0));
    world.wait(MINUTE);
    world.refused.looks = true;
    world.set(&object("y"), Some(data(&[("a", 11)])));
    while world.grants == 0 {
        world.wait(100);
    }
    world.change_to(11);
    world.wait(20 * MINUTE);
    assert_eq!(world.rolls, 2);
}
