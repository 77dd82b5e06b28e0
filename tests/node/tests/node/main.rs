//! The agent on a stand-in node: real processes, signals, cgroups and mounts. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "a test says by a panic what failed"
)]

mod alone;
mod applications;
mod bad_input;
mod chaos;
mod choice;
mod connections;
mod crowded;
mod drivers;
mod endings;
mod guard;
mod hostile;
mod identity;
mod large;
mod lines;
mod memory;
mod node;
mod pods_file;
mod programs;
mod rereads;
mod restarts;
mod runtimes;
mod said;
mod support;
mod surroundings;
mod unhurt;
mod volumes;
