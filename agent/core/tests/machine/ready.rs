//! Programs that a supervisor starts anew, in a container that is known to be ready.

use reloadlet_core::Event;
use reloadlet_core::model::pod::Phase;

use crate::node::uid;
use crate::world::{World, app, config};

#[test]
fn a_ready_program_that_ends_of_the_signal_keeps_no_change_from_the_next_one_for_longer() {
    let mut world = World::running(vec![app(1, &[("reloadlet.io/process", "server")])]);
    world.exit(1001);
    let supervisor = world.start(&uid(1), "app");
    world.node.process_mut(supervisor).comm = "runsvdir".into();
    let server = world.node.fork(&uid(1), supervisor, "server", world.now);
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(1_000);
    world.show_phase(Phase { started: Some(true), ready: Some(true), killed: None });
    world.pass(9_000);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, server)]);
    world.pass(1_000);
    world.exit(server);
    let next = world.node.fork(&uid(1), supervisor, "server", world.now);
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(3_500);
    world.publish(&config(), 3);
    assert_eq!(world.sends()[1..], [(world.now, next)]);
}
