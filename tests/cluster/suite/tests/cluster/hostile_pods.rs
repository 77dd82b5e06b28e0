//! Pods that are as large as the API server takes them, and many of them, beside a victim in another namespace.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use cluster_suite::agent;
use cluster_suite::space::{SIGNAL, Space, app, config_map, kubectl, kubectl_command, output, wait_until};

/// How long they are there while the victim is told of changes.
const HOSTILE: Duration = Duration::from_secs(60);
/// From the settle to the signal; some milliseconds where nothing else runs.
const SINCE_SETTLE: Duration = Duration::from_secs(1);
/// How many pods are made at a time.
const MAKERS: usize = 3;

/// A namespace of somebody else.
struct Hostile(String);

impl Hostile {
    fn new(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        kubectl(["create", "namespace", &name]);
        wait_until("the namespace's account", || {
            output(kubectl_command(["get", "-n", &name, "serviceaccount", "default"])).is_ok()
        });
        Self(name)
    }

    fn create(&self, pods: &[Value]) {
        let path = format!("/api/v1/namespaces/{}/pods", self.0);
        let make = |maker: usize| {
            let file = std::env::temp_dir().join(format!("{}-{maker}.json", self.0));
            for pod in pods.iter().skip(maker).step_by(MAKERS) {
                std::fs::write(&file, pod.to_string()).unwrap();
                kubectl(["create", "--raw", &path, "-f", file.to_str().unwrap()]);
            }
            std::fs::remove_file(&file).unwrap();
        };
        let make = &make;
        thread::scope(|scope| (0..MAKERS).for_each(|maker| drop(scope.spawn(move || make(maker)))));
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        if let Err(error) = output(kubectl_command(["delete", "namespace", &self.0, "--wait=false"])) {
            eprintln!("{error}");
        }
    }
}

/// A pod on the node that never starts, since one of its volumes can't be mounted: so that a hundred take no more than they
/// must.
fn pod(name: &str, node: &str, annotations: &Value, container: &Value, mut volumes: Vec<Value>) -> Value {
    volumes.push(json!({"name": "never", "configMap": {"name": "nowhere"}}));
    let mut app = json!({"name": "app", "image": "localhost/busybox:test", "volumeMounts": []});
    app.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    // The kubelet waits only for volumes that are mounted somewhere.
    app["volumeMounts"].as_array_mut().unwrap().push(json!({"name": "never", "mountPath": "/never"}));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": false,
            "containers": [app],
            "volumes": volumes,
        },
    })
}

/// 1.4 MB in an environment, and no annotation of ours.
fn with_a_long_spec(n: usize, node: &str) -> Value {
    let variable = |n: usize| json!({"name": format!("V{n}"), "value": "v".repeat(1000)});
    let container = json!({"env": (0..1350).map(variable).collect::<Vec<_>>()});
    pod(&format!("spec-{n}"), node, &json!({}), &container, Vec::new())
}

fn with_annotations(n: usize, node: &str) -> Value {
    let mut annotations: serde_json::Map<_, _> =
        (0..8000).map(|n| (format!("reloadlet.io/a{n}"), json!(""))).collect();
    annotations.insert(SIGNAL.to_owned(), json!("SIGHUP"));
    pod(&format!("annotations-{n}"), node, &Value::Object(annotations), &json!({}), Vec::new())
}

/// A pod with more volumes than are followed. With ten thousand, the kubelet itself publishes nothing for minutes.
fn with_volumes(n: usize, node: &str) -> Value {
    let volume = |n: usize| json!({"name": format!("v{n}"), "emptyDir": {}});
    let mount = |n: usize| json!({"name": format!("v{n}"), "mountPath": format!("/{n}")});
    let container = json!({"volumeMounts": (1..300).map(mount).collect::<Vec<_>>()});
    let volumes = (1..300).map(volume).collect();
    pod(&format!("volumes-{n}"), node, &json!({SIGNAL: "SIGHUP"}), &container, volumes)
}

/// As much of items, mounts and references as a pod may have, in few volumes.
fn as_large_as_may_be(n: usize, node: &str) -> Value {
    let item = |n: usize| json!({"key": format!("k{n}"), "path": format!("p{n}")});
    let items: Vec<_> = (0..255).map(item).collect();
    let source = json!({"name": "c", "optional": true, "items": items});
    let volume = |n: usize| json!({"name": format!("v{n}"), "configMap": source});
    let mount = |n: usize| json!({"name": format!("v{}", n % 8), "mountPath": format!("/{n}")});
    let reference = |n: usize| {
        let key = json!({"name": "c", "key": format!("k{n}"), "optional": true});
        json!({"name": format!("V{n}"), "valueFrom": {"configMapKeyRef": key}})
    };
    let container = json!({
        "volumeMounts": (0..1023).map(mount).collect::<Vec<_>>(),
        "env": (0..1024).map(reference).collect::<Vec<_>>(),
    });
    let volumes = (0..8).map(volume).collect();
    pod(&format!("large-{n}"), node, &json!({SIGNAL: "SIGHUP"}), &container, volumes)
}

/// Its pod, and the starts of its container.
fn the_agent() -> (String, u64) {
    let pod = agent::pod();
    let starts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap();
    (pod["metadata"]["uid"].as_str().unwrap().to_owned(), starts)
}

/// Tells the victim of changes, at least five, for as long as a condition holds. The slowest delivery comes back.
fn changes(space: &Space, said: &mut Vec<String>, mut go_on: impl FnMut() -> bool) -> Duration {
    let first = said.len();
    while said.len() < first + 5 || go_on() {
        let content = format!("{}-meanwhile", said.len());
        space.change(&content);
        said.push(format!("hup {content}"));
        wait_until(&format!("the victim is told {content}"), || space.told("victim", "app") == *said);
    }
    let delivered = || -> Vec<u64> {
        let lines = agent::log();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_victim = lines.filter(|line| {
            line["namespace"] == space.name() && line["pod"] == "victim" && line["outcome"] == "delivered"
        });
        // The very first one may have waited until the process was old enough.
        of_victim.filter_map(|line| line["since_settle_us"].as_u64()).skip(1).collect()
    };
    let told = said.len() - first;
    let micros =
        wait_until("the log has the deliveries", || Some(delivered()).filter(|all| all.len() + 1 >= told));
    let slowest = micros.into_iter().max().map(Duration::from_micros).unwrap();
    eprintln!("{told} changes, the slowest delivery {slowest:?}; {}", agent::process_status("VmHWM"));
    slowest
}

#[test]
fn a_minute_of_pods_that_are_too_large_or_too_many_keeps_no_victim_waiting_and_ends_no_agent() {
    let Some(space) = Space::alone("large-pods") else { return };
    space.start(&[config_map("one"), app("victim", &[(SIGNAL, "SIGHUP")])]);
    let node = space.get("pod", "victim")["spec"]["nodeName"].as_str().unwrap().to_owned();
    let before = the_agent();
    let mut said = Vec::new();

    let hostile = Hostile::new("hostile");
    let slowest = thread::scope(|scope| {
        let making = scope.spawn(|| {
            hostile.create(&(0..60).map(|n| with_a_long_spec(n, &node)).collect::<Vec<_>>());
            hostile.create(&(0..100).map(|n| with_annotations(n, &node)).collect::<Vec<_>>());
            hostile.create(&(0..3).map(|n| with_volumes(n, &node)).collect::<Vec<_>>());
            // More of them than there is room for.
            hostile.create(&(0..40).map(|n| as_large_as_may_be(n, &node)).collect::<Vec<_>>());
        });
        let slowest = changes(&space, &mut said, || !making.is_finished());
        making.join().unwrap();
        slowest
    });
    assert!(slowest < SINCE_SETTLE, "while they are made: {slowest:?}");
    let all = Instant::now();
    let problems = |kind: &str| agent::metric("reloadlet_problems", &[format!("kind=\"{kind}\"")]);
    wait_until("what is too large is said", || problems("too_large") >= 103.0 && problems("no_room") >= 1.0);
    let slowest = changes(&space, &mut said, || all.elapsed() < HOSTILE);
    assert!(slowest < SINCE_SETTLE, "while they are there: {slowest:?}");
    assert_eq!(the_agent(), before, "it was restarted meanwhile");

    // A new agent meets all of them in its first listing.
    agent::restart();
    let before = the_agent();
    wait_until("what is too large is said", || problems("too_large") >= 103.0 && problems("no_room") >= 1.0);
    let listed = Instant::now();
    let slowest = changes(&space, &mut said, || listed.elapsed() < HOSTILE);
    assert!(slowest < SINCE_SETTLE, "after a listing: {slowest:?}");
    assert_eq!(before.1, 0, "it was restarted");
    assert_eq!(the_agent(), before, "it was restarted meanwhile");
}
