//! The decisions of reloadlet: which pods asked for what, which changes count, which process is told, when, and how
//! it ended. Nothing here reads a file, a socket or a clock: facts come in as [`Event`]s with a [`Time`], and what is
//! to be done goes out as [`Action`]s.
//!
//! There are six wings, and each one uses only those before it: [`model`], the words; [`policy`], what pods ask for;
//! [`kernel`], what `/proc` and cgroupfs say; [`propagation`], what the API server shows and what lags behind it; and
//! [`machine`], which decides for a node. [`rollouts`] decides for a cluster, and uses the first two alone.

pub mod kernel;
pub mod machine;
pub mod model;
pub mod policy;
pub mod propagation;
pub mod rollouts;

pub use machine::event::{Action, Event};
pub use machine::node::Machine;
pub use model::time::Time;
