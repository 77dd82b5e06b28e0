//! What people see of rolls at work.

use reloadlet_core::policy::problem::Problem;
use reloadlet_core::policy::reloader::Telling;
use reloadlet_core::rollouts::event::Wait;
use reloadlet_core::rollouts::overview::Standing;

use crate::cluster::BAD;
use crate::promises::{MINUTE, data, installed, object, one, uses, who};
use crate::simulation::Simulation;

/// What is seen of one workload.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    workload: String,
    standing: Option<Standing>,
    wait: Option<Wait>,
    stale: Option<Telling>,
    problems: Vec<String>,
    objects: Vec<String>,
}

fn row(workload: &str) -> Row {
    Row {
        workload: workload.to_owned(),
        standing: None,
        wait: None,
        stale: None,
        problems: Vec::new(),
        objects: vec!["configmap x".to_owned()],
    }
}

impl Simulation {
    fn seen(&self) -> Vec<Row> {
        let controller = &self.running.values().next().unwrap().machine;
        let each = controller.overview().map(|seen| Row {
            workload: seen.workload.name.to_string(),
            standing: seen.roll.map(|roll| roll.standing),
            wait: seen.wait,
            stale: seen.stale,
            problems: seen.problems.iter().map(Problem::to_string).collect(),
            objects: seen.objects.iter().map(|(kind, name)| format!("{kind} {name}")).collect(),
        });
        each.collect()
    }
}

#[test]
fn a_roll_is_seen_from_its_wait_to_its_end_with_its_mark_and_its_objects() {
    let mut world = one(&[uses("x", "a"), uses("y", "a")]);
    assert_eq!(world.seen(), []);
    let changed = world.now;
    world.set(&object("x"), Some(data(&[("a", 11)])));
    world.wait(2_000);
    assert_eq!(world.seen(), [Row { wait: Some(Wait::Debounce), ..row("web-0") }]);
    while world.rolls == 0 {
        world.wait(100);
    }
    while world.seen().first().and_then(|row| row.standing) != Some(Standing::Rolling) {
        assert_eq!(world.finished, 0, "it was never seen to roll");
        world.wait(100);
    }
    assert_eq!(world.seen(), [Row { standing: Some(Standing::Rolling), ..row("web-0") }]);
    let controller = &world.running.values().next().unwrap().machine;
    let roll = controller.overview().next().unwrap().roll.unwrap();
    assert_eq!(Some(roll.marker), world.cluster.workloads[&who(0)].template.marker.as_ref());
    assert!(changed < roll.since && roll.since <= world.now, "{:?}", roll.since);
    world.wait(10 * MINUTE);
    assert_eq!((world.finished, world.seen()), (1, vec![]));
}

#[test]
fn whose_pods_didnt_become_available_is_seen_beside_those_that_wait_for_it() {
    let mut world = installed(3, &[uses("x", "a")], |_| 0);
    world.set(&object("x"), Some(data(&[("a", 20 + BAD)])));
    world.wait(30 * MINUTE);
    let seen = world.seen();
    let failed = |row: &&Row| row.standing == Some(Standing::Failed);
    assert_eq!(seen.iter().filter(failed).map(|row| row.wait).collect::<Vec<_>>(), [None]);
    let others: Vec<_> = seen.iter().filter(|row| !failed(row)).map(|row| row.wait).collect();
    assert_eq!(others, [Some(Wait::Failed); 2]);
}

#[test]
fn stale_pods_that_are_left_alone_and_problems_are_seen_as_well() {
    let mut world = one(&[uses("x", "a")]);
    world.set_paused(&who(0), true);
    world.set(&object("x"), Some(data(&[("a", 11)])));
    world.wait(10 * MINUTE);
    assert_eq!(world.seen(), [Row { stale: Some(Telling::Paused), ..row("web-0") }]);
    world.set_paused(&who(0), false);
    world.wait(10 * MINUTE);
    assert_eq!(world.seen(), []);
    world.cluster.touch(&who(0), |workload| workload.asks.push(("reloadlet.io/window", "always")));
    world.show_workload(&who(0));
    world.wait(MINUTE);
    let seen = world.seen();
    let [of] = seen.as_slice() else { panic!("{seen:?}") };
    assert!(of.problems[0].starts_with("reloadlet.io/window is \"always\""), "{of:?}");
    assert_eq!((of.standing, of.wait, of.stale), (None, None, None));
}

#[test]
fn those_count_that_ask_to_be_rolled() {
    let mut world = installed(3, &[uses("x", "a")], |_| 0);
    let asking = |world: &Simulation| world.running.values().next().unwrap().machine.asking();
    assert_eq!(asking(&world), 3);
    world.cluster.touch(&who(0), |workload| workload.asks_itself = false);
    world.cluster.touch(&who(1), |workload| workload.asks.push(("reloadlet.io/rollout", "false")));
    for index in [0, 1] {
        world.show_workload(&who(index));
    }
    world.wait(MINUTE);
    assert_eq!(asking(&world), 1);
}
