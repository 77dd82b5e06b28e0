//! Sends that take long, and those that come to nothing, since whoever was to be sent the signal is gone.

use reloadlet_core::machine::event::{Delivery, Report};
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::signal::Signal;

use reloadlet_core::{Action, Event, Time};

use crate::node::{ms, uid};
use crate::world::{World, config};

impl World {
    /// When each reload ended, and how.
    pub(crate) fn ended(&self) -> Vec<(Time, Outcome)> {
        let ended = |(at, action): &(Time, Action)| {
            if let Action::Report(Report::Reload(reload)) = action {
                Some((*at, reload.outcome))
            } else {
                None
            }
        };
        self.actions.iter().filter_map(ended).collect()
    }
}

#[test]
fn a_change_whose_send_came_to_nothing_waits_on_with_the_next_one_no_longer_than_it_would_have() {
    let mut world = World::app(&[("reloadlet.io/debounce", "1s")]);
    let process = world.node.identity(1001).unwrap();
    world.hold_back(&Action::Send(process.clone(), Signal::HUP));
    world.publish(&config(), 2);
    let first = world.now;
    world.pass(2_000);
    assert_eq!(world.sends().len(), 1);
    // The next change has just settled when the first one has waited for as long as changes do at most.
    world.pass(7_499);
    world.publish(&config(), 3);
    world.pass(100);
    world.exit(1001);
    world.handle(Event::Delivered(process, Delivery::Gone));
    world.pass(50);
    world.start(&uid(1), "app");
    world.pass(60_000);
    assert_eq!(world.ended().last(), Some(&(first + ms(10_000), Outcome::StartedAfter)));
}

#[test]
fn a_change_that_settles_while_another_one_is_sent_has_its_own_wait() {
    let mut world = World::app(&[("reloadlet.io/debounce", "1s")]);
    let process = world.node.identity(1001).unwrap();
    world.hold_back(&Action::Send(process, Signal::HUP));
    world.publish(&config(), 2);
    world.pass(9_499);
    world.publish(&config(), 3);
    let settled = world.now;
    world.pass(100);
    world.answer();
    world.pass(60_000);
    assert_eq!(world.sends()[1..], [(settled + ms(1_000), 1001)]);
}
