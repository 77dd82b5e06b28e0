//! Names: of Kubernetes objects, pods and containers, and the paths of files in volumes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name in a pod's spec, shared rather than copied.
pub type Name = Arc<str>;

/// A pod's UID: its `metadata.uid`, which the API server gives it and nobody else can set. Its directory and its cgroup
/// have it in their names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodUid(Arc<str>);

impl PodUid {
    /// Accepts lower-case hex digits with dashes between them: one path element, and no two texts that a cgroup's name
    /// or a file system could take for each other.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (8..=64).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'))
            && !text.starts_with('-')
            && !text.ends_with('-');
        fits.then(|| Self(text.into()))
    }

    /// The UID as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A container's ID: 64 hex digits in containerd, CRI-O and Docker.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    /// Accepts exactly 64 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.into()))
    }

    /// The ID out of a pod status, `containerd://<id>`.
    pub fn from_status(text: &str) -> Option<Self> {
        Self::parse(text.split_once("://")?.1)
    }

    /// The ID's digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..12).unwrap_or(&self.0))
    }
}

/// The path as the kubelet writes it: the API accepts `./a//b`, and its AtomicWriter cleans that (`validatePayload`).
pub(crate) fn clean(path: &Name) -> Name {
    let elements: Vec<&str> = path.split('/').filter(|element| !matches!(*element, "" | ".")).collect();
    elements.join("/").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_can_be_written_in_one_way_only() {
        let uid = "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        assert_eq!(PodUid::parse(uid).unwrap().as_str(), uid);
        for other in [
            uid.to_uppercase(),
            uid.replace('-', "_"),
            format!("{uid} "),
            format!("{uid}/"),
            format!("-{uid}"),
            format!("{uid}-"),
            "..".repeat(8),
            "6f1e2d3".to_owned(),
            "a".repeat(65),
        ] {
            assert_eq!(PodUid::parse(&other), None, "{other}");
        }
    }
}
