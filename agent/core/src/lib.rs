//! The decisions of reloadlet: which pods asked for what, which changes count, which process is told, when, and how
//! it ended. Nothing here reads a file, a socket or a clock: facts come in as [`Event`]s with a [`Time`], and what is
//! to be done goes out as [`Action`]s.

pub mod allowance;
pub mod annotations;
pub mod cgroup;
mod context;
pub mod crowd;
pub mod duration;
pub mod event;
pub mod excess;
pub mod files;
mod frozen;
pub mod generation;
pub mod guard;
pub mod journal;
mod kept;
pub mod lack;
pub mod machine;
pub mod mounts;
pub mod nudge;
pub mod object;
mod objects;
pub mod outcome;
pub mod plan;
pub mod pod;
mod pod_machine;
pub mod problem;
pub mod process;
pub mod procfs;
mod propagation;
mod report;
pub mod select;
mod share;
pub mod signal;
pub mod sources;
pub mod status;
pub mod strategy;
mod target;
pub mod time;
mod verify;
pub mod volume;

pub use event::{Action, Event};
pub use machine::Machine;
pub use time::Time;
