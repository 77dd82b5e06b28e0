//! Measures reloadlet in the cluster of `KUBECONFIG` and `CLUSTER`, where `tests/cluster/bench` has installed it, and
//! holds it to its limits.
#![allow(clippy::print_stderr, reason = "it is a program for people to look at")]

use std::process::ExitCode;

use cluster_suite::measure::fleet::Fleet;
use cluster_suite::measure::publish::{self, Way};
use cluster_suite::measure::table::{Table, print_machine};
use cluster_suite::measure::{handlers, idle};
use cluster_suite::overlay::Overlay;

/// How many publications are measured each way, and of how many pods at once.
const PUBLICATIONS: usize = 120;
const PUBLISHED_PODS: usize = 20;
/// What the overlay has beside the agent.
const FENCE: &[&str] = &["validatingadmissionpolicybinding/reloadlet", "validatingadmissionpolicy/reloadlet"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    print_machine();
    let mut table = Table::default();
    let measured = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => deliveries(&mut table),
        ["publish"] => publications(&mut table),
        _ => {
            eprintln!("bench-cluster: publish is the only argument there is");
            return ExitCode::from(2);
        }
    };
    if measured.is_none() {
        return ExitCode::from(2);
    }
    if table.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the agent does with what the kubelet has published.
fn deliveries(table: &mut Table) -> Option<()> {
    let mut fleet = Fleet::start(50, &[])?;
    handlers::measure(&mut fleet, table);
    fleet.grow(idle::FULL_NODE - 1);
    idle::measure_memory(&mut fleet, table);
    idle::measure_idle(table);
    idle::check_once(&fleet, table);
    Some(())
}

/// How long the kubelet takes before that; its sync frequency is to be its default.
fn publications(table: &mut Table) -> Option<()> {
    let mut fleet = Fleet::start(PUBLISHED_PODS, &[])?;
    publish::measure(&mut fleet, Way::Default, PUBLICATIONS / PUBLISHED_PODS, table);
    drop(fleet);
    let _applied = Overlay::apply("acceleration", FENCE);
    let mut fleet = Fleet::start(PUBLISHED_PODS, &[("reloadlet.io/accelerate", "true")])?;
    publish::measure(&mut fleet, Way::Accelerated, PUBLICATIONS / PUBLISHED_PODS, table);
    publish::check_nudges(table);
    Some(())
}
