//! The agent in a real cluster, installed as it is shipped. Without `KUBECONFIG`, and `CLUSTER` or
//! `NODE`, all is skipped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says by a panic what failed"
)]

mod accelerate;
mod annotations;
mod containers;
mod controller_fence;
mod drivers;
mod fence;
mod frozen;
mod hierarchies;
mod hostile_objects;
mod hostile_pods;
mod http;
mod inject;
mod interruptions;
mod load;
mod looping;
mod overlays;
mod prometheus;
mod propagation;
mod rendered;
mod requests;
mod rights;
mod rolls_beside;
mod rolls_changes;
mod rolls_faults;
mod rolls_in_place;
mod rolls_leaders;
mod rolls_many;
mod rolls_reloader;
mod rolls_waits;
mod shares;
mod teardown;
mod unrolled;
mod volumes;
