//! The measurements of `make bench-cluster`: each adds lines to one table.

pub mod fleet;
pub mod handlers;
pub mod idle;
pub mod publish;
mod reader;
mod samples;
pub mod table;
