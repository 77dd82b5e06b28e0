//! What the journal's file holds of the last deliveries to containers. Files of earlier agents haven't this table, and such agents
//! leave it as it is, also after a boot: so a key of the table `meta` names the boot that it is of.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{ReadableTable as _, Table, TableDefinition, WriteTransaction};
use reloadlet_core::Time;
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::journal::{LastDelivery, Pid};
use reloadlet_core::model::mark::Mark;
use reloadlet_core::model::names::ContainerId;
use serde::{Deserialize, Serialize};

use super::records::{Changes, Records};
use super::tables::opened;

/// The key of the table `meta` that names the boot.
pub(super) const BOOT_ID: &str = "deliveries_boot_id";

type Key = (&'static str, &'static str);

/// Pod UID, container → the delivery as JSON.
const DELIVERIES: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("last_deliveries");

/// A delivery as it is written. Times are nanoseconds since the boot.
#[derive(Serialize, Deserialize)]
struct Written {
    at: u64,
    until: u64,
    open: bool,
    container: String,
    first: (u32, u64),
    told: Vec<(u32, u64)>,
    generations: BTreeMap<String, String>,
    ready: bool,
    counts: bool,
    ended: Option<((u32, u64), u64)>,
    mark: (u8, u64),
}

impl Written {
    fn of(delivery: &LastDelivery) -> Self {
        let pid = |(pid, started): Pid| (pid, nanos(started));
        let generations = delivery.generations.iter();
        Self {
            at: nanos(delivery.at),
            until: nanos(delivery.until),
            open: delivery.is_open,
            container: delivery.container.as_str().to_owned(),
            first: pid(delivery.first),
            told: delivery.told.iter().copied().map(pid).collect(),
            generations: generations.map(|(name, of)| (name.to_string(), of.as_str().to_owned())).collect(),
            ready: delivery.was_ready,
            counts: delivery.counts,
            ended: delivery.ended.map(|(process, at)| (pid(process), nanos(at))),
            mark: (delivery.mark.version(), delivery.mark.value()),
        }
    }

    fn delivery(self) -> Option<LastDelivery> {
        let pid = |(pid, started): (u32, u64)| (pid, Time::from_nanos(started));
        let generations = self.generations.into_iter();
        let generations: Option<_> =
            generations.map(|(name, of)| Some((name.as_str().into(), Generation::parse(&of)?))).collect();
        Some(LastDelivery {
            at: Time::from_nanos(self.at),
            until: Time::from_nanos(self.until),
            is_open: self.open,
            container: ContainerId::parse(&self.container)?,
            first: pid(self.first),
            told: self.told.into_iter().map(pid).collect(),
            generations: generations?,
            was_ready: self.ready,
            counts: self.counts,
            ended: self.ended.map(|(process, at)| (pid(process), Time::from_nanos(at))),
            mark: Mark::recorded(self.mark.0, self.mark.1),
        })
    }
}

/// Tells of all of them: each with its pod and its container. One that only a later version can read is as good as none.
pub(super) fn read(
    transaction: &redb::ReadTransaction,
    mut tell: impl FnMut(&str, &str, LastDelivery),
) -> Result<(), redb::Error> {
    let Some(table) = opened(transaction, DELIVERIES)? else { return Ok(()) };
    for row in table.iter()? {
        let (key, value) = row?;
        let written: Option<Written> = serde_json::from_slice(value.value()).ok();
        if let Some(delivery) = written.and_then(Written::delivery) {
            let (pod, container) = key.value();
            tell(pod, container, delivery);
        }
    }
    Ok(())
}

/// Takes away what is forgotten.
pub(super) fn forget(transaction: &WriteTransaction, changes: &Changes) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(DELIVERIES)?;
    for pod in &changes.forgotten {
        // The next string after the UID bounds the range of its records.
        let end = format!("{}\0", pod.as_str());
        table.retain_in((pod.as_str(), "")..(end.as_str(), ""), |_, _| false)?;
    }
    Ok(())
}

/// Adds changes to the file, from which what is forgotten was taken away.
pub(super) fn write(transaction: &WriteTransaction, changes: &Changes) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(DELIVERIES)?;
    for ((pod, container), value) in &changes.deliveries {
        match value {
            Some(value) => put(&mut table, (pod.as_str(), container), value)?,
            None => drop(table.remove((pod.as_str(), &**container))?),
        }
    }
    Ok(())
}

/// Adds these records to a file that holds none of them.
pub(super) fn write_all(transaction: &WriteTransaction, records: &Records) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(DELIVERIES)?;
    let mut each = records.deliveries.iter();
    each.try_for_each(|((pod, container), value)| put(&mut table, (pod.as_str(), container), value))
}

/// Takes all of them away.
pub(super) fn clear(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    Ok(transaction.open_table(DELIVERIES)?.retain(|_, _| false)?)
}

fn put(
    table: &mut Table<'_, Key, &[u8]>,
    key: (&str, &str),
    value: &Arc<LastDelivery>,
) -> Result<(), redb::Error> {
    let json = serde_json::to_vec(&Written::of(value)).map_err(|error| redb::Error::Io(error.into()))?;
    table.insert(key, json.as_slice())?;
    Ok(())
}

pub(super) fn nanos(time: Time) -> u64 {
    u64::try_from(time.elapsed_since_boot().as_nanos()).unwrap_or(u64::MAX)
}
