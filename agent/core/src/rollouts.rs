//! The rolls of workloads whose pods can't be told of a change: who is rolled, when, in which order, and only once. The controller
//! of a cluster runs it, as an agent runs [`crate::machine`] for its node.

pub mod content;
pub mod controller;
pub mod event;
pub mod lease;
pub mod ledger;
pub mod overview;
pub mod record;
pub mod settings;
pub mod workload;

mod case;
mod changed;
mod contents;
mod found;
mod holds;
mod index;
mod neighbours;
mod next;
mod pods;
mod restarting;
mod room;
mod rules;
mod uses;
