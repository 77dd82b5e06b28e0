//! Manifests as JSON or YAML, reduced to what decides about reloads: the pods of a node ([`decode`]), and the workloads that
//! somebody wrote ([`read()`]) or that run in a cluster ([`workload()`]).

pub use claims::{Claimed, sort_out};
pub use documents::Format;
pub use error::{Kind, ManifestError, Place};
pub use labels::Labels;
pub use pods::{Decoded, decode};
pub use read::{Unreadable, read, workload};
pub use room::SIZE_LIMIT;
pub use wire::Object;
pub use workload::{Found, Keys, OtherObject, Workload, WorkloadKind};

mod annotations;
mod careful;
mod claims;
mod documents;
mod error;
mod heads;
mod labels;
mod pods;
mod read;
mod room;
#[cfg(test)]
mod tests;
mod wire;
mod workload;
