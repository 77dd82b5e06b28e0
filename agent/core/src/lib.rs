//! The decisions of reloadlet: which pods asked for what, which changes count, which process is told, when, and how
//! it ended. Nothing here reads a file, a socket or a clock: facts come in as [`Event`]s with a [`Time`], and what is
//! to be done goes out as [`Action`]s.

pub mod annotations;
pub mod cgroup;
pub mod duration;
pub mod files;
pub mod generation;
pub mod guard;
pub mod journal;
pub mod mounts;
pub mod outcome;
pub mod plan;
pub mod pod;
pub mod problem;
pub mod process;
pub mod procfs;
pub mod select;
pub mod signal;
pub mod time;
pub mod volume;
