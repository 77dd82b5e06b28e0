//! What the API server has seen of the agent: its audit log, which `etc/audit.yaml` limits to that.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::space::wait_until;

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

/// The log's beginning.
pub const BEGINNING: Mark = Mark(0);

/// What was asked for after a mark.
#[derive(Debug, Default)]
pub struct Seen {
    /// Watches that began.
    pub watches_started: usize,
    /// Watches that ended; they may have begun before.
    pub watches_ended: usize,
    /// Other requests, by their verb and resource.
    pub others: BTreeMap<String, usize>,
}

impl Seen {
    /// How many requests other than watches.
    pub fn others(&self) -> usize {
        self.others.values().sum()
    }
}

/// The log's end.
pub fn mark() -> Mark {
    Mark(log().len())
}

/// What the log has after a mark.
pub fn since(mark: Mark) -> Seen {
    let mut seen = Seen::default();
    for line in log()[mark.0..].lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let (verb, stage) = (event["verb"].as_str().unwrap(), event["stage"].as_str().unwrap());
        match (verb, stage) {
            ("watch", "ResponseStarted") => seen.watches_started += 1,
            ("watch", _) => seen.watches_ended += 1,
            // One that is no watch can have this stage as well.
            (_, "ResponseStarted") => {}
            _ => {
                let resource = event["objectRef"]["resource"].as_str();
                let of = resource.or(event["requestURI"].as_str()).unwrap();
                *seen.others.entry(format!("{verb} {of}")).or_default() += 1;
            }
        }
    }
    seen
}

/// How many nudges were sent after a mark. A dry run is none: the agent tries its fence by it.
pub fn nudges_since(mark: Mark) -> usize {
    let events = log()[mark.0..].lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>();
    let is_nudge = |event: &&Value| {
        let uri = event["requestURI"].as_str().unwrap();
        event["verb"] == "patch" && event["objectRef"]["resource"] == "pods" && !uri.contains("dryRun")
    };
    events.unwrap().iter().filter(is_nudge).count()
}

/// Waits until there was nothing but watches for so long: what earlier changes lead to is over.
pub fn wait_quiet(quiet: Duration) {
    let (mut since_when, mut place) = (Instant::now(), mark());
    wait_until("the agent has nothing to ask of the API server", || {
        if since(place).others() > 0 {
            (since_when, place) = (Instant::now(), mark());
        }
        since_when.elapsed() >= quiet
    });
}

/// Whole lines.
fn log() -> String {
    let cluster = std::env::var("CLUSTER").unwrap();
    let mut text = fs::read_to_string(Path::new(&cluster).join("log/audit")).unwrap();
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    text
}
