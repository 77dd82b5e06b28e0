//! Fifty workloads with one ConfigMap: how many are rolled at a time, a content that the first one doesn't live through, and the
//! installation beside them.

use serde_json::{Value, json};

use cluster_suite::rolls::{
    Away, NAMESPACE, config_map, rolled_together, sentinel, status, variable, wait_leading, workload,
};
use cluster_suite::space::{Space, kubectl, wait_until};

const COUNT: usize = 50;
/// So many workloads of a namespace are rolled at a time, by default.
const AT_A_TIME: usize = 3;

/// A Deployment that is ready with every content but `bad`. That it answers is all that its probe asks: fifty commands a second would
/// take the machine from everybody else.
fn picky(name: &str) -> Value {
    let mut container = variable("config");
    container["command"] = json!(["sh", "-c", "[ \"$VALUE\" = bad ] || httpd -p 80; exec sleep 100000"]);
    container["readinessProbe"] =
        json!({"tcpSocket": {"port": 80}, "periodSeconds": 1, "timeoutSeconds": 10});
    workload("Deployment", name, &container)
}

#[test]
fn fifty_workloads_with_one_object_follow_the_first_one_few_at_a_time() {
    let Some(mut space) = Space::new("rolls-many") else { return };
    let names: Vec<String> = (0..COUNT).map(|n| format!("web-{n}")).collect();
    let fleet: Vec<Value> = names.iter().map(|name| picky(name)).collect();
    let more = [sentinel("sentinel"), sentinel("last")].concat();
    space.start_rolled(&[vec![config_map("config", "one")], fleet, more].concat());
    let rolled = |space: &Space, count: usize| {
        space.revisions().iter().filter(|(name, known)| name.starts_with("web-") && **known == count).count()
    };

    space.change_object("config", "bad");
    wait_until("the others wait for the first one", || {
        let status = status();
        let all = status["workloads"].as_array().unwrap().iter();
        all.filter(|one| one["namespace"] == space.name() && one["wait"] == "first").count() == COUNT - 1
    });
    space.wait_sentinel("sentinel");
    assert_eq!((rolled(&space, 1), rolled(&space, 2)), (COUNT - 1, 1), "one tries the bad content");
    eprintln!("bad content: {} rolled, {} not", rolled(&space, 2), rolled(&space, 1));

    let recorder = space.record();
    space.change_object("config", "good");
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    for count in (0..=COUNT).step_by(10) {
        wait_until(&format!("{count} have the good content"), || {
            rolled(&space, 2) + rolled(&space, 3) >= count
        });
    }
    wait_until("the first one has the good content too", || rolled(&space, 3) == 1);
    space.wait_available();
    let moments = rolled_together(&recorder.end());
    let most = moments.iter().map(Vec::len).max().unwrap();
    assert_eq!(moments.len(), COUNT, "{moments:?}");
    assert!(most <= AT_A_TIME, "{moments:?}");
    assert_eq!((rolled(&space, 2), rolled(&space, 3)), (COUNT - 1, 1), "{:?}", space.revisions());
    eprintln!("good content: {} rolls, at most {most} at a time", moments.len());

    // What it remembers is taken away, so it is installed as for the first time.
    space.take_turn_alone();
    let before = space.revisions();
    let away = Away::begin();
    let secrets = kubectl(["-n", NAMESPACE, "get", "secrets", "-o", "name"]);
    let own = secrets.lines().filter(|name| name.starts_with("secret/reloadlet-controller-"));
    kubectl(["-n", NAMESPACE, "delete"].into_iter().chain(own));
    away.end();
    wait_leading();
    space.wait_remembered(&[all.as_slice(), &["last"]].concat());
    space.wait_sentinel("last");
    let mut expected = before;
    expected.insert("last".to_owned(), 2);
    assert_eq!(space.revisions(), expected, "the installation rolls nothing");
    eprintln!("installed beside {} workloads: 0 rolls", all.len() + 2);
}
