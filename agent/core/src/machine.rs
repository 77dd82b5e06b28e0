//! What decides. Events come in and actions go out; [`node`] is the whole node, `pod` one pod of it, `reload` one container
//! to tell.

pub(crate) mod context;
pub mod event;
pub mod node;
mod overview;
pub(crate) mod pod;
pub(crate) mod reload;
pub mod status;
pub mod volume;
pub(crate) mod watched;
pub(crate) mod workloads;
