//! Measures reloadlet in the cluster of `KUBECONFIG` and `CLUSTER`, where `tests/cluster/bench` has installed it, and
//! holds it to its limits.
#![allow(clippy::print_stderr, reason = "it is a program for people to look at")]

use std::process::ExitCode;

use cluster_suite::measure::fleet::Fleet;
use cluster_suite::measure::table::{Table, print_machine};
use cluster_suite::measure::{handlers, idle};

fn main() -> ExitCode {
    print_machine();
    let mut table = Table::default();
    let Some(mut fleet) = Fleet::start(50) else { return ExitCode::from(2) };
    handlers::measure(&mut fleet, &mut table);
    fleet.grow(idle::FULL_NODE - 1);
    idle::measure_memory(&mut fleet, &mut table);
    idle::measure_idle(&mut table);
    idle::check_once(&fleet, &mut table);
    drop(fleet);
    if table.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
