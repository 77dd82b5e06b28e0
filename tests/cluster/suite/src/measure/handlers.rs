//! From the settle to the application's handler.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fleet::{Fleet, Member};
use super::reader::{Priority, Publication, Reader, boot_time};
use super::samples::{Samples, micros_between};
use super::table::Table;
use crate::agent;
use crate::space::wait_until;

const CHANGES: usize = 8;
/// What the agent may add to what a bare reader takes.
const APART_MICROS: f64 = 2_000.0;
const NEAR_MICROS: f64 = 2_000.0;
/// How many of the slowest are said.
const SLOWEST: usize = 3;

/// What is known of one change of one pod, in nanoseconds since boot.
struct Delivery {
    pod: String,
    swapped: u64,
    settled: u64,
    /// When the bare reader had the settle's notification.
    read: u64,
    handled: u64,
    /// What the agent says that it took from the settle, as it saw it, to the signal, in microseconds.
    in_agent: f64,
}

impl Delivery {
    fn late(&self) -> f64 {
        micros_between(self.settled, self.handled)
    }
}

/// Changes all pods some times. Beside the agent a bare reader waits for the same notifications, under the same load:
/// what a handler's time has over the reader's is what the agent adds.
pub fn measure(fleet: &mut Fleet, table: &mut Table) {
    let start = |priority| Reader::start(priority, fleet.members().iter().map(Member::volume));
    let (clock, reader) = (start(Priority::First), start(Priority::Usual));
    let mut generations = vec![Vec::new(); fleet.members().len()];
    let before = agent::cpu_ticks();
    let mut begun = Vec::new();
    for _ in 0..CHANGES {
        begun.push(boot_time());
        for (member, generations) in fleet.members().iter().zip(&mut generations) {
            generations.push(member.generation());
        }
        fleet.change();
    }
    let ticks = agent::cpu_ticks() - before;
    let mut deliveries = join(fleet, &begun, &generations, clock.stop(), reader.stop());

    let spread = |of: fn(&Delivery) -> f64| Samples::new(deliveries.iter().map(of));
    let read = spread(|one| micros_between(one.settled, one.read));
    let late = spread(Delivery::late);
    let apart = late.percentile(99) - read.percentile(99);
    let by_change = spread(|one| micros_between(one.read, one.handled));
    table.spread("settle to a bare reader, µs", read);
    table.spread("settle to the application's handler, µs", late);
    table.limited_value("  the handler's p99 less the reader's, µs", apart, APART_MICROS);
    table.limited_spread("  handler after reader, each time, µs", by_change, APART_MICROS);
    table.spread("  of it the agent's own, as it says, µs", spread(|one| one.in_agent));
    table.spread("swap to settle, µs", spread(|one| micros_between(one.swapped, one.settled)));
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let each = ticks as f64 * 10_000.0 / deliveries.len() as f64;
    table.value("agent's processor time for each, µs", format!("{each:.0}"));

    deliveries.sort_by(|a, b| b.late().total_cmp(&a.late()));
    say_slowest(&deliveries);
}

/// Each publication with the signal that belongs to it: a change begins when all have been told of the one before.
fn join(
    fleet: &Fleet,
    begun: &[u64],
    generations: &[Vec<String>],
    by_clock: Vec<Vec<Publication>>,
    by_reader: Vec<Vec<Publication>>,
) -> Vec<Delivery> {
    // It logs when it has nothing else to do.
    let mut in_agent = wait_until("the agent has logged all reloads", || {
        let said = agent_says(fleet.namespace());
        (said.len() == generations.iter().map(Vec::len).sum::<usize>()).then_some(said)
    });
    let mut deliveries = Vec::new();
    let volumes = generations.iter().zip(by_clock.into_iter().zip(by_reader));
    for (member, (generations, (by_clock, by_reader))) in fleet.members().iter().zip(volumes) {
        for seen in [&by_clock, &by_reader] {
            let before: Vec<_> = seen.iter().map(|publication| &publication.before).collect();
            assert_eq!(before, generations.iter().collect::<Vec<_>>(), "{}: publications", member.name);
        }
        let stamps = member.stamps();
        for (index, (clock, reader)) in by_clock.iter().zip(by_reader).enumerate() {
            let end = begun.get(index + 1).copied().unwrap_or(u64::MAX);
            let own: Vec<_> = stamps.iter().filter(|at| (begun[index]..end).contains(at)).collect();
            assert_eq!(own.len(), 1, "{}: signals for change {index}", member.name);
            let new = generations.get(index + 1).cloned().unwrap_or_else(|| member.generation());
            let key = (member.name.clone(), format!("config={new}"));
            deliveries.push(Delivery {
                pod: member.name.clone(),
                swapped: clock.swapped,
                settled: clock.settled,
                read: reader.settled,
                handled: *own[0],
                in_agent:
                    in_agent.remove(&key).expect("the agent has logged this generation")["since_settle_us"]
                        .as_f64()
                        .unwrap(),
            });
        }
    }
    deliveries
}

/// The agent's log lines of deliveries, by pod and generation.
pub(super) fn agent_says(namespace: &str) -> BTreeMap<(String, String), Value> {
    let log = agent::log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["outcome"] == "delivered" && line["namespace"] == namespace)
        .map(|line| {
            let text = |field: &str| line[field].as_str().unwrap().to_owned();
            ((text("pod"), text("generations")), line)
        })
        .collect()
}

/// Where the slowest lost their time.
fn say_slowest(sorted: &[Delivery]) {
    for one in sorted.iter().take(SLOWEST) {
        let near = |other: &&Delivery| micros_between(other.settled, one.settled).abs() <= NEAR_MICROS;
        eprintln!(
            "slow: {}: {:.0} µs to the handler, {:.0} of them the agent's own; {:.0} to the reader; \
             {} other settles within 2 ms",
            one.pod,
            one.late(),
            one.in_agent,
            micros_between(one.settled, one.read),
            sorted.iter().filter(near).count() - 1,
        );
    }
}
