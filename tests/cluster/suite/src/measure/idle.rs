//! What the agent costs: its memory on a full node, and what it does when nothing happens.

use std::thread;
use std::time::Duration;

use super::fleet::Fleet;
use super::table::Table;
use crate::{agent, audit};

/// The kubelet's `maxPods`, with the agent's own pod.
pub const FULL_NODE: usize = 110;
const MEBIBYTES: f64 = 20.0;

/// By then a change's last Event is sent and its verdict made.
const QUIET: Duration = Duration::from_secs(20);
const MINUTES: u32 = 3;
const REQUESTS_A_MINUTE: f64 = 1.0;

/// Resident memory, once all pods have been told of a change.
pub fn measure_memory(fleet: &mut Fleet, table: &mut Table) {
    fleet.change();
    let [resident, own] = ["VmRSS", "RssAnon"].map(|field| {
        let text = agent::process_status(field);
        text.trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    });
    table.limited_value("resident memory, full node, MiB", resident, MEBIBYTES);
    table.value("  not of files", format!("{own:.1}"));
}

/// What the API server and the scheduler see of an idle agent.
pub fn measure_idle(table: &mut Table) {
    audit::wait_quiet(QUIET);
    let (mark, ticks) = (audit::mark(), agent::cpu_ticks());
    thread::sleep(MINUTES * Duration::from_secs(60));
    let (seen, ticks) = (audit::since(mark), agent::cpu_ticks() - ticks);

    let all = audit::since(audit::BEGINNING);
    let open = all.watches_started - all.watches_ended;
    #[allow(clippy::cast_precision_loss, reason = "a small number")]
    let a_minute = seen.others() as f64 / f64::from(MINUTES);
    table.limited_value("idle: requests a minute, but for watches", a_minute, REQUESTS_A_MINUTE);
    for (what, count) in &seen.others {
        table.value(&format!("  {what}, in {MINUTES} minutes"), count.to_string());
    }
    table.value("  watches open", open.to_string());
    table.value(&format!("  watches begun anew in {MINUTES} minutes"), seen.watches_started.to_string());
    table.value(&format!("  clock ticks (10 ms) in {MINUTES} minutes"), ticks.to_string());
}

/// Whether each change was told once.
pub fn check_once(fleet: &Fleet, table: &mut Table) {
    let wrong = fleet.members().iter().filter(|member| member.stamps().len() != member.changes).count();
    #[allow(clippy::cast_precision_loss, reason = "a small number")]
    table.limited_value("pods that weren't told of each change exactly once", wrong as f64, 0.0);
}
