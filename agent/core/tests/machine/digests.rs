//! Changes that carry nothing that counts, and volumes that were made anew.

use std::sync::Arc;

use reloadlet_core::machine::event::{Reading, VolumeRef};
use reloadlet_core::model::digest::{Contents, Digest};
use reloadlet_core::model::object::ObjectVersion;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::pod::{Item, ObjectSource, ProjectedSource, VolumeSource};
use reloadlet_core::policy::files::FileFilter;
use reloadlet_core::propagation::measuring::Measuring;
use reloadlet_core::{Action, Event};

use crate::measuring::{show, version};
use crate::node::{HUP, generation, uid};
use crate::world::{World, app, app_with_two_volumes, config, more};

const KEYS: &[(&str, &str)] = &[("reloadlet.io/keys", "*.conf")];

/// The files that count of a generation.
fn contents(world: &mut World, generations: &[(u32, u8)]) {
    let state = world.node.volume(&config());
    state
        .digests
        .extend(generations.iter().map(|(n, content)| (generation(*n), Digest::new([*content; 32]))));
}

/// A pod with keys whose generation 1 has the content 1.
fn with_keys() -> World {
    let mut world = World::node(vec![app(1, KEYS)]);
    contents(&mut world, &[(1, 1)]);
    world.start_agent();
    world.pass(60_000);
    world
}

#[test]
fn a_change_of_files_that_do_not_count_is_unchanged_and_is_not_told() {
    let mut world = with_keys();
    contents(&mut world, &[(2, 1), (3, 7)]);
    world.publish(&config(), 2);
    world.pass(60_000);
    assert_eq!(world.sends(), []);
    world.publish(&config(), 3);
    assert_eq!(world.sends(), [(world.now, 1001)]);
    assert_eq!(
        world.outcomes(),
        [("config", generation(2), Outcome::Unchanged), ("config", generation(3), Outcome::Delivered)]
    );
}

#[test]
fn what_was_read_under_another_filter_decides_nothing() {
    let mut world = with_keys();
    contents(&mut world, &[(2, 2)]);
    world.hold_back(&a_read());
    world.publish(&config(), 2);
    let reading = Reading { filter: FileFilter::default(), each: false, decides: true };
    let same = Contents { counting: Digest::new([1; 32]), files: Arc::default() };
    world.handle(Event::Read(config(), generation(2), reading, Some(same)));
    assert_eq!(world.outcomes(), []);
    world.answer();
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn a_read_that_was_lost_to_one_under_another_filter_is_made_again() {
    let mut world = with_keys();
    contents(&mut world, &[(2, 2)]);
    world.hold_back(&a_read());
    world.publish(&config(), 2);
    // The agent makes one read of a generation of several that wait, and that one was asked for last.
    world.unanswered.clear();
    let reading = Reading { filter: FileFilter::default(), each: false, decides: true };
    world.handle(Event::Read(config(), generation(2), reading, None));
    world.answer();
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn without_keys_nothing_is_read() {
    let mut world = World::app(&[]);
    world.publish(&config(), 2);
    let reads = |action: &Action| matches!(action, Action::Read(..));
    assert!(!world.actions.iter().any(|(_, action)| reads(action)));
}

#[test]
fn a_content_that_comes_back_is_told_each_time() {
    let mut world = with_keys();
    contents(&mut world, &[(2, 2), (3, 1), (4, 2)]);
    for n in 2..5 {
        world.publish(&config(), n);
        world.pass(10_000);
    }
    assert_eq!(world.sends().len(), 3);
}

#[test]
fn a_content_that_comes_back_before_the_other_was_told_is_unchanged() {
    let mut world = World::node(vec![app(1, &[KEYS[0], ("reloadlet.io/debounce", "1s")])]);
    contents(&mut world, &[(1, 1), (2, 2), (3, 1)]);
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 2);
    world.publish(&config(), 3);
    world.pass(60_000);
    assert_eq!(
        world.outcomes(),
        [("config", generation(2), Outcome::Superseded), ("config", generation(3), Outcome::Unchanged)]
    );
}

#[test]
fn what_a_shell_may_have_started_a_program_with_isnt_what_the_shell_started_with() {
    let mut world = with_keys();
    contents(&mut world, &[(2, 7), (3, 1)]);
    world.exit(1001);
    world.pass(1_000);
    let pid = world.start(&uid(1), "app");
    world.node.process_mut(pid).caught = 0;
    world.pass(20_000);
    world.publish(&config(), 2);
    world.pass(500);
    world.publish(&config(), 3);
    world.pass(1_000);
    world.node.process_mut(pid).caught = HUP;
    world.pass(20_000);
    assert_eq!(world.sends().len(), 1);
    assert_eq!(
        world.outcomes(),
        [("config", generation(2), Outcome::Superseded), ("config", generation(3), Outcome::Delivered)]
    );
}

#[test]
fn a_swap_of_which_the_agent_hears_late_may_have_been_read_by_a_process_that_started_before_that() {
    for (age, outcome) in [(9_000, Outcome::Delivered), (11_000, Outcome::Unchanged)] {
        let mut world = World::node(vec![app(1, &[KEYS[0], ("reloadlet.io/debounce", "1s")])]);
        contents(&mut world, &[(1, 1), (2, 7), (3, 1)]);
        world.start_agent();
        world.pass(60_000);
        world.exit(1001);
        world.pass(1_000);
        world.start(&uid(1), "app");
        world.pass(age);
        world.publish(&config(), 2);
        world.publish(&config(), 3);
        world.pass(10_000);
        assert_eq!(world.outcomes().last(), Some(&("config", generation(3), outcome)), "{age}");
    }
}

#[test]
fn what_cannot_be_read_is_told() {
    let mut world = with_keys();
    world.publish(&config(), 2);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn after_a_restart_of_the_agent_what_was_told_is_known_again_only_if_nothing_has_changed() {
    for (changed, outcome) in [(false, Outcome::Unchanged), (true, Outcome::Delivered)] {
        let mut world = with_keys();
        contents(&mut world, &[(2, 1)]);
        world.stop_agent();
        if changed {
            world.publish_unseen(&config(), 2);
        }
        world.start_agent();
        world.pass(10_000);
        if !changed {
            world.publish(&config(), 2);
        }
        world.pass(10_000);
        assert_eq!(world.outcomes(), [("config", generation(2), outcome)], "changed meanwhile: {changed}");
    }
}

#[test]
fn a_generation_that_was_not_told_leaves_the_content_unknown() {
    let mut world = with_keys();
    contents(&mut world, &[(2, 2), (3, 1)]);
    world.exit(1001);
    world.publish(&config(), 2);
    world.pass(20_000);
    world.start(&uid(1), "app");
    world.pass(20_000);
    world.publish(&config(), 3);
    assert_eq!(
        world.outcomes(),
        [("config", generation(2), Outcome::NoProcess), ("config", generation(3), Outcome::Delivered)]
    );
}

/// A read, whatever is to be read.
pub(crate) fn a_read() -> Action {
    let reading = Reading { filter: FileFilter::default(), each: false, decides: true };
    Action::Read(config(), generation(1), reading)
}

/// The kubelet makes the volume anew: another directory, another generation.
pub(crate) fn rebuild(world: &mut World, volume: &VolumeRef, n: u32, same_inode: bool) {
    let inode = world.node.volume(volume).dir.take();
    let dir = if same_inode { inode.unwrap() } else { world.node.new_dir() };
    world.node.volume(volume).current = None;
    world.handle(Event::TornDown(volume.clone(), world.now));
    world.pass(10);
    world.node.volume(volume).dir = Some(dir);
    world.swap(volume, n);
    world.node.volume(volume).others.clear();
    world.pass(5_000);
}

#[test]
fn a_container_that_holds_the_directory_of_before_gets_no_signal_and_the_reason_is_given() {
    for same_inode in [false, true] {
        let mut world = World::app(&[]);
        for container in &mut world.node.pod(&uid(1)).containers {
            container.dead.insert("config".into());
        }
        contents(&mut world, &[(2, 2)]);
        rebuild(&mut world, &config(), 2, same_inode);
        world.pass(20_000);
        assert_eq!(world.sends(), [], "same inode: {same_inode}");
        assert_eq!(world.outcomes(), [("config", generation(2), Outcome::NoProcess)]);
        assert_eq!(
            world.reloads()[0].reason.as_deref(),
            Some("the container holds an older volume until it restarts")
        );
    }
}

#[test]
fn a_volume_made_anew_with_the_same_content_is_unchanged() {
    let mut world = with_keys();
    contents(&mut world, &[(2, 1)]);
    rebuild(&mut world, &config(), 2, false);
    assert_eq!(world.sends(), []);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Unchanged)]);
}

#[test]
fn a_volume_made_anew_below_a_container_that_sees_it_is_told() {
    let mut world = World::app(&[]);
    contents(&mut world, &[(2, 2)]);
    rebuild(&mut world, &config(), 2, false);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn a_content_that_comes_back_is_told_to_a_process_that_may_have_read_the_other_one() {
    let mut world = World::node(vec![app(1, &[KEYS[0], ("reloadlet.io/debounce", "5s")])]);
    contents(&mut world, &[(1, 1), (2, 2), (3, 1)]);
    world.start_agent();
    world.pass(60_000);
    world.publish(&config(), 2);
    world.exit(1001);
    world.pass(100);
    let pid = world.start(&uid(1), "app");
    world.pass(100);
    world.publish(&config(), 3);
    world.pass(60_000);
    assert_eq!(world.sends().len(), 1);
    assert_eq!(world.sends()[0].1, pid);
}

#[test]
fn a_process_that_started_while_the_same_content_stood_there_is_not_told() {
    let mut world = with_keys();
    contents(&mut world, &[(2, 1)]);
    world.exit(1001);
    world.start(&uid(1), "app");
    world.pass(60_000);
    world.publish(&config(), 2);
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Unchanged)]);
}

#[test]
fn a_generation_that_is_gone_before_it_was_read_tells_nobody_where_the_newer_one_is_the_same() {
    for (content, told) in [(1, false), (7, true)] {
        let mut world = with_keys();
        contents(&mut world, &[(3, content)]);
        world.hold_back(&a_read());
        world.publish(&config(), 2);
        world.pass(5);
        // The kubelet's next write is there before the read, and the notifications of it aren't yet.
        world.publish_unseen(&config(), 3);
        world.pass(5);
        world.answer();
        world.pass(60_000);
        assert_eq!(world.sends().len(), usize::from(told));
        let last = if told { Outcome::Delivered } else { Outcome::Unchanged };
        assert_eq!(
            world.outcomes(),
            [("config", generation(2), Outcome::Superseded), ("config", generation(3), last)]
        );
    }
}

#[test]
fn a_generation_that_is_still_there_is_read_once_more_and_then_told() {
    let mut world = with_keys();
    world.publish(&config(), 2);
    let of_two = |action: &Action| matches!(action, Action::Read(_, of, _) if *of == generation(2));
    let reads = world.actions.iter().filter(|(_, action)| of_two(action)).count();
    assert_eq!((reads, world.sends().len()), (2, 1));
}

#[test]
fn a_generation_that_went_with_its_volume_holds_up_nothing() {
    let mut world = with_keys();
    world.hold_back(&a_read());
    world.publish(&config(), 2);
    world.pass(5);
    world.node.volume(&config()).current = None;
    world.answer();
    world.pass(60_000);
    assert_eq!(world.outcomes(), [("config", generation(2), Outcome::Delivered)]);
}

#[test]
fn a_content_that_came_and_went_unseen_may_have_been_read_by_whoever_was_told_of_another_volume() {
    for is_told in [true, false] {
        let mut world = World::node(vec![app_with_two_volumes(1, KEYS)]);
        for (volume, n, content) in
            [(config(), 1, 1), (config(), 2, 2), (more(), 1, 1), (more(), 2, 2), (more(), 3, 1)]
        {
            let digests = &mut world.node.volume(&volume).digests;
            digests.insert(generation(n), Digest::new([content; 32]));
        }
        world.start_agent();
        world.pass(60_000);
        if is_told {
            world.publish(&config(), 2);
        }
        world.pass(1_000);
        world.publish_unseen(&more(), 2);
        world.publish_unseen(&more(), 3);
        world.handle(Event::Overflowed);
        world.pass(60_000);
        assert_eq!(world.sends().len(), if is_told { 2 } else { 0 });
    }
}

#[test]
fn what_counts_no_longer_while_it_is_read_is_read_once_more_and_not_twice() {
    let source = |name: &str| {
        let items = vec![Item { key: "key".into(), path: name.into() }];
        ProjectedSource::ConfigMap(ObjectSource { name: name.into(), items, optional: false })
    };
    let mut pod = app(1, &[]);
    pod.spec.volumes[0].source = VolumeSource::Projected(vec![source("a"), source("b")]);
    let mut world = World::node(vec![pod]);
    world.measuring = Some(Measuring { secrets: false, accelerate: None });
    world.node.volume(&config()).tmpfs = Some(5);
    world.node.pod(&uid(1)).containers[0].tmpfs = Some(5);
    let digest = |content: u8| Digest::new([content; 32]);
    for (n, content) in [(1, 1), (2, 2)] {
        let files = [("a".into(), digest(content)), ("b".into(), digest(1))].into();
        world.node.volume(&config()).files.insert(generation(n), files);
    }
    world.start_agent();
    show(&mut world, "a", version(1, 1));
    show(&mut world, "b", ObjectVersion { ignored: true, ..version(1, 1) });
    world.pass(60_000);
    let example = world.actions.iter().find(|(_, action)| matches!(action, Action::Read(..)));
    let example = example.unwrap().1.clone();
    world.actions.clear();
    world.hold_back(&example);
    world.publish(&config(), 2);
    assert_eq!(world.unanswered.len(), 1, "whether anything else changed decides");
    show(&mut world, "b", version(2, 1));
    assert_eq!(world.sends().len(), 1, "everything counts");
    world.answer();
    world.pass(1_000);
    let reads = world.actions.iter().filter(|(_, action)| matches!(action, Action::Read(..)));
    assert_eq!(reads.count(), 2);
}
