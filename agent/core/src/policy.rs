//! What pods ask for: from annotations and spec to a plan, or to problems; and how much a pod, and a namespace, may ask for.

pub mod allowance;
pub mod annotations;
pub mod crowd;
pub mod duration;
pub mod excess;
pub mod files;
pub mod plan;
pub mod problem;
pub mod references;
pub mod reloader;
pub mod request;
pub mod restart;
pub mod rollout;
pub mod select;
pub mod sources;
