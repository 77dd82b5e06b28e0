//! From the API server's answer to the swap, and to the application's handler: the kubelet by itself, and nudged.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use super::fleet::{Fleet, Member};
use super::handlers::agent_says;
use super::reader::{Priority, Reader, boot_time};
use super::samples::{Samples, micros_between};
use super::table::Table;
use crate::agent;
use crate::space::{kubectl_command, wait_until};

/// By how much the stage times that the agent logs may differ from those taken outside, in milliseconds.
const APART_MILLIS: f64 = 20.0;

/// What a nudged kubelet may take, in seconds.
const ACCELERATED_SECONDS: f64 = 1.0;

/// Whether the kubelet is nudged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// It looks at each pod once in 60 to 90 s.
    Default,
    /// The pods ask for acceleration, and the agent may.
    Accelerated,
}

impl Way {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Accelerated => "accelerated",
        }
    }
}

/// A watch of the ConfigMap as the agent has one, and when each change came.
struct Watch {
    kubectl: Child,
    received: Arc<Mutex<Vec<u64>>>,
}

impl Watch {
    fn start(namespace: &str) -> Self {
        let path =
            format!("/api/v1/namespaces/{namespace}/configmaps?watch=1&fieldSelector=metadata.name%3Dconfig");
        let mut kubectl = kubectl_command(["get", "--raw", &path]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(kubectl.stdout.take().unwrap()).lines().map_while(Result::ok);
        let received = Arc::new(Mutex::new(Vec::new()));
        let (begun, has_begun) = mpsc::sync_channel(1);
        thread::spawn({
            let received = received.clone();
            move || {
                for line in lines {
                    let at = boot_time();
                    if line.contains(r#""type":"MODIFIED""#) {
                        received.lock().unwrap().push(at);
                    }
                    // Only the first is waited for.
                    let _is_full = begun.try_send(()).is_err();
                }
            }
        });
        has_begun.recv().unwrap();
        Self { kubectl, received }
    }

    fn received(&self) -> Vec<u64> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.kubectl.kill().unwrap();
        self.kubectl.wait().unwrap();
    }
}

/// One change of one pod, as it was seen from outside.
struct Seen {
    pod: String,
    generation: String,
    received: u64,
    swapped: u64,
    handled: u64,
}

/// Changes all pods so many times, and waits each time until all have been told.
pub fn measure(fleet: &mut Fleet, way: Way, changes: usize, table: &mut Table) {
    let (mut swaps, mut handlers, mut outside) = (Vec::new(), Vec::new(), Vec::new());
    let watch = Watch::start(fleet.namespace());
    for change in 0..changes {
        let reader = Reader::start(Priority::First, fleet.members().iter().map(Member::volume));
        let told: Vec<usize> = fleet.members().iter().map(|member| member.stamps().len()).collect();
        let answered = fleet.change();
        let seen = reader.stop();
        for ((member, before), seen) in fleet.members().iter().zip(told).zip(seen) {
            assert_eq!(seen.len(), 1, "{}: publications of one change", member.name);
            let stamps = member.stamps();
            assert_eq!(stamps.len(), before + 1, "{}: signals for one change", member.name);
            swaps.push(seconds(answered, seen[0].swapped));
            handlers.push(seconds(answered, stamps[before]));
            outside.push(Seen {
                pod: member.name.clone(),
                generation: format!("config={}", member.generation()),
                received: watch.received()[change],
                swapped: seen[0].swapped,
                handled: stamps[before],
            });
        }
    }
    compare(fleet, way, &outside, table);
    let name = way.as_str();
    let (swaps, handlers) = (Samples::new(swaps), Samples::new(handlers));
    let (to_swap, to_handler) =
        (format!("{name}: answer to swap, s"), format!("{name}: answer to the handler, s"));
    match way {
        Way::Default => {
            table.spread(&to_swap, swaps);
            table.spread(&to_handler, handlers);
        }
        Way::Accelerated => {
            table.limited_spread(&to_swap, swaps, ACCELERATED_SECONDS);
            table.limited_spread(&to_handler, handlers, ACCELERATED_SECONDS);
        }
    }
}

/// Holds what the agent says against what was seen from outside.
fn compare(fleet: &Fleet, way: Way, outside: &[Seen], table: &mut Table) {
    let mut said = wait_until("the agent has logged all deliveries", || {
        let said = agent_says(fleet.namespace());
        (said.len() >= outside.len()).then_some(said)
    });
    let (mut publish, mut propagation) = (Vec::new(), Vec::new());
    for seen in outside {
        let line =
            said.remove(&(seen.pod.clone(), seen.generation.clone())).expect("a line for each generation");
        let millis = |field: &str| line[field].as_f64().unwrap_or_else(|| panic!("{field} in {line}")) / 1e3;
        let apart =
            |said: f64, until: u64| (said - micros_between(seen.received, until).max(0.0) / 1e3).abs();
        publish.push(apart(millis("publish_us"), seen.swapped));
        propagation.push(apart(millis("propagation_us"), seen.handled));
    }
    let name = way.as_str();
    for (what, apart) in [("publish_us", publish), ("propagation_us", propagation)] {
        let what = format!("{name}: {what} in the log, apart from outside, ms");
        table.limited_spread(&what, Samples::new(apart), APART_MILLIS);
    }
}

/// How each nudge ended, as the agent counts them: none may be left without an answer.
pub fn check_nudges(table: &mut Table) {
    let count = |result: &str| agent::metric("reloadlet_nudges_total", &[format!("result=\"{result}\"")]);
    table.value("nudges that were followed by the newest version", format!("{:.0}", count("published")));
    for result in ["unanswered", "throttled", "refused", "failed"] {
        table.limited_value(&format!("nudges {result}"), count(result), 0.0);
    }
}

/// Nothing is before the answer: a kubelet that looks in that very moment took no time.
fn seconds(from: u64, to: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "they are moments of one run")]
    let nanos = to.saturating_sub(from) as f64;
    nanos / 1e9
}
