//! That a container needs a restart is said, and that it doesn't any more.

use reloadlet_core::Event;
use reloadlet_core::machine::event::Report;
use reloadlet_core::model::frozen::Way;
use reloadlet_core::model::object::{ObjectVersion, Observed};
use reloadlet_core::model::pod::AnnotationValue;

use crate::measuring::{object, show, version};
use crate::node::uid;
use crate::said::with_environment;
use crate::world::World;

/// What was said in its order: the version for which a restart is needed, or that none is.
fn said(world: &World) -> Vec<String> {
    let of = |report: &Report| {
        if let Report::NeedsRestart { version, .. } = report {
            return Some(version.to_string());
        }
        let Report::RestartNotNeeded { pod, container, object: of, way } = report else { return None };
        let about = (&pod.uid, &**container, of, *way);
        assert_eq!(about, (&uid(1), "app", &object("levels"), Way::Environment));
        Some("over".to_owned())
    };
    world.reports().filter_map(of).collect()
}

/// The container needs a restart for version 2.
fn needing() -> World {
    let mut world = with_environment();
    show(&mut world, "levels", version(2, 2));
    world.pass(1_000);
    assert_eq!(said(&world), ["2"]);
    world
}

#[test]
fn a_container_that_starts_anew_by_itself_needs_no_restart_any_more() {
    let mut world = needing();
    world.exit(1001);
    world.start(&uid(1), "app");
    world.pass(5_000);
    assert_eq!(said(&world), ["2", "over"]);
    show(&mut world, "levels", version(3, 3));
    world.pass(20_000);
    assert_eq!(said(&world), ["2", "over", "3"]);
}

#[test]
fn a_container_that_has_ended_needs_none() {
    let mut world = needing();
    world.exit(1001);
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(20_000);
    assert_eq!(said(&world), ["2", "over"]);
}

#[test]
fn a_content_that_is_taken_back_needs_none() {
    let mut world = needing();
    show(&mut world, "levels", version(3, 1));
    world.pass(20_000);
    assert_eq!(said(&world), ["2", "over"]);
    show(&mut world, "levels", version(4, 2));
    assert_eq!(said(&world), ["2", "over", "4"]);
}

#[test]
fn an_object_that_is_to_trigger_nothing_needs_none_as_long_as_that_stands() {
    let mut world = needing();
    let ignored = |ignored, n| ObjectVersion { ignored, ..version(n, 2) };
    show(&mut world, "levels", ignored(true, 3));
    show(&mut world, "levels", ignored(true, 4));
    assert_eq!(said(&world), ["2", "over"]);
    show(&mut world, "levels", ignored(false, 5));
    assert_eq!(said(&world), ["2", "over", "2"], "it is the second version that the container lacks");
}

#[test]
fn an_object_that_is_gone_needs_none() {
    let mut world = needing();
    let now = world.now;
    world.handle(Event::Observed(object("levels"), Observed::Absent, now));
    world.pass(1_000);
    assert_eq!(said(&world), ["2", "over"]);
}

#[test]
fn what_the_pod_asked_for_under_other_annotations_is_said_anew_if_it_is_so() {
    let mut world = needing();
    let value = AnnotationValue::Text("5s".to_owned());
    world.pods[0].spec.annotations.insert("reloadlet.io/debounce".to_owned(), value);
    world.sync();
    show(&mut world, "levels", version(2, 2));
    world.pass(5_000);
    assert_eq!(said(&world), ["2", "over", "2"]);
    let value = AnnotationValue::Text("nonsense".to_owned());
    world.pods[0].spec.annotations.insert("reloadlet.io/debounce".to_owned(), value);
    world.sync();
    world.pass(5_000);
    assert_eq!(said(&world), ["2", "over", "2", "over"], "nobody looks any more");
}

#[test]
fn of_what_was_never_said_nothing_is_over() {
    let mut world = with_environment();
    show(&mut world, "levels", version(2, 1));
    world.exit(1001);
    world.start(&uid(1), "app");
    world.pass(20_000);
    assert_eq!(said(&world), [""; 0]);
}
