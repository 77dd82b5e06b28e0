//! What the kernel says of processes: `/proc`, `mountinfo`, the paths of cgroups, signal masks; and what the agent lacks to
//! be told.

pub mod cgroup;
pub mod command;
pub mod guard;
pub mod lack;
pub mod mounts;
pub mod process;
pub mod procfs;
pub mod program;
