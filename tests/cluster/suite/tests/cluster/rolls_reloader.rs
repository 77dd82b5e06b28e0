//! Rows of the table of what Reloader's annotations ask for, each as a workload of its own: what the controller does with the real
//! controllers of Kubernetes. The core's own test runs all rows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use cluster_suite::rolls::{Away, NAMESPACE, ROLLED, kill, sentinel, status, wait_leading};
use cluster_suite::space::{Space, kubectl, output, wait_until};
use rows::{Expected, Row};

mod rows;

/// Rows of the areas that aren't shown here, and why.
const NOT_SHOWN: [(&str, &str); 6] = [
    ("R008", "there are no Rollouts in this cluster"),
    ("R009", "there are no Rollouts in this cluster"),
    ("R010", "there are no Rollouts in this cluster"),
    ("R011", "there are no DeploymentConfigs in this cluster"),
    ("R040", "a template has no ephemeral containers"),
    ("R163", "R162 with flags of Reloader's that aren't the controller's"),
];

/// So many namespaces share the rows, as each has three rolls at a time.
const SPACES: usize = 3;

/// Everything that is changed in one namespace, in one call of a shell.
fn run(space: &Space, script: &str) {
    let mut command = std::process::Command::new("sh");
    let script = format!("set -eu; N={}; k() {{ kubectl -n $N \"$@\" >/dev/null; }}\n{script}", space.name());
    command.args(["-c", &script]);
    output(command).unwrap_or_else(|error| panic!("{error}"));
}

/// The change of a workload's object, for a shell.
fn change(name: &str) -> String {
    format!("k patch configmap {name}-app --type=merge -p '{}'\n", json!({"data": {"a": "two"}}))
}

fn revisions(spaces: &[Space]) -> BTreeMap<String, usize> {
    spaces.iter().flat_map(Space::revisions).collect()
}

/// The workloads of which the controller says that nothing is done about their pods, which are stale.
fn stale(spaces: &[Space]) -> BTreeSet<String> {
    let status = status();
    let is_mine = |one: &&Value| spaces.iter().any(|space| one["namespace"] == space.name());
    let all = status["workloads"].as_array().unwrap().iter().filter(is_mine);
    all.filter(|one| one["state"] == "stale").map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// All that there is of workloads of kinds that aren't rolled, each with its UID and what version of its spec it is, once all of them have
/// what they make: a Job its pod, one whose work is done its end, a CronJob nothing.
fn of_other_kinds(space: &Space, rows: &[Row]) -> Option<BTreeSet<[String; 4]>> {
    let names: BTreeSet<String> = rows.iter().map(Row::name).collect();
    let all = space.list("cronjobs,jobs,replicasets,pods", &[]);
    let mine: Vec<&Value> = all
        .iter()
        .filter(|one| {
            let owner = one["metadata"]["ownerReferences"][0]["name"].as_str();
            let owner = owner.or(one["metadata"]["name"].as_str()).unwrap();
            names.contains(owner)
        })
        .collect();
    let is_done = |one: &&&Value| match one["kind"].as_str().unwrap() {
        "Pod" => ["Running", "Succeeded"].iter().any(|phase| one["status"]["phase"] == *phase),
        "Job" => one["metadata"]["name"] != "r016" || one["status"]["succeeded"] == 1,
        _ => true,
    };
    // Each has itself, and all but the CronJobs and the bare pod have a pod beside that.
    let expected: usize = rows.iter().map(Row::made).sum();
    let known = mine.iter().filter(is_done).map(|one| {
        let metadata = &one["metadata"];
        [&one["kind"], &metadata["name"], &metadata["uid"]]
            .map(|field| field.as_str().unwrap().to_owned())
            .into_iter()
            .chain([metadata["generation"].to_string()])
            .collect::<Vec<String>>()
            .try_into()
            .unwrap()
    });
    Some(known.collect::<BTreeSet<[String; 4]>>())
        .filter(|known| known.len() == expected && mine.len() == expected)
}

#[test]
fn rows_of_reloaders_table_are_what_the_controller_does() {
    let Some(first) = Space::alone("reloader") else { return };
    let mut spaces: Vec<Space> =
        (1..SPACES).map(|index| first.beside(&format!("reloader-{index}"))).collect();
    spaces.insert(0, first);
    let rows: Vec<Row> = rows::all().into_iter().filter(|row| row.is_in_area()).collect();
    let is_shown = |row: &Row| NOT_SHOWN.iter().all(|(id, _)| *id != row.id);
    let (rows, left): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(is_shown);
    assert_eq!(left.len(), NOT_SHOWN.len(), "all of them are rows");
    let (others, rows): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(Row::is_of_another_kind);
    let home = |index: usize| index % SPACES;

    for (number, space) in spaces.iter().enumerate() {
        let mine = rows.iter().enumerate().filter(|(index, _)| home(*index) == number);
        let objects: Vec<Value> = mine.flat_map(|(_, row)| row.objects()).collect();
        space.create(&[objects, sentinel("sentinel").into(), sentinel("last").into()].concat());
    }
    let usual: Vec<(usize, &Row)> =
        rows.iter().enumerate().filter(|(_, row)| row.is_available_at_first()).collect();
    for (number, space) in spaces.iter().enumerate() {
        let names: Vec<String> = usual
            .iter()
            .filter(|(index, _)| home(*index) == number)
            .map(|(_, row)| row.name())
            .chain(["sentinel".to_owned(), "last".to_owned()])
            .collect();
        wait_until("the workloads are available", || {
            let all = space.workloads();
            let is_mine = |one: &&Value| names.iter().any(|name| one["metadata"]["name"] == **name);
            all.iter().filter(is_mine).filter(|one| cluster_suite::rolls::is_available(one)).count()
                == names.len()
        });
        space.wait_remembered(&["sentinel"]);
    }
    for (index, row) in &usual {
        if row.is_remembered() {
            spaces[home(*index)].wait_remembered(&[&row.name()]);
        }
    }
    let objects: Vec<Value> = others.iter().flat_map(Row::objects).collect();
    spaces[0].create(&objects);
    let before = wait_until("those of other kinds are as they stay", || of_other_kinds(&spaces[0], &others));
    // R160 and R161, among them: nothing has been rolled so far.
    assert!(revisions(&spaces).values().all(|count| *count == 1), "{:?}", revisions(&spaces));

    for (number, space) in spaces.iter().enumerate() {
        let mine = rows.iter().enumerate().filter(|(index, _)| home(*index) == number);
        run(space, &mine.map(|(_, row)| row.changes()).collect::<String>());
    }
    run(&spaces[0], &others.iter().map(Row::changes).collect::<String>());
    let named = |id: &str| {
        let (index, row) = rows.iter().enumerate().find(|(_, row)| row.id == id).unwrap();
        (&spaces[home(index)], row.name())
    };
    // A roll-out that is under way is waited for, and its pod is older than the change.
    let (space, name) = named("R172");
    space.wait_status(&name, "wait", "rolling");
    let newest = "--sort-by=.metadata.creationTimestamp -o name | tail -n 1";
    run(space, &format!("k exec $(kubectl -n $N get pods -l app={name} {newest}) -c app -- touch /tmp/go\n"));
    let (space, name) = named("R173");
    space.wait_status(&name, "wait", "unavailable");
    let (space, name) = named("R175");
    space.wait_status(&name, "wait", "disruption");

    let expected: Vec<(usize, String)> =
        rows.iter().filter_map(|row| Some((row.expected().revisions(row)?, row.name()))).collect();
    wait_until("all rows that are to be rolled are", || {
        let known = revisions(&spaces);
        expected.iter().all(|(count, name)| known.get(name).is_some_and(|known| known >= count))
    });
    let (space, name) = named("R159");
    space.wait_step(&name, "Done");
    run(space, &format!("k rollout undo deployment/{name}\n"));
    spaces.iter().for_each(|space| space.wait_sentinel("sentinel"));

    for row in rows.iter().filter(|row| row.expected() == Expected::Report) {
        let (space, name) = named(row.id);
        space.wait_status(&name, "state", "stale");
    }
    let stale = stale(&spaces);

    // R169 is changed while nothing is installed, R162 and R166 are there while controllers are killed.
    let away = Away::begin();
    let secrets = kubectl(["-n", NAMESPACE, "get", "secrets", "-o", "name"]);
    let own = secrets.lines().filter(|name| name.starts_with("secret/reloadlet-controller-"));
    kubectl(["-n", NAMESPACE, "delete"].into_iter().chain(own));
    let (space, name) = named("R169");
    run(space, &change(&name));
    away.end();
    let (space, name) = named("R166");
    space.wait_remembered(&[&name]);
    spaces.iter().for_each(|space| space.wait_remembered(&["last"]));
    std::thread::scope(|scope| {
        let killed = scope.spawn(kill);
        run(space, &change(&name));
        killed.join().unwrap();
    });
    wait_leading();
    space.wait_revisions(&[&name], 2);
    spaces.iter().for_each(|space| space.wait_sentinel("last"));

    let known = revisions(&spaces);
    let workloads: BTreeMap<String, Value> = spaces
        .iter()
        .flat_map(Space::workloads)
        .map(|one| (one["metadata"]["name"].as_str().unwrap().to_owned(), one))
        .collect();
    let mut wrong = Vec::new();
    for row in &rows {
        let name = row.name();
        let has_mark = workloads[&name]["spec"]["template"]["metadata"]["annotations"][ROLLED].is_string();
        let found = (known.get(&name).copied().unwrap_or_default(), has_mark);
        if found != row.result() {
            wrong.push(format!("{} ({}): {found:?}, not {:?}", row.id, row.ours, row.result()));
        }
        if stale.contains(&name) != (row.expected() == Expected::Report) {
            wrong.push(format!("{} ({}): reported: {}", row.id, row.ours, stale.contains(&name)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(
        of_other_kinds(&spaces[0], &others),
        Some(before),
        "those of other kinds are left as they are"
    );
    let count = |expected| rows.iter().filter(|row| row.expected() == expected).count();
    eprintln!(
        "{} rows: {} rolled once, {} not, {} not and reported, {} held, {} of kinds that are left as they are; {} rows aren't shown: \
         {NOT_SHOWN:?}",
        rows.len() + others.len(),
        count(Expected::Roll),
        count(Expected::Nothing),
        count(Expected::Report),
        count(Expected::Held),
        others.len(),
        left.len(),
    );
}
