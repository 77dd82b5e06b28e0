//! `reloadlet controller`: rolls workloads whose pods can't be told of a change.

mod metrics;
mod moments;
mod notes;
mod people;
mod status;
mod words;
