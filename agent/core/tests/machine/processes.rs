//! Finding the process, holding it, and losing it.

use reloadlet_core::Event;
use reloadlet_core::machine::event::{Action, Survey};
use reloadlet_core::machine::status::StaleReason;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::pod::{AnnotationValue, Container};
use reloadlet_core::model::signal::Signal;

use crate::node::{generation, uid};
use crate::world::{AGENT_STARTED, STARTED, World, app, config};

#[test]
fn without_a_process_for_ten_seconds_the_reload_ends() {
    let mut world = World::app(&[]);
    world.exit(1001);
    world.pass(60_000);
    world.publish(&config(), 2);
    world.pass(9_999);
    assert_eq!(world.outcomes(), []);
    world.pass(1);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::NoProcess)]);
    assert_eq!(world.reloads()[0].reason.as_deref(), Some("the container has no running process"));
}

#[test]
fn a_process_that_ends_while_the_reload_waits_and_stays_away_is_gone() {
    let mut world = World::app(&[("reloadlet.io/debounce", "5s")]);
    world.publish(&config(), 2);
    world.exit(1001);
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Gone)]);
}

#[test]
fn a_process_that_is_restarted_while_the_reload_waits_has_read_it() {
    let mut world = World::app(&[("reloadlet.io/debounce", "5s")]);
    world.publish(&config(), 2);
    world.pass(1_000);
    world.exit(1001);
    world.pass(500);
    world.start(&uid(1), "app");
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::StartedAfter)]);
}

#[test]
fn a_process_that_is_gone_at_the_send_is_looked_for_again() {
    let mut world = World::app(&[]);
    world.node.kill(1001);
    world.hold_back(&Action::ReadGuard(world.held.first().unwrap().clone(), Signal::HUP));
    world.publish(&config(), 2);
    world.pass(100);
    world.node.start(&uid(1), "app", world.now);
    world.answer();
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::StartedAfter)]);
}

#[test]
fn a_process_that_cannot_be_held_does_not_make_surveys_loop() {
    for waits in [false, true] {
        let mut world = World::app(&[]);
        world.unholdable.insert(1002);
        world.exit(1001);
        if waits {
            world.publish(&config(), 2);
        }
        world.start(&uid(1), "app");
        world.pass(1_000);
        assert!(world.surveys() <= 8, "{} surveys in a second", world.surveys());
        let before = world.surveys();
        world.pass(60_000);
        assert!(world.surveys() - before <= 20, "{} surveys in a minute", world.surveys() - before);
    }
}

#[test]
fn a_process_that_can_be_held_at_last_is_told() {
    let mut world = World::app(&[]);
    world.exit(1001);
    world.unholdable.insert(1002);
    world.start(&uid(1), "app");
    world.pass(60_000);
    world.publish(&config(), 2);
    world.pass(5_000);
    world.unholdable.clear();
    world.pass(5_000);
    assert_eq!(world.sends().len(), 1);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
    world.pass(60_000);
    assert_eq!(world.machine.poll_timeout(), None);
}

#[test]
fn a_missing_container_is_looked_for_with_growing_pauses_and_not_for_ever() {
    let mut world = World::app(&[]);
    world.exit(1001);
    world.pass(20_000);
    assert!(world.surveys() <= 12, "{}", world.surveys());
    assert_eq!(world.machine.poll_timeout(), None, "nothing waits for it");
    world.actions.clear();
    world.publish(&config(), 2);
    world.pass(20_000);
    assert!(world.surveys() <= 12, "{}", world.surveys());
    assert_eq!(world.machine.poll_timeout(), None);
}

#[test]
fn a_container_that_comes_back_late_is_found_by_its_cgroup() {
    let mut world = World::app(&[]);
    world.exit(1001);
    world.pass(3_600_000);
    let pid = world.start(&uid(1), "app");
    world.pass(60_000);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, pid)]);
}

#[test]
fn a_container_that_passes_for_another_by_its_mounts_gets_no_signal() {
    let mut pod = app(1, &[]);
    pod.spec.containers.push(Container { name: "other".into(), ..pod.spec.containers[0].clone() });
    pod.spec.annotations.insert("reloadlet.io/container".into(), AnnotationValue::Text("app".into()));
    let mut world = World::node(vec![pod]);
    let containers = &mut world.node.pod(&uid(1)).containers;
    let status = containers.iter().map(|container| (container.name.clone(), container.id.clone())).collect();
    // The younger one shows the mount that names the other.
    containers[1].name = "app".into();
    containers[1].processes[0].started = AGENT_STARTED;
    world.pods[0].status = status;
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, 1001)]);
}

#[test]
fn a_container_that_the_status_doesnt_know_yet_has_the_name_that_its_mounts_show() {
    let mut world = World::app(&[]);
    let old = world.node.pod(&uid(1)).containers[0].id.clone();
    world.pods[0].status = [("app".into(), old)].into();
    world.sync();
    world.exit(1001);
    let pid = world.start(&uid(1), "app");
    world.pass(60_000);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, pid)]);
}

#[test]
fn nothing_is_sent_before_the_process_is_held() {
    let mut world = World::node(vec![app(1, &[])]);
    world.hold_back(&Action::Hold(world.node.identity(1001).unwrap()));
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 2);
    world.pass(5_000);
    assert_eq!(world.sends(), []);
    world.answer();
    assert_eq!(world.sends(), [(world.now, 1001)]);
}

#[test]
fn a_choice_by_name_is_made_again_at_each_swap_before_the_send() {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/process", "worker")])]);
    let first = world.node.fork(&uid(1), 1001, "worker", STARTED);
    world.start_agent();
    world.pass(60_000);
    let second = world.node.fork(&uid(1), 1001, "worker", STARTED);
    world.publish(&config(), 2);
    let told: Vec<u32> = world.sends().into_iter().map(|(_, pid)| pid).collect();
    assert_eq!(told, [first, second]);
    assert_eq!(world.outcomes().len(), 1, "one for the container");
}

#[test]
fn the_child_of_a_forwarding_init_is_chosen_again_at_each_swap() {
    let mut world = World::node(vec![app(1, &[])]);
    world.node.process_mut(1001).comm = "tini".into();
    let first = world.node.fork(&uid(1), 1001, "app", STARTED);
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, first)]);
    world.node.kill(first);
    let second = world.node.fork(&uid(1), 1001, "app", world.now);
    world.pass(60_000);
    world.publish(&config(), 3);
    assert_eq!(world.sends()[1..], [(world.now, second)]);
}

#[test]
fn a_survey_that_was_under_way_at_the_swap_does_not_stand_for_the_choice() {
    let mut world = World::node(vec![app(1, &[("reloadlet.io/process", "worker")])]);
    let first = world.node.fork(&uid(1), 1001, "worker", STARTED);
    world.start_agent();
    world.pass(60_000);
    world.hold_back(&Action::Survey(Survey { pod: uid(1), name: None, fresh_mounts: false }));
    world.handle(Event::CgroupChanged(uid(1)));
    let before = world.node.survey(&uid(1));
    let second = world.node.fork(&uid(1), 1001, "worker", STARTED);
    world.publish(&config(), 2);
    world.handle(Event::Surveyed(uid(1), before));
    world.answer();
    let told: Vec<u32> = world.sends().into_iter().map(|(_, pid)| pid).collect();
    assert_eq!(told, [first, second]);
}

#[test]
fn of_two_leaves_of_a_container_the_younger_is_meant() {
    let mut world = World::app(&[]);
    let pid = world.start(&uid(1), "app");
    world.pass(60_000);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, pid)]);
}

#[test]
fn a_reload_does_not_end_while_a_survey_is_on_its_way() {
    let mut world = World::app(&[]);
    world.exit(1001);
    world.pass(60_000);
    world.publish(&config(), 2);
    world.pass(500);
    world.hold_back(&Action::Survey(Survey { pod: uid(1), name: None, fresh_mounts: false }));
    world.start(&uid(1), "app");
    world.pass(20_000);
    world.sync();
    world.handle(Event::CgroupChanged(uid(1)));
    assert_eq!(world.outcomes(), []);
    world.answer();
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::StartedAfter)]);
}

#[test]
fn a_container_that_is_too_much_is_looked_at_less_and_less_often_until_it_changes() {
    let mut world = World::app(&[("reloadlet.io/process", "app")]);
    let too_much = |world: &mut World, is: bool| {
        world.node.pod(&uid(1)).containers.iter_mut().for_each(|container| container.too_much = is);
    };
    too_much(&mut world, true);
    for n in 2..122 {
        world.publish(&config(), n);
        world.pass(5_000);
    }
    // After 1, 2, 4, ... 60 s, and every 60 s then.
    assert!((10..=17).contains(&world.surveys()), "{} in ten minutes", world.surveys());
    assert!(world.sends().is_empty());
    world.pass(60_000);
    assert_eq!(world.outcomes().last().unwrap().2, Outcome::NoProcess);

    // A change waits for the next look, however late that is.
    too_much(&mut world, false);
    world.actions.clear();
    world.publish(&config(), 122);
    world.pass(61_000);
    assert_eq!(
        (world.sends().len(), world.outcomes()),
        (1, vec![("config", generation(122), Outcome::Delivered)])
    );

    // One that has changed is looked at at once.
    too_much(&mut world, true);
    for n in 123..133 {
        world.publish(&config(), n);
        world.pass(10_000);
    }
    world.exit(1001);
    world.actions.clear();
    world.start(&uid(1), "app");
    assert_eq!(world.surveys(), 1);
}

#[test]
fn a_change_of_a_container_that_is_too_much_ends_with_the_reason() {
    let mut world = World::app(&[("reloadlet.io/process", "app")]);
    world.node.pod(&uid(1)).containers[0].too_much = true;
    world.publish(&config(), 2);
    world.pass(120_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::NoProcess)]);
    let reason = world.reloads()[0].reason.as_deref().unwrap();
    assert!(reason.contains("more than 4096 processes or 2048 cgroups"), "{reason}");
    assert_eq!(world.machine.status(world.now)[0].containers[0].missing.as_deref(), Some(reason));
    assert_eq!(world.machine.poll_timeout(), None, "nothing waits for it");
}

#[test]
fn a_process_whose_first_thread_has_ended_is_told() {
    let mut world = World::app(&[]);
    world.exit(1001);
    let pid = world.node.start(&uid(1), "app", world.now);
    let process = world.node.process_mut(pid);
    (process.state, process.threads) = ('Z', 2);
    world.handle(Event::CgroupChanged(uid(1)));
    world.pass(60_000);
    world.publish(&config(), 2);
    assert_eq!(world.sends(), [(world.now, pid)]);
    world.node.process_mut(pid).threads = 1;
    world.handle(Event::CgroupChanged(uid(1)));
    world.publish(&config(), 3);
    world.pass(60_000);
    assert_eq!(
        world.outcomes()[1],
        ("config", generation(3), Outcome::NoProcess),
        "it only waits to be reaped"
    );
}

#[test]
fn mounts_that_were_read_while_a_container_was_being_set_up_are_read_again() {
    for change_after in [0, 1_000, 60_000] {
        let mut world = World::app(&[]);
        world.exit(1001);
        let dead = |world: &mut World, is_dead: bool| {
            for container in &mut world.node.pod(&uid(1)).containers {
                container.dead = if is_dead { ["config".into()].into() } else { [].into() };
            }
        };
        let pid = world.node.start(&uid(1), "app", world.now);
        dead(&mut world, true);
        world.handle(Event::CgroupChanged(uid(1)));
        world.pass(100);
        dead(&mut world, false);
        world.pass(change_after);
        world.publish(&config(), 2);
        world.pass(60_000);
        assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)], "{change_after}");
        assert_eq!(world.sends().iter().map(|(_, pid)| *pid).collect::<Vec<_>>(), [pid]);
    }
}

#[test]
fn a_container_that_its_runtime_class_hides_is_not_said_to_have_ended() {
    let mut world = World::app(&[]);
    let id = world.node.pod(&uid(1)).containers[0].id.clone();
    world.pods[0].spec.runtime_class = Some("gvisor".into());
    world.pods[0].status = [("app".into(), id)].into();
    // The sandbox has the processes.
    world.node.kill(1001);
    world.start_agent();
    world.publish(&config(), 2);
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::NoProcess)]);
    let reason = world.reloads()[0].reason.clone().unwrap();
    assert!(reason.contains("the runtime class hides the process"), "{reason}");
    let status = world.machine.status(world.now);
    assert_eq!(status[0].containers[0].missing.as_deref(), Some(&*reason));
    let stale: Vec<_> = status[0].stale.iter().map(|stale| stale.reason.clone()).collect();
    assert_eq!(stale, [StaleReason::Undelivered]);
}
