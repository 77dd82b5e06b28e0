//! What the journal's file holds of grants that were carried out. Files of earlier agents haven't this table, and such agents leave it as
//! it is: a grant names its containers by their IDs, which no other one ever has.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{ReadTransaction, WriteTransaction};
use reloadlet_core::Time;
use reloadlet_core::model::closed::Closed as _;
use reloadlet_core::model::journal::CarriedOut;
use reloadlet_core::model::names::{Name, PodUid};
use reloadlet_core::model::restart::{Finding, Grant};
use serde::{Deserialize, Serialize};

use super::deliveries::nanos;
use super::tables::JsonOfPods;

/// Pod UID → what was done last.
pub(super) const CARRIED: JsonOfPods = JsonOfPods::new("carried_out");

/// What was done, as it is written. Times are nanoseconds since the boot.
#[derive(Serialize, Deserialize)]
struct Written {
    grant: String,
    at: u64,
    told: Vec<String>,
    said: Option<String>,
}

impl Written {
    fn of(carried: &CarriedOut) -> Self {
        Self {
            grant: carried.grant.to_string(),
            at: nanos(carried.at),
            told: carried.told.iter().map(Name::to_string).collect(),
            said: carried.said.map(|said| said.as_str().to_owned()),
        }
    }

    /// A word that only a later version knows is one that was said.
    fn carried(self) -> Option<CarriedOut> {
        let said = self.said.map(|word| Finding::parse(&word).unwrap_or(Finding::Unproved));
        Some(CarriedOut {
            grant: Grant::parse(&self.grant)?,
            at: Time::from_nanos(self.at),
            told: self.told.into_iter().map(Name::from).collect(),
            said,
        })
    }
}

/// Tells of all of them: each with its pod.
pub(super) fn read(
    transaction: &ReadTransaction,
    mut tell: impl FnMut(&str, CarriedOut),
) -> Result<(), redb::Error> {
    CARRIED.read(transaction, |pod, written: Written| {
        if let Some(carried) = written.carried() {
            tell(pod, carried);
        }
    })
}

/// Writes what was done last for each pod.
pub(super) fn write(
    transaction: &WriteTransaction,
    carried: &BTreeMap<PodUid, Arc<CarriedOut>>,
) -> Result<(), redb::Error> {
    CARRIED.write(transaction, carried.iter().map(|(pod, carried)| (pod, Some(Written::of(carried)))))
}
