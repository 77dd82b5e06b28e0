//! Processes that start at about the time of a change, or shortly before it: to the millisecond.

use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::{Action, Event};

use crate::node::{generation, ms, uid};
use crate::restarts::with_journal;
use crate::world::{World, app, config};

/// A container that is started again so long before a content comes that was there before as well; how that ends.
fn same_content(millis: u64) -> Outcome {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/keys", "*.conf")])]);
    let digests = [(generation(1), Digest::new([1; 32])), (generation(2), Digest::new([1; 32]))];
    world.node.volume(&config()).digests.extend(digests);
    world.start_agent();
    world.pass(60_000);
    world.exit(1001);
    world.start(&uid(1), "app");
    world.pass(millis);
    world.publish(&config(), 2);
    world.pass(60_000);
    world.outcomes()[0].2
}

#[test]
fn the_same_content_isnt_told_to_a_process_that_started_clearly_before_it_came() {
    for (millis, expected) in [(10, Outcome::Delivered), (20, Outcome::Delivered), (21, Outcome::Unchanged)] {
        assert_eq!(same_content(millis), expected, "{millis} ms");
    }
}

#[test]
fn what_is_new_to_the_journal_is_told_to_a_process_that_started_clearly_before_it() {
    for (millis, told) in [(-10, 0), (-20, 0), (-21, 1)] {
        assert_eq!(with_journal(None, millis).sends().len(), told, "{millis} ms");
    }
}

#[test]
fn a_container_that_holds_an_older_volume_is_looked_at_once_it_is_three_seconds_old_and_then_it_is_said() {
    let mut world = World::app(&[]);
    world.exit(1001);
    world.node.start(&uid(1), "app", world.now);
    let started = world.now;
    world.node.pod(&uid(1)).containers[0].dead.insert("config".into());
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(1_000);
    world.publish(&config(), 2);
    world.pass(60_000);
    assert_eq!(world.ended(), [(started + ms(3_000), Outcome::NoProcess)]);
}

#[test]
fn a_container_that_seems_to_hold_an_older_volume_is_held_before_that_is_said() {
    let mut world = World::node(vec![app(1, &[])]);
    world.node.pod(&uid(1)).containers[0].dead.insert("config".into());
    world.hold_back(&Action::Hold(world.node.identity(1001).unwrap()));
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 2);
    world.pass(5_000);
    assert_eq!(world.outcomes(), [], "it may have ended by now");
    world.answer();
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::NoProcess)]);
}
