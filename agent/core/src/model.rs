//! The words that every other wing uses: names, pods, objects, generations, signals, outcomes, digests and times.

pub mod closed;
pub mod digest;
pub mod excess;
pub mod frozen;
pub mod generation;
pub mod granted;
pub(crate) mod hash;
pub mod journal;
pub(crate) mod kept;
pub mod mark;
pub mod means;
pub mod names;
pub mod object;
pub mod outcome;
pub mod pod;
pub mod restart;
pub mod shown;
pub mod signal;
pub mod time;
