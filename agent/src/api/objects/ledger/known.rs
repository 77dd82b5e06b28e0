//! What was told of an object, and whether an answer may contradict it.

use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::Observed;

use crate::api::objects::fetches::is_older;

/// What was told of an object, without what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Version { uid: Name, version: Name },
    Absent,
    Unmeasured,
}

impl From<&Observed> for Known {
    fn from(observed: &Observed) -> Self {
        match observed {
            Observed::Version(version) => {
                Self::Version { uid: version.uid.clone(), version: version.version.clone() }
            }
            Observed::Absent => Self::Absent,
            Observed::Unmeasured => Self::Unmeasured,
        }
    }
}

impl Known {
    /// Whether an answer from an API server's memory can't simply be believed: it may lag behind what is known.
    pub(super) fn doubts(&self, observed: &Observed) -> bool {
        match (self, observed) {
            (Self::Version { uid, version }, Observed::Version(observed)) => {
                *uid == observed.uid && is_older(&observed.version, version)
            }
            (Self::Version { .. }, Observed::Absent) => true,
            (_, _) => false,
        }
    }
}
