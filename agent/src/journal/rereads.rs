//! What the journal's file holds of whether containers read what they are told of. Files of earlier agents haven't this table, and
//! such agents leave it as it is.

use redb::{ReadableTable as _, Table, TableDefinition, WriteTransaction};
use reloadlet_core::Time;
use reloadlet_core::model::journal::{Again, Rereads};
use reloadlet_core::model::mark::Mark;

use super::records::{Changes, Records};
use super::tables::opened;

type Key = (&'static str, &'static str);
type Value = (u8, u8, u64, u8, u64, u64);

/// Pod UID, container → [`HAS_REREAD`], [`AGAIN`] and [`DUE`], how many deliveries in a row were unread, when the youngest process had
/// started in nanoseconds since the boot, the version of the mark and the mark of the annotations, Unix seconds.
const REREADS: TableDefinition<'_, Key, Value> = TableDefinition::new("rereads");

const HAS_REREAD: u8 = 1;
const AGAIN: u8 = 2;
/// Beside [`AGAIN`], which is all that an earlier agent knows.
const DUE: u8 = 4;

/// Tells of all of them: each with its pod, its container and its Unix seconds.
pub(super) fn read(
    transaction: &redb::ReadTransaction,
    mut tell: impl FnMut(&str, &str, Rereads, u64),
) -> Result<(), redb::Error> {
    let Some(table) = opened(transaction, REREADS)? else { return Ok(()) };
    for row in table.iter()? {
        let (key, value) = row?;
        let (pod, container) = key.value();
        let (flags, unread, started, version, mark, at) = value.value();
        let rereads = Rereads {
            has_reread: flags & HAS_REREAD != 0,
            unread,
            again: match (flags & AGAIN != 0, flags & DUE != 0) {
                (false, _) => Again::No,
                (true, true) => Again::Due,
                (true, false) => Again::Made,
            },
            started: Time::from_nanos(started),
            mark: Mark::recorded(version, mark),
        };
        tell(pod, container, rereads, at);
    }
    Ok(())
}

/// Takes away what is forgotten.
pub(super) fn forget(transaction: &WriteTransaction, changes: &Changes) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(REREADS)?;
    for pod in &changes.forgotten {
        // The next string after the UID bounds the range of its records.
        let end = format!("{}\0", pod.as_str());
        table.retain_in((pod.as_str(), "")..(end.as_str(), ""), |_, _| false)?;
    }
    Ok(())
}

/// Adds changes to the file, from which what is forgotten was taken away.
pub(super) fn write(transaction: &WriteTransaction, changes: &Changes, at: u64) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(REREADS)?;
    for ((pod, container), value) in &changes.rereads {
        match value {
            Some(value) => put(&mut table, (pod.as_str(), container), value, at)?,
            None => drop(table.remove((pod.as_str(), &**container))?),
        }
    }
    Ok(())
}

/// Adds these records to a file that holds none of them.
pub(super) fn write_all(transaction: &WriteTransaction, records: &Records) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(REREADS)?;
    records.rereads.iter().try_for_each(|((pod, container), (value, at))| {
        put(&mut table, (pod.as_str(), container), value, *at)
    })
}

/// Takes all of them away.
pub(super) fn clear(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    Ok(transaction.open_table(REREADS)?.retain(|_, _| false)?)
}

fn put(
    table: &mut Table<'_, Key, Value>,
    key: (&str, &str),
    value: &Rereads,
    at: u64,
) -> Result<(), redb::Error> {
    let again = match value.again {
        Again::No => 0,
        Again::Due => AGAIN | DUE,
        Again::Made => AGAIN,
    };
    let flags = again | if value.has_reread { HAS_REREAD } else { 0 };
    let started = u64::try_from(value.started.elapsed_since_boot().as_nanos()).unwrap_or(u64::MAX);
    table.insert(key, (flags, value.unread, started, value.mark.version(), value.mark.value(), at))?;
    Ok(())
}
