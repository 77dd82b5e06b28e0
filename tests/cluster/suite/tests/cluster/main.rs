//! The agent in a real cluster, installed as it is shipped. Without `KUBECONFIG` and `CLUSTER` all is skipped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says by a panic what failed"
)]

mod annotations;
mod containers;
mod inject;
mod interruptions;
mod load;
mod requests;
mod rights;
mod teardown;
mod volumes;
