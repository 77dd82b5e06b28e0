//! An API server that is slow.

use crate::cluster::ms;
use crate::promises::{MINUTE, data, installed, object, uses};

#[test]
fn an_object_that_couldnt_be_read_once_while_its_only_user_is_rolled_is_read_again_soon() {
    let mut world = installed(1, &[uses("x", "a"), uses("y", "a")], |_| 0);
    world.options.limit = ms(900_000);
    world.end_all();
    world.start();
    world.wait(MINUTE);
    world.set(&object("x"), Some(data(&[("a", 20 + crate::cluster::BAD)])));
    while world.rolls == 0 {
        world.wait(100);
    }
    world.wait(5_000);
    // For a second what it holds can't be read.
    world.refused.fetches = Some(object("x"));
    world.set(&object("x"), Some(data(&[("a", 11)])));
    world.wait(1_000);
    world.refused.fetches = None;
    let since = world.now;
    while world.rolls == 1 && world.now.since(since) < ms(3_600_000) {
        world.wait(1_000);
    }
    assert!(world.now.since(since) < ms(120_000), "{:?} {:?}", world.now.since(since), world.waiting());
}

#[test]
fn answers_that_take_longer_than_they_are_fresh_bring_a_roll_all_the_same() {
    let mut world = installed(1, &[uses("x", "a")], |_| 0);
    world.slowness = ms(6_000);
    world.set(&object("x"), Some(data(&[("a", 11)])));
    world.wait(5 * MINUTE);
    assert_eq!(world.rolls, 1, "{} lists, {:?}", world.listings, world.waiting());
}
