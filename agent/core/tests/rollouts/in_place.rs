//! Restarts in place: one pod at a time, each once, and none where something is against it.

use reloadlet_core::model::restart::Finding;
use reloadlet_core::model::time::Time;
use reloadlet_core::rollouts::event::{Obstacle, Wait};

use crate::cluster::{BAD, Deployed, ms};
use crate::pods::PodState;
use crate::promises::{MINUTE, data, object, uses, who};
use crate::simulation::Simulation;

/// A workload of so many pods that asks for this, and an object; a controller runs.
fn installed(manner: &'static str, replicas: usize) -> Simulation {
    let mut world = Simulation::calm();
    world.set(&object("x"), Some(data(&[("a", 10)])));
    let mut deployed = Deployed::new(1, vec![uses("x", "a")], replicas, 0, world.now);
    deployed.manner = manner;
    world.deploy(who(0), deployed);
    world.wait(MINUTE);
    world.start();
    world.wait(MINUTE);
    assert_eq!((world.rolls, world.grants), (0, 0), "nothing is done at the installation");
    world
}

impl Simulation {
    pub(crate) fn change_to(&mut self, value: u64) {
        self.set(&object("x"), Some(data(&[("a", value)])));
    }

    fn refuse(&mut self, says: Option<Finding>) {
        self.cluster.workloads.get_mut(&who(0)).unwrap().refuses = Some(says);
    }

    fn restarts(&self) -> Vec<u32> {
        self.cluster.workloads[&who(0)].pods.iter().map(|pod| pod.restarts).collect()
    }

    fn is_stale(&self) -> bool {
        self.cluster.is_stale(&who(0))
    }
}

#[test]
fn each_pod_is_restarted_once_one_after_another() {
    for manner in ["in-place", "in-place,rollout"] {
        let mut world = installed(manner, 4);
        world.change_to(11);
        world.wait(5 * MINUTE);
        assert_eq!((world.restarts(), world.is_stale()), (vec![1; 4], false));
        assert_eq!((world.rolls, world.grants, world.finished), (0, 4, 1));
        assert_eq!((world.waiting(), &*world.obstacles), (vec![], &[][..]));
        world.wait(60 * MINUTE);
        assert_eq!((world.grants, world.finished), (4, 1));
        world.change_to(12);
        world.wait(5 * MINUTE);
        assert_eq!((world.restarts(), world.is_stale(), world.rolls), (vec![2; 4], false, 0));
    }
}

#[test]
fn a_controller_that_takes_over_goes_on_where_the_other_one_was() {
    for end in (5_000..40_000).step_by(700) {
        let mut world = installed("in-place", 4);
        world.change_to(11);
        world.wait(end);
        world.end_all();
        world.start();
        world.wait(5 * MINUTE);
        assert_eq!((world.restarts(), world.is_stale()), (vec![1; 4], false), "after {end}");
        assert_eq!((world.waiting(), world.rolls), (vec![], 0));
    }
}

#[test]
fn a_content_that_breaks_a_pod_stops_after_it_and_a_good_one_goes_on() {
    for replicas in [3, 4] {
        let mut world = installed("in-place", replicas);
        world.change_to(10 + BAD);
        world.wait(10 * MINUTE);
        let restarted = world.restarts().iter().filter(|restarts| **restarts > 0).count();
        assert_eq!((restarted, world.failed, world.grants), (1, 1, 1));
        assert_eq!(world.waiting(), [(who(0), Wait::Failed)]);
        world.change_to(21);
        world.wait(60 * MINUTE);
        assert_eq!((world.is_stale(), world.rolls, world.finished), (false, 0, 1));
        assert_eq!(world.waiting(), []);
    }
}

#[test]
fn who_was_restarted_not_long_ago_is_waited_for_or_replaced() {
    let mut world = installed("in-place", 2);
    world.change_to(11);
    world.wait(5 * MINUTE);
    world.change_to(12);
    world.wait(3 * MINUTE);
    assert_eq!((world.restarts(), world.waiting()), (vec![1, 1], vec![(who(0), Wait::Recent)]));
    assert_eq!(world.obstacles, [(Obstacle::Recent, false)]);
    world.wait(10 * MINUTE);
    assert_eq!((world.restarts(), world.is_stale(), world.rolls), (vec![2, 2], false, 0));
    let mut world = installed("in-place,rollout", 2);
    world.change_to(11);
    world.wait(5 * MINUTE);
    world.change_to(12);
    world.wait(3 * MINUTE);
    assert_eq!((world.rolls, world.is_stale()), (1, false));
    assert_eq!(world.obstacles, [(Obstacle::Recent, true)]);
}

#[test]
fn what_an_agent_refuses_isnt_done_and_new_pods_come_where_that_is_asked_for() {
    for (says, obstacle, grants) in [
        (Some(Finding::Unhandled), Obstacle::Unhandled, 3),
        // The first one isn't ready any more.
        (Some(Finding::StillRuns), Obstacle::StillRuns, 1),
        (None, Obstacle::Unanswered, 3),
    ] {
        let mut world = installed("in-place", 3);
        world.refuse(says);
        world.change_to(11);
        world.wait(10 * MINUTE);
        assert_eq!((world.restarts(), world.grants, world.rolls), (vec![0; 3], grants, 0), "{says:?}");
        assert_eq!(world.waiting(), [(who(0), Wait::InPlace)]);
        assert_eq!(world.obstacles, [(obstacle, false)]);
        let mut world = installed("in-place,rollout", 3);
        world.refuse(says);
        world.change_to(11);
        world.wait(10 * MINUTE);
        assert_eq!((world.rolls, world.grants, world.is_stale()), (1, 1, false), "{says:?}");
        assert_eq!((world.waiting(), world.obstacles), (vec![], vec![(obstacle, true)]));
    }
}

#[test]
fn who_has_more_time_to_end_than_the_deadline_keeps_no_other_workload_waiting_and_its_own_pods_until_it_has_ended()
 {
    let mut world = installed("in-place", 3);
    world.cluster.workloads.get_mut(&who(0)).unwrap().grace = ms(10 * 3_600_000);
    // It was told, and goes on.
    world.refuse(None);
    world.change_to(11);
    world.wait(60 * MINUTE);
    assert_eq!((world.grants, world.waiting()), (1, vec![(who(0), Wait::InPlace)]));
    assert!(world.obstacles.contains(&(Obstacle::StillRuns, false)), "{:?}", world.obstacles);
    world.wait(5 * 60 * MINUTE);
    assert_eq!(world.grants, 1);
    world.cluster.workloads.get_mut(&who(0)).unwrap().refuses = None;
    let (now, values) = (world.now, world.cluster.values(&who(0)));
    let state = world.cluster.workloads.get_mut(&who(0)).unwrap();
    let ended = state.pods.iter_mut().find(|pod| pod.grant.is_some()).unwrap();
    (ended.instance, ended.started, ended.restarts, ended.values) = (9_999, now, 1, values);
    world.wait(60 * MINUTE);
    assert_eq!((world.is_stale(), world.waiting()), (false, vec![]));
}

#[test]
fn a_pod_that_was_sent_nothing_keeps_no_other_one_waiting_however_long_it_has_to_end() {
    let mut world = installed("in-place", 3);
    world.cluster.workloads.get_mut(&who(0)).unwrap().grace = ms(10 * 3_600_000);
    world.refuse(Some(Finding::Unhandled));
    world.change_to(11);
    world.wait(30 * MINUTE);
    assert_eq!(world.grants, 3, "each has had its turn");
    assert!(
        world.obstacles.iter().all(|(obstacle, _)| *obstacle == Obstacle::Unhandled),
        "{:?}",
        world.obstacles
    );
}

#[test]
fn a_controller_that_takes_over_asks_what_came_of_a_grant_before_it_takes_a_pod_for_one_that_ends_late() {
    for (says, expected) in [(Some(Finding::Unhandled), Obstacle::Unhandled), (None, Obstacle::StillRuns)] {
        let mut world = installed("in-place", 3);
        world.cluster.workloads.get_mut(&who(0)).unwrap().grace = ms(10 * 3_600_000);
        world.refuse(says);
        world.change_to(11);
        world.wait(30 * MINUTE);
        let grants = world.grants;
        world.end_all();
        world.obstacles.clear();
        world.start();
        world.wait(30 * MINUTE);
        assert!(!world.obstacles.is_empty());
        assert!(world.obstacles.iter().all(|(obstacle, _)| *obstacle == expected), "{:?}", world.obstacles);
        assert_eq!((world.grants, world.waiting()), (grants, vec![(who(0), Wait::InPlace)]), "{says:?}");
    }
}

#[test]
fn whoever_cant_hear_what_came_of_a_grant_waits_as_for_one_that_was_told() {
    let mut world = installed("in-place", 3);
    world.cluster.workloads.get_mut(&who(0)).unwrap().grace = ms(10 * 3_600_000);
    world.refuse(Some(Finding::Unhandled));
    world.change_to(11);
    world.wait(30 * MINUTE);
    world.end_all();
    world.obstacles.clear();
    world.refused.looks = true;
    world.start();
    world.wait(30 * MINUTE);
    assert_eq!(world.waiting(), [(who(0), Wait::InPlace)]);
    assert_eq!(world.obstacles, [(Obstacle::StillRuns, false)]);
}

#[test]
fn a_hold_stops_between_two_pods() {
    let mut world = installed("in-place", 4);
    world.change_to(11);
    world.wait(10_000);
    world.set_held(true);
    world.wait(5 * MINUTE);
    assert_eq!((world.restarts().iter().sum::<u32>(), world.grants), (1, 1));
    assert_eq!(world.waiting(), [(who(0), Wait::Held)]);
    world.set_held(false);
    world.wait(5 * MINUTE);
    assert_eq!((world.restarts(), world.is_stale()), (vec![1; 4], false));
}

#[test]
fn a_content_that_comes_back_in_the_midst_reaches_those_that_had_the_other_one() {
    let mut world = installed("in-place", 4);
    world.change_to(11);
    world.wait(20_000);
    assert!(world.grants > 0 && world.grants < 4, "{}", world.grants);
    world.change_to(10);
    world.wait(30 * MINUTE);
    assert_eq!((world.is_stale(), world.waiting()), (false, vec![]));
}

#[test]
fn what_nobody_has_taken_up_is_granted_again_after_an_hour() {
    let mut world = installed("in-place", 2);
    world.refuse(None);
    world.change_to(11);
    world.wait(10 * MINUTE);
    assert_eq!((world.restarts(), world.waiting()), (vec![0; 2], vec![(who(0), Wait::InPlace)]));
    world.cluster.workloads.get_mut(&who(0)).unwrap().refuses = None;
    world.wait(80 * MINUTE);
    assert_eq!((world.restarts(), world.is_stale(), world.waiting()), (vec![1; 2], false, vec![]));
}

#[test]
fn a_file_that_shows_something_old_after_a_restart_is_no_end() {
    let mut world = with_files("in-place");
    world.change_to(11);
    world.wait(5 * MINUTE);
    assert_eq!((world.restarts(), world.finished, world.waiting()), (vec![1; 2], 1, vec![]));
    for finds in [Finding::Old, Finding::Unproved] {
        let mut world = with_files("in-place");
        world.cluster.workloads.get_mut(&who(0)).unwrap().finds = finds;
        world.change_to(11);
        world.wait(5 * MINUTE);
        assert_eq!((world.restarts(), world.finished, world.rolls), (vec![1; 2], 0, 0), "{finds:?}");
        assert_eq!(world.waiting(), [(who(0), Wait::InPlace)]);
        assert_eq!(world.obstacles, [(Obstacle::Unproved, false)]);
        let mut world = with_files("in-place,rollout");
        world.cluster.workloads.get_mut(&who(0)).unwrap().finds = finds;
        world.change_to(11);
        world.wait(5 * MINUTE);
        assert_eq!((world.rolls, world.finished), (1, 1), "{finds:?}");
        assert_eq!(world.obstacles, [(Obstacle::Unproved, true)]);
    }
}

#[test]
fn a_controller_that_takes_over_waits_for_what_came_of_the_last_turn() {
    let mut world = with_files("in-place");
    world.cluster.workloads.get_mut(&who(0)).unwrap().finds = Finding::Old;
    world.change_to(11);
    world.wait(12_000);
    assert_eq!(world.restarts().iter().sum::<u32>(), 1);
    world.end_all();
    world.start();
    world.wait(5 * MINUTE);
    assert_eq!((world.finished, world.waiting()), (0, vec![(who(0), Wait::InPlace)]));
}

/// A workload of two pods that have a file by subPath; a controller runs.
fn with_files(manner: &'static str) -> Simulation {
    let mut world = Simulation::calm();
    world.set(&object("x"), Some(data(&[("a", 10)])));
    let mut deployed = Deployed::new(1, vec![uses("x", "a")], 2, 0, world.now);
    (deployed.manner, deployed.has_files) = (manner, true);
    world.deploy(who(0), deployed);
    world.wait(MINUTE);
    world.start();
    world.wait(MINUTE);
    world
}

#[test]
fn who_takes_the_place_of_a_pod_that_was_deleted_in_its_turn_has_to_stay_before_the_next_turn() {
    let mut world = installed("in-place", 3);
    world.change_to(11);
    while world.grants == 0 {
        world.wait(100);
    }
    world.cluster.delete_pods(&who(0), |pod| pod.grant.is_some());
    world.schedule(&who(0));
    world.show_workload(&who(0));
    let is_new = |pod: &PodState| pod.values.values().all(|value| *value == 11);
    let is_ready = |world: &Simulation| {
        let pods = &world.cluster.workloads[&who(0)].pods;
        pods.iter().any(|pod| is_new(pod) && pod.available.is_some_and(|at| at <= world.now))
    };
    while !is_ready(&world) {
        world.wait(100);
    }
    world.wait(5_000);
    let be = |world: &mut Simulation, available: Option<Time>| {
        world.cluster.touch(&who(0), |workload| {
            let new = workload.pods.iter_mut().filter(|pod| is_new(pod));
            new.for_each(|pod| pod.available = available);
        });
        world.schedule(&who(0));
        world.show_workload(&who(0));
        world.wait(10 * MINUTE);
    };
    be(&mut world, None);
    assert_eq!((world.grants, world.is_stale()), (1, true));
    let now = world.now;
    be(&mut world, Some(now));
    assert_eq!((world.grants, world.is_stale()), (3, false));
}
