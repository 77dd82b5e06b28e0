//! How changes get from the API server to the disk and into containers: the versions of objects, which of them are on disk,
//! what is stale, and nudges.

pub mod frozen;
pub(crate) mod kept;
pub mod measuring;
pub mod nudge;
pub(crate) mod objects;
pub mod strategy;
pub(crate) mod volume;
