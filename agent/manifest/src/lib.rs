//! Manifests as JSON or YAML, reduced to what decides about reloads: the pods of a node ([`decode`]), and the workloads that
//! somebody wrote ([`read`]).

pub use claims::{Claimed, sort_out};
pub use documents::Format;
pub use error::{Kind, ManifestError, Place};
pub use pods::decode;
pub use wire::Object;
pub use workloads::{Found, OtherObject, Unreadable, Workload, WorkloadKind, read};

mod annotations;
mod claims;
mod documents;
mod error;
mod heads;
mod pods;
mod room;
#[cfg(test)]
mod tests;
mod wire;
mod workloads;

/// The most text that is taken, in bytes: a node's pods as `kubectl get -o yaml` writes them come to a few MiB, and forty
/// tenants can make pods of 1.5 MB. The pods of a node are read piece by piece, so this bounds time, not memory.
pub const SIZE_LIMIT: usize = 64 << 20;
