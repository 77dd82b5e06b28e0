//! Containers that end and start again all the time while their configuration changes.

use std::collections::BTreeMap;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use cluster_suite::space::{SIGNAL, Space, app, config_map, wait_until};

const CHANGES: usize = 20;
const PODS: [&str; 4] = ["handles", "handles-too", "ignores", "would-die"];

/// Counts its starts and ends in a volume that outlives the container. It ends by itself after 50 to 1,500 ms, as long
/// as it isn't told to stay when it starts.
fn script(trap: &str, stay: &str) -> String {
    format!(
        r#"{trap}
echo >>/runs/starts
case $(cat /config/key) in stay) echo stay >/runs/stays; {stay};; esac
usleep $(((50 + RANDOM % 1451) * 1000))
echo >>/runs/ends
exit 7"#
    )
}

fn looping(name: &str) -> Value {
    let mut pod = app(name, &[(SIGNAL, "SIGHUP")]);
    let script = if name.starts_with("handles") {
        script(
            r#"trap 'echo "hup $(cat /config/key)"' HUP"#,
            r#"echo "stays $(cat /config/key)"; sleep 100000 & while :; do wait; done"#,
        )
    } else {
        script("", "exec sleep 100000")
    };
    // The first process of a namespace survives a signal that it doesn't handle, any other one dies of it.
    pod["spec"]["shareProcessNamespace"] = json!(name == "would-die");
    pod["spec"]["containers"][0]["command"] = json!(["sh", "-c", script]);
    pod["spec"]["containers"][0]["volumeMounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "runs", "mountPath": "/runs"}));
    pod["spec"]["volumes"].as_array_mut().unwrap().push(json!({"name": "runs", "emptyDir": {}}));
    pod
}

/// How each container ended that the kubelet has reported: exit status and reason, by the container's ID.
type Ends = Arc<Mutex<BTreeMap<String, (String, i64, String)>>>;

/// kubectl, which follows the pods.
struct Watch {
    kubectl: Child,
    ends: Ends,
}

impl Watch {
    fn start(space: &Space) -> Self {
        let mut kubectl = space.start_kubectl(&["get", "pods", "--watch", "-o", "json"]);
        let ends = Ends::default();
        let pods = serde_json::Deserializer::from_reader(kubectl.stdout.take().unwrap()).into_iter::<Value>();
        thread::spawn({
            let ends = Arc::clone(&ends);
            // When kubectl is ended, the last pod may be cut short.
            move || pods.map_while(Result::ok).for_each(|pod| take_ends(&pod, &ends))
        });
        Self { kubectl, ends }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.kubectl.kill().unwrap();
        self.kubectl.wait().unwrap();
    }
}

fn take_ends(pod: &Value, ends: &Ends) {
    let status = &pod["status"]["containerStatuses"][0];
    for state in ["state", "lastState"] {
        let end = &status[state]["terminated"];
        if let (Some(id), Some(code)) = (end["containerID"].as_str(), end["exitCode"].as_i64()) {
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            let reason = end["reason"].as_str().unwrap_or_default().to_owned();
            ends.lock().unwrap().insert(id.to_owned(), (name, code, reason));
        }
    }
}

/// Lines of a file in the pod.
fn count(space: &Space, pod: &str, file: &str) -> u64 {
    space.kubectl(&["exec", pod, "--", "sh", "-c", &format!("wc -l <{file}")]).trim().parse().unwrap()
}

#[test]
fn no_start_of_a_container_is_broken_however_often_it_ends_while_its_configuration_changes() {
    let Some(space) = Space::new("looping") else { return };
    let watch = Watch::start(&space);
    space.create(&[config_map("0")]);
    space.create(&PODS.map(looping));
    for change in 1..=CHANGES {
        let before = watch.ends.lock().unwrap().len();
        wait_until("a container has ended", || watch.ends.lock().unwrap().len() > before);
        space.change(&change.to_string());
    }
    space.change("stay");
    for pod in PODS {
        space.wait_file(pod, "/runs/stays", "stay");
    }
    let mut all = 0;
    for pod in PODS {
        let [starts, ends] = ["/runs/starts", "/runs/ends"].map(|file| count(&space, pod, file));
        assert_eq!(ends, starts - 1, "{pod}: a run that began but didn't come to its end");
        assert_eq!(wait_restarts(&space, pod, starts - 1), starts - 1, "{pod}: a start that came to nothing");
        assert_eq!(space.events(pod, "Failed"), [""; 0], "{pod}");
        all += starts;
    }
    let seen = watch.ends.lock().unwrap().clone();
    eprintln!("{all} starts, {} ends seen, {CHANGES} changes", seen.len());
    for (pod, code, reason) in seen.values() {
        assert_eq!((*code, &**reason), (7, "Error"), "{pod} ended by itself each time");
    }

    for content in ["after", "last"] {
        space.change(content);
        for pod in ["handles", "handles-too"] {
            let line = format!("hup {content}");
            wait_until(&format!("{pod} is told {content}"), || space.told(pod, "app").last() == Some(&line));
        }
    }
    for pod in ["handles", "handles-too"] {
        let told = space.told(pod, "app");
        // It may be told of what it has read already if it started while that was published.
        let told: Vec<_> = told.iter().filter(|line| *line != "hup stay").collect();
        assert_eq!(told, ["stays stay", "hup after", "hup last"], "{pod}");
    }
    for pod in ["ignores", "would-die"] {
        space.wait_file(pod, "/config/key", "last");
        let note = space.wait_event(pod, "ReloadProblem");
        assert!(note.contains("doesn't handle SIGHUP"), "{pod}: {note}");
        assert_eq!(space.events(pod, "SignalSent"), [""; 0], "{pod}");
        assert_eq!(count(&space, pod, "/runs/starts"), restarts(&space, pod) + 1, "{pod} still stays");
    }
}

fn restarts(space: &Space, pod: &str) -> u64 {
    space.get("pod", pod)["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap()
}

/// What the pod's status says once it has caught up.
fn wait_restarts(space: &Space, pod: &str, least: u64) -> u64 {
    wait_until(&format!("{pod}'s status tells of {least} restarts"), || {
        Some(restarts(space, pod)).filter(|restarts| *restarts >= least)
    })
}
