//! ConfigMaps and Secrets as the API server has them: their names, and digests of what they hold.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::closed::closed_set;
use crate::model::digest::Digest;
use crate::model::names::{Name, is_subdomain};
use crate::model::time::Time;

/// The most keys of an object that is measured: each takes some 100 bytes, more than once.
pub const MOST_KEYS: usize = 4096;

closed_set! {
    /// What kind of object. The journal knows the values by their names, everybody else by their words.
    #[derive(Hash, Serialize, Deserialize)]
    pub enum ObjectKind {
        /// A ConfigMap.
        ConfigMap => "configmap",
        /// A Secret.
        Secret => "secret",
    }
}

impl ObjectKind {
    /// The kind as manifests write it.
    pub const fn written(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// One object by name. One that is deleted and made again is the same one here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
}

impl ObjectRef {
    /// Whether there can be an object of this name: the API server accepts other ones in a pod's spec.
    pub(crate) fn can_exist(&self) -> bool {
        is_subdomain(&self.name)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an object holds at one version.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The object's UID: another one when it was deleted and made again.
    pub uid: Name,
    /// Its `resourceVersion`.
    pub version: Name,
    /// Whether it is immutable: the kubelet doesn't look at it again (`watch_based_manager.go`).
    pub immutable: bool,
    /// Whether its owner keeps it from triggering anything (`reloadlet.io/ignore`).
    pub ignored: bool,
    /// When its data was last changed, as the API server noted it.
    pub updated: Option<Updated>,
    /// The digest of each key's value.
    pub keys: Arc<BTreeMap<Name, Digest>>,
}

/// When the API server says that an object's data was last changed. Its clock isn't the node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Updated {
    /// By its clock, in whole seconds, rounded down.
    pub written: Time,
    /// Between which moments by the node's clock, as far as the two can be compared.
    pub between: Option<(Time, Time)>,
    /// Between which moments the object was made, of which the node's clock knows as little as of the others; of an earlier one of its name
    /// nothing is known.
    pub made: Option<(Time, Time)>,
}

impl fmt::Debug for ObjectVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} of {} keys", self.version, self.keys.len())
    }
}

/// What the API server says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// It is there.
    Version(Arc<ObjectVersion>),
    /// There is none of this name.
    Absent,
    /// It can't be watched: what its volumes should hold isn't known.
    Unmeasured,
}

/// Versions of objects; `None` where there is no such object any more.
pub type Versions = Vec<(ObjectRef, Option<Arc<ObjectVersion>>)>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_api_server_takes_are_those_of_objects() {
        let can_exist = |name: &str| {
            let object = ObjectRef { kind: ObjectKind::Secret, namespace: "shop".into(), name: name.into() };
            object.can_exist()
        };
        for name in ["settings", "kube-root-ca.crt", "0"] {
            assert!(can_exist(name), "{name}");
        }
        for name in ["", "A", "shop/settings", "-a", "a.", "a..b", &"a".repeat(254)] {
            assert!(!can_exist(name), "{name}");
        }
    }
}
