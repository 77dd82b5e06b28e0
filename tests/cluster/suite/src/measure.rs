//! The measurements of `make bench-cluster`: each adds lines to one table.

mod client;
pub mod fleet;
pub mod handlers;
pub mod idle;
pub mod nudges;
pub mod pairs;
pub mod publish;
mod reader;
mod samples;
pub mod table;
