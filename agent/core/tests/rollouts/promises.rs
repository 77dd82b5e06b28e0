//! What the controller promises, one thing at a time, on a cluster in which nothing fails.

use std::collections::BTreeMap;

use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::{ObjectKind, ObjectRef};
use reloadlet_core::model::time::Time;
use reloadlet_core::rollouts::event::{Event, Wait};
use reloadlet_core::rollouts::workload::{Kind, WorkloadRef};

use crate::cluster::{BAD, Deployed, Template, Used, ms};
use crate::simulation::Simulation;

pub(crate) const MINUTE: u64 = 60_000;

pub(crate) fn object(name: &str) -> ObjectRef {
    ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: name.into() }
}

pub(crate) fn who(index: usize) -> WorkloadRef {
    WorkloadRef {
        kind: Kind::Deployment,
        namespace: "shop".into(),
        name: format!("web-{index}").as_str().into(),
    }
}

pub(crate) fn uses(name: &str, key: &str) -> Used {
    (ObjectKind::ConfigMap, name.into(), Some(key.into()))
}

pub(crate) fn data(all: &[(&str, u64)]) -> BTreeMap<Name, u64> {
    all.iter().map(|(key, value)| ((*key).into(), *value)).collect()
}

/// A cluster with so many such workloads, of two pods each, and the objects `x` and `y`; a controller runs, and has seen all of it.
pub(crate) fn installed(count: usize, used: &[Used], wave: impl Fn(usize) -> i32) -> Simulation {
    let mut world = Simulation::calm();
    for name in ["x", "y"] {
        world.set(&object(name), Some(data(&[("a", 10), ("b", 20)])));
    }
    for index in 0..count {
        world.deploy(who(index), Deployed::new(index as u64, used.to_vec(), 2, wave(index), world.now));
    }
    world.wait(MINUTE);
    world.start();
    world.wait(MINUTE);
    assert_eq!(world.rolls, 0, "nothing is rolled at the installation");
    world
}

pub(crate) fn one(used: &[Used]) -> Simulation {
    installed(1, used, |_| 0)
}

impl Simulation {
    pub(crate) fn wait(&mut self, millis: u64) {
        self.run(self.now + ms(millis));
    }

    fn rolls_of(&self, index: usize) -> u32 {
        self.cluster.workloads[&who(index)].rolls
    }

    /// Whether all pods have what there is, and no roll is wanted.
    fn is_done(&self) -> bool {
        self.waiting().is_empty() && self.cluster.workloads.keys().all(|who| !self.cluster.is_stale(who))
    }
}

#[test]
fn a_key_that_pods_keep_is_rolled_for_once_and_no_other_change_is() {
    let mut world = one(&[uses("x", "a")]);
    world.set(&object("x"), Some(data(&[("a", 10), ("b", 21)])));
    world.set(&object("y"), Some(data(&[("a", 11)])));
    world.wait(MINUTE);
    assert_eq!(world.rolls, 0, "nobody uses them");
    world.set(&object("x"), Some(data(&[("a", 11), ("b", 21)])));
    world.wait(10 * MINUTE);
    assert_eq!((world.rolls, world.finished), (1, 1));
    assert!(world.is_done());
    world.set(&object("x"), Some(data(&[("a", 11), ("b", 21)])));
    world.wait(MINUTE);
    assert_eq!(world.rolls, 1, "it is what it was");
}

#[test]
fn what_changes_together_and_what_changes_back_is_gathered() {
    let mut world = one(&[uses("x", "a"), uses("y", "a")]);
    world.set(&object("x"), Some(data(&[("a", 11)])));
    world.wait(3_000);
    world.set(&object("y"), Some(data(&[("a", 12)])));
    world.wait(3_000);
    assert_eq!(world.rolls, 0, "changes go on");
    world.wait(5 * MINUTE);
    assert_eq!(world.rolls, 1);
    world.set(&object("x"), Some(data(&[("a", 13)])));
    world.wait(2_000);
    world.set(&object("x"), Some(data(&[("a", 11)])));
    world.wait(5 * MINUTE);
    assert_eq!(world.rolls, 1);
    assert!(world.is_done());
}

#[test]
fn an_optional_object_that_comes_later_is_rolled_for_and_one_that_goes_isnt() {
    let mut world = one(&[uses("z", "a")]);
    world.set(&object("z"), Some(data(&[("a", 1)])));
    world.wait(5 * MINUTE);
    assert_eq!(world.rolls, 1);
    world.set(&object("z"), None);
    world.wait(5 * MINUTE);
    assert_eq!(world.rolls, 1, "pods go on with what they have");
    world.set(&object("z"), Some(data(&[("a", 1)])));
    world.wait(5 * MINUTE);
    assert_eq!(world.rolls, 1, "it is what it was");
    world.set(&object("z"), None);
    world.wait(MINUTE);
    world.set(&object("z"), Some(data(&[("a", 2)])));
    world.wait(5 * MINUTE);
    assert_eq!(world.rolls, 2);
}

#[test]
fn a_change_while_there_is_no_controller_is_rolled_for_when_there_is_one() {
    let mut world = one(&[uses("x", "a")]);
    world.end_all();
    world.set(&object("x"), Some(data(&[("a", 11)])));
    world.wait(60 * MINUTE);
    world.start();
    world.wait(5 * MINUTE);
    assert_eq!(world.rolls, 1);
    assert!(world.is_done());
}

#[test]
fn a_chart_that_changes_the_template_with_the_content_has_rolled_it() {
    let mut world = one(&[uses("x", "a")]);
    world.set(&object("x"), Some(data(&[("a", 11)])));
    let template = Template { chart: 1, ..world.cluster.workloads[&who(0)].template.clone() };
    world.template(&who(0), template);
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 0);
    assert!(world.is_done());
}

#[test]
fn an_undo_is_not_fought() {
    let mut world = one(&[uses("x", "a")]);
    world.set(&object("x"), Some(data(&[("a", 10 + BAD)])));
    world.wait(5 * MINUTE);
    assert_eq!((world.rolls, world.failed), (1, 1));
    world.undo(&who(0));
    world.wait(60 * MINUTE);
    assert_eq!(world.rolls, 1);
    assert_eq!(world.cluster.workloads[&who(0)].template.marker, None);
    world.set(&object("x"), Some(data(&[("a", 30)])));
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 2);
    assert!(world.is_done());
}

#[test]
fn without_pods_nothing_is_rolled_and_what_is_paused_waits() {
    let mut world = one(&[uses("x", "a")]);
    world.scale_to(&who(0), 0);
    world.wait(MINUTE);
    world.set(&object("x"), Some(data(&[("a", 11)])));
    world.wait(5 * MINUTE);
    world.scale_to(&who(0), 2);
    world.wait(5 * MINUTE);
    assert_eq!(world.rolls, 0);
    world.set_paused(&who(0), true);
    world.set(&object("x"), Some(data(&[("a", 12)])));
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 0);
    world.set_paused(&who(0), false);
    world.wait(5 * MINUTE);
    assert_eq!(world.rolls, 1);
    assert!(world.is_done());
}

#[test]
fn a_content_that_breaks_the_first_holds_all_others_until_a_good_one_comes() {
    let mut world = installed(10, &[uses("x", "a")], |_| 0);
    world.set(&object("x"), Some(data(&[("a", 20 + BAD)])));
    world.wait(30 * MINUTE);
    assert_eq!((world.rolls, world.failed), (1, 1));
    assert_eq!(world.waiting().len(), 9);
    assert!(world.waiting().iter().all(|(_, wait)| *wait == Wait::Failed), "{:?}", world.waiting());
    world.set(&object("x"), Some(data(&[("a", 30)])));
    world.wait(60 * MINUTE);
    assert_eq!(world.rolls, 11);
    assert!(world.is_done());
}

#[test]
fn one_that_was_available_only_for_a_moment_or_has_no_pods_lets_no_others_go() {
    // As a program without a probe that ends a few seconds after its start.
    for is_emptied in [false, true] {
        let mut world = installed(4, &[uses("x", "a")], |_| 0);
        world.set(&object("x"), Some(data(&[("a", 30)])));
        let is_first = |world: &Simulation, who: &WorkloadRef| {
            let workload = &world.cluster.workloads[who];
            workload.rolls == 1 && workload.is_available()
        };
        while !(0..4).map(who).any(|who| is_first(&world, &who)) {
            world.wait(100);
        }
        let first = (0..4).map(who).find(|who| world.cluster.workloads[who].rolls == 1).unwrap();
        let be = |world: &mut Simulation, available: Option<Time>| {
            world.cluster.touch(&first, |workload| {
                workload.replicas = if is_emptied { 0 } else { 2 };
                workload.pods.iter_mut().for_each(|pod| pod.available = available);
            });
            world.schedule(&first);
            world.show_workload(&first);
            world.wait(10 * MINUTE);
        };
        world.wait(5_000);
        be(&mut world, None);
        if !is_emptied {
            assert!(world.waiting().iter().all(|(_, wait)| *wait == Wait::Failed), "{:?}", world.waiting());
            assert_eq!(world.rolls, 1);
            let now = world.now;
            be(&mut world, Some(now));
        }
        // Of pods that aren't there nothing follows: the next one goes alone, and the others after that.
        assert_eq!((world.rolls, world.is_done()), (4, true));
    }
}

#[test]
fn never_more_are_rolled_at_a_time_than_may_be_and_the_first_alone() {
    let mut world = installed(10, &[uses("x", "a")], |_| 0);
    world.set(&object("x"), Some(data(&[("a", 30)])));
    let mut most = [0, 0];
    for _ in 0..3_000 {
        world.wait(100);
        let busy = world.cluster.workloads.values().filter(|workload| !workload.is_available()).count();
        most[usize::from(world.finished > 0)] = most[usize::from(world.finished > 0)].max(busy);
    }
    assert_eq!((world.rolls, most), (10, [1, 2]));
    assert!(world.is_done());
}

#[test]
fn waves_go_one_after_the_other() {
    let mut world = installed(4, &[uses("x", "a")], |index| i32::from(index < 2));
    world.set(&object("x"), Some(data(&[("a", 30)])));
    while world.finished < 2 {
        world.wait(100);
    }
    assert_eq!([0, 1, 2, 3].map(|index| world.rolls_of(index)), [0, 0, 1, 1]);
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 4);
}

#[test]
fn a_person_holds_all_rolls_and_lifts_that() {
    let mut world = one(&[uses("x", "a")]);
    world.set_held(true);
    world.set(&object("x"), Some(data(&[("a", 30)])));
    world.wait(60 * MINUTE);
    assert_eq!((world.rolls, world.waiting()), (0, vec![(who(0), Wait::Held)]));
    world.set_held(false);
    world.wait(MINUTE);
    assert_eq!(world.rolls, 1);
}

#[test]
fn an_object_that_changes_all_the_time_is_rolled_for_less_and_less() {
    let mut world = one(&[uses("x", "a")]);
    for value in 10..70 {
        world.set(&object("x"), Some(data(&[("a", value * 10)])));
        world.wait(MINUTE);
    }
    assert!((3..10).contains(&world.rolls), "{}", world.rolls);
    assert_eq!(world.waiting(), [(who(0), Wait::Flapping)]);
    world.wait(120 * MINUTE);
    assert!(world.is_done());
}

#[test]
fn a_roll_waits_for_its_window() {
    let mut world = one(&[uses("x", "a")]);
    world.cluster.touch(&who(0), |workload| workload.asks = vec![("reloadlet.io/window", "02:00-03:00")]);
    world.schedule(&who(0));
    world.show_workload(&who(0));
    world.wait(MINUTE);
    world.set(&object("x"), Some(data(&[("a", 30)])));
    world.wait(MINUTE);
    assert_eq!((world.rolls, world.waiting()), (0, vec![(who(0), Wait::Window)]));
    let minute = |world: &Simulation| world.now.elapsed_since_boot().as_secs() / 60 % (24 * 60);
    while world.rolls == 0 {
        world.wait(MINUTE);
    }
    assert!((120..123).contains(&minute(&world)), "{}", minute(&world));
}

#[test]
fn a_window_in_a_zone_that_isnt_known_is_a_problem_until_it_is_mended() {
    let mut world = one(&[uses("x", "a")]);
    let ask = |world: &mut Simulation, window| {
        world.cluster.touch(&who(0), |workload| workload.asks = vec![("reloadlet.io/window", window)]);
        world.schedule(&who(0));
        world.show_workload(&who(0));
        world.wait(MINUTE);
    };
    ask(&mut world, "00:00-24:00 Nowhere/City");
    let sentences: Vec<_> = world.problems.iter().map(|problem| &*problem.sentence).collect();
    assert_eq!(sentences, ["reloadlet.io/window names the time zone \"Nowhere/City\", which isn't known"]);
    world.set(&object("x"), Some(data(&[("a", 30)])));
    world.wait(MINUTE);
    assert_eq!((world.rolls, world.waiting()), (0, vec![(who(0), Wait::Problem)]));
    ask(&mut world, "00:00-24:00 UTC");
    assert_eq!(world.rolls, 1);
}

#[test]
fn nothing_is_rolled_before_the_account_is_fenced_in_and_nobody_else_waits_for_it() {
    let mut world = installed(2, &[uses("x", "a")], |_| 0);
    world.show(&Event::Fence(false));
    world.set(&object("x"), Some(data(&[("a", 30)])));
    world.wait(10 * MINUTE);
    assert_eq!((world.rolls, world.waiting()), (0, vec![(who(0), Wait::Fence), (who(1), Wait::Fence)]));
    world.show(&Event::Fence(true));
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 2);
}

#[test]
fn nothing_is_rolled_while_an_object_is_missing_without_which_pods_dont_start() {
    let mut world = one(&[uses("x", "a"), uses("y", "b")]);
    world.cluster.touch(&who(0), |workload| workload.is_optional = false);
    world.schedule(&who(0));
    world.show_workload(&who(0));
    world.wait(MINUTE);
    world.set(&object("y"), None);
    world.set(&object("x"), Some(data(&[("a", 30)])));
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 0);
    world.set(&object("y"), Some(data(&[("b", 20)])));
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 1);
}

#[test]
fn the_pods_of_those_that_wait_are_listed_again_when_it_is_their_turn_and_not_before() {
    let mut world = installed(6, &[uses("x", "a")], |_| 0);
    for index in 0..6 {
        world
            .cluster
            .touch(&who(index), |workload| workload.asks = vec![("reloadlet.io/window", "02:00-03:00")]);
        world.schedule(&who(index));
        world.show_workload(&who(index));
    }
    world.wait(MINUTE);
    world.set(&object("x"), Some(data(&[("a", 30)])));
    while world.rolls == 0 {
        world.wait(1_000);
    }
    // Once when each was found to be stale, and once when the window opens.
    assert!(world.listings <= 2 * 6, "{}", world.listings);
}

#[test]
fn a_debounce_of_its_own_is_kept() {
    let mut world = one(&[uses("x", "a")]);
    world.cluster.touch(&who(0), |workload| workload.asks = vec![("reloadlet.io/debounce", "5m")]);
    world.schedule(&who(0));
    world.show_workload(&who(0));
    world.wait(MINUTE);
    world.set(&object("x"), Some(data(&[("a", 30)])));
    world.wait(4 * MINUTE);
    assert_eq!(world.rolls, 0);
    world.wait(2 * MINUTE);
    assert_eq!(world.rolls, 1);
}

#[test]
fn whenever_a_controller_is_killed_the_next_one_makes_the_roll_once() {
    for offset in (0..8_000).step_by(20) {
        let mut world = one(&[uses("x", "a")]);
        world.set(&object("x"), Some(data(&[("a", 30)])));
        world.wait(4_900 + offset);
        world.end_all();
        world.wait(offset % 700);
        world.start();
        world.wait(10 * MINUTE);
        assert_eq!(world.rolls, 1, "killed after {offset} ms");
        assert!(world.is_done());
    }
}

#[test]
fn of_two_controllers_at_once_one_makes_the_roll() {
    for offset in (0..6_000).step_by(20) {
        let mut world = one(&[uses("x", "a")]);
        world.set(&object("x"), Some(data(&[("a", 30)])));
        world.wait(offset);
        world.start();
        world.wait(30_000);
        world.set(&object("x"), Some(data(&[("a", 40)])));
        world.wait(10 * MINUTE);
        assert_eq!(world.rolls, 2, "begun after {offset} ms");
        assert!(world.is_done());
    }
}

#[test]
fn a_budget_that_allows_no_disruption_is_waited_for() {
    let mut world = one(&[uses("x", "a")]);
    world.cluster.workloads.get_mut(&who(0)).unwrap().is_guarded = true;
    world.set(&object("x"), Some(data(&[("a", 30)])));
    world.wait(10 * MINUTE);
    assert_eq!((world.rolls, world.waiting()), (0, vec![(who(0), Wait::Disruption)]));
    world.cluster.workloads.get_mut(&who(0)).unwrap().is_guarded = false;
    world.wait(MINUTE);
    assert_eq!(world.rolls, 1);
}

#[test]
fn who_uses_more_objects_than_are_remembered_is_told_so_and_not_rolled() {
    let names: Vec<String> = (0..65).map(|n| format!("o-{n}")).collect();
    let used: Vec<Used> = names.iter().map(|name| uses(name, "a")).collect();
    let mut world = one(&used);
    world.set(&object("o-0"), Some(data(&[("a", 30)])));
    world.wait(10 * MINUTE);
    assert_eq!(world.rolls, 0);
    assert_eq!(world.problems.len(), 1, "{:?}", world.problems);
    assert!(world.cluster.shards.values().all(|(_, records)| records.is_empty()));
}

#[test]
fn what_comes_of_a_roll_is_said_once_however_often_its_record_has_to_be_written() {
    let mut world = one(&[uses("x", "a")]);
    world.set(&object("x"), Some(data(&[("a", 30)])));
    while world.rolls == 0 {
        world.wait(10);
    }
    world.lost_writes = 2;
    while world.started == 0 {
        world.wait(10);
    }
    world.lost_writes += 2;
    world.wait(10 * MINUTE);
    assert_eq!((world.lost_writes, world.rolls), (0, 1));
    assert_eq!((world.started, world.finished), (1, 1));
}
