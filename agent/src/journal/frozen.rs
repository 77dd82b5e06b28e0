//! What the journal's file holds of what containers took of objects at their start. Files of earlier agents haven't this table, and such
//! agents leave it as it is: each record names the process that took it, the pieces of the object that this is about, and the version that
//! it is told by.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{ReadTransaction, WriteTransaction};
use reloadlet_core::Time;
use reloadlet_core::model::closed::Closed as _;
use reloadlet_core::model::frozen::{Holds, PiecesMark, Remembered, Way};
use reloadlet_core::model::names::PodUid;
use reloadlet_core::model::object::{ObjectKind, ObjectRef};
use serde::{Deserialize, Serialize};

use super::deliveries::nanos;
use super::tables::JsonOfPods;

/// Pod UID → what is known of its containers.
pub(super) const FROZEN: JsonOfPods = JsonOfPods::new("frozen");

/// What is known, as it is written. Times are nanoseconds since the boot.
#[derive(Serialize, Deserialize)]
struct Written {
    container: String,
    way: String,
    kind: String,
    namespace: String,
    name: String,
    /// The mark of the pieces: how it was made, and it itself. Agents wrote none once: of which pieces such a record is isn't known.
    #[serde(default)]
    pieces: Option<(u8, u64)>,
    started: u64,
    version: Option<String>,
    holds: WrittenHolds,
    brought: Option<String>,
    news: bool,
}

#[derive(Serialize, Deserialize)]
enum WrittenHolds {
    Same,
    Nothing,
    Other(u64),
    Unknown,
}

impl Written {
    fn of(known: &Remembered) -> Self {
        Self {
            container: known.container.to_string(),
            way: known.way.as_str().to_owned(),
            kind: known.object.kind.as_str().to_owned(),
            namespace: known.object.namespace.to_string(),
            name: known.object.name.to_string(),
            pieces: Some((known.pieces.version(), known.pieces.value())),
            started: nanos(known.started),
            version: known.version.as_deref().map(str::to_owned),
            holds: match known.holds {
                Holds::Same => WrittenHolds::Same,
                Holds::Nothing => WrittenHolds::Nothing,
                Holds::Other(since) => WrittenHolds::Other(nanos(since)),
                Holds::Unknown => WrittenHolds::Unknown,
            },
            brought: known.brought.as_deref().map(str::to_owned),
            news: known.is_news,
        }
    }

    fn known(self) -> Option<Remembered> {
        let (namespace, name) = (self.namespace.into(), self.name.into());
        let (made, mark) = self.pieces?;
        Some(Remembered {
            container: self.container.into(),
            way: Way::parse(&self.way)?,
            object: ObjectRef { kind: ObjectKind::parse(&self.kind)?, namespace, name },
            pieces: PiecesMark::recorded(made, mark),
            started: Time::from_nanos(self.started),
            version: self.version.map(Into::into),
            holds: match self.holds {
                WrittenHolds::Same => Holds::Same,
                WrittenHolds::Nothing => Holds::Nothing,
                WrittenHolds::Other(since) => Holds::Other(Time::from_nanos(since)),
                WrittenHolds::Unknown => Holds::Unknown,
            },
            brought: self.brought.map(Into::into),
            is_news: self.news,
        })
    }
}

/// Tells of all of it: each with its pod.
pub(super) fn read(
    transaction: &ReadTransaction,
    mut tell: impl FnMut(&str, Vec<Remembered>),
) -> Result<(), redb::Error> {
    FROZEN.read(transaction, |pod, written: Vec<Written>| {
        tell(pod, written.into_iter().filter_map(Written::known).collect());
    })
}

/// Writes what is known of each pod; a pod of which nothing is known has no record.
pub(super) fn write(
    transaction: &WriteTransaction,
    frozen: &BTreeMap<PodUid, Arc<Vec<Remembered>>>,
) -> Result<(), redb::Error> {
    let written = |known: &[Remembered]| -> Vec<Written> { known.iter().map(Written::of).collect() };
    FROZEN.write(
        transaction,
        frozen.iter().map(|(pod, known)| (pod, (!known.is_empty()).then(|| written(known)))),
    )
}
