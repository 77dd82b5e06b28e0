//! What Reloader's annotations ask for.

use reloadlet_core::model::object::ObjectRef;
use reloadlet_core::policy::reloader::Marks;
use reloadlet_core::rollouts::event::Event;

use crate::cluster::Deployed;
use crate::promises::{MINUTE, data, object, one, uses, who};
use crate::simulation::Simulation;

fn with_lists(asks: &[(&'static str, &'static str)]) -> Simulation {
    let mut world = Simulation::calm();
    world.options.looks.annotations = true;
    world.set(&object("x"), Some(data(&[("a", 10), ("b", 20)])));
    let mut deployed = Deployed::new(1, vec![uses("x", "a")], 2, 0, world.now);
    (deployed.asks_itself, deployed.asks) = (false, asks.to_vec());
    world.deploy(who(0), deployed);
    world.wait(MINUTE);
    world.start();
    world.wait(MINUTE);
    world
}

impl Simulation {
    /// An object says this to others from now on.
    fn mark(&mut self, object: &ObjectRef, marks: Marks, is_ignored: bool) {
        self.cluster.said.insert(object.clone(), (marks, is_ignored));
        let seen = self.cluster.seen(object);
        self.show(&Event::Object(object.clone(), seen));
    }
}

#[test]
fn an_object_that_its_owner_keeps_from_triggering_is_no_reason() {
    let mut world = one(&[uses("x", "a")]);
    world.mark(&object("x"), Marks::default(), true);
    world.wait(MINUTE);
    world.set(&object("x"), Some(data(&[("a", 30)])));
    world.wait(10 * MINUTE);
    assert_eq!((world.rolls, world.waiting()), (0, vec![]));
    world.mark(&object("x"), Marks::default(), false);
    world.set(&object("x"), Some(data(&[("a", 40)])));
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 1);
}

#[test]
fn an_object_that_is_searched_for_is_rolled_for_from_when_it_says_so() {
    let mut world = with_lists(&[("reloader.stakater.com/search", "true")]);
    world.set(&object("x"), Some(data(&[("a", 30)])));
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 0, "it says nothing");
    world.mark(&object("x"), Marks { matched: true, ignored: false }, false);
    world.wait(MINUTE);
    world.set(&object("x"), Some(data(&[("a", 40)])));
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 1);
}

#[test]
fn a_list_takes_objects_that_are_named_nowhere() {
    let mut world = with_lists(&[("configmap.reloader.stakater.com/reload", "extra-.*")]);
    world.set(&object("extra-one"), Some(data(&[("a", 30)])));
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 0, "it is new, and nobody had anything of it");
    world.set(&object("extra-one"), Some(data(&[("a", 40)])));
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 1);
}

#[test]
fn without_leave_reloaders_annotations_ask_for_nothing_and_keep_nothing_back() {
    let mut world = one(&[uses("x", "a")]);
    let excludes = ("configmaps.exclude.reloader.stakater.com/reload", "x");
    world.cluster.touch(&who(0), |workload| workload.asks = vec![excludes]);
    world.schedule(&who(0));
    world.show_workload(&who(0));
    world.wait(MINUTE);
    world.set(&object("x"), Some(data(&[("a", 30)])));
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 1);
}
