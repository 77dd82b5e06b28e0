//! What tests and measurements in a real cluster share: a namespace of a test's own, kubectl, the agent that is
//! installed. `make e2e` builds the agent, starts a cluster, installs the agent as its users do and runs the tests. By
//! hand: `tests/cluster/with bash`, in it `tests/cluster/install-agent "$(scripts/static-build)"`,
//! `tests/cluster/install-controller` and `cargo test -p cluster-suite -- --test-threads 8`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says by a panic what failed"
)]

pub mod agent;
pub mod audit;
pub mod kubelet;
pub mod measure;
pub mod overlay;
pub mod rolls;
pub mod space;
