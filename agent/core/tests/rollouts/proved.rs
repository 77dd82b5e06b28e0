//! A roll is over once its pods have been available for ten seconds without a break.

use reloadlet_core::model::time::Time;
use reloadlet_core::rollouts::event::Wait;

use crate::cluster::ms;
use crate::promises::{MINUTE, data, installed, object, one, uses, who};
use crate::simulation::Simulation;

impl Simulation {
    /// All pods of a workload are available from this moment on, or aren't.
    fn be_available(&mut self, index: usize, at: Option<Time>) {
        self.cluster.touch(&who(index), |workload| {
            workload.pods.iter_mut().for_each(|pod| pod.available = at);
        });
        self.schedule(&who(index));
        self.show_workload(&who(index));
    }

    /// Waits until a workload was rolled, and is available.
    fn wait_rolled(&mut self, index: usize) {
        let before = self.cluster.workloads[&who(index)].rolls;
        while self.cluster.workloads[&who(index)].rolls == before
            || !self.cluster.workloads[&who(index)].is_available()
        {
            self.wait(50);
        }
    }
}

#[test]
fn a_program_that_ends_again_and_again_has_failed_however_often_it_is_available_for_a_moment() {
    let mut world = one(&[uses("x", "a")]);
    world.change_to(11);
    world.wait_rolled(0);
    world.wait(5_000);
    assert_eq!((world.started, world.finished), (1, 0));
    for _ in 0..60 {
        world.be_available(0, None);
        world.wait(10_000);
        let now = world.now;
        world.be_available(0, Some(now));
        world.wait(5_000);
    }
    assert_eq!((world.finished, world.failed), (0, 1));
    world.wait(MINUTE);
    assert_eq!((world.finished, world.failed, world.rolls), (1, 1, 1), "it stays after all");
}

#[test]
fn a_roll_that_stays_is_over_ten_seconds_after_it_is_available_whoever_leads_then() {
    for takes_over in [false, true] {
        let mut world = one(&[uses("x", "a")]);
        world.change_to(11);
        world.wait_rolled(0);
        let mut available = world.now;
        if takes_over {
            world.wait(5_000);
            world.end_all();
            world.start();
            available = world.now;
        }
        while world.finished == 0 {
            world.wait(50);
        }
        let took = world.now.since(available);
        assert!(took >= ms(9_900) && took < ms(12_000), "{took:?}");
    }
}

#[test]
fn who_becomes_available_at_the_very_end_has_the_time_to_prove_it() {
    let mut world = one(&[uses("x", "a")]);
    world.change_to(11);
    world.wait_rolled(0);
    world.wait(2_000);
    world.be_available(0, None);
    let (_, begun) = world.cluster.workloads[&who(0)].rolled.unwrap();
    let deadline = world.options.limit;
    world.run(begun + deadline - ms(4_000));
    let now = world.now;
    world.be_available(0, Some(now));
    world.wait(MINUTE);
    assert_eq!((world.finished, world.failed), (1, 0));
}

#[test]
fn a_place_in_the_budget_is_given_back_to_others_as_soon_as_pods_are_available() {
    let mut world = installed(4, &[uses("x", "a")], |_| 0);
    world.options.most = 1;
    world.end_all();
    world.start();
    world.wait(MINUTE);
    world.change_to(11);
    while world.finished == 0 {
        world.wait(50);
    }
    let proved = world.now;
    while world.rolls < 4 {
        world.wait(50);
    }
    assert!(world.finished < 3 && world.now.since(proved) < ms(20_000), "{}", world.finished);
    world.wait(MINUTE);
    assert_eq!((world.finished, world.waiting()), (4, vec![]));
}

#[test]
fn another_content_is_rolled_for_while_the_last_roll_isnt_proved() {
    let mut world = one(&[uses("x", "a")]);
    world.options.interval = ms(1_000);
    world.end_all();
    world.start();
    world.wait(MINUTE);
    world.change_to(11);
    world.wait_rolled(0);
    world.change_to(12);
    world.wait(8_000);
    assert_eq!((world.rolls, world.finished), (2, 0), "{:?}", world.waiting());
    world.set(&object("x"), Some(data(&[("a", 12)])));
    world.wait(5 * MINUTE);
    assert_eq!((world.rolls, world.finished, world.failed), (2, 1, 0));
    assert!(!world.waiting().iter().any(|(_, wait)| *wait == Wait::Failed));
}
