//! What the journal's file holds of grants that were carried out. Files of earlier agents haven't this table, and such agents leave it as
//! it is: a grant names its containers by their IDs, which no other one ever has.

use std::sync::Arc;

use redb::{ReadableTable as _, Table, TableDefinition, WriteTransaction};
use reloadlet_core::Time;
use reloadlet_core::model::closed::Closed as _;
use reloadlet_core::model::journal::CarriedOut;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::restart::{Finding, Grant};
use serde::{Deserialize, Serialize};

use super::deliveries::nanos;
use super::records::{Changes, Records};
use super::tables::opened;

/// Pod UID → what was done, as JSON.
const CARRIED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("carried_out");

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

/// Tells of all of them: each with its pod. One that only a later version can read is as good as none.
pub(super) fn read(
    transaction: &redb::ReadTransaction,
    mut tell: impl FnMut(&str, CarriedOut),
) -> Result<(), redb::Error> {
    let Some(table) = opened(transaction, CARRIED)? else { return Ok(()) };
    for row in table.iter()? {
        let (key, value) = row?;
        let written: Option<Written> = serde_json::from_slice(value.value()).ok();
        if let Some(carried) = written.and_then(Written::carried) {
            tell(key.value(), carried);
        }
    }
    Ok(())
}

/// Takes away what is forgotten.
pub(super) fn forget(transaction: &WriteTransaction, changes: &Changes) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(CARRIED)?;
    changes.forgotten.iter().try_for_each(|pod| table.remove(pod.as_str()).map(drop))?;
    Ok(())
}

/// Adds changes to the file, from which what is forgotten was taken away.
pub(super) fn write(transaction: &WriteTransaction, changes: &Changes) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(CARRIED)?;
    changes.carried.iter().try_for_each(|(pod, carried)| put(&mut table, pod.as_str(), carried))
}

/// Adds these records to a file that holds none of them.
pub(super) fn write_all(transaction: &WriteTransaction, records: &Records) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(CARRIED)?;
    records.carried.iter().try_for_each(|(pod, carried)| put(&mut table, pod.as_str(), carried))
}

/// Takes all of them away.
pub(super) fn clear(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    Ok(transaction.open_table(CARRIED)?.retain(|_, _| false)?)
}

fn put(table: &mut Table<'_, &str, &[u8]>, pod: &str, carried: &Arc<CarriedOut>) -> Result<(), redb::Error> {
    let json = serde_json::to_vec(&Written::of(carried)).map_err(|error| redb::Error::Io(error.into()))?;
    table.insert(pod, json.as_slice())?;
    Ok(())
}
