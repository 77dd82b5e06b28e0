//! Of what a pod may have only so much.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most memory that what counts of a pod takes while it is decoded, in bytes. Fifty volumes with four items each and
/// three hundred references in environments take a fifth of it.
pub const MOST_BYTES: usize = 512 << 10;

/// Something of which a pod may have only so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// Its annotations that are for reloadlet.
    Annotations,
    /// Its containers and init containers.
    Containers,
    /// Its volumes: each is watched, and looked at when the pod changes.
    Volumes,
    /// The volume mounts of all of its containers.
    Mounts,
    /// What its containers' environments take from ConfigMaps and Secrets.
    Environment,
    /// The sources of its projected volumes, and the items of all volumes.
    Items,
}

impl Part {
    /// How many of it a pod may have. Pods of people have less than a tenth of that.
    pub const fn most(self) -> usize {
        match self {
            // There are 17 keys, and one for each container.
            Self::Annotations => 148,
            Self::Containers => 128,
            Self::Volumes => 256,
            Self::Mounts => 1024,
            Self::Environment => 1024,
            Self::Items => 2048,
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::Annotations => "annotations for reloadlet",
            Self::Containers => "containers",
            Self::Volumes => "volumes",
            Self::Mounts => "volume mounts",
            Self::Environment => "references to ConfigMaps and Secrets in its containers' environments",
            Self::Items => "items and sources in its volumes",
        }
    }
}

/// Why a pod isn't followed though it asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Excess {
    /// It has too many of something.
    Many(Part),
    /// All that counts of it is too long.
    Bytes,
    /// The pods of this node take all the memory there is for them, and those of its namespace the most of it.
    Node,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Many(part) => write!(
                f,
                "the pod has more than {} {}, and a pod with so many isn't followed",
                part.most(),
                part.describe()
            ),
            Self::Bytes => write!(
                f,
                "the names and paths of the pod's volumes, mounts and environments, and its annotations for reloadlet, \
                 take more than the {} KiB that are kept of a pod",
                MOST_BYTES >> 10
            ),
            Self::Node => f.write_str(
                "the pods of this node that ask for reloads are too many or too large together, and those of this \
                 namespace take the most: the pod is left alone until it changes and there is room",
            ),
        }
    }
}
