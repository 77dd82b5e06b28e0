//! Measures reloadlet in the cluster of `KUBECONFIG` and `CLUSTER`, where `tests/cluster/bench` has installed it, and
//! holds it to its limits.
#![allow(clippy::print_stderr, reason = "it is a program for people to look at")]

use std::process::ExitCode;

use cluster_suite::kubelet;
use cluster_suite::measure::fleet::Fleet;
use cluster_suite::measure::nudges::Nudges;
use cluster_suite::measure::pairs::Pairs;
use cluster_suite::measure::publish::{self, Way};
use cluster_suite::measure::table::{Table, print_machine};
use cluster_suite::measure::{handlers, idle};
use cluster_suite::overlay::Overlay;

/// How many pods publications are measured with.
const PUBLISHED_PODS: usize = 40;
const ACCELERATE: (&str, &str) = ("reloadlet.io/accelerate", "true");
/// The kubelet's default.
const SYNC_FREQUENCY: &str = "1m0s";
/// What the overlay has beside the agent.
const FENCE: &[&str] = &["validatingadmissionpolicybinding/reloadlet", "validatingadmissionpolicy/reloadlet"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    print_machine();
    let mut table = Table::default();
    let measured = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => deliveries(&mut table),
        ["publish"] => publications(&[Way::Default, Way::Accelerated], &mut table),
        ["publish", "default"] => publications(&[Way::Default], &mut table),
        ["publish", "accelerated"] => publications(&[Way::Accelerated], &mut table),
        _ => {
            eprintln!(
                "bench-cluster: the arguments are none, or publish, or publish and default or accelerated"
            );
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

/// How long the kubelet takes before that, with the same pods each way.
fn publications(ways: &[Way], table: &mut Table) -> Option<()> {
    let pairs = Pairs::start(PUBLISHED_PODS, &[ACCELERATE])?;
    let frequency = kubelet::setting("syncFrequency");
    if frequency != SYNC_FREQUENCY {
        eprintln!(
            "bench-cluster: this kubelet's syncFrequency is {frequency}; publications are measured with {SYNC_FREQUENCY}"
        );
        return None;
    }
    for way in ways {
        match way {
            Way::Default => publish::measure(&pairs, *way, table),
            Way::Accelerated => {
                let _applied = Overlay::apply("acceleration", FENCE);
                let nudges = Nudges::start();
                publish::measure(&pairs, *way, table);
                nudges.check(table);
            }
        }
    }
    Some(())
}
