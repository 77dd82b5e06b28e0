//! The parts of manifests that count, as they are written.

use serde::de::{Deserialize, Deserializer};

use metadata::Names;
pub(crate) use object::Items;
pub use object::Object;
pub(crate) use workload::WrittenWorkload;

use crate::error::{ManifestError, Place};
use crate::room::Part;

mod containers;
mod environment;
mod metadata;
mod object;
mod owners;
mod rolling;
mod spec;
mod status;
mod volumes;
mod workload;

/// Why an object is no pod that can be followed.
pub(crate) enum Fault {
    NoContainers,
    Name { field: &'static str, value: Option<String> },
    Uid { value: Option<String> },
}

impl Fault {
    pub(crate) fn at(self, at: &Place) -> ManifestError {
        let at = at.clone();
        match self {
            Self::NoContainers => ManifestError::NoContainers { at },
            Self::Name { field, value } => ManifestError::Name { at, field, value },
            Self::Uid { value } => ManifestError::Uid { at, value },
        }
    }
}

/// Something that isn't empty.
#[derive(serde::Deserialize)]
struct Something {}

impl Part for Something {}

/// Go writes what is empty as `null` in places.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
